//! The time that making probes may take, and how far it has got.

use std::time::{Duration, Instant};

/// Counts down from a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
    limit: Duration,
}

impl Clock {
    /// Starts now.
    pub(super) fn new(limit: Duration) -> Self {
        Self { start: Instant::now(), limit }
    }

    /// The whole time.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Time since the start.
    pub(super) fn spent(&self) -> Duration {
        self.start.elapsed()
    }

    /// Time that is left; zero when it is over.
    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.spent())
    }
}

/// What a search is at, for whoever waits for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProbeProgress {
    /// What is done, in the present: `exploring`, `breeding`, `looking for boundaries`, `asking again`.
    pub stage: &'static str,
    /// Pictures that the reference has answered.
    pub scored: usize,
    /// Pictures that it will answer at most.
    pub planned: usize,
    /// Longest time that is left.
    pub left: Duration,
}

impl std::fmt::Display for ProbeProgress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { stage, scored, planned, left } = self;
        write!(formatter, "{stage}: {scored} of at most {planned} pictures, about {} s left", left.as_secs_f64().ceil())
    }
}

/// Receives the progress of a search.
pub type Watch<'run> = dyn FnMut(ProbeProgress) + 'run;

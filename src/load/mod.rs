//! Load: queries that come by themselves, whatever became of the ones before, and how late they are answered.
//!
//! | module | does |
//! |---|---|
//! | `arrivals` | when each query comes: at random, by frames of sources, or when the last was answered |
//! | `sender` | what goes out at a moment: one query, a batch of frames that is full or has waited, nothing yet |
//! | `record` | what became of each query, as figures |
//! | `standing` | whether a rate was held, was not, or was not measured |
//! | `search` | the largest rate that is held |
//! | `scenario`, `wanted` | what is wanted of a model, by name, as runs |
//! | `drive` | the same with threads and the machine's clock: the only part that waits |
//!
//! A latency is counted from the time that a query was scheduled for, not from when it was sent: a server that falls behind would
//! otherwise be asked less, and look well (coordinated omission). What of it is the client's own doing is recorded beside it.
//! Everything but `drive` is plain data and takes the time as an argument, so that tests run hours of load in milliseconds.

pub mod arrivals;
pub mod drive;
pub mod record;
pub mod scenario;
pub mod search;
pub mod sender;
pub mod standing;
#[cfg(test)]
mod tests;
pub mod wanted;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use arrivals::Arrivals;
pub use record::Figures;
pub use scenario::Scenario;
pub use standing::Standing;
pub use wanted::{Outcome, Wanted};

/// Most queries of one run: they are kept while they wait.
pub const MOST_QUERIES: u64 = 2_000_000;
/// Most sources.
pub const MOST_SOURCES: usize = 100_000;
/// Most connections.
pub const MOST_CONNECTIONS: usize = 256;

/// What is offered to a model in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// How queries come.
    pub arrivals: Arrivals,
    /// How long they come, seconds.
    pub seconds: f64,
    /// Most queries.
    pub most: u64,
    /// Most queries that go out together, in one request.
    pub batch: usize,
    /// How long the first of them waits for others, microseconds.
    pub wait_microseconds: u64,
    /// The latency that a query is answered in time within, milliseconds.
    pub bound_milliseconds: Option<f64>,
    /// Whether a query that is late already is dropped, and not sent.
    pub drops: bool,
    /// Requests that are under way at once.
    pub connections: usize,
}

impl Offer {
    /// The latency that a query is answered in time within.
    pub fn bound(&self) -> Option<Duration> {
        self.bound_milliseconds.and_then(|bound| Duration::try_from_secs_f64(bound / 1000.0).ok())
    }

    /// How long queries come.
    pub(crate) fn duration(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX)
    }

    /// When the last query may go out: what waits longer was not sent.
    pub(crate) fn end(&self) -> Duration {
        match self.arrivals {
            Arrivals::Closed => self.duration(),
            _ => self.duration().saturating_mul(2).saturating_add(self.bound().unwrap_or_default()),
        }
    }
}

/// What a server says of its own work between two moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executions {
    /// Samples that were computed.
    pub rows: u64,
    /// Executions of the model that they took.
    pub executions: u64,
}

impl Executions {
    /// What was done since `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            rows: self.rows.saturating_sub(before.rows),
            executions: self.executions.saturating_sub(before.executions),
        }
    }
}

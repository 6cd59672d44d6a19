//! The time that making probes may take, and how far it has got.
//!
//! One clock stands over everything: asking the reference, drawing pictures, packing them into their file. What the end of the
//! making takes is set aside while the reference is asked, as soon as it is known what a picture takes.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Work that is not the reference's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A picture was drawn.
    Drawing,
    /// So many pictures were packed.
    Packing(usize),
}

/// What tells the time.
pub(super) trait Time {
    /// Time since a start that stays the same.
    fn now(&self) -> Duration;

    /// Hears of work that was done, for a time that passes with it alone.
    fn worked(&self, _work: Work) {}
}

/// The system's time.
struct System(Instant);

impl Time for System {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Counts down from a limit.
pub(super) struct Clock {
    time: Box<dyn Time>,
    start: Duration,
    limit: Duration,
    /// Pictures drawn so far, and the time that they took.
    drawn: Cell<(u32, Duration)>,
    /// Pictures that are still drawn when nobody is asked any more.
    to_draw: Cell<usize>,
    /// Time that packing will take; zero while it is not known.
    packing: Cell<Duration>,
}

impl Clock {
    /// Starts now.
    pub(super) fn new(limit: Duration) -> Self {
        Self::by(Box::new(System(Instant::now())), limit)
    }

    /// Starts now, by `time`.
    pub(super) fn by(time: Box<dyn Time>, limit: Duration) -> Self {
        let start = time.now();
        Self { time, start, limit, drawn: Cell::default(), to_draw: Cell::default(), packing: Cell::default() }
    }

    /// The whole time.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Time since the start.
    pub(super) fn spent(&self) -> Duration {
        self.time.now().saturating_sub(self.start)
    }

    /// Time that is left; zero when it is over.
    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.spent())
    }

    /// Time that is left for drawing: not what packing takes.
    fn left_to_draw(&self) -> Duration {
        self.left().saturating_sub(self.packing.get())
    }

    /// Time that is left for the reference: not what drawing the last pictures and packing take.
    pub(super) fn left_to_ask(&self) -> Duration {
        let last = u32::try_from(self.to_draw.get()).unwrap_or(u32::MAX);
        self.left_to_draw().saturating_sub(self.each_drawing().saturating_mul(last))
    }

    /// Whether there is time to draw another picture.
    pub(super) fn can_draw(&self) -> bool {
        let left = self.left_to_draw();
        !left.is_zero() && left >= self.each_drawing()
    }

    /// Draws a picture.
    pub(super) fn draw<T>(&self, make: impl FnOnce() -> T) -> T {
        let (made, took) = self.during(Work::Drawing, make);
        let (count, spent) = self.drawn.get();
        self.drawn.set((count.saturating_add(1), spent.saturating_add(took)));
        made
    }

    fn each_drawing(&self) -> Duration {
        let (count, spent) = self.drawn.get();
        spent.checked_div(count).unwrap_or_default()
    }

    /// Sets aside the time in which so many pictures are drawn.
    pub(super) fn set_aside(&self, pictures: usize) {
        self.to_draw.set(pictures);
    }

    /// Sets aside the time in which `all` pictures are packed, by how long it takes to `pack` the first `count`.
    pub(super) fn time_packing<T>(&self, count: usize, all: usize, pack: impl FnOnce() -> T) -> T {
        let (packed, took) = self.during(Work::Packing(count), pack);
        self.packing.set(took.mul_f64(all as f64 / count.max(1) as f64));
        packed
    }

    fn during<T>(&self, work: Work, run: impl FnOnce() -> T) -> (T, Duration) {
        let before = self.time.now();
        let made = run();
        self.time.worked(work);
        (made, self.time.now().saturating_sub(before))
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

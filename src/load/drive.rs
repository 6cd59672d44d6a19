//! An offer with threads and the machine's clock: each connection asks the sender what to do, and waits.
//!
//! A connection that is free takes the next query before its time, where queries go out one by one, and sleeps until then: no thread
//! has to wake another, which costs as much as the request. Where queries go out together one connection waits for them, and wakes
//! the next when they are full.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Offer;
use super::arrivals::Arrival;
use super::record::{Answer, Done, Figures, Record};
use super::sender::{Sender, Step};
use crate::error::{Error, Result};
use crate::timing::waiting::WaitingClock;

/// One connection to a model.
pub trait Connection {
    /// Asks for the samples of `queries`, in one request.
    ///
    /// # Errors
    /// What ends the run: the connection is gone, an answer is wrong. A refusal is no error.
    fn ask(&mut self, queries: &[Arrival]) -> Result<Answer>;
}

/// What the connections share.
struct Shared<'a> {
    offer: &'a Offer,
    sender: Mutex<Sender>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Connections that are ready.
    ready: usize,
    /// When the last of them was.
    start: Option<Instant>,
    failed: Option<Error>,
}

/// A connection's thread: one that ends in a panic must not leave the others waiting for it.
struct Thread<'a, 'b>(&'a Shared<'b>);

impl Drop for Thread<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Error::failed("a connection's thread ended in a panic"));
        }
    }
}

impl Shared<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the run; the first error is what it ends with.
    fn fail(&self, error: Error) {
        self.state().failed.get_or_insert(error);
        self.changed.notify_all();
    }

    /// Waits until every connection is ready; when that was, or nothing where one never will be.
    fn start(&self) -> Option<Instant> {
        let mut state = self.state();
        state.ready += 1;
        if state.ready >= self.offer.connections.max(1) && state.start.is_none() {
            state.start = Some(Instant::now());
            self.changed.notify_all();
        }
        while state.start.is_none() && state.failed.is_none() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.start.filter(|_| state.failed.is_none())
    }

    /// Sleeps until `until` after `start`; whether the run goes on.
    fn sleep(&self, start: Instant, until: Duration) -> bool {
        let mut state = self.state();
        while state.failed.is_none() {
            let left = until.saturating_sub(start.elapsed());
            if left.is_zero() {
                return true;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// The next request, waited for; none at the end.
    fn next(&self, start: Instant) -> Option<(Vec<Arrival>, Duration)> {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match sender.step(start.elapsed()) {
                Step::Wait(until) if self.sleep(start, until) => {}
                Step::Send { queries, ready } => {
                    drop(sender);
                    return self.sleep(start, ready).then_some((queries, ready));
                }
                Step::Wait(_) | Step::End => return None,
            }
        }
    }
}

/// Makes the offer over as many connections as it says, each made by `connect` in a thread of its own. Every connection asks once
/// before the clock starts.
///
/// # Errors
/// The first error of any connection.
pub fn drive<'a>(
    offer: &Offer,
    connect: &(dyn Fn() -> Result<Box<dyn Connection + 'a>> + Sync + 'a),
) -> Result<Figures> {
    let shared =
        Shared { offer, sender: Mutex::new(Sender::new(offer)), state: Mutex::default(), changed: Condvar::new() };
    let mut record = Record::new(offer)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..offer.connections.max(1)).map(|_| scope.spawn(|| work(&shared, connect))).collect();
        for thread in threads {
            match thread.join() {
                Ok(Ok(seen)) => record.add(seen),
                Ok(Err(error)) => shared.fail(error),
                // It was told by the thread itself.
                Err(_) => {}
            }
        }
    });
    if let Some(error) = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner).failed {
        return Err(error);
    }
    Ok(record.figures(shared.sender.into_inner().unwrap_or_else(PoisonError::into_inner).counts()))
}

fn work<'a>(
    shared: &Shared<'_>,
    connect: &(dyn Fn() -> Result<Box<dyn Connection + 'a>> + Sync + 'a),
) -> Result<Record> {
    let _thread = Thread(shared);
    let mut record = Record::new(shared.offer)?;
    let first = Arrival { number: 0, at: Duration::ZERO };
    let connected = connect().and_then(|mut connection| connection.ask(&[first]).map(|_| connection));
    let mut connection = connected.inspect_err(|error| shared.fail(error.clone()))?;
    let Some(start) = shared.start() else { return Ok(record) };
    let clock = WaitingClock::open();
    let begun = clock.read_both();
    loop {
        let free = start.elapsed();
        let Some((queries, ready)) = shared.next(start) else { break };
        let (sent, before) = (start.elapsed(), clock.read());
        let answer = match connection.ask(&queries) {
            Ok(answer) => answer,
            Err(error) => {
                shared.fail(error);
                break;
            }
        };
        let (answered, after) = (start.elapsed(), clock.read());
        let without_processor =
            after.zip(before).map_or(Duration::ZERO, |(after, before)| after.saturating_sub(before));
        record.note(&Done { queries: &queries, ready, free, sent, answered, without_processor }, answer);
    }
    if let Some(((running, _), (before, _))) = clock.read_both().zip(begun) {
        record.took(running.saturating_sub(before));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rstest::rstest;

    use super::super::Arrivals;
    use super::*;

    struct Quick;

    impl Connection for Quick {
        fn ask(&mut self, _: &[Arrival]) -> Result<Answer> {
            Ok(Answer::Given)
        }
    }

    fn offer(arrivals: Arrivals, seconds: f64) -> Offer {
        Offer {
            arrivals,
            seconds,
            most: 1000,
            batch: 1,
            wait_microseconds: 0,
            bound_milliseconds: None,
            drops: false,
            connections: 8,
        }
    }

    #[test]
    fn each_query_goes_out_once_and_not_before_its_time() {
        let offer = offer(Arrivals::Poisson { rate: 2000.0, seed: 1 }, 0.2);
        let figures = drive(&offer, &|| Ok(Box::new(Quick))).unwrap();
        assert!(figures.arrivals > 300, "{figures:?}");
        assert_eq!((figures.answered, figures.requests), (figures.arrivals, figures.arrivals));
        assert!(figures.seconds > 0.15 && figures.latency.unwrap().most > 0.0, "{figures:?}");
    }

    /// One connection that does not come up, or is lost, ends the run: the others would wait for it, or for queries that come in hours.
    #[rstest]
    #[case::error_before(false, false)]
    #[case::panic_before(true, false)]
    #[case::error_later(false, true)]
    #[case::panic_later(true, true)]
    fn a_connection_that_is_lost_ends_the_run(#[case] panics: bool, #[case] later: bool) {
        /// Lost after so many requests.
        struct Lost(bool, usize);
        impl Connection for Lost {
            fn ask(&mut self, _: &[Arrival]) -> Result<Answer> {
                match (self.1.checked_sub(1), self.0) {
                    (Some(left), _) => self.1 = left,
                    (None, true) => panic!("lost"),
                    (None, false) => return Err(Error::invalid("lost")),
                }
                Ok(Answer::Given)
            }
        }
        let made = AtomicUsize::new(0);
        // The first query comes at once, and the others hours apart.
        let offer = offer(Arrivals::Frames { sources: 1, rate: 1e-4 }, 1e6);
        let outcome = drive(&offer, &|| {
            let is_sixth = made.fetch_add(1, Ordering::Relaxed) == 5;
            Ok(Box::new(Lost(panics, usize::from(later || !is_sixth))))
        });
        let words = if panics { "ended in a panic" } else { "lost" };
        let error = outcome.unwrap_err();
        assert!(error.message.contains(words), "{error}");
    }
}

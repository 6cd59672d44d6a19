//! An offer with threads and the machine's clock: each connection asks the sender what to do, and waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::Offer;
use super::arrivals::Arrival;
use super::record::{Answer, Done, Figures, Record};
use super::sender::{Sender, Step};
use crate::error::{Error, Result};
use crate::timing::waiting::WaitingClock;

/// Longest sleep at once: a run that another connection ended is left soon.
const NAP: Duration = Duration::from_millis(200);

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
    ready: Barrier,
    start: OnceLock<Instant>,
    over: AtomicBool,
    failed: Mutex<Option<Error>>,
}

impl Shared<'_> {
    fn fail(&self, error: Error) {
        self.over.store(true, Ordering::Relaxed);
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// The next request, waited for; none at the end.
    fn next(&self, start: Instant) -> Option<(Vec<Arrival>, Duration)> {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.over.load(Ordering::Relaxed) {
            match sender.step(start.elapsed()) {
                Step::Wait(until) => std::thread::sleep(until.saturating_sub(start.elapsed()).min(NAP)),
                Step::Send { queries, ready } => return Some((queries, ready)),
                Step::End => break,
            }
        }
        None
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
    let connections = offer.connections.max(1);
    let shared = Shared {
        offer,
        sender: Mutex::new(Sender::new(offer)),
        ready: Barrier::new(connections),
        start: OnceLock::new(),
        over: AtomicBool::new(false),
        failed: Mutex::new(None),
    };
    let mut record = Record::new(offer)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(|| work(&shared, connect))).collect();
        for thread in threads {
            match thread.join() {
                Ok(Ok(seen)) => record.add(seen),
                Ok(Err(error)) => shared.fail(error),
                Err(_) => shared.fail(Error::failed("a connection's thread ended in a panic")),
            }
        }
    });
    if let Some(error) = shared.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    Ok(record.figures(shared.sender.into_inner().unwrap_or_else(PoisonError::into_inner).counts()))
}

fn work<'a>(
    shared: &Shared<'_>,
    connect: &(dyn Fn() -> Result<Box<dyn Connection + 'a>> + Sync + 'a),
) -> Result<Record> {
    let mut record = Record::new(shared.offer)?;
    let first = Arrival { number: 0, at: Duration::ZERO };
    let connected = connect().and_then(|mut connection| connection.ask(&[first]).map(|_| connection));
    if connected.is_err() {
        shared.over.store(true, Ordering::Relaxed);
    }
    shared.ready.wait();
    let mut connection = connected?;
    let start = *shared.start.get_or_init(Instant::now);
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

//! What goes out at a moment: the queue between arrivals and connections.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::time::Duration;

use super::Offer;
use super::arrivals::{Arrival, Arrivals, Times};

/// What a free connection does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Asks again at that time: there is nothing to send before.
    Wait(Duration),
    /// Sends these queries in one request, which could have gone out at `ready`, or can then: it waits for that.
    Send {
        /// The queries, the oldest first.
        queries: Vec<Arrival>,
        /// When there was enough to send.
        ready: Duration,
    },
    /// Nothing more comes.
    End,
}

/// How many queries came, and what became of those that were not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Queries that came.
    pub arrivals: u64,
    /// Of these, in the later half of the time.
    pub later: u64,
    /// Dropped: their time was over before they could be sent.
    pub dropped: u64,
    /// Not sent until the end.
    pub unsent: u64,
}

/// The queries of an offer that came and did not go out yet.
#[derive(Clone, Debug)]
pub struct Sender {
    offer: Offer,
    times: Peekable<Times>,
    queue: VecDeque<Arrival>,
    counts: Counts,
}

impl Sender {
    /// A sender of `offer`.
    pub fn new(offer: &Offer) -> Self {
        Self {
            offer: offer.clone(),
            times: Times::of(offer).peekable(),
            queue: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// What a connection that is free at `now` does.
    pub fn step(&mut self, now: Duration) -> Step {
        if self.offer.arrivals == Arrivals::Closed {
            return self.follow(now);
        }
        if self.is_one_by_one() {
            if now >= self.offer.end() {
                self.give_up();
            }
            // Whoever is free takes the next; the ones before it were taken before.
            let Some(arrival) = self.times.next() else { return Step::End };
            self.count(arrival);
            return Step::Send { queries: vec![arrival], ready: arrival.at };
        }
        while let Some(arrival) = self.times.next_if(|arrival| arrival.at <= now) {
            self.count(arrival);
            self.queue.push_back(arrival);
        }
        if let Some(bound) = self.offer.bound().filter(|_| self.offer.drops) {
            while self.queue.front().is_some_and(|first| first.at.saturating_add(bound) <= now) {
                self.queue.pop_front();
                self.counts.dropped += 1;
            }
        }
        if now >= self.offer.end() {
            self.give_up();
        }
        let next = self.times.peek().map(|arrival| arrival.at);
        let Some(first) = self.queue.front() else {
            return next.map_or(Step::End, Step::Wait);
        };
        let pushed = first.at.saturating_add(Duration::from_micros(self.offer.wait_microseconds));
        let full = self.queue.get(self.offer.batch.max(1) - 1).map(|last| last.at);
        let ready = full.map_or(pushed, |full| full.min(pushed));
        if ready > now {
            return Step::Wait(next.map_or(ready, |next| next.min(ready)));
        }
        let count = self.offer.batch.max(1).min(self.queue.len());
        Step::Send { queries: self.queue.drain(..count).collect(), ready }
    }

    /// Whether a query goes out when it comes, alone, whatever became of the others.
    fn is_one_by_one(&self) -> bool {
        self.offer.batch <= 1 && self.offer.wait_microseconds == 0 && !self.offer.drops
    }

    /// The next query of a connection whose last one was answered.
    fn follow(&mut self, now: Duration) -> Step {
        if now >= self.offer.duration() || self.counts.arrivals >= self.offer.most {
            return Step::End;
        }
        let arrival = Arrival { number: self.counts.arrivals, at: now };
        self.count(arrival);
        Step::Send { queries: vec![arrival], ready: now }
    }

    fn count(&mut self, arrival: Arrival) {
        self.counts.arrivals += 1;
        self.counts.later += u64::from(is_later(&self.offer, arrival));
    }

    /// Counts what is left as not sent.
    fn give_up(&mut self) {
        while let Some(arrival) = self.times.next() {
            self.count(arrival);
            self.counts.unsent += 1;
        }
        self.counts.unsent += self.queue.len() as u64;
        self.queue.clear();
    }

    /// How many queries came so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }
}

/// Whether a query came in the later half of the time.
pub(super) fn is_later(offer: &Offer, arrival: Arrival) -> bool {
    arrival.at >= offer.duration() / 2
}

//! What became of queries, as figures.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::arrivals::Arrival;
use super::sender::{Counts, is_later};
use super::{Executions, Offer};
use crate::error::{Error, Result};

/// Longest latency that is told apart, microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;
/// Digits that a latency keeps.
const DIGITS: u8 = 3;
/// Most reasons of refusals that are told apart, and what the others are called.
const REASONS: usize = 16;
const OTHERS: &str = "other reasons";

/// What a model did with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It answered.
    Given,
    /// It did not take it, and said why.
    Refused(String),
}

/// A request with its times, from the start.
#[derive(Clone, Debug)]
pub struct Done<'a> {
    /// Its queries.
    pub queries: &'a [Arrival],
    /// When there was enough to send.
    pub ready: Duration,
    /// When the connection was free.
    pub free: Duration,
    /// When it was sent.
    pub sent: Duration,
    /// When the answer was there.
    pub answered: Duration,
    /// How long the thread had no processor meanwhile.
    pub without_processor: Duration,
}

/// What one connection saw.
#[derive(Clone, Debug)]
pub struct Record {
    offer: Offer,
    latency: Histogram<u64>,
    own: Histogram<u64>,
    own_total: Duration,
    requests: u64,
    answered: u64,
    in_time: u64,
    in_time_later: u64,
    waited: u64,
    refused: BTreeMap<String, u64>,
    last: Duration,
    processor: Option<Duration>,
}

impl Record {
    /// An empty record of `offer`.
    ///
    /// # Errors
    /// Never for the range of today.
    pub fn new(offer: &Offer) -> Result<Self> {
        let histogram = || {
            Histogram::new_with_bounds(1, LONGEST, DIGITS)
                .map_err(|error| Error::failed("a histogram has no such range").because(error))
        };
        Ok(Self {
            offer: offer.clone(),
            latency: histogram()?,
            own: histogram()?,
            own_total: Duration::ZERO,
            requests: 0,
            answered: 0,
            in_time: 0,
            in_time_later: 0,
            waited: 0,
            refused: BTreeMap::new(),
            last: Duration::ZERO,
            processor: None,
        })
    }

    /// Notes a request and what became of it.
    pub fn note(&mut self, done: &Done<'_>, answer: Answer) {
        self.requests += 1;
        self.last = self.last.max(done.answered);
        // Until a connection was free the model had the others, or there are too few of them; the rest is the client's own.
        self.waited += u64::from(done.free > done.ready);
        let own = done.sent.saturating_sub(done.ready.max(done.free)).saturating_add(done.without_processor);
        self.own.saturating_record(microseconds(own));
        self.own_total = self.own_total.saturating_add(own);
        let count = done.queries.len() as u64;
        if let Answer::Refused(reason) = answer {
            add(&mut self.refused, reason, count);
            return;
        }
        self.answered += count;
        for &query in done.queries {
            let latency = done.answered.saturating_sub(query.at);
            self.latency.saturating_record(microseconds(latency));
            if self.offer.bound().is_none_or(|bound| latency <= bound) {
                self.in_time += 1;
                self.in_time_later += u64::from(is_later(&self.offer, query));
            }
        }
    }

    /// Notes what the connection's thread took of the processor.
    pub fn took(&mut self, processor: Duration) {
        self.processor = Some(processor);
    }

    /// Adds what another connection saw.
    pub fn add(&mut self, other: Self) {
        // Both have the same range.
        let _ = (self.latency.add(&other.latency), self.own.add(&other.own));
        self.own_total = self.own_total.saturating_add(other.own_total);
        self.requests += other.requests;
        self.answered += other.answered;
        self.in_time += other.in_time;
        self.in_time_later += other.in_time_later;
        self.waited += other.waited;
        self.last = self.last.max(other.last);
        self.processor = match (self.processor, other.processor) {
            (Some(here), Some(there)) => Some(here.saturating_add(there)),
            (known, None) | (None, known) => known,
        };
        other.refused.into_iter().for_each(|(reason, count)| add(&mut self.refused, reason, count));
    }

    /// The figures of the whole run.
    pub fn figures(self, counts: Counts) -> Figures {
        let milliseconds = |histogram: &Histogram<u64>, quantile: f64| {
            (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile) as f64 / 1000.0)
        };
        let latency = |quantile| milliseconds(&self.latency, quantile);
        let percentiles = latency(0.5).zip(latency(0.9)).zip(latency(0.99).zip(latency(0.999)));
        Figures {
            arrivals: counts.arrivals,
            arrivals_later: counts.later,
            answered: self.answered,
            in_time: self.in_time,
            in_time_later: self.in_time_later,
            dropped: counts.dropped,
            unsent: counts.unsent,
            refused: self.refused,
            requests: self.requests,
            waited: self.waited,
            seconds: self.last.as_secs_f64(),
            latency: percentiles.map(|((p50, p90), (p99, p999))| Latency {
                p50,
                p90,
                p99,
                p999,
                most: self.latency.max() as f64 / 1000.0,
            }),
            own_milliseconds: milliseconds(&self.own, 0.99).unwrap_or_default(),
            own_usual_milliseconds: milliseconds(&self.own, 0.9).unwrap_or_default(),
            own_share: share(self.own_total, self.last, self.offer.connections),
            processor_microseconds: self
                .processor
                .filter(|_| self.requests > 0)
                .map(|taken| taken.as_secs_f64() * 1e6 / self.requests as f64),
            executions: None,
            offer: self.offer,
        }
    }
}

fn add(refused: &mut BTreeMap<String, u64>, reason: String, count: u64) {
    let known = refused.contains_key(&reason) || refused.len() < REASONS;
    *refused.entry(if known { reason } else { OTHERS.to_owned() }).or_default() += count;
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The part of the time of all connections that `own` is.
fn share(own: Duration, whole: Duration, connections: usize) -> f64 {
    let whole = whole.as_secs_f64() * connections.max(1) as f64;
    if whole > 0.0 { own.as_secs_f64() / whole } else { 0.0 }
}

/// Latencies of answered queries, from the time they were scheduled for, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
    /// The longest.
    pub most: f64,
}

/// What became of an offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// What was offered.
    pub offer: Offer,
    /// Queries that came.
    pub arrivals: u64,
    /// Of these, in the later half of the time.
    pub arrivals_later: u64,
    /// Queries that were answered.
    pub answered: u64,
    /// Of these, within the bound; all where there is none.
    pub in_time: u64,
    /// Of these, those that came in the later half of the time.
    pub in_time_later: u64,
    /// Queries that were dropped: their time was over before they could be sent.
    #[serde(default)]
    pub dropped: u64,
    /// Queries that were not sent until the end.
    #[serde(default)]
    pub unsent: u64,
    /// Queries that were refused, by the words of the refusal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, u64>,
    /// Requests that were sent: one holds several queries where they are batched.
    pub requests: u64,
    /// Requests that no connection was free for when they could have gone out.
    #[serde(default)]
    pub waited: u64,
    /// From the start to the last answer, seconds.
    pub seconds: f64,
    /// Latencies of what was answered; absent where nothing was.
    pub latency: Option<Latency>,
    /// The client's own part of a request's latency, 99th percentile, milliseconds: sent later than it could, or without a processor.
    pub own_milliseconds: f64,
    /// The 90th percentile of that.
    #[serde(default)]
    pub own_usual_milliseconds: f64,
    /// The client's own part of the time of all connections.
    #[serde(default)]
    pub own_share: f64,
    /// Processor time of the client's threads a request, microseconds, where the system tells it.
    #[serde(default)]
    pub processor_microseconds: Option<f64>,
    /// What the server says of its own work, where it tells.
    #[serde(default)]
    pub executions: Option<Executions>,
}

impl Figures {
    /// Queries that were answered after the bound.
    pub const fn late(&self) -> u64 {
        self.answered.saturating_sub(self.in_time)
    }

    /// Queries that were refused, whatever the reason.
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Queries answered a second, over the whole run.
    pub fn answered_per_second(&self) -> f64 {
        per_second(self.answered, self.seconds)
    }

    /// Queries answered in time a second, of the time that queries came in.
    pub fn in_time_per_second(&self) -> f64 {
        let seconds = if self.offer.arrivals.rate().is_some() { self.offer.seconds } else { self.seconds };
        per_second(self.in_time, seconds)
    }

    /// Rows that the server computed in one execution, on average, where it tells.
    pub fn rows_per_execution(&self) -> Option<f64> {
        let told = self.executions.filter(|told| told.executions > 0)?;
        Some(told.rows as f64 / told.executions as f64)
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

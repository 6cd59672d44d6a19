//! What is wanted of a model under load, as runs: a stated rate, or a search of the largest.

use serde::{Deserialize, Serialize};

use super::record::Figures;
use super::scenario::{OFFLINE_SAMPLES, Scenario};
use super::search::{self, Found};
use super::standing::{FEWEST, Standing};
use super::{Arrivals, MOST_QUERIES, Offer};
use crate::error::Result;

/// Longest time that queries come in one run, seconds; a rate that is too small for a percentile in that time has none.
pub const LONGEST_SECONDS: f64 = 60.0;
/// Longest time of an offline query, seconds.
const LONGEST_OFFLINE: f64 = 600.0;
/// More queries than a percentile takes at least, since random arrivals are some fewer at times.
const SPARE: f64 = 1.2;
/// Where a search begins, of what as many connections do that ask one after the other.
const START: f64 = 0.7;

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// How the model is asked.
    pub scenario: Scenario,
    /// Queries a second of the server scenario; without it the largest that holds the bound is looked for.
    pub rate: Option<f64>,
    /// The latency that has to be held, milliseconds; of the scenarios that have one.
    pub bound_milliseconds: f64,
    /// Requests that are under way at once.
    pub connections: usize,
    /// What random times are made from.
    pub seed: u64,
    /// How long queries come, seconds; longer where they would be too few.
    pub seconds: f64,
    /// Live sources.
    pub sources: usize,
    /// Frames a second of each.
    pub frames_per_second: f64,
    /// How long the first frame of a batch waits for others, microseconds.
    pub wait_microseconds: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Every run, in the order they were made.
    pub points: Vec<Figures>,
    /// What they say.
    pub standing: Standing,
    /// Queries a second that were held, or answered where there is no bound.
    pub rate: Option<f64>,
}

impl Wanted {
    /// What tests want of `scenario`.
    #[cfg(test)]
    pub(crate) fn sample(scenario: Scenario) -> Self {
        Self {
            scenario,
            rate: None,
            bound_milliseconds: 15.0,
            connections: 64,
            seed: 1,
            seconds: 3.0,
            sources: 16,
            frames_per_second: 10.0,
            wait_microseconds: 1000,
        }
    }

    /// Whether the largest rate is looked for.
    pub const fn is_searched(&self) -> bool {
        matches!(self.scenario, Scenario::Server) && self.rate.is_none()
    }

    /// Makes the runs of a cell whose batch is `batch`; `drive` makes one.
    ///
    /// # Errors
    /// Of `drive`.
    pub fn measure(&self, batch: u32, drive: &mut dyn FnMut(&Offer) -> Result<Figures>) -> Result<Outcome> {
        let mut points = Vec::new();
        if self.is_searched() {
            return self.search(drive);
        }
        let offer = match (self.scenario, self.rate) {
            (Scenario::Server, rate) => self.poisson(rate.unwrap_or(search::SMALLEST), self.seed),
            (Scenario::Stream, _) => self.frames(batch),
            (Scenario::Offline, _) => Offer {
                most: OFFLINE_SAMPLES.div_ceil(u64::from(batch.max(1))),
                seconds: LONGEST_OFFLINE,
                ..self.closed(self.connections)
            },
            (Scenario::SingleStream | Scenario::MultiStream, _) => self.closed(1),
        };
        let figures = drive(&offer)?;
        let too_few = self.scenario == Scenario::MultiStream && figures.arrivals < FEWEST;
        let standing = match figures.standing() {
            Standing::Measured if too_few => Standing::NotMeasured(format!(
                "{} queries are too few for a 99th percentile, which takes {FEWEST}: measure longer (`--duration`)",
                figures.arrivals
            )),
            standing => standing,
        };
        let rate = match standing {
            Standing::Held => offer.arrivals.rate(),
            Standing::Measured => Some(figures.answered_per_second()),
            Standing::NotHeld | Standing::NotMeasured(_) => None,
        };
        points.push(figures);
        Ok(Outcome { points, standing, rate })
    }

    /// The largest rate that holds the bound. What the connections do one request after the other says where to begin.
    fn search(&self, drive: &mut dyn FnMut(&Offer) -> Result<Figures>) -> Result<Outcome> {
        let closed = drive(&Offer { seconds: self.seconds.min(2.0), ..self.closed(self.connections) })?;
        let start = closed.answered_per_second() * START;
        let (mut points, mut number) = (Vec::new(), 0);
        let found = search::largest(start, &mut |rate| {
            number += 1;
            let figures = drive(&self.poisson(rate, self.seed.wrapping_add(number)))?;
            let standing = figures.standing();
            points.push(figures);
            Ok(standing)
        })?;
        let (standing, rate) = match found {
            Found::Settled(rate) => (Standing::Held, Some(rate)),
            Found::AtLeast(rate, why) => {
                (Standing::NotMeasured(format!("{rate:.1} queries/s are held, and more is not known: {why}")), None)
            }
            Found::None(_) => (Standing::NotHeld, None),
            Found::NotMeasured(why) => (Standing::NotMeasured(why), None),
        };
        Ok(Outcome { points, standing, rate })
    }

    fn poisson(&self, rate: f64, seed: u64) -> Offer {
        Offer {
            arrivals: Arrivals::Poisson { rate, seed },
            seconds: self.long_enough(rate),
            bound_milliseconds: Some(self.bound_milliseconds),
            ..self.closed(self.connections)
        }
    }

    fn frames(&self, batch: u32) -> Offer {
        let rate = self.frames_per_second * self.sources as f64;
        Offer {
            arrivals: Arrivals::Frames { sources: self.sources, rate: self.frames_per_second },
            seconds: self.long_enough(rate),
            batch: batch.max(1) as usize,
            wait_microseconds: self.wait_microseconds,
            bound_milliseconds: Some(self.bound_milliseconds),
            drops: true,
            ..self.closed(self.connections)
        }
    }

    fn closed(&self, connections: usize) -> Offer {
        Offer {
            arrivals: Arrivals::Closed,
            seconds: self.seconds,
            most: MOST_QUERIES,
            batch: 1,
            wait_microseconds: 0,
            bound_milliseconds: None,
            drops: false,
            connections,
        }
    }

    /// How long queries of `rate` have to come for a percentile.
    fn long_enough(&self, rate: f64) -> f64 {
        self.seconds.max((FEWEST as f64 * SPARE / rate).min(LONGEST_SECONDS))
    }
}

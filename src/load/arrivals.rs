//! When queries come.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Offer;

/// How queries come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Arrivals {
    /// At random and independent of each other and of the answers (a Poisson process).
    Poisson {
        /// Queries a second, on average.
        rate: f64,
        /// What the times are made from.
        seed: u64,
    },
    /// Frames of several sources at a fixed rate each, the sources evenly shifted against each other.
    Frames {
        /// Sources.
        sources: usize,
        /// Frames a second of each.
        rate: f64,
    },
    /// On each connection the next when the last is answered.
    Closed,
}

impl Arrivals {
    /// Queries a second; none where they follow the answers.
    pub fn rate(&self) -> Option<f64> {
        match *self {
            Self::Poisson { rate, .. } => Some(rate),
            Self::Frames { sources, rate } => Some(rate * sources as f64),
            Self::Closed => None,
        }
    }
}

/// One query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its number, from 0; also which samples it is of.
    pub number: u64,
    /// When it was scheduled, from the start.
    pub at: Duration,
}

/// The times of an offer, in order, made as they are asked for.
#[derive(Clone, Debug)]
pub(super) struct Times {
    arrivals: Arrivals,
    random: ChaCha8Rng,
    number: u64,
    most: u64,
    last: f64,
    seconds: f64,
}

impl Times {
    pub(super) fn of(offer: &Offer) -> Self {
        let seed = match offer.arrivals {
            Arrivals::Poisson { seed, .. } => seed,
            Arrivals::Frames { .. } | Arrivals::Closed => 0,
        };
        Self {
            arrivals: offer.arrivals,
            random: ChaCha8Rng::seed_from_u64(seed),
            number: 0,
            most: offer.most,
            last: 0.0,
            seconds: offer.seconds,
        }
    }
}

impl Iterator for Times {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let at = match self.arrivals {
            Arrivals::Poisson { rate, .. } => {
                // The times between are exponential: minus the logarithm of what is uniform above 0 and up to 1.
                let uniform: f64 = 1.0 - self.random.random::<f64>();
                self.last - uniform.ln() / rate
            }
            Arrivals::Frames { sources, rate } => self.number as f64 / (sources as f64 * rate),
            Arrivals::Closed => return None,
        };
        if self.number >= self.most || at.is_nan() || at >= self.seconds {
            // Random times that are asked for again would go on with others.
            self.most = self.number;
            return None;
        }
        self.last = at;
        let arrival = Arrival { number: self.number, at: Duration::try_from_secs_f64(at).ok()? };
        self.number += 1;
        Some(arrival)
    }
}

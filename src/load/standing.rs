//! Whether a rate was held.

use serde::{Deserialize, Serialize};

use super::record::Figures;

/// Fewest queries that a 99th percentile is told of: where none of 299 misses a bound, fewer than one in a hundred do at 95 %
/// confidence (0.99²⁹⁹ = 0.0495).
pub const FEWEST: u64 = 299;
/// Share of queries that have to be answered in time.
pub const SHARE: f64 = 0.99;
/// Share of queries that miss the bound from which on a rare delay of the client cannot be why.
const MANY: f64 = 0.1;
/// The client's own part of latencies, as a share of the latency that is judged, from which on it is the client that is measured.
pub const OWN: f64 = 0.1;

/// What a run says of its rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "standing", content = "why")]
pub enum Standing {
    /// 99 of 100 queries were answered in time, in the later half of the run too.
    Held,
    /// They were not.
    NotHeld,
    /// There was no bound to hold.
    Measured,
    /// The figures are not the model's, for this reason.
    NotMeasured(String),
}

impl Figures {
    /// The latency that is judged: the bound, or the 99th percentile where that is larger.
    fn judged(&self) -> f64 {
        let p99 = self.latency.map_or(0.0, |latency| latency.p99);
        self.offer.bound_milliseconds.unwrap_or(0.0).max(p99)
    }

    /// Whether the client's own part is more than a tenth of what is judged, in one request of a hundred: latencies are the
    /// client's then, and not told.
    pub fn is_of_client(&self) -> bool {
        self.own_milliseconds > OWN * self.judged()
    }

    /// Whether the rate was held. What was refused, dropped or not sent was not answered in time.
    ///
    /// Latencies from the scheduled time hold the client's own delay too, so that what was in time was so whatever the client did. Of
    /// what was not, a client that is late itself may be the reason: nothing was measured then.
    pub fn standing(&self) -> Standing {
        let bounded = self.offer.bound_milliseconds.is_some();
        if self.latency.is_none() {
            let reason = self.refused.keys().next().map_or("no query came", String::as_str);
            return match self.arrivals {
                // All were dropped or refused: the bound is not held, whatever the client did.
                1.. if self.dropped + self.refusals() > 0 && bounded => Standing::NotHeld,
                _ => Standing::NotMeasured(format!("nothing was answered: {reason}")),
            };
        }
        if bounded && self.arrivals < FEWEST {
            return Standing::NotMeasured(format!(
                "{} queries are too few for a 99th percentile, which takes {FEWEST}: measure longer (`--duration`)",
                self.arrivals
            ));
        }
        let share = |part: u64, whole: u64| part as f64 >= SHARE * whole as f64;
        if bounded && share(self.in_time, self.arrivals) && share(self.in_time_later, self.arrivals_later) {
            return Standing::Held;
        }
        // Where more than one in ten was not in time, what befell fewer requests than that cannot be why.
        let many = (self.in_time as f64) < (1.0 - MANY) * self.arrivals as f64;
        let rare = self.own_usual_milliseconds <= OWN * self.judged();
        // Nor does it matter how late a client is where the model would not keep up without it.
        let without_client = self.answered_per_second() / (1.0 - self.own_share.min(1.0));
        let too_slow = self.offer.arrivals.rate().is_some_and(|rate| without_client < (1.0 - MANY) * rate);
        if self.is_of_client() && !(bounded && (many && rare || too_slow)) {
            return Standing::NotMeasured(format!(
                "the client is the limit: of 100 requests one was sent {:.2} ms or more after it could, or waited so long for a processor, which is more than a tenth of {:.2} ms",
                self.own_milliseconds,
                self.judged()
            ));
        }
        if bounded { Standing::NotHeld } else { Standing::Measured }
    }
}

//! What a report says of a model under load.

use serde::{Deserialize, Serialize};

use super::BaselineVerdict;
use crate::load::{Figures, Outcome, Scenario, Standing, Wanted};

/// A cell under load: what was wanted, every run, and what they say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// What was wanted.
    pub wanted: Wanted,
    /// Samples in a query.
    pub samples: u32,
    /// Every run, in the order they were made.
    pub points: Vec<Figures>,
    /// What they say.
    #[serde(flatten)]
    pub standing: Standing,
    /// Queries a second that were held, or answered where there is no bound; absent where that is not known.
    pub rate: Option<f64>,
    /// The verdict against the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineVerdict>,
}

impl LoadReport {
    /// What came of `wanted`.
    pub fn new(wanted: Wanted, samples: u32, outcome: Outcome) -> Self {
        let Outcome { points, standing, rate } = outcome;
        Self { wanted, samples, points, standing, rate, baseline: None }
    }

    /// The run that the figures are told of: the last at the rate that was held, else the last of all.
    pub fn told(&self) -> Option<&Figures> {
        let at = |point: &&Figures| point.offer.arrivals.rate() == self.rate;
        self.points.iter().rev().find(at).or_else(|| self.points.last())
    }

    /// What came of it, one sentence; no figure where nothing was measured.
    pub fn sentence(&self) -> String {
        let scenario = self.wanted.scenario;
        let name = scenario.as_str();
        let (Some(told), false) = (self.told(), matches!(self.standing, Standing::NotMeasured(_))) else {
            let why = match &self.standing {
                Standing::NotMeasured(why) => why.as_str(),
                _ => "nothing ran",
            };
            return format!("{name}: not measured: {why}");
        };
        let bound = format!("within {} ms", number(self.wanted.bound_milliseconds));
        let held = if self.standing == Standing::Held { "are held" } else { "are not held" };
        let mut text = match scenario {
            Scenario::Stream => format!(
                "{name}: {} sources at {} frames/s {held}: of {} frames {} in time ({bound}), {} late, {} dropped",
                self.wanted.sources,
                number(self.wanted.frames_per_second),
                told.arrivals,
                told.in_time,
                told.late(),
                told.dropped
            ),
            Scenario::Server => match (self.wanted.rate, self.rate) {
                (None, Some(rate)) => format!(
                    "{name}: {} queries/s are the most that is held {bound} at the 99th percentile; 5 % more is not",
                    number(rate)
                ),
                (None, None) => format!("{name}: no rate is held {bound} at the 99th percentile"),
                (Some(rate), _) => format!(
                    "{name}: {} queries/s {held} {bound} at the 99th percentile: {} answered/s, {:.2} % in time",
                    number(rate),
                    number(told.answered_per_second()),
                    share(told.in_time, told.arrivals)
                ),
            },
            Scenario::MultiStream | Scenario::SingleStream | Scenario::Offline => format!(
                "{name}: {} samples/s in queries of {}",
                number(told.answered_per_second() * f64::from(self.samples)),
                self.samples
            ),
        };
        if let Some(latency) = told.latency.filter(|_| scenario != Scenario::Offline && !told.is_of_client()) {
            text.push_str(&format!(
                "; p50 {}, p90 {}, p99 {}, p99.9 {} ms",
                number(latency.p50),
                number(latency.p90),
                number(latency.p99),
                number(latency.p999)
            ));
        }
        if told.is_of_client() {
            text.push_str(&format!(
                "; latencies are not measured: the client itself took {} ms and more of one in a hundred",
                number(told.own_milliseconds)
            ));
        }
        if told.unsent > 0 {
            text.push_str(&format!("; {} were not sent until the end", told.unsent));
        }
        for (reason, count) in &told.refused {
            text.push_str(&format!("; {count} refused: {reason}"));
        }
        text.extend(told.rows_per_execution().map(|rows| format!("; {} rows an execution", number(rows))));
        if told.waited * 100 > told.requests && scenario == Scenario::Server && self.wanted.connections > 1 {
            text.push_str(&format!(
                "; {:.0} % found none of the {} connections free",
                share(told.waited, told.requests),
                self.wanted.connections
            ));
        }
        text
    }
}

/// Percent.
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64 * 100.0
}

/// Three significant digits at least, without what they do not need.
fn number(value: f64) -> String {
    let text = match value.abs() {
        large if large >= 100.0 => return format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let told: Vec<String> = [312.4, 15.0, 4.234, 0.5, 99.96].map(number).to_vec();
        assert_eq!(told, ["312", "15", "4.23", "0.5", "100"]);
    }
}

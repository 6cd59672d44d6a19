//! What a report says of speed.

use serde::{Deserialize, Serialize};

use super::contract::TimingContract;
use super::device::DeviceMeasurement;
use super::statistics::{Clock, Repetition};

/// A measurement in figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimingSummary {
    /// What was timed and how.
    pub contract: TimingContract,
    /// Samples per second.
    pub samples_per_second: f64,
    /// Median time of a batch, milliseconds (GPU clock where there is one, host clock else).
    pub median_milliseconds: f64,
    /// 90th percentile.
    pub p90_milliseconds: f64,
    /// 95th percentile.
    pub p95_milliseconds: f64,
    /// 99th percentile.
    pub p99_milliseconds: f64,
    /// Coefficient of variation, 0.01 is 1 %.
    pub variation: f64,
    /// Batches timed.
    pub iterations: u64,
    /// Host cost per batch, microseconds.
    #[serde(default)]
    pub enqueue_microseconds: Option<f64>,
    /// The clock that the median, percentiles and variation were read from.
    #[serde(default)]
    pub clock: Option<Clock>,
    /// How the GPU was used, its state before and after, and its limits; `None` on CPU.
    #[serde(default)]
    pub device: Option<Box<DeviceMeasurement>>,
    /// Each repetition (a process of its own) of the measurement; the figures above are of the fastest.
    #[serde(default)]
    pub repetitions: Vec<Repetition>,
}

impl TimingSummary {
    /// Samples per second at the typical time of the fastest repetition, which is what verdicts go by; the plain
    /// quotient for a report that holds no repetitions.
    pub fn typical_samples_per_second(&self) -> f64 {
        let typical = self.repetitions.iter().map(|repetition| repetition.typical_samples_per_second);
        typical.reduce(f64::max).unwrap_or(self.samples_per_second)
    }
}

/// A cell judged against its baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineVerdict {
    /// `ok`, `warn`, `fail`, `improved`, `no-baseline`, `unstable`, `damaged`.
    pub verdict: String,
    /// The same ratio of the confirming run, where there was one.
    #[serde(default)]
    pub confirming_ratio: Option<f64>,
    /// The series' own noise: standard deviation of the logarithm of a run's samples per second; 0.01 is 1 %.
    #[serde(default)]
    pub noise: Option<f64>,
    /// The smallest slowdown that this series catches at least 99 times in 100; 0.03 is 3 %.
    #[serde(default)]
    pub detectable_slowdown: Option<f64>,
    /// Samples per second over the baseline's; below 1 is slower.
    pub ratio: Option<f64>,
    /// The baseline's samples per second.
    pub baseline_samples_per_second: Option<f64>,
    /// The threshold that applied, as a ratio (0.95: fails below).
    pub threshold: Option<f64>,
    /// One sentence.
    pub detail: String,
    /// Earlier values of this series, oldest first: (date, samples per second).
    #[serde(default)]
    pub history: Vec<(String, f64)>,
}

//! The throughput of one cell as several replicas, a GPU each, at the same time.

use serde::{Deserialize, Serialize};

/// Share of N times one that N replicas have to reach together.
pub const LEAST: f64 = 0.95;

/// What replicas reached together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Replicas {
    /// The GPUs, by number.
    pub gpus: Vec<usize>,
    /// Samples per second of each, at the same time, in that order.
    pub each: Vec<f64>,
    /// Samples per second of one alone, on the cell's own GPU.
    pub alone: f64,
}

impl Replicas {
    /// Samples per second of all together.
    pub fn sum(&self) -> f64 {
        self.each.iter().sum()
    }

    /// The slowest.
    pub fn least(&self) -> f64 {
        self.each.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The fastest.
    pub fn most(&self) -> f64 {
        self.each.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// All together over one alone: N where nothing is shared.
    pub fn times_one(&self) -> f64 {
        self.sum() / self.alone
    }

    /// Whether all together reach [`LEAST`] of N times one; what is no number does not.
    pub fn holds(&self) -> bool {
        !self.each.is_empty() && self.sum() >= LEAST * self.each.len() as f64 * self.alone && self.alone > 0.0
    }

    /// In a sentence.
    pub fn sentence(&self) -> String {
        let (count, rate) = (self.each.len(), |rate: f64| format!("{rate:.0}/s"));
        format!(
            "{count} GPUs at once: {}, {:.3} × one alone ({}); {} to {} a GPU; asked for is {:.3} × or more",
            rate(self.sum()),
            self.times_one(),
            rate(self.alone),
            rate(self.least()),
            rate(self.most()),
            LEAST * count as f64,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_hold_if_they_take_little_from_each_other() {
        let of = |each: &[f64], alone| Replicas { gpus: (0..each.len()).collect(), each: each.to_vec(), alone };
        assert!(of(&[998.0, 998.0], 1000.0).holds() && of(&[950.0, 950.0], 1000.0).holds());
        assert!(!of(&[949.0, 950.0], 1000.0).holds(), "together less than asked for");
        // What is no measurement never holds.
        for broken in [of(&[], 1000.0), of(&[f64::NAN, 1e9], 1000.0), of(&[1.0, 1.0], f64::NAN), of(&[0.0, 0.0], 0.0)] {
            assert!(!broken.holds(), "{broken:?}");
        }
        assert_eq!(
            of(&[353_000.0, 352_000.0], 353_200.0).sentence(),
            "2 GPUs at once: 705000/s, 1.996 × one alone (353200/s); 352000/s to 353000/s a GPU; asked for is 1.900 × or more"
        );
    }
}

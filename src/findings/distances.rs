//! Distances of outputs from the reference's.

use serde::{Deserialize, Serialize};

use super::non_finite;

/// Distance of the outputs from the reference, over all samples and classes. A figure that is not finite is written
/// as `null` and read back as NaN.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorMetrics {
    /// Largest absolute error.
    #[serde(deserialize_with = "non_finite::number")]
    pub max_abs: f64,
    /// Mean absolute error.
    #[serde(deserialize_with = "non_finite::number")]
    pub mean_abs: f64,
    /// 99th percentile of the absolute error.
    #[serde(deserialize_with = "non_finite::number")]
    pub p99_abs: f64,
    /// Smallest cosine similarity of a sample.
    #[serde(deserialize_with = "non_finite::number")]
    pub cosine_min: f64,
    /// Signal to quantisation noise, dB; higher is better; 999 when equal bit by bit.
    #[serde(deserialize_with = "non_finite::number")]
    pub sqnr_db: f64,
    /// Elements outside absolute OR relative tolerance.
    #[serde(default)]
    pub outside: usize,
}

/// Counts per bin of `log10(absolute error)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Lower edge of the first bin.
    pub from: f64,
    /// Width of a bin.
    pub step: f64,
    /// Counts; the first holds everything below its upper edge, zeros too.
    pub counts: Vec<u64>,
}

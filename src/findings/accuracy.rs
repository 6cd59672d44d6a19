//! What a report says of accuracy on labelled data.

use serde::{Deserialize, Serialize};

/// Name of the rule in [`Report::cross`](super::Report::cross) that judges the reference on labelled data.
pub const ACCURACY_RULE: &str = "accuracy";

/// Labelled top-1 accuracy of a cell on real data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Samples.
    pub samples: usize,
    /// Right answers of this cell.
    pub correct: usize,
    /// Right answers of the reference on the same samples.
    pub reference_correct: Option<usize>,
    /// Largest fall allowed, percentage points.
    pub allowed_drop_points: f64,
    /// Least share of right answers, where the manifest names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// Why the labels are not taken for the model's, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_refused: Option<String>,
    /// What about the labels is to be looked at, though they are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_suspicious: Option<String>,
}

/// The reference's accuracy on labelled data, with what it is held to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccuracyReport {
    /// Samples.
    pub samples: usize,
    /// Right answers of the reference.
    pub correct: usize,
    /// Bounds of the 95 % interval of its share of right answers (Wilson's), for all samples like these.
    pub interval: [f64; 2],
    /// Whether the reference did not run, and its answers are those that the golden keeps of the same samples.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_golden: bool,
    /// Least share of right answers, where the manifest names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// Largest loss against the golden, a share of the samples, where the manifest names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<f64>,
    /// What the golden keeps, where it keeps an accuracy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<GoldenAccuracy>,
    /// Why the labels are not taken for the model's, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_refused: Option<String>,
}

/// The accuracy that a golden keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoldenAccuracy {
    /// Samples.
    pub samples: usize,
    /// Right answers of the reference when it was accepted.
    pub correct: usize,
    /// Whether they were the same samples with the same labels.
    pub same_data: bool,
}

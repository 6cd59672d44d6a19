//! What was found of each output of a model that has several: by its task, with its figures beside their limits.

use serde::{Deserialize, Serialize};

use super::shown::Shown;
use super::{ErrorMetrics, non_finite};
use crate::vocabulary::{Status, Task};

/// What one output was found to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputFinding {
    /// The output's name.
    pub output: String,
    /// What the same answer means for it.
    pub task: Task,
    /// `pass`, `fail`, or `invalid` where nothing could be judged.
    pub status: Status,
    /// What is wrong, or what was compared, in a sentence.
    pub detail: String,
    /// The figures, in the task's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<OutputFigure>,
    /// Answers that changed where the reference was not sure of them: near a tie, near a threshold.
    #[serde(default)]
    pub borderline: usize,
    /// Answers that changed though the reference was sure of them.
    #[serde(default)]
    pub confident: usize,
    /// Distance of its numbers.
    pub error: ErrorMetrics,
    /// What a person looks at: answers beside the reference's. Absent where nothing is drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Shown>,
}

impl OutputFinding {
    /// What was found, without the output's name.
    pub fn sentence(&self) -> &str {
        let named = format!("output `{}`: ", self.output);
        self.detail.strip_prefix(named.as_str()).unwrap_or(&self.detail)
    }
}

/// One figure of an output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputFigure {
    /// The limit's name: `cosine`, `iou`, `edits`.
    pub name: String,
    /// What was found.
    #[serde(deserialize_with = "non_finite::number")]
    pub value: f64,
    /// What is allowed.
    #[serde(deserialize_with = "non_finite::number")]
    pub limit: f64,
    /// Whether the manifest names the limit, instead of the tolerance ladder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub named: bool,
}

//! Versions of one library beside each other, and the answers that are kept for it: shards of a run that were made in containers of
//! their own give the same table once they are merged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Report, non_finite};
use crate::figure::figure;
use crate::tensor::ElementType;
use crate::vocabulary::{CellId, Library, Precision, ShapePoint, Status, Task};

/// The rule across cells that tells of versions.
pub const VERSIONS_RULE: &str = "versions";

/// Answers of cells whose library has versions, and what they are compared by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptAnswers {
    /// Outputs, tasks and named limits, as the manifest has them; `check/versions` reads it.
    pub terms: serde_json::Value,
    /// The answers by their digest, each once however many cells gave them.
    pub sets: BTreeMap<String, AnswerSet>,
}

/// What one cell answered, or as many samples of it as there is room for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerSet {
    /// Digest of the samples that were asked.
    pub asked: String,
    /// Samples that were answered; the digest that this set is found by is that of all of them.
    pub samples: usize,
    /// Of them, those that are kept, spread over all; see `check/versions`.
    pub kept: usize,
    /// Bytes that one sample takes.
    pub sample_bytes: usize,
    /// The outputs, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<KeptOutput>,
}

/// One output of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptOutput {
    /// The output's name.
    pub name: String,
    /// Element type.
    pub element_type: ElementType,
    /// Of one tensor, a row a sample; or of a tensor for each sample.
    pub shapes: Vec<Vec<usize>>,
    /// Whether there is a tensor for each sample.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
    /// The values of all tensors, little-endian, base64.
    pub base64: String,
}

/// One precision, batch and shape of a library in several versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionRow {
    /// The library.
    pub library: Library,
    /// Precision.
    pub precision: Precision,
    /// Samples in one call.
    pub batch: u32,
    /// The point of its open shapes, where the model has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<ShapePoint>,
    /// Its versions, the oldest first; at least two.
    pub versions: Vec<VersionFigures>,
    /// Each version beside each older one.
    pub pairs: Vec<VersionPair>,
}

/// What one version costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionFigures {
    /// `10.6.0`.
    pub version: String,
    /// How its cell ended, held to the reference.
    pub status: Status,
    /// Size of its artifact, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// That over the size of the oldest version that has one; below 1 is smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_ratio: Option<f64>,
    /// Seconds that its engine took to build; absent where it came from the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_seconds: Option<f64>,
    /// Samples per second at the typical time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples_per_second: Option<f64>,
    /// That over the oldest version's that was measured; above 1 is faster. Absent under another contract or on another card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_ratio: Option<f64>,
    /// The GPU model that it was measured on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
}

/// A version beside an older one, held to what one of them may differ by from the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionPair {
    /// The older version.
    pub older: String,
    /// The newer one.
    pub newer: String,
    /// `pass` within those limits, `fail` beyond them, `unavailable` where answers were not compared. Shown, not judged.
    pub status: Status,
    /// What was found, or why nothing was compared, in a sentence.
    pub detail: String,
    /// Whether all answers are equal bit by bit.
    #[serde(default)]
    pub equal: bool,
    /// Samples compared.
    #[serde(default)]
    pub samples: usize,
    /// Samples answered.
    #[serde(default)]
    pub of: usize,
    /// What was found of each output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputDifference>,
}

/// How far one output of two versions lies apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputDifference {
    /// The output's name.
    pub output: String,
    /// What the same answer means for it.
    pub task: Task,
    /// `pass`, `fail`, or `invalid` where nothing could be compared.
    pub status: Status,
    /// What is beyond a limit, or what was compared, in a sentence.
    pub detail: String,
    /// Answers that differ where the older version was not sure of them: near a tie, near a threshold.
    pub near_ties: usize,
    /// Answers that differ though it was sure of them.
    pub confident: usize,
    /// Signal of the older over the difference, dB; 999 when equal.
    #[serde(deserialize_with = "non_finite::number")]
    pub sqnr_db: f64,
    /// Largest absolute difference of two values.
    #[serde(deserialize_with = "non_finite::number")]
    pub max_abs: f64,
    /// Where that is; absent where nothing differs, and of outputs whose rows have no order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest: Option<LargestDifference>,
}

/// Where two versions differ most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LargestDifference {
    /// The sample.
    pub sample: usize,
    /// The place in its answer: the class alone, of a classifier.
    pub place: Vec<usize>,
    /// The older version's value there.
    #[serde(deserialize_with = "non_finite::number")]
    pub older: f64,
    /// The newer one's.
    #[serde(deserialize_with = "non_finite::number")]
    pub newer: f64,
}

impl VersionRow {
    /// The cell of one of its versions.
    pub fn cell(&self, version: &str) -> CellId {
        let runtime = crate::vocabulary::RuntimeId::versioned(self.library, version);
        CellId { runtime, precision: self.precision, batch: self.batch, shape: self.shape.clone() }
    }

    /// `tensorrt int8, batch 8`.
    pub fn name(&self) -> String {
        let shape = self.shape.as_ref().map(|shape| format!(" at {shape}")).unwrap_or_default();
        format!("{} {}, batch {}{shape}", self.library, self.precision, self.batch)
    }

    /// `newer` beside the oldest version of the row.
    pub fn beside_oldest(&self, newer: &str) -> Option<&VersionPair> {
        let oldest = &self.versions.first()?.version;
        self.pairs.iter().find(|pair| pair.older == *oldest && pair.newer == newer)
    }
}

impl VersionPair {
    /// Answers that differ: near ties, and those that the older version was sure of.
    pub fn changes(&self) -> (usize, usize) {
        let sum = |of: fn(&OutputDifference) -> usize| self.outputs.iter().map(of).sum();
        (sum(|output| output.near_ties), sum(|output| output.confident))
    }

    /// The output with the most noise.
    pub fn worst(&self) -> Option<&OutputDifference> {
        self.outputs.iter().min_by(|one, other| one.sqnr_db.total_cmp(&other.sqnr_db))
    }

    /// Whether anything was compared.
    pub fn is_compared(&self) -> bool {
        !self.outputs.is_empty()
    }
}

impl OutputDifference {
    /// `0.31 in sample 17, class 3 (cat): 2.4 and 2.09`: the largest difference and where it is.
    pub fn place_words(&self, classes: &[String]) -> Option<String> {
        let largest = self.largest.as_ref()?;
        let place = match (self.task, largest.place.as_slice()) {
            (_, []) => String::new(),
            (Task::Classification, [class]) => match classes.get(*class) {
                Some(label) => format!(", class {class} ({label})"),
                None => format!(", class {class}"),
            },
            (_, place) => format!(", place {place:?}"),
        };
        let (older, newer) = (figure(largest.older), figure(largest.newer));
        Some(format!("{} in sample {}{place}: {older} and {newer}", figure(self.max_abs), largest.sample))
    }
}

impl Report {
    /// Takes `cells`' answers out of what `kept` holds of several reports: those that a cell of this report names.
    pub fn keep_answers<'a>(&mut self, kept: impl Iterator<Item = &'a KeptAnswers>) {
        let mut all: Option<KeptAnswers> = None;
        for kept in kept {
            let all = all.get_or_insert_with(|| KeptAnswers { terms: kept.terms.clone(), sets: BTreeMap::new() });
            for (digest, set) in &kept.sets {
                if self.cells.iter().any(|cell| cell.answers.as_deref() == Some(digest)) {
                    all.sets.entry(digest.clone()).or_insert_with(|| set.clone());
                }
            }
        }
        self.answers = all.filter(|all| !all.sets.is_empty());
    }
}

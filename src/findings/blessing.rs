//! What a blessing changes, for whoever reviews it: `trtgate.blessing/v1`. Plain data; `report/blessing.rs` renders it.

use serde::{Deserialize, Serialize};

use crate::vocabulary::ArtifactKind;

/// The schema's name.
pub const BLESSING_SCHEMA: &str = "trtgate.blessing/v1";

/// One blessing, stored or only looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlessingReport {
    /// [`BLESSING_SCHEMA`].
    pub schema: String,
    /// The model's name.
    pub model: String,
    /// Why the change is intended.
    pub reason: String,
    /// Whether it was stored.
    pub stored: bool,
    /// What is accepted: `golden` or `baselines`.
    pub what: String,
    /// Digest of the model that answers from now on.
    pub model_sha256: String,
    /// What was accepted before, where something is stored that can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<BlessedBefore>,
    /// What changes, in lines.
    pub lines: Vec<String>,
    /// The answers of each output that both sides hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<BlessedOutput>,
    /// Right answers to labelled data now, where some was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Counted>,
    /// The portable artifacts that the model converts to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<BlessedArtifact>,
    /// Figures of this machine that are accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<BlessedFigure>,
    /// What stands against it, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// Names of classes, where the manifest has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

/// The blessing before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlessedBefore {
    /// Digest of the model then.
    pub model_sha256: String,
    /// When it was accepted, RFC 3339 in UTC.
    pub created: String,
    /// Why.
    pub reason: String,
    /// Right answers to labelled data then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Counted>,
}

/// Right answers of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Samples.
    pub samples: usize,
    /// Right answers.
    pub correct: usize,
}

/// How the answers to the golden's own probes moved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlessedOutput {
    /// The output.
    pub name: String,
    /// Probes compared.
    pub probes: usize,
    /// Largest absolute change.
    pub max_abs: f64,
    /// Mean absolute change.
    pub mean_abs: f64,
    /// Probes whose answer changed.
    pub flips: Vec<BlessedFlip>,
    /// The pattern of the change, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
}

/// A probe whose answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlessedFlip {
    /// Its index.
    pub probe: usize,
    /// The answer before.
    pub before: usize,
    /// The answer now.
    pub now: usize,
    /// How far the answer before was ahead of its best rival, in typical leads on ordinary inputs.
    pub lead: f64,
    /// Whether that is a near-tie: at most [`NEAR_TIE`] of a typical lead.
    pub near_tie: bool,
}

/// Largest lead of an answer that counts as a near-tie, in typical leads on ordinary inputs: the model was hardly decided.
pub const NEAR_TIE: f64 = 0.1;

/// A portable artifact on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlessedArtifact {
    /// What it is.
    pub kind: ArtifactKind,
    /// The batch that it is made for, where it serves one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    /// As the golden before kept it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<FileFacts>,
    /// As it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<FileFacts>,
    /// Why it is not there now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// Digest and size of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Digest.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// A figure that a machine is held to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlessedFigure {
    /// The cell, or the ratio's name.
    pub subject: String,
    /// `samples/s`, `bytes`, or nothing for a ratio.
    pub unit: String,
    /// The figure before, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
    /// The figure now.
    pub now: f64,
}

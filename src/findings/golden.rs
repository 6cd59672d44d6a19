//! What a report says of the golden.

use serde::{Deserialize, Serialize};

use crate::vocabulary::RuntimeId;

/// Name of the rule in [`Report::cross`](super::Report::cross) that says how a model stands to a golden of other files, probes or reading.
pub const GOLDEN_RULE: &str = "golden";

/// A golden, and how the model that was gated stands to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoldenReport {
    /// Digest of the model that was blessed.
    pub model_sha256: String,
    /// The runtime that answered.
    pub runtime: RuntimeId,
    /// Its full version.
    pub version: String,
    /// When it was accepted, RFC 3339 in UTC.
    pub created: String,
    /// Why it was accepted.
    pub reason: String,
    /// How the model stands to it.
    pub standing: GoldenStanding,
    /// One sentence with what differs and what the reference's answers say about it; empty for [`GoldenStanding::Own`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// How a model stands to a golden, the most telling last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GoldenStanding {
    /// The golden is of these very files, probes and preprocessing.
    Own,
    /// Something differs, and nothing could be asked about it.
    Unjudged,
    /// Something differs, and the reference's answers to the golden's probes are equal within FP32's limits.
    Equal,
    /// The reference's answers to the golden's probes are others.
    Moved,
}

//! Memory that a cell needs on its device, beside its artifact.

use serde::{Deserialize, Serialize};

/// Figures of the device's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryFigures {
    /// What one context needs for what it computes in between, bytes, as the library says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_bytes: Option<u64>,
    /// What the process took while the cell was measured, at its highest, bytes: CUDA's context, the engine, every context and
    /// buffer. Known of measured cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_bytes: Option<u64>,
}

//! Where a report was made, and the reports that a merged one was joined from.

use serde::{Deserialize, Serialize};

use crate::findings::Report;
use crate::processor::InstructionSet;
use crate::vocabulary::CellId;

/// One report that went into a merged report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// The report's file name.
    pub name: String,
    /// The machine that ran it.
    pub machine: Machine,
    /// Start, RFC 3339 in UTC.
    pub started: String,
    /// Wall time of the shard, seconds.
    pub wall_seconds: f64,
    /// The command that made it.
    #[serde(default)]
    pub command: String,
    /// The cells taken from it, in its order.
    pub cells: Vec<CellId>,
}

/// Most shards: more are a slip.
pub const MOST_SHARDS: u32 = 10_000;

/// Which shard of a divided plan a report is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfShard {
    /// Its number, from 1.
    pub index: u32,
    /// Of how many.
    pub count: u32,
    /// Digest of who runs what: shards of one division have the same.
    pub division: String,
    /// Runtimes and precisions that ran beside its cells and are not counted: the reference, and what tells which leg broke.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<String>,
}

impl Report {
    /// What a report of a shard says of itself, so that nobody takes it for the whole.
    pub fn of_shard(&self) -> Option<String> {
        let OfShard { index, count, beside, .. } = self.shard.as_ref()?;
        let (own, all) = (self.cells.len(), self.planned.len());
        let beside = match beside.is_empty() {
            true => String::new(),
            false => format!("; beside them and not counted ran {}, which they are compared with", beside.join(", ")),
        };
        Some(format!("shard {index}/{count}: {own} of {all} cells{beside}; `trtgate merge` judges the whole"))
    }
}

/// Where the report was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// `linux`.
    pub os: String,
    /// `x86_64`.
    pub arch: String,
    /// Processor model.
    pub cpu: String,
    /// Instruction set of the processor that ran the gate, `avx512+avx512-vnni`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction_set: Option<InstructionSet>,
    /// Logical processors.
    pub cores: usize,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// GPU model, or none.
    pub gpu: Option<String>,
    /// Compute capability, `9.0`.
    pub compute_capability: Option<String>,
    /// GPU driver version.
    pub driver: Option<String>,
    /// Highest CUDA version that the driver offers, `13.0`.
    pub cuda: Option<String>,
    /// The GPUs that were used, where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<Gpu>,
    /// `CUDA_VISIBLE_DEVICES`, where it was set and there is a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visible_devices: Option<String>,
    /// This program's version.
    pub trtgate: String,
}

/// A GPU that was used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Its number among the visible ones, which cells are named by.
    pub index: usize,
    /// Model.
    pub name: String,
    /// `GPU-…`, or `MIG-…` of a slice of a card.
    pub uuid: String,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Whether it is a slice of a card.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_slice: bool,
    /// Processes that used it before the run, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
}

//! The plan as JSON, `trtgate.plan/v1`: what `trtgate gate --plan-json` writes and `trtgate merge --plan` holds the
//! shards to.

use serde::{Deserialize, Serialize};

use crate::vocabulary::{ArtifactKind, CellId, Precision, RuntimeId, ShapePoint, Status};

/// The schema's name.
pub const PLAN_SCHEMA: &str = "trtgate.plan/v1";

/// The planned cells of one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanFile {
    /// [`PLAN_SCHEMA`].
    pub schema: String,
    /// The model.
    pub model: PlannedModel,
    /// Runtimes that must run, in some shard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<RuntimeId>,
    /// Machines that share the cells, where they were divided (`--shard`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<u32>,
    /// The cells, in the order in which they run and are reported.
    pub cells: Vec<PlannedCell>,
}

impl PlanFile {
    /// A plan of `cells`.
    pub fn new(model: PlannedModel, cells: Vec<PlannedCell>) -> Self {
        Self { schema: PLAN_SCHEMA.to_owned(), model, require: Vec::new(), shards: None, cells }
    }
}

/// The model that a plan is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedModel {
    /// Name from the manifest.
    pub name: String,
    /// Digest of the source model.
    pub sha256: String,
}

/// One planned cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedCell {
    /// Runtime, `onnxruntime` or `tensorrt@8.5.3`.
    pub runtime: RuntimeId,
    /// Precision asked for.
    pub precision: Precision,
    /// Samples in one call.
    pub batch: u32,
    /// The point of its open shapes, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<ShapePoint>,
    /// What it runs.
    pub artifact: ArtifactKind,
    /// Whether it can run on the machine that made the plan.
    #[serde(default)]
    pub ability: Ability,
    /// The shard that runs it, from 1, where the plan is divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u32>,
}

impl PlannedCell {
    /// The cell's identity.
    pub fn id(&self) -> CellId {
        let (runtime, shape) = (self.runtime.clone(), self.shape.clone());
        CellId { runtime, precision: self.precision, batch: self.batch, shape }
    }
}

/// Whether a cell can run on the machine that made the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ability {
    /// `unsupported` or `unavailable`; absent when it can run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<Status>,
    /// Why it cannot, one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

//! The JSON report, `trtgate.report/v1`. Keys may be added, never renamed.

mod accuracy;
pub mod blessing;
mod distances;
mod golden;
pub mod leads;
mod load;
mod machine;
mod memory;
mod non_finite;
mod outputs;
pub mod places;
pub mod ranges;
mod replicas;
pub mod shown;
pub mod verdict;
pub mod versions;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::processor::InstructionSet;
use crate::timing::TransferCount;
use crate::vocabulary::{ArtifactKind, CellId, Precision, RuntimeId, ShapePoint, Stage, Status, Verdict};

use ranges::Ranges;
use verdict::Requirements;
use versions::{KeptAnswers, VersionRow};

pub use crate::timing::summary::{BaselineVerdict, TimingSummary};
pub use accuracy::{ACCURACY_RULE, Accuracy, AccuracyReport, GoldenAccuracy};
pub use distances::{ErrorMetrics, Histogram};
pub use golden::{GOLDEN_RULE, GoldenReport, GoldenStanding};
pub use load::LoadReport;
pub use machine::{Gpu, MOST_SHARDS, Machine, OfShard, Shard};
pub use memory::MemoryFigures;
pub use outputs::{OutputFigure, OutputFinding};
pub use replicas::Replicas;

/// The schema's name.
pub const SCHEMA: &str = "trtgate.report/v1";

/// One run of the gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The verdict over all cells and requirements.
    pub verdict: Verdict,
    /// Why the verdict is not `pass`, one sentence each.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// What is to be known of the run and decides nothing, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The model that was gated.
    pub model: ModelReport,
    /// Where the manifest names what was gated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<places::ManifestPlaces>,
    /// The machine that ran it.
    pub machine: Machine,
    /// Start, RFC 3339 in UTC.
    pub started: String,
    /// Wall time of the whole run, seconds.
    pub wall_seconds: f64,
    /// Share of `wall_seconds` spent outside conversion tools and runtimes.
    #[serde(default)]
    pub own_seconds: f64,
    /// The command that made this report.
    #[serde(default)]
    pub command: String,
    /// One entry a planned cell.
    pub cells: Vec<CellReport>,
    /// Rules that look at several cells at once (INT8 larger than FP16, batch 32 over batch 1).
    #[serde(default)]
    pub cross: Vec<CheckResult>,
    /// Versions of one library beside each other; shown, not judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VersionRow>,
    /// The answers that `versions` is made from, of cells whose library has versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<KeptAnswers>,
    /// What the verdict demands beyond the cells' own results.
    #[serde(default, skip_serializing_if = "Requirements::is_empty")]
    pub requirements: Requirements,
    /// Digest of the tolerance ladder that the cells were judged by; empty where unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tolerances_sha256: String,
    /// Digest of the golden that the cells were compared with; empty where none is stored and they were compared with the
    /// reference's answers of the same run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub golden_sha256: String,
    /// The golden and how the model stands to it; absent where none is stored, or none that can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<GoldenReport>,
    /// The reference's accuracy on labelled data; absent where none was given, or it did not answer any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<AccuracyReport>,
    /// All cells of the plan, in its order, where this report is a shard of it; empty for a report of a whole plan.
    /// Lets a merge find lost cells without the plan's file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub planned: Vec<CellId>,
    /// Which shard of a divided plan this report is of (`--shard`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<OfShard>,
    /// The shards that a merged report was joined from; empty for a report of one run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<Shard>,
    /// The probes shown as images by the HTML report; keyed by probe index.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probe_images: BTreeMap<usize, ProbeImage>,
}

impl Report {
    /// A report without cells, which is `incomplete` until [`Report::judge`] says otherwise.
    pub fn new(model: ModelReport, machine: Machine, started: impl Into<String>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            verdict: Verdict::Incomplete,
            reasons: Vec::new(),
            notes: Vec::new(),
            model,
            manifest: None,
            machine,
            started: started.into(),
            wall_seconds: 0.0,
            own_seconds: 0.0,
            command: String::new(),
            cells: Vec::new(),
            cross: Vec::new(),
            versions: Vec::new(),
            answers: None,
            requirements: Requirements::default(),
            tolerances_sha256: String::new(),
            golden_sha256: String::new(),
            golden: None,
            accuracy: None,
            planned: Vec::new(),
            shard: None,
            shards: Vec::new(),
            probe_images: BTreeMap::new(),
        }
    }
}

/// The model's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelReport {
    /// Name from the manifest.
    pub name: String,
    /// Digest of the source model.
    pub sha256: String,
    /// Class names, where the manifest gives them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Digest of the probe set.
    #[serde(default)]
    pub probes_sha256: String,
}

/// One cell's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CellReport {
    /// Runtime, `onnxruntime` or `tensorrt@8.5.3`.
    pub runtime: RuntimeId,
    /// Version of the runtime, if it was found.
    pub version: Option<String>,
    /// Precision asked for.
    pub precision: Precision,
    /// Samples in one call.
    pub batch: u32,
    /// The point of its open shapes, where the model has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<ShapePoint>,
    /// How it ended.
    pub status: Status,
    /// Whether the cell is the reference itself, run without a stored golden: it was compared with its own answers, so that
    /// a pass says only that they do not depend on their batch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_reference: bool,
    /// Where it stopped.
    pub stage: Stage,
    /// Why it is not `pass`, one sentence.
    pub reason: Option<String>,
    /// The next step.
    #[serde(default)]
    pub hint: Option<String>,
    /// The command that runs exactly this cell again.
    pub replay: String,
    /// Instruction set of the processor that the cell ran on, as its own process says; absent where it ran on a GPU or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction_set: Option<InstructionSet>,
    /// Number of the GPU that the cell was run on ([`Gpu::index`]); of a merged report, in its shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<usize>,
    /// Its throughput as several replicas, a GPU each, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// The artifact that was run.
    pub artifact: Option<ArtifactReport>,
    /// What it needs of its device's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryFigures>,
    /// What the cell costs on ordinary inputs, by the leads of the reference's answers: what its outputs are judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leads: Option<LeadFigures>,
    /// Answers to natural samples, none placed near a decision boundary, compared with the reference's; at the largest
    /// batch of a runtime and precision. Shown, not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<FreshAgreement>,
    /// What does not fail the cell and should be looked at, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What a reader should know about the figures, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Answers compared with the golden's.
    pub agreement: Option<Agreement>,
    /// Distance of the outputs from the golden's.
    pub error: Option<ErrorMetrics>,
    /// What was found of each output, of a model that has several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputFinding>,
    /// Digest of its answers, by which a report that keeps them finds them ([`Report::answers`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<String>,
    /// Every check, gating or only shown.
    #[serde(default)]
    pub checks: Vec<CheckResult>,
    /// How the answers were computed where the processor has no arithmetic of this precision, one sentence; they are not
    /// those of the artifact as it is shipped, which only the proof of precision, its size and timings are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated: Option<String>,
    /// What left the range of half precision, for an FP16 cell that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Ranges>,
    /// The chain's legs up to this cell, in order.
    #[serde(default)]
    pub legs: Vec<Leg>,
    /// Copies between host and device.
    #[serde(default)]
    pub transfers: Option<TransferCount>,
    /// Labelled accuracy, where real data is there.
    #[serde(default)]
    pub accuracy: Option<Accuracy>,
    /// Counts of `log10(absolute error)`, for the error distribution.
    #[serde(default)]
    pub histogram: Option<Histogram>,
    /// The probes with the largest error, the worst first.
    #[serde(default)]
    pub worst: Vec<WorstProbe>,
    /// Seconds spent loading and running.
    #[serde(default)]
    pub seconds: Option<CellSeconds>,
    /// What it holds under load, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Box<LoadReport>>,
    /// Measured time, if measured.
    pub timing: Option<TimingSummary>,
    /// Verdict against the baseline, if measured.
    pub baseline: Option<BaselineVerdict>,
}

impl CellReport {
    /// A cell of which nothing is known yet: `invalid`, with everything that may be absent absent.
    pub fn new(id: &CellId, replay: impl Into<String>) -> Self {
        Self {
            runtime: id.runtime.clone(),
            version: None,
            precision: id.precision,
            batch: id.batch,
            shape: id.shape.clone(),
            status: Status::Invalid,
            is_reference: false,
            stage: Stage::Convert,
            reason: None,
            hint: None,
            replay: replay.into(),
            instruction_set: None,
            gpu: None,
            replicas: None,
            artifact: None,
            memory: None,
            leads: None,
            fresh: None,
            warnings: Vec::new(),
            notes: Vec::new(),
            agreement: None,
            error: None,
            outputs: Vec::new(),
            answers: None,
            checks: Vec::new(),
            emulated: None,
            ranges: None,
            legs: Vec::new(),
            transfers: None,
            accuracy: None,
            histogram: None,
            worst: Vec::new(),
            seconds: None,
            load: None,
            timing: None,
            baseline: None,
        }
    }

    /// Whether the cell passed and is no reference: something was compared with something else.
    pub fn is_judged_pass(&self) -> bool {
        self.status == Status::Pass && !self.is_reference
    }

    /// The cell's identity.
    pub fn id(&self) -> CellId {
        let (runtime, shape) = (self.runtime.clone(), self.shape.clone());
        CellId { runtime, precision: self.precision, batch: self.batch, shape }
    }
}

/// The artifact a cell ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArtifactReport {
    /// Its kind.
    pub kind: ArtifactKind,
    /// Digest of its bytes.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Seconds it took to make, 0 when it came from the store.
    #[serde(default)]
    pub build_seconds: f64,
    /// Whether it came from the store.
    #[serde(default)]
    pub cached: bool,
}

/// What a conversion costs on ordinary inputs: see [`rule`](crate::check::rule) for the formulas. The loss is an estimate within
/// a factor of 2. A figure that is not finite is written as `null` and read back as NaN.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeadFigures {
    /// The typical lead of the reference's answers over their best rivals, nats (M).
    #[serde(deserialize_with = "non_finite::number")]
    pub typical: f64,
    /// Natural samples that the typical lead was taken from.
    pub natural_samples: usize,
    /// Share of accuracy that is lost on ordinary inputs (L).
    #[serde(deserialize_with = "non_finite::number")]
    pub loss: f64,
    /// Largest loss allowed.
    #[serde(deserialize_with = "non_finite::number")]
    pub loss_allowed: f64,
    /// Share of answers to ordinary inputs that change (D).
    #[serde(deserialize_with = "non_finite::number")]
    pub changed: f64,
    /// How far leads are off, in typical leads (E).
    #[serde(deserialize_with = "non_finite::number")]
    pub error: f64,
    /// Largest error allowed.
    #[serde(deserialize_with = "non_finite::number")]
    pub error_allowed: f64,
    /// The leads over the reference's, by least squares; 1 is right (S is the distance from it).
    #[serde(deserialize_with = "non_finite::number")]
    pub slope: f64,
    /// Largest distance of the slope from 1.
    #[serde(deserialize_with = "non_finite::number")]
    pub slope_allowed: f64,
    /// Whether the manifest names the loss allowed, instead of the tolerance ladder.
    #[serde(default)]
    pub named: bool,
}

/// Answers to samples that were not searched for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreshAgreement {
    /// Natural samples run.
    pub samples: usize,
    /// Of them, with the reference's answer.
    pub same: usize,
}

/// Answers (arg max) compared, as counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Samples compared.
    pub samples: usize,
    /// Samples with the reference's answer.
    pub top1_matches: usize,
    /// Flips where the reference's margin is small enough to explain them.
    pub near_tie_flips: usize,
    /// Flips where it is not.
    pub confident_flips: usize,
    /// Confident flips allowed.
    #[serde(default)]
    pub confident_allowed: usize,
    /// Flips whose reference margin exceeds twice the sample's largest error: impossible by arithmetic.
    #[serde(default)]
    pub impossible_flips: usize,
    /// Reference margins of the flips, the largest first (at most 16).
    #[serde(default)]
    pub flip_margins: Vec<f32>,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckResult {
    /// The check's name: `tolerance`, `agreement`, `batch-invariance`, `determinism`, `precision-proof`, …
    pub name: String,
    /// How it ended; `Unavailable` when it could not be made.
    pub status: Status,
    /// Whether it decides the cell's status or is only shown.
    pub gating: bool,
    /// One sentence with the numbers.
    pub detail: String,
}

/// One leg of the chain, compared by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leg {
    /// `SavedModel → ONNX FP32`.
    pub name: String,
    /// Whether this leg alone keeps within its tolerance.
    pub status: Status,
    /// The leg's own error.
    pub error: Option<ErrorMetrics>,
    /// What it means, for a leg that broke.
    #[serde(default)]
    pub detail: Option<String>,
}

/// A probe with a large error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorstProbe {
    /// Index in the probe set.
    pub probe: usize,
    /// Its largest absolute error.
    #[serde(deserialize_with = "non_finite::number")]
    pub max_abs: f64,
    /// The reference's three best classes with their outputs.
    #[serde(deserialize_with = "non_finite::scores")]
    pub reference_top3: Vec<(usize, f32)>,
    /// This cell's three best classes with their outputs.
    #[serde(deserialize_with = "non_finite::scores")]
    pub actual_top3: Vec<(usize, f32)>,
}

/// A probe as an image, for the HTML report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeImage {
    /// PNG bytes, base64.
    pub png_base64: String,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
}

/// Seconds of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CellSeconds {
    /// Loading, shared with the other cells of the session.
    pub load: f64,
    /// Running the probes.
    pub run: f64,
}

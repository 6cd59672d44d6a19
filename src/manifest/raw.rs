//! The manifest as TOML has it: every key, with its place.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::artifacts::{RawArtifacts, RawFile};
use super::review::Review;
use super::serve::RawServe;
use super::shapes::{RawProfile, RawShapes};
use super::{CalibrationMethod, HardwareCompatibility, Layout, OutputKind, Resize, TimingCacheMode};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Raw<I = RawInput, O = RawOutput> {
    pub(super) schema: Spanned<u32>,
    pub(super) model: RawModel,
    pub(super) input: I,
    pub(super) output: O,
    #[serde(default)]
    pub(super) shapes: RawShapes,
    #[serde(default)]
    pub(super) artifacts: RawArtifacts,
    pub(super) serve: Option<RawServe>,
    #[serde(default)]
    pub(super) probes: RawProbes,
    #[serde(default)]
    pub(super) calibration: RawCalibration,
    #[serde(default)]
    pub(super) matrix: RawMatrix,
    #[serde(default)]
    pub(super) engine: RawEngine,
    #[serde(default)]
    pub(super) agreement: RawAgreement,
    #[serde(default)]
    pub(super) accuracy: RawAccuracy,
    #[serde(default)]
    pub(super) require: RawRequire,
    pub(super) review: Option<Spanned<Review>>,
    #[serde(default)]
    pub(super) run: RawRun,
    #[serde(default)]
    pub(super) limits: RawLimits,
    #[serde(default)]
    pub(super) paths: RawPaths,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawModel {
    pub(super) name: Spanned<String>,
    pub(super) saved_model: Option<Spanned<PathBuf>>,
    pub(super) onnx: Option<Spanned<PathBuf>>,
    pub(super) tflite: Option<Spanned<PathBuf>>,
    pub(super) signature: Option<Spanned<String>>,
    pub(super) sha256: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawInput {
    pub(super) name: Spanned<String>,
    pub(super) shape: Spanned<Vec<usize>>,
    pub(super) layout: Option<Spanned<Layout>>,
    pub(super) range: Option<Spanned<[f32; 2]>>,
    pub(super) mean: Option<Spanned<Vec<f32>>>,
    pub(super) std: Option<Spanned<Vec<f32>>>,
    pub(super) fixed_batch: Option<Spanned<u32>>,
    pub(super) resize: Option<Resize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawOutput {
    pub(super) name: Spanned<String>,
    pub(super) classes: Spanned<usize>,
    pub(super) kind: Option<OutputKind>,
    pub(super) labels: Option<Spanned<Vec<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawProbes {
    pub(super) file: Option<PathBuf>,
    pub(super) data: Option<Spanned<PathBuf>>,
    pub(super) expected: Option<Spanned<PathBuf>>,
    pub(super) seed: Option<u64>,
    pub(super) count: Option<Spanned<usize>>,
    pub(super) seconds: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawCalibration {
    pub(super) data: Option<PathBuf>,
    pub(super) seed: Option<u64>,
    pub(super) count: Option<Spanned<usize>>,
    pub(super) method: Option<CalibrationMethod>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawMatrix {
    pub(super) batches: Option<Spanned<Vec<u32>>>,
    #[serde(default)]
    pub(super) fetch: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) runtimes: BTreeMap<Spanned<String>, Spanned<Vec<Spanned<String>>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawEngine {
    pub(super) min_batch: Option<Spanned<u32>>,
    pub(super) opt_batch: Option<Spanned<u32>>,
    pub(super) max_batch: Option<Spanned<u32>>,
    pub(super) profiles: Option<Spanned<u32>>,
    pub(super) workspace_mebibytes: Option<u64>,
    pub(super) optimization_level: Option<Spanned<u32>>,
    pub(super) timing_iterations: Option<Spanned<u32>>,
    pub(super) candidates: Option<Spanned<u32>>,
    pub(super) tactic_sources: Option<Vec<String>>,
    pub(super) timing_cache: Option<TimingCacheMode>,
    #[serde(default)]
    pub(super) version_compatible: bool,
    pub(super) hardware_compatibility: Option<HardwareCompatibility>,
    #[serde(default)]
    pub(super) witness: bool,
    #[serde(default)]
    pub(super) plugins: Vec<Spanned<RawFile>>,
    #[serde(default)]
    pub(super) profile: Vec<Spanned<RawProfile>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawAgreement {
    #[serde(default)]
    pub(super) confident_flips_allowed: BTreeMap<Spanned<String>, usize>,
    #[serde(default)]
    pub(super) loss: BTreeMap<Spanned<String>, Spanned<f64>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawAccuracy {
    pub(super) floor: Option<Spanned<f64>>,
    pub(super) drop: Option<Spanned<f64>>,
}

impl RawAccuracy {
    /// Where the first limit stands that is named.
    pub(super) fn first(&self) -> Option<std::ops::Range<usize>> {
        self.floor.as_ref().or(self.drop.as_ref()).map(Spanned::span)
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawRequire {
    #[serde(default)]
    pub(super) runtimes: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) golden: bool,
    #[serde(default)]
    pub(super) baselines: bool,
    #[serde(default)]
    pub(super) accuracy: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawRun {
    pub(super) intra_threads: Option<Spanned<usize>>,
    pub(super) inter_threads: Option<Spanned<usize>>,
    pub(super) time_limit_seconds: Option<Spanned<u64>>,
    pub(super) build_limit_seconds: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) probe_seconds: Option<Spanned<u64>>,
    pub(super) convert_seconds: Option<Spanned<u64>>,
    pub(super) install_seconds: Option<Spanned<u64>>,
    pub(super) lock_seconds: Option<Spanned<u64>>,
    pub(super) memory_mebibytes: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawPaths {
    pub(super) snapshots: Option<PathBuf>,
    pub(super) baselines: Option<PathBuf>,
    pub(super) data: Option<PathBuf>,
}

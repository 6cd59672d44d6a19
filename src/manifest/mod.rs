//! `gate.toml`: what is gated, with what data, on which runtimes, within which bounds.

pub mod artifacts;
pub mod edit;
mod engine;
pub mod engines;
pub mod interface;
mod matrix;
pub mod places;
mod raw;
mod read;
pub mod review;
pub mod serve;
pub mod shapes;
pub mod tasks;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::process::ProcessLimits;
pub use engine::{EngineOptions, PluginLibrary};

use crate::vocabulary::{ArtifactKind, Library, Precision, RuntimeId};

/// A validated manifest; every path is absolute or relative to the process's working directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The manifest's own file.
    pub path: PathBuf,
    /// The model.
    pub model: Model,
    /// The one input.
    pub input: Input,
    /// The one output.
    pub output: Output,
    /// The inputs and outputs of a model that is no classifier of one input. `input` and `output` then name the first of them,
    /// and say nothing else: only what is given an interface reads such a manifest.
    pub interface: Option<interface::Interface>,
    /// Files of the project's own, gated in place of what would be converted.
    pub artifacts: Vec<artifacts::OwnArtifact>,
    /// Engine files of the project's own, gated as they are, by precision.
    pub engines: Vec<engines::OwnEngine>,
    /// Where the model is served, where that is gated too.
    pub serve: Option<serve::Serve>,
    /// The probe set.
    pub probes: Probes,
    /// The calibration set.
    pub calibration: Calibration,
    /// Folder of golden files.
    pub snapshots: PathBuf,
    /// Folder of baselines.
    pub baselines: PathBuf,
    /// Batch sizes, ascending.
    pub batches: Vec<u32>,
    /// Which precisions each library is asked for.
    pub matrix: Vec<MatrixRow>,
    /// Runtime packages that trtgate fetches itself, by the name of their lock file.
    pub fetch: Vec<String>,
    /// How engines are built.
    pub engine: EngineOptions,
    /// Confident flips allowed per precision (0 where absent): shown beside their number, decides nothing.
    pub confident_flips_allowed: Vec<(Precision, usize)>,
    /// Accuracy that may be lost on ordinary inputs, a share per precision; the tolerance ladder's where absent.
    pub losses_allowed: Vec<(Precision, f64)>,
    /// Real, labelled data (every format of `data::reader` that has labels).
    pub data: Option<PathBuf>,
    /// Limits of accuracy on labelled data.
    pub accuracy: AccuracyLimits,
    /// What has to have been judged for a pass.
    pub require: Require,
    /// What `check-blessing` asks of a change.
    pub review: review::Review,
    /// How cells are run.
    pub run: RunOptions,
    /// How long what is started may take, but for the workers.
    pub limits: ProcessLimits,
}

impl Manifest {
    /// Reads and validates `path`. Paths inside are resolved against the manifest's folder.
    ///
    /// # Errors
    /// Every error names the file and line, and shows the line.
    pub fn load(path: &Path) -> Result<Self> {
        read::load(path)
    }

    /// Validates `text` as if it were read from `path`.
    ///
    /// # Errors
    /// As [`Manifest::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        read::parse(text, path)
    }

    /// Where the cells of `runtime` are served; nothing of a library that is none.
    pub fn endpoint_of(&self, runtime: &RuntimeId) -> Option<&serve::Endpoint> {
        self.serve.as_ref()?.of(runtime)
    }

    /// The manifest itself, if it is of a classifier of one input.
    ///
    /// # Errors
    /// `Usage`, where it has `[[input]]`: what is asked for then knows one input only.
    pub fn of_one_input(self) -> Result<Self> {
        if self.interface.is_none() {
            return Ok(self);
        }
        let path = self.path.display();
        Err(Error::usage(format!("`{path}` has `[[input]]`, and this command knows classifiers of one input"))
            .hint("it reads and makes files of one input; samples of several inputs are named by `[probes] data`, or made by `values` of each `[[input]]`"))
    }

    /// Whether labelled data has to have been judged: limits that were named and not looked at are no pass.
    pub fn wants_accuracy(&self) -> bool {
        let outputs = self.interface.iter().flat_map(|interface| &interface.outputs);
        let mut limits = outputs.map(|output| output.accuracy).chain([self.accuracy]);
        self.require.accuracy || limits.any(|limits| limits != AccuracyLimits::default())
    }

    /// The limits of an output's figure by labels: its own, else those of `[accuracy]`.
    pub fn accuracy_of(&self, output: &interface::GatedOutput) -> AccuracyLimits {
        AccuracyLimits {
            floor: output.accuracy.floor.or(self.accuracy.floor),
            drop: output.accuracy.drop.or(self.accuracy.drop),
        }
    }
}

/// The model's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// A SavedModel folder and its signature key.
    SavedModel {
        /// The folder.
        path: PathBuf,
        /// The signature's key.
        signature: String,
    },
    /// An ONNX file.
    Onnx {
        /// The file.
        path: PathBuf,
    },
    /// A TFLite file in floats.
    Tflite {
        /// The file.
        path: PathBuf,
    },
}

impl ModelSource {
    /// The folder or file.
    pub fn path(&self) -> &Path {
        match self {
            Self::SavedModel { path, .. } | Self::Onnx { path } | Self::Tflite { path } => path,
        }
    }

    /// What it is among artifacts.
    pub const fn kind(&self) -> ArtifactKind {
        match self {
            Self::SavedModel { .. } => ArtifactKind::SavedModel,
            Self::Onnx { .. } => ArtifactKind::OnnxFp32,
            Self::Tflite { .. } => ArtifactKind::Tflite,
        }
    }

    /// The format's name, for people.
    pub const fn format(&self) -> &'static str {
        match self {
            Self::SavedModel { .. } => "SavedModel",
            Self::Onnx { .. } => "ONNX",
            Self::Tflite { .. } => "TFLite",
        }
    }

    /// The library whose answers are the reference: that of the model's own format.
    pub const fn reference(&self) -> Library {
        match self {
            Self::SavedModel { .. } => Library::Tensorflow,
            Self::Onnx { .. } => Library::Onnxruntime,
            Self::Tflite { .. } => Library::Litert,
        }
    }

    /// Key of a SavedModel's signature; empty where there is none.
    pub fn signature(&self) -> &str {
        match self {
            Self::SavedModel { signature, .. } => signature,
            Self::Onnx { .. } | Self::Tflite { .. } => "",
        }
    }
}

/// What is gated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Name, used for files and reports: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Where it comes from.
    pub source: ModelSource,
    /// Expected digest; a model that differs is refused.
    pub sha256: Option<String>,
}

/// Order of the dimensions of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Height, width, channels.
    Nhwc,
    /// Channels, height, width.
    Nchw,
    /// A flat vector of features.
    Flat,
}

/// The model's input: how a sample's bytes become its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Name at the border of the graph.
    pub name: String,
    /// Shape of one sample, without the batch.
    pub shape: Vec<usize>,
    /// Order of the dimensions.
    pub layout: Layout,
    /// Values that bytes 0 and 255 stand for, before `mean` and `std`.
    pub range: [f32; 2],
    /// Subtracted per channel after scaling; empty means 0.
    pub mean: Vec<f32>,
    /// Divides per channel after `mean`; empty means 1.
    pub std: Vec<f32>,
    /// Fixed batch size of the model, where it has one.
    pub fixed_batch: Option<u32>,
    /// How pictures of another size are brought to the model's; absent refuses them.
    pub resize: Option<Resize>,
}

/// How a picture of another size is brought to the model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// The whole picture, its proportions changed where they are others.
    Stretch,
    /// The largest part of the model's proportions, from the middle.
    Crop,
}

impl Input {
    /// (height, width, channels) of one sample; a flat vector is 1 × length × 1.
    pub fn image_size(&self) -> (usize, usize, usize) {
        match (self.layout, self.shape.as_slice()) {
            (Layout::Nhwc, &[height, width, channels]) | (Layout::Nchw, &[channels, height, width]) => {
                (height, width, channels)
            }
            (_, shape) => (1, shape.iter().product(), 1),
        }
    }
}

/// What the output's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    /// Unnormalised scores; margins are differences.
    Logits,
    /// Softmax output; margins are differences of logarithms.
    Probabilities,
}

/// The model's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Name at the border of the graph.
    pub name: String,
    /// Number of classes.
    pub classes: usize,
    /// What the values are.
    pub kind: OutputKind,
    /// Names of the classes; empty or one each.
    pub labels: Vec<String>,
}

/// The probe set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probes {
    /// Shipped file; without one, probes are made into the store. It is not used beside `data`, nor where it was made for
    /// another reading of samples.
    pub file: Option<PathBuf>,
    /// The team's own samples, which are the probes then.
    pub data: Option<PathBuf>,
    /// The answers that are expected of these samples, where `data` does not hold them; of models of several inputs alone.
    pub expected: Option<PathBuf>,
    /// Seed of the generator.
    pub seed: u64,
    /// Number of probes; the most of own samples that are taken.
    pub count: usize,
    /// Whether the manifest names the number: a file must hold as many then.
    pub exact: bool,
    /// Time that making them may take.
    pub time: Duration,
}

/// How activations are calibrated for INT8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CalibrationMethod {
    /// Minimises the divergence of the histogram.
    Entropy,
    /// Takes the full range.
    MinMax,
    /// Cuts at a percentile of the histogram.
    Percentile,
}

impl CalibrationMethod {
    /// The name in the manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Entropy => "entropy",
            Self::MinMax => "min-max",
            Self::Percentile => "percentile",
        }
    }
}

/// The calibration set and method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// Real samples to calibrate on (every format of `data::reader`); without, procedural samples.
    pub data: Option<PathBuf>,
    /// Seed of the generator.
    pub seed: u64,
    /// Number of samples; at least 512.
    pub count: usize,
    /// Method for the activations.
    pub method: CalibrationMethod,
}

impl Calibration {
    /// In words, what INT8 artifacts owe to it: method, number and origin of the samples.
    pub fn description(&self) -> String {
        let method = self.method.as_str();
        match self.data {
            Some(_) => format!("{method} of {} samples of the project's own data, seed {}", self.count, self.seed),
            None => format!("{method} of {} procedural samples, seed {}", self.count, self.seed),
        }
    }
}

/// The precisions asked of one library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixRow {
    /// The library.
    pub library: Library,
    /// Precisions.
    pub precisions: Vec<Precision>,
}

/// What a timing cache is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimingCacheMode {
    /// No cache.
    Off,
    /// Read if there, extended and written.
    Record,
    /// Must be there with its recorded hash and environment; a miss is an error.
    Verified,
}

/// GPUs of other kinds that an engine runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HardwareCompatibility {
    /// All from Ampere on (compute capability 8.0).
    AmperePlus,
}

/// Limits of accuracy on labelled data, shares of the samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AccuracyLimits {
    /// Least share of right answers, of the reference and of every cell.
    pub floor: Option<f64>,
    /// Largest loss of a cell against the reference, and of the reference against the golden; without it the tolerance
    /// ladder's for cells, and none against the golden.
    pub drop: Option<f64>,
}

/// What has to have been judged for a pass, beside what runs anyway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Require {
    /// Runtimes that must run.
    pub runtimes: Vec<RuntimeId>,
    /// Whether a golden must be stored.
    pub golden: bool,
    /// Whether every measured cell must have a baseline.
    pub baselines: bool,
    /// Whether labelled data must have been judged.
    pub accuracy: bool,
}

/// The longest time limit that can be asked for, a year: what is longer is a slip, and would wrap in sums.
pub const LONGEST_SECONDS: u64 = 31_536_000;
/// The most threads that can be asked for.
pub const MOST_THREADS: usize = 1024;

/// How cells are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Threads inside one operator; 0 leaves it to the library.
    pub intra_threads: usize,
    /// Threads across operators; 0 leaves it to the library.
    pub inter_threads: usize,
    /// Longest time a worker may take for one request, seconds.
    pub time_limit_seconds: u64,
    /// Longest time for building one engine, seconds.
    pub build_limit_seconds: u64,
}

impl RunOptions {
    /// Seconds of [`RunOptions::time_limit_seconds`] where nothing else is said.
    pub const TIME_LIMIT_SECONDS: u64 = 120;
}

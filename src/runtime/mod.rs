//! Libraries that execute artifacts, behind one small trait each.
//!
//! | folder        | library            | how it is loaded            | `sys` | `result` | `safe` |
//! |---------------|--------------------|-----------------------------|-------|----------|--------|
//! | `cuda`        | CUDA driver        | `cudarc`, at run time       | cudarc | yes     | yes    |
//! | `tensorflow`  | TensorFlow C API   | `libloading`                | yes   | yes      | yes    |
//! | `onnxruntime` | ONNX Runtime       | `ort`, at run time          | ort   | ort      | yes    |
//! | `litert`      | LiteRT C API       | `libloading`                | yes   | yes      | yes    |
//! | `tensorrt`    | TensorRT, RTX, lean| `libloading`, our own tables| yes   | yes      | yes    |
//! | `triton`      | a model server     | nothing: it is asked by HTTP| –     | –        | yes    |
//!
//! Nothing is linked: a library that is not here is an [`Obstacle`] that names what was tried.

pub(crate) mod border;
pub mod cuda;
pub(crate) mod kernel;
pub mod litert;
pub(crate) mod locate;
pub mod onnxruntime;
pub mod own;
pub mod padding;
pub(crate) mod symbols;
pub mod tensorflow;
pub mod tensorrt;
pub mod triton;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Result};
use crate::manifest::serve::Endpoint;
use crate::tensor::{Feeds, Signature, Tensor};
use crate::timing::TransferCount;
use crate::timing::contract::{Measurement, TimingContract};
use crate::timing::host;
use crate::vocabulary::Layer;
use crate::vocabulary::{ArtifactKind, Library, Precision, RuntimeId, Status};

/// Why something cannot be done here: `unsupported` (a known impossibility), `unavailable` (not on this machine), or
/// `invalid` (here, and damaged).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Obstacle {
    /// [`Status::Unsupported`], [`Status::Unavailable`] or [`Status::Invalid`].
    pub status: Status,
    /// One sentence.
    pub reason: String,
    /// What was looked for and where, one line each.
    #[serde(default)]
    pub tried: Vec<String>,
    /// The next step.
    #[serde(default)]
    pub hint: Option<String>,
}

impl Obstacle {
    /// Not on this machine.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self { status: Status::Unavailable, reason: reason.into(), tried: Vec::new(), hint: None }
    }

    /// Known not to work.
    pub fn unsupported(reason: impl Into<String>) -> Self {
        Self { status: Status::Unsupported, reason: reason.into(), tried: Vec::new(), hint: None }
    }

    /// Kind of the error that tells it.
    pub(crate) const fn error_kind(&self) -> ErrorKind {
        match self.status {
            Status::Unsupported => ErrorKind::Unsupported,
            Status::Invalid => ErrorKind::Invalid,
            _ => ErrorKind::Missing,
        }
    }
}

/// One library found on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// Name, with the version where the library is told apart by it.
    pub id: RuntimeId,
    /// Full version, as the library or its package says.
    pub version: String,
    /// ABI family, for TensorRT (`8`, `10`, `11`, `rtx-1.3`).
    pub family: Option<String>,
    /// The shared library to load.
    pub file: PathBuf,
    /// Further libraries by role (`parser`, `builder-resource`, `framework`).
    #[serde(default)]
    pub companions: BTreeMap<String, PathBuf>,
    /// Why engines cannot be built here, if so; `None` for runtimes that build nothing.
    pub build_obstacle: Option<Obstacle>,
    /// Why samples cannot be run here, if so.
    pub run_obstacle: Option<Obstacle>,
    /// Of a model server: what it says of the model.
    #[serde(default)]
    pub served: Option<Box<triton::ServedModel>>,
}

impl Installation {
    /// An installation of one file, with nothing beside it that is needed and nothing in its way.
    pub fn plain(id: RuntimeId, version: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        Self {
            id,
            version: version.into(),
            family: None,
            file: file.into(),
            companions: BTreeMap::new(),
            build_obstacle: None,
            run_obstacle: None,
            served: None,
        }
    }
}

/// What a search for a library gave: at least one installation, or the reason why not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Probe {
    /// Installations found, best first.
    pub found: Vec<Installation>,
    /// Why nothing (more) was found.
    pub missing: Option<Obstacle>,
}

/// Where to look for libraries, in this order: explicit paths, then site-packages folders, then the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchPaths {
    /// Files or folders that the user named.
    pub explicit: Vec<PathBuf>,
    /// `site-packages` folders of the environments that trtgate made, and of `TRTGATE_PYTHON`.
    pub site_packages: Vec<PathBuf>,
    /// Whether the loader's own paths and the system library folders are searched.
    pub system: bool,
}

/// Everything a session needs to know before it loads an artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// The library to use.
    pub installation: Installation,
    /// The artifact's file, or folder for a SavedModel.
    pub artifact: PathBuf,
    /// What the artifact is.
    pub kind: ArtifactKind,
    /// The precision the cell asks for.
    pub precision: Precision,
    /// Largest batch that will be run (the exact batch for static artifacts).
    pub batch: usize,
    /// Options.
    pub options: SessionOptions,
}

/// Options of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOptions {
    /// Threads inside one operator; 0 leaves it to the library.
    pub intra_threads: usize,
    /// Threads across operators; 0 leaves it to the library.
    pub inter_threads: usize,
    /// Outputs to fetch; empty means all that the model declares.
    pub outputs: Vec<String>,
    /// SavedModel signature key.
    pub signature: String,
    /// CUDA device index.
    pub device: usize,
    /// Whether the library may optimise the graph (off for `explain`, so that inner tensors stay visible).
    pub optimize: bool,
    /// Whether a half-precision ONNX graph that a processor would compute in wider arithmetic is run with every half
    /// tensor rounded (off for timing: it is a way to look at the numbers, not to run the model). Set of files that may hold
    /// halves only: those of 8 bits are read to see whether they do.
    #[serde(default)]
    pub emulate_half: bool,
    /// Whether the outputs are inner tensors that are only looked at, or have no batch: any shape will do, an empty one too.
    #[serde(default)]
    pub inner_tensors: bool,
    /// The optimization profile that runs everything; without one, for each shape the first that holds it.
    #[serde(default)]
    pub profile: Option<usize>,
    /// Whether integer products are summed exactly where the library would saturate them; see
    /// [`crate::onnx::products`].
    #[serde(default)]
    pub exact_products: bool,
    /// Where a served model is.
    #[serde(default)]
    pub endpoint: Option<Box<Endpoint>>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            intra_threads: 0,
            inter_threads: 0,
            outputs: Vec::new(),
            signature: "serving_default".to_owned(),
            device: 0,
            optimize: true,
            emulate_half: false,
            inner_tensors: false,
            profile: None,
            exact_products: false,
            endpoint: None,
        }
    }
}

/// A driver for one library; what is known of a library whatever the machine stands in [`Library::facts`].
pub trait Runtime: Sync {
    /// The library.
    fn library(&self) -> Library;

    /// Looks for the library without loading it into this process; never panics.
    fn probe(&self, paths: &SearchPaths) -> Probe;

    /// Loads an artifact. Called in a worker process only: the library may crash or spoil process-wide state.
    fn open(&self, request: &OpenRequest) -> Result<Box<dyn Session>>;
}

/// What became of a batch that a model may refuse.
#[derive(Clone, Debug, PartialEq)]
pub enum Taken {
    /// Its outputs.
    Outputs(Vec<Tensor>),
    /// It was refused, in these words.
    Refused(String),
}

/// A loaded artifact, ready to run.
pub trait Session {
    /// Inputs and outputs as the library reports them.
    fn signature(&self) -> &Signature;

    /// Runs one batch (any size the artifact allows), each input from the tensor of its name; returns the outputs asked for,
    /// in the signature's order and with its names.
    fn run(&mut self, feeds: &Feeds) -> Result<Vec<Tensor>>;

    /// As [`Session::run`], where a refusal is no error: a server with a full queue is no server at fault.
    #[doc(hidden)]
    fn offer(&mut self, feeds: &Feeds) -> Result<Taken> {
        self.run(feeds).map(Taken::Outputs)
    }

    /// Copies between host and device so far; zero for CPU runtimes.
    #[doc(hidden)]
    fn transfers(&self) -> TransferCount {
        TransferCount::default()
    }

    /// Layers of the loaded artifact, or `None` where the library cannot tell: the precision that a cell asks for is proven by
    /// them, and what is not proven is no pass.
    fn layers(&mut self) -> Result<Option<Vec<Layer>>> {
        Ok(None)
    }

    /// Device memory that a context of the artifact needs for what it computes in between, bytes, where the library tells.
    #[doc(hidden)]
    fn context_bytes(&self) -> Option<u64> {
        None
    }

    /// Measures `batches` (used in turn) under `contract`; the measurement holds all outputs asked for, of every batch. CPU runtimes use the default: one call after
    /// another, host clock.
    #[doc(hidden)]
    fn measure(&mut self, batches: &[Feeds], contract: &TimingContract) -> Result<Measurement> {
        host::measure(batches, contract, &mut |feeds| self.run(feeds))
    }
}

/// Every driver that this build has, in the order of the chain.
pub fn drivers() -> &'static [&'static dyn Runtime] {
    &[
        #[cfg(feature = "tensorflow")]
        &tensorflow::Tensorflow,
        #[cfg(feature = "onnxruntime")]
        &onnxruntime::Onnxruntime,
        #[cfg(feature = "litert")]
        &litert::Litert,
        #[cfg(feature = "tensorrt")]
        &tensorrt::Tensorrt,
        #[cfg(feature = "triton")]
        &triton::Triton,
        &own::Own,
    ]
}

/// The driver of `library`; the lean runtime and that for RTX share TensorRT's.
///
/// # Errors
/// `Missing` for a library that this build leaves out.
pub fn driver(library: Library) -> Result<&'static dyn Runtime> {
    let family = match library {
        Library::TensorrtRtx | Library::TensorrtLean => Library::Tensorrt,
        other => other,
    };
    drivers().iter().copied().find(|driver| driver.library() == family).ok_or_else(|| {
        crate::error::Error::missing(format!("this build of trtgate leaves `{library}` out"))
            .hint(format!("build it with the feature `{family}`"))
    })
}

/// Looks for `library` without loading it into this process.
pub fn probe(library: Library, paths: &SearchPaths) -> Probe {
    match driver(library) {
        Ok(driver) => driver.probe(paths),
        Err(error) => Probe {
            found: Vec::new(),
            missing: Some(Obstacle { hint: error.hint, ..Obstacle::unavailable(error.message) }),
        },
    }
}

/// Looks for `library` from inside a worker, where loading it does no harm.
pub fn probe_here(library: Library, paths: &SearchPaths) -> Probe {
    match driver(library) {
        Ok(driver) if driver.library() == Library::Tensorrt => tensorrt::discovery::probe_in_process(paths),
        _ => probe(library, paths),
    }
}

/// Whether `installation` can do `precision` at all, whatever the machine.
///
/// # Errors
/// The reason, as an [`Obstacle`] of status `unsupported`.
pub fn supports(installation: &Installation, precision: Precision) -> std::result::Result<(), Obstacle> {
    let library = installation.id.library;
    if library.on_gpu() {
        return tensorrt::capabilities::supports(installation, precision);
    }
    if library.runs().any(|able| able == precision) {
        Ok(())
    } else {
        let names: Vec<&str> = library.runs().map(Precision::as_str).collect();
        Err(Obstacle::unsupported(format!("`{library}` has no `{precision}`; it runs {}", names.join(", "))))
    }
}

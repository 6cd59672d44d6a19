//! Worker processes: vendor libraries can crash, hang, print to any stream or spoil process-wide state, so each
//! runtime's cells run in a process of their own (the same program).
//!
//! The two sides speak in frames over the worker's standard input and its original standard output: a header of two
//! little-endian lengths (u32 for JSON, u64 for the rest), a JSON [`Request`] or [`Reply`], and the bytes of the
//! tensors that it names, each in its own element type.
//! Whatever the library prints goes to standard error, of which the last lines are kept for the report.

mod client;
mod drive;
#[cfg(test)]
pub(crate) mod fake;
mod fault;
mod frame;
mod link;
mod server;
mod survey;
mod words;

pub(crate) use fault::on_demand as fault_on_demand;

#[cfg(feature = "cli")]
pub(crate) use client::is_command;
pub use client::{Limits, RunOutcome, Worker, WorkerProgram};
pub(crate) use client::{initialized, is_asked_for};
pub use server::serve;
pub(crate) use survey::Extent;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::load::{Figures, Offer};
use crate::manifest::serve::Endpoint;
use crate::processor::InstructionSet;
use crate::runtime::cuda::DeviceInfo;
use crate::runtime::triton::load::{Load, Loaded};
use crate::runtime::{OpenRequest, Probe, SearchPaths};
#[cfg(any(test, fuzzing))]
use crate::tensor::Feeds;
use crate::tensor::{BatchAxes, ElementType, Feed, Signature, Tensor};
use crate::timing::TransferCount;
use crate::timing::contract::{Measurement, TimingContract};
use crate::vocabulary::Layer;
use crate::vocabulary::Library;

/// What the gate asks of a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub(crate) enum Request {
    /// Look for a library, loading it where its file does not tell its version.
    Probe { library: Library, paths: SearchPaths },
    /// Look at a served model.
    Look(Box<Endpoint>),
    /// Say which GPUs are here.
    Devices,
    /// Load an artifact; replaces the session before it.
    Open(Box<OpenRequest>),
    /// Run the samples that follow, `batch` at a time, in tensors laid out by `axes`.
    Run { feeds: FeedsHeader, batch: usize, pad: bool, axes: BatchAxes },
    /// Run the samples that follow, `batch` at a time, and say what values the outputs take; see [`Extent`].
    Survey { feeds: FeedsHeader, batch: usize },
    /// Ask the served model of a session for the samples that follow, by several connections.
    Load { open: Box<OpenRequest>, feeds: FeedsHeader, axes: BatchAxes, load: Load },
    /// Offer the samples that follow to the artifact, `samples` in a query, by the clock.
    Drive { open: Box<OpenRequest>, feeds: FeedsHeader, axes: BatchAxes, samples: usize, pad: bool, offer: Offer },
    /// Layers of the loaded artifact.
    Layers,
    /// Measure the samples that follow, `batch` at a time, in tensors laid out by `axes`.
    Measure { feeds: FeedsHeader, batch: usize, axes: BatchAxes, contract: TimingContract },
    /// Build an engine.
    Build(Box<crate::runtime::tensorrt::BuildRequest>),
}

/// A worker's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub(crate) enum Reply {
    Probe(Probe),
    Devices {
        devices: Vec<DeviceInfo>,
    },
    Opened {
        signature: Signature,
        seconds: f64,
        instruction_set: InstructionSet,
        #[serde(default)]
        context_bytes: Option<u64>,
    },
    Outputs {
        outputs: Vec<TensorHeader>,
        seconds: f64,
        transfers: TransferCount,
    },
    /// `outputs` holds the answers under load, and then the last `repeated` of them those of the repeated requests.
    Loaded {
        loaded: Loaded,
        outputs: Vec<TensorHeader>,
        repeated: usize,
    },
    /// What became of an offer.
    Driven(Box<Figures>),
    Layers {
        layers: Option<Vec<Layer>>,
    },
    /// `outputs` holds those of every batch, one batch after the other.
    Measured {
        measurement: Measurement,
        batches: usize,
        outputs: Vec<TensorHeader>,
    },
    Built(Box<crate::runtime::tensorrt::BuildOutcome>),
    Failed(Error),
}

/// A tensor without its values, which follow the JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TensorHeader {
    pub(crate) name: String,
    pub(crate) element_type: ElementType,
    pub(crate) shape: Vec<usize>,
}

impl TensorHeader {
    fn of(tensor: &Tensor) -> Self {
        Self { name: tensor.name.clone(), element_type: tensor.element_type(), shape: tensor.shape.clone() }
    }
}

/// What is fed, without its values: the tensors with samples, then the last `shared` ones without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FeedsHeader {
    pub(crate) tensors: Vec<TensorHeader>,
    pub(crate) shared: usize,
}

impl FeedsHeader {
    fn of(feeds: &impl Feed) -> Self {
        let tensors = feeds.with_samples().iter().chain(feeds.shared()).map(TensorHeader::of).collect();
        Self { tensors, shared: feeds.shared().len() }
    }
}

/// A message and the tensors that follow it in its frame.
trait Message {
    /// Their headers, in order.
    fn tensors(&self) -> &[TensorHeader];
}

impl Message for Request {
    fn tensors(&self) -> &[TensorHeader] {
        match self {
            Self::Run { feeds, .. }
            | Self::Survey { feeds, .. }
            | Self::Measure { feeds, .. }
            | Self::Load { feeds, .. }
            | Self::Drive { feeds, .. } => &feeds.tensors,
            Self::Probe { .. } | Self::Look(_) | Self::Devices | Self::Open(_) | Self::Layers | Self::Build(_) => &[],
        }
    }
}

impl Message for Reply {
    fn tensors(&self) -> &[TensorHeader] {
        match self {
            Self::Outputs { outputs, .. } | Self::Measured { outputs, .. } | Self::Loaded { outputs, .. } => outputs,
            Self::Probe(_)
            | Self::Devices { .. }
            | Self::Opened { .. }
            | Self::Driven(_)
            | Self::Layers { .. }
            | Self::Built(_)
            | Self::Failed(_) => &[],
        }
    }
}

/// Reads requests as the worker does and cuts their samples into batches; for `fuzzing`.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_requests(mut bytes: &[u8]) -> bool {
    let mut sound = false;
    while let Ok(Some((request, tensors))) = frame::read::<Request>(&mut bytes) {
        sound = true;
        let (Request::Run { feeds, batch, .. }
        | Request::Survey { feeds, batch }
        | Request::Measure { feeds, batch, .. }) = request
        else {
            continue;
        };
        let Ok(feeds) = server::fed(&feeds, tensors) else { continue };
        let values = |feeds: &Feeds| feeds.with_samples().iter().map(|input| input.values.len()).sum::<usize>();
        if let Ok(batches) = server::batches(&feeds, batch) {
            assert_eq!(batches.iter().map(values).sum::<usize>(), values(&feeds), "samples were lost");
        }
    }
    sound
}

/// Reads replies as the gate does, with their tensors; for `fuzzing`.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_replies(mut bytes: &[u8]) -> bool {
    let mut sound = false;
    while let Ok(Some((_, tensors))) = frame::read::<Reply>(&mut bytes) {
        sound = true;
        tensors.iter().for_each(|tensor| drop(Extent::read(&tensor.floats())));
    }
    sound
}

#[cfg(test)]
mod tests;

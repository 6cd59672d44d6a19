//! What came out of the cells, unjudged: the answers to the probes in their order, what the session showed when it was asked again,
//! the answers to labelled and to ordinary samples. Nothing here was held to anything: what a cell is compared with is known when
//! all of them have run, and everything that judges reads this and runs nothing.
//!
//! What is kept is bounded. Of the probes it is every output, in files where there are many ([`shelf`]). Of a classifier's trials it
//! is the difference of each row, since a number a row says all that is asked of them ([`Trials`]); of those of other models the
//! outputs, since sets of boxes are no two rows apart. Of labelled samples it is which labels met which answers, of ordinary ones
//! the answer alone.

use std::time::Duration;

use crate::check::labels::Tally;
use crate::check::trials::Trials;
use crate::convert::Artifact;
use crate::error::{Error, Result};
use crate::findings::{ArtifactReport, CellSeconds};
use crate::gate::engine::shape_trials::ShapeTrials;
use crate::manifest::Manifest;
use crate::plan::PlannedCell;
use crate::processor::InstructionSet;
use crate::tensor::{Signature, Tensor};
use crate::timing::TransferCount;
use crate::vocabulary::{ArtifactKind, CellId, Layer, Stage, Status};
use crate::worker::Worker;

pub(crate) mod classifier;
pub(crate) mod interface;
pub(crate) mod shelf;
pub(crate) mod under_load;

use shelf::{Held, Shelf};
use under_load::UnderLoad;

/// Every cell of a plan, in its order.
pub(crate) struct Runs {
    pub(crate) cells: Vec<RawCell>,
}

/// What came out of one cell.
pub(crate) struct RawCell {
    pub(crate) planned: PlannedCell,
    pub(crate) artifact: Option<ArtifactReport>,
    /// Number of the GPU that it was given to.
    pub(crate) gpu: Option<usize>,
    pub(crate) outcome: Outcome,
    /// What the same engine answered on the other GPUs.
    pub(crate) elsewhere: Vec<Elsewhere>,
}

/// The answers of a cell's engine to its samples on another GPU.
pub(crate) struct Elsewhere {
    /// Its number.
    pub(crate) gpu: usize,
    /// Twice, so that what changes from run to run is not laid to the card.
    pub(crate) answers: Result<[Held; 2]>,
}

impl RawCell {
    /// Why it stopped, where it did.
    pub(crate) fn error(&mut self) -> Option<&mut Error> {
        match &mut self.outcome {
            Outcome::Stopped { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// How far a cell got.
pub(crate) enum Outcome {
    /// It stopped before it had outputs.
    Stopped { status: Status, stage: Stage, error: Error },
    /// Its engine was built; running it is not possible here.
    Built { error: Error, status: Status },
    /// It has outputs.
    Ran(Box<Ran>),
}

/// The outputs of a cell and what was seen beside them.
pub(crate) struct Ran {
    /// To the probes, in their order.
    pub(crate) outputs: Held,
    pub(crate) seconds: CellSeconds,
    pub(crate) transfers: TransferCount,
    /// The layers of what ran, or why nobody tells them.
    pub(crate) layers: Result<Vec<Layer>>,
    /// What the session showed of itself when it was asked again.
    pub(crate) again: Result<Again>,
    /// Device memory of a context, where its library tells.
    pub(crate) context_bytes: Option<u64>,
    /// Instruction set of the processor that ran them.
    pub(crate) instruction_set: Option<InstructionSet>,
    /// The outputs with exact integer products, where the artifact can saturate on that processor.
    pub(crate) exact: Option<Held>,
    /// Answers to labelled samples; taken at the largest batch of each file.
    pub(crate) accuracy: Option<Tally>,
    /// Answers to labelled samples of a model of several inputs; taken at the largest batch only.
    pub(crate) labelled: Option<Held>,
    /// Answers to the first natural samples; taken at the largest batch only.
    pub(crate) fresh: Result<Option<Vec<usize>>>,
    /// What a served model answered under load, or why it did not; taken at the largest batch only.
    pub(crate) under_load: Option<Result<UnderLoad>>,
}

/// Why there are no layers of a runtime that lists none.
pub(crate) fn unlisted() -> Error {
    Error::failed("the runtime does not list its layers")
}

/// The answers of a session that was asked again.
pub(crate) enum Again {
    /// Of a classifier: how far answers to the same samples lie apart.
    Rows(Trials),
    /// Of other models: those to the samples in another order (`other_order`), and what was asked where shapes are open.
    Turned {
        /// In that order.
        outputs: Held,
        /// Other shapes, profiles, static engines.
        shapes: Box<ShapeTrials>,
    },
}

/// What the cells of a plan are fed, and what is asked of a session with it.
pub(crate) trait Feeding: Sync {
    /// Asks an open session everything that is to be known of its cell.
    ///
    /// # Errors
    /// Why it has no outputs, or how its worker died.
    fn ask(&self, worker: &mut Worker, asked: &Asked<'_>, shelf: &Shelf) -> Result<Ran>;

    /// Runs the probes alone, once.
    ///
    /// # Errors
    /// Why it has no outputs.
    fn probes(&self, worker: &mut Worker, id: &CellId, pad: bool) -> Result<Vec<Tensor>>;

    /// Whether a session of `signature`, of an artifact of this kind, takes whole batches only, so that a short last one is
    /// filled up.
    fn pads(&self, signature: &Signature, kind: ArtifactKind) -> bool;

    /// Whether cells of one artifact are asked in one session: not where it must not have seen another shape.
    fn shares_sessions(&self) -> bool;
}

/// The cell that is asked.
pub(crate) struct Asked<'a> {
    pub(crate) cell: &'a PlannedCell,
    /// What its session was loaded from.
    pub(crate) artifact: &'a Artifact,
    /// Whether a short last batch is filled up.
    pub(crate) pad: bool,
    /// Whether no cell of its runtime and precision has a larger batch.
    pub(crate) largest: bool,
    /// Longest time of one request.
    pub(crate) limit: Duration,
    pub(crate) manifest: &'a Manifest,
}

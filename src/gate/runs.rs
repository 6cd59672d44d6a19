//! What came out of the cells, unjudged: the answers to the probes in their order, what the session showed when it was asked again,
//! the answers to labelled and to ordinary samples. Nothing here was held to anything: what a cell is compared with is known when
//! all of them have run, and everything that judges reads this and runs nothing.
//!
//! What is kept is bounded: of the probes every output, of the trials the difference of each row ([`Trials`]), of labelled samples
//! which labels met which answers, of ordinary ones the answer alone.

use crate::check::labels::Tally;
use crate::check::trials::Trials;
use crate::error::{Error, Result};
use crate::findings::{ArtifactReport, CellSeconds};
use crate::plan::PlannedCell;
use crate::processor::InstructionSet;
use crate::tensor::Tensor;
use crate::timing::TransferCount;
use crate::vocabulary::{Layer, Stage, Status};

pub(crate) mod classifier;

/// Every cell of a plan, in its order.
pub(crate) struct Runs {
    pub(crate) cells: Vec<RawCell>,
}

/// What came out of one cell.
pub(crate) struct RawCell {
    pub(crate) planned: PlannedCell,
    pub(crate) artifact: Option<ArtifactReport>,
    pub(crate) outcome: Outcome,
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
    pub(crate) outputs: Vec<Tensor>,
    pub(crate) seconds: CellSeconds,
    pub(crate) transfers: TransferCount,
    pub(crate) layers: Option<Vec<Layer>>,
    /// What the session showed of itself when it was asked again.
    pub(crate) trials: Result<Trials>,
    /// Instruction set of the processor that ran them.
    pub(crate) instruction_set: Option<InstructionSet>,
    /// The outputs with exact integer products, where the artifact can saturate on that processor.
    pub(crate) exact: Option<Vec<Tensor>>,
    /// Answers to labelled samples; taken at the largest batch of each file.
    pub(crate) accuracy: Option<Tally>,
    /// Answers to the first natural samples; taken at the largest batch only.
    pub(crate) fresh: Result<Option<Vec<usize>>>,
}

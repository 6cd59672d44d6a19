//! The reference, opened and examined: one that contradicts itself, or answers with no numbers, is said to be at fault
//! before anything is blamed on the probes or on a runtime.

use crate::check::batches::OnlyBatch;
use crate::check::contradiction;
use crate::check::pair::select_output;
use crate::data::probes::NaturalSamples;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::assemble::is_of_reference;
use crate::gate::open::OpenCell;
use crate::gate::runs::{Outcome, RawCell};
use crate::gate::samples::reference_cell;
use crate::gate::workspace::Workspace;
use crate::plan::{Ability, Filter};
use crate::runtime::Obstacle;
use crate::tensor::Tensor;
use crate::vocabulary::Stage;

/// Samples that the reference is examined on.
const EXAMINED: u64 = 8;

/// What is wrong with the reference itself.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// Where its cell stops.
    pub(crate) stage: Stage,
    /// Why.
    pub(crate) error: Error,
}

/// Opens the reference in a worker of its own, and examines it on a few samples.
///
/// # Errors
/// If the reference runtime is not here, it cannot load the model, or the model's answers contradict each other or are no
/// numbers; the workspace remembers the latter two as the reference's fault.
pub fn open_reference(workspace: &Workspace) -> Result<OpenCell> {
    let mut open = open_unexamined(workspace)?;
    examine(workspace, &mut open).map_err(|error| blamed(workspace, Stage::Run, error))?;
    Ok(open)
}

/// Opens the reference in a worker of its own, whatever it answers.
///
/// # Errors
/// If the reference runtime is not here, or it cannot load the model, which the workspace remembers as the reference's fault.
pub(crate) fn open_unexamined(workspace: &Workspace) -> Result<OpenCell> {
    let cell = reference_cell(&workspace.manifest);
    let planned = workspace.plan(&Filter { runtimes: vec![cell.runtime.clone()], ..Filter::default() })?;
    if !planned.iter().any(|planned| matches!(planned.ability, Ability::Run)) {
        let obstacle = planned.first().and_then(|planned| planned.ability.obstacle());
        let reason = obstacle.map_or("it is not on this machine", |obstacle| obstacle.reason.as_str());
        let kind = match obstacle.map(Obstacle::error_kind) {
            Some(ErrorKind::Invalid) => ErrorKind::Invalid,
            _ => ErrorKind::Missing,
        };
        let mut error = Error::new(kind, format!("the reference runtime `{}` cannot run here: {reason}", cell.runtime));
        error.hint = obstacle.and_then(|obstacle| obstacle.hint.clone());
        return Err(match error.hint {
            Some(_) => error,
            None => error.hint("`trtgate doctor` says what was looked for and how to get it"),
        });
    }
    OpenCell::open(workspace, &cell).map_err(|error| match error.kind {
        // A damaged environment is no fault of the model's.
        ErrorKind::Invalid => error,
        _ => blamed(workspace, Stage::Load, error),
    })
}

/// `error`, which the workspace remembers as the reference's fault.
fn blamed(workspace: &Workspace, stage: Stage, error: Error) -> Error {
    workspace.blame_reference(Fault { stage, error: error.clone() });
    error
}

fn examine(workspace: &Workspace, open: &mut OpenCell) -> Result<()> {
    let output = &workspace.manifest.output.name;
    let samples = NaturalSamples::new(&workspace.manifest)?.tensor(0..EXAMINED)?;
    let mut run = |input: &Tensor| finite(workspace, input, select_output(open.run(input)?.outputs, output)?);
    match contradiction::find(&mut run, &samples) {
        Ok(None) => Ok(()),
        Ok(Some(found)) => Err(found.error()),
        Err(error) => Err(match only_batch(workspace, open, &samples) {
            Some(only) => only.explain(error),
            None => error,
        }),
    }
}

/// The one batch size that the reference answers, where its input leaves the batch open and the manifest names none.
fn only_batch(workspace: &Workspace, open: &mut OpenCell, samples: &Tensor) -> Option<OnlyBatch> {
    let manifest = &workspace.manifest;
    let mut whole = |input: &Tensor| select_output(open.run_whole(input)?.outputs, &manifest.output.name);
    let named = manifest.input.fixed_batch.is_some();
    if named { None } else { OnlyBatch::find(&mut whole, samples, &manifest.batches) }
}

/// `error` of the reference's own cell, explained where it comes of the batch: the workspace remembers it as the reference's
/// fault.
pub(crate) fn of_one_batch(workspace: &Workspace, error: &Error) -> Option<Error> {
    let mut open = open_unexamined(workspace).ok()?;
    let samples = NaturalSamples::new(&workspace.manifest).and_then(|samples| samples.tensor(0..EXAMINED)).ok()?;
    let only = only_batch(workspace, &mut open, &samples)?;
    Some(blamed(workspace, Stage::Run, only.explain(error.clone())))
}

/// Holds what ran to a reference that answers its batches.
///
/// # Errors
/// If the reference's own cell stopped because its graph takes one batch size, which is named.
pub(crate) fn refuse_one_batch(workspace: &Workspace, raw: &[RawCell]) -> Result<()> {
    let error = raw.iter().find_map(|cell| match &cell.outcome {
        Outcome::Stopped { stage: Stage::Run, error, .. } if is_of_reference(&cell.planned.id, &workspace.manifest) => {
            Some(error)
        }
        _ => None,
    });
    error.and_then(|error| of_one_batch(workspace, error)).map_or(Ok(()), Err)
}

/// The reference's `answers` to `input`, if all of them are numbers.
///
/// # Errors
/// Otherwise, naming the first such sample and, where the graph can be looked into, the first tensor that holds no number.
pub(crate) fn finite(workspace: &Workspace, input: &Tensor, answers: Tensor) -> Result<Tensor> {
    let values = answers.floats();
    let Some(place) = values.iter().position(|value| !value.is_finite()) else { return Ok(answers) };
    let columns = answers.row_len().max(1);
    let rows = values.chunks(columns).filter(|row| row.iter().any(|value| !value.is_finite())).count();
    let (sample, value) = (place / columns, values.get(place).copied().unwrap_or(f32::NAN));
    let mut error = Error::failed(format!(
        "the reference's output is not finite for {rows} of {} samples: {value} in class {} of sample {sample}",
        answers.batch(),
        place % columns
    ));
    let found = input
        .samples(std::iter::once(sample))
        .and_then(|sample| crate::gate::inside::not_finite::first_not_finite(workspace, &sample));
    error.causes.extend(match found {
        Ok(found) => found,
        Err(obstacle) => Some(format!("the graph could not be looked into: {obstacle}")),
    });
    let error = error.hint("the model itself is broken there: look at the weights and the operator that are named");
    workspace.blame_reference(Fault { stage: Stage::Run, error: error.clone() });
    Err(error)
}
#[cfg(test)]
mod tests;

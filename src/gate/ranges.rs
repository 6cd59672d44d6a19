//! What left the range of half precision, for FP16 cells that failed: looked for once, told in each.

use std::borrow::Cow;

use super::execute::Artifacts;
use super::runs::{Outcome, RawCell};
use super::workspace::Workspace;
use crate::check::pair::select_output;
use crate::findings::CellReport;
use crate::findings::ranges::Ranges;
use crate::gate::inside;
use crate::tensor::Tensor;
use crate::vocabulary::{ArtifactKind, Precision, Stage, Status};

/// Most samples that are looked at before others.
const FIRST: usize = 32;

/// Whether a cell failed in half precision by what it answered.
fn failed(cell: &CellReport) -> bool {
    matches!(cell.precision, Precision::Fp16 | Precision::Fp16Flag)
        && cell.status == Status::Fail
        && matches!(cell.stage, Stage::Run | Stage::Compare)
}

/// Adds to every FP16 cell that failed what left the range; what hinders this is told there, and changes nothing else.
pub(super) fn explain(
    workspace: &Workspace,
    artifacts: &Artifacts,
    probes: &Tensor,
    raw: &[RawCell],
    cells: &mut [CellReport],
) {
    if !cells.iter().any(failed) {
        return;
    }
    let step = workspace.progress.begin("looking for what leaves the range of half precision");
    let half = artifacts.get(&(ArtifactKind::OnnxFp16, None)).and_then(|artifact| artifact.as_ref().ok());
    let ranges = inside::ranges::diagnose(workspace, half, probes, &first(workspace, raw, cells))
        .unwrap_or_else(|error| Ranges { unseen: vec![error.to_string()], ..Ranges::default() });
    step.finish();
    for cell in cells.iter_mut().filter(|cell| failed(cell)) {
        if let Some(sentence) = ranges.sentence() {
            cell.reason = Some(match cell.reason.take() {
                Some(reason) => format!("{reason}; {sentence}"),
                None => sentence,
            });
        }
        if let Some(hint) = ranges.hint() {
            cell.hint = Some(hint);
        }
        cell.ranges = Some(ranges.clone());
    }
}

/// The samples to look at before others: those that are not finite, and those with the largest errors.
fn first(workspace: &Workspace, raw: &[RawCell], cells: &[CellReport]) -> Vec<usize> {
    let mut first = Vec::new();
    let failures = || raw.iter().zip(cells).filter(|(_, cell)| failed(cell));
    let not_finite = failures().flat_map(|(raw, _)| {
        let Outcome::Ran(ran) = &raw.outcome else { return Vec::new() };
        let outputs = ran.outputs.tensors().map(Cow::into_owned);
        let Ok(outputs) = outputs.and_then(|all| select_output(all, &workspace.manifest.output.name)) else {
            return Vec::new();
        };
        let bad = |row: &usize| outputs.row(*row).is_some_and(|row| row.iter().any(|value| !value.is_finite()));
        (0..outputs.batch()).filter(bad).take(FIRST / 2).collect()
    });
    let worst = failures().flat_map(|(_, cell)| cell.worst.iter().map(|worst| worst.probe));
    for sample in not_finite.chain(worst) {
        if first.len() < FIRST && !first.contains(&sample) {
            first.push(sample);
        }
    }
    first
}

#[cfg(test)]
mod tests;

//! Why cells failed, where a look beyond their outputs tells it: looked at once, told in each.

use std::collections::BTreeMap;

use super::classifier::Classifier;
use super::kit::Kit;
use super::open::OpenCell;
use super::runs::RawCell;
use super::workspace::Workspace;
use super::{calibrated, ranges, reading, stored};
use crate::check::ladder::Check;
use crate::check::pair::select_output;
use crate::data::ProbeSet;
use crate::error::Result;
use crate::findings::CellReport;
use crate::tensor::Tensor;
use crate::vocabulary::{CellId, Precision, Stage, Status};

/// Adds to every cell that failed what explains it, where it is found. What hinders looking changes nothing.
pub(super) fn explain(
    workspace: &Workspace,
    kit: &Kit<'_>,
    classifier: &Classifier,
    judged_by: Option<&Tensor>,
    raw: &[RawCell],
    cells: &mut [CellReport],
) {
    ranges::explain(workspace, &kit.artifacts, &classifier.samples.probes, raw, cells);
    calibrated::explain(workspace, &classifier.samples.probes, cells);
    let named = stored::explain(workspace, &kit.artifacts, raw, cells);
    if let Some(judged_by) = judged_by {
        // What was told before something hindered it stays.
        let _ = read_otherwise(workspace, &classifier.set, judged_by, cells, &named);
    }
}

/// Whether answers are wrong where every sample and class has its own place: another reading of the input may be why. Where a tensor
/// that leaves the range of half precision reaches the output, that is why: smaller inputs would keep it inside, and explain nothing.
fn may_read_otherwise(cell: &CellReport) -> bool {
    let failed = |check: Check| {
        cell.checks.iter().any(|found| found.name == check.as_str() && found.gating && found.status == Status::Fail)
    };
    let overflows = cell.ranges.as_ref().is_some_and(|ranges| ranges.cause().is_some());
    cell.status == Status::Fail
        && cell.stage == Stage::Compare
        && !overflows
        && [Check::Loss, Check::Leads, Check::Slope].into_iter().any(failed)
        && ![Check::Order, Check::BatchInvariance, Check::Scales].into_iter().any(failed)
}

/// Names another preprocessing, where a cell answers as the outputs that it was `judged_by` once it is fed that way. Asked of
/// one cell of each runtime and precision, told in all of them that failed.
fn read_otherwise(
    workspace: &Workspace,
    probe_set: &ProbeSet,
    judged_by: &Tensor,
    cells: &mut [CellReport],
    named: &[CellId],
) -> Result<()> {
    let asked = |cell: &CellReport| may_read_otherwise(cell) && !named.contains(&cell.id());
    if !cells.iter().any(asked) {
        return Ok(());
    }
    let step = workspace.progress.begin("asking whether cells that failed read their input otherwise");
    let manifest = &workspace.manifest;
    let wanted = judged_by.floats();
    let mut known = BTreeMap::new();
    for cell in cells.iter_mut().rev().filter(|cell| asked(cell)) {
        let id = cell.id();
        let kind = (id.runtime.to_string(), id.precision);
        if !known.contains_key(&kind) {
            let mut open = OpenCell::open(workspace, &id)?;
            let mut run = |input: &Tensor| select_output(open.run(input)?.outputs, &manifest.output.name);
            let noise = match id.precision {
                Precision::Int8 | Precision::Int8Calibrated => reading::Noise::EightBits,
                _ => reading::Noise::Floats,
            };
            let found = reading::explaining(manifest, probe_set, (&wanted, judged_by.row_len()), noise, &mut run)?;
            known.insert(kind.clone(), found);
        }
        if let Some(Some(reading)) = known.get(&kind) {
            let reason = cell.reason.take().unwrap_or_default();
            let own = match id.precision {
                Precision::Int8 | Precision::Int8Calibrated => ", but for noise of its own",
                _ => "",
            };
            cell.reason = Some(format!(
                "other preprocessing: fed with {reading}, it answers the probes as the reference does{own}; {reason}"
            ));
            cell.hint = Some(
                "the artifact scales, normalises or orders its input otherwise than the model does: look at what the export put before the first layer"
                    .to_owned(),
            );
        }
    }
    step.finish();
    Ok(())
}

#[cfg(test)]
mod tests;

//! The walk through a model of several inputs: the gate's own word on each output by its task, and for each that fails the first
//! tensor that parts, among those that it is made of.

use std::collections::BTreeSet;

use super::judge::{self, Floors};
use super::output::Verdict;
use super::report::{Explanation, Finding, OutputExplanation, SCHEMA, TensorRow};
use super::{Beside, ExplainOptions, as_gated, calibrated_ranges, capture, engines, explainable, names_of};
use crate::check::ladder::Ladder;
use crate::check::tasks::TaskLimits;
use crate::error::{Error, Result};
use crate::findings::{GoldenReport, GoldenStanding, OutputFinding};
use crate::gate::inside::constants;
use crate::gate::inside::graph::{self, Counterparts, Step};
use crate::gate::inside::side::{self, Side};
use crate::gate::{self, RESTORE_OR_BLESS, RunOptions, Workspace, fed};
use crate::manifest::interface::{GatedOutput, Interface};
use crate::onnx;
use crate::plan::{Filter, PlannedCell};
use crate::vocabulary::{ArtifactKind, CellId, Library, Status, Task};

/// Walks the network of `id`, whose model has `interface`.
pub(super) fn explain(
    workspace: &Workspace,
    interface: &Interface,
    id: &CellId,
    options: &ExplainOptions,
) -> Result<Explanation> {
    let cell = explainable(workspace, id)?;
    if interface.axes() != crate::tensor::BatchAxes::default() {
        return Err(Error::unsupported("a model whose samples do not lie along the first dimension is not walked")
            .hint("its outputs are judged by `trtgate gate`; explain a form of it that has a batch"));
    }
    let (gated, moved) = verdicts(workspace, &cell)?;
    let reference = side::onnxruntime(workspace)?;
    let ladder = Ladder::built_in()?;
    let fp32 = workspace.artifact(ArtifactKind::OnnxPlain, None)?;
    let artifact = workspace.artifact(cell.artifact, None)?;
    let (fp32_model, model) = (onnx::read(&fp32.path)?, onnx::read(&artifact.path)?);
    let inputs: Vec<&str> = interface.inputs.iter().map(|fed| fed.name.as_str()).collect();
    let steps = graph::steps_from(&fp32_model, &inputs);
    let counterparts = Counterparts::of(&model, &steps);
    let mut notes = Vec::new();
    let progress = workspace.progress.begin(&format!("walking {} tensors of {}", steps.len(), cell.id));
    let ranges = calibrated_ranges(workspace, (&reference, &fp32), (artifact.kind, &counterparts), &mut notes);
    let feeds = fed::of(workspace, interface, cell.id.shape.as_ref())?;
    let (total, count) = (feeds.batch(), options.probes.clamp(1, feeds.batch().max(1)));
    let samples = feeds.samples((0..count).map(|index| index * total / count))?;
    let names = names_of(&steps, inputs.len());
    let mut expected = Side::reference(workspace, &reference, &fp32, cell.id.batch as usize, &names)?;
    let wanted = engines::shown_at_first(&cell, &steps, &counterparts);
    let mut actual = Side::of_cell(workspace, &cell, &artifact, &wanted, &mut notes)?;
    let constants = constants::compare(&fp32_model, &model);
    let emulated = cell.id.runtime.library == Library::Onnxruntime && cell.artifact == ArtifactKind::OnnxFp16;
    let as_gated = as_gated(workspace, &cell, &samples, &mut notes).filter(|_| !emulated);
    let beside = Beside { steps: &steps, counterparts: &counterparts, constants, ranges, as_gated };
    let floors = interface.outputs.iter().map(|output| floor(output, &ladder, &cell)).collect::<Result<Vec<_>>>()?;
    // What is held to a golden says nothing of the walk, which is against the model as it is now.
    let verdict_of = |found: &OutputFinding| match moved {
        Some(_) => Verdict::Unknown,
        None => Verdict::Leaves(None, found.detail.clone()),
    };
    // Each output that fails, with the first tensor outside of those that it is made of.
    let judged = |rows: &mut [TensorRow]| -> Vec<Option<Finding>> {
        beside.complete(rows);
        let each = interface.outputs.iter().zip(&floors).map(|(output, floor)| {
            let found = gated.iter().find(|found| found.output == output.name)?;
            (found.status == Status::Fail).then(|| first_of(output, &steps, rows, *floor, &verdict_of(found))).flatten()
        });
        each.collect()
    };
    let detail = |text: &str| progress.detail(text);
    let walk = capture::Walk {
        steps: &steps,
        counterparts: &counterparts,
        expected: &mut expected,
        actual: &mut actual,
        probes: &samples,
        detail: &detail,
    };
    let firsts =
        |rows: &mut [TensorRow]| judged(rows).into_iter().flatten().map(|found| found.index).collect::<Vec<_>>();
    let engines =
        engines::Engines { walk, workspace, cell: &cell, artifact: &artifact, notes: &mut notes, firsts: &firsts };
    let mut rows = engines.rows()?;
    let found = judged(&mut rows);
    let mut outputs = Vec::new();
    let mut output_floor_db = 0.0_f64;
    for ((output, first), floor) in interface.outputs.iter().zip(found).zip(floors) {
        let of_gate = gated.iter().find(|found| found.output == output.name);
        if of_gate.is_some_and(|found| found.status == Status::Fail) {
            output_floor_db = output_floor_db.max(floor);
        }
        outputs.push(OutputExplanation {
            output: output.name.clone(),
            task: output.task.task(),
            status: of_gate.map_or(Status::Invalid, |found| found.status),
            detail: of_gate.map(|found| found.detail.clone()).unwrap_or_default(),
            found: first,
        });
    }
    progress.finish();
    let first: Option<Finding> =
        outputs.iter().filter_map(|output| output.found.as_ref()).min_by_key(|found| found.index).cloned();
    notes.extend(moved.map(|golden| of_moved(&golden, first.is_none())));
    Ok(Explanation {
        schema: SCHEMA.to_owned(),
        model: workspace.manifest.model.name.clone(),
        cell: cell.id.clone(),
        version: cell.installation.as_ref().map(|installation| installation.version.clone()),
        reference: format!("FP32 in ONNX Runtime {}", reference.version),
        artifact: artifact.kind,
        artifact_sha256: artifact.sha256,
        probes: samples.batch(),
        floor_db: output_floor_db - judge::INNER_ROOM_DB,
        output_floor_db,
        leads: None,
        outputs,
        found: first,
        tensors: rows,
        notes,
    })
}

/// What is to be known of a cell whose own model moved from its golden: what is walked is the model as it is now.
fn of_moved(golden: &GoldenReport, is_sound: bool) -> String {
    let GoldenReport { created, detail, .. } = golden;
    let inside = match is_sound {
        true => "the conversion is that of the model as it is now, so that there is nothing to find inside",
        false => "what is named here is the conversion against the model as it is now",
    };
    format!("what moved is the model against its golden of {created} ({detail}): {inside}; {RESTORE_OR_BLESS}")
}

/// What the gate says of each output of the cell, and the golden that its own model moved from.
fn verdicts(workspace: &Workspace, cell: &PlannedCell) -> Result<(Vec<OutputFinding>, Option<GoldenReport>)> {
    let filter = Filter {
        runtimes: vec![cell.id.runtime.clone()],
        precisions: vec![cell.id.precision],
        batches: vec![cell.id.batch],
        shapes: cell.id.shape.iter().cloned().collect(),
        ..Filter::default()
    };
    let report = gate::run(workspace, &RunOptions { filter, ..RunOptions::default() })?;
    let of_reference = gate::is_of_reference(&cell.id, &workspace.manifest);
    let moved = report.golden.filter(|golden| of_reference && golden.standing == GoldenStanding::Moved);
    let found = report.cells.into_iter().find(|found| found.precision == cell.id.precision);
    let found = found.ok_or_else(|| Error::usage(format!("`{}` is no cell of the plan", cell.id)))?;
    if found.outputs.is_empty() {
        let reason = found.reason.unwrap_or_default();
        return Err(Error::failed(format!("`{}` stops at {}: {reason}", cell.id, found.stage))
            .hint("`trtgate gate` says more; there is nothing to walk until it answers"));
    }
    Ok((found.outputs, moved))
}

/// Least signal over noise of an output, by what its task allows.
fn floor(output: &GatedOutput, ladder: &Ladder, cell: &PlannedCell) -> Result<f64> {
    let (library, precision) = (cell.id.runtime.library, cell.id.precision);
    let limits = TaskLimits::of(ladder, library, precision, output.task.task(), output.named.get(&precision))?;
    Ok(match output.task.task() {
        Task::Values => limits.get("sqnr-db"),
        Task::Map => limits.get("signal-db"),
        // Twice one less the cosine is the share of the noise.
        Task::Embedding => -10.0 * (2.0 * (1.0 - limits.get("cosine"))).max(f64::MIN_POSITIVE).log10(),
        Task::Classification | Task::Scores | Task::Boxes | Task::Tokens => ladder.row(library, precision)?.sqnr_db,
    })
}

/// The first tensor that parts among those that `output` is made of; the output itself, where none of them does.
fn first_of(
    output: &GatedOutput,
    steps: &[Step],
    rows: &mut [TensorRow],
    floor: f64,
    verdict: &Verdict,
) -> Option<Finding> {
    let roots = std::iter::once(output.name.as_str()).chain(output.task.companions());
    let made_of = makers(steps, roots);
    let place = |index: usize| steps.get(index).cloned().zip(rows.get(index).cloned());
    let (own, mut own_rows): (Vec<Step>, Vec<TensorRow>) = made_of.iter().filter_map(|&index| place(index)).unzip();
    let floors = Floors { output: floor, output_name: &output.name, probabilities: false, verdict };
    let first = judge::judge(&own, &mut own_rows, floors);
    for judged in own_rows {
        if let Some(row) = rows.get_mut(judged.index) {
            row.outside = row.outside.or(judged.outside);
        }
    }
    first
}

/// The places of the steps that `roots` are made of, and of their own.
fn makers<'a>(steps: &[Step], roots: impl Iterator<Item = &'a str>) -> BTreeSet<usize> {
    let place = |name: &str| steps.iter().position(|step| step.tensor == name);
    let mut left: Vec<usize> = roots.filter_map(place).collect();
    let mut found = BTreeSet::new();
    while let Some(index) = left.pop() {
        if found.insert(index) {
            let inputs = steps.get(index).map(|step| step.inputs.as_slice()).unwrap_or_default();
            left.extend(inputs.iter().filter_map(|name| place(name)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A model that moved from its golden is no fault of a layer.
    #[test]
    fn what_moved_from_a_golden_is_said_to_be_the_model() {
        let golden = GoldenReport {
            model_sha256: String::new(),
            runtime: "onnxruntime".parse().unwrap(),
            version: "1".to_owned(),
            created: "today".to_owned(),
            reason: "why".to_owned(),
            standing: GoldenStanding::Moved,
            detail: "a → b".to_owned(),
        };
        let sound = of_moved(&golden, true);
        assert!(
            sound.starts_with("what moved is the model against its golden of today (a → b): the conversion is that of")
        );
        assert!(sound.ends_with(RESTORE_OR_BLESS) && !of_moved(&golden, false).contains("nothing to find"));
    }

    #[test]
    fn an_output_is_made_of_what_leads_to_it_and_of_nothing_else() {
        let step = |tensor: &str, inputs: &[&str]| Step {
            tensor: tensor.to_owned(),
            layer: tensor.to_owned(),
            operator: String::new(),
            inputs: inputs.iter().map(|&name| name.to_owned()).collect(),
            constants: Vec::new(),
            readers: Vec::new(),
        };
        let steps = [
            step("x", &[]),
            step("mask", &[]),
            step("shared", &["x"]),
            step("one", &["shared", "mask"]),
            step("other", &["shared"]),
        ];
        let of = |names: &[&'static str]| makers(&steps, names.iter().copied()).into_iter().collect::<Vec<_>>();
        assert_eq!(of(&["other"]), [0, 2, 4]);
        assert_eq!(of(&["one"]), [0, 1, 2, 3]);
        assert_eq!(of(&["one", "other"]), [0, 1, 2, 3, 4]);
        assert!(of(&["nothing"]).is_empty());
    }
}

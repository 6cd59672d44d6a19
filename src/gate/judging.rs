//! What the answers of one cell are held to: each output to its task, all of them to themselves in another order.

use super::engine::shape_trials;
use super::proof::prove;
use super::values::{Asked, Ran};
use crate::check::apart::{Answers, beside};
use crate::check::course::{self, Course};
use crate::check::ladder::{Ladder, Row};
use crate::check::tasks::{self, Given, TaskLimits};
use crate::check::values::{ValueLimits, compare, exchanged};
use crate::error::Result;
use crate::figure::figure;
use crate::findings::{CheckResult, OutputFinding};
use crate::manifest::ModelSource;
use crate::manifest::interface::{GatedOutput, Interface};
use crate::plan::PlannedCell;
use crate::tensor::Tensor;
use crate::vocabulary::{CellId, Status, Task};

/// The limits that the manifest names, one sentence an output and precision of the plan.
pub(super) fn named_limits(interface: &Interface, plan: &[PlannedCell], ladder: &Ladder) -> Vec<String> {
    let mut told = Vec::new();
    for cell in plan {
        let CellId { runtime, precision, .. } = &cell.id;
        for output in interface.outputs.iter().filter(|output| output.named.contains_key(precision)) {
            let limits = limits(output, ladder, &cell.id);
            let sentence = limits.map(|limits| {
                format!(
                    "the manifest names for `{}` in {runtime}/{precision}: {}",
                    output.name,
                    limits.told().join("; ")
                )
            });
            if let Ok(sentence) = sentence
                && !told.contains(&sentence)
            {
                told.push(sentence);
            }
        }
    }
    told
}

/// What an output of a cell may differ by.
pub(super) fn limits(output: &GatedOutput, ladder: &Ladder, id: &CellId) -> Result<TaskLimits> {
    let named = output.named.get(&id.precision);
    TaskLimits::of(ladder, id.runtime.library, id.precision, output.task.task(), named)
}

/// Everything that is asked of what a cell answered.
pub(super) fn checks(
    ran: &Ran,
    reference: &[Answers],
    asked: &Asked<'_>,
    ladder: &Ladder,
    id: &CellId,
    source: &ModelSource,
) -> Result<(Vec<CheckResult>, Vec<OutputFinding>)> {
    let (interface, samples) = (asked.interface, asked.feeds.batch());
    let row = ladder.row(id.runtime.library, id.precision)?;
    let mut findings = Vec::new();
    let mut invariance = Vec::new();
    let again = ran.turned.iter().map(Answers::turned).collect::<Result<Vec<_>>>();
    for output in &interface.outputs {
        let limits = limits(output, ladder, id)?;
        let actual = &ran.outputs;
        let given = Given { output, reference, actual, samples, batch: Some(id.batch), limits: &limits };
        findings.push(tasks::judged(&given));
        invariance.push(match &again {
            Ok(again) => turned(&Given { reference: actual, actual: again, ..given }, row),
            Err(error) => Err(error.message.clone()),
        });
    }
    let masks: Vec<&Tensor> = asked.feeds.with_samples().iter().filter(|fed| course::is_mask(fed)).collect();
    let course = Course {
        reference,
        forwards: &ran.outputs,
        backwards: again.as_deref().unwrap_or_default(),
        batch: if interface.axes().one_by_one() { 1 } else { id.batch as usize },
        masks: &masks,
    };
    for found in findings.iter_mut().filter(|found| found.status == Status::Fail) {
        if let Some(cause) = course.kept(&found.output).or_else(|| course.ignored_mask(&found.output)) {
            let told = format!("output `{}`: ", found.output);
            let fault = found.detail.strip_prefix(&told).unwrap_or(&found.detail);
            found.detail = format!("{told}{cause}; {fault}");
        }
    }
    name_exchanged(interface, reference, ran, samples, ladder.values(id.precision)?, &mut findings);
    let seen = shape_trials::Seen { interface, reference, samples, ladder, id };
    let of_shapes = shape_trials::checks(&ran.trials, &seen, row.batch_absolute, &mut findings);
    let mut checks: Vec<CheckResult> = findings.iter().map(tasks::check).collect();
    checks.extend(of_shapes);
    checks.push(in_any_order(invariance, samples));
    checks.push(match &ran.layers {
        Some(layers) => prove(source, id.precision, layers, row.precision_share).result(true),
        None => CheckResult {
            name: "precision-proof".to_owned(),
            status: Status::Unavailable,
            gating: true,
            detail: "the runtime does not list its layers".to_owned(),
        },
    });
    Ok((checks, findings))
}

/// Names outputs that hold each other's values, of those that fail.
fn name_exchanged(
    interface: &Interface,
    reference: &[Answers],
    ran: &Ran,
    samples: usize,
    limits: &ValueLimits,
    findings: &mut [OutputFinding],
) {
    let of = |answers: &'_ [Answers], name: &str| answers.iter().position(|one| one.name() == name);
    let pair = |name: &str| {
        let wanted = reference.get(of(reference, name)?)?;
        // What could not be laid beside the reference's is no other output's either.
        beside(wanted, ran.outputs.get(of(&ran.outputs, name)?)?).ok()
    };
    let failing = interface.outputs.iter().zip(&*findings).filter(|(_, found)| found.status != Status::Pass);
    let pairs: Vec<_> = failing.filter_map(|(output, _)| pair(&output.name)).collect();
    let pairs: Vec<_> = pairs.iter().map(|pair| (pair.reference.as_ref(), pair.actual.as_ref())).collect();
    let Some((one, other)) = exchanged(&pairs, samples, limits) else { return };
    let words = format!("outputs `{one}` and `{other}` hold each other's values");
    for found in findings.iter_mut().filter(|found| found.output == one || found.output == other) {
        (found.status, found.detail) = (Status::Fail, format!("output `{}`: {words}", found.output));
    }
}

/// How far an output is from itself with other neighbours, in another slot; what is wrong, where something is.
fn turned(given: &Given<'_>, row: &Row) -> Result<f64, String> {
    let name = &given.output.name;
    match given.output.task.task() {
        // Sets in another order and what stands behind their end are no other answer.
        Task::Boxes | Task::Tokens => match tasks::judge(given) {
            Ok(found) if found.status == Status::Fail => Err(found.detail),
            Ok(found) => Ok(found.error.max_abs),
            // What was not judged in one order is said by the output's own check.
            Err(_) => Ok(0.0),
        },
        Task::Values | Task::Classification | Task::Scores | Task::Embedding | Task::Map => {
            let limits = ValueLimits {
                absolute: row.batch_absolute,
                relative: 0.0,
                // Each element has a bound; their noise needs none of its own.
                sqnr_db: 0.0,
                least: 0.0,
                source: String::new(),
            };
            let of = |answers: &'_ [Answers]| answers.iter().position(|one| one.name() == *name);
            let sides = of(given.reference).zip(of(given.actual));
            let sides = sides.and_then(|(one, other)| given.reference.get(one).zip(given.actual.get(other)));
            let (forwards, backwards) = sides.ok_or_else(|| format!("output `{name}` is missing"))?;
            let pair = beside(forwards, backwards)?;
            let found =
                compare(&pair.reference, &pair.actual, given.samples, &limits).map_err(|error| error.message)?;
            found.fault.map_or(Ok(found.max_abs), |fault| Err(format!("output `{name}`: {fault}")))
        }
    }
}

/// Whether samples are answered as before with other neighbours, in other slots.
fn in_any_order(outputs: Vec<Result<f64, String>>, samples: usize) -> CheckResult {
    let worst = outputs.into_iter().try_fold(0.0_f64, |worst, one| one.map(|one| worst.max(one)));
    let (status, detail) = match worst {
        Err(fault) => (Status::Fail, format!("answers depend on the batch or change from run to run: {fault}")),
        Ok(0.0) => (Status::Pass, format!("{samples} samples are answered alike in any order")),
        Ok(worst) => {
            (Status::Pass, format!("{samples} samples are answered alike in any order, within {}", figure(worst)))
        }
    };
    CheckResult { name: "batch-invariance".to_owned(), status, gating: true, detail }
}

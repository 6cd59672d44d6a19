//! What the answers of a model of several inputs are held to: each output to its task, all of them to themselves in another order.

use std::collections::BTreeMap;

use super::assemble::{blank, built, is_of_reference, stop, tell_run};
use super::engine::shape_trials::{self, ShapeTrials};
use super::execute::stopped_at;
use super::labelled::{self, Scores};
use super::proof::Itself;
use super::runs::interface::{answers, read};
use super::runs::shelf::Held;
use super::runs::{Again, Outcome, Ran, RawCell, Runs};
use super::several::Several;
use super::{brought, own, under_load};
use crate::check::apart::{Answers, beside, widened};
use crate::check::course::{self, Course};
use crate::check::ladder::{Check, Ladder, Row};
use crate::check::scales::ScaleProof;
use crate::check::tasks::labelled::MayLose;
use crate::check::tasks::{self, Given, TaskLimits};
use crate::check::values::{ValueLimits, compare, exchanged};
use crate::error::{Error, ErrorKind, Result};
use crate::figure::figure;
use crate::findings::{CellReport, CheckResult, OutputFinding};
use crate::manifest::Manifest;
use crate::manifest::interface::{GatedOutput, Interface};
use crate::plan::PlannedCell;
use crate::tensor::{Feeds, Tensor};
use crate::vocabulary::{ArtifactKind, CellId, Layer, ShapePoint, Stage, Status, Task};

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

/// What one cell answered, read for its judging.
pub(super) struct Answered {
    /// To the samples in their order.
    pub(super) outputs: Vec<Answers>,
    /// To the same samples, as they were asked in another order ([`Answers::turned`]).
    pub(super) again: Vec<Answers>,
    /// What else was asked of it, where shapes are open.
    shapes: ShapeTrials,
    layers: Result<Vec<Layer>>,
}

impl Answered {
    /// # Errors
    /// Those of the session where it was asked again; `Failed`, naming an output that is missing.
    pub(super) fn of(ran: &Ran, interface: &Interface) -> Result<Self> {
        let outputs = read(interface, &ran.outputs)?;
        let (again, shapes) = match ran.again.as_ref() {
            Ok(Again::Turned { outputs, shapes }) => (read(interface, outputs)?, ShapeTrials::clone(shapes)),
            Ok(Again::Rows(_)) => return Err(Error::invalid("the samples were not run in another order")),
            Err(error) => return Err(error.clone()),
        };
        Ok(Self { outputs, again, shapes, layers: ran.layers.clone() })
    }

    /// Everything that is held to the reference.
    fn all(&mut self) -> impl Iterator<Item = &mut Answers> {
        self.outputs.iter_mut().chain(&mut self.again).chain(self.shapes.held_to_reference().flatten())
    }

    /// Gives whole numbers the width of the reference's.
    fn widen(&mut self, reference: &[Answers]) {
        for answers in [&mut self.outputs, &mut self.again] {
            *answers = widened(std::mem::take(answers), reference);
        }
        self.shapes.widen(reference);
    }
}

/// What the reference answered, by shape.
pub(super) type References<'a> = BTreeMap<Option<ShapePoint>, &'a Held>;

/// Judges every cell, and says which answers were the reference's: one after the other, so that no more outputs are in memory than
/// those of a cell and of its reference.
pub(super) fn assemble<'a>(
    manifest: &Manifest,
    several: &Several<'_>,
    runs: &'a Runs,
    scales: &BTreeMap<ArtifactKind, ScaleProof>,
    (ladder, replay): (&Ladder, &str),
) -> (Vec<CellReport>, References<'a>, Vec<CheckResult>) {
    let mut by_shape: BTreeMap<Option<&ShapePoint>, Vec<usize>> = BTreeMap::new();
    for (place, cell) in runs.cells.iter().enumerate() {
        by_shape.entry(cell.planned.id.shape.as_ref()).or_default().push(place);
    }
    let mut reports: BTreeMap<usize, CellReport> = BTreeMap::new();
    let itself = Itself::of(&manifest.model.source);
    let (mut references, mut rules) = (References::new(), Vec::new());
    for (shape, places) in by_shape {
        let cells = || places.iter().filter_map(|&place| Some((place, runs.cells.get(place)?)));
        let ran = reference(manifest, several, shape, cells().map(|(_, cell)| cell));
        references.extend(ran.as_ref().ok().map(|ran| (shape.cloned(), &ran.outputs)));
        let scores = ran.as_ref().ok().and_then(|ran| scores(several, ran));
        if let (Some(scores), Some(labelled)) = (&scores, &several.fed.labelled) {
            let kept = several.golden.as_ref().map(|golden| golden.figures.as_slice()).unwrap_or_default();
            rules.extend(labelled.rules(manifest, several.interface, scores, kept));
        }
        let reference = ran.and_then(|ran| Answered::of(ran, several.interface)).map(|answered| answered.outputs);
        let reference = reference
            .map_err(|error| Error { kind: ErrorKind::Invalid, ..error.context("the reference did not answer") });
        let by = By { manifest, several, reference, scores, scales, ladder, itself: &itself };
        reports.extend(cells().map(|(place, cell)| (place, by.judged(cell, replay))));
    }
    (reports.into_values().collect(), references, rules)
}

/// The reference at `shape`: that of its largest batch which ran.
fn reference<'a>(
    manifest: &Manifest,
    several: &Several<'_>,
    shape: Option<&ShapePoint>,
    cells: impl Iterator<Item = &'a RawCell>,
) -> Result<&'a Ran> {
    let missing = several.missing.get(&shape.cloned()).cloned();
    let mut stopped = missing.unwrap_or_else(|| Error::invalid("no cell of it was planned"));
    let mut largest: Option<(u32, &'a Ran)> = None;
    for cell in cells.filter(|cell| is_of_reference(&cell.planned.id, manifest)) {
        let batch = cell.planned.id.batch;
        match &cell.outcome {
            Outcome::Ran(ran) if largest.is_none_or(|(known, _)| known < batch) => largest = Some((batch, ran)),
            Outcome::Ran(_) => {}
            Outcome::Stopped { error, .. } | Outcome::Built { error, .. } => stopped = error.clone(),
        }
    }
    largest.map(|(_, ran)| ran).ok_or(stopped)
}

/// What the cells of one shape are held to.
struct By<'a> {
    manifest: &'a Manifest,
    several: &'a Several<'a>,
    reference: Result<Vec<Answers>>,
    /// What its answers to labelled samples are worth.
    scores: Option<Scores>,
    /// The scales of quantised artifacts.
    scales: &'a BTreeMap<ArtifactKind, ScaleProof>,
    ladder: &'a Ladder,
    itself: &'a Itself<'a>,
}

/// What a cell's answers to labelled samples are worth; `None` where it was not asked.
fn scores(several: &Several<'_>, ran: &Ran) -> Option<Scores> {
    let (labelled, held) = several.fed.labelled.as_ref().zip(ran.labelled.as_ref())?;
    Some(match read(several.interface, held) {
        Ok(answers) => labelled.scores(several.interface, &answers),
        Err(error) => labelled.unread(&error),
    })
}

impl By<'_> {
    fn judged(&self, cell: &RawCell, replay: &str) -> CellReport {
        let mut report = blank(cell, replay);
        let is_reference = is_of_reference(&cell.planned.id, self.manifest);
        // With a golden the reference is held to what it answered then.
        let shape = cell.planned.id.shape.as_ref();
        let golden = self.several.golden.as_ref().filter(|_| is_reference).and_then(|golden| golden.at(shape));
        // And to what its authors expect, where they say it.
        let expected = self.several.expected.as_ref().filter(|_| is_reference);
        report.is_reference = is_reference && golden.is_none() && expected.is_none();
        let ran = match &cell.outcome {
            Outcome::Stopped { status, stage, error } => {
                stop(&mut report, *status, *stage, error);
                return report;
            }
            Outcome::Built { error, status } => {
                built(&mut report, *status, error);
                return report;
            }
            Outcome::Ran(ran) => ran,
        };
        tell_run(&cell.planned, ran, &mut report);
        let mut answered = match Answered::of(ran, self.several.interface) {
            Ok(answered) => answered,
            Err(error) => {
                stop(&mut report, stopped_at(Stage::Run, error.kind), Stage::Run, &error);
                return report;
            }
        };
        report.stage = Stage::Compare;
        let known = golden.map(|golden| &golden.answers).or_else(|| expected.map(|expected| &expected.answers));
        let wanted = match (known, &self.reference) {
            (Some(known), _) => known,
            (None, Ok(reference)) => reference,
            (None, Err(error)) => {
                stop(&mut report, Status::Invalid, Stage::Compare, error);
                return report;
            }
        };
        let id = &cell.planned.id;
        let Some(feeds) = self.several.fed.at(id.shape.as_ref()) else {
            stop(&mut report, Status::Invalid, Stage::Compare, &Error::invalid("there are no samples of this shape"));
            return report;
        };
        let asked = Asked { interface: self.several.interface, feeds };
        answered.widen(wanted);
        if own::is_own(self.manifest, cell.planned.artifact) {
            own::in_types_of(answered.all(), wanted);
        }
        let beside = |answers: &[Answers]| checks(&answered, answers, &asked, self.ladder, id, self.itself);
        let found = beside(wanted).and_then(|(mut checks, findings)| {
            let held = match (expected, golden) {
                (None, _) => None,
                // They are what it was just held to.
                (Some(expected), None) => Some(brought::held(&findings, expected)),
                (Some(expected), Some(_)) => Some(brought::held(&beside(&expected.answers)?.1, expected)),
            };
            // What they say comes first.
            checks.splice(0..0, held);
            Ok((checks, findings))
        });
        match found {
            Ok((mut checks, mut findings)) => {
                let moved = golden.is_some() && findings.iter().any(|found| found.status == Status::Fail);
                if let Some(scores) = scores(self.several, ran) {
                    let row = self.ladder.row(id.runtime.library, id.precision);
                    let points = row.map_or(0.0, |row| row.accuracy_drop_points);
                    let ladder = MayLose { points, rounding: self.ladder.rounding() };
                    let interface = self.several.interface;
                    let reference = self.scores.as_ref();
                    checks.extend(labelled::judge(self.manifest, interface, &scores, reference, ladder, &mut findings));
                }
                let row = self.ladder.row(id.runtime.library, id.precision);
                if row.is_ok_and(|row| row.gates(Check::Scales)) {
                    let proof = self.scales.get(&cell.planned.artifact);
                    // They name what the outputs only show.
                    checks.insert(0, proof.map_or_else(unseen_scales, |proof| proof.result(true)));
                }
                if let (Some(outcome), Ok(row)) = (&ran.under_load, self.ladder.row(id.runtime.library, id.precision)) {
                    let interface = self.several.interface;
                    let read = |outputs: &[Tensor]| Ok(widened(answers(interface, outputs)?, wanted));
                    let judge = |alone: &[Answers], actual: &[Answers]| {
                        in_every_output(interface, alone, actual, self.ladder, id, row)
                    };
                    checks.push(under_load::judged(outcome, &answered.outputs, &read, &judge));
                }
                let worst = findings.iter().min_by(|one, other| one.error.sqnr_db.total_cmp(&other.error.sqnr_db));
                report.error = worst.map(|found| found.error.clone());
                let failed = checks.iter().find(|check| check.gating && check.status == Status::Fail);
                let unmade = checks.iter().find(|check| check.gating && check.status != Status::Pass);
                report.status = match (failed, unmade) {
                    (Some(_), _) => Status::Fail,
                    (None, Some(_)) => Status::Invalid,
                    (None, None) => Status::Pass,
                };
                report.reason = failed.or(unmade).map(|check| check.detail.clone());
                report.outputs = findings;
                report.checks = checks;
                if moved {
                    self.several.name_moved(&mut report);
                }
            }
            Err(error) => stop(&mut report, Status::Invalid, Stage::Compare, &error),
        }
        report
    }
}

/// That nobody looked at the scales of a cell which is judged by them.
fn unseen_scales() -> CheckResult {
    let detail = "the scales were not looked at".to_owned();
    CheckResult { name: Check::Scales.as_str().to_owned(), status: Status::Invalid, gating: true, detail }
}

/// What was asked of a cell.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) interface: &'a Interface,
    pub(super) feeds: &'a Feeds,
}

/// Everything that is asked of what a cell answered.
pub(super) fn checks(
    ran: &Answered,
    reference: &[Answers],
    asked: &Asked<'_>,
    ladder: &Ladder,
    id: &CellId,
    itself: &Itself<'_>,
) -> Result<(Vec<CheckResult>, Vec<OutputFinding>)> {
    let (interface, samples) = (asked.interface, asked.feeds.batch());
    let row = ladder.row(id.runtime.library, id.precision)?;
    let mut findings = Vec::new();
    let mut invariance = Vec::new();
    let again = ran.again.iter().map(|answers| answers.turned(id.batch as usize)).collect::<Result<Vec<_>>>();
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
    let failing = findings.iter().any(|found| found.status == Status::Fail);
    let fed = asked.feeds.with_samples().iter().filter(|_| failing);
    let masks: Vec<&Tensor> = fed.filter(|fed| course::is_mask(fed)).collect();
    let course = Course {
        reference,
        forwards: &ran.outputs,
        again: again.as_deref().unwrap_or_default(),
        batch: if interface.axes().one_by_one() { 1 } else { id.batch as usize },
        masks: &masks,
    };
    for found in findings.iter_mut().filter(|found| found.status == Status::Fail) {
        if let Some(cause) = course.kept(&found.output).or_else(|| course.ignored_mask(&found.output)) {
            found.detail = format!("output `{}`: {cause}; {}", found.output, found.sentence());
        }
    }
    name_exchanged(interface, reference, ran, samples, ladder.values(id.precision)?, &mut findings);
    let seen = shape_trials::Seen { interface, reference, samples, ladder, id };
    let of_shapes = shape_trials::checks(&ran.shapes, &seen, row.batch_absolute, &mut findings);
    let mut checks: Vec<CheckResult> = findings.iter().map(tasks::check).collect();
    if tasks::all_still(reference) {
        checks.push(CheckResult {
            name: "samples".to_owned(),
            status: Status::Invalid,
            gating: true,
            detail: format!(
                "the reference answers all {samples} samples alike in every output: nothing was judged; feed samples that it tells apart (`values` of `[[input]]`, or `from = \"samples.npz\"`)"
            ),
        });
    }
    checks.extend(of_shapes);
    checks.push(in_any_order(invariance, samples));
    checks.push(match &ran.layers {
        Ok(layers) => itself.prove(id.precision, layers, row.precision_share).result(true),
        Err(error) => CheckResult {
            name: "precision-proof".to_owned(),
            status: Status::Unavailable,
            // TensorFlow runs what the model itself says, and lists nothing.
            gating: row.gates(Check::PrecisionProof),
            detail: error.to_string(),
        },
    });
    Ok((checks, findings))
}

/// Names outputs that hold each other's values, of those that fail.
fn name_exchanged(
    interface: &Interface,
    reference: &[Answers],
    ran: &Answered,
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
            let (first, again) = sides.ok_or_else(|| format!("output `{name}` is missing"))?;
            let pair = beside(first, again)?;
            let found =
                compare(&pair.reference, &pair.actual, given.samples, &limits).map_err(|error| error.message)?;
            found.fault.map_or(Ok(found.max_abs), |fault| Err(format!("output `{name}`: {fault}")))
        }
    }
}

/// How far answers lie apart over all outputs, or in words what does not hold of one.
fn in_every_output(
    interface: &Interface,
    reference: &[Answers],
    actual: &[Answers],
    ladder: &Ladder,
    id: &CellId,
    row: &Row,
) -> std::result::Result<f64, String> {
    let samples = reference.first().map_or(0, Answers::count);
    interface.outputs.iter().try_fold(0.0_f64, |worst, output| {
        let limits = limits(output, ladder, id).map_err(|error| error.message)?;
        let given = Given { output, reference, actual, samples, batch: None, limits: &limits };
        turned(&given, row).map(|found| worst.max(found))
    })
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

#[cfg(test)]
mod tests;

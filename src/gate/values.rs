//! Models of several inputs and outputs, each judged by its task: `[[input]]` and `[[output]]`.
//!
//! Each cell has a worker of its own. It runs the samples in their order, and once more from the last to the first, so that every
//! sample has another slot and other neighbours: what it is answered then has to be the same. The reference is what the model
//! itself answers in FP32 in this run.

use std::collections::BTreeMap;
use std::time::Instant;

use super::border::Declared;
use super::brought::{self, Expected};
use super::engine::shape_trials::{self, ShapeTrials};
use super::judging::{checks, named_limits};
use super::kept::{self, Kept};
use super::open::OpenCell;
use super::open::built::Built;
use super::pictures;
use super::samples::reference_cell;
use super::workspace::Workspace;
use super::{RunOptions, RunOutcome, assemble, machine_of, now, planned_beside, required};
use crate::check::apart::Answers;
use crate::check::golden::Origin;
use crate::check::ladder::Ladder;
use crate::convert::Artifact;
use crate::data::feeds::InputPlan;
use crate::error::{Error, ErrorKind, Result};
use crate::findings::verdict::{Requirements, plural};
use crate::findings::{CellReport, CellSeconds, ModelReport, Report};
use crate::manifest::Manifest;
use crate::manifest::interface::Interface;
use crate::manifest::shapes::SampleSize;
use crate::plan::{Ability, PlannedCell};
use crate::tensor::{BatchAxis, Feeds, Signature, Tensor, TensorSpec, shape_text};
use crate::vocabulary::{CellId, Layer, Precision, ShapePoint, Stage, Status};
use crate::worker;

/// What each input of the model is fed, and from where.
///
/// # Errors
/// `Input`, where manifest and model do not name the same inputs, or a size is open that nothing says; `Unsupported` for what
/// cannot be fed.
pub(super) fn plans(
    interface: &Interface,
    signature: &Signature,
    point: Option<&ShapePoint>,
) -> Result<Vec<InputPlan>> {
    if let Some(unknown) =
        interface.inputs.iter().find(|fed| signature.inputs.iter().all(|input| input.name != fed.name))
    {
        let names: Vec<String> = signature.inputs.iter().map(|input| format!("`{}`", input.name)).collect();
        return Err(Error::input(format!(
            "`[[input]]` names `{}`, and the model has {}",
            unknown.name,
            names.join(", ")
        )));
    }
    signature.inputs.iter().map(|input| plan_of(interface, input, point)).collect()
}

fn plan_of(interface: &Interface, input: &TensorSpec, point: Option<&ShapePoint>) -> Result<InputPlan> {
    let name = &input.name;
    let fed = interface
        .inputs
        .iter()
        .find(|fed| fed.name == *name)
        .ok_or_else(|| Error::input(format!("input `{name}` of the model has no `[[input]]`")))?;
    if input.element_type.bytes().is_none() {
        return Err(Error::unsupported(format!("input `{name}` takes {}, which cannot be fed", input.element_type)));
    }
    let mut declared = input.shape.clone();
    match (fed.shared, fed.batch_axis) {
        (true, _) | (false, BatchAxis::None) => {}
        (false, BatchAxis::At(axis)) if axis < declared.len() => drop(declared.remove(axis)),
        (false, BatchAxis::At(0)) => {
            return Err(Error::input(format!("input `{name}` has no dimensions, so that it has no batch"))
                .hint("`shared = true` feeds it the same for every sample, `batch-axis = \"none\"` runs the model sample by sample"));
        }
        (false, BatchAxis::At(axis)) => {
            return Err(Error::input(format!(
                "`batch-axis` of `{name}` is {axis}, and it has shape {}",
                shape_text(&input.shape)
            )));
        }
    }
    let declared = declared.as_slice();
    let sizes = declared.iter().copied().collect::<Option<Vec<_>>>();
    let wrong = |says: &[usize]| {
        let declared = shape_text(declared);
        Error::input(format!("`shape` of `{name}` is {says:?}, the model has {declared} without the batch"))
    };
    let size = |size: &SampleSize| match size {
        SampleSize::Fixed(size) => Some(*size),
        SampleSize::Named(name) => interface.size(name, point),
    };
    let said = fed.shape.as_ref().map(|shape| shape.iter().filter_map(size).collect::<Vec<_>>());
    let sample = match (said, sizes) {
        (None, Some(sizes)) => sizes,
        (None, None) => {
            let open = shape_text(declared);
            return Err(Error::input(format!("input `{name}` leaves sizes open: {open} without the batch"))
                .hint("`shape = […]` in its `[[input]]` says them"));
        }
        (Some(shape), _) => {
            let fits = shape.len() == declared.len()
                && shape.iter().zip(declared).all(|(given, size)| size.is_none_or(|size| size == *given));
            if !fits {
                return Err(wrong(&shape));
            }
            shape
        }
    };
    Ok(InputPlan {
        name: name.clone(),
        element_type: input.element_type,
        sample,
        shared: fed.shared,
        values: fed.values.clone(),
        padding: fed.padding,
    })
}

/// Holds the gated outputs to the model.
///
/// # Errors
/// `Input`, naming the output that is not there; `Unsupported` for one that no comparison reads.
pub(super) fn check_outputs(interface: &Interface, signature: &Signature) -> Result<()> {
    let without_batch = interface.inputs.iter().all(|fed| fed.shared || fed.batch_axis == BatchAxis::None);
    for name in interface.read_outputs() {
        let found = signature.outputs.iter().find(|output| output.name == name).ok_or_else(|| {
            let names: Vec<String> = signature.outputs.iter().map(|output| format!("`{}`", output.name)).collect();
            Error::input(format!("`[[output]]` names `{name}`, and the model has {}", names.join(", ")))
        })?;
        if found.element_type.bytes().is_none() {
            return Err(Error::unsupported(format!(
                "output `{name}` is {}, which is not compared",
                found.element_type
            )));
        }
        match interface.output_axis(name) {
            BatchAxis::At(_) if without_batch => {
                return Err(Error::input(format!("output `{name}` is said to have a batch, and no input has one"))
                    .hint("write `batch-axis = \"none\"` in its `[[output]]`"));
            }
            BatchAxis::At(axis) if axis >= found.shape.len() => {
                return Err(Error::input(format!(
                    "output `{name}` has shape {}, and no dimension {axis} along which samples lie",
                    shape_text(&found.shape)
                ))
                .hint("`batch-axis = \"none\"` in its `[[output]]` compares it sample by sample"));
            }
            BatchAxis::At(_) | BatchAxis::None => {}
        }
    }
    Ok(())
}

/// What one cell answered.
pub(super) struct Ran {
    pub(super) outputs: Vec<Answers>,
    /// To the samples from the last to the first.
    pub(super) turned: Vec<Answers>,
    pub(super) layers: Option<Vec<Layer>>,
    /// What else was asked of it, where shapes are open.
    pub(super) trials: ShapeTrials,
    artifact: Artifact,
    seconds: CellSeconds,
    pub(super) version: String,
}

impl Ran {
    /// Gives whole numbers the width of the reference's.
    fn widen(&mut self, reference: &[Answers]) {
        for answers in [&mut self.outputs, &mut self.turned] {
            *answers = shape_trials::widened(std::mem::take(answers), reference);
        }
        self.trials.widen(reference);
    }
}

/// Runs every planned cell and judges it.
pub(super) fn run(workspace: &Workspace, interface: &Interface, options: &RunOptions) -> Result<RunOutcome> {
    let (start, waited, started) = (Instant::now(), crate::meter::waited(), now());
    let manifest = &workspace.manifest;
    if options.timing.is_some() || options.data.is_some() {
        return Err(Error::usage("models of several inputs are neither measured nor held to labels yet")
            .hint("leave out `--bench` and `--data`"));
    }
    let declared = Declared::of(&manifest.model.source)?
        .ok_or_else(|| Error::input("the model's file does not tell its inputs and outputs"))?;
    check_outputs(interface, declared.signature())?;
    let points = interface.points();
    let brought = brought::of(manifest, interface, declared.signature(), &points)?;
    let (mut fed, mut expected, mut unmet) = (brought.feeds, brought.expected, Vec::new());
    let mut misfit = None;
    let kept = match points.as_slice() {
        [None] => {
            kept::of(workspace, interface, &plans(interface, declared.signature(), None)?).unwrap_or_else(|error| {
                misfit = Some(error.message);
                None
            })
        }
        _ => None,
    };
    if let Some(kept) = &kept {
        // What is expected of other samples is not looked at, and that is no pass.
        if let Some(expected) = expected.take_if(|_| fed.first() != Some(&kept.feeds)) {
            unmet.push(format!(
                "the expected answers in `{}` are of other samples than the golden's: `trtgate bless --fresh-probes` takes these",
                expected.place
            ));
        }
        fed = vec![kept.feeds.clone()];
    }
    let plan = workspace.plan(&options.filter)?;
    let ladder = Ladder::built_in()?;
    let step = workspace.progress.begin(&format!("running {}", plural(plan.len(), "cell")));
    let mut references: Vec<Option<Result<Ran, (Stage, Error)>>> = points.iter().map(|_| None).collect();
    let (mut built, mut cells) = (Built::default(), Vec::with_capacity(plan.len()));
    for cell in &plan {
        step.detail(&cell.id.to_string());
        let place = points.iter().position(|point| *point == cell.id.shape).unwrap_or(0);
        let (Some(feeds), Some(reference)) = (fed.get(place), references.get_mut(place)) else { continue };
        // In between, another shape that the cell's session takes: what it keeps of it must not be seen.
        let others = (1..fed.len()).map(|step| (place + step) % fed.len());
        let other = others.filter_map(|place| Some((points.get(place)?.as_ref(), fed.get(place)?)));
        let mut other = other.filter(|(point, _)| !interface.profiles_of(cell.id.batch, *point).is_empty());
        let between = other.next();
        let asked = Asked { interface, feeds, between, expected: expected.as_ref() };
        let reference = reference.get_or_insert_with(|| {
            let id = CellId { shape: cell.id.shape.clone(), ..reference_cell(manifest) };
            answers(workspace, &id, &asked)
        });
        let mut report = judged(workspace, cell, &asked, reference, kept.as_ref(), &ladder, options);
        built.tell(workspace, cell, &mut report);
        cells.push(report);
    }
    step.finish();
    shape_trials::name_between(&mut cells, interface);
    // Samples of other shapes have no place in the same pictures.
    let first = |cell: &CellReport| cell.shape.as_ref() == points.first().and_then(Option::as_ref);
    let probe_images = match fed.first() {
        Some(feeds) if cells.iter().all(first) => pictures::of(interface, feeds, &mut cells),
        _ => BTreeMap::new(),
    };
    let feeds = fed.first().ok_or_else(|| Error::input("there is nothing to feed"))?;
    let mut notes = vec![format!(
        "{} samples of {} inputs{}; outputs by their tasks: {}",
        feeds.batch(),
        interface.inputs.len(),
        if points.len() > 1 { format!(" at each of {} shapes", points.len()) } else { String::new() },
        interface
            .outputs
            .iter()
            .map(|output| format!("`{}` {}", output.name, output.task.task()))
            .collect::<Vec<_>>()
            .join(", ")
    )];
    let ungated: Vec<String> = declared
        .signature()
        .outputs
        .iter()
        .filter(|output| !interface.read_outputs().contains(&output.name.as_str()))
        .map(|output| format!("`{}`", output.name))
        .collect();
    if interface.axes().one_by_one() {
        notes.push("run sample by sample: an input or output has no batch".to_owned());
    }
    if !ungated.is_empty() {
        notes.push(format!("not looked at: {}", ungated.join(", ")));
    }
    notes.extend(interface.told());
    notes.extend(named_limits(interface, &plan, &ladder));
    notes.extend(super::own::told(workspace, &plan));
    notes.extend(brought.notes.into_iter().filter(|_| kept.is_none()));
    notes.extend(expected.iter().map(|expected| {
        format!("the reference is held to the answers that its authors expect (`{}`), as to a golden", expected.place)
    }));
    if let Some(Origin { created, reason, model_sha256, .. }) = kept.as_ref().map(|kept| &kept.origin) {
        let other = if *model_sha256 == workspace.model_sha256 { "" } else { ", of another model" };
        notes.push(format!(
            "on the samples of the golden of {created}{other} ({reason}), which the reference is held to"
        ));
    } else if options.require_golden || manifest.require.golden {
        let why = if points.len() > 1 { "none is kept of several shapes yet" } else { "there is none" };
        unmet.push(format!("a golden is required: {}", misfit.as_deref().unwrap_or(why)));
    } else {
        unmet.extend(misfit);
    }
    if manifest.wants_accuracy() {
        unmet.push("accuracy is required, and models of several inputs are not held to labels yet".to_owned());
    }
    unmet.extend(worker::fault_on_demand().map(|fault| format!("a fault is provoked on demand (`{fault}`)")));
    let (runtimes, of_plan) = required(manifest, options);
    let model = ModelReport {
        name: manifest.model.name.clone(),
        sha256: workspace.model_sha256.clone(),
        classes: Vec::new(),
        probes_sha256: String::new(),
    };
    let mut report = Report {
        notes,
        wall_seconds: start.elapsed().as_secs_f64(),
        own_seconds: start.elapsed().saturating_sub(crate::meter::waited().saturating_sub(waited)).as_secs_f64(),
        command: options.command.clone(),
        cells,
        requirements: Requirements { runtimes, of_plan, baseline: options.require_baseline, unmet },
        tolerances_sha256: ladder.sha256().to_owned(),
        planned: planned_beside(workspace, &options.filter)?,
        probe_images,
        ..Report::new(model, machine_of(workspace), started)
    };
    report.judge();
    Ok(RunOutcome { report, bench: None })
}

/// What a cell is asked.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) interface: &'a Interface,
    pub(super) feeds: &'a Feeds,
    /// Samples of another shape, where there is one.
    pub(super) between: Option<shape_trials::Between<'a>>,
    /// What the model's authors expect of the samples, where they say it.
    pub(super) expected: Option<&'a Expected>,
}

/// Runs `feeds` once; the answers to what is read, and the seconds that it took.
pub(super) fn run_once(open: &mut OpenCell, interface: &Interface, feeds: &Feeds) -> Result<(Vec<Answers>, f64)> {
    let outcome = open.run_laid_out(feeds, &interface.axes())?;
    let wanted = interface.read_outputs().into_iter().map(|name| {
        let found: Vec<Tensor> = outcome.outputs.iter().filter(|output| output.name == name).cloned().collect();
        match (interface.output_axis(name), <[Tensor; 1]>::try_from(found)) {
            (BatchAxis::At(_), Ok([rows])) => Ok(Answers::Rows(rows)),
            (BatchAxis::At(_), Err(_)) => Err(Error::failed(format!("output `{}` is missing", name))),
            (BatchAxis::None, found) => Answers::of(found.map_or_else(|several| several, Vec::from))
                .map_err(|error| error.context(format!("output `{}`", name))),
        }
    });
    Ok((wanted.collect::<Result<_>>()?, outcome.seconds))
}

/// Runs the samples through `id`, forwards, and backwards after what is asked where shapes are open.
pub(super) fn answers(workspace: &Workspace, id: &CellId, asked: &Asked<'_>) -> Result<Ran, (Stage, Error)> {
    let Asked { interface, feeds, .. } = *asked;
    let mut open = OpenCell::open(workspace, id).map_err(|error| (Stage::Load, error))?;
    let at_run = |error| (Stage::Run, error);
    let start = Instant::now();
    let (outputs, seconds) = run_once(&mut open, interface, feeds).map_err(at_run)?;
    let load = (start.elapsed().as_secs_f64() - seconds).max(0.0);
    let trials = shape_trials::of(workspace, id, asked, &mut open, &outputs).map_err(at_run)?;
    let backwards = feeds.samples((0..feeds.batch()).rev()).map_err(at_run)?;
    let (turned, _) = run_once(&mut open, interface, &backwards).map_err(at_run)?;
    let layers = open.layers().map_err(at_run)?;
    let version = open.version().to_owned();
    let seconds = CellSeconds { load, run: seconds };
    Ok(Ran { outputs, turned, layers, trials, artifact: open.artifact, seconds, version })
}

fn judged(
    workspace: &Workspace,
    cell: &PlannedCell,
    asked: &Asked<'_>,
    reference: &Result<Ran, (Stage, Error)>,
    golden: Option<&Kept>,
    ladder: &Ladder,
    options: &RunOptions,
) -> CellReport {
    let CellId { runtime, precision, batch, shape } = &cell.id;
    let at = shape.as_ref().map(|shape| format!(" --shape {shape}")).unwrap_or_default();
    let replay =
        format!("trtgate gate{} --runtime {runtime} --precision {precision} --batch {batch}{at}", options.replay);
    let mut report = CellReport::new(&cell.id, replay);
    if let Ability::Nothing(obstacle) | Ability::BuildOnly(obstacle) = &cell.ability {
        let error = Error::new(obstacle.error_kind(), obstacle.reason.clone());
        assemble::stop(&mut report, obstacle.status, Stage::Load, &error);
        return report;
    }
    report.emulated = assemble::emulated(cell).map(str::to_owned);
    // With a golden the reference is held to what it answered then, and to what its authors expect where they say it.
    let is_reference = is_reference(&workspace.manifest, &cell.id);
    let (golden, expected) = (golden.filter(|_| is_reference), asked.expected.filter(|_| is_reference));
    report.is_reference = is_reference && golden.is_none() && expected.is_none();
    // Made before it is opened, so that what a converter cannot make is told from what a runtime refuses.
    if let Err(error) = workspace.artifact(cell.artifact, cell.artifact.static_batch(*batch)) {
        assemble::stop(&mut report, super::execute::stopped_at(Stage::Convert, error.kind), Stage::Convert, &error);
        return report;
    }
    let mut ran = match answers(workspace, &cell.id, asked) {
        Ok(ran) => ran,
        Err((stage, error)) => {
            // What the plan let through and the runtime refuses is a fault of the artifact, never a skip.
            let status = match error.kind {
                ErrorKind::Invalid | ErrorKind::Machine => Status::Invalid,
                _ => Status::Fail,
            };
            assemble::stop(&mut report, status, stage, &error);
            return report;
        }
    };
    report.version = Some(ran.version.clone());
    report.artifact = Some(super::execute::artifact_report(&ran.artifact));
    report.seconds = Some(ran.seconds);
    report.stage = Stage::Compare;
    let reference = match reference {
        Ok(reference) => reference,
        Err((_, error)) => {
            let error = Error { kind: ErrorKind::Invalid, ..error.clone().context("the reference did not answer") };
            assemble::stop(&mut report, Status::Invalid, Stage::Compare, &error);
            return report;
        }
    };
    let wanted = golden.map(|golden| &golden.answers).or_else(|| expected.map(|expected| &expected.answers));
    let wanted = wanted.unwrap_or(&reference.outputs);
    ran.widen(wanted);
    let source = &workspace.manifest.model.source;
    if super::own::is_own(&workspace.manifest, cell.artifact) {
        super::own::in_types_of(&mut ran, wanted);
    }
    let found = checks(&ran, wanted, asked, ladder, &cell.id, source).and_then(|(mut checks, findings)| {
        let held = |expected| brought::held(&ran, expected, asked, ladder, &cell.id, source);
        // What they say comes first.
        checks.splice(0..0, expected.map(held).transpose()?);
        Ok((checks, findings))
    });
    match found {
        Ok((checks, findings)) => {
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
        }
        Err(error) => assemble::stop(&mut report, Status::Invalid, Stage::Compare, &error),
    }
    report
}

fn is_reference(manifest: &Manifest, id: &CellId) -> bool {
    let reference = reference_cell(manifest);
    id.runtime.library == reference.runtime.library && id.precision == Precision::Fp32
}

//! Runs the planned cells in worker processes and collects what came out, unjudged.
//!
//! The cells of one lane share a worker, the cells of one precision share a loaded session. Lanes run side by side as far as the
//! machine has processors for them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::check::judge::status_of;
use crate::check::saturation::Saturation;
use crate::convert::Artifact;
use crate::error::{Error, ErrorKind, Result};
use crate::findings::{ArtifactReport, CellSeconds};
use crate::libraries::BatchSupport;
use crate::manifest::Manifest;
use crate::plan::{Ability, PlannedCell};
use crate::processor::InstructionSet;
use crate::runtime::{Installation, OpenRequest, SessionOptions};
use crate::tensor::Signature;
use crate::vocabulary::{ArtifactKind, Layer, Library, Precision, RuntimeId, Stage, Status};
use crate::worker::{Limits, Worker, WorkerProgram};

use super::engine::{self, Site};
use super::runs::shelf::{Held, Shelf};
use super::runs::{Asked, Feeding, Outcome, Ran, RawCell, Runs};
use super::shipped::Shipped;
use crate::progress::Step;

/// Portable artifacts by kind and, for static ones, batch; or why they could not be made.
pub(crate) type Artifacts = BTreeMap<(ArtifactKind, Option<u32>), Result<Artifact>>;

/// What every job reads.
pub(crate) struct Inputs<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) site: &'a Site<'a>,
    pub(crate) artifacts: &'a Artifacts,
    /// The engines that ship.
    pub(crate) shipped: &'a Shipped,
    /// The integer products of the artifacts.
    pub(crate) saturation: &'a BTreeMap<ArtifactKind, Saturation>,
    pub(crate) fed: &'a dyn Feeding,
    /// Where outputs wait to be judged.
    pub(crate) shelf: Shelf,
    pub(crate) program: &'a WorkerProgram,
    pub(crate) limits: Limits,
    pub(crate) step: Mutex<Box<dyn Step>>,
}

/// Runs every cell of `plan`; the results come in the plan's order.
pub(crate) fn execute(plan: &[PlannedCell], inputs: &Inputs<'_>) -> Runs {
    let mut keys: Vec<LaneKey> = Vec::new();
    for key in plan.iter().map(lane_of) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let next = Mutex::new(keys.iter());
    let results: Mutex<Vec<RawCell>> = Mutex::new(Vec::with_capacity(plan.len()));
    let lanes = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).clamp(1, 4);
    std::thread::scope(|scope| {
        for _ in 0..lanes.min(keys.len()) {
            scope.spawn(|| {
                loop {
                    let key = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(key) = key else { return };
                    let cells: Vec<&PlannedCell> = plan.iter().filter(|cell| lane_of(cell) == *key).collect();
                    let done = run_lane(&cells, inputs);
                    results.lock().unwrap_or_else(PoisonError::into_inner).extend(done);
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|cell| plan.iter().position(|planned| planned.id == cell.planned.id));
    Runs { cells: results }
}

/// What runs one after another: the cells of a runtime, or those of one of its precisions.
type LaneKey = (RuntimeId, Option<Precision>);

/// The lane of a cell. ONNX Runtime's sessions share nothing but the processor, and FP16 takes several times as long as FP32; what
/// builds on a device, or loads for long, keeps to one worker.
fn lane_of(cell: &PlannedCell) -> LaneKey {
    let alone = cell.id.runtime.library == Library::Onnxruntime;
    (cell.id.runtime.clone(), alone.then_some(cell.id.precision))
}

/// Runs the cells of one lane, one after another, in one worker as long as it lives.
fn run_lane<'a>(cells: &[&'a PlannedCell], inputs: &'a Inputs<'a>) -> Vec<RawCell> {
    let mut largest = BTreeMap::new();
    for cell in cells {
        let batch = largest.entry(cell.id.precision).or_insert(0);
        *batch = cell.id.batch.max(*batch);
    }
    let mut lane = Lane {
        inputs,
        installation: cells.iter().find_map(|cell| cell.installation.as_ref()),
        worker: None,
        open: None,
        engines: BTreeMap::new(),
        largest,
        deaths: BTreeMap::new(),
    };
    cells
        .iter()
        .map(|cell| {
            inputs.step.lock().unwrap_or_else(PoisonError::into_inner).detail(&cell.id.to_string());
            lane.run(cell)
        })
        .collect()
}

/// The state of one lane's run.
struct Lane<'a> {
    inputs: &'a Inputs<'a>,
    /// What its cells are run by.
    installation: Option<&'a Installation>,
    worker: Option<Worker>,
    open: Option<OpenSession>,
    /// Engines made or refused, by precision.
    engines: BTreeMap<Precision, Result<Artifact>>,
    /// The largest batch that is run, by precision.
    largest: BTreeMap<Precision, u32>,
    /// How often a worker died, by precision.
    deaths: BTreeMap<Precision, usize>,
}

struct OpenSession {
    path: PathBuf,
    signature: Signature,
    load_seconds: f64,
    layers: Option<Vec<Layer>>,
}

impl Lane<'_> {
    fn run(&mut self, cell: &PlannedCell) -> RawCell {
        let mut artifact = None;
        let outcome = self.stages(cell, &mut artifact);
        let outcome = outcome.unwrap_or_else(|(stage, error)| Outcome::Stopped {
            status: stopped_at(stage, error.kind),
            stage,
            error,
        });
        RawCell { planned: cell.clone(), artifact, outcome }
    }

    /// Convert, build, load, run; an error carries the stage it happened in.
    fn stages(
        &mut self,
        cell: &PlannedCell,
        report: &mut Option<ArtifactReport>,
    ) -> std::result::Result<Outcome, (Stage, Error)> {
        let stopped = |obstacle: &crate::runtime::Obstacle| {
            let mut error = Error::new(obstacle.error_kind(), obstacle.reason.clone());
            error.causes.clone_from(&obstacle.tried);
            error.hint.clone_from(&obstacle.hint);
            error
        };
        if let Ability::Nothing(obstacle) = &cell.ability {
            return Ok(Outcome::Stopped { status: obstacle.status, stage: Stage::Load, error: stopped(obstacle) });
        }
        let Some(installation) = &cell.installation else {
            return Err((Stage::Load, Error::missing("the runtime is not on this machine")));
        };
        let source = match cell.artifact {
            ArtifactKind::Engine => self.inputs.shipped.engine(cell.id.precision),
            kind => self
                .inputs
                .artifacts
                .get(&(kind, kind.static_batch(cell.id.batch)))
                .map_or_else(|| Err(Error::failed("the artifact was not planned")), Clone::clone),
        };
        let source = source.map_err(|error| (Stage::Convert, error))?;
        *report = Some(artifact_report(&source));
        let artifact = if installation.id.library.builds_engines() && source.kind != ArtifactKind::Engine {
            let engine = self.engine(cell, installation, &source).map_err(|error| (Stage::Build, error))?;
            *report = Some(artifact_report(&engine));
            engine
        } else {
            source
        };
        if let Ability::BuildOnly(obstacle) = &cell.ability {
            return Ok(Outcome::Built { status: obstacle.status, error: stopped(obstacle) });
        }
        self.load(cell, installation, &artifact).map_err(|error| (Stage::Load, error))?;
        let mut ran = self.ask(cell, &artifact).map_err(|error| (Stage::Run, error))?;
        ran.exact = self.exact(cell, &ran, &artifact, installation);
        Ok(Outcome::Ran(Box::new(ran)))
    }

    fn engine(&mut self, cell: &PlannedCell, installation: &Installation, source: &Artifact) -> Result<Artifact> {
        let precision = cell.id.precision;
        if let Some(made) = self.engines.get(&precision) {
            return made.clone().map(|artifact| Artifact { build_seconds: 0.0, cached: true, ..artifact });
        }
        let inputs = self.inputs;
        let made = engine::engine(inputs.site, installation, precision, source, &mut |request| {
            self.with_worker(precision, |worker| worker.build(request))
        });
        self.open = None;
        self.engines.insert(precision, made.clone());
        made
    }

    fn load(&mut self, cell: &PlannedCell, installation: &Installation, artifact: &Artifact) -> Result<()> {
        let shares = self.inputs.fed.shares_sessions();
        if self.open.as_ref().is_some_and(|open| open.path == artifact.path && shares) {
            return Ok(());
        }
        self.open = None;
        let request = open_request(self.inputs.manifest, cell, installation, artifact);
        let (mut signature, load_seconds, layers) = self.with_worker(cell.id.precision, |worker| {
            let (signature, seconds) = worker.open(&request)?;
            Ok((signature, seconds, worker.layers()?))
        })?;
        if cell.artifact == ArtifactKind::Engine {
            self.inputs.shipped.hold(&signature)?;
        }
        hold_batch(self.inputs.manifest, &mut signature);
        self.open = Some(OpenSession { path: artifact.path.clone(), signature, load_seconds, layers });
        Ok(())
    }

    fn ask(&mut self, cell: &PlannedCell, artifact: &Artifact) -> Result<Ran> {
        let inputs = self.inputs;
        let Some(open) = &self.open else { return Err(Error::failed("no session is open")) };
        let asked = Asked {
            cell,
            artifact,
            pad: inputs.fed.pads(&open.signature, artifact.kind),
            largest: self.largest.get(&cell.id.precision) == Some(&cell.id.batch),
            limit: inputs.limits.request,
            manifest: inputs.manifest,
        };
        let (load, layers) = (open.load_seconds, open.layers.clone());
        let ran = self.with_worker(cell.id.precision, |worker| inputs.fed.ask(worker, &asked, &inputs.shelf))?;
        Ok(Ran { seconds: CellSeconds { load, ..ran.seconds }, layers, ..ran })
    }

    /// The outputs of the cell with exact products, from a session of their own, where the processor saturates and the
    /// artifact is not proven to be safe from it. Evidence for the cause of a failure; what goes wrong here decides nothing.
    fn exact(&self, cell: &PlannedCell, ran: &Ran, artifact: &Artifact, installation: &Installation) -> Option<Held> {
        let narrow = ran.instruction_set.as_ref().is_some_and(InstructionSet::sums_pairs_in_16_bits);
        let proven = self.inputs.saturation.get(&artifact.kind).is_none_or(Saturation::is_proven);
        if !narrow || proven || cell.id.runtime.library != Library::Onnxruntime {
            return None;
        }
        let request = open_request(self.inputs.manifest, cell, installation, artifact);
        let options = SessionOptions { exact_products: true, ..request.options.clone() };
        let mut worker = Worker::start(&self.inputs.program.loading(installation), self.inputs.limits).ok()?;
        let (signature, _) = worker.open(&OpenRequest { options, ..request }).ok()?;
        let fed = self.inputs.fed;
        let outputs = fed.probes(&mut worker, &cell.id, fed.pads(&signature, artifact.kind)).ok()?;
        self.inputs.shelf.hold(outputs).ok()
    }

    /// Asks the lane's worker, starting one if there is none; a worker that died twice on a precision is not
    /// started a third time for it.
    fn with_worker<T>(&mut self, precision: Precision, ask: impl FnOnce(&mut Worker) -> Result<T>) -> Result<T> {
        if self.deaths.get(&precision).is_some_and(|&deaths| deaths >= 2) {
            return Err(Error::failed("the worker died twice before this cell, so it was not started again")
                .hint("the cells before this one say how it died"));
        }
        let mut worker = match self.worker.take() {
            Some(worker) => worker,
            None => {
                // The cells of a lane are of one installation.
                let program = self
                    .installation
                    .map_or_else(|| self.inputs.program.clone(), |own| self.inputs.program.loading(own));
                Worker::start(&program, self.inputs.limits)?
            }
        };
        let answer = ask(&mut worker);
        if worker.is_dead() {
            *self.deaths.entry(precision).or_default() += 1;
            self.open = None;
        } else {
            self.worker = Some(worker);
        }
        answer
    }
}

/// The status of a cell that stopped at `stage`. What cannot be here or cannot work was found out by the plan; an artifact
/// that its runtime refuses after that is a fault of the artifact, and would pass unseen as `unsupported`.
pub(super) const fn stopped_at(stage: Stage, kind: ErrorKind) -> Status {
    match (stage, kind) {
        (Stage::Load | Stage::Run, ErrorKind::Missing | ErrorKind::Unsupported) => Status::Fail,
        _ => status_of(kind),
    }
}

/// How the session that a cell shares with others is opened.
fn open_request(
    manifest: &Manifest,
    cell: &PlannedCell,
    installation: &Installation,
    artifact: &Artifact,
) -> OpenRequest {
    let largest = manifest.batches.last().copied().unwrap_or(cell.id.batch);
    // Whoever built an engine that ships need not have thought of the largest.
    let shipped = (cell.artifact == ArtifactKind::Engine).then_some(cell.id.batch);
    let batch = artifact.kind.static_batch(cell.id.batch).or(shipped).unwrap_or(largest);
    OpenRequest {
        installation: installation.clone(),
        artifact: artifact.path.clone(),
        kind: artifact.kind,
        precision: cell.id.precision,
        batch: batch as usize,
        options: session_options(manifest),
    }
}

/// The options every session of a manifest is opened with.
pub(crate) fn session_options(manifest: &Manifest) -> SessionOptions {
    SessionOptions {
        intra_threads: manifest.run.intra_threads,
        inter_threads: manifest.run.inter_threads,
        outputs: match &manifest.interface {
            Some(interface) => interface.read_outputs().into_iter().map(str::to_owned).collect(),
            None => vec![manifest.output.name.clone()],
        },
        signature: manifest.model.source.signature().to_owned(),
        emulate_half: true,
        // What has no batch may have any size, that of no element too.
        inner_tensors: manifest.interface.as_ref().is_some_and(|interface| interface.axes().one_by_one()),
        ..SessionOptions::default()
    }
}

/// Puts the manifest's fixed batch into a signature that leaves it open: some files do, whose graphs take one size only.
pub(crate) fn hold_batch(manifest: &Manifest, signature: &mut Signature) {
    let batches = signature.inputs.iter_mut().filter_map(|input| input.shape.first_mut());
    if let Some(fixed) = manifest.input.fixed_batch {
        batches.filter(|batch| batch.is_none()).for_each(|batch| *batch = Some(fixed as usize));
    }
}

/// Whether an artifact of this kind is one file a batch size.
pub(crate) const fn is_of_one_batch(kind: ArtifactKind) -> bool {
    matches!(kind.batches(), BatchSupport::Static)
}

/// Whether the model takes one batch size only.
pub(crate) fn is_static(signature: &Signature) -> bool {
    signature.inputs.first().and_then(|input| input.shape.first()).is_some_and(Option::is_some)
}

pub(super) fn artifact_report(artifact: &Artifact) -> ArtifactReport {
    ArtifactReport {
        kind: artifact.kind,
        sha256: artifact.sha256.clone(),
        bytes: artifact.bytes,
        build_seconds: artifact.build_seconds,
        cached: artifact.cached,
    }
}

#[cfg(test)]
mod failing;
#[cfg(test)]
pub(in crate::gate) mod histories;
#[cfg(test)]
mod tests;

//! Runs the planned cells in worker processes and collects what came out, unjudged.
//!
//! The cells of one lane share a worker, the cells of one precision share a loaded session. What is built and what runs, and when, a
//! board says (`schedule`): builds side by side as far as their card allows, the cells of an engine while others are built.

mod lane;
mod schedule;
mod told;

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::check::judge::status_of;
use crate::check::saturation::Saturation;
use crate::convert::Artifact;
use crate::error::{ErrorKind, Result};
use crate::findings::ArtifactReport;
use crate::libraries::BatchSupport;
use crate::manifest::Manifest;
use crate::plan::PlannedCell;
use crate::progress::Step;
use crate::runtime::{Installation, OpenRequest, SessionOptions};
use crate::tensor::Signature;
use crate::vocabulary::{ArtifactKind, CellId, Library, Precision, RuntimeId, Stage, Status};
use crate::worker::{Limits, WorkerProgram};

use super::engine::Site;
use super::engine::past::Past;
use super::machine;
use super::own::may_hold_halves;
use super::runs::shelf::Shelf;
use super::runs::{Elsewhere, Feeding, RawCell, Runs};
use super::shipped::Shipped;
use lane::{Lane, Pool};
use schedule::{Board, Job, Kind, Room};
use told::Watch;

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
    /// How builds share the machine.
    pub(crate) builds: Builds,
    /// The GPUs that cells are spread over, by number; none where there is none.
    pub(crate) cards: Vec<usize>,
}

/// How builds share the machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Builds {
    /// At once on a card, or without one; what fits if absent.
    pub(crate) at_once: Option<usize>,
    /// Whether a card that builds does nothing else: what is built is to be timed.
    pub(crate) undisturbed: bool,
}

impl Inputs<'_> {
    fn room(&self) -> Room {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Room::of(cores, machine::free_memory(), self.cards.len(), self.builds)
    }
}

/// Runs every cell of `plan`; the results come in the plan's order.
pub(crate) fn execute(plan: &[PlannedCell], inputs: &Inputs<'_>) -> Runs {
    let mut keys: Vec<LaneKey> = Vec::new();
    for key in plan.iter().map(lane_of) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let (past, pool, watch) = (Past::new(inputs.site), Pool::default(), Watch::default());
    let mut lanes = Vec::with_capacity(keys.len());
    let mut jobs = Vec::new();
    for key in &keys {
        let cells: Vec<&PlannedCell> = plan.iter().filter(|cell| lane_of(cell) == *key).collect();
        let lane = Lane::new(cells, inputs, (&pool, &past, &watch));
        jobs.extend(lane.jobs(jobs.len()).into_iter().map(|job| (job, lanes.len())));
        lanes.push(Mutex::new(lane));
    }
    let room = inputs.room();
    let (jobs, lane_of_job): (Vec<Job>, Vec<usize>) = jobs.into_iter().unzip();
    let kinds: Vec<Kind> = jobs.iter().map(|job| job.kind).collect();
    let board = (Mutex::new(Board::new(jobs, room)), Condvar::new());
    let results: Mutex<Vec<RawCell>> = Mutex::new(Vec::with_capacity(plan.len()));
    let elsewhere: Mutex<Vec<(CellId, Elsewhere)>> = Mutex::default();
    let work = || {
        while let Some(turn) = Turn::next(&board) {
            let Some(lane) = lane_of_job.get(turn.index).and_then(|lane| lanes.get(*lane)) else { continue };
            let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
            match kinds.get(turn.index) {
                Some(Kind::Build) => lane.build(turn.card),
                Some(Kind::Again) => {
                    let done = lane.run_again(turn.card);
                    elsewhere.lock().unwrap_or_else(PoisonError::into_inner).extend(done);
                }
                _ => {
                    let done = lane.run(turn.card);
                    results.lock().unwrap_or_else(PoisonError::into_inner).extend(done);
                }
            }
        }
    };
    let waiting = || board.0.lock().unwrap_or_else(PoisonError::into_inner).builds_waiting();
    watch.while_working(&inputs.step, &waiting, || {
        std::thread::scope(|scope| {
            for _ in 0..room.jobs.min(kinds.len()) {
                scope.spawn(work);
            }
        });
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (id, answers) in elsewhere.into_inner().unwrap_or_else(PoisonError::into_inner) {
        if let Some(cell) = results.iter_mut().find(|cell| cell.planned.id == id) {
            cell.elsewhere.push(answers);
        }
    }
    results.sort_by_key(|cell| plan.iter().position(|planned| planned.id == cell.planned.id));
    Runs { cells: results }
}

/// A job that has begun; it ends when this is dropped, however it went.
struct Turn<'a> {
    board: &'a (Mutex<Board>, Condvar),
    index: usize,
    card: Option<usize>,
}

impl<'a> Turn<'a> {
    /// The next job, waited for; `None` when all have begun.
    fn next(board: &'a (Mutex<Board>, Condvar)) -> Option<Self> {
        let mut jobs = board.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some((index, card)) = jobs.begin() {
                return Some(Self { board, index, card });
            }
            if jobs.is_empty() {
                return None;
            }
            jobs = board.1.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.board.0.lock().unwrap_or_else(PoisonError::into_inner).end(self.index);
        self.board.1.notify_all();
    }
}

/// What belongs together: the cells of a runtime, or those of one of its precisions.
type LaneKey = (RuntimeId, Option<Precision>);

/// The lane of a cell. Engines are built apart and run apart, one a precision. ONNX Runtime's sessions share nothing but the processor,
/// and FP16 takes several times as long as FP32; what loads for long keeps to one worker.
fn lane_of(cell: &PlannedCell) -> LaneKey {
    let library = cell.id.runtime.library;
    let alone = library == Library::Onnxruntime || library.on_gpu();
    (cell.id.runtime.clone(), alone.then_some(cell.id.precision))
}

/// The status of a cell that stopped at `stage`. What cannot be here or cannot work was found out by the plan; an artifact
/// that its runtime refuses after that is a fault of the artifact, and would pass unseen as `unsupported`.
pub(super) const fn stopped_at(stage: Stage, kind: ErrorKind) -> Status {
    match (stage, kind) {
        (Stage::Load | Stage::Run, ErrorKind::Missing | ErrorKind::Unsupported) => Status::Fail,
        _ => status_of(kind),
    }
}

/// How the session that a cell shares with others is opened, on the GPU `device` where it runs on one.
pub(super) fn open_request(
    manifest: &Manifest,
    cell: &PlannedCell,
    installation: &Installation,
    artifact: &Artifact,
    device: usize,
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
        options: cell_options(manifest, cell, artifact.kind, SessionOptions { device, ..session_options(manifest) }),
    }
}

/// `options` as `cell` has them: half precision is emulated where its artifact may hold halves, and its server is its own.
pub(crate) fn cell_options(
    manifest: &Manifest,
    cell: &PlannedCell,
    kind: ArtifactKind,
    options: SessionOptions,
) -> SessionOptions {
    SessionOptions {
        emulate_half: options.emulate_half && may_hold_halves(manifest, kind),
        endpoint: manifest.endpoint_of(&cell.id.runtime).cloned().map(Box::new),
        ..options
    }
}

/// The options every session of a manifest is opened with; a cell's own stand in [`open_request`].
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

//! The cells of a runtime or of one of its precisions: their engine, their session, their answers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::schedule::{Job, Kind};
use super::told::Watch;
use super::{Inputs, artifact_report, hold_batch, open_request, stopped_at};
use crate::check::saturation::Saturation;
use crate::convert::Artifact;
use crate::error::{Error, Result};
use crate::findings::{ArtifactReport, CellSeconds};
use crate::gate::engine;
use crate::gate::engine::past::{Past, usual};
use crate::gate::runs::shelf::Held;
use crate::gate::runs::{Asked, Elsewhere, Outcome, Ran, RawCell, unlisted};
use crate::gate::served;
use crate::plan::{Ability, PlannedCell};
use crate::processor::InstructionSet;
use crate::runtime::tensorrt::BuildRequest;
use crate::runtime::{Installation, OpenRequest, SessionOptions};
use crate::tensor::Signature;
use crate::vocabulary::{ArtifactKind, CellId, Layer, Library, Precision, RuntimeId, Stage};
use crate::worker::Worker;

/// Workers that have nothing to do, of one library on one card: who built has the builder loaded, which takes seconds.
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<BTreeMap<Place, Vec<Idle>>>,
    /// Engines that are still to be built, and runs that have not ended, by library.
    left: Mutex<BTreeMap<RuntimeId, (usize, usize)>>,
}

/// A library and its card.
type Place = (RuntimeId, Option<usize>);

/// A worker, and whether it has a builder loaded.
type Idle = (bool, Worker);

impl Pool {
    /// Counts an engine that is to be built, if `builds` says so, and the runs of its cells.
    fn expect(&self, runtime: &RuntimeId, builds: bool, runs: usize) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (engines, to_run) = left.entry(runtime.clone()).or_default();
        *engines += usize::from(builds);
        *to_run += runs;
    }

    /// A worker, if one is idle. Cells take none with a builder as long as that will be needed.
    fn take(&self, runtime: &RuntimeId, card: Option<usize>, kind: Kind) -> Option<Worker> {
        let to_build = {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            let (engines, _) = left.entry(runtime.clone()).or_default();
            *engines -= usize::from(kind == Kind::Build).min(*engines);
            *engines
        };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = idle.get_mut(&(runtime.clone(), card))?;
        let fitting = workers.iter().position(|(builder, _)| *builder == (kind == Kind::Build));
        let any = (kind == Kind::Build || to_build == 0).then_some(0).filter(|_| !workers.is_empty());
        fitting.or(any).map(|place| workers.swap_remove(place).1)
    }

    /// Takes back what lives; when no run of the library is left, all end.
    fn give(&self, runtime: &RuntimeId, card: Option<usize>, worker: Option<Idle>, is_over: bool) {
        let runs = {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            let (_, runs) = left.entry(runtime.clone()).or_default();
            *runs -= usize::from(is_over).min(*runs);
            *runs
        };
        let mut ended = Vec::new();
        {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.entry((runtime.clone(), card)).or_default().extend(worker);
            if runs == 0 {
                idle.iter_mut().filter(|((own, _), _)| own == runtime).for_each(|(_, own)| ended.append(own));
            }
        }
        // A worker takes a moment to end: nobody waits for it with the pool in hand.
        drop(ended);
    }
}

/// The state of one lane's run.
pub(super) struct Lane<'a> {
    inputs: &'a Inputs<'a>,
    pool: &'a Pool,
    past: &'a Past<'a>,
    watch: &'a Watch,
    cells: Vec<&'a PlannedCell>,
    /// What its cells are run by.
    installation: Option<&'a Installation>,
    worker: Option<Worker>,
    open: Option<OpenSession>,
    /// Its engine, made or refused.
    engine: Option<Result<Artifact>>,
    /// Whether a cell was told how long that took.
    is_told: bool,
    /// The largest batch that is run, by precision.
    largest: BTreeMap<Precision, u32>,
    /// How often a worker died, by precision.
    deaths: BTreeMap<Precision, usize>,
    /// How a worker died that was asked for the layers of a file: it is not asked again.
    unlisted: BTreeMap<PathBuf, Error>,
    /// Number of the GPU that it is on now.
    gpu: Option<usize>,
    /// The cells that have answers.
    answered: Vec<&'a PlannedCell>,
}

struct OpenSession {
    path: PathBuf,
    signature: Signature,
    load_seconds: f64,
    layers: Result<Vec<Layer>>,
}

impl<'a> Lane<'a> {
    pub(super) fn new(
        cells: Vec<&'a PlannedCell>,
        inputs: &'a Inputs<'a>,
        (pool, past, watch): (&'a Pool, &'a Past<'a>, &'a Watch),
    ) -> Self {
        let mut largest = BTreeMap::new();
        for cell in cells.iter().filter(|cell| cell.ability == Ability::Run) {
            let batch = largest.entry(cell.id.precision).or_insert(0);
            *batch = cell.id.batch.max(*batch);
        }
        let installation = cells.iter().find_map(|cell| cell.installation.as_ref());
        let lane = Self {
            inputs,
            pool,
            past,
            watch,
            cells,
            installation,
            worker: None,
            open: None,
            engine: None,
            is_told: false,
            largest,
            deaths: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            gpu: None,
            answered: Vec::new(),
        };
        if let Some(runtime) = lane.pooled() {
            pool.expect(
                &runtime,
                lane.to_build().is_some(),
                lane.jobs(0).iter().filter(|job| job.kind != Kind::Build).count(),
            );
        }
        lane
    }

    /// The cell whose engine is built, with what it is built by and from, where there is one to build.
    fn to_build(&self) -> Option<(&'a PlannedCell, &'a Installation, Artifact)> {
        let cell = self.cells.iter().find(|cell| !matches!(cell.ability, Ability::Nothing(_)))?;
        let installation = cell.installation.as_ref()?;
        let builds = installation.id.library.builds_engines() && cell.artifact != ArtifactKind::Engine;
        let source = self.source(cell).ok().filter(|source| builds && source.kind != ArtifactKind::Engine)?;
        Some((cell, installation, source))
    }

    /// The library whose workers this lane shares with others: those of engines.
    fn pooled(&self) -> Option<RuntimeId> {
        let runtime = &self.cells.first()?.id.runtime;
        runtime.library.on_gpu().then(|| runtime.clone())
    }

    /// What this lane is in the schedule, where `first` jobs are before it: a build and then its cells, or its cells.
    pub(super) fn jobs(&self, first: usize) -> Vec<Job> {
        let Some(runtime) = self.pooled() else {
            // A server's protocols are asked one after the other: what it tells of merged requests is then of one of them.
            let library = self.cells.first().map(|cell| cell.id.runtime.library).filter(|library| library.is_served());
            let alone = library.map(|library| library.to_string());
            return vec![Job { kind: Kind::Plain, seconds: 0.0, after: None, alone, shift: 0 }];
        };
        let run = |kind, after, shift| Job {
            kind,
            seconds: 0.1 * self.cells.len() as f64,
            after,
            alone: Some(runtime.to_string()),
            shift,
        };
        // What runs is run again on each of the other cards.
        let runs = self.cells.iter().any(|cell| matches!(cell.ability, Ability::Run));
        let cards = if runs { self.inputs.cards.len().max(1) } else { 1 };
        let again = |own: usize| (1..cards).map(move |shift| (Kind::Again, Some(own), shift));
        let Some((cell, installation, source)) = self.to_build() else {
            let all = std::iter::once((Kind::Run, None, 0)).chain(again(first));
            return all.map(|(kind, after, shift)| run(kind, after, shift)).collect();
        };
        let (site, precision) = (self.inputs.site, cell.id.precision);
        let seconds = match engine::is_kept(site, installation, precision, &source) {
            true => 0.0,
            false => {
                self.past.seconds(installation, precision, &source).unwrap_or_else(|| usual(installation, precision))
            }
        };
        let cache = engine::fills(site, installation, precision, &source);
        let alone = cache.map(|cache| cache.display().to_string());
        let build = Job { kind: Kind::Build, seconds, after: None, alone, shift: 0 };
        let all = std::iter::once((Kind::Run, Some(first), 0)).chain(again(first + 1));
        std::iter::once(build).chain(all.map(|(kind, after, shift)| run(kind, after, shift))).collect()
    }

    /// The number of the GPU that the board calls `card`.
    fn number(&self, card: Option<usize>) -> Option<usize> {
        self.inputs.cards.get(card?).copied()
    }

    /// Builds the engine, on `card`; what goes wrong is told by the cells.
    pub(super) fn build(&mut self, card: Option<usize>) {
        let Some((cell, installation, source)) = self.to_build() else { return };
        self.gpu = self.number(card);
        self.worker = self.pool.take(&cell.id.runtime, card, Kind::Build);
        self.engine = Some(self.built(cell.id.precision, installation, &source));
        let worker = self.worker.take().map(|worker| (true, worker));
        self.pool.give(&cell.id.runtime, card, worker, false);
    }

    /// Runs the cells, one after another, in one worker as long as it lives, on `card`.
    pub(super) fn run(&mut self, card: Option<usize>) -> Vec<RawCell> {
        self.with_card(card, |lane| {
            let cells = lane.cells.clone();
            let done = cells.into_iter().map(|cell| {
                lane.tell(&cell.id.to_string());
                lane.cell(cell)
            });
            done.collect()
        })
    }

    /// Runs the samples of the cells that have answers again, on another card.
    pub(super) fn run_again(&mut self, card: Option<usize>) -> Vec<(CellId, Elsewhere)> {
        let Some(gpu) = self.number(card) else { return Vec::new() };
        self.with_card(card, |lane| {
            let cells = lane.answered.clone();
            let done = cells.into_iter().map(|cell| {
                lane.tell(&format!("{} on GPU {gpu}", cell.id));
                (cell.id.clone(), Elsewhere { gpu, answers: lane.answers_twice(cell) })
            });
            done.collect()
        })
    }

    fn answers_twice(&mut self, cell: &PlannedCell) -> Result<[Held; 2]> {
        let missing = || Error::missing("the runtime is not on this machine");
        let installation = cell.installation.as_ref().ok_or_else(missing)?;
        let source = self.source(cell)?;
        let artifact = if self.engine.is_some() { self.engine(cell, installation, &source)? } else { source };
        self.load(cell, installation, &artifact)?;
        let inputs = self.inputs;
        let mut answers = || {
            let Some(open) = &self.open else { return Err(Error::failed("no session is open")) };
            let pad = inputs.fed.pads(&open.signature, artifact.kind);
            let answers = self.with_worker(cell.id.precision, |worker| inputs.fed.probes(worker, &cell.id, pad))?;
            inputs.shelf.hold(answers)
        };
        Ok([answers()?, answers()?])
    }

    fn tell(&self, text: &str) {
        self.inputs.step.lock().unwrap_or_else(PoisonError::into_inner).detail(text);
    }

    /// Does `work` on `card`, with a worker that is idle there, if one is.
    fn with_card<T>(&mut self, card: Option<usize>, work: impl FnOnce(&mut Self) -> T) -> T {
        let pooled = self.pooled();
        self.gpu = self.number(card);
        self.worker = pooled.as_ref().and_then(|runtime| self.pool.take(runtime, card, Kind::Run));
        let done = work(self);
        self.open = None;
        let worker = self.worker.take().map(|worker| (false, worker));
        if let Some(runtime) = &pooled {
            self.pool.give(runtime, card, worker, true);
        }
        done
    }

    fn cell(&mut self, cell: &'a PlannedCell) -> RawCell {
        let mut artifact = None;
        let outcome = self.stages(cell, &mut artifact);
        let outcome = outcome.unwrap_or_else(|(stage, error)| Outcome::Stopped {
            status: stopped_at(stage, error.kind),
            stage,
            error,
        });
        let has_run = matches!(outcome, Outcome::Ran(_));
        self.answered.extend(has_run.then_some(cell));
        // What never got so far as to run was on no card.
        let gpu = self.gpu.filter(|_| has_run || matches!(cell.ability, Ability::Run));
        RawCell { planned: cell.clone(), artifact, gpu, outcome, elsewhere: Vec::new() }
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
        let source = self.source(cell).map_err(|error| (Stage::Convert, error))?;
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

    /// What a cell starts from.
    fn source(&self, cell: &PlannedCell) -> Result<Artifact> {
        match cell.artifact {
            ArtifactKind::Engine => self.inputs.shipped.engine(cell.id.precision),
            ArtifactKind::Served => served::artifact(self.inputs.manifest, &cell.id.runtime),
            kind => self
                .inputs
                .artifacts
                .get(&(kind, kind.static_batch(cell.id.batch)))
                .map_or_else(|| Err(Error::failed("the artifact was not planned")), Clone::clone),
        }
    }

    /// The engine of the lane, as the first cell that asks for it is told, or the next.
    fn engine(&mut self, cell: &PlannedCell, installation: &Installation, source: &Artifact) -> Result<Artifact> {
        if self.engine.is_none() {
            self.engine = Some(self.built(cell.id.precision, installation, source));
        } else if self.is_told {
            let again = |artifact: Artifact| Artifact { build_seconds: 0.0, cached: true, ..artifact };
            return self
                .engine
                .clone()
                .map_or_else(|| Err(Error::failed("no engine was built")), |made| made.map(again));
        }
        self.is_told = true;
        self.engine.clone().unwrap_or_else(|| Err(Error::failed("no engine was built")))
    }

    fn built(&mut self, precision: Precision, installation: &Installation, source: &Artifact) -> Result<Artifact> {
        let inputs = self.inputs;
        let estimate = self.past.seconds(installation, precision, source);
        let is_warm = engine::fills(inputs.site, installation, precision, source).is_some_and(|cache| cache.exists());
        let name = format!("{}/{precision}", installation.id);
        let made = engine::engine(inputs.site, installation, precision, source, &mut |request| {
            let _underway = self.watch.begin(&name, estimate, is_warm);
            let request = BuildRequest { device: self.device(), ..request.clone() };
            self.with_worker(precision, |worker| worker.build(&request))
        });
        self.open = None;
        made
    }

    /// The GPU to build and run on, where there is one.
    fn device(&self) -> usize {
        self.gpu.unwrap_or(0)
    }

    fn load(&mut self, cell: &PlannedCell, installation: &Installation, artifact: &Artifact) -> Result<()> {
        let shares = self.inputs.fed.shares_sessions();
        if self.open.as_ref().is_some_and(|open| open.path == artifact.path && shares) {
            return Ok(());
        }
        self.open = None;
        let request = open_request(self.inputs.manifest, cell, installation, artifact, self.device());
        let precision = cell.id.precision;
        let (mut signature, mut load_seconds) = self.with_worker(precision, |worker| worker.open(&request))?;
        let layers = match self.unlisted.get(&artifact.path) {
            Some(death) => Err(death.clone()),
            None => self.with_worker(precision, |worker| worker.layers()).and_then(|told| told.ok_or_else(unlisted)),
        };
        // What lists the layers is another part of a library than what computes: its death proves no precision, and no answer wrong.
        if self.worker.is_none()
            && let Err(death) = &layers
        {
            self.unlisted.insert(artifact.path.clone(), death.clone());
            self.deaths.entry(precision).and_modify(|deaths| *deaths -= 1);
            (signature, load_seconds) = self.with_worker(precision, |worker| worker.open(&request))?;
        }
        if cell.artifact == ArtifactKind::Engine {
            self.inputs.shipped.hold(&signature)?;
        }
        served::hold_still(installation, &signature)?;
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
        let request = open_request(self.inputs.manifest, cell, installation, artifact, self.device());
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

#[cfg(test)]
mod tests;

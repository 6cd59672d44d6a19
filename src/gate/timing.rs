//! The performance half of a gate: cells under the clock, in fresh processes, after everything else is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::check::ladder::{Check, Ladder};
use crate::error::{Error, Result};
use crate::findings::verdict::plural;
use crate::findings::{CellReport, Machine};
use crate::gate::open::OpenCell;
use crate::gate::proof::Itself;
use crate::gate::workspace::Workspace;
use crate::manifest::Manifest;
use crate::measure::baseline::{ArtifactRecord, BaselineStore};
use crate::measure::bench::{self, Bench, BenchCell, BenchContext, BuiltArtifact, CellMeasurer};
use crate::measure::thresholds::Thresholds;
use crate::tensor::{BatchAxes, Feeds, Tensor};
use crate::timing::contract::{Measurement, TimingContract, TimingMode};
use crate::vocabulary::{CellId, Status};

mod held;
mod replicas;
mod sweep;

pub use held::{Expected, Scores, Tasks};
pub use sweep::Streams;

/// Distinct batches that a measurement cycles through, so that no cache holds one batch's answers for the next.
const BATCHES_IN_TURN: usize = 8;

/// How cells are measured.
#[derive(Clone, Debug)]
pub struct TimingOptions {
    /// The mode on a GPU; CPU runtimes always run one batch after another.
    pub mode: TimingMode,
    /// Execution contexts at once, on a GPU.
    pub streams: Streams,
    /// Whether the host spins while it waits for a GPU; in the latency mode it always does.
    pub spin: bool,
    /// Timed duration of one repetition, milliseconds.
    pub duration_milliseconds: u64,
    /// Processes per cell; the thresholds' number if absent.
    pub repetitions: Option<usize>,
}

impl TimingOptions {
    /// The contract of a cell.
    pub fn contract(&self, id: &CellId) -> TimingContract {
        let host = TimingContract { duration_milliseconds: self.duration_milliseconds, ..TimingContract::host() };
        if !id.runtime.library.on_gpu() {
            return host;
        }
        let transfers = self.mode != TimingMode::Compute;
        TimingContract {
            mode: self.mode,
            graph: true,
            transfers_in: transfers,
            transfers_out: transfers,
            streams: if self.mode == TimingMode::Latency { 1 } else { self.streams.count() },
            spin: self.spin || self.mode == TimingMode::Latency,
            ..host
        }
    }
}

/// Measures the cells of a workspace; what a measurement's timed loop answered is held to the reference.
pub struct WorkspaceMeasurer<'a> {
    workspace: &'a Workspace,
    ladder: Ladder,
    /// What a classifier is fed.
    probes: Option<Feeds>,
    /// What timed outputs are checked by.
    expected: Option<Expected<'a>>,
    throttled: BTreeMap<CellId, Vec<String>>,
    artifacts: BTreeMap<CellId, ArtifactRecord>,
    /// Digests of the artifacts that were judged, by the cell that they were judged for.
    judged: BTreeSet<(CellId, String)>,
    /// Profiles that an engine has at least: one serves every number of contexts that is tried.
    profiles: usize,
    /// Numbers of the GPUs of cells.
    gpus: BTreeMap<CellId, usize>,
}

impl<'a> WorkspaceMeasurer<'a> {
    /// A measurer of `cells` on the workspace's samples; the cells' artifacts have been judged. `expected` holds the right answers
    /// to them, where they are known.
    ///
    /// # Errors
    /// If the probes cannot be read.
    pub fn new(workspace: &'a Workspace, cells: &[BenchCell], expected: Option<Expected<'a>>) -> Result<Self> {
        let probes = match workspace.manifest.interface {
            None => {
                let probes = workspace.probes()?.samples()?;
                Some(probes.tensor(0..probes.len())?.into())
            }
            Some(_) => None,
        };
        Ok(Self {
            workspace,
            ladder: Ladder::built_in()?.with_losses(&workspace.manifest.losses_allowed),
            probes,
            expected,
            throttled: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            judged: cells
                .iter()
                .filter_map(|cell| Some((cell.id.clone(), cell.artifact.as_ref()?.sha256.clone())))
                .collect(),
            profiles: 1,
            gpus: BTreeMap::new(),
        })
    }

    /// Contexts that the engine of a cell has to serve.
    fn streams(&self, cell: &CellId, contract: &TimingContract) -> usize {
        let profiles = if cell.runtime.library.on_gpu() { self.profiles } else { 1 };
        contract.streams.max(profiles)
    }

    /// What a cell is fed, and where its samples lie.
    fn fed(&self, cell: &CellId) -> Result<(&Feeds, BatchAxes)> {
        let found = match (&self.expected, &self.probes) {
            (Some(Expected::Tasks(tasks)), _) => {
                tasks.fed.at(cell.shape.as_ref()).map(|feeds| (feeds, tasks.fed.axes.clone()))
            }
            (_, probes) => probes.as_ref().map(|probes| (probes, BatchAxes::default())),
        };
        found.ok_or_else(|| Error::invalid(format!("there is nothing to feed `{cell}`")))
    }

    /// What is fed under the clock. Whatever it answers has to be known: of a model of several inputs, the first samples are.
    pub(super) fn samples(&self, cell: &CellId) -> Result<(Feeds, BatchAxes)> {
        let (feeds, axes) = self.fed(cell)?;
        in_turn(feeds, cell.batch as usize).map(|feeds| (feeds, axes))
    }

    /// The outputs that were made while the clock ran, against the reference.
    fn check(&self, cell: &CellId, measurement: &Measurement) -> Result<()> {
        let Some(expected) = &self.expected else { return Ok(()) };
        let made = &measurement.outputs;
        let of = |outputs: &Vec<Tensor>| expected.samples_in(&self.workspace.manifest, outputs);
        let samples = made.iter().map(of).sum::<Result<usize>>()?;
        if samples == 0 || !samples.is_multiple_of(cell.batch as usize) {
            return Err(Error::failed("the measurement gave no outputs to check"));
        }
        let what = "outputs made while the clock ran";
        expected.hold(&self.workspace.manifest, &self.ladder, cell, made, what)
    }

    /// An engine with more profiles, for several contexts, is another one than was judged: it is judged before it is timed.
    fn judge(&mut self, cell: &CellId, open: &mut OpenCell) -> Result<()> {
        let digest = open.artifact.sha256.clone();
        let Some(expected) = &self.expected else { return Ok(()) };
        if self.judged.contains(&(cell.clone(), digest.clone())) {
            return Ok(());
        }
        let of_it =
            |error: Error| error.context("the engine that is to be timed, not the one that was judged, is wrong");
        let (feeds, axes) = self.fed(cell)?;
        let outputs = open.run_laid_out(feeds, &axes)?.outputs;
        expected.hold(&self.workspace.manifest, &self.ladder, cell, &[outputs], "its outputs").map_err(of_it)?;
        let row = self.ladder.row(cell.runtime.library, cell.precision)?;
        if row.gates(Check::PrecisionProof) {
            let layers = open.layers()?.unwrap_or_default();
            let source = &self.workspace.manifest.model.source;
            let proof = Itself::of(source).prove(cell.precision, &layers, row.precision_share).result(true);
            if proof.status != Status::Pass {
                return Err(of_it(Error::failed(proof.detail)));
            }
        }
        self.judged.insert((cell.clone(), digest));
        Ok(())
    }
}

/// Enough samples for the batches that take turns: all of `feeds`, repeated where they are too few.
fn in_turn(feeds: &Feeds, batch: usize) -> Result<Feeds> {
    let (wanted, have) = (batch * BATCHES_IN_TURN, feeds.batch());
    if have >= wanted {
        return feeds.first(wanted);
    }
    let count = if have >= batch { have / batch * batch } else { batch };
    feeds.samples((0..count).map(|row| row % have.max(1)))
}

impl CellMeasurer for WorkspaceMeasurer<'_> {
    fn measure(&mut self, cell: &CellId, contract: &TimingContract, _fresh_process: bool) -> Result<Measurement> {
        // Every measurement has a worker of its own: a warm process would hide what a fresh one pays.
        let gpu = self.gpus.get(cell).copied();
        let mut open = OpenCell::open_to_measure(self.workspace, cell, self.streams(cell, contract), gpu)?;
        self.judge(cell, &mut open)?;
        let (feeds, axes) = self.samples(cell)?;
        let measurement = open.measure_laid_out(&feeds, &axes, contract)?;
        self.check(cell, &measurement)?;
        let throttled = measurement.device.as_ref().map_or_else(Vec::new, |device| {
            [&device.before, &device.after]
                .into_iter()
                .flatten()
                .flat_map(|state| state.throttled_by().into_iter().map(str::to_owned))
                .collect()
        });
        self.throttled.insert(cell.clone(), throttled);
        let (kind, sha256, bytes) = (open.artifact.kind, open.artifact.sha256.clone(), open.artifact.bytes);
        // What is served lies elsewhere: it has no size here.
        if bytes > 0 {
            self.artifacts.insert(cell.clone(), ArtifactRecord { kind, sha256, bytes });
        }
        Ok(measurement)
    }

    fn throttle_reasons(&mut self, cell: &CellId) -> Vec<String> {
        self.throttled.get(cell).cloned().unwrap_or_default()
    }

    fn artifact(&mut self, cell: &CellId) -> Option<ArtifactRecord> {
        self.artifacts.get(cell).cloned()
    }
}

/// Everything that a bench of a workspace stands on.
pub struct Timing<'a> {
    workspace: &'a Workspace,
    /// The rule's numbers.
    pub thresholds: Thresholds,
    store: BaselineStore,
    machine: Machine,
    /// Contexts at once, where that is a question.
    streams: Streams,
}

impl<'a> Timing<'a> {
    /// Reads the thresholds beside the manifest, or the built-in ones.
    ///
    /// # Errors
    /// If they are there and wrong.
    pub fn new(workspace: &'a Workspace, options: &TimingOptions) -> Result<Self> {
        let mut thresholds = Thresholds::load(&workspace.manifest.path)?;
        if let Some(repetitions) = options.repetitions {
            thresholds.repetitions = repetitions.max(1);
        }
        let store = BaselineStore::new(&workspace.manifest.baselines);
        let streams = if options.mode == TimingMode::Latency { Streams::Count(1) } else { options.streams };
        Ok(Self { workspace, thresholds, store, machine: super::machine_of(workspace), streams })
    }

    /// The context of the measuring library.
    pub fn context(&self) -> BenchContext<'_> {
        BenchContext {
            machine: &self.machine,
            model: &self.workspace.manifest.model.name,
            model_sha256: &self.workspace.model_sha256,
            intra_threads: self.workspace.manifest.run.intra_threads,
            inter_threads: self.workspace.manifest.run.inter_threads,
            thresholds: &self.thresholds,
            store: &self.store,
        }
    }

    /// The cells of `reports` that passed, as what is measured.
    pub fn cells(&self, reports: &[CellReport], options: &TimingOptions) -> Vec<BenchCell> {
        reports
            .iter()
            .filter(|report| report.status == Status::Pass)
            .map(|report| BenchCell {
                id: report.id(),
                runtime_version: report.version.clone().unwrap_or_default(),
                instruction_set: report.instruction_set.clone(),
                artifact: record(report),
                contract: options.contract(&report.id()),
            })
            .collect()
    }

    /// What was built for cells of `reports` that could not run, each artifact once.
    pub fn built(reports: &[CellReport]) -> Vec<BuiltArtifact> {
        let mut built: Vec<BuiltArtifact> = Vec::new();
        for report in reports.iter().filter(|report| report.status == Status::Unavailable) {
            let (id, Some(artifact)) = (report.id(), record(report)) else { continue };
            let same = |other: &&mut BuiltArtifact| {
                let first = other.cells.first();
                first.is_some_and(|first| first.runtime == id.runtime && first.precision == id.precision)
                    && other.artifact == artifact
            };
            match built.iter_mut().find(same) {
                Some(known) => known.cells.push(id),
                None => built.push(BuiltArtifact {
                    cells: vec![id],
                    runtime_version: report.version.clone().unwrap_or_default(),
                    artifact,
                }),
            }
        }
        built
    }

    /// Measures and judges `cells`, each on the GPU that `gpus` says, and the sizes of what was `built` for others.
    ///
    /// # Errors
    /// If a baseline cannot be read.
    pub fn run(
        &self,
        cells: &[BenchCell],
        gpus: &BTreeMap<CellId, usize>,
        built: &[BuiltArtifact],
        expected: Option<Expected<'_>>,
    ) -> Result<Bench> {
        let mut measurer = WorkspaceMeasurer::new(self.workspace, cells, expected)?;
        measurer.gpus.clone_from(gpus);
        let progress = Arc::clone(&self.workspace.progress);
        let step = progress.begin(&format!("measuring {}", plural(cells.len(), "cell")));
        let mut cells = cells.to_vec();
        let told = match self.streams {
            Streams::Count(_) => BTreeMap::new(),
            Streams::Auto => {
                measurer.profiles = sweep::LARGEST;
                sweep::sweep(&mut cells, &mut measurer, &mut |text| step.detail(text))
            }
        };
        let mut bench = bench::run(&cells, &self.context(), &mut measurer, &mut |text| step.detail(text))?;
        for cell in &mut bench.cells {
            cell.notes.extend(told.get(&cell.cell.id).cloned());
        }
        if self.workspace.cards.len() > 1 {
            replicas::measure(&mut bench, &measurer, &mut |text| step.detail(text));
        }
        bench.sizes = bench::sizes(built, &self.context());
        step.finish();
        Ok(bench)
    }
}

/// The artifact of a cell, as baselines know it.
fn record(report: &CellReport) -> Option<ArtifactRecord> {
    report.artifact.as_ref().filter(|artifact| artifact.bytes > 0).map(|artifact| ArtifactRecord {
        kind: artifact.kind,
        sha256: artifact.sha256.clone(),
        bytes: artifact.bytes,
    })
}
/// Whether any baseline of the manifest's model is stored, of whatever machine.
pub fn has_baselines(manifest: &Manifest) -> bool {
    let devices = std::fs::read_dir(&manifest.baselines).into_iter().flatten().flatten();
    devices.map(|device| device.path().join(&manifest.model.name)).any(|folder| folder.is_dir())
}

#[cfg(test)]
mod tests;

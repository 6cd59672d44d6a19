//! The performance half of a gate: cells under the clock, in fresh processes, after everything else is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::check::comparison::{Terms, compare};
use crate::check::ladder::{Check, Ladder, Row};
use crate::check::leads::NaturalLeads;
use crate::check::pair::{OutputPair, select_output};
use crate::error::{Error, Result};
use crate::findings::verdict::plural;
use crate::findings::{CellReport, Machine};
use crate::gate::assemble::confident_allowed;
use crate::gate::open::OpenCell;
use crate::gate::workspace::Workspace;
use crate::manifest::Manifest;
use crate::measure::baseline::{ArtifactRecord, BaselineStore};
use crate::measure::bench::{self, Bench, BenchCell, BenchContext, BuiltArtifact, CellMeasurer};
use crate::measure::thresholds::Thresholds;
use crate::tensor::Tensor;
use crate::timing::contract::{Measurement, TimingContract, TimingMode};
use crate::vocabulary::{CellId, Status};

/// Distinct batches that a measurement cycles through, so that no cache holds one batch's answers for the next.
const BATCHES_IN_TURN: usize = 8;

/// How cells are measured.
#[derive(Clone, Debug)]
pub struct TimingOptions {
    /// The mode on a GPU; CPU runtimes always run one batch after another.
    pub mode: TimingMode,
    /// Execution contexts at once, on a GPU.
    pub streams: usize,
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
            streams: if self.mode == TimingMode::Latency { 1 } else { self.streams },
            spin: self.spin || self.mode == TimingMode::Latency,
            ..host
        }
    }
}

/// What outputs that were made while the clock ran are held to.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The reference's outputs, in the probes' order.
    pub reference: Tensor,
    /// Its leads on ordinary inputs.
    pub natural: NaturalLeads,
}

/// Measures the cells of a workspace; what a measurement's timed loop answered is held to the reference.
pub struct WorkspaceMeasurer<'a> {
    workspace: &'a Workspace,
    ladder: Ladder,
    probes: Tensor,
    /// What timed outputs are checked by.
    expected: Option<Expected>,
    throttled: BTreeMap<CellId, Vec<String>>,
    artifacts: BTreeMap<CellId, ArtifactRecord>,
    /// Digests of the artifacts that were judged, by the cell that they were judged for.
    judged: BTreeSet<(CellId, String)>,
}

impl<'a> WorkspaceMeasurer<'a> {
    /// A measurer of `cells` on the workspace's probes; the cells' artifacts have been judged. `expected` holds the probes'
    /// right answers, where they are known.
    ///
    /// # Errors
    /// If the probes cannot be read.
    pub fn new(workspace: &'a Workspace, cells: &[BenchCell], expected: Option<Expected>) -> Result<Self> {
        let probes = workspace.probes()?.samples()?;
        let probes = probes.tensor(0..probes.len())?;
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
        })
    }

    /// Enough samples for the batches that take turns: the probes, repeated where they are too few.
    fn samples(&self, batch: usize) -> Result<Tensor> {
        let wanted = batch * BATCHES_IN_TURN;
        let have = self.probes.batch();
        if have >= wanted {
            return self.probes.first(wanted);
        }
        let count = if have >= batch { have / batch * batch } else { batch };
        self.probes.samples((0..count).map(|row| row % have.max(1)))
    }

    /// What is fast must be right: the outputs that were made while the clock ran, against the reference.
    fn check(&self, cell: &CellId, measurement: &Measurement) -> Result<()> {
        let Some(expected) = &self.expected else { return Ok(()) };
        let batch = cell.batch as usize;
        let columns = expected.reference.row_len();
        let wanted = &self.workspace.manifest.output.name;
        let mut outputs: Vec<f32> = Vec::new();
        for made in &measurement.outputs {
            outputs.extend(select_output(made.clone(), wanted)?.into_floats());
        }
        let samples = outputs.len() / columns.max(1);
        if samples == 0 || !samples.is_multiple_of(batch) {
            return Err(Error::failed("the measurement gave no outputs to check"));
        }
        self.hold_to_reference(cell, expected, &outputs, "outputs made while the clock ran")
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
        let outputs = open.run(&self.probes)?.outputs;
        let outputs = select_output(outputs, &self.workspace.manifest.output.name).map_err(of_it)?;
        self.hold_to_reference(cell, expected, &outputs.floats(), "its outputs").map_err(of_it)?;
        let row = self.ladder.row(cell.runtime.library, cell.precision)?;
        if row.gates(Check::PrecisionProof) {
            let layers = open.layers()?.unwrap_or_default();
            let source = &self.workspace.manifest.model.source;
            let proof = super::proof::prove(source, cell.precision, &layers, row.precision_share).result(true);
            if proof.status != Status::Pass {
                return Err(of_it(Error::failed(proof.detail)));
            }
        }
        self.judged.insert((cell.clone(), digest));
        Ok(())
    }

    /// Holds `outputs`, of the probes in order and again from the first, to the reference; `what` names them.
    fn hold_to_reference(&self, cell: &CellId, expected: &Expected, outputs: &[f32], what: &str) -> Result<()> {
        let Expected { reference, natural } = expected;
        let columns = reference.row_len();
        let samples = outputs.len() / columns.max(1);
        let expected: Vec<f32> = reference.floats().iter().copied().cycle().take(samples * columns).collect();
        let pair = OutputPair::new(&expected, outputs, samples, columns)
            .map_err(|error| error.context(format!("{what} cannot be compared")))?;
        let row = self.ladder.row(cell.runtime.library, cell.precision)?;
        // The clock may run over a few probes, whose errors are not those of all of them.
        let row = Row { limits: row.limits.of_few(samples), ..row.clone() };
        let manifest = &self.workspace.manifest;
        let terms = Terms {
            kind: manifest.output.kind,
            row: &row,
            natural,
            confident_allowed: confident_allowed(manifest, cell.precision),
            batch: Some(cell.batch),
        };
        let compared = compare(&pair, &terms)?;
        match (compared.status(), compared.fault()) {
            (Status::Pass, _) => Ok(()),
            (_, fault) => {
                let fault = fault.unwrap_or_else(|| "they cannot be judged".to_owned());
                Err(Error::failed(format!("{what} are wrong: {fault}")))
            }
        }
    }
}

impl CellMeasurer for WorkspaceMeasurer<'_> {
    fn measure(&mut self, cell: &CellId, contract: &TimingContract, _fresh_process: bool) -> Result<Measurement> {
        // Every measurement has a worker of its own: a warm process would hide what a fresh one pays.
        let mut open = OpenCell::open_to_measure(self.workspace, cell, contract.streams)?;
        self.judge(cell, &mut open)?;
        let measurement = open.measure(&self.samples(cell.batch as usize)?, contract)?;
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
        self.artifacts.insert(cell.clone(), ArtifactRecord { kind, sha256, bytes });
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
        Ok(Self { workspace, thresholds, store, machine: super::machine_of(workspace) })
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

    /// Measures and judges `cells`, and the sizes of what was `built` for others.
    ///
    /// # Errors
    /// If a baseline cannot be read.
    pub fn run(&self, cells: &[BenchCell], built: &[BuiltArtifact], expected: Option<Expected>) -> Result<Bench> {
        let mut measurer = WorkspaceMeasurer::new(self.workspace, cells, expected)?;
        let progress = Arc::clone(&self.workspace.progress);
        let step = progress.begin(&format!("measuring {}", plural(cells.len(), "cell")));
        let mut bench = bench::run(cells, &self.context(), &mut measurer, &mut |text| step.detail(text))?;
        bench.sizes = bench::sizes(built, &self.context());
        step.finish();
        Ok(bench)
    }
}

/// The artifact of a cell, as baselines know it.
fn record(report: &CellReport) -> Option<ArtifactRecord> {
    report.artifact.as_ref().map(|artifact| ArtifactRecord {
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

//! Measures cells in turns and judges them against their baselines.
//!
//! Repetitions are interleaved: every cell once, then every cell again, so that slow drift of the machine meets all
//! cells alike. Cells that the rule finds too slow are measured a second time in fresh processes before they fail.

mod blessing;
mod judge;
mod load;
mod ratio;
mod replicas;
mod sizes;
#[cfg(test)]
mod tests;

pub use blessing::{Blessing, plan_blessing};
pub use load::{LoadBench, LoadRun, judge_load};
pub use sizes::{BuiltArtifact, sizes};

use crate::error::{Error, ErrorKind, Result};
use crate::findings::{BaselineVerdict, CellReport, CheckResult, Machine, Replicas, TimingSummary};
use crate::measure::baseline::{ArtifactRecord, BaselineStore};
use crate::measure::bless;
use crate::measure::environment::{CellEnvironment, mode_name};
use crate::measure::thresholds::Thresholds;
use crate::processor::InstructionSet;
use crate::timing::contract::{Measurement, TimingContract};
use crate::timing::statistics::{Settled, measure_settled};
use crate::vocabulary::{CellId, Stage, Status};

use judge::{CONFIRM, DAMAGED, Subject, UNSTABLE, judge_all};
use ratio::pairs;

/// Runs cells under the clock.
pub trait CellMeasurer {
    /// Measures `cell` once under `contract`; in a process of its own when `fresh_process` is set. Outputs made while
    /// the clock ran must be right: an implementation that knows the golden answers with an error when they are not.
    ///
    /// # Errors
    ///
    /// Whatever keeps the cell from being measured.
    fn measure(&mut self, cell: &CellId, contract: &TimingContract, fresh_process: bool) -> Result<Measurement>;

    /// Why the GPU held its clocks down while `cell` was last measured, in words; empty when it did not, and on CPU.
    fn throttle_reasons(&mut self, _cell: &CellId) -> Vec<String> {
        Vec::new()
    }

    /// What ran when `cell` was last measured, where that need not be what [`BenchCell::artifact`] says: several contexts
    /// may need an engine of their own.
    fn artifact(&mut self, _cell: &CellId) -> Option<ArtifactRecord> {
        None
    }
}

/// A cell to be measured.
#[derive(Clone, Debug)]
pub struct BenchCell {
    /// The cell.
    pub id: CellId,
    /// Full version of its runtime.
    pub runtime_version: String,
    /// Instruction set that it runs with, on a processor.
    pub instruction_set: Option<InstructionSet>,
    /// What it runs, for the verdict on size.
    pub artifact: Option<ArtifactRecord>,
    /// How it is measured.
    pub contract: TimingContract,
}

/// What all cells of a bench share.
#[derive(Clone, Debug)]
pub struct BenchContext<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The model's name.
    pub model: &'a str,
    /// Digest of the model.
    pub model_sha256: &'a str,
    /// Threads inside one operator; 0 leaves it to the library.
    pub intra_threads: usize,
    /// Threads across operators; 0 leaves it to the library.
    pub inter_threads: usize,
    /// The numbers of the rule; `repetitions` says in how many processes each cell is measured.
    pub thresholds: &'a Thresholds,
    /// Where baselines are kept.
    pub store: &'a BaselineStore,
}

impl BenchContext<'_> {
    fn facts<'b>(&'b self, cell: &'b BenchCell) -> CellEnvironment<'b> {
        CellEnvironment {
            machine: self.machine,
            cell: &cell.id,
            runtime_version: &cell.runtime_version,
            instruction_set: cell.instruction_set.as_ref(),
            model_sha256: self.model_sha256,
            contract: &cell.contract,
            repetitions: self.thresholds.repetitions,
            intra_threads: self.intra_threads,
            inter_threads: self.inter_threads,
        }
    }
}

/// What became of one cell.
#[derive(Clone, Debug)]
pub struct CellBench {
    /// The cell.
    pub cell: BenchCell,
    /// Figures of the fastest stable repetition, with all repetitions.
    pub timing: Option<TimingSummary>,
    /// The verdict against the baseline.
    pub baseline: Option<BaselineVerdict>,
    /// The verdict on the artifact's size, where a baseline knows it.
    pub size: Option<CheckResult>,
    /// Device memory that its process took, bytes, where it is known.
    pub process_bytes: Option<u64>,
    /// Device memory that one of its contexts needs, bytes, where it is known.
    pub context_bytes: Option<u64>,
    /// The verdicts on both, where a baseline knows them.
    pub memory: Vec<CheckResult>,
    /// Why the cell was not judged: its measurement failed, or was unstable.
    pub error: Option<Error>,
    /// Why the run cannot be trusted although it was judged: throttled.
    pub doubts: Vec<String>,
    /// What a reader should know of how it was measured.
    pub notes: Vec<String>,
    /// Its throughput as replicas, one a GPU, or why there is none, where that was asked for.
    pub replicas: Option<Result<Replicas>>,
    /// Samples per second of the stable repetitions.
    repetitions: Vec<f64>,
}

impl CellBench {
    /// Writes timing, baseline and size into the cell's report. A cell that passed so far fails by `fail` or by size,
    /// and becomes `invalid` when it could not be judged; a status that is not `pass` stays.
    pub fn write_to(&self, report: &mut CellReport) {
        report.timing.clone_from(&self.timing);
        report.baseline.clone_from(&self.baseline);
        report.checks.extend(self.size.clone());
        report.checks.extend(self.memory.clone());
        if let Some(bytes) = self.process_bytes {
            report.memory.get_or_insert_default().process_bytes = Some(bytes);
        }
        let together = self.replicas.as_ref().map(replicas::check);
        report.checks.extend(together.clone());
        report.replicas = self.replicas.as_ref().and_then(|found| found.as_ref().ok()).cloned();
        report.notes.extend(report.replicas.as_ref().map(Replicas::sentence));
        report.notes.extend(self.notes.iter().cloned());
        if report.status != Status::Pass {
            return;
        }
        report.stage = Stage::Measure;
        let size = self.size.as_ref().filter(|size| size.status != Status::Pass);
        let memory = self.memory.iter().find(|memory| memory.status != Status::Pass);
        let together = together.filter(|check| check.status != Status::Pass);
        if let Some(error) = &self.error {
            report.status = status_of(error.kind);
            report.reason = Some(error.to_string());
            report.hint.clone_from(&error.hint);
        } else if let Some(baseline) = self.baseline.as_ref().filter(|baseline| baseline.verdict == "fail") {
            report.status = Status::Fail;
            report.reason = Some(baseline.detail.clone());
            report.hint = Some(
                "`trtgate bless --baselines --reason TEXT` accepts an intended change; nothing else moves a baseline"
                    .to_owned(),
            );
        } else if let Some(baseline) = self.baseline.as_ref().filter(|baseline| baseline.verdict == UNSTABLE) {
            report.status = Status::Invalid;
            report.reason = Some(baseline.detail.clone());
            report.hint =
                Some("accept more runs with `trtgate bless --baselines --runs 10`, on an idle machine".to_owned());
        } else if let Some(size) = size {
            report.status = size.status;
            report.reason = Some(format!("size: {}", size.detail));
        } else if let Some(memory) = memory {
            report.status = memory.status;
            report.reason = Some(format!("{}: {}", memory.name, memory.detail));
            report.hint = Some("`trtgate bless --baselines --reason TEXT` accepts an intended change".to_owned());
        } else if let Some(together) = together {
            report.status = together.status;
            report.reason = Some(format!("{}: {}", together.name, together.detail));
            report.hint = Some("`trtgate doctor` shows what else uses the GPUs; copies over one bus and few processors limit replicas too".to_owned());
        }
    }
}

/// The status of a cell whose measurement ended with an error of `kind`. It ran before, so that nothing is missing for
/// good or known not to work.
const fn status_of(kind: ErrorKind) -> Status {
    match kind {
        ErrorKind::Failed | ErrorKind::Machine => Status::Fail,
        _ => Status::Invalid,
    }
}

/// A ratio inside the run, with its verdict.
#[derive(Clone, Debug)]
pub struct RatioBench {
    /// ``onnxruntime int8 over fp32 at batch 32``.
    pub name: String,
    /// Numerator's samples per second over the denominator's.
    pub value: f64,
    /// The verdict against the baseline.
    pub baseline: BaselineVerdict,
    subject: Subject,
}

impl RatioBench {
    /// The ratio as a check over several cells.
    pub fn check(&self) -> CheckResult {
        let status = match self.baseline.verdict.as_str() {
            "fail" => Status::Fail,
            UNSTABLE | DAMAGED => Status::Invalid,
            _ => Status::Pass,
        };
        CheckResult {
            name: format!("ratio {}", self.name),
            status,
            gating: !matches!(self.baseline.verdict.as_str(), "no-baseline" | UNSTABLE),
            detail: format!("{:.3}; {}", self.value, self.baseline.detail),
        }
    }
}

/// The size of an artifact whose cells did not run, with its verdict.
#[derive(Clone, Debug)]
pub struct SizeBench {
    /// The artifact and its cells.
    pub built: BuiltArtifact,
    /// The verdict, where a baseline knows the size.
    pub check: Option<CheckResult>,
    subject: Subject,
}

impl SizeBench {
    /// Writes the verdict into the report of one of its cells: an artifact outside the band fails the cell that could not run.
    pub fn write_to(&self, report: &mut CellReport) {
        let Some(check) = &self.check else { return };
        report.checks.push(check.clone());
        if check.status != Status::Pass {
            report.status = check.status;
            report.stage = Stage::Build;
            report.reason = Some(format!("size: {}", check.detail));
            report.hint = Some("`trtgate bless --baselines` accepts an intended change of size".to_owned());
        }
    }
}

/// All cells and ratios of one bench.
#[derive(Clone, Debug, Default)]
pub struct Bench {
    /// The cells, in the order they were given.
    pub cells: Vec<CellBench>,
    /// Ratios between them.
    pub ratios: Vec<RatioBench>,
    /// Sizes of what was built for cells that did not run.
    pub sizes: Vec<SizeBench>,
    /// Rates under load.
    pub loads: Vec<LoadBench>,
}

/// One run of every cell: settled repetitions, or why there are none.
type Runs = Vec<Result<Vec<Settled>>>;

/// Measures `cells` and judges them, and the ratios between them. `progress` is told what is measured next.
///
/// # Errors
///
/// `Invalid` for a run that is no number. What keeps one cell from being measured or judged, a damaged baseline among it, is
/// that cell's [`CellBench::error`].
pub fn run(
    cells: &[BenchCell],
    context: &BenchContext<'_>,
    measurer: &mut dyn CellMeasurer,
    progress: &mut dyn FnMut(&str),
) -> Result<Bench> {
    let all = vec![true; cells.len()];
    let first = measure_runs(cells, &all, context, measurer, progress);
    let mut cells = cells.to_vec();
    for cell in &mut cells {
        cell.artifact = measurer.artifact(&cell.id).or_else(|| cell.artifact.take());
    }
    let cells = cells.as_slice();
    let provisional = judge_all(cells, context, &first, None)?;
    let suspects = suspects(cells, &provisional);
    if suspects.iter().any(|suspect| *suspect) {
        let second = measure_runs(cells, &suspects, context, measurer, &mut |text| progress(&format!("again: {text}")));
        return finish(judge_all(cells, context, &first, Some(&second))?, measurer);
    }
    finish(provisional, measurer)
}

fn finish(mut bench: Bench, measurer: &mut dyn CellMeasurer) -> Result<Bench> {
    for cell in &mut bench.cells {
        cell.doubts = bless::throttle_doubts(&measurer.throttle_reasons(&cell.cell.id));
    }
    Ok(bench)
}

/// Cells that a confirming run needs: slow ones, and both sides of slow ratios.
fn suspects(cells: &[BenchCell], bench: &Bench) -> Vec<bool> {
    let slow = |verdict: &BaselineVerdict| verdict.verdict == CONFIRM;
    let ratios: Vec<&RatioBench> = bench.ratios.iter().filter(|ratio| slow(&ratio.baseline)).collect();
    let in_ratio = |cell: &BenchCell| {
        pairs(cells).iter().any(|pair| {
            (pair.numerator == cell.id || pair.denominator == cell.id)
                && ratios.iter().any(|ratio| ratio.name == pair.name)
        })
    };
    let verdicts = bench.cells.iter().map(|cell| cell.baseline.as_ref().is_some_and(slow));
    cells.iter().zip(verdicts).map(|(cell, slow)| slow || in_ratio(cell)).collect()
}

/// Measures the wanted cells in turns, each repetition in a process of its own.
fn measure_runs(
    cells: &[BenchCell],
    wanted: &[bool],
    context: &BenchContext<'_>,
    measurer: &mut dyn CellMeasurer,
    progress: &mut dyn FnMut(&str),
) -> Runs {
    let mut runs: Runs = cells.iter().map(|_| Ok(Vec::new())).collect();
    let repetitions = context.thresholds.repetitions;
    for repetition in 1..=repetitions {
        for ((cell, run), wanted) in cells.iter().zip(&mut runs).zip(wanted) {
            let Ok(settled) = run else { continue };
            if !wanted {
                continue;
            }
            progress(&format!("{} {} {repetition}/{repetitions}", cell.id, mode_name(cell.contract.mode)));
            let limit = context.thresholds.stability.of(cell.id.runtime.library);
            match measure_settled(limit, &mut || measurer.measure(&cell.id, &cell.contract, true)) {
                Ok(measured) => settled.push(measured),
                Err(error) => *run = Err(error),
            }
        }
    }
    runs
}

//! Cells under load: those that passed are offered queries by the clock, each in a worker of its own, one after the other.

use std::collections::BTreeMap;

use super::open::OpenCell;
use super::timing::{Expected, Timing, TimingOptions, WorkspaceMeasurer};
use super::workspace::Workspace;
use crate::error::{Error, ErrorKind, Result};
use crate::findings::{CellReport, LoadReport};
use crate::load::{Outcome, Standing, Wanted};
use crate::measure::bench::{Bench, BenchCell, LoadRun, judge_load};
use crate::tensor::{BatchAxes, Feeds};
use crate::vocabulary::{CellId, Library, Stage, Status};

/// What is measured under load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// What is wanted of each cell.
    pub wanted: Wanted,
    /// Whether the batches were named, so that every cell that was asked for is measured.
    pub every_batch: bool,
    /// What the numbers of the rule come with.
    pub timing: TimingOptions,
}

/// Offers load to the cells that passed, and puts what was found into them; `replay` is what a replay needs. The sentence says that
/// nothing was measured although cells passed.
///
/// # Errors
/// If thresholds or probes cannot be read.
pub(super) fn measure(
    workspace: &Workspace,
    options: &LoadOptions,
    replay: &str,
    expected: Option<Expected<'_>>,
    cells: &mut [CellReport],
) -> Result<(Bench, Option<String>)> {
    let timing = Timing::new(workspace, &options.timing)?;
    let gpus: BTreeMap<CellId, usize> = cells.iter().filter_map(|cell| Some((cell.id(), cell.gpu?))).collect();
    let asked: Vec<BenchCell> = timing
        .cells(cells, &options.timing)
        .into_iter()
        .filter(|cell| options.every_batch || is_of_scenario(&cell.id, options, cells))
        .collect();
    let passed = cells.iter().filter(|cell| cell.status == Status::Pass).count();
    let none = (asked.is_empty() && passed > 0).then(|| nothing(options));
    let measurer = WorkspaceMeasurer::new(workspace, &asked, expected)?;
    let mut bench = Bench::default();
    for cell in asked {
        let step = workspace.progress.begin(&format!("offering load to {}", cell.id));
        let wanted = of_cell(&options.wanted, &cell.id);
        let mut tell = |text: &str| step.detail(text);
        let asker = Asker { workspace, measurer: &measurer, gpu: gpus.get(&cell.id).copied(), id: &cell.id };
        let found = asker.measure(&wanted, &mut tell).and_then(|outcome| {
            let mut run =
                LoadRun { cell: &cell, wanted: &wanted, standing: &outcome.standing, rate: outcome.rate, again: None };
            let mut judged = judge_load(&run, &timing.context())?;
            if judged.is_suspect() {
                run.again = Some(asker.measure(&wanted, &mut tell)?.rate);
                judged = judge_load(&run, &timing.context())?;
            }
            Ok((outcome, judged))
        });
        step.finish();
        let Some(report) = cells.iter_mut().find(|report| report.id() == cell.id) else { continue };
        report.stage = Stage::Measure;
        report.replay.push_str(replay);
        match found {
            Ok((outcome, judged)) => {
                let samples = wanted.scenario.samples(cell.id.batch);
                let mut load = LoadReport::new(wanted, samples, outcome);
                load.baseline = Some(judged.baseline.clone());
                judge(report, &load);
                report.load = Some(Box::new(load));
                bench.loads.push(judged);
            }
            Err(error) => failed(report, &error),
        }
    }
    Ok((bench, none))
}

/// Whether the scenario asks a cell of this batch: of a runtime and precision the largest, or the one that it names.
fn is_of_scenario(id: &CellId, options: &LoadOptions, cells: &[CellReport]) -> bool {
    let passed = cells.iter().filter(|cell| cell.status == Status::Pass).map(CellReport::id);
    let beside = passed
        .filter(|other| (&other.runtime, other.precision, &other.shape) == (&id.runtime, id.precision, &id.shape));
    options.wanted.scenario.batch().or_else(|| beside.map(|other| other.batch).max()) == Some(id.batch)
}

fn nothing(options: &LoadOptions) -> String {
    let scenario = options.wanted.scenario.as_str();
    match options.wanted.scenario.batch() {
        Some(batch) => format!(
            "nothing was measured under load: the scenario `{scenario}` asks cells of batch {batch}, of which none passed; `--batch N` names another"
        ),
        None => format!("nothing was measured under load by the scenario `{scenario}`"),
    }
}

/// What is wanted of one cell: a library in this process's worker computes one request after the other.
fn of_cell(wanted: &Wanted, id: &CellId) -> Wanted {
    let is_served = id.runtime.library == Library::Triton;
    Wanted { connections: if is_served { wanted.connections } else { 1 }, ..wanted.clone() }
}

/// A cell that is asked.
struct Asker<'a> {
    workspace: &'a Workspace,
    measurer: &'a WorkspaceMeasurer<'a>,
    gpu: Option<usize>,
    id: &'a CellId,
}

impl Asker<'_> {
    fn measure(&self, wanted: &Wanted, tell: &mut dyn FnMut(&str)) -> Result<Outcome> {
        let (feeds, axes): (Feeds, BatchAxes) = self.measurer.samples(self.id)?;
        let mut open = OpenCell::open_to_measure(self.workspace, self.id, 1, self.gpu)?;
        let batch = if axes.one_by_one() { 1 } else { self.id.batch };
        let samples = wanted.scenario.samples(self.id.batch) as usize;
        wanted.measure(batch, &mut |offer| {
            tell(&match offer.arrivals.rate() {
                Some(rate) => format!("{} {rate:.1} {}/s", wanted.scenario.as_str(), wanted.scenario.unit()),
                None => format!("{} one after the other", wanted.scenario.as_str()),
            });
            open.drive(&feeds, &axes, samples, offer)
        })
    }
}

/// Writes what came of a cell into its report.
fn judge(report: &mut CellReport, load: &LoadReport) {
    let verdict = load.baseline.as_ref().map_or("", |baseline| baseline.verdict.as_str());
    let detail = load.baseline.as_ref().map(|baseline| baseline.detail.clone()).unwrap_or_default();
    let accept = "`trtgate bless --baselines --reason TEXT` with the same arguments accepts an intended change";
    let (status, reason, hint) = match (&load.standing, verdict) {
        (Standing::NotMeasured(_), _) => {
            (Status::Invalid, load.sentence(), "measure on an idle machine, or from another than the server's")
        }
        (Standing::NotHeld, _) => (
            Status::Fail,
            format!("{}; {detail}", load.sentence()),
            "offer less, allow more time (`--bound`), or make it faster",
        ),
        (_, "fail") => (Status::Fail, format!("{}: {detail}", load.wanted.scenario.as_str()), accept),
        (_, "unstable" | "damaged") => (
            Status::Invalid,
            format!("{}: {detail}", load.wanted.scenario.as_str()),
            "accept more runs with `trtgate bless --baselines --runs 10`",
        ),
        _ => return,
    };
    report.status = status;
    report.reason = Some(reason);
    report.hint = Some(hint.to_owned());
}

/// A cell that passed and could not be asked.
fn failed(report: &mut CellReport, error: &Error) {
    report.status = match error.kind {
        ErrorKind::Failed | ErrorKind::Machine => Status::Fail,
        _ => Status::Invalid,
    };
    report.reason = Some(error.to_string());
    report.hint.clone_from(&error.hint);
}

#[cfg(test)]
mod tests;

//! `trtgate bench`: measures cells and judges them by their baselines, or against another build of trtgate.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::cli::load::LoadArguments;
use crate::cli::selection::{DeviceArguments, Selection, TimingArguments, WorkspaceArguments};
use crate::cli::{EXIT_FAIL, EXIT_PASS, Global, output, report};
use crate::error::{Error, Result};
use crate::gate::timing::Streams;
use crate::gate::{self, RunOptions, Workspace};
use crate::measure::compare_ab::{Side, check_pairs, interleave, judge};
use crate::measure::rule::{Decision, Limits};
use crate::measure::thresholds::Thresholds;
use crate::process::{self, Command, Source};
use crate::report::file;
use crate::report::options::RenderOptions;
use crate::timing::summary::TimingSummary;
use crate::vocabulary::CellId;

/// Arguments of `trtgate bench`.
#[derive(Debug, Args)]
pub struct BenchArguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    timing: TimingArguments,
    #[command(flatten)]
    load: LoadArguments,
    /// Fail with exit code 3 where no baseline is stored for this machine
    #[arg(long)]
    require_baseline: bool,
    /// Compare with another build of trtgate: both are measured in turns on this machine, the ratio is judged
    #[arg(long, value_name = "BINARY")]
    against: Option<PathBuf>,
    /// Pairs of measurements with `--against`
    #[arg(long, value_name = "N", default_value_t = 12, requires = "against")]
    pairs: usize,
    #[command(flatten)]
    devices: DeviceArguments,
    #[command(flatten)]
    workspace: WorkspaceArguments,
    #[command(flatten)]
    render: RenderOptions,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &BenchArguments) -> Result<u8> {
    if arguments.against.is_some() {
        check_pairs(arguments.pairs)?;
        if arguments.timing.streams == Streams::Auto {
            return Err(Error::usage("`--against` compares two programs with as many contexts each")
                .hint("name the number: `--streams 4`"));
        }
        if arguments.devices.devices.is_some() {
            return Err(Error::usage("`--against` compares two programs on the first GPU")
                .hint("`CUDA_VISIBLE_DEVICES` makes another the first"));
        }
        if let Some(absent) = arguments.against.as_ref().filter(|path| !path.is_file()) {
            return Err(Error::usage(format!("`--against {}`: there is no such program", absent.display())));
        }
    }
    arguments.render.check()?;
    let load = arguments.load.options(&arguments.selection, &arguments.timing)?;
    if arguments.against.is_some() && load.is_some() {
        return Err(Error::usage("`--against` compares the time of batches, and no load"));
    }
    let mut options = arguments.workspace.options(global)?;
    options.several = true;
    options.devices.clone_from(&arguments.devices.devices);
    let command = output::command_line();
    let stopped = |workspace: Option<&Workspace>, error: Error| {
        report::leave(global, &gate::stopped(&options, workspace, &error, &command), &error, &arguments.render);
        error
    };
    let workspace = Workspace::open(&options).map_err(|error| stopped(None, error))?;
    if let Some(reference) = &arguments.against {
        return against(global, arguments, &workspace, reference);
    }
    let run = RunOptions {
        filter: arguments.selection.filter_or(arguments.load.runtimes()),
        timing: load.is_none().then(|| arguments.timing.options()),
        load,
        require_baseline: arguments.require_baseline,
        replay: arguments.workspace.replay(global, None),
        replay_timing: arguments.timing.replay() + &arguments.load.replay(),
        command: command.clone(),
        ..RunOptions::default()
    };
    let judged = gate::run(&workspace, &run).map_err(|error| stopped(Some(&workspace), error))?;
    Ok(report::deliver(global, &judged, &arguments.render))
}

/// Measures this program and `reference` in turns, cell by cell.
fn against(global: &Global, arguments: &BenchArguments, workspace: &Workspace, reference: &Path) -> Result<u8> {
    let this = std::env::current_exe()
        .map_err(|error| Error::machine("cannot find trtgate's own program file").because(error))?;
    let thresholds = Thresholds::load(&workspace.manifest.path)?;
    let cells: Vec<CellId> = workspace
        .plan(&arguments.selection.filter())?
        .into_iter()
        .filter(|cell| matches!(cell.ability, crate::plan::Ability::Run))
        .map(|cell| cell.id)
        .collect();
    if cells.is_empty() {
        return Err(Error::missing("none of the selected cells can run here").hint("`trtgate doctor` says why"));
    }
    let mut worst = EXIT_PASS;
    for cell in cells {
        let step = workspace.progress.begin(&format!("measuring {cell}, {} pairs", arguments.pairs));
        let pairs = interleave(arguments.pairs, &mut |side| {
            let program = if side == Side::Reference { reference } else { this.as_path() };
            measure_once(global, arguments, program, &cell)
        })?;
        step.finish();
        let limits = Limits::of_time(&thresholds, cell.runtime.library);
        let compared = judge(&pairs, &limits, cell.batch)?;
        let (least, most) = compared.interval;
        output::data(&format!(
            "{cell}: {:+.2} % time a sample ({:+.2} % to {:+.2} %, {} pairs): {}",
            compared.slowdown * 100.0,
            least * 100.0,
            most * 100.0,
            compared.pairs,
            compared.decision.as_str()
        ))?;
        if compared.decision == Decision::Fail {
            worst = EXIT_FAIL;
        }
    }
    Ok(worst)
}

/// Longest time of one measurement by another program, which has limits of its own.
const LONGEST_MEASUREMENT: Duration = Duration::from_secs(24 * 3600);
/// Lines of its errors that are kept, from the first.
const KEPT_LINES: usize = 40;

/// One measurement of one cell by `program`, in processes of its own; samples per second.
fn measure_once(global: &Global, arguments: &BenchArguments, program: &Path, cell: &CellId) -> Result<f64> {
    let folder =
        tempfile::tempdir().map_err(|error| Error::machine("cannot make a temporary folder").because(error))?;
    let report = folder.path().join("report.json");
    let command = Command::new(program)
        .arg("--quiet")
        .arg("--manifest")
        .arg(global.manifest())
        .arg("bench")
        .args(["--repetitions", "1"])
        .args(arguments.timing.what_is_timed())
        .args(["--runtime", &cell.runtime.to_string(), "--precision", cell.precision.as_str()])
        .args(["--batch", &cell.batch.to_string()])
        .args(cell.shape.iter().flat_map(|shape| ["--shape".to_owned(), shape.to_string()]))
        .arg("--json")
        .arg(&report)
        .args(arguments.workspace.again());
    let failed = || Error::failed(format!("`{}` could not measure {cell}", program.display()));
    let mut words = VecDeque::new();
    let outcome = process::run(&command, LONGEST_MEASUREMENT, &mut |source, line| {
        if source == Source::Errors {
            words.push_back(line.to_owned());
            words.truncate(KEPT_LINES);
        }
    });
    let outcome = outcome.map_err(|error| failed().because(error))?;
    let read = file::read(&report)
        .map_err(|error| failed().cause(outcome.how()).cause(error.to_string()).with_lines(&Vec::from(words)))?;
    let timed = read.cells.iter().find(|found| found.id() == *cell).and_then(|found| found.timing.as_ref());
    timed.map(TimingSummary::typical_samples_per_second).ok_or_else(|| {
        let why = read.cells.iter().find_map(|found| found.reason.clone()).unwrap_or_default();
        failed().cause(why)
    })
}

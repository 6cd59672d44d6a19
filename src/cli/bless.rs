//! `trtgate bless`: accepts new goldens or baselines, after showing what changed.

use clap::Args;

use crate::check::golden::Golden;
use crate::check::ladder::Ladder;
use crate::check::movement::difference;
use crate::cli::selection::{Selection, TimingArguments, WorkspaceArguments};
use crate::cli::{EXIT_PASS, Global, output};
use crate::error::{Error, Result};
use crate::gate::{self, RunOptions, Workspace};
use crate::vocabulary::Verdict;
use crate::worker;

/// Arguments of `trtgate bless`.
#[derive(Debug, Args)]
pub struct BlessArguments {
    /// Why the change is intended; kept with what is stored
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Measure the selected cells and accept their baselines, instead of the golden
    #[arg(long)]
    baselines: bool,
    /// Measure and store so many runs: a series knows its own noise from ten runs on
    #[arg(long, value_name = "N", default_value_t = 1, requires = "baselines")]
    runs: usize,
    /// Show what would change, and store nothing
    #[arg(long)]
    dry_run: bool,
    /// Store although cells fail or the measurement is in doubt; the doubts are stored too
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    timing: TimingArguments,
    #[command(flatten)]
    workspace: WorkspaceArguments,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &BlessArguments) -> Result<u8> {
    if arguments.reason.trim().is_empty() {
        return Err(Error::usage("`--reason` is blank").hint("say in one line why the change is intended"));
    }
    if let Some(fault) = worker::fault_on_demand() {
        return Err(Error::usage(format!("nothing is accepted while a fault is provoked on demand (`{fault}`)"))
            .hint("unset the variable"));
    }
    let workspace = Workspace::open(&arguments.workspace.options(global)?)?;
    if !arguments.baselines {
        return golden(&workspace, arguments);
    }
    for run in 1..=arguments.runs.max(1) {
        if arguments.runs > 1 {
            output::note(&format!("run {run} of {}", arguments.runs));
        }
        baselines(&workspace, arguments)?;
    }
    Ok(EXIT_PASS)
}

fn golden(workspace: &Workspace, arguments: &BlessArguments) -> Result<u8> {
    let manifest = &workspace.manifest;
    let path = Golden::path(&manifest.snapshots, &manifest.model.name);
    let new = gate::golden_now(workspace, arguments.reason.trim())?;
    let mut lines = Vec::new();
    let mut moved = true;
    match Golden::read(&path) {
        Ok(old) => {
            let ladder = Ladder::built_in()?;
            let movement = difference(&old, &new, ladder.row(new.origin.runtime.library, new.origin.precision)?);
            moved = !movement.is_none();
            lines.extend(movement.lines());
        }
        Err(_) if !path.exists() => lines.push(format!("new golden: {} probes", new.probes.count)),
        // A damaged golden is what a bless repairs; how far it moved cannot be told.
        Err(error) => lines.push(format!("the old golden is not comparable: {error}")),
    }
    show(&lines)?;
    if !moved {
        output::note(&format!("`{}` is up to date", path.display()));
        return Ok(EXIT_PASS);
    }
    if arguments.dry_run {
        output::note("nothing stored (`--dry-run`)");
        return Ok(EXIT_PASS);
    }
    new.write(&path)?;
    output::note(&format!("stored `{}`", path.display()));
    Ok(EXIT_PASS)
}

fn baselines(workspace: &Workspace, arguments: &BlessArguments) -> Result<u8> {
    let timing = arguments.timing.options();
    let options = RunOptions {
        filter: arguments.selection.filter(),
        timing: Some(timing.clone()),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        ..RunOptions::default()
    };
    let outcome = gate::run_and_measure(workspace, &options)?;
    let failing = outcome.report.verdict == Verdict::Fail
        && outcome
            .report
            .cells
            .iter()
            .any(|cell| cell.status == crate::vocabulary::Status::Fail && cell.timing.is_none());
    if failing && !arguments.force {
        return Err(Error::failed("cells fail, so their speed is no baseline")
            .hint("`trtgate gate` shows them; `--force` measures the others all the same"));
    }
    let Some(bench) = outcome.bench else {
        return Err(Error::invalid("no cell ran, so nothing was measured"));
    };
    let measured = gate::timing::Timing::new(workspace, &timing)?;
    let context = measured.context();
    let reason = arguments.reason.trim();
    let blessing = crate::measure::bench::plan_blessing(&bench, &context, &gate::now(), reason)?;
    show(&blessing.lines.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    if arguments.dry_run {
        output::note("nothing stored (`--dry-run`)");
        return Ok(EXIT_PASS);
    }
    blessing.store(&context, reason, arguments.force)?;
    output::note(&format!(
        "stored {} baselines under `{}`",
        blessing.lines.len(),
        workspace.manifest.baselines.display()
    ));
    Ok(EXIT_PASS)
}

fn show(lines: &[String]) -> Result<()> {
    output::print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

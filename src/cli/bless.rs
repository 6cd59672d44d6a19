//! `trtgate bless`: accepts new goldens or baselines, after showing what changed.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::load::LoadArguments;
use crate::cli::selection::{Selection, TimingArguments, WorkspaceArguments};
use crate::cli::{EXIT_FAIL, EXIT_INCOMPLETE, EXIT_PASS, Global, output};
use crate::console;
use crate::error::{Error, Result};
use crate::findings::blessing::{BLESSING_SCHEMA, BlessedFigure, BlessingReport};
use crate::gate::{self, GoldenBlessing, RunOptions, Workspace};
use crate::manifest::edit;
use crate::measure::baseline::Quantity;
use crate::measure::bless::Line;
use crate::report::{blessing as review, file};
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
    /// Store although something stands against it: nothing was compared, cells fail, the measurement is in doubt
    #[arg(long)]
    force: bool,
    /// Write the model's digest into the manifest (`[model] sha256`), where it is another one or none
    #[arg(long, conflicts_with = "baselines")]
    accept_digest: bool,
    /// Make new probes from the model, instead of keeping those of the stored golden
    #[arg(long, conflicts_with = "baselines")]
    fresh_probes: bool,
    /// Real labelled data: the golden keeps the reference's accuracy on it, held to `[accuracy]` of the manifest
    #[arg(long, value_name = "PATH", conflicts_with = "baselines")]
    data: Option<PathBuf>,
    /// Write what changes for its reviewer as Markdown: answers that moved, near a tie or not, accuracy, artifacts with sizes and
    /// digests, on both sides; of baselines their figures
    #[arg(long, value_name = "FILE", conflicts_with = "runs")]
    markdown: Option<PathBuf>,
    /// Write the same as JSON
    #[arg(long, value_name = "FILE", conflicts_with = "runs")]
    json: Option<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    timing: TimingArguments,
    #[command(flatten)]
    load: LoadArguments,
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
    let mut options = arguments.workspace.options(global)?;
    options.trust |= arguments.accept_digest;
    options.fresh_probes = arguments.fresh_probes;
    options.several = true;
    let workspace = Workspace::open(&options)?;
    if let Some(file) = gate::samples::probe_file(&workspace.manifest).filter(|_| arguments.fresh_probes) {
        return Err(Error::usage(format!("the manifest names its probes, `{}`", file.display()))
            .hint("`trtgate data probes` makes that file anew; then bless without `--fresh-probes`"));
    }
    if !arguments.baselines {
        return golden(&workspace, arguments);
    }
    for run in 1..=arguments.runs.max(1) {
        if arguments.runs > 1 {
            console::note(&format!("run {run} of {}", arguments.runs));
        }
        baselines(&workspace, arguments)?;
    }
    Ok(EXIT_PASS)
}

fn golden(workspace: &Workspace, arguments: &BlessArguments) -> Result<u8> {
    let manifest = &workspace.manifest;
    let mut blessing = GoldenBlessing::plan(workspace, arguments.reason.trim(), arguments.data.as_deref())?;
    let mut reviewed = arguments.is_reviewed().then(|| blessing.reviewed(workspace));
    show(arguments, &blessing.lines)?;
    for doubt in &blessing.doubts {
        console::note(&format!("against it: {doubt}"));
    }
    if arguments.dry_run {
        arguments.leave(reviewed.as_ref())?;
        console::note("nothing stored (`--dry-run`)");
        return Ok(match (blessing.doubts.is_empty(), blessing.moved || blessing.fails) {
            (_, true) => EXIT_FAIL,
            (false, false) => EXIT_INCOMPLETE,
            (true, false) => EXIT_PASS,
        });
    }
    if blessing.changes || !blessing.doubts.is_empty() {
        let stored = blessing.store(manifest, arguments.force);
        // A reviewer reads also what was refused, and why.
        if let Some(reviewed) = &mut reviewed {
            reviewed.stored = stored.is_ok();
        }
        arguments.leave(reviewed.as_ref())?;
        stored?.iter().for_each(|line| console::note(line));
    } else {
        arguments.leave(reviewed.as_ref())?;
        console::note(&format!("`{}` is up to date", blessing.path.display()));
    }
    if arguments.accept_digest && edit::accept_digest(&manifest.path, &workspace.model_sha256)? {
        console::note(&format!("`[model] sha256` of `{}` is {}", manifest.path.display(), workspace.model_sha256));
    }
    Ok(EXIT_PASS)
}

fn baselines(workspace: &Workspace, arguments: &BlessArguments) -> Result<u8> {
    let timing = arguments.timing.options();
    let load = arguments.load.options(&arguments.selection, &arguments.timing)?;
    let is_load = load.is_some();
    let options = RunOptions {
        filter: arguments.selection.filter_or(arguments.load.runtimes()),
        timing: load.is_none().then(|| timing.clone()),
        load,
        command: output::command_line(),
        ..RunOptions::default()
    };
    let outcome = gate::run_and_measure(workspace, &options)?;
    let failing =
        outcome.report.verdict == Verdict::Fail
            && outcome.report.cells.iter().any(|cell| {
                cell.status == crate::vocabulary::Status::Fail && cell.timing.is_none() && cell.load.is_none()
            });
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
    let lines: Vec<String> = blessing.lines.iter().map(ToString::to_string).collect();
    show(arguments, &lines)?;
    let mut reviewed = arguments.is_reviewed().then(|| reviewed_figures(workspace, reason, &blessing.lines));
    if arguments.dry_run {
        arguments.leave(reviewed.as_ref())?;
        console::note("nothing stored (`--dry-run`)");
        return Ok(EXIT_PASS);
    }
    // Under load a part of the cells is measured: that asks for no baseline of the others.
    let first = !is_load && !gate::timing::has_baselines(&workspace.manifest);
    let stored = blessing.store(&context, reason, arguments.force);
    if let Some(reviewed) = &mut reviewed {
        reviewed.stored = stored.is_ok();
    }
    arguments.leave(reviewed.as_ref())?;
    stored?;
    console::note(&format!(
        "stored {} baselines under `{}`",
        blessing.lines.len(),
        workspace.manifest.baselines.display()
    ));
    let path = &workspace.manifest.path;
    if first && edit::require_baselines(path)? {
        console::note(&format!(
            "added `[require] baselines = true` to `{}`: without one for each measured cell, `gate --bench` is incomplete",
            path.display()
        ));
    }
    Ok(EXIT_PASS)
}

/// The figures of a machine as a reviewer sees them.
fn reviewed_figures(workspace: &Workspace, reason: &str, lines: &[Line]) -> BlessingReport {
    let figure = |line: &Line| BlessedFigure {
        subject: line.subject.clone(),
        unit: match line.quantity {
            Quantity::SamplesPerSecond => "samples/s",
            Quantity::Rate => "/s held",
            Quantity::Bytes => "bytes",
            Quantity::Ratio => "",
        }
        .to_owned(),
        before: line.old,
        now: line.new,
    };
    let doubts =
        lines.iter().flat_map(|line| line.doubts.iter().map(move |doubt| format!("{}: {doubt}", line.subject)));
    BlessingReport {
        schema: BLESSING_SCHEMA.to_owned(),
        model: workspace.manifest.model.name.clone(),
        reason: reason.to_owned(),
        what: "baselines".to_owned(),
        model_sha256: workspace.model_sha256.clone(),
        figures: lines.iter().map(figure).collect(),
        doubts: doubts.collect(),
        ..BlessingReport::default()
    }
}

impl BlessArguments {
    /// Whether a text for the reviewer is asked for.
    fn is_reviewed(&self) -> bool {
        self.markdown.is_some() || self.json.is_some()
    }

    /// Writes what was asked for.
    fn leave(&self, reviewed: Option<&BlessingReport>) -> Result<()> {
        let Some(reviewed) = reviewed else { return Ok(()) };
        if let Some(path) = &self.markdown {
            file::write_text(path, &review::markdown(reviewed))?;
        }
        match &self.json {
            Some(path) => file::write_text(path, &review::to_json(reviewed)?),
            None => Ok(()),
        }
    }
}

/// Shows what changes, unless a form of it goes to standard output.
fn show(arguments: &BlessArguments, lines: &[String]) -> Result<()> {
    if [&arguments.markdown, &arguments.json].into_iter().flatten().any(|path| path.as_path() == Path::new("-")) {
        return Ok(());
    }
    output::print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

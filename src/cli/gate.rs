//! `trtgate gate`: runs the plan, prints the table, exits with the verdict.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::load::LoadArguments;
use crate::cli::scheduler::ShardChoice;
use crate::cli::selection::{DeviceArguments, Selection, WorkspaceArguments, word};
use crate::cli::{EXIT_INCOMPLETE, EXIT_PASS, Global, gate_several, output, report};
use crate::console;
use crate::error::{Error, Result};
use crate::findings::OfShard;
use crate::findings::verdict::plural;
use crate::gate::{self, RunOptions, Workspace};
use crate::plan::shards::ShardNumber;
use crate::report::file;
use crate::report::options::{RenderOptions, of_model};
use crate::report::plan_file::{PlanFile, PlannedCell};
use crate::vocabulary::{RuntimeId, Status};

/// Arguments of `trtgate gate`.
#[derive(Clone, Debug, Args)]
pub struct GateArguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    devices: DeviceArguments,
    #[command(flatten)]
    workspace: WorkspaceArguments,
    /// A runtime that must run here, such as `onnxruntime` or `tensorrt@8.5` (repeatable, or comma-separated in
    /// `TRTGATE_REQUIRE`)
    #[arg(long, value_name = "RUNTIME", env = "TRTGATE_REQUIRE", value_delimiter = ',', value_parser = word::<RuntimeId>)]
    require: Vec<RuntimeId>,
    /// Fail with exit code 3 where no golden is stored
    #[arg(long)]
    require_golden: bool,
    /// Measure too, and judge against the baselines
    #[arg(long)]
    bench: bool,
    #[command(flatten)]
    timing: super::selection::TimingArguments,
    #[command(flatten)]
    load: LoadArguments,
    /// Fail with exit code 3 where no baseline is stored for this machine
    #[arg(long, requires = "bench")]
    require_baseline: bool,
    /// Real labelled data: accuracy is gated too (CIFAR-10 records, npz, CSV, or pictures in a folder a class; of `[[input]]` an npz or a folder of npy)
    #[arg(long, value_name = "PATH", env = "CIFAR10_DIR")]
    pub(super) data: Option<PathBuf>,
    /// Run one shard of the plan, `2/4`, or the one that a scheduler's variables say, `auto`: Slurm, Kubernetes, GitHub, GitLab,
    /// Buildkite, CircleCI, Azure; `trtgate merge` joins their reports
    #[arg(long, value_name = "I/N", value_parser = word::<ShardChoice>)]
    pub(super) shard: Option<ShardChoice>,
    /// The plan that is divided into shards, where machines differ in what they can run (`--plan-json` wrote it)
    #[arg(long, value_name = "FILE", requires = "shard")]
    pub(super) plan: Option<PathBuf>,
    /// End after the first cell that fails or is invalid; the cells that were not run then are named, and there is no pass
    #[arg(long, conflicts_with_all = ["shard", "plan_json", "dry_run"])]
    pub(super) fail_fast: bool,
    /// Write the planned cells as JSON, with `--shard` those of each shard, and run nothing
    #[arg(long, value_name = "FILE")]
    pub(super) plan_json: Option<PathBuf>,
    /// Say what would run here, with the library that each version would load and how far its cells get, and run nothing;
    /// exit code 3 where a required runtime is not here
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) render: RenderOptions,
}

impl GateArguments {
    /// The same for one of several models, whose name is in the names of the files that are written.
    pub(super) fn for_model(&self, name: &str) -> Self {
        let plan_json = self.plan_json.as_deref().map(|path| of_model(path, name));
        Self { render: self.render.of_model(name), plan_json, ..self.clone() }
    }
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &GateArguments) -> Result<u8> {
    match global.manifests.len() {
        0 | 1 => run_one(global, arguments),
        _ => gate_several::run(global, arguments),
    }
}

/// Gates one manifest.
pub(super) fn run_one(global: &Global, arguments: &GateArguments) -> Result<u8> {
    arguments.render.check()?;
    let shard = arguments.shard.map(ShardChoice::resolve).transpose()?;
    let given = arguments.plan.as_deref().map(file::read_plan).transpose()?;
    let load = arguments.load.options(&arguments.selection, &arguments.timing)?;
    if load.is_some() && !arguments.bench {
        return Err(Error::usage("load is offered where cells are measured").hint("`gate --bench`, or `trtgate bench`"));
    }
    let mut options = arguments.workspace.options(global)?;
    options.several = true;
    options.devices.clone_from(&arguments.devices.devices);
    let command = output::command_line();
    let stopped = |workspace: Option<&Workspace>, error: Error| {
        let mut left = gate::stopped(&options, workspace, &error, &command);
        left.shard = shard.map(|ShardNumber { index, count }| OfShard { index, count, ..OfShard::default() });
        report::leave(global, &left, &error, &arguments.render);
        error
    };
    let workspace = Workspace::open(&options).map_err(|error| stopped(None, error))?;
    let mut filter = arguments.selection.filter_or(arguments.load.runtimes());
    // A required version that is not here must be in the plan, to be reported as missing.
    if filter.runtimes.is_empty() {
        filter.also.clone_from(&arguments.require);
        filter.also.extend(workspace.manifest.require.runtimes.iter().cloned());
    }
    let divided = shard.map(|shard| gate::divided(&workspace, &mut filter, given.as_ref(), shard)).transpose();
    let (plan, shard_run) = divided.map_err(|error| stopped(Some(&workspace), error))?.unzip();
    if let Some(path) = &arguments.plan_json {
        let mut plan = match plan {
            Some(plan) => plan,
            None => gate::plan_file(&workspace, &workspace.plan(&filter)?),
        };
        plan.require.extend(arguments.require.iter().cloned());
        file::write_plan(&plan, path)?;
        tell_plan(&plan, path, shard);
        if !arguments.dry_run {
            return Ok(EXIT_PASS);
        }
    }
    if arguments.dry_run {
        let plan = workspace.plan(&filter)?;
        output::print(&gate::outline(&plan))?;
        let required = arguments.require.iter().chain(&workspace.manifest.require.runtimes);
        let here = |wanted: &RuntimeId| {
            plan.iter().any(|cell| wanted.selects(&cell.id.runtime) && cell.installation.is_some())
        };
        let missing: Vec<&RuntimeId> = required.filter(|wanted| !here(wanted)).collect();
        missing.iter().for_each(|wanted| tell_missing(&workspace, wanted));
        return Ok(if missing.is_empty() { EXIT_PASS } else { EXIT_INCOMPLETE });
    }
    let run = RunOptions {
        filter,
        shard: shard_run,
        require: arguments.require.clone(),
        require_golden: arguments.require_golden,
        require_baseline: arguments.require_baseline,
        timing: (arguments.bench && load.is_none()).then(|| arguments.timing.options()),
        load,
        data: arguments.data.clone(),
        replay: arguments.workspace.replay(global, arguments.data.as_deref()),
        replay_timing: arguments.timing.replay() + &arguments.load.replay(),
        command: command.clone(),
    };
    let judge = if arguments.fail_fast { gate::run_until_a_failure } else { gate::run };
    let judged = judge(&workspace, &run).map_err(|error| stopped(Some(&workspace), error))?;
    let code = report::deliver(global, &judged, &arguments.render);
    // What of a shard's requirements did not run here may have run in another.
    for wanted in arguments.require.iter().filter(|_| shard.is_none()) {
        let ran = judged
            .cells
            .iter()
            .any(|cell| wanted.selects(&cell.runtime) && matches!(cell.status, Status::Pass | Status::Fail));
        if !ran {
            tell_missing(&workspace, wanted);
        }
    }
    Ok(code)
}

/// Says what of the plan is this machine's to run, and what is left to others.
fn tell_plan(plan: &PlanFile, path: &Path, shard: Option<ShardNumber>) {
    let is_own = |cell: &PlannedCell| shard.is_none_or(|shard| cell.shard == Some(shard.index));
    let others: Vec<_> = plan.cells.iter().filter(|cell| is_own(cell) && cell.ability.obstacle.is_some()).collect();
    let own = plan.cells.iter().filter(|cell| is_own(cell)).count();
    let (all, here) = (plural(plan.cells.len(), "cell"), own - others.len());
    let part = shard.map(|shard| format!("{own} of them shard {shard}, ")).unwrap_or_default();
    console::note(&format!("wrote {all} to `{}`, {part}{here} for this machine to run", path.display()));
    let mut told: Vec<(&RuntimeId, &str, usize)> = Vec::new();
    for cell in &others {
        let reason = cell.ability.reason.as_deref().unwrap_or_default();
        match told.iter_mut().find(|(runtime, known, _)| **runtime == cell.runtime && *known == reason) {
            Some((_, _, count)) => *count += 1,
            None => told.push((&cell.runtime, reason, 1)),
        }
    }
    for (runtime, reason, count) in told {
        console::note(&format!("  not here: {} of `{runtime}`: {reason}", plural(count, "cell")));
    }
    if !others.is_empty() && shard.is_none() {
        console::note(
            "hint: a merge by this plan wants every cell reported: by the machines that run them, or by a gate here without \
             `--runtime`, which reports them as they stand",
        );
    }
}

/// Says where a required runtime was looked for, and how to get it.
fn tell_missing(workspace: &Workspace, wanted: &RuntimeId) {
    let probe =
        workspace.discovery.probes.iter().find(|(library, _)| *library == wanted.library).map(|(_, probe)| probe);
    console::note(&format!("`{wanted}` is required and did not run"));
    let Some(probe) = probe else { return };
    for found in &probe.found {
        let why = found.run_obstacle.as_ref().map_or("", |obstacle| obstacle.reason.as_str());
        console::note(&format!("  found {} in `{}` {why}", found.id, found.file.display()));
    }
    if let Some(obstacle) = &probe.missing {
        for tried in &obstacle.tried {
            console::note(&format!("  tried {tried}"));
        }
        if let Some(hint) = &obstacle.hint {
            console::note(&format!("hint: {hint}"));
        }
    }
}

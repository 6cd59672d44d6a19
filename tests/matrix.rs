//! The matrix: one trial a cell, by the cell's name on every machine, and one `build::` trial an engine, which claims that it
//! is built and nothing more. A cell that cannot run here is ignored at list time; what is printed before the list, and the
//! trial itself where it is run all the same, say why. `TRTGATE_REQUIRE=onnxruntime,tensorflow` turns that into a failure; where
//! it is not set, `[require] runtimes` of the manifest does. A damaged runtime is never ignored.
//!
//! With `TRTGATE_REPORTS=DIR` each cell leaves its report in `DIR`, whichever process or shard runs it; `trtgate merge`
//! joins them. A machine answers for every cell of the runtimes that are on it or that it is required to have, and for the
//! others too where none is required.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use trtgate::internals::findings::{ACCURACY_RULE, CellReport, CheckResult, Report};
use trtgate::internals::gate::{self, Options, RunOptions, Workspace};
use trtgate::internals::plan::{Ability, Filter};
use trtgate::internals::report::{file, terminal};
use trtgate::internals::runtime::Obstacle;
use trtgate::internals::vocabulary::{CellId, Library, Precision, RuntimeId, Status};
use trtgate::internals::worker::WorkerProgram;

fn main() {
    let arguments = Arguments::from_args();
    let trials = match trials() {
        Ok(trials) => trials,
        // A matrix that cannot be listed must be red, not empty.
        Err(error) => vec![Trial::test("the matrix can be planned", move || Err(Failed::from(error.to_string())))],
    };
    libtest_mimic::run(&arguments, trials).exit();
}

fn trials() -> trtgate::Result<Vec<Trial>> {
    let workspace = Arc::new(Workspace::open(&options())?);
    let mut required: Vec<RuntimeId> = std::env::var("TRTGATE_REQUIRE")
        .unwrap_or_default()
        .split(',')
        .filter(|name| !name.trim().is_empty())
        .map(|name| name.trim().parse())
        .collect::<trtgate::Result<_>>()?;
    // A machine of several answers for its own runtimes, and the merge of all for the manifest's.
    if required.is_empty() {
        required.clone_from(&workspace.manifest.require.runtimes);
    }
    let mut trials = Vec::new();
    let cells = workspace.plan(&Filter::default())?;
    for selector in &required {
        let there = cells.iter().any(|cell| selector.selects(&cell.id.runtime));
        if !there {
            let message = format!("`{selector}` is required, and no cell of it is planned on this machine");
            trials.push(Trial::test(format!("{selector} is here"), move || Err(Failed::from(message))));
        }
    }
    let golden = Arc::clone(&workspace);
    trials.push(Trial::test("the golden stands", move || match gate::golden_gaps(&golden)? {
        gaps if gaps.is_empty() => Ok(()),
        gaps => Err(Failed::from(gaps.join("\n"))),
    }));
    if workspace.manifest.wants_accuracy() && workspace.manifest.data.is_none() {
        let message = "the manifest wants accuracy judged, and names no labelled data (`[paths] data`)";
        trials.push(Trial::test("labelled data is given", move || Err(Failed::from(message))));
    }
    let mut not_run = Vec::new();
    let mut built: Vec<(RuntimeId, Precision)> = Vec::new();
    let mut reasons: Vec<(RuntimeId, Obstacle)> = Vec::new();
    for cell in cells {
        let id = cell.id.clone();
        let needed = required.iter().any(|selector| selector.selects(&id.runtime));
        // A known impossibility stays ignored where its runtime is required; an absence does not, and damage never.
        let excused = |obstacle: &&Obstacle| match obstacle.status {
            Status::Unsupported => true,
            Status::Invalid => false,
            _ => !needed,
        };
        let ignored = cell.ability.obstacle().filter(excused);
        if let Some(obstacle) = ignored {
            if needed || required.is_empty() || cell.installation.is_some() {
                not_run.push(id.clone());
            }
            if !reasons.iter().any(|(runtime, known)| *runtime == id.runtime && known.reason == obstacle.reason) {
                reasons.push((id.runtime.clone(), obstacle.clone()));
            }
        }
        let engine = (id.runtime.clone(), id.precision);
        if id.runtime.library.builds_engines() && !built.contains(&engine) {
            let impossible = match &cell.ability {
                Ability::Nothing(obstacle) => excused(&obstacle),
                Ability::BuildOnly(_) | Ability::Run => false,
            };
            let (workspace, id) = (Arc::clone(&workspace), id.clone());
            let name = format!("build::{}/{}", id.runtime, id.precision);
            trials.push(Trial::test(name, move || build(&workspace, &id)).with_ignored_flag(impossible));
            built.push(engine);
        }
        let workspace = Arc::clone(&workspace);
        let ignored = ignored.is_some();
        trials.push(Trial::test(id.to_string(), move || run(&workspace, &id)).with_ignored_flag(ignored));
    }
    // Under nextest every trial is a process of its own, which lists them all.
    if std::env::var_os("NEXTEST").is_none() {
        for (runtime, obstacle) in &reasons {
            eprintln!("ignored: {runtime}: {}: {}", obstacle.status, obstacle.reason);
        }
    }
    if reports().is_some() && !not_run.is_empty() {
        let name = "cells that cannot run here are reported";
        trials.push(Trial::test(name, move || not_run.iter().try_for_each(|id| report(&workspace, id).map(|_| ()))));
    }
    Ok(trials)
}

/// Runs and judges one cell. What did not run has not passed, whatever was built for it.
fn run(workspace: &Workspace, id: &CellId) -> Result<(), Failed> {
    let (report, cell) = report(workspace, id)?;
    // A reference that breaks the manifest's limits on labelled data is nothing to be compared with.
    let accurate = |rule: &CheckResult| rule.name != ACCURACY_RULE || rule.status == Status::Pass;
    match cell.status {
        Status::Pass if report.cross.iter().all(accurate) => Ok(()),
        _ => Err(Failed::from(terminal::render(&report, terminal::Style::default()))),
    }
}

/// Builds the engine of a cell, or finds it built.
fn build(workspace: &Workspace, id: &CellId) -> Result<(), Failed> {
    gate::build_engine(workspace, id, None).map(|_| ()).map_err(|error| Failed::from(error.to_string()))
}

/// Judges one cell; its report goes into the folder of reports, where there is one.
///
/// What the cell is compared with runs beside it: the points of its chain, and the smallest batch. So it is judged as in a
/// gate of the whole matrix.
fn report(workspace: &Workspace, id: &CellId) -> Result<(Report, CellReport), Failed> {
    let manifest = &workspace.manifest;
    let mut filter = Filter {
        runtimes: vec![id.runtime.clone()],
        precisions: vec![id.precision],
        batches: vec![id.batch],
        ..Filter::default()
    };
    let alone = workspace.plan(&filter).map_err(|error| Failed::from(error.to_string()))?;
    // What is built and not run has no answers to compare.
    if alone.iter().any(|cell| matches!(cell.ability, Ability::Run)) {
        let companions = [Library::Tensorflow, Library::Onnxruntime];
        let asked = manifest.matrix.iter().map(|row| row.library).filter(|library| companions.contains(library));
        filter.runtimes.extend(asked.filter(|library| *library != id.runtime.library).map(RuntimeId::unversioned));
        filter.precisions.push(Precision::Fp32);
        filter.batches.extend(manifest.batches.first());
    }
    let replay = artifacts().map_or_else(String::new, |folder| format!(" --artifacts '{}'", folder.display()));
    let run = RunOptions { filter, replay, command: "cargo nextest run".to_owned(), ..RunOptions::default() };
    let mut report = gate::run(workspace, &run).map_err(|error| Failed::from(error.to_string()))?;
    report.cells.retain(|cell| cell.id() == *id);
    report.cross.clear();
    report.judge();
    // What other cells there are is for the plan to say, which spans machines.
    report.planned.clear();
    if let Some(folder) = reports() {
        let name: String =
            id.to_string().chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
        file::write(&report, &folder.join(name + ".json")).map_err(|error| Failed::from(error.to_string()))?;
    }
    let cell = report.cells.iter().find(|cell| cell.id() == *id).cloned().ok_or("the cell is not in the report")?;
    Ok((report, cell))
}

/// Where reports go.
fn reports() -> Option<PathBuf> {
    std::env::var_os("TRTGATE_REPORTS").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// Artifacts that were made elsewhere.
fn artifacts() -> Option<PathBuf> {
    std::env::var_os("TRTGATE_ARTIFACTS").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// Tests start in the package's folder, wherever an archive of them was unpacked.
fn options() -> Options {
    let program = std::env::var_os("NEXTEST_BIN_EXE_trtgate")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_trtgate")), PathBuf::from);
    Options {
        install: false,
        artifacts: artifacts(),
        ..Options::new(PathBuf::from("gate.toml"), WorkerProgram::of(program))
    }
}

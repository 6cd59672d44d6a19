//! `trtgate doctor`: what is on this machine, and what each cell would need.

use std::io::Write;

use clap::Args;

use crate::cli::selection::WorkspaceArguments;
use crate::cli::{EXIT_INCOMPLETE, EXIT_PASS, Global, output};
use crate::console;
use crate::convert::environment::{self, Checked};
use crate::convert::store::Store;
use crate::error::Result;
use crate::gate::discover::{Discovery, discover};
use crate::gate::{Workspace, devices, machine};
use crate::plan::{Ability, Filter, PlannedCell};
use crate::process::ProcessLimits;
use crate::runtime::Obstacle;
use crate::vocabulary::Status;

/// Arguments of `trtgate doctor`.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    #[command(flatten)]
    workspace: WorkspaceArguments,
    /// Hold every file of trtgate's own environments to its SHA-256; exit code 3 if one is damaged
    #[arg(long)]
    verify: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &DoctorArguments) -> Result<u8> {
    let mut options = arguments.workspace.options(global)?;
    // A look around changes nothing.
    options.install = false;
    options.several = true;
    let mut stdout = anstream::stdout().lock();
    let planned = || -> Result<_> {
        let workspace = Workspace::open(&options)?;
        let cells = workspace.plan(&Filter::default())?;
        let model = format!("{} (sha256 {})", workspace.manifest.model.name, workspace.model_sha256);
        Ok((workspace.discovery, cells, workspace.store, Some(model)))
    };
    let mut unplanned = None;
    let of_project = options.manifest.is_file().then(planned).and_then(|planned| match planned {
        Ok(planned) => Some(planned),
        // A project that cannot be gated keeps nobody from looking at the machine; it is told after it.
        Err(error) => {
            unplanned = Some(error);
            None
        }
    });
    let (discovery, cells, store, model) = match of_project {
        Some(planned) => planned,
        None => {
            let store = Store::open(options.cache.clone())?.limiting(options.limits.over(ProcessLimits::default()));
            let limits = options.limits.of_workers();
            let found = discover(None, &store, &options.search, false, &options.program, limits, &*options.progress)?;
            (found, Vec::new(), store, None)
        }
    };
    let checked = if arguments.verify { environment::verify_all(&store) } else { Vec::new() };
    let written = if arguments.json {
        write_json(&mut stdout, &discovery, &cells, &checked)
    } else {
        write_text(&mut stdout, &discovery, &cells, &store, model.as_deref())
            .and_then(|()| write_checked(&mut stdout, &checked))
    };
    output::written(written.and_then(|()| stdout.flush()))?;
    if let Some(error) = unplanned {
        return Err(error);
    }
    if !options.manifest.is_file() {
        console::note(&format!("no manifest `{}` here, so no cells", options.manifest.display()));
    }
    Ok(if checked.iter().any(|checked| checked.outcome.is_err()) { EXIT_INCOMPLETE } else { EXIT_PASS })
}

fn write_text(
    stream: &mut impl Write,
    discovery: &Discovery,
    cells: &[PlannedCell],
    store: &Store,
    model: Option<&str>,
) -> std::io::Result<()> {
    let machine = machine::machine();
    let heading = |text: &str| format!("\x1b[1m{text}\x1b[0m");
    writeln!(stream, "{}", heading("machine"))?;
    let memory = machine.memory_bytes as f64 / f64::from(1 << 30);
    let set = machine.instruction_set.as_ref().map_or_else(String::new, |set| format!(" ({set})"));
    let (os, architecture, cores, processor) = (&machine.os, &machine.arch, machine.cores, &machine.cpu);
    writeln!(stream, "  {os} {architecture}, {cores} cores, {memory:.1} GiB, {processor}{set}")?;
    match &discovery.device {
        Ok(device) => {
            let (major, minor) = device.compute_capability;
            let (cuda_major, cuda_minor) = device.cuda_version;
            let driver = device.driver_version.as_deref().unwrap_or("of unknown version");
            let memory = device.memory_bytes as f64 / f64::from(1 << 30);
            writeln!(
                stream,
                "  GPU: {}, compute capability {major}.{minor}, {memory:.0} GiB, driver {driver}, CUDA up to {cuda_major}.{cuda_minor}",
                device.name
            )?;
            for device in &discovery.devices {
                let memory = device.memory_bytes as f64 / f64::from(1 << 30);
                writeln!(stream, "    {}: {}, {}, {memory:.0} GiB", device.ordinal, device.name, device.uuid)?;
            }
            for remark in devices::remarks(&discovery.devices, devices::visible_devices().as_deref()) {
                writeln!(stream, "    {remark}")?;
            }
        }
        Err(error) => writeln!(stream, "  GPU: none ({})", error.message)?,
    }
    writeln!(stream, "  store: {}", store.root().display())?;
    match (&discovery.environment, &discovery.environment_error) {
        (Some(environment), _) => {
            for folder in &environment.site_packages {
                writeln!(stream, "  Python environment: {}", folder.display())?;
            }
        }
        (None, Some(error)) => writeln!(stream, "  Python environment: {error}")?,
        (None, None) => match environment::can_be_made(store.limits()) {
            Ok(()) => writeln!(stream, "  Python environment: not made yet; `trtgate export` makes it")?,
            Err(error) => {
                writeln!(stream, "  Python environment: not made yet, and cannot be: {}", error.message)?;
                if let Some(hint) = &error.hint {
                    writeln!(stream, "      get it: {hint}")?;
                }
            }
        },
    }
    if let Some(model) = model {
        writeln!(stream, "  model: {model}")?;
    }
    writeln!(stream, "\n{}", heading("runtimes"))?;
    for (library, probe) in &discovery.probes {
        for found in &probe.found {
            let family = found.family.as_ref().map_or_else(String::new, |family| format!(", family {family}"));
            let told = found.served.iter().flat_map(|served| &served.notes);
            let is_told = |obstacle: &&Obstacle| match obstacle.status {
                Status::Invalid => true,
                // One protocol of a server that nobody answers by.
                status => status == Status::Unavailable && found.served.is_none() && found.id.library.is_served(),
            };
            if let Some(damage) = found.run_obstacle.as_ref().filter(is_told) {
                write_not_here(stream, &found.id.to_string(), damage)?;
                told.into_iter().try_for_each(|note| writeln!(stream, "      {note}"))?;
                continue;
            }
            writeln!(stream, "  \x1b[32m✓\x1b[0m {:<22} {}{family}", found.id.to_string(), found.version)?;
            writeln!(stream, "      {}", found.file.display())?;
            told.into_iter().try_for_each(|note| writeln!(stream, "      {note}"))?;
            for (what, obstacle) in [("builds", &found.build_obstacle), ("runs", &found.run_obstacle)] {
                if let Some(obstacle) = obstacle {
                    writeln!(stream, "      {what} nothing here: {}", obstacle.reason)?;
                    // What keeps a library from running is the machine's, and told with the device.
                    if what == "builds" && found.run_obstacle.is_none() {
                        write_obstacle(stream, obstacle)?;
                    }
                }
            }
        }
        if let Some(obstacle) = probe.missing.as_ref().filter(|_| probe.found.is_empty()) {
            write_not_here(stream, library.as_str(), obstacle)?;
        }
    }
    if !cells.is_empty() {
        writeln!(stream, "\n{}", heading("cells"))?;
        let mut shown: Vec<(String, String)> = Vec::new();
        for cell in cells {
            let what = match &cell.ability {
                Ability::Run => format!("runs from {}", cell.artifact),
                Ability::BuildOnly(obstacle) => {
                    format!("builds from {}, {}: {}", cell.artifact, obstacle.status, obstacle.reason)
                }
                Ability::Nothing(obstacle) => format!("{}: {}", obstacle.status, obstacle.reason),
            };
            let name = format!("{} {}", cell.id.runtime, cell.id.precision);
            if shown.last().is_none_or(|(last, _)| *last != name) {
                shown.push((name, what));
            }
        }
        for (name, what) in shown {
            writeln!(stream, "  {name:<34} {what}")?;
        }
    }
    Ok(())
}

fn write_checked(stream: &mut impl Write, checked: &[Checked]) -> std::io::Result<()> {
    if checked.is_empty() {
        return Ok(());
    }
    writeln!(stream, "\n\x1b[1menvironments\x1b[0m")?;
    for Checked { name, directory, outcome } in checked {
        match outcome {
            Ok(verified) => {
                let megabytes = verified.bytes as f64 / 1e6;
                let files = verified.files;
                writeln!(stream, "  \x1b[32m✓\x1b[0m {name:<22} {files} files, {megabytes:.1} MB, as installed")?;
                writeln!(stream, "      {}", directory.display())?;
            }
            Err(error) => {
                writeln!(stream, "  \x1b[31m✗\x1b[0m {name:<22} {}", error.message)?;
                if let Some(hint) = &error.hint {
                    writeln!(stream, "      mend it: {hint}")?;
                }
            }
        }
    }
    Ok(())
}

fn write_not_here(stream: &mut impl Write, name: &str, obstacle: &Obstacle) -> std::io::Result<()> {
    let mark = if obstacle.status == Status::Invalid { "\x1b[31m✗\x1b[0m" } else { "\x1b[33m–\x1b[0m" };
    writeln!(stream, "  {mark} {name:<22} {}", obstacle.reason)?;
    write_obstacle(stream, obstacle)
}

fn write_obstacle(stream: &mut impl Write, obstacle: &Obstacle) -> std::io::Result<()> {
    for tried in &obstacle.tried {
        writeln!(stream, "      tried {tried}")?;
    }
    if let Some(hint) = &obstacle.hint {
        let what = if obstacle.status == Status::Invalid { "mend it" } else { "get it" };
        writeln!(stream, "      {what}: {hint}")?;
    }
    Ok(())
}

fn write_json(
    stream: &mut impl Write,
    discovery: &Discovery,
    cells: &[PlannedCell],
    checked: &[Checked],
) -> std::io::Result<()> {
    let checked: Vec<serde_json::Value> = checked
        .iter()
        .map(|checked| {
            serde_json::json!({
                "name": checked.name,
                "directory": checked.directory,
                "files": checked.outcome.as_ref().ok().map(|verified| verified.files),
                "bytes": checked.outcome.as_ref().ok().map(|verified| verified.bytes),
                "damage": checked.outcome.as_ref().err().map(|error| &error.message),
            })
        })
        .collect();
    let cells: Vec<serde_json::Value> = cells
        .iter()
        .map(|cell| serde_json::json!({"cell": cell.id, "artifact": cell.artifact, "ability": cell.ability}))
        .collect();
    let runtimes: Vec<serde_json::Value> = discovery
        .probes
        .iter()
        .map(|(library, probe)| serde_json::json!({"library": library, "found": probe.found, "missing": probe.missing}))
        .collect();
    let value = serde_json::json!({
        "schema": "trtgate.doctor/v1",
        "machine": machine::machine(),
        "device": discovery.device.as_ref().ok(),
        "devices": discovery.devices,
        "runtimes": runtimes,
        "cells": cells,
        "environments": checked,
    });
    serde_json::to_writer_pretty(&mut *stream, &value)?;
    writeln!(stream)
}

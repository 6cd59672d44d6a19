//! What is on this machine: Python environments, and through them and the system, every runtime.

use std::path::{Path, PathBuf};

use crate::convert::environment::{self, Environment};
use crate::convert::store::Store;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::damaged;
use crate::gate::served;
use crate::libraries::FETCHED;
use crate::manifest::Manifest;
use crate::plan::Probes;
use crate::progress::Progress;
use crate::runtime::cuda::DeviceInfo;
use crate::runtime::{self, Obstacle, Probe, SearchPaths};
use crate::vocabulary::Library;
use crate::worker::{Limits, Worker, WorkerProgram};

/// What was found.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// The Python environment for exports, where there is one.
    pub environment: Option<Environment>,
    /// Why there is none.
    pub environment_error: Option<Error>,
    /// Where libraries were looked for.
    pub paths: SearchPaths,
    /// Libraries found or missed, in the order of the chain.
    pub probes: Probes,
    /// The GPU that is used, the first of them, or why there is none.
    pub device: std::result::Result<DeviceInfo, Error>,
    /// Every GPU that is visible, in the order of their numbers.
    pub devices: Vec<DeviceInfo>,
}

/// Looks for everything, in workers with `limits`; installs the environments that the manifest needs first, if `install` allows it.
///
/// # Errors
/// If a worker cannot be started. An environment that cannot be installed is no error here: what needs it says so.
pub fn discover(
    manifest: Option<&Manifest>,
    store: &Store,
    search: &[PathBuf],
    install: bool,
    program: &WorkerProgram,
    limits: Limits,
    progress: &dyn Progress,
) -> Result<Discovery> {
    if let Some(left_out) = crate::process::loader_path::left_out() {
        progress.note(&left_out);
    }
    let (environment, environment_error) = match export_environment(store, install, progress) {
        Ok(environment) => (environment, None),
        Err(error) => (None, Some(error)),
    };
    let mut own: Vec<(String, Vec<PathBuf>)> = Vec::new();
    own.extend(
        environment.iter().map(|environment| (environment::EXPORT.to_owned(), environment.site_packages.clone())),
    );
    let mut damages: Vec<(String, Error)> = Vec::new();
    for name in FETCHED {
        let wanted = manifest.is_some_and(|manifest| manifest.fetch.iter().any(|fetch| fetch == name));
        match packages(store, name, wanted, install, progress) {
            Ok(found) => own.extend(found.map(|environment| (name.to_owned(), environment.site_packages))),
            Err(error) if error.kind == ErrorKind::Invalid => damages.push((name.to_owned(), error)),
            // What cannot be fetched is reported as missing by the library's own search.
            Err(error) => progress.note(&format!("could not fetch `{name}`: {error}")),
        }
    }
    for (name, found) in environment::libraries::all(store) {
        match found {
            Ok(environment) => own.push((name, environment.site_packages)),
            Err(error) => damages.push((name, error)),
        }
    }
    let site_packages: Vec<PathBuf> = own.iter().flat_map(|(_, folders)| folders.clone()).collect();
    let paths = SearchPaths { explicit: search.to_vec(), site_packages, system: true };
    let mut probes: Probes = Vec::new();
    let mut tensorrt: Option<Probe> = None;
    for &library in Library::ALL {
        let probe = match library {
            Library::Tensorrt | Library::TensorrtRtx | Library::TensorrtLean => {
                if tensorrt.is_none() {
                    tensorrt = Some(probe_tensorrt(&paths, program, limits)?);
                }
                let all = tensorrt.clone().unwrap_or_default();
                of_library(all, library, &paths)
            }
            Library::Triton => match manifest.and_then(|manifest| manifest.serve.as_ref()) {
                Some(serve) => served::probe(serve, program, limits)?,
                None => continue,
            },
            _ => runtime::probe(library, &paths),
        };
        probes.push((library, probe));
    }
    damages.extend(damaged::lacking(store, &own, search, &probes));
    let found_late = damages.iter().find(|(name, _)| name == environment::EXPORT).map(|(_, error)| error.clone());
    let (environment, environment_error) = match found_late {
        Some(error) => (None, Some(error)),
        None => (environment, environment_error),
    };
    if let Some(error) = environment_error.as_ref().filter(|error| error.kind == ErrorKind::Invalid) {
        damaged::spoil(&mut probes, environment::EXPORT, search, error);
    } else if let Some(error) = &environment_error {
        // The search cannot know why the environment is not there.
        for (library, probe) in &mut probes {
            let brought = matches!(library, Library::Tensorflow | Library::Onnxruntime | Library::Litert);
            if let Some(obstacle) = &mut probe.missing {
                obstacle.tried.push(format!("trtgate's own environment: {error}"));
                if brought {
                    obstacle.reason = format!("{}, and cannot be installed: {}", obstacle.reason, error.message);
                    obstacle.hint = error.hint.clone().or(obstacle.hint.take());
                }
            }
        }
    }
    for (name, error) in damages.iter().filter(|(name, _)| name != environment::EXPORT) {
        damaged::spoil(&mut probes, name, search, error);
    }
    let (device, devices) = match find_devices(program, limits) {
        Ok(devices) => (devices.first().cloned().ok_or_else(|| Error::missing("no GPU is visible")), devices),
        Err(error) => (Err(error), Vec::new()),
    };
    Ok(Discovery { environment, environment_error, paths, probes, device, devices })
}

fn export_environment(store: &Store, install: bool, progress: &dyn Progress) -> Result<Option<Environment>> {
    let found = environment::look_in(store, environment::EXPORT);
    // The user's own is nothing that could be made.
    if !install || matches!(found, Ok(Some(_))) || environment::is_named(environment::EXPORT) {
        return found;
    }
    let _waiting = crate::meter::waiting();
    environment::ensure_in(store, environment::EXPORT, progress).map(Some)
}

/// The packages `name`: those that are here, or fetched now if they are `wanted`, or damaged, and that is allowed.
fn packages(
    store: &Store,
    name: &str,
    wanted: bool,
    install: bool,
    progress: &dyn Progress,
) -> Result<Option<Environment>> {
    let found = environment::look_in(store, name);
    let lacking = match &found {
        Ok(found) => found.is_none() && wanted,
        Err(_) => true,
    };
    if !install || !lacking {
        return found;
    }
    let _waiting = crate::meter::waiting();
    environment::ensure_in(store, name, progress).map(Some)
}

/// TensorRT tells its version only once it is loaded, which is done in a worker.
fn probe_tensorrt(paths: &SearchPaths, program: &WorkerProgram, limits: Limits) -> Result<Probe> {
    let Ok(driver) = runtime::driver(Library::Tensorrt) else { return Ok(runtime::probe(Library::Tensorrt, paths)) };
    if !runtime::tensorrt::discovery::candidates(paths).is_empty() {
        let mut worker = Worker::start(program, limits)?;
        match worker.probe(Library::Tensorrt, paths) {
            Ok(probe) => return Ok(probe),
            Err(error) => {
                let mut obstacle = Obstacle::unavailable("looking at the TensorRT libraries ended the worker");
                obstacle.tried.push(error.to_string());
                return Ok(Probe { found: Vec::new(), missing: Some(obstacle) });
            }
        }
    }
    Ok(driver.probe(paths))
}

/// The first GPU, asked in a worker: the driver's start is slow and takes memory.
fn find_devices(program: &WorkerProgram, limits: Limits) -> Result<Vec<DeviceInfo>> {
    let traces = ["/dev/nvidiactl", "/dev/nvidia0", "/proc/driver/nvidia/version", "/dev/nvgpu", "/dev/dxg"];
    if !traces.iter().any(|trace| Path::new(trace).exists()) {
        return Err(Error::missing("no NVIDIA GPU is visible on this machine")
            .cause(format!("none of {} is here", traces.join(", ")))
            .hint("in a container, start it with `--gpus all`"));
    }
    Worker::start(program, limits)?.devices()
}

/// The part of a probe that is about one library.
fn of_library(all: Probe, library: Library, paths: &SearchPaths) -> Probe {
    let found: Vec<_> = all.found.into_iter().filter(|installation| installation.id.library == library).collect();
    // Beside another library or version, what was tried still tells where the wanted one is not.
    let mut missing =
        all.missing.unwrap_or_else(|| Obstacle::unavailable(format!("`{library}` is not on this machine")));
    if found.is_empty() {
        missing.reason = format!("`{library}` is not on this machine");
        if missing.tried.is_empty() {
            let places = runtime::tensorrt::discovery::places(paths);
            missing.tried = places.iter().map(|place| format!("`{}`: no `{library}` there", place.display())).collect();
        }
        missing.hint.get_or_insert_with(|| {
            let fetched =
                if library == Library::Tensorrt { ", or bring one by `trtgate fetch tensorrt@10.6`" } else { "" };
            format!("name a file or folder in `TRTGATE_TENSORRT_PATH`, or install a wheel of TensorRT{fetched}")
        });
    }
    Probe { found, missing: Some(missing) }
}

#[cfg(test)]
mod tests;

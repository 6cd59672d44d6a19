//! Environments of trtgate's own that are not what was installed: their cells are `invalid`, whatever else the machine has.
//!
//! A look at sizes and times comes with finding an environment. Where a library is not found in it all the same, does not
//! load, or ends its worker, every file is looked at.

use std::path::{Path, PathBuf};

use crate::convert::environment;
use crate::convert::store::Store;
use crate::error::{Error, ErrorKind};
use crate::gate::runs::{Outcome, RawCell};
use crate::plan::Probes;
use crate::runtime::locate::UNKNOWN_VERSION;
use crate::runtime::{Installation, Obstacle, Probe};
use crate::vocabulary::{Library, RuntimeId, Status};

/// The libraries that the environment `name` brings.
fn libraries(name: &str) -> &'static [Library] {
    match name {
        environment::EXPORT => &[Library::Tensorflow, Library::Onnxruntime, Library::Litert],
        name if name.starts_with("tensorrt-rtx-") => &[Library::TensorrtRtx],
        name if environment::version(name).is_some() && !name.starts_with("tensorrt-lean-") => &[Library::Tensorrt],
        _ => &[Library::TensorrtLean],
    }
}

/// The damage of environments that looked whole, and that lack a library that they were installed with.
///
/// `environments` are those that were found, by name and with their folders of packages.
pub(super) fn lacking(
    store: &Store,
    environments: &[(String, Vec<PathBuf>)],
    explicit: &[PathBuf],
    probes: &Probes,
) -> Vec<(String, Error)> {
    let lacks = |name: &str, folders: &[PathBuf]| {
        libraries(name).iter().any(|library| {
            let found = probes.iter().filter(|(probed, _)| probed == library).flat_map(|(_, probe)| &probe.found);
            !found.clone().any(|found| under(&found.file, folders) || under(&found.file, explicit))
        })
    };
    let lacking = environments.iter().filter(|(name, folders)| lacks(name, folders));
    lacking
        .filter_map(|(name, folders)| Some((name.clone(), environment::damage_around(store, folders.first()?)?)))
        .collect()
}

/// Puts the damage of the environment `name`, in `folders`, into what was found: what the user named stays, and no library of
/// another place stands in for the damaged one.
pub(super) fn spoil(probes: &mut Probes, name: &str, explicit: &[PathBuf], error: &Error) {
    let obstacle = Obstacle {
        status: Status::Invalid,
        reason: error.message.clone(),
        tried: error.causes.clone(),
        hint: error.hint.clone(),
    };
    for (library, probe) in probes.iter_mut().filter(|(library, _)| libraries(name).contains(library)) {
        if name == environment::EXPORT {
            probe.found.retain(|found| under(&found.file, explicit));
            if probe.found.is_empty() {
                probe.missing = Some(obstacle.clone());
            }
            continue;
        }
        // Beside other versions, the damaged one is still a runtime that should have run.
        let version = environment::version(name).unwrap_or(UNKNOWN_VERSION);
        spoil_version(probe, *library, version, &obstacle);
    }
}

fn spoil_version(probe: &mut Probe, library: Library, version: &str, obstacle: &Obstacle) {
    let short: Vec<&str> = version.split('.').take(3).collect();
    let id = RuntimeId { version: Some(short.join(".")), ..RuntimeId::unversioned(library) };
    probe.found.retain(|found| found.id != id);
    let mut installation = Installation::plain(id, version, PathBuf::new());
    installation.build_obstacle = Some(obstacle.clone());
    installation.run_obstacle = Some(obstacle.clone());
    probe.found.push(installation);
}

/// Makes cells whose library failed `invalid`, where the environment that it lies in is damaged.
pub(super) fn explain(store: &Store, raw: &mut [RawCell]) {
    let mut known: Vec<(PathBuf, Option<Error>)> = Vec::new();
    for cell in raw {
        let Outcome::Stopped { status, error, .. } = &mut cell.outcome else { continue };
        let Some(installation) = cell.planned.installation.as_ref().filter(|_| *status == Status::Fail) else {
            continue;
        };
        let file = &installation.file;
        let damage = match known.iter().find(|(looked_at, _)| looked_at == file) {
            Some((_, damage)) => damage.clone(),
            None => {
                let damage = environment::damage_around(store, file);
                known.push((file.clone(), damage.clone()));
                damage
            }
        };
        if let Some(damage) = damage {
            *status = Status::Invalid;
            *error = because_of(damage, error);
        }
    }
}

/// `error`, or the damage of the environment that `file` lies in, where that is why.
pub(super) fn or_damage(store: &Store, file: &Path, error: Error) -> Error {
    match error.kind {
        ErrorKind::Failed => match environment::damage_around(store, file) {
            Some(damage) => because_of(damage, &error),
            None => error,
        },
        _ => error,
    }
}

fn because_of(mut damage: Error, error: &Error) -> Error {
    damage.causes.push(error.message.clone());
    damage.causes.extend(error.causes.iter().cloned());
    damage
}

fn under(file: &Path, folders: &[PathBuf]) -> bool {
    folders.iter().any(|folder| file.starts_with(folder))
}

#[cfg(test)]
mod tests;

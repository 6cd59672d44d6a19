//! The Python packages that trtgate fetches for itself on first use, from lock files that pin every hash.
//!
//! | name | holds | for |
//! |---|---|---|
//! | `export` | an interpreter with TensorFlow, tf2onnx, ONNX Runtime, LiteRT | converting; their shared libraries also run the cells |
//! | `tensorrt-rtx-1.7`, `tensorrt-rtx-1.4` | the shared libraries of TensorRT for RTX | building engines with no GPU |
//! | `tensorrt-lean-10`, `tensorrt-lean-11` | TensorRT's lean runtimes | running engines |
//! | `triton` | the Triton server, with an interpreter for its models | serving a model repository on this machine (`trtgate serve`) |
//!
//! Beside these lie libraries that the user had fetched (`libraries`).
//!
//! Each lies in the store's folder under `environments/NAME-HASH`, the hash being that of its lock file. It is made in
//! the store's staging folder, and renamed when it is complete, which a marker file says that is written last; what a
//! killed process left is in nobody's way. To find one takes no network and no interpreter: its marker is read, and the
//! libraries in it are held to what was installed (`verify`). One that is damaged is made again, or is an error that says
//! what is wrong with it; it never counts as one that is not there.

mod external;
mod interpreter;
pub mod libraries;
mod verify;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::convert::store::{Staging, Store, lock_file};
use crate::convert::tool::{self, Failure, Limit};
use crate::digest::digest_bytes;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::process::{Command, ProcessLimits};
use crate::progress::{Progress, Step};

pub use external::PYTHON_VARIABLE;
pub use verify::Verified;

/// Name of the environment that converts models.
pub const EXPORT: &str = "export";

/// Marks a complete environment.
const MARKER: &str = "complete.json";

/// One lock file.
struct Lock {
    name: &'static str,
    text: &'static str,
    /// Download size, for the message.
    megabytes: u32,
    /// Whether it gets an interpreter of its own; otherwise its packages only hold libraries.
    interpreter: bool,
    /// The newest Python that all its packages have wheels for.
    newest: (u32, u32),
}

const LOCKS: &[Lock] = &[
    Lock {
        name: EXPORT,
        text: include_str!("../../ci/requirements/export.txt"),
        megabytes: 350,
        interpreter: true,
        newest: (3, 13),
    },
    Lock {
        name: "triton",
        text: include_str!("../../ci/requirements/triton.txt"),
        megabytes: 100,
        interpreter: true,
        newest: (3, 12),
    },
    Lock {
        name: "tensorrt-rtx-1.7",
        text: include_str!("../../ci/requirements/tensorrt-rtx-1.7.txt"),
        megabytes: 90,
        interpreter: false,
        newest: (3, 13),
    },
    Lock {
        name: "tensorrt-rtx-1.4",
        text: include_str!("../../ci/requirements/tensorrt-rtx-1.4.txt"),
        megabytes: 90,
        interpreter: false,
        newest: (3, 13),
    },
    Lock {
        name: "tensorrt-lean-10",
        text: include_str!("../../ci/requirements/tensorrt-lean-10.txt"),
        megabytes: 46,
        interpreter: false,
        newest: (3, 13),
    },
    Lock {
        name: "tensorrt-lean-11",
        text: include_str!("../../ci/requirements/tensorrt-lean-11.txt"),
        megabytes: 46,
        interpreter: false,
        newest: (3, 13),
    },
];

/// Packages that are ready to use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The interpreter; `None` where the packages only hold libraries, or where it is not on this machine.
    pub python: Option<PathBuf>,
    /// Folders of packages, the most important first.
    pub site_packages: Vec<PathBuf>,
    /// Digest of the lock file, or of the versions in an interpreter of the user's: part of the key of whatever is made with it.
    pub identity: String,
}

/// What the marker says; paths are relative to the environment's folder.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    python: Option<PathBuf>,
    site_packages: PathBuf,
    /// Of libraries that were fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<libraries::Origin>,
}

/// Digest of the packages that `name` has or would have, without making it: that of the lock file, or that of the
/// user's own interpreter.
pub fn identity(store: &Store, name: &str) -> Result<String> {
    let lock = lock_of(name)?;
    match external::interpreter(lock) {
        Some(python) => Ok(external::describe(store, &python)?.identity),
        None => Ok(digest_bytes(lock.text.as_bytes())),
    }
}

/// The environment `name` if it is here and whole, in the default store; no network, and no interpreter is started but for
/// the first look at one that `TRTGATE_PYTHON` names.
pub fn find(name: &str) -> Option<Environment> {
    find_in(&Store::open(None).ok()?, name)
}

/// [`find`] in `store`.
pub fn find_in(store: &Store, name: &str) -> Option<Environment> {
    look_in(store, name).ok().flatten()
}

/// The environment `name` if it is in `store`.
///
/// # Errors
/// `Invalid` if it is damaged, with what is wrong and the next step; `Missing` if the interpreter that the user names does
/// not run.
pub fn look_in(store: &Store, name: &str) -> Result<Option<Environment>> {
    let lock = lock_of(name)?;
    if let Some(python) = external::interpreter(lock) {
        return external::describe(store, &python).map(Some);
    }
    let directory = directory(store, lock);
    hold(store, &directory);
    look(&directory, lock).map_err(|damage| damaged(lock.name, &directory, &damage))
}

/// The version of the packages that `name` holds, as its lock file pins it: of its first package.
pub(crate) fn version(name: &str) -> Option<&str> {
    if let Some(fetched) = libraries::version_of(name) {
        return Some(fetched);
    }
    lock_of(name).ok()?.text.lines().find_map(|line| line.split_once("==")?.1.split_whitespace().next())
}

/// An environment of the store, held to what was installed.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub directory: PathBuf,
    /// How much was held to its digest, or what is damaged.
    pub outcome: Result<Verified>,
}

/// Holds every file of every environment in `store` to its SHA-256; this reads all of them.
pub fn verify_all(store: &Store) -> Vec<Checked> {
    let here = all(store).filter(|(_, directory)| directory.exists());
    here.map(|(name, directory)| {
        let outcome = whole(&directory).map_err(|damage| damaged(&name, &directory, &damage));
        Checked { name, directory, outcome }
    })
    .collect()
}

/// What is damaged in the environment of `store` that `file` lies in, every file looked at, or `None` if nothing is, or it
/// lies in none. For what went wrong with `file`.
pub fn damage_around(store: &Store, file: &Path) -> Option<Error> {
    let (name, directory) = all(store).find(|(_, directory)| file.starts_with(directory))?;
    whole(&directory).err().map(|damage| damaged(&name, &directory, &damage))
}

/// Names and folders of everything that is or would be in `store`: environments by their lock files, and fetched libraries.
fn all(store: &Store) -> impl Iterator<Item = (String, PathBuf)> {
    let locked = LOCKS.iter().map(|lock| (lock.name.to_owned(), directory(store, lock)));
    locked.chain(libraries::folders(store))
}

/// The start of a `pip install` or `pip download` command, as `what` says, of the export environment where it is here.
///
/// # Errors
/// `Missing` where this machine has none.
pub(crate) fn pip(store: &Store, what: &str) -> Result<Command> {
    match find_in(store, EXPORT).and_then(|environment| environment.python) {
        Some(python) => Ok(interpreter::pip_of(&python, what)),
        None => interpreter::pip(store.limits(), what),
    }
}

/// What is damaged in the environment `name` of `store`, by sizes and by what was written since the installation. For what
/// went wrong in its interpreter.
pub(crate) fn damage_by_size(store: &Store, name: &str) -> Option<Error> {
    let lock = lock_of(name).ok().filter(|lock| external::interpreter(lock).is_none())?;
    let directory = directory(store, lock);
    let damage = verify::by_size(&directory).err().filter(|_| directory.exists())?;
    Some(damaged(lock.name, &directory, &damage))
}

fn whole(directory: &Path) -> Result<Verified, String> {
    let marker = read_marker(directory)?;
    verify::wholly(directory, &directory.join(marker.site_packages))
}

fn damaged(name: &str, directory: &Path, damage: &str) -> Error {
    if libraries::is_one(name) {
        return libraries::damaged(name, directory, damage);
    }
    Error::invalid(format!("the environment `{name}` is damaged: {damage}")).hint(format!(
        "run once without `--offline`, which makes it again, or remove `{}`; `trtgate doctor --verify` checks it",
        directory.display()
    ))
}

/// Whether the user names an interpreter of their own for `name`.
pub(crate) fn is_named(name: &str) -> bool {
    lock_of(name).is_ok_and(|lock| external::interpreter(lock).is_some())
}

/// The environment `name`, made now if it is not here, in the default store.
pub fn ensure(name: &str, progress: &dyn Progress) -> Result<Environment> {
    ensure_in(&Store::open(None)?, name, progress)
}

/// [`ensure`] in `store`. Parallel processes make it once; what a killed process left is removed, and a damaged one is
/// made again.
///
/// # Errors
/// `Missing` if it is not here and cannot be made; `Invalid` if it is damaged and cannot be made again.
pub fn ensure_in(store: &Store, name: &str, progress: &dyn Progress) -> Result<Environment> {
    let lock = lock_of(name)?;
    if let Some(python) = external::interpreter(lock) {
        return external::describe(store, &python);
    }
    let directory = directory(store, lock);
    hold(store, &directory);
    let usable = |found: &Environment| found.python.is_some() == lock.interpreter;
    let found = look(&directory, lock);
    if let Ok(Some(environment)) = &found
        && usable(environment)
    {
        return Ok(environment.clone());
    }
    if !store.installs() {
        return Err(match found {
            Err(damage) => damaged(name, &directory, &damage),
            Ok(_) => {
                Error::missing(format!("the environment `{name}` is not in the store, and nothing may be installed"))
                    .hint("run once without `--offline`, or name a Python that has its packages in `TRTGATE_PYTHON`")
            }
        });
    }
    let key = format!("environment-{name}");
    let _guard = lock_file(store, &key, &format!("installs `{name}`"))?;
    // Another process may have made it while this one waited.
    hold(store, &directory);
    let damage = match look(&directory, lock) {
        Ok(Some(environment)) if usable(&environment) => return Ok(environment),
        Ok(_) => None,
        Err(damage) => Some(damage),
    };
    if let Some(damage) = &damage {
        progress.note(&format!("the environment `{name}` is damaged ({damage}), making it again"));
    }
    install_anew(store, lock, &directory, &key, progress).map_err(|error| match damage {
        // What was there and is broken is not what was never there.
        Some(damage) if error.kind != ErrorKind::Machine => {
            let mut damaged = damaged(name, &directory, &damage);
            damaged.causes.push(format!("it could not be made again: {}", error.message));
            damaged.causes.extend(error.causes);
            Error { hint: error.hint.or(damaged.hint.clone()), ..damaged }
        }
        _ => error,
    })
}

/// Makes the environment in the staging folder of `key`, and puts it in the place of whatever is at `directory`.
fn install_anew(
    store: &Store,
    lock: &Lock,
    directory: &Path,
    key: &str,
    progress: &dyn Progress,
) -> Result<Environment> {
    let staging = Staging::new(store.staging_of(key))?;
    let what = if lock.name == "export" { ", the converters and runtimes" } else { "" };
    let step = progress.begin(&format!("installing `{}`{what} (about {} MB, once)", lock.name, lock.megabytes));
    let marker = make(store, staging.path(), lock, progress, &*step)?;
    relocate(staging.path(), directory);
    verify::wholly(staging.path(), &staging.path().join(&marker.site_packages))
        .map_err(|damage| Error::failed(format!("`{}` was installed, but {damage}", lock.name)))?;
    finish(staging.path(), &marker)?;
    store.hold(&held_as(directory));
    staging.replace(directory)?;
    let environment = look(directory, lock).ok().flatten().ok_or_else(|| {
        Error::failed(format!("`{}` was installed, but its packages are not where they should be", lock.name))
    })?;
    step.finish();
    Ok(environment)
}

/// Whether this machine has what the export environment is made from: a Python of the right version.
///
/// # Errors
/// Why not, and how to get one.
pub fn can_be_made(limits: &ProcessLimits) -> Result<()> {
    interpreter::find(limits, (3, 13)).map(|_| ())
}

/// Keeps an environment that is there from being cleared away while this process lives.
fn hold(store: &Store, directory: &Path) {
    if directory.exists() {
        store.hold(&held_as(directory));
    }
}

fn held_as(directory: &Path) -> String {
    format!("environments-{}", directory.file_name().unwrap_or_default().to_string_lossy())
}

fn lock_of(name: &str) -> Result<&'static Lock> {
    LOCKS.iter().find(|lock| lock.name == name).ok_or_else(|| {
        let known: Vec<String> = LOCKS.iter().map(|lock| lock.name).map(|name| format!("`{name}`")).collect();
        Error::usage(format!("unknown environment `{name}`")).hint(format!("one of: {}", known.join(" ")))
    })
}

/// Where the environment `name` of `store` is or would be.
#[cfg(test)]
pub(crate) fn place(store: &Store, name: &str) -> PathBuf {
    lock_of(name).map(|lock| directory(store, lock)).unwrap_or_default()
}

fn directory(store: &Store, lock: &Lock) -> PathBuf {
    let hash = digest_bytes(lock.text.as_bytes());
    store.root().join("environments").join(format!("{}-{}", lock.name, hash.get(..16).unwrap_or_default()))
}

/// The environment in `directory`, if there is one: its marker names what is there, and what is loaded from it is as it was
/// installed.
///
/// The interpreter is a link to the machine's own: mounted into a container, an environment has its libraries alone.
///
/// # Errors
/// What is damaged, one sentence. A folder without a marker is: it comes into its place with one.
fn look(directory: &Path, lock: &Lock) -> Result<Option<Environment>, String> {
    if !directory.exists() {
        return Ok(None);
    }
    let marker = read_marker(directory)?;
    let python = marker.python.map(|path| directory.join(path)).filter(|path| path.exists());
    let site_packages = directory.join(&marker.site_packages);
    if !site_packages.is_dir() {
        return Err(format!("`{}` is gone", marker.site_packages.display()));
    }
    verify::quickly(directory, &site_packages)?;
    let identity = digest_bytes(lock.text.as_bytes());
    Ok(Some(Environment { python, site_packages: vec![site_packages], identity }))
}

fn read_marker(directory: &Path) -> Result<Marker, String> {
    let text = files::read(&directory.join(MARKER), files::TEXT).map_err(|error| format!("`{MARKER}`: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("`{MARKER}`: {error}"))
}

fn make(store: &Store, directory: &Path, lock: &Lock, progress: &dyn Progress, step: &dyn Step) -> Result<Marker> {
    let limits = store.limits();
    let requirements = directory.join("requirements.txt");
    std::fs::write(&requirements, lock.text).map_err(|error| Error::io("write", &requirements, error))?;
    Ok(if lock.interpreter {
        let base = interpreter::find(limits, lock.newest)?;
        let pip = interpreter::environment(&base, directory, limits, progress, step)?;
        install(pip, &requirements, lock, limits, progress, step)?;
        Marker { python: Some("bin/python".into()), site_packages: base.site_packages(), origin: None }
    } else {
        let pip = pip(store, "install")?;
        let target = directory.join("site-packages");
        install(pip.arg("--target").arg(target), &requirements, lock, limits, progress, step)?;
        Marker { python: None, site_packages: "site-packages".into(), origin: None }
    })
}

/// Writes the final place into the scripts of an environment, which name the place where they were made. trtgate needs
/// none of them, so one that cannot be written is left.
fn relocate(staging: &Path, directory: &Path) {
    let (Some(from), Some(to)) = (staging.to_str(), directory.to_str()) else { return };
    let scripts = std::fs::read_dir(staging.join("bin")).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in scripts.chain([staging.join("pyvenv.cfg")]) {
        let is_file = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
        if is_file
            && let Ok(text) = std::fs::read_to_string(&path)
            && text.contains(from)
        {
            let _ = std::fs::write(&path, text.replace(from, to));
        }
    }
}

/// Runs `pip install` with every package pinned by hash: nothing is resolved, nothing is built.
fn install(
    pip: Command,
    requirements: &Path,
    lock: &Lock,
    limits: &ProcessLimits,
    progress: &dyn Progress,
    step: &dyn Step,
) -> Result<()> {
    let command = pip
        .args(["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile", "--no-input"])
        .args(["--disable-pip-version-check", "--no-warn-script-location", "--progress-bar", "off", "-r"])
        .arg(requirements);
    tool::run(&command, Limit::install(limits), progress, step).map_err(|failure| {
        let Failure { error, stopped, .. } = *failure;
        if error.kind == ErrorKind::Machine {
            return error;
        }
        let mut error = error.context(format!("cannot install `{}`", lock.name));
        error.kind = ErrorKind::Missing;
        if stopped {
            error
        } else if lock.name == EXPORT {
            error.hint(format!("it needs the network once; or name an interpreter that has the packages of `ci/requirements/{}.in` in `{PYTHON_VARIABLE}`", lock.name))
        } else {
            error.hint("it needs the network once")
        }
    })?;
    Ok(())
}

/// Puts what was installed on the disk, then writes the marker.
fn finish(directory: &Path, marker: &Marker) -> Result<()> {
    let text = serde_json::to_vec_pretty(marker).map_err(|error| Error::failed("cannot describe it").because(error))?;
    let folder = std::fs::File::open(directory).map_err(|error| Error::io("open", directory, error))?;
    // One call for thousands of files; after it the marker cannot outlive what it vouches for.
    rustix::fs::syncfs(&folder).map_err(|error| Error::io("write", directory, error.into()))?;
    let path = directory.join(MARKER);
    let partial = directory.join(format!("{MARKER}.partial"));
    std::fs::write(&partial, text).map_err(|error| Error::io("write", &partial, error))?;
    std::fs::rename(&partial, &path).map_err(|error| Error::io("write", &path, error))
}

/// Whether an environment in the store `root` whose file number `which` holds `bytes` is whole by each look; for `fuzzing`.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_planted(root: &Path, which: usize, bytes: &[u8]) -> bool {
    let (Ok(store), Some(lock)) = (Store::open(Some(root.to_owned())), LOCKS.last()) else { return false };
    let directory = directory(&store.installing(false), lock);
    let site = directory.join("site-packages");
    let record = "site-packages/net-1.dist-info/RECORD";
    let planted = [MARKER, "files.json", "stamps.json", record].get(which % 4).copied().unwrap_or(MARKER);
    let marker = r#"{"python": null, "site_packages": "site-packages"}"#;
    let written = std::fs::create_dir_all(site.join("net-1.dist-info")).is_ok()
        && std::fs::write(site.join("libnet.so.1"), "abc").is_ok()
        && std::fs::write(directory.join(record), "").is_ok()
        && std::fs::write(directory.join(MARKER), marker).is_ok()
        && std::fs::write(directory.join(planted), bytes).is_ok();
    let looks = [look(&directory, lock).is_ok(), verify::by_size(&directory).is_ok(), whole(&directory).is_ok()];
    written && looks.contains(&true)
}

#[cfg(test)]
mod tests;

//! Brings a package by its registry's own client, and holds it to its pin.

use std::path::{Path, PathBuf};

use super::source::{Registry, Source};
use crate::convert::environment;
use crate::convert::store::Store;
use crate::convert::tool::{self, Limit};
use crate::digest::digest_file;
use crate::error::{Error, Result};
use crate::process::Command;
use crate::progress::{Progress, Step};

/// Brings the package of `source` into `folder`; returns the file, held to its size and SHA-256.
///
/// # Errors
/// `Missing` where its client is not on this machine or brings nothing; `Input` for what is another package.
pub(super) fn bring(
    store: &Store,
    source: &Source,
    folder: &Path,
    progress: &dyn Progress,
    step: &dyn Step,
) -> Result<PathBuf> {
    let command = match &source.registry {
        Registry::Pip { pip, python, platforms } => {
            let platforms = platforms.iter().flat_map(|platform| ["--platform", platform]);
            environment::pip(store, "download")?
                .args(["--quiet", "--no-deps", "--only-binary", ":all:", "--no-input"])
                .args(["--disable-pip-version-check", "--progress-bar", "off", "--python-version", python])
                .args(platforms)
                .args(["--dest"])
                .arg(folder)
                .args([pip])
        }
        Registry::Maven { maven } => own_variables(Command::new("mvn").fetching())
            .args(["-q", "-B", "-Dstyle.color=never", "dependency:copy", "-Dmdep.useBaseVersion=true"])
            .args([format!("-Dartifact={maven}")])
            .args([format!("-DoutputDirectory={}", folder.display())]),
    };
    tool::run(&command, Limit::install(store.limits()), progress, step).map_err(|failure| {
        let mut error = failure.error.context(format!("cannot fetch TensorRT {}", source.version));
        error.kind = crate::error::ErrorKind::Missing;
        error.hint(match &source.registry {
            Registry::Pip { .. } => "it needs the network; `--from FILE` takes a wheel that was carried here",
            Registry::Maven { .. } => {
                "it needs the network and Maven (`mvn`); `--from FILE` takes a package that was carried here"
            }
        })
    })?;
    let files = std::fs::read_dir(folder).map_err(|error| Error::io("read", folder, error))?;
    let mut files: Vec<PathBuf> = files.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    match (files.pop(), files.is_empty()) {
        (Some(file), true) => {
            step.detail("holding it to its SHA-256");
            hold(source, &file)?;
            Ok(file)
        }
        _ => {
            Err(Error::missing(format!("the client of its registry brought no package of {}", source.registry.told())))
        }
    }
}

/// What Maven finds its Java and its settings by.
fn own_variables(command: Command) -> Command {
    let names = ["JAVA_HOME", "MAVEN_HOME", "MAVEN_OPTS", "MAVEN_ARGS"];
    let set = names.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    set.fold(command, |command, (name, value)| command.env(name, value))
}

/// Holds `file` to what is pinned of `source`.
///
/// # Errors
/// `Input` where its size or SHA-256 is another.
pub(super) fn hold(source: &Source, file: &Path) -> Result<()> {
    let bytes = std::fs::metadata(file).map_err(|error| Error::io("read", file, error))?.len();
    let told = |what: String| {
        Error::input(format!("`{}` is not the package of TensorRT {}: {what}", file.display(), source.version))
            .hint(format!("wanted is {}, sha256 {}", source.registry.told(), source.sha256))
    };
    // A look that costs nothing goes first.
    if bytes != source.bytes {
        return Err(told(format!("it has {bytes} bytes, not {}", source.bytes)));
    }
    let digest = digest_file(file)?;
    match digest == source.sha256 {
        true => Ok(()),
        false => Err(told(format!("its sha256 is {digest}"))),
    }
}

//! An interpreter of the user's own (`TRTGATE_PYTHON`): a container that has TensorFlow is used as it is.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::convert::environment::{EXPORT, Environment, Lock};
use crate::convert::store::{Store, create_directory};
use crate::convert::tool;
use crate::digest::digest_bytes;
use crate::error::{Error, Result};
use crate::files;
use crate::process::{Command, ProcessLimits};

/// Names an interpreter to use in place of the environment `export`.
pub const PYTHON_VARIABLE: &str = "TRTGATE_PYTHON";

/// Asks an interpreter for its folders of packages and for the versions that decide what a conversion gives.
const QUESTION: &str = include_str!("../python/describe.py");

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    site_packages: Vec<PathBuf>,
    versions: BTreeMap<String, Option<String>>,
}

/// What was asked, and of what: an interpreter or a set of packages that changed is asked again.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    stamps: Vec<i128>,
    answer: Answer,
}

/// The interpreter that the user named for `lock`, if any.
pub(super) fn interpreter(lock: &Lock) -> Option<PathBuf> {
    let named = std::env::var_os(PYTHON_VARIABLE).filter(|value| !value.is_empty())?;
    (lock.name == EXPORT).then(|| PathBuf::from(named))
}

/// Describes `python`; the answer is kept in the store, and asked again once the interpreter or its packages change.
pub(super) fn describe(store: &Store, python: &Path) -> Result<Environment> {
    let name = digest_bytes(python.as_os_str().as_encoded_bytes());
    let folder = store.root().join("environments");
    let path = folder.join(format!("external-{}.json", name.get(..16).unwrap_or_default()));
    let known = files::read(&path, files::TEXT).ok().and_then(|text| serde_json::from_slice::<Remembered>(&text).ok());
    let answer = match known {
        Some(known) if known.stamps == stamps(python, &known.answer.site_packages) => known.answer,
        _ => {
            let answer = ask(python, store.limits())?;
            let remembered = Remembered { stamps: stamps(python, &answer.site_packages), answer };
            remember(&folder, &path, &remembered)?;
            remembered.answer
        }
    };
    let versions: Vec<String> = answer
        .versions
        .iter()
        .map(|(name, version)| format!("{name}={}", version.as_deref().unwrap_or("none")))
        .collect();
    Ok(Environment {
        python: Some(python.to_path_buf()),
        site_packages: answer.site_packages,
        identity: digest_bytes(versions.join("\n").as_bytes()),
    })
}

/// Times of the interpreter and of its folders of packages: installing a package changes the latter.
fn stamps(python: &Path, site_packages: &[PathBuf]) -> Vec<i128> {
    std::iter::once(python)
        .chain(site_packages.iter().map(PathBuf::as_path))
        .map(|path| {
            std::fs::metadata(path)
                .map_or(0, |metadata| i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()))
        })
        .collect()
}

fn ask(python: &Path, limits: &ProcessLimits) -> Result<Answer> {
    let refused = |what: &str| {
        Error::missing(format!("`{PYTHON_VARIABLE}` names `{}`, which {what}", python.display()))
            .hint("name a Python 3 interpreter that has TensorFlow, or unset it")
    };
    let command = Command::new(python).args(["-I", "-c", QUESTION]).inside(Path::new("/"));
    // The script is part of the command; what it says of its failure is enough.
    let text = tool::ask(&command, limits).map_err(|error| {
        let refused = refused("does not run").cause(error.message);
        Error { hint: error.hint.or(refused.hint.clone()), ..refused }
    })?;
    serde_json::from_str(text.trim()).map_err(|error| refused("does not answer as Python 3 does").because(error))
}

fn remember(folder: &Path, path: &Path, remembered: &Remembered) -> Result<()> {
    create_directory(folder)?;
    let text = serde_json::to_vec_pretty(remembered)
        .map_err(|error| Error::failed("cannot describe an interpreter").because(error))?;
    let file = tempfile::NamedTempFile::new_in(folder).map_err(|error| Error::io("write into", folder, error))?;
    std::fs::write(file.path(), text).map_err(|error| Error::io("write", file.path(), error))?;
    file.persist(path).map_err(|error| Error::io("write", path, error.error))?;
    Ok(())
}

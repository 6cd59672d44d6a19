//! Writes a servable model into a repository, beside the versions that are there, so that a server which looks at any moment sees
//! the version before, whole, or the new one, whole.
//!
//! Files are written into a folder that is no version, whose name becomes the version's. A first version gets its name when the
//! configuration is there: without it a server would make one up. A later one gets it before, as the old configuration names its
//! own version alone, and the new one then takes its place by a rename. Nothing of an older version is touched.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::config_text::{FIRST_LINE, config_text, labels_file};
use super::folder::{CONFIG, Folder};
use super::servable::Servable;
use crate::atomic;
use crate::error::{Error, Result};
use crate::files;
use crate::runtime::tensorrt::metadata::metadata_path;

/// How folders begin that are on their way; nobody's once their writer's lock is gone.
const STAGED: &str = ".trtgate-";
/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;

/// A model that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its name.
    pub name: String,
    /// The version that is served.
    pub version: i64,
    /// Its file.
    pub file: PathBuf,
}

/// Writes `model` into `repository` as a further version.
///
/// # Errors
/// `Usage`, where a configuration is there that somebody changed or wrote; `Machine`, where the file is not the one it was, or
/// cannot be written; then what was there is served as before.
pub fn publish(repository: &Path, model: &Servable) -> Result<Published> {
    publish_with(repository, model, &mut |_| {})
}

/// As [`publish`]; `after` sees the repository after each step.
pub(super) fn publish_with(repository: &Path, model: &Servable, after: &mut dyn FnMut(&str)) -> Result<Published> {
    let folder = repository.join(&model.name);
    fs::create_dir_all(&folder).map_err(|error| Error::io("create", &folder, error))?;
    let outcome = write(repository, &folder, model, after);
    if outcome.is_err() {
        // A folder without a version would be a model that no server loads; one that holds anything stays.
        let _ = fs::remove_dir(&folder);
    }
    outcome
}

fn write(repository: &Path, folder: &Path, model: &Servable, after: &mut dyn FnMut(&str)) -> Result<Published> {
    let _lock = lock(folder)?;
    sweep(folder);
    let there = Folder::read(repository, &model.name)?;
    changed(&there)?;
    let taken = there.taken.iter().filter_map(|(_, number)| *number);
    let version = there.versions.iter().copied().chain(taken).max().unwrap_or(0).max(0) + 1;
    let text = config_text(model, version);
    let staged = staged(folder, model, &text)?;
    after("staged");
    if !model.labels.is_empty() {
        let lines: String = model.labels.iter().map(|label| format!("{label}\n")).collect();
        atomic::write(&folder.join(labels_file(version)), lines.as_bytes())?;
        after("labels");
    }
    let place = there.version(version);
    let name_it = || {
        let staged = staged.keep();
        fs::rename(&staged, &place).map_err(|error| Error::io("rename", &staged, error))?;
        atomic::sync_folder(folder)
    };
    let configure = || atomic::write(&folder.join(CONFIG), text.as_bytes());
    if there.versions.is_empty() {
        configure()?;
        after("configuration");
        name_it()?;
    } else {
        name_it()?;
        after("version");
        configure()?;
    }
    after("done");
    Ok(Published { name: model.name.clone(), version, file: place.join(model.backend.file()) })
}

/// The lock of the model's folder, which ends with what is returned.
fn lock(folder: &Path) -> Result<File> {
    let file = fs::OpenOptions::new().read(true).open(folder).map_err(|error| Error::io("open", folder, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::machine(format!("another export writes to `{}`", folder.display()))
                .hint("wait for it, then export again"))
        }
        Err(TryLockError::Error(error)) => Err(Error::io("lock", folder, error)),
    }
}

/// Removes what an export left that was killed.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(STAGED) {
            // What stays is in nobody's way.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Refuses a configuration that is not the one that was written for its version.
fn changed(there: &Folder) -> Result<()> {
    let Some(text) = there.config()? else { return Ok(()) };
    let known = there.versions.iter().any(|&version| {
        files::read(&there.version(version).join(CONFIG), super::folder::LARGEST).is_ok_and(|kept| kept == text)
    });
    // One whose version was never finished.
    let unfinished = there.versions.is_empty() && text.starts_with(FIRST_LINE.as_bytes());
    if known || unfinished {
        return Ok(());
    }
    let path = there.path.join(CONFIG);
    Err(Error::usage(format!("`{}` was written or changed by hand, and is not overwritten", path.display()))
        .hint("keep it elsewhere and delete it, or export into another folder; `VERSION/config.pbtxt` is the one that was written"))
}

/// The version's files, whole and held to their digest, in a folder that no server takes for a version.
fn staged(folder: &Path, model: &Servable, text: &str) -> Result<tempfile::TempDir> {
    let staged = tempfile::Builder::new()
        .prefix(STAGED)
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(folder)
        .map_err(|error| Error::io("create a folder in", folder, error))?;
    let file = staged.path().join(model.backend.file());
    let sha256 = copy(&model.file, &file)?;
    if sha256 != model.sha256 {
        return Err(Error::machine(format!("`{}` changed while it was copied", model.file.display()))
            .cause(format!("it was {}, and the copy is {sha256}", model.sha256))
            .hint("export again when nothing writes to it"));
    }
    if let Some(beside) = &model.beside {
        copy(beside, &metadata_path(&file))?;
    }
    // What serves this version, for whoever goes back to it.
    atomic::write(&staged.path().join(CONFIG), text.as_bytes())?;
    atomic::sync_folder(staged.path())?;
    Ok(staged)
}

/// Copies a file, however large; the digest of what was written.
fn copy(from: &Path, to: &Path) -> Result<String> {
    let mut source = files::Source::open(from).map_err(|error| Error::io("read", from, error))?;
    let mut target = atomic::AtomicFile::create(to)?;
    let (mut digest, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        let read = source.read(&mut chunk).map_err(|error| Error::io("read", from, error))?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        digest.update(bytes);
        target.write_all(bytes).map_err(|error| Error::io("write", to, error))?;
    }
    target.commit()?;
    Ok(hex::encode(digest.finalize()))
}

//! Who uses what of the store. Each entry that a process has looked at is held by it until it ends, so that nobody clears it
//! away meanwhile; the file that is locked for that tells the last use by its time, and by its text who asked.
//!
//! ```text
//! ROOT/.uses/KIND-HEX    locked together by whoever uses the entry, alone by whoever removes it
//! ```
//!
//! These files stay when their entry goes: a lock on a file that was removed holds nothing.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use super::removal::Guard;
use crate::files;

/// The folder of the files.
const FOLDER: &str = ".uses";
/// Bytes of names that are kept for an entry.
const MOST: u64 = 1 << 14;

/// Holds the entry `name` (`KIND-HEX`) of the store `root` for as long as this process lives, and notes the time and who asked.
///
/// In a store that may not be written to nothing is noted, and nothing removed either.
pub(crate) fn hold(root: &Path, name: &str, asked: Option<&Path>) {
    static HELD: OnceLock<Mutex<HashMap<PathBuf, File>>> = OnceLock::new();
    let path = root.join(FOLDER).join(name);
    let mut held = HELD.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if held.contains_key(&path) {
        return;
    }
    let Ok(file) = open(&path) else { return };
    // Whoever removes an entry has this alone for the time of a rename.
    if file.lock_shared().is_err() {
        return;
    }
    note(&file, &path, asked);
    held.insert(path, file);
}

/// Writes down who asked, if that is new, and the time. A full disk is no reason to fail.
fn note(mut file: &File, path: &Path, asked: Option<&Path>) {
    if let Some(line) = asked.and_then(Path::to_str).filter(|line| !line.contains('\n')) {
        let known = files::read_text(path, files::TEXT).unwrap_or_default();
        if known.len() as u64 <= MOST && !known.lines().any(|other| other == line) {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
    let _ = file.set_modified(SystemTime::now());
}

fn open(path: &Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Opened to append, so that two who note at once both do.
    OpenOptions::new().create(true).append(true).open(path)
}

/// What is known of the uses of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// When it was used last; `None` where nobody noted it.
    pub(crate) last: Option<SystemTime>,
    /// The manifests that asked for it.
    pub(crate) asked: Vec<String>,
}

/// The uses of the entry `name` of the store `root`.
pub(crate) fn of(root: &Path, name: &str) -> Uses {
    let path = root.join(FOLDER).join(name);
    let last = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
    let text = files::read_text(&path, files::TEXT).unwrap_or_default();
    Uses { last, asked: text.lines().map(str::to_owned).collect() }
}

/// The entry `name` of the store `root` alone, until this is dropped; `None` where somebody uses it. Where no use was ever noted,
/// `last` is, so that asking is none; with `touch` false nothing is written.
///
/// # Errors
/// That of the system: without the lock nobody knows who uses it.
pub(crate) fn alone(root: &Path, name: &str, last: SystemTime, touch: bool) -> std::io::Result<Option<Guard>> {
    let path = root.join(FOLDER).join(name);
    if !path.exists() {
        if !touch {
            return Ok(Some(Guard::default()));
        }
        open(&path)?.set_modified(last)?;
    }
    Guard::try_alone(open(&path)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Whoever asked is told once, however often; beyond what is kept of an entry only the time is.
    #[test]
    fn who_asked_is_noted_once() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(FOLDER).join("onnx-fp32-ab");
        let asked = |manifest: &str| {
            let file = open(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
            note(&file, &path, Some(Path::new(manifest)));
            let uses = of(root.path(), "onnx-fp32-ab");
            assert!(uses.last.is_some_and(|last| last > SystemTime::UNIX_EPOCH), "{uses:?}");
            uses.asked
        };
        assert_eq!(asked("/a/gate.toml"), ["/a/gate.toml"]);
        assert_eq!(asked("/a/gate.toml"), ["/a/gate.toml"]);
        assert_eq!(asked("/b/gate.toml"), ["/a/gate.toml", "/b/gate.toml"]);
        assert_eq!(asked("/a/gate.toml"), ["/a/gate.toml", "/b/gate.toml"]);
        assert_eq!(asked("/two\nlines"), ["/a/gate.toml", "/b/gate.toml"]);
        std::fs::write(&path, "x".repeat(MOST as usize + 1)).unwrap();
        assert_eq!(asked("/c/gate.toml").len(), 1);
    }
}

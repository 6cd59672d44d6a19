//! Removing what lies in the store: renamed away first, so that nobody ever sees a part of it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::open_lock;

/// Start of the name under which what is removed lies until it is gone.
const PREFIX: &str = ".removed-";

/// Removes the folder `path`, whole as far as anybody can see; says whether it was there. A rename beside it needs no place on a
/// full disk.
///
/// # Errors
/// That of the system, for the rename. What is left behind it is swept later.
pub(crate) fn folder(path: &Path) -> io::Result<bool> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let away = path.with_file_name(format!("{PREFIX}{name}-{}-{number}", std::process::id()));
    match std::fs::rename(path, &away) {
        // Somebody else was first.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        outcome => outcome?,
    }
    let _ = std::fs::remove_dir_all(&away);
    Ok(true)
}

/// Removes a file, if it is there.
///
/// # Errors
/// That of the system.
pub(crate) fn file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A lock that nobody else has while this lives; one whose file is not there is free.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    _file: Option<File>,
}

impl Guard {
    /// Locks `file` alone; `None` where somebody else has it.
    ///
    /// # Errors
    /// That of the system.
    pub(crate) fn try_alone(file: File) -> io::Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The lock that whoever makes `name` takes; `None` while somebody makes it. With `touch` false nothing is written.
///
/// # Errors
/// That of the system.
pub(crate) fn maker(root: &Path, name: &str, touch: bool) -> io::Result<Option<Guard>> {
    let path = root.join(".locks").join(name);
    if !touch && !path.exists() {
        return Ok(Some(Guard::default()));
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Guard::try_alone(open_lock(&path)?)
}

/// Removes what a kill left half removed: it has no name that anybody looks for.
pub(crate) fn sweep(root: &Path) {
    for folder in std::fs::read_dir(root).into_iter().flatten().flatten() {
        for entry in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_not_there_is_removed_and_what_cannot_be_is_said() {
        let root = tempfile::tempdir().unwrap();
        let [path, inside] = ["one", "one/two"].map(|name| root.path().join(name));
        assert!(!folder(&path).unwrap());
        std::fs::create_dir_all(&inside).unwrap();
        assert!(folder(&path).unwrap());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);

        file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        // Below a file there is no folder.
        assert!(folder(&inside).is_err());
        file(&path).unwrap();
        assert!(!path.exists());
        std::fs::create_dir(&path).unwrap();
        assert!(file(&path).is_err(), "a folder is no file");
    }
}

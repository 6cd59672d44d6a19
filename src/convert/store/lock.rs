//! The lock of what is made in the store.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Store, create_directory};
use crate::error::{Error, Result};
use crate::files;

/// Takes the lock `name` of `store`, and waits for it as long as the store's limit says; `what` is what its holder does. The
/// lock ends with the returned file, in which its holder's id stands.
///
/// # Errors
/// `Machine` if it cannot be had, with the holder's id.
pub(crate) fn lock_file(store: &Store, name: &str, what: &str) -> Result<File> {
    let path = store.root.join(".locks").join(name);
    if let Some(parent) = path.parent() {
        create_directory(parent)?;
    }
    let limit = store.limits.lock;
    let mut file = open_lock(&path).map_err(|error| Error::io("open", &path, error))?;
    let started = Instant::now();
    let mut pause = Duration::from_millis(5);
    let mut waits = 0;
    loop {
        match file.try_lock() {
            Ok(()) => {
                // It only names the holder to those who wait, so that a full disk is no reason to fail.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                return Ok(file);
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path, error)),
        }
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(Error::machine(format!("{} {what} and has not ended within {} s", holder(&path), limit.as_secs()))
                .hint("wait for it or end it; `[limits] lock-seconds` in the manifest or `--lock-limit` sets how long is waited"));
        }
        // Whoever has just got it writes its id next.
        waits += 1;
        if waits == 2 {
            store.progress.note(&format!("waiting for {}, which {what}", holder(&path)));
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// Who holds a lock, in words.
fn holder(path: &Path) -> String {
    let text = files::read_text(path, files::TEXT).unwrap_or_default();
    match text.trim().parse::<u32>() {
        Ok(process) => format!("another process ({process})"),
        Err(_) => "another process".to_owned(),
    }
}

pub(super) fn open_lock(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

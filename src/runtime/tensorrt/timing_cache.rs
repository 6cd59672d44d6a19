//! Timing caches: what the builder measured, kept with the digest and environment that it is valid for.
//!
//! A cache makes builds faster and, more to the point, repeatable: with every tactic timed before, the builder chooses the
//! same kernels again.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;
use crate::manifest::TimingCacheMode;
use crate::runtime::tensorrt::log::Line;
use crate::runtime::tensorrt::metadata::{Environment, metadata_path, sha256, write_whole};

/// The cache's record, `CACHE.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Digest of the cache's bytes.
    pub sha256: String,
    /// Size, bytes.
    pub bytes: u64,
    /// Where it was measured.
    pub environment: Environment,
}

/// What a build did with its timing cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimingCacheOutcome {
    /// Digest of the cache after the build.
    pub sha256: String,
    /// Size after the build, bytes.
    pub bytes: u64,
    /// Size before the build; 0 for a new one.
    pub bytes_before: u64,
    /// The library could not read back what it had written of some layers, and timed these again.
    #[serde(default)]
    pub partly_unread: bool,
}

/// Whether the library said that it left a part of the cache unread.
///
/// TensorRT 8.5 cannot read back what it writes for the parts of a network that its compiler Myelin fuses (matrix products, for
/// one). It logs an error that reads as if the whole cache were lost, uses the other entries, and answers with success.
pub fn was_partly_unread(lines: &[Line]) -> bool {
    lines.iter().any(|line| line.text.contains("timing cache will not be used"))
}

/// The cache of one build: its file, and the bytes to start from.
#[derive(Debug)]
pub struct TimingCache {
    path: PathBuf,
    mode: TimingCacheMode,
    /// Bytes to give to the builder; empty for a new cache.
    pub start: Vec<u8>,
}

impl TimingCache {
    /// Reads the cache at `path` as `mode` asks: `record` starts anew where the file is absent, damaged or belongs
    /// elsewhere, `verified` makes each of these an error.
    pub fn open(path: &Path, mode: TimingCacheMode, here: &Environment) -> Result<Option<Self>> {
        if mode == TimingCacheMode::Off {
            return Ok(None);
        }
        let guard = lock(path)?;
        let read = read(path, here);
        drop(guard);
        let start = match (read, mode) {
            (Ok(bytes), _) => bytes,
            (Err(error), TimingCacheMode::Verified) => {
                return Err(
                    error.hint("record one with `timing_cache = \"record\"` on this machine, then verify against it")
                );
            }
            (Err(_), _) => Vec::new(),
        };
        Ok(Some(Self { path: path.to_path_buf(), mode, start }))
    }

    /// Takes the cache after the build: `record` stores it if it grew, `verified` refuses one that had to grow.
    ///
    /// Entries are only ever added, but not always written in the same order: length tells whether there are new ones.
    pub fn close(&self, bytes: &[u8], here: &Environment) -> Result<TimingCacheOutcome> {
        let grown = bytes.len() != self.start.len();
        let kept = if grown { bytes } else { &self.start };
        let outcome = TimingCacheOutcome {
            sha256: sha256(kept),
            bytes: kept.len() as u64,
            bytes_before: self.start.len() as u64,
            partly_unread: false,
        };
        if !grown {
            return Ok(outcome);
        }
        if self.mode == TimingCacheMode::Verified {
            return Err(Error::invalid(format!(
                "the timing cache `{}` lacks tactics that this build had to time: {} bytes became {}",
                self.path.display(),
                self.start.len(),
                bytes.len()
            ))
            .hint("record it again with this model and these options"));
        }
        let record = Record { sha256: outcome.sha256.clone(), bytes: outcome.bytes, environment: here.clone() };
        let text = serde_json::to_vec_pretty(&record)
            .map_err(|error| Error::failed("cannot encode the timing cache's record").because(error))?;
        let _lock = lock(&self.path)?;
        write_whole(&self.path, bytes)?;
        write_whole(&metadata_path(&self.path), &text)?;
        Ok(outcome)
    }
}

/// Holds off other processes that read or write the cache and its record, until it is dropped.
fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| Error::io("make", folder, error))?;
    }
    let file = File::create(&path).map_err(|error| Error::io("write", &path, error))?;
    file.lock().map_err(|error| Error::io("lock", &path, error))?;
    Ok(file)
}

/// The cache's bytes, if its record says that they are whole and valid here.
fn read(path: &Path, here: &Environment) -> Result<Vec<u8>> {
    let invalid =
        |reason: String| Error::invalid(format!("the timing cache `{}` cannot be used", path.display())).cause(reason);
    let bytes = files::read(path, files::MODEL).map_err(|error| invalid(error.to_string()))?;
    let record =
        files::read(&metadata_path(path), files::MODEL).map_err(|error| invalid(format!("its record: {error}")))?;
    let record: Record = serde_json::from_slice(&record).map_err(|error| invalid(format!("its record: {error}")))?;
    if record.sha256 != sha256(&bytes) {
        return Err(invalid("its bytes are not those that were recorded".to_owned()));
    }
    match record.environment.difference(here) {
        Some(difference) => Err(invalid(difference)),
        None => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::runtime::tensorrt::log::Severity;
    use crate::runtime::tensorrt::metadata::tests::environment;

    #[test]
    fn a_recorded_cache_verifies_until_it_is_touched_or_moved() {
        let folder = tempfile::tempdir().unwrap();
        let (path, here) = (folder.path().join("timing.cache"), environment());
        assert!(TimingCache::open(&path, TimingCacheMode::Off, &here).unwrap().is_none());
        assert!(TimingCache::open(&path, TimingCacheMode::Verified, &here).is_err());

        let fresh = TimingCache::open(&path, TimingCacheMode::Record, &here).unwrap().unwrap();
        assert!(fresh.start.is_empty());
        fresh.close(b"measured", &here).unwrap();

        let verified = TimingCache::open(&path, TimingCacheMode::Verified, &here).unwrap().unwrap();
        assert_eq!(verified.start, b"measured");
        verified.close(b"measured", &here).unwrap();
        let error = verified.close(b"measured more", &here).unwrap_err();
        assert!(error.message.contains("lacks tactics"), "{error}");

        let moved = Environment { gpu: Some("another".to_owned()), ..here.clone() };
        assert!(TimingCache::open(&path, TimingCacheMode::Verified, &moved).is_err());
        assert!(TimingCache::open(&path, TimingCacheMode::Record, &moved).unwrap().unwrap().start.is_empty());

        std::fs::write(&path, "touched").unwrap();
        let error = TimingCache::open(&path, TimingCacheMode::Verified, &here).unwrap_err();
        assert!(error.to_string().contains("not those that were recorded"), "{error}");
    }

    #[test]
    fn what_the_library_left_unread_is_noticed() {
        let line = |text: &str| Line { severity: Severity::Error, text: text.to_owned() };
        let lines = [line("Myelin error from unknown graph"), line("4: The timing cache will not be used!")];
        assert!(was_partly_unread(&lines) && !was_partly_unread(&lines[..1]));
    }
}

//! What the store's folder holds, by kind, size and last use, and clearing it: by age, size and kind, oldest first, never what a
//! running process uses or makes, and nothing by half.
//!
//! An entry is removed by renaming it away, under the lock that whoever makes it takes and alone among its users; then its
//! files go. What a kill leaves of that is swept by the next who makes or clears anything.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use time::OffsetDateTime;

use super::store::{Store, removal, uses};
use crate::error::{Error, Result};

/// Folders of the cache that are no kind of entry.
const TIMING_CACHES: &str = "timing-caches";
const ENVIRONMENTS: &str = "environments";

/// What entries are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Python packages: converters and runtimes. Making them again takes the network.
    Environments,
    /// Copies of models as they were gated.
    Models,
    /// Converted models.
    Artifacts,
    /// TensorRT engines.
    Engines,
    /// Tactics that TensorRT timed.
    TimingCaches,
    /// Probes and calibration samples.
    Samples,
    /// What the reference answered, and what was found of scales.
    References,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Environments,
        Self::Models,
        Self::Artifacts,
        Self::Engines,
        Self::TimingCaches,
        Self::Samples,
        Self::References,
    ];

    /// The kind of what lies in the store's folder `name`.
    fn of(name: &str) -> Self {
        match name {
            ENVIRONMENTS => Self::Environments,
            "model" => Self::Models,
            "engine" => Self::Engines,
            TIMING_CACHES => Self::TimingCaches,
            "probes" | "calibration-samples" => Self::Samples,
            "natural" | "scale-proof" => Self::References,
            _ => Self::Artifacts,
        }
    }

    /// Its name, as on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Environments => "environments",
            Self::Models => "models",
            Self::Artifacts => "artifacts",
            Self::Engines => "engines",
            Self::TimingCaches => "timing-caches",
            Self::Samples => "samples",
            Self::References => "references",
        }
    }
}

/// One thing that can be cleared alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What it is for.
    pub kind: Kind,
    /// Its path, relative to the cache.
    pub path: PathBuf,
    /// Bytes of all its files.
    pub bytes: u64,
    /// When it was used last; when it was made, where no use was noted.
    #[serde(with = "time::serde::rfc3339")]
    pub last_use: OffsetDateTime,
    /// The manifests that asked for it, where they were noted.
    pub asked_by: Vec<String>,
    /// Whether its record cannot be read: it would be made again.
    pub damaged: bool,
}

/// What a cache holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// The folder.
    pub root: PathBuf,
    /// Bytes of all items.
    pub bytes: u64,
    /// What lies there, least recently used first.
    pub items: Vec<Item>,
}

/// What goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criteria {
    /// What was not used for so long.
    pub older_than: Option<Duration>,
    /// The least recently used, until all that is left takes no more.
    pub larger_than: Option<u64>,
    /// Of these kinds alone; all where empty.
    pub kinds: Vec<Kind>,
    /// Whether environments stay, whatever their age.
    pub keep_environments: bool,
}

/// What clearing did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// The folder.
    pub root: PathBuf,
    /// Whether nothing was touched.
    pub dry_run: bool,
    /// What went.
    pub removed: Vec<Item>,
    /// What would have gone, and is in use by a running process.
    pub in_use: Vec<Item>,
    /// What could not be removed, and why.
    pub failed: Vec<(Item, String)>,
    /// Bytes that are free now.
    pub freed_bytes: u64,
    /// Bytes that are left.
    pub left_bytes: u64,
}

/// Lists what `store` holds.
///
/// # Errors
/// If its folder is there and cannot be read.
pub fn contents(store: &Store) -> Result<Contents> {
    let root = store.root().to_owned();
    let mut items = Vec::new();
    for folder in folders(&root)? {
        let Some(name) = folder.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
        let kind = Kind::of(&name);
        for path in entries(&folder)? {
            let Some(entry) = path.file_name().and_then(|entry| entry.to_str()) else { continue };
            let file = match kind {
                Kind::TimingCaches if path.is_file() && entry.ends_with(".cache") => path.clone(),
                Kind::Environments if path.is_dir() => path.join("complete.json"),
                // What is no entry of the store (tools of a repository's CI, files of a person) is nobody's here.
                Kind::TimingCaches | Kind::Environments => continue,
                _ if is_key(entry) && path.is_dir() => path.join("entry.json"),
                _ => continue,
            };
            let uses = uses::of(&root, &format!("{name}-{entry}"));
            let made = std::fs::metadata(&file).or_else(|_| std::fs::metadata(&path));
            let made = made.and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let bytes = match kind {
                Kind::TimingCaches => of_timing_cache(&path).iter().map(|path| size(path)).sum(),
                _ => size(&path),
            };
            items.push(Item {
                kind,
                bytes,
                path: Path::new(&name).join(entry),
                last_use: uses.last.map_or(made, |last| last.max(made)).into(),
                asked_by: uses.asked,
                damaged: kind != Kind::TimingCaches && !file.is_file(),
            });
        }
    }
    items.sort_by(|one, other| one.last_use.cmp(&other.last_use).then_with(|| one.path.cmp(&other.path)));
    Ok(Contents { root, bytes: items.iter().map(|item| item.bytes).sum(), items })
}

/// Clears what `criteria` names, as things are at `now`; with `dry_run` it only says what would go.
///
/// # Errors
/// If the cache cannot be read. What cannot be removed is among what failed.
pub fn prune(store: &Store, criteria: &Criteria, dry_run: bool, now: OffsetDateTime) -> Result<Pruned> {
    let Contents { root, bytes, items } = contents(store)?;
    if !dry_run {
        removal::sweep(&root);
    }
    let mut done = Pruned {
        root: root.clone(),
        dry_run,
        removed: Vec::new(),
        in_use: Vec::new(),
        failed: Vec::new(),
        freed_bytes: 0,
        left_bytes: bytes,
    };
    for item in items {
        let of_kind = criteria.kinds.is_empty() || criteria.kinds.contains(&item.kind);
        let stays = !of_kind || (criteria.keep_environments && item.kind == Kind::Environments);
        let old = criteria.older_than.is_some_and(|age| now - item.last_use > age);
        let too_much = criteria.larger_than.is_some_and(|most| done.left_bytes > most);
        if stays || !(old || too_much) {
            continue;
        }
        match remove(store, &item, dry_run) {
            Ok(Outcome::Removed) => {
                done.freed_bytes += item.bytes;
                done.left_bytes = done.left_bytes.saturating_sub(item.bytes);
                done.removed.push(item);
            }
            Ok(Outcome::InUse) => done.in_use.push(item),
            Ok(Outcome::Gone) => done.left_bytes = done.left_bytes.saturating_sub(item.bytes),
            Err(error) => done.failed.push((item, error.to_string())),
        }
    }
    Ok(done)
}

/// What became of an item.
enum Outcome {
    Removed,
    /// Somebody uses it, or makes it.
    InUse,
    /// Somebody else removed it.
    Gone,
}

/// Removes `item`, unless somebody uses or makes it.
fn remove(store: &Store, item: &Item, dry_run: bool) -> Result<Outcome> {
    let path = store.root().join(&item.path);
    let failed = |error| Error::io("remove", &path, error);
    let (kind, entry) = (name_of(item.path.parent()), name_of(Some(&item.path)));
    if item.kind == Kind::TimingCaches {
        // A build has read the whole of it before it starts, and writes the whole of it.
        if !dry_run {
            of_timing_cache(&path).iter().try_for_each(|file| removal::file(file)).map_err(failed)?;
        }
        return Ok(Outcome::Removed);
    }
    let (used_as, last) = (format!("{kind}-{entry}"), SystemTime::from(item.last_use));
    let alone = uses::alone(store.root(), &used_as, last, !dry_run).map_err(failed)?;
    let Some(_alone) = alone else { return Ok(Outcome::InUse) };
    let maker = match item.kind {
        // Their folder is named by the lock file's digest as well.
        Kind::Environments => {
            format!("environment-{}", entry.rsplit_once('-').map_or(entry.as_str(), |(name, _)| name))
        }
        _ => format!("{kind}-{entry}"),
    };
    let maker = removal::maker(store.root(), &maker, !dry_run).map_err(failed)?;
    let Some(_maker) = maker else { return Ok(Outcome::InUse) };
    if dry_run {
        return Ok(Outcome::Removed);
    }
    Ok(if removal::folder(&path).map_err(failed)? { Outcome::Removed } else { Outcome::Gone })
}

fn name_of(path: Option<&Path>) -> String {
    path.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned()
}

/// A timing cache and its record; the file of its lock stays.
fn of_timing_cache(path: &Path) -> [PathBuf; 2] {
    let mut record = path.as_os_str().to_owned();
    record.push(".json");
    [path.to_owned(), PathBuf::from(record)]
}

fn is_key(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Visible folders of the cache.
fn folders(root: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(root)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// What lies in `folder` and is not hidden, by name; nothing where there is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::io("read", folder, error);
    let mut paths = Vec::new();
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(paths),
        Err(error) => return Err(failed(error)),
    };
    for entry in listed {
        let path = entry.map_err(failed)?.path();
        if !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Bytes of every file at or under `path`; links are not followed. What vanishes meanwhile counts nothing.
fn size(path: &Path) -> u64 {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let inside = std::fs::read_dir(path).into_iter().flatten().flatten();
    inside.map(|entry| size(&entry.path())).sum()
}

#[cfg(test)]
mod tests;

//! The content-addressed store: everything that is made is kept under a key of everything that can change it.
//!
//! ```text
//! ROOT/KIND/HEX/            an entry: its files and `entry.json`
//! ROOT/.staging/KIND-HEX/   holds a folder for an entry being made; renamed when it is complete and on the disk
//! ROOT/.locks/KIND-HEX      held while the entry is made, so that parallel processes make it once
//! ROOT/.uses/KIND-HEX       held by each process that uses the entry, until it ends (`uses`)
//! ```
//!
//! A staging folder belongs to whoever holds the lock of its key. One whose lock is free belongs to a process that is
//! gone, and is swept away; that holds across containers too, where process ids would not.

mod lock;
mod past;
pub(super) mod removal;
pub(super) mod uses;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::digest::{digest_bytes, digest_file, files_under};
use crate::error::{Error, Result};
use crate::files;
use crate::process::ProcessLimits;
use crate::progress::{Progress, Quiet};

pub(crate) use lock::lock_file;
use lock::open_lock;
pub(crate) use past::Made;

/// Name of the record in every entry.
const RECORD: &str = "entry.json";

/// Moves the store.
pub const CACHE_VARIABLE: &str = "TRTGATE_CACHE";

/// Everything that can change what is made: a kind, and named values in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    kind: String,
    fields: Vec<(String, String)>,
}

impl Key {
    /// A key of `kind`: lower-case letters, digits, `-` and `.`, as it names a folder.
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), fields: Vec::new() }
    }

    /// Adds a named value.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.fields.push((name.into(), value.to_string()));
        self
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// SHA-256 of the canonical JSON `["kind",[["name","value"],…]]`, lower-case hexadecimal.
    pub fn hex(&self) -> String {
        let canonical = serde_json::json!([self.kind, self.fields]);
        digest_bytes(canonical.to_string().as_bytes())
    }

    fn check(&self) -> Result<()> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        if self.kind.is_empty() || self.kind.starts_with('.') || !self.kind.bytes().all(plain) {
            return Err(Error::usage(format!("`{}` cannot name a kind of entry", self.kind)));
        }
        Ok(())
    }
}

/// Digest and size of one file of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// What `entry.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    key: Key,
    files: BTreeMap<String, FileRecord>,
    seconds: f64,
    #[serde(with = "time::serde::rfc3339")]
    created: OffsetDateTime,
}

/// A complete, verified entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its folder.
    pub directory: PathBuf,
    /// Its files by relative path.
    pub files: BTreeMap<String, FileRecord>,
    /// Seconds that making it took.
    pub seconds: f64,
    /// When it was made.
    pub created: OffsetDateTime,
    /// Whether it was found, not made by this call.
    pub cached: bool,
}

impl Entry {
    /// Path and record of the file `name`; an error if the entry has no such file.
    pub fn file(&self, name: &str) -> Result<(PathBuf, &FileRecord)> {
        let record = self
            .files
            .get(name)
            .ok_or_else(|| Error::failed(format!("store entry `{}` has no file `{name}`", self.directory.display())))?;
        Ok((self.directory.join(name), record))
    }

    fn new(directory: PathBuf, record: Record, cached: bool) -> Self {
        Self { directory, files: record.files, seconds: record.seconds, created: record.created, cached }
    }
}

/// The store in one folder.
#[derive(Clone)]
pub struct Store {
    root: PathBuf,
    progress: Arc<dyn Progress>,
    installs: bool,
    limits: ProcessLimits,
    /// The manifest for which things are made.
    asking: Option<PathBuf>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in `root`, or in the default folder: `TRTGATE_CACHE`, else `trtgate` under the user's cache
    /// folder. Nothing is written until something is made.
    pub fn open(root: Option<PathBuf>) -> Result<Self> {
        let root = match root {
            Some(root) => root,
            None => default_root(&|name| std::env::var_os(name))?,
        };
        // Keys of running processes must name the same folder wherever a process is started.
        let root = std::path::absolute(&root).map_err(|error| Error::io("resolve", &root, error))?;
        Ok(Self { root, progress: Arc::new(Quiet), installs: true, limits: ProcessLimits::default(), asking: None })
    }

    /// Tells `progress` about waiting, sweeping and remaking.
    #[must_use]
    pub fn reporting(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// Allows or forbids to install environments in it.
    #[must_use]
    pub fn installing(mut self, allowed: bool) -> Self {
        self.installs = allowed;
        self
    }

    /// Sets how long what it makes may take.
    #[must_use]
    pub fn limiting(mut self, limits: ProcessLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Notes of what is used that it is for `manifest`.
    #[must_use]
    pub fn asking(mut self, manifest: &Path) -> Self {
        self.asking = std::path::absolute(manifest).ok();
        self
    }

    /// Holds the entry `name` (`KIND-HEX`) until this process ends.
    pub(super) fn hold(&self, name: &str) {
        uses::hold(&self.root, name, self.asking.as_deref());
    }

    /// How long what it makes may take.
    pub(crate) const fn limits(&self) -> &ProcessLimits {
        &self.limits
    }

    /// Whether environments may be installed in it.
    pub(super) const fn installs(&self) -> bool {
        self.installs
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The entry of `key`, if it is here and its files have the sizes and digests that were recorded.
    pub fn get(&self, key: &Key) -> Result<Option<Entry>> {
        key.check()?;
        Ok(self.held(key).ok().map(|record| Entry::new(self.directory(key), record, true)))
    }

    /// The entry of `key`; `make` fills the folder it is given if there is none. An entry that was altered or
    /// truncated is removed and made again, with a note. When `make` fails nothing is left.
    pub fn get_or_make(&self, key: &Key, make: impl FnOnce(&Path) -> Result<()>) -> Result<Entry> {
        if let Some(entry) = self.get(key)? {
            return Ok(entry);
        }
        create_directory(&self.root)?;
        self.sweep_once();
        let _lock = self.lock(key)?;
        let directory = self.directory(key);
        // Another process may have made it while this one waited.
        match self.held(key) {
            Ok(record) => return Ok(Entry::new(directory, record, true)),
            Err(Defect::Absent) => {}
            Err(Defect::Altered(what)) => {
                self.progress.note(&format!("`{}` is damaged ({what}), making it again", directory.display()));
                remove_directory(&directory)?;
            }
        }
        let staging = Staging::new(self.staging(key))?;
        let started = Instant::now();
        make(&staging.path)?;
        let record = Record {
            key: key.clone(),
            files: record_files(&staging.path)?,
            seconds: started.elapsed().as_secs_f64(),
            created: OffsetDateTime::now_utc(),
        };
        let path = staging.path.join(RECORD);
        let mut text = serde_json::to_vec_pretty(&record)
            .map_err(|error| Error::failed("cannot describe a store entry").because(error))?;
        text.push(b'\n');
        std::fs::write(&path, text).map_err(|error| Error::io("write", &path, error))?;
        synchronise_tree(&staging.path)?;
        self.hold(&name_of(key));
        staging.publish(&directory)?;
        Ok(Entry::new(directory, record, false))
    }

    fn directory(&self, key: &Key) -> PathBuf {
        self.root.join(key.kind()).join(key.hex())
    }

    fn staging(&self, key: &Key) -> PathBuf {
        self.staging_of(&name_of(key))
    }

    /// The folder in which what the lock `name` stands for is made.
    pub(super) fn staging_of(&self, name: &str) -> PathBuf {
        self.root.join(".staging").join(name)
    }

    fn lock(&self, key: &Key) -> Result<File> {
        lock_file(self, &name_of(key), &format!("makes {}", key.kind()))
    }

    /// Removes staging folders whose lock is free: their process is gone.
    fn sweep(&self) {
        removal::sweep(&self.root);
        let Ok(entries) = std::fs::read_dir(self.root.join(".staging")) else { return };
        for entry in entries.flatten() {
            let lock = self.root.join(".locks").join(entry.file_name());
            let Ok(file) = open_lock(&lock) else { continue };
            if file.try_lock().is_ok() {
                // What cannot be removed now is tried again by the next process.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    fn sweep_once(&self) {
        static SWEPT: OnceLock<Mutex<HashMap<PathBuf, Arc<Once>>>> = OnceLock::new();
        let once = {
            let mut swept = SWEPT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(swept.entry(self.root.clone()).or_insert_with(|| Arc::new(Once::new())))
        };
        once.call_once(|| self.sweep());
    }

    /// The entry of `key`, held before it is looked at: what was looked at stays.
    fn held(&self, key: &Key) -> Result<Record, Defect> {
        if self.directory(key).exists() {
            self.hold(&name_of(key));
        }
        self.verified(key)
    }

    fn verified(&self, key: &Key) -> Result<Record, Defect> {
        let directory = self.directory(key);
        let path = directory.join(RECORD);
        let text = match files::read(&path, files::RECORD) {
            Ok(text) => text,
            Err(_) if !directory.exists() => return Err(Defect::Absent),
            Err(error) => return Err(Defect::Altered(format!("`{RECORD}`: {error}"))),
        };
        let record: Record =
            serde_json::from_slice(&text).map_err(|error| Defect::Altered(format!("`{RECORD}`: {error}")))?;
        if record.key != *key {
            return Err(Defect::Altered(format!("`{RECORD}` is of another entry")));
        }
        let files = files_under(&directory).map_err(|error| Defect::Altered(error.to_string()))?;
        let names = files.iter().map(|(name, _)| name).filter(|name| *name != RECORD);
        if !names.eq(record.files.keys()) {
            return Err(Defect::Altered("files are missing or were added".to_owned()));
        }
        for (name, expected) in &record.files {
            verify_file(&directory.join(name), expected)
                .map_err(|what| Defect::Altered(format!("`{name}`: {what}")))?;
        }
        Ok(record)
    }
}

/// The name of an entry's locks and of its folder for staging.
fn name_of(key: &Key) -> String {
    format!("{}-{}", key.kind(), key.hex())
}

/// Why an entry cannot be used.
enum Defect {
    Absent,
    Altered(String),
}

/// The default folder of the store.
fn default_root(variable: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Result<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(CACHE_VARIABLE)
        .or_else(|| set("XDG_CACHE_HOME").filter(|path| path.is_absolute()).map(|path| path.join("trtgate")))
        .or_else(|| set("HOME").map(|home| home.join(".cache").join("trtgate")))
        .ok_or_else(|| {
            Error::machine("no folder for the cache: `HOME` is not set").hint("set `TRTGATE_CACHE` to a folder")
        })
}

/// A folder that vanishes unless it is published.
pub(crate) struct Staging {
    /// The folder of the key.
    outer: PathBuf,
    /// The folder to fill.
    path: PathBuf,
}

impl Staging {
    /// An empty folder below `outer`, which the caller has locked.
    pub(crate) fn new(outer: PathBuf) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // What lies here belongs to a process that is gone. A tool of it may still write there for a moment: it must find
        // its folder gone, not this one, and what it leaves is removed by the next who comes.
        let _ = remove_directory(&outer);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
        let path = outer.join(format!("{}-{count}-{now:x}", std::process::id()));
        create_directory(&path)?;
        Ok(Self { outer, path })
    }

    /// The folder to fill.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Publishes it where something unusable may lie.
    pub(crate) fn replace(self, directory: &Path) -> Result<()> {
        // Moved, then removed with the rest: who still writes into it is in nobody's way.
        match std::fs::rename(directory, self.outer.join("replaced")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("move", directory, error)),
            _ => self.publish(directory),
        }
    }

    fn publish(self, directory: &Path) -> Result<()> {
        let parent = directory.parent().unwrap_or(directory);
        create_directory(parent)?;
        std::fs::rename(&self.path, directory).map_err(|error| Error::io("rename into", directory, error))?;
        synchronise(parent)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // The next holder of the lock removes what cannot be removed now.
        let _ = std::fs::remove_dir_all(&self.outer);
    }
}

pub(crate) fn create_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| {
        Error::io("create", path, error).hint("set `TRTGATE_CACHE` to a folder that can be written to")
    })
}

pub(crate) fn remove_directory(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

fn record_files(directory: &Path) -> Result<BTreeMap<String, FileRecord>> {
    files_under(directory)?
        .into_iter()
        .map(|(name, path)| {
            let bytes = std::fs::metadata(&path).map_err(|error| Error::io("read", &path, error))?.len();
            Ok((name, FileRecord { sha256: digest_file(&path)?, bytes }))
        })
        .collect()
}

fn synchronise(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| Error::io("write", path, error))
}

fn synchronise_tree(directory: &Path) -> Result<()> {
    let files: Vec<PathBuf> = files_under(directory)?.into_iter().map(|(_, file)| file).collect();
    files.iter().try_for_each(|file| synchronise(file))?;
    folders_of(directory, &files).into_iter().try_for_each(synchronise)
}

/// `directory`, and each folder below it that leads to one of `files`.
fn folders_of<'a>(directory: &'a Path, files: &'a [PathBuf]) -> std::collections::BTreeSet<&'a Path> {
    let above = |file: &'a PathBuf| file.ancestors().skip(1).take_while(|folder| *folder != directory);
    files.iter().flat_map(above).chain([directory]).collect()
}

/// Compares a file with its record. What was hashed once in this process is hashed again only if its size or time changed.
fn verify_file(path: &Path, expected: &FileRecord) -> Result<(), String> {
    type Seen = HashMap<PathBuf, (u64, Option<SystemTime>, String)>;
    static SEEN: OnceLock<Mutex<Seen>> = OnceLock::new();
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if metadata.len() != expected.bytes {
        return Err(format!("{} bytes, expected {}", metadata.len(), expected.bytes));
    }
    let modified = metadata.modified().ok();
    let seen = SEEN.get_or_init(Mutex::default);
    let known = seen.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
    let sha256 = match known {
        Some((bytes, time, sha256)) if bytes == metadata.len() && time.is_some() && time == modified => sha256,
        _ => digest_file(path).map_err(|error| error.to_string())?,
    };
    if sha256 != expected.sha256 {
        return Err("its content changed".to_owned());
    }
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.insert(path.to_path_buf(), (metadata.len(), modified, sha256));
    Ok(())
}

#[cfg(test)]
mod histories;
#[cfg(test)]
pub(crate) mod keys;
#[cfg(test)]
mod tests;

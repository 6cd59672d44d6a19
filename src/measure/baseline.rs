//! Stored baselines: one file a series, appended to and never overwritten.
//!
//! ```text
//! baselines/<device>/<model>/<runtime>/<precision>-batch-<N>-<mode>.json     samples per second of a cell; of one at a shape,
//!                                          <precision>-batch-<N>-height-480-width-640-<mode>.json
//! baselines/<device>/<model>/<runtime>/ratio-<name>-<mode>.json              a quotient inside one run
//! baselines/<device>/<model>/<runtime>/<precision>-size.json                 bytes of what was built and not run
//! baselines/<device>/<model>/<runtime>/<precision>-batch-<N>-load-<scenario>.json    queries a second that are held
//! ```
//!
//! A series holds entries of several environments and levels. A level is a stretch of entries without a change of
//! speed: accepting a run within the limits adds to the level, and so to the knowledge of its noise; accepting one
//! that is slower or faster than the limits opens the next level. Runs are judged by the last level of comparable entries:
//! those of the same machine, cell and contract, whatever the model's digest and the versions that are told beside.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;
use crate::measure::environment::{Environment, mode_name, slug};
use crate::measure::rule::{Reference, run_value};
use crate::timing::contract::{TimingContract, TimingMode};
use crate::timing::summary::TimingSummary;
use crate::vocabulary::{ArtifactKind, CellId, RuntimeId, schemas};

/// The files' schema.
pub const SCHEMA: &str = "trtgate.baseline/v1";

/// Whether a newer program wrote a file of this schema.
pub fn is_newer(schema: &str) -> bool {
    schemas::is_newer(schema, SCHEMA)
}

/// What the numbers of a series are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Samples per second.
    SamplesPerSecond,
    /// One cell's samples per second over another's.
    Ratio,
    /// Bytes of an artifact.
    Bytes,
    /// Queries a second that a scenario holds under load.
    Rate,
}

/// The fastest repetition's distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// Samples per second over the timed region.
    pub samples_per_second: f64,
    /// Median time of a batch, milliseconds.
    pub median_milliseconds: f64,
    /// 90th percentile.
    pub p90_milliseconds: f64,
    /// 95th percentile.
    pub p95_milliseconds: f64,
    /// 99th percentile.
    pub p99_milliseconds: f64,
    /// Coefficient of variation.
    pub variation: f64,
    /// Batches timed.
    pub iterations: u64,
}

impl From<&TimingSummary> for Distribution {
    fn from(summary: &TimingSummary) -> Self {
        Self {
            samples_per_second: summary.samples_per_second,
            median_milliseconds: summary.median_milliseconds,
            p90_milliseconds: summary.p90_milliseconds,
            p95_milliseconds: summary.p95_milliseconds,
            p99_milliseconds: summary.p99_milliseconds,
            variation: summary.variation,
            iterations: summary.iterations,
        }
    }
}

/// The artifact that was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRecord {
    /// Its kind.
    pub kind: ArtifactKind,
    /// Digest of its bytes.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
}

/// One accepted run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When, RFC 3339 in UTC.
    pub date: String,
    /// Why it was accepted.
    pub reason: String,
    /// Level that it belongs to, from 1.
    pub level: u32,
    /// [`Environment::key`].
    pub environment_key: String,
    /// The environment's fields.
    pub environment: Environment,
    /// Typical samples per second (or the ratio) of each repetition; the largest is the run's value.
    pub repetitions: Vec<f64>,
    /// The contract, for samples per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<TimingContract>,
    /// The fastest repetition, for samples per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// The artifact, where there is one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactRecord>,
    /// Device memory that the measured process took, bytes, where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_bytes: Option<u64>,
    /// Device memory that one context needed, bytes, where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_bytes: Option<u64>,
    /// Whether the run was within the limits of the level before it, although its model or a version is another one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joins: bool,
    /// What was overridden to accept it, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forced: Vec<String>,
}

impl Entry {
    /// The run's value: its fastest repetition.
    ///
    /// # Errors
    ///
    /// `Invalid` for no repetition, or one that is not positive and finite.
    pub fn value(&self) -> Result<f64> {
        run_value(&self.repetitions)
    }
}

/// All accepted runs of one cell and mode, or of one ratio, on one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// [`SCHEMA`].
    pub schema: String,
    /// The cell, or the ratio's name.
    pub subject: String,
    /// What the numbers are.
    pub quantity: Quantity,
    /// The runs, in the order they were accepted.
    pub entries: Vec<Entry>,
}

impl Series {
    /// A series without runs.
    pub fn new(subject: impl Into<String>, quantity: Quantity) -> Self {
        Self { schema: SCHEMA.to_owned(), subject: subject.into(), quantity, entries: Vec::new() }
    }

    /// Reads a series; `None` when there is no file.
    ///
    /// # Errors
    ///
    /// `Input` for a file that cannot be read or is not a series of `subject`: unknown keys, another schema, a value
    /// that is not positive and finite, a key that is not its environment's.
    pub fn read(path: &Path, subject: &str, quantity: Quantity) -> Result<Option<Self>> {
        let text = match files::read_text(path, files::RECORD) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read the baseline", path, error)),
        };
        let wrong = || {
            Error::input(format!("`{}` is not a baseline of `{subject}`", path.display()))
                .hint("restore the file from version control; `trtgate bless --baselines` makes a new one")
        };
        #[derive(Deserialize)]
        struct Header {
            schema: String,
        }
        if let Some(Header { schema }) = serde_json::from_str(&text).ok().filter(|Header { schema }| is_newer(schema)) {
            return Err(Error::input(format!("`{}` is a `{schema}`, this program reads `{SCHEMA}`", path.display()))
                .hint("upgrade trtgate: what a newer version wrote is not overwritten by an older one"));
        }
        let series: Self = serde_json::from_str(&text).map_err(|error| wrong().because(error))?;
        series.check(subject, quantity).map_err(|reason| wrong().cause(reason))?;
        Ok(Some(series))
    }

    fn check(&self, subject: &str, quantity: Quantity) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("its schema is `{}`, not `{SCHEMA}`", self.schema));
        }
        if self.subject != subject || self.quantity != quantity {
            return Err(format!("it is of `{}`", self.subject));
        }
        for (number, entry) in (1..).zip(&self.entries) {
            entry.value().map_err(|error| format!("entry {number}: {error}"))?;
            if entry.environment.key() != entry.environment_key {
                return Err(format!("entry {number}: its environment was changed by hand"));
            }
            // What waiting and bursts cost lies between the two, never a factor of ten.
            if let (Quantity::SamplesPerSecond, Ok(value), Some(distribution)) =
                (quantity, entry.value(), &entry.distribution)
                && !(0.1..=10.0).contains(&(value / distribution.samples_per_second))
            {
                return Err(format!(
                    "entry {number}: its repetitions say {value} samples/s, its distribution {}",
                    distribution.samples_per_second
                ));
            }
            if entry.level == 0 {
                return Err(format!("entry {number}: its level is 0"));
            }
        }
        Ok(())
    }

    /// Entries that runs in `environment` are judged by, in order: those of the last level of all that are comparable.
    pub fn level(&self, environment: &Environment) -> Vec<&Entry> {
        let comparable: Vec<&Entry> =
            self.entries.iter().filter(|entry| environment.is_comparable(&entry.environment)).collect();
        let breaks = |pair: &[&Entry]| match pair {
            // An entry of another model or version belongs to the level before only where it was found to.
            [before, entry] => {
                entry.level != before.level || (!entry.joins && entry.environment_key != before.environment_key)
            }
            _ => false,
        };
        let start = comparable.windows(2).rposition(breaks).map_or(0, |place| place + 1);
        comparable.get(start..).unwrap_or_default().to_vec()
    }

    /// What is told beside the baseline of `environment`, where it differs from this run's; see [`Environment::beside`].
    pub fn beside(&self, environment: &Environment) -> String {
        self.level(environment).last().map(|entry| environment.beside(&entry.environment)).unwrap_or_default()
    }

    /// What a clean run in `environment` looks like; `None` when no comparable run was accepted.
    ///
    /// # Errors
    ///
    /// As [`Reference::of`].
    pub fn reference(
        &self,
        environment: &Environment,
        known_after: usize,
        assumed_noise: f64,
    ) -> Result<Option<Reference>> {
        let runs: Vec<Vec<f64>> = self.level(environment).into_iter().map(|entry| entry.repetitions.clone()).collect();
        if runs.is_empty() { Ok(None) } else { Reference::of(&runs, known_after, assumed_noise).map(Some) }
    }

    /// Earlier values in `environment`, oldest first: (date, value).
    pub fn history(&self, environment: &Environment) -> Vec<(String, f64)> {
        let entries = self.entries.iter().filter(|entry| environment.is_comparable(&entry.environment));
        entries.filter_map(|entry| Some((entry.date.clone(), entry.value().ok()?))).collect()
    }

    /// Why there is no baseline in `environment`: how the newest entry's differs, or that there is no entry.
    pub fn why_no_baseline(&self, environment: &Environment) -> String {
        match self.entries.last() {
            None => "no run was accepted yet".to_owned(),
            Some(entry) => environment.differences(&entry.environment).join("; "),
        }
    }
}

/// The folder of all series.
#[derive(Clone, Debug)]
pub struct BaselineStore {
    root: PathBuf,
}

impl BaselineStore {
    /// The store in the folder `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The file of a cell's series. `device` and `model` become part of the path as slugs.
    pub fn cell_path(&self, device: &str, model: &str, cell: &CellId, mode: TimingMode) -> PathBuf {
        self.path_of(device, model, cell, mode_name(mode))
    }

    /// The file of the rates that a cell holds by a scenario.
    pub fn load_path(&self, device: &str, model: &str, cell: &CellId, scenario: &str) -> PathBuf {
        self.path_of(device, model, cell, &format!("load-{scenario}"))
    }

    fn path_of(&self, device: &str, model: &str, cell: &CellId, what: &str) -> PathBuf {
        let at = cell.shape.as_ref().map(|shape| format!("-{}", slug(&shape.to_string()))).unwrap_or_default();
        let file = format!("{}-batch-{}{at}-{what}.json", cell.precision, cell.batch);
        self.folder(device, model, &cell.runtime.to_string()).join(file)
    }

    /// The file of a ratio's series.
    pub fn ratio_path(&self, device: &str, model: &str, runtime: &str, name: &str, mode: TimingMode) -> PathBuf {
        self.folder(device, model, runtime).join(format!("ratio-{}-{}.json", slug(name), mode_name(mode)))
    }

    /// The file of the sizes of what `cell`'s runtime builds in its precision.
    pub fn size_path(&self, device: &str, model: &str, cell: &CellId) -> PathBuf {
        self.folder(device, model, &cell.runtime.to_string()).join(format!("{}-size.json", cell.precision))
    }

    /// The series of `subject` at `path` or, where a versioned runtime has none there, that of the nearest version of the same
    /// library and major version: a new release is judged by the figures of the one before it until it has its own.
    ///
    /// # Errors
    ///
    /// As [`Series::read`].
    pub fn find(&self, path: &Path, runtime: &RuntimeId, subject: &str, quantity: Quantity) -> Result<Option<Series>> {
        let own = Series::read(path, subject, quantity)?;
        // Names and protocols are in no order: each has figures of its own.
        if own.is_some() || numbers(runtime).is_empty() {
            return Ok(own);
        }
        let (Some(file), Some(folder)) = (path.file_name(), path.parent().and_then(Path::parent)) else {
            return Ok(own);
        };
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let named = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<RuntimeId>().ok());
        let own = numbers(runtime);
        let mut relatives: Vec<RuntimeId> =
            named.filter(|other| other.library == runtime.library && numbers(other).first() == own.first()).collect();
        // The ones before this version, the latest first; then the ones after it.
        relatives.sort_by_key(numbers);
        let (before, after): (Vec<&RuntimeId>, Vec<&RuntimeId>) =
            relatives.iter().partition(|other| numbers(other) < own);
        for relative in before.into_iter().rev().chain(after) {
            let subject = subject.replace(&runtime.to_string(), &relative.to_string());
            if let Some(series) = Series::read(&folder.join(relative.to_string()).join(file), &subject, quantity)? {
                return Ok(Some(series));
            }
        }
        Ok(None)
    }

    fn folder(&self, device: &str, model: &str, runtime: &str) -> PathBuf {
        self.root.join(slug(device)).join(slug(model)).join(runtime)
    }

    /// Appends one entry to the series at `path`. `make` sees the series as it is under the store's lock, so that two
    /// processes lose nothing of each other; the file is replaced as a whole.
    ///
    /// # Errors
    ///
    /// As [`Series::read`] and `make`; `Machine` when the file or the lock cannot be written.
    pub fn append(
        &self,
        path: &Path,
        subject: &str,
        quantity: Quantity,
        make: &mut dyn FnMut(&Series) -> Result<Entry>,
    ) -> Result<Series> {
        let _lock = self.lock()?;
        let mut series = Series::read(path, subject, quantity)?.unwrap_or_else(|| Series::new(subject, quantity));
        let entry = make(&series)?;
        series.entries.push(entry);
        series.check(subject, quantity).map_err(|reason| {
            Error::invalid(format!("the run of `{subject}` cannot become a baseline")).cause(reason)
        })?;
        write(path, &series)?;
        Ok(series)
    }

    /// Holds the store for this process until the file is dropped.
    fn lock(&self) -> Result<File> {
        std::fs::create_dir_all(&self.root).map_err(|error| Error::io("create", &self.root, error))?;
        let path = self.root.join(".lock");
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| Error::io("open", &path, error))?;
        file.lock().map_err(|error| Error::io("lock", &path, error))?;
        Ok(file)
    }
}

/// The numbers of a runtime's version, the major first.
fn numbers(runtime: &RuntimeId) -> Vec<u32> {
    runtime.version_text().split('.').map_while(|part| part.parse().ok()).collect()
}

/// Writes the series to a temporary file, makes it durable, and renames it into place.
fn write(path: &Path, series: &Series) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?;
    let fail = |error| Error::io("write the baseline", path, error);
    let mut text = serde_json::to_string_pretty(series)
        .map_err(|error| Error::failed(format!("cannot write the baseline `{}`", path.display())).because(error))?;
    text.push('\n');
    let mut file = tempfile::Builder::new().prefix(".baseline-").tempfile_in(folder).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    // The rename itself is durable once the folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)
}

#[cfg(test)]
pub(crate) mod tests;

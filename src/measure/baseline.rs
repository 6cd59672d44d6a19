//! Stored baselines: one file a series, appended to and never overwritten.
//!
//! ```text
//! baselines/<device>/<model>/<runtime>/<precision>-batch-<N>-<mode>.json     samples per second of a cell
//! baselines/<device>/<model>/<runtime>/ratio-<name>-<mode>.json              a quotient inside one run
//! baselines/<device>/<model>/<runtime>/<precision>-size.json                 bytes of what was built and not run
//! ```
//!
//! A series holds entries of several environments and levels. A level is a stretch of entries without a change of
//! speed: accepting a run within the limits adds to the level, and so to the knowledge of its noise; accepting one
//! that is slower or faster than the limits opens the next level. Runs are judged by the last level of their own environment.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::measure::contract::{TimingContract, TimingMode};
use crate::measure::environment::{Environment, mode_name, slug};
use crate::measure::rule::{Reference, run_value};
use crate::report::schema::TimingSummary;
use crate::vocabulary::{ArtifactKind, CellId};

/// The files' schema.
pub const SCHEMA: &str = "trtgate.baseline/v1";

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
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read the baseline", path, error)),
        };
        let wrong = || {
            Error::input(format!("`{}` is not a baseline of `{subject}`", path.display()))
                .hint("restore the file from version control; `trtgate bless --baselines` makes a new one")
        };
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

    /// Entries of the last level of `environment`, in order.
    pub fn level(&self, environment: &Environment) -> Vec<&Entry> {
        let key = environment.key();
        let mut entries: Vec<&Entry> = self.entries.iter().filter(|entry| entry.environment_key == key).collect();
        if let Some(level) = entries.last().map(|entry| entry.level) {
            entries.retain(|entry| entry.level == level);
        }
        entries
    }

    /// What a clean run in `environment` looks like; `None` when no run of that environment was accepted.
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
        let key = environment.key();
        let entries = self.entries.iter().filter(|entry| entry.environment_key == key);
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
        let file = format!("{}-batch-{}-{}.json", cell.precision, cell.batch, mode_name(mode));
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
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::measure::environment::CellEnvironment;
    use crate::report::schema::Machine;

    pub(crate) const CELL: &str = "onnxruntime/fp32/batch-32";

    pub(crate) fn environment(cores: usize) -> Environment {
        Environment::of_cell(&CellEnvironment {
            machine: &Machine { cores, cpu: "a cpu".to_owned(), ..Machine::default() },
            cell: &CELL.parse().unwrap(),
            runtime_version: "1.32.0",
            instruction_set: None,
            model_sha256: "abc",
            contract: &TimingContract::host(),
            repetitions: 2,
            intra_threads: 1,
            inter_threads: 1,
        })
    }

    pub(crate) fn entry(cores: usize, level: u32, value: f64) -> Entry {
        let environment = environment(cores);
        Entry {
            date: "2026-01-01T00:00:00Z".to_owned(),
            reason: "a test".to_owned(),
            level,
            environment_key: environment.key(),
            environment,
            repetitions: vec![value * 0.99, value],
            contract: Some(TimingContract::host()),
            distribution: None,
            artifact: Some(ArtifactRecord { kind: ArtifactKind::OnnxFp32, sha256: "def".to_owned(), bytes: 1000 }),
            forced: Vec::new(),
        }
    }

    fn stored(entries: Vec<Entry>) -> (tempfile::TempDir, BaselineStore, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let store = BaselineStore::new(folder.path());
        let path = store.cell_path("A CPU", "cifar10", &CELL.parse().unwrap(), TimingMode::Latency);
        for entry in entries {
            store.append(&path, CELL, Quantity::SamplesPerSecond, &mut |_| Ok(entry.clone())).unwrap();
        }
        (folder, store, path)
    }

    #[test]
    fn paths_name_device_model_runtime_and_cell() {
        let store = BaselineStore::new("baselines");
        let cell = "tensorrt@8.5.3/int8/batch-32".parse().unwrap();
        let path = store.cell_path("NVIDIA H200", "cifar10", &cell, TimingMode::Throughput);
        let expected = "baselines/nvidia-h200/cifar10/tensorrt@8.5.3/int8-batch-32-throughput.json";
        assert_eq!(path, Path::new(expected));
        let path = store.ratio_path("NVIDIA H200", "cifar10", "tensorrt@8.5.3", "int8 over fp32", TimingMode::Latency);
        let expected = "baselines/nvidia-h200/cifar10/tensorrt@8.5.3/ratio-int8-over-fp32-latency.json";
        assert_eq!(path, Path::new(expected));
    }

    #[test]
    fn history_is_appended_and_read_back() {
        let (_folder, _store, path) = stored(vec![entry(2, 1, 100.0), entry(2, 1, 101.0)]);
        let series = Series::read(&path, CELL, Quantity::SamplesPerSecond).unwrap().unwrap();
        assert_eq!(series.entries, [entry(2, 1, 100.0), entry(2, 1, 101.0)]);
        assert_eq!(series.history(&environment(2)).len(), 2);
        let leftovers = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(leftovers, 1);
    }

    #[test]
    fn runs_are_judged_by_the_last_level_of_their_environment() {
        let entries =
            vec![entry(2, 1, 100.0), entry(4, 1, 500.0), entry(2, 2, 200.0), entry(2, 2, 202.0), entry(4, 2, 900.0)];
        let (_folder, _store, path) = stored(entries);
        let series = Series::read(&path, CELL, Quantity::SamplesPerSecond).unwrap().unwrap();
        let reference = series.reference(&environment(2), 10, 0.01).unwrap().unwrap();
        assert_eq!((reference.value, reference.runs), (201.0, 2));
        assert_eq!(series.reference(&environment(8), 10, 0.01).unwrap(), None);
        assert_eq!(series.why_no_baseline(&environment(8)), "cores is `8`, the baseline's `4`");
    }

    #[test]
    fn an_absent_file_is_no_series() {
        assert_eq!(Series::read(Path::new("/nowhere/x.json"), CELL, Quantity::SamplesPerSecond).unwrap(), None);
    }

    #[rstest]
    #[case::schema("trtgate.baseline/v1", "trtgate.baseline/v2", "its schema is")]
    #[case::subject("onnxruntime/fp32/batch-32\",\n  \"quantity", "litert/fp32/batch-32\",\n  \"quantity", "it is of")]
    #[case::key("\"cores\": \"2\"", "\"cores\": \"3\"", "changed by hand")]
    #[case::unknown("\"reason\"", "\"raison\"", "unknown field")]
    #[case::level("\"level\": 1", "\"level\": 0", "level is 0")]
    #[case::negative("100.0", "-100.0", "not positive")]
    #[case::truncated("}\n", "\n", "expected")]
    fn damaged_files_are_refused(#[case] from: &str, #[case] to: &str, #[case] expected: &str) {
        let (_folder, store, path) = stored(vec![entry(2, 1, 100.0)]);
        let text = std::fs::read_to_string(&path).unwrap();
        let damaged = text.replace(from, to);
        assert_ne!(text, damaged);
        std::fs::write(&path, &damaged).unwrap();
        let error = Series::read(&path, CELL, Quantity::SamplesPerSecond).unwrap_err();
        assert_eq!(error.kind, crate::error::ErrorKind::Input);
        assert!(error.to_string().contains(expected), "{error}");
        // Nothing is appended to it either.
        let appended = store.append(&path, CELL, Quantity::SamplesPerSecond, &mut |_| Ok(entry(2, 1, 1.0)));
        assert!(appended.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
    }

    #[test]
    fn what_is_no_number_is_not_stored() {
        let (_folder, store, path) = stored(Vec::new());
        for value in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            let stored = store.append(&path, CELL, Quantity::SamplesPerSecond, &mut |_| Ok(entry(2, 1, value)));
            assert!(stored.is_err());
        }
        assert!(!path.exists());
    }

    #[test]
    fn two_writers_at_once_lose_nothing() {
        let (_folder, store, path) = stored(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        store.append(&path, CELL, Quantity::SamplesPerSecond, &mut |_| Ok(entry(2, 1, 100.0))).unwrap();
                    }
                });
            }
        });
        let series = Series::read(&path, CELL, Quantity::SamplesPerSecond).unwrap().unwrap();
        assert_eq!(series.entries.len(), 40);
    }
}

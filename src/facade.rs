//! What a program does with the gate: load a manifest, plan, run, read and write reports, bless.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::findings::Report;
use crate::gate::{self, GoldenBlessing, Options, RunOptions, Workspace};
use crate::plan::{Filter, PlannedCell};
use crate::process::quoted;
use crate::progress::Lines;
use crate::report::{file, terminal};
use crate::vocabulary::{Precision, RuntimeId};
use crate::worker::{self, WorkerProgram};

/// Makes this program able to gate: the first thing that `main` does.
///
/// Whatever loads a vendor library runs in a process of its own, of this same program: where this process was started as
/// one, the call serves and never returns. Otherwise it returns at once.
///
/// ```
/// trtgate::init();
/// ```
pub fn init() {
    crate::runtime::kernel::keep_descriptors();
    if worker::is_asked_for() {
        std::process::exit(i32::from(worker::serve().is_err()))
    }
    worker::initialized();
}

/// A manifest that is gated, and how.
///
/// ```
/// trtgate::init();
/// let gate = trtgate::Gate::from_manifest("gate.toml").offline();
/// let plan = gate.only_runtime("onnxruntime".parse()?).plan()?;
/// assert!(plan.iter().all(|cell| cell.id.to_string().starts_with("onnxruntime/")));
/// # Ok::<(), trtgate::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gate {
    manifest: PathBuf,
    install: bool,
    artifacts: Option<PathBuf>,
    cache: Option<PathBuf>,
    data: Option<PathBuf>,
    program: Option<PathBuf>,
    filter: Filter,
    require: Vec<RuntimeId>,
    tell: bool,
}

impl Gate {
    /// A gate of `manifest`; nothing is read yet.
    pub fn from_manifest(manifest: impl Into<PathBuf>) -> Self {
        Self {
            manifest: manifest.into(),
            install: true,
            artifacts: None,
            cache: None,
            data: None,
            program: None,
            filter: Filter::default(),
            require: Vec::new(),
            tell: false,
        }
    }

    /// Installs nothing: what is missing stays missing. Otherwise the Python environment that converts models and brings
    /// the CPU runtimes is installed on first use.
    #[must_use]
    pub fn offline(mut self) -> Self {
        self.install = false;
        self
    }

    /// Takes the artifacts that `trtgate export --output` wrote to `folder`; nothing is converted.
    #[must_use]
    pub fn artifacts(mut self, folder: impl Into<PathBuf>) -> Self {
        self.artifacts = Some(folder.into());
        self
    }

    /// Keeps environments, artifacts and engines in `folder` instead of the user's cache.
    #[must_use]
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// Judges accuracy on the labelled data at `path` instead of the manifest's.
    #[must_use]
    pub fn data(mut self, path: impl Into<PathBuf>) -> Self {
        self.data = Some(path.into());
        self
    }

    /// Runs workers by a `trtgate` binary instead of this program, which then need not call [`init`].
    #[must_use]
    pub fn program(mut self, trtgate: impl Into<PathBuf>) -> Self {
        self.program = Some(trtgate.into());
        self
    }

    /// Only cells of `runtime`, with or without version; several add up.
    #[must_use]
    pub fn only_runtime(mut self, runtime: RuntimeId) -> Self {
        self.filter.runtimes.push(runtime);
        self
    }

    /// Only cells in `precision`; several add up.
    #[must_use]
    pub fn only_precision(mut self, precision: Precision) -> Self {
        self.filter.precisions.push(precision);
        self
    }

    /// Only cells of `batch` samples; several add up.
    #[must_use]
    pub fn only_batch(mut self, batch: u32) -> Self {
        self.filter.batches.push(batch);
        self
    }

    /// Requires `runtime` to have run for a pass; several add up, beside those of the manifest.
    #[must_use]
    pub fn require(mut self, runtime: RuntimeId) -> Self {
        self.require.push(runtime);
        self
    }

    /// Tells on standard error what takes long.
    #[must_use]
    pub fn verbose(mut self) -> Self {
        self.tell = true;
        self
    }

    /// The cells, in the order of the chain, each with how far it can get on this machine and why not further.
    ///
    /// # Errors
    /// `Usage` or `Input` where the manifest or the model is wrong, or is asked for what it does not have.
    pub fn plan(&self) -> Result<Vec<PlannedCell>> {
        self.open()?.plan(&self.filter())
    }

    /// Runs and judges the cells. The verdict is the report's.
    ///
    /// ```no_run
    /// trtgate::init();
    /// let report = trtgate::Gate::from_manifest("gate.toml").run()?;
    /// print!("{}", trtgate::render(&report));
    /// assert_eq!(report.verdict, trtgate::Verdict::Pass);
    /// # Ok::<(), trtgate::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where nothing can be judged. What goes wrong in a cell is in the report.
    pub fn run(&self) -> Result<Report> {
        let mut replay = format!(" --manifest {}", quoted(&self.manifest.to_string_lossy()));
        for (name, path) in [("--artifacts", &self.artifacts), ("--data", &self.data)] {
            if let Some(path) = path {
                replay.push_str(&format!(" {name} {}", quoted(&path.to_string_lossy())));
            }
        }
        let options = RunOptions {
            filter: self.filter(),
            require: self.require.clone(),
            data: self.data.clone(),
            replay,
            command: "trtgate::Gate::run".to_owned(),
            ..RunOptions::default()
        };
        gate::run(&self.open()?, &options)
    }

    /// Accepts the reference's answers as the golden, for `reason`, and says what was changed. Nothing that was not judged is
    /// accepted.
    ///
    /// ```no_run
    /// trtgate::init();
    /// for line in trtgate::Gate::from_manifest("gate.toml").bless("retrained with mixup")? {
    ///     println!("{line}");
    /// }
    /// # Ok::<(), trtgate::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Usage` for a blank reason; `Invalid` or `Failed` where something stands against it; where the reference cannot run.
    pub fn bless(&self, reason: &str) -> Result<Vec<String>> {
        if reason.trim().is_empty() {
            return Err(Error::usage("the reason is blank").hint("say in one line why the change is intended"));
        }
        if let Some(fault) = worker::fault_on_demand() {
            return Err(Error::usage(format!("nothing is accepted while a fault is provoked on demand (`{fault}`)")));
        }
        let workspace = self.open()?;
        let blessing = GoldenBlessing::plan(&workspace, reason.trim(), self.data.as_deref())?;
        let mut lines = blessing.lines.clone();
        if blessing.changes || !blessing.doubts.is_empty() {
            lines.extend(blessing.store(&workspace.manifest, false)?);
        }
        Ok(lines)
    }

    /// What is planned: where no runtime is named, those that are required too, so that their absence is told.
    fn filter(&self) -> Filter {
        let mut filter = self.filter.clone();
        if filter.runtimes.is_empty() {
            filter.also.clone_from(&self.require);
        }
        filter
    }

    fn open(&self) -> Result<Workspace> {
        let program = match &self.program {
            Some(trtgate) => WorkerProgram::of(trtgate.clone()),
            None => WorkerProgram::this_program()?,
        };
        let mut options = Options {
            install: self.install,
            several: true,
            artifacts: self.artifacts.clone(),
            cache: self.cache.clone(),
            ..Options::new(self.manifest.clone(), program)
        };
        if self.tell {
            options.progress = Arc::new(Lines::default());
        }
        Workspace::open(&options)
    }
}

/// `report` as the table that `trtgate gate` prints, without colour.
///
/// ```
/// let report = trtgate::read_report("tests/fixtures/reports/failing.json")?;
/// assert!(trtgate::render(&report).contains("onnxruntime"));
/// # Ok::<(), trtgate::Error>(())
/// ```
pub fn render(report: &Report) -> String {
    terminal::render(report, terminal::Style::default())
}

/// Reads a JSON report.
///
/// ```
/// let report = trtgate::read_report("tests/fixtures/reports/failing.json")?;
/// let failed = report.cells.iter().filter(|cell| cell.status == trtgate::Status::Fail).count();
/// assert_eq!(failed == 0, report.verdict != trtgate::Verdict::Fail);
/// # Ok::<(), trtgate::Error>(())
/// ```
///
/// # Errors
/// `Input` for a file that is none, or of a later schema.
pub fn read_report(path: impl AsRef<Path>) -> Result<Report> {
    file::read(path.as_ref())
}

/// Writes `report` as JSON, whole or not at all.
///
/// ```
/// let report = trtgate::read_report("tests/fixtures/reports/failing.json")?;
/// let copy = std::env::temp_dir().join(format!("trtgate-report-{}.json", std::process::id()));
/// trtgate::write_report(&report, &copy)?;
/// assert_eq!(trtgate::read_report(&copy)?, report);
/// # std::fs::remove_file(copy).unwrap();
/// # Ok::<(), trtgate::Error>(())
/// ```
///
/// # Errors
/// `Machine` where it cannot be written.
pub fn write_report(report: &Report, path: impl AsRef<Path>) -> Result<()> {
    file::write(report, path.as_ref())
}

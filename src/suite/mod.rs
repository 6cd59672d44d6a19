//! Suites: many small models with inputs and expected outputs of their authors, each run in a worker and held to them.
//!
//! | module   | does                                                             |
//! |----------|------------------------------------------------------------------|
//! | `case`   | reads a case; says of one that no gate takes why                 |
//! | `report` | what became of each, in tables by reason and by operator         |
//!
//! The one suite is ONNX's own: the backend cases of the `onnx` package in trtgate's environment. What is judged is the runtime (and
//! how trtgate feeds and reads it), not a model of the user's.

mod case;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::check::close::close;
use crate::convert::cases;
use crate::convert::store::Store;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::discover::{Discovery, discover};
use crate::manifest::EngineOptions;
use crate::progress::Progress;
use crate::runtime::tensorrt::{BuildRequest, InputRange};
use crate::runtime::{Installation, OpenRequest, SessionOptions};
use crate::tensor::{BatchAxes, BatchAxis, Feeds, Tensor};
use crate::vocabulary::{ArtifactKind, Library, Precision, RuntimeId};
use crate::worker::{Limits, Worker, WorkerProgram};

use case::{Case, Entry, Listed};

pub use report::{CaseReport, Outcome, SCHEMA, SuiteReport};

/// What is run, and by what.
pub struct SuiteOptions<'a> {
    /// The runtime; TensorRT's builders build each case, and run it where there is a GPU.
    pub runtime: RuntimeId,
    /// Cases whose names hold this text.
    pub only: String,
    /// Cases that were written before, by another machine too: they are read, and none is written.
    pub cases: Option<PathBuf>,
    /// Where the cases' files are written and left; a folder that is removed if absent.
    pub folder: Option<PathBuf>,
    /// Workers at once.
    pub jobs: usize,
    /// Time after which no further case is begun.
    pub within: Option<Duration>,
    /// Libraries that are looked at first.
    pub search: Vec<PathBuf>,
    /// Whether environments may be installed.
    pub install: bool,
    /// The program that runs workers.
    pub program: WorkerProgram,
    /// Their limits.
    pub limits: Limits,
    /// Where runtimes are installed.
    pub store: &'a Store,
    /// Where progress goes.
    pub progress: &'a dyn Progress,
}

/// Runs ONNX's backend cases.
///
/// # Errors
/// `Missing` where the runtime or the environment is not here, `Usage` where no case is meant, and those of writing the cases.
pub fn onnx(options: &SuiteOptions<'_>) -> Result<SuiteReport> {
    let found = discover(
        None,
        options.store,
        &options.search,
        options.install,
        &options.program,
        options.limits,
        options.progress,
    )?;
    let installation = installation(&found, &options.runtime)?;
    let temporary = tempfile::Builder::new()
        .prefix("trtgate-suite-")
        .tempdir()
        .map_err(|error| Error::io("make a folder in", &std::env::temp_dir(), error))?;
    let folder =
        options.cases.clone().or_else(|| options.folder.clone()).unwrap_or_else(|| temporary.path().join("cases"));
    if options.cases.is_none() {
        let environment = found.environment.clone().ok_or_else(|| {
            found
                .environment_error
                .clone()
                .unwrap_or_else(|| Error::missing("the Python environment with `onnx` is not here"))
                .hint("`trtgate suite onnx --folder DIR` writes the cases where it is, `--cases DIR` reads them here")
        })?;
        cases::write_cases(&environment, options.store, &folder, &options.only, options.progress)?;
    }
    let mut listed = Listed::read(&folder)?;
    listed.cases.retain(|case| case.name.contains(&options.only));
    if listed.cases.is_empty() {
        return Err(Error::usage(format!("no case of ONNX {} has `{}` in its name", listed.onnx, options.only)));
    }
    let step = options.progress.begin(&format!("running {} cases", listed.cases.len()));
    let (next, start) = (AtomicUsize::new(0), Instant::now());
    let done: Mutex<Vec<(usize, CaseReport)>> = Mutex::new(Vec::with_capacity(listed.cases.len()));
    let scratch = temporary.path();
    std::thread::scope(|scope| {
        for job in 0..options.jobs.clamp(1, 64) {
            let (next, done, listed, folder, installation) = (&next, &done, &listed, &folder, &installation);
            scope.spawn(move || {
                let mut bench =
                    Bench { options, installation, worker: None, engine: scratch.join(format!("{job}.engine")) };
                while options.within.is_none_or(|within| start.elapsed() < within) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(entry) = listed.cases.get(index) else { return };
                    let report = bench.case(entry, folder);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, report));
                }
            });
        }
    });
    step.finish();
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let unreached = |(index, entry): (usize, &Entry)| (index, CaseReport::unreached(&entry.name, &entry.kind));
    let begun: Vec<usize> = done.iter().map(|(index, _)| *index).collect();
    done.extend(listed.cases.iter().enumerate().filter(|(index, _)| !begun.contains(index)).map(unreached));
    done.sort_by_key(|(index, _)| *index);
    let cases = done.into_iter().map(|(_, report)| report).collect();
    Ok(SuiteReport::new(&listed.onnx, &installation, cases))
}

/// The installation that runs the cases.
fn installation(found: &Discovery, runtime: &RuntimeId) -> Result<Installation> {
    let of_library = found.probes.iter().filter(|(library, _)| *library == runtime.library);
    let all: Vec<&Installation> = of_library.flat_map(|(_, probe)| &probe.found).collect();
    if !matches!(runtime.library, Library::Onnxruntime | Library::Tensorrt | Library::TensorrtRtx) {
        return Err(Error::usage(format!("`{}` does not read ONNX files", runtime.library)));
    }
    all.into_iter()
        .find(|installation| runtime.selects(&installation.id))
        .cloned()
        .ok_or_else(|| Error::missing(format!("`{runtime}` is not on this machine")))
}

/// One worker and what it runs cases by.
struct Bench<'a> {
    options: &'a SuiteOptions<'a>,
    installation: &'a Installation,
    worker: Option<Worker>,
    engine: PathBuf,
}

impl Bench<'_> {
    fn case(&mut self, entry: &Entry, folder: &Path) -> CaseReport {
        let opened = entry.open(folder);
        let (operators, opset) = match &opened {
            Ok(case) => (case.operators.clone(), case.opset),
            Err(_) => (Vec::new(), None),
        };
        let outcome = match opened {
            Ok(case) => self.outcome(entry, &case),
            Err(error) if error.kind == ErrorKind::Unsupported => Outcome::Unsupported { reason: reason(&error) },
            Err(error) => Outcome::Failed { stage: "read".to_owned(), reason: error.to_string() },
        };
        CaseReport { name: entry.name.clone(), kind: entry.kind.clone(), operators, opset, outcome }
    }

    fn outcome(&mut self, entry: &Entry, case: &Case) -> Outcome {
        let failed = |stage: &str, error: &Error| match error.kind {
            ErrorKind::Unsupported => Outcome::Unsupported { reason: reason(error) },
            _ => {
                // Alike for all that share it.
                let reason = error.to_string().replace(&format!("`{}`", case.model.display()), "`model.onnx`");
                Outcome::Failed { stage: stage.to_owned(), reason }
            }
        };
        let builds = self.installation.id.library.builds_engines();
        if builds && let Err(error) = self.build(case) {
            return failed("build", &error);
        }
        if builds && self.installation.run_obstacle.is_some() {
            return Outcome::Built;
        }
        if let Err(error) = self.open(case, builds) {
            return failed("load", &error);
        }
        for set in &case.sets {
            let answers = match self.run(&set.inputs, &set.outputs) {
                Ok(answers) => answers,
                Err(error) => return failed("run", &error),
            };
            for expected in &set.outputs {
                let told = answers.iter().find(|answer| answer.name == expected.name);
                let compared = told
                    .ok_or_else(|| Error::failed(format!("there is no output `{}`", expected.name)))
                    .and_then(|actual| close(expected, actual, entry.closeness()));
                if let Err(error) = compared {
                    return failed("compare", &error);
                }
            }
        }
        Outcome::Passed
    }

    fn worker(&mut self) -> Result<&mut Worker> {
        if self.worker.as_ref().is_none_or(Worker::is_dead) {
            self.worker = Some(Worker::start(&self.options.program.loading(self.installation), self.options.limits)?);
        }
        self.worker.as_mut().ok_or_else(|| Error::machine("there is no worker"))
    }

    fn build(&mut self, case: &Case) -> Result<()> {
        let profile = held(case)?;
        let request = BuildRequest {
            installation: self.installation.clone(),
            onnx: case.model.clone(),
            precision: Precision::Fp32,
            options: EngineOptions { optimization_level: self.quick_level(), ..EngineOptions::default() },
            engine: self.engine.clone(),
            profiles: vec![profile],
            fixed: false,
            calibration: None,
            timing_cache: None,
            mark_outputs: Vec::new(),
            skip_absent_outputs: false,
            device: 0,
            beyond_capabilities: false,
        };
        self.worker()?.build(&request).map(|_| ())
    }

    /// The builder's level that times the least, where the version has levels: it is asked what an engine answers, not how fast.
    fn quick_level(&self) -> Option<u32> {
        let has_levels = !self.installation.version.starts_with("8.5");
        (self.installation.id.library == Library::Tensorrt && has_levels).then_some(0)
    }

    fn open(&mut self, case: &Case, built: bool) -> Result<()> {
        let request = OpenRequest {
            installation: self.installation.clone(),
            artifact: if built { self.engine.clone() } else { case.model.clone() },
            kind: if built { ArtifactKind::Engine } else { ArtifactKind::OnnxFp32 },
            precision: Precision::Fp32,
            batch: 1,
            options: SessionOptions { intra_threads: 1, inter_threads: 1, ..SessionOptions::default() },
        };
        self.worker()?.open(&request).map(|_| ())
    }

    /// What the session answers: nothing in a case has a batch that trtgate would know of.
    fn run(&mut self, inputs: &[Tensor], outputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let feeds = Feeds::whole(inputs.to_vec())?;
        let outputs = outputs.iter().map(|output| (output.name.clone(), BatchAxis::None)).collect();
        let axes = BatchAxes { outputs, ..BatchAxes::default() };
        Ok(self.worker()?.run_laid_out(&feeds, 1, false, &axes)?.outputs)
    }
}

/// A profile that holds the inputs of every data set: shapes, and values where they decide shapes.
fn held(case: &Case) -> Result<Vec<InputRange>> {
    let first = case.sets.first().map_or(&[][..], |set| &set.inputs);
    let range = |input: &Tensor| {
        let named = case.sets.iter().flat_map(|set| &set.inputs).filter(|other| other.name == input.name);
        InputRange::of(&named.collect::<Vec<_>>())
    };
    first.iter().map(range).collect()
}

/// The reason of a case that is not run, alike for all that share it: what lies at the bottom, without the case's own file.
fn reason(error: &Error) -> String {
    error.causes.last().unwrap_or(&error.message).clone()
}

//! Arguments that several commands share: which cells, and where things are.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::Global;
use crate::cli::limits::LimitArguments;
use crate::error::{Error, Result};
use crate::gate::Options;
use crate::gate::devices::Devices;
use crate::gate::timing::{Streams, TimingOptions};
use crate::manifest::MOST_THREADS;
use crate::plan::Filter;
use crate::process::quoted;
use crate::progress;
use crate::timing::contract::TimingMode;
use crate::vocabulary::{CellPattern, Precision, RuntimeId, ShapePoint};
use crate::worker::WorkerProgram;

/// Which cells are wanted; everything that the manifest asks for where nothing is named.
#[derive(Clone, Debug, Args)]
pub struct Selection {
    /// Only this runtime, `onnxruntime` or `tensorrt@8.5` (repeatable)
    #[arg(long, value_name = "RUNTIME", value_parser = word::<RuntimeId>)]
    pub runtime: Vec<RuntimeId>,
    /// Only this precision (repeatable)
    #[arg(long, value_name = "PRECISION", value_parser = word::<Precision>)]
    pub precision: Vec<Precision>,
    /// Only this batch size (repeatable)
    #[arg(long, value_name = "N")]
    pub batch: Vec<u32>,
    /// Only this point of open shapes, `height=480,width=640` (repeatable)
    #[arg(long, value_name = "SIZES", value_parser = word::<ShapePoint>)]
    pub shape: Vec<ShapePoint>,
    /// Leave out a runtime, `litert`, a precision of it, `litert/int8`, or a batch, `litert/int8/8` (repeatable)
    #[arg(long, value_name = "CELLS", value_parser = word::<CellPattern>)]
    pub exclude: Vec<CellPattern>,
}

impl Selection {
    /// As a filter of the plan, of `runtimes` where none is named.
    pub fn filter_or(&self, runtimes: Vec<RuntimeId>) -> Filter {
        let filter = self.filter();
        Filter { runtimes: if filter.runtimes.is_empty() { runtimes } else { filter.runtimes }, ..filter }
    }

    /// As a filter of the plan.
    pub fn filter(&self) -> Filter {
        Filter {
            runtimes: self.runtime.clone(),
            precisions: self.precision.clone(),
            batches: self.batch.clone(),
            also: Vec::new(),
            shapes: self.shape.clone(),
            without: self.exclude.clone(),
            only: None,
        }
    }
}

/// Reads a runtime, a precision or a cell; says in the same breath what there is to choose from.
pub fn word<T: std::str::FromStr<Err = Error>>(text: &str) -> std::result::Result<T, String> {
    text.parse().map_err(|error: Error| match &error.hint {
        Some(hint) => format!("{error}\n  hint: {hint}"),
        None => error.to_string(),
    })
}

/// Where things are.
#[derive(Clone, Debug, Args)]
pub struct WorkspaceArguments {
    /// Use the artifacts that `trtgate export --output` wrote there; convert nothing
    #[arg(long, value_name = "DIR", env = "TRTGATE_ARTIFACTS")]
    artifacts: Option<PathBuf>,
    /// A library, or a folder of libraries, to look at first (repeatable)
    #[arg(long, value_name = "PATH")]
    library: Vec<PathBuf>,
    /// Install nothing: what is missing stays missing
    #[arg(long)]
    offline: bool,
    /// Threads inside one operator, for the CPU runtimes
    #[arg(long, value_name = "N", value_parser = up_to(MOST_THREADS))]
    intra_threads: Option<usize>,
    /// Threads across operators, for the CPU runtimes
    #[arg(long, value_name = "N", value_parser = up_to(MOST_THREADS))]
    inter_threads: Option<usize>,
    /// Accept a model whose digest is not the one in the manifest
    #[arg(long)]
    trust: bool,
    #[command(flatten)]
    limits: LimitArguments,
}

impl WorkspaceArguments {
    /// The arguments that a replay of a cell needs, with a blank before each: `data` is labelled data that was given.
    pub fn replay(&self, global: &Global, data: Option<&Path>) -> String {
        let manifest: &[&OsStr] = match global.manifest() != Path::new("gate.toml") {
            true => &[OsStr::new("--manifest"), global.manifest().as_os_str()],
            false => &[],
        };
        let mut own = self.what_is_run();
        own.extend(data.into_iter().flat_map(|data| ["--data".into(), data.into()]));
        let words = manifest.iter().copied().chain(own.iter().map(OsString::as_os_str));
        words.map(|word| format!(" {}", quoted(&word.to_string_lossy()))).collect()
    }

    /// All of them, for another process of trtgate.
    pub fn again(&self) -> Vec<OsString> {
        let mut words = self.what_is_run();
        if self.offline {
            words.push("--offline".into());
        }
        words.extend(self.limits.again());
        words
    }

    /// Those that change what is run.
    fn what_is_run(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(folder) = &self.artifacts {
            words.extend(["--artifacts".into(), folder.into()]);
        }
        for library in &self.library {
            words.extend(["--library".into(), library.into()]);
        }
        for (name, threads) in [("--intra-threads", self.intra_threads), ("--inter-threads", self.inter_threads)] {
            if let Some(threads) = threads {
                words.extend([name.into(), threads.to_string().into()]);
            }
        }
        if self.trust {
            words.push("--trust".into());
        }
        words
    }

    /// As options of the workspace.
    pub fn options(&self, global: &Global) -> Result<Options> {
        if let Some(absent) = self.library.iter().find(|path| !path.exists()) {
            return Err(Error::usage(format!("`--library {}`: there is nothing", absent.display())));
        }
        let mut program = WorkerProgram::current()?;
        program.echo = global.verbose > 0;
        Ok(Options {
            progress: progress::standard(global.quiet, global.verbose),
            artifacts: self.artifacts.clone(),
            search: self.library.clone(),
            install: !self.offline,
            limits: self.limits.overrides(),
            intra_threads: self.intra_threads,
            inter_threads: self.inter_threads,
            trust: self.trust,
            ..Options::new(global.manifest().to_owned(), program)
        })
    }
}

/// Which GPUs are used.
#[derive(Clone, Debug, Args)]
pub struct DeviceArguments {
    /// GPUs that cells are spread over, which must answer alike: `all`, or numbers such as `0,1` [default: the first]
    #[arg(long, value_name = "GPUS", value_parser = word::<Devices>)]
    pub devices: Option<Devices>,
}

/// Timing modes by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ModeName {
    /// One batch at a time.
    Latency,
    /// Batches overlap, transfers in the number.
    Throughput,
    /// Compute alone.
    Compute,
}

impl ModeName {
    /// The name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Throughput => "throughput",
            Self::Compute => "compute",
        }
    }
}

impl From<ModeName> for TimingMode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Latency => Self::Latency,
            ModeName::Throughput => Self::Throughput,
            ModeName::Compute => Self::Compute,
        }
    }
}

/// A number of seconds that can be timed.
pub fn seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.001..=3600.0).contains(&value) => Ok(value),
        _ => Err("not a number of seconds from 0.001 to 3600".to_owned()),
    }
}

/// A whole number from 0 to `most`: what is larger is a slip, and would take the machine with it.
pub(super) fn up_to(most: usize) -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(0..=most as u64)
}

/// How cells are measured.
#[derive(Clone, Debug, Args)]
pub struct TimingArguments {
    /// What is measured on a GPU
    #[arg(long, value_name = "MODE", default_value = "throughput")]
    pub mode: ModeName,
    /// Execution contexts at once, on a GPU: a number up to 64, or `auto`, of which a short sweep chooses
    #[arg(long, value_name = "N", default_value_t = Streams::Count(1), value_parser = word::<Streams>)]
    pub streams: Streams,
    /// Spin while waiting for a GPU, as `trtexec --useSpinWait` does; the latency mode always spins
    #[arg(long)]
    pub spin: bool,
    /// Timed seconds of one repetition
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = seconds)]
    pub duration: f64,
    /// Processes that each cell is measured in; `thresholds.toml` says how many if not given
    #[arg(long, value_name = "N", value_parser = up_to(1000))]
    pub repetitions: Option<usize>,
}

impl TimingArguments {
    /// The arguments that a replay of a measurement needs, with a blank before each.
    pub fn replay(&self) -> String {
        let repetitions = self.repetitions.map(|count| format!(" --repetitions {count}")).unwrap_or_default();
        format!(" --bench {}{repetitions}", self.what_is_timed().join(" "))
    }

    /// Those that change what is timed.
    pub fn what_is_timed(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.mode != ModeName::Throughput {
            words.extend(["--mode".to_owned(), self.mode.as_str().to_owned()]);
        }
        if self.streams != Streams::Count(1) {
            words.extend(["--streams".to_owned(), self.streams.to_string()]);
        }
        if self.spin {
            words.push("--spin".to_owned());
        }
        words.extend(["--duration".to_owned(), self.duration.to_string()]);
        words
    }

    /// As options of the gate.
    pub fn options(&self) -> TimingOptions {
        TimingOptions {
            mode: self.mode.into(),
            streams: self.streams,
            spin: self.spin,
            duration_milliseconds: (self.duration * 1000.0) as u64,
            repetitions: self.repetitions,
        }
    }
}

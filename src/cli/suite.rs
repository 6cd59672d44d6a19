//! `trtgate suite`: runs suites of small models with expected outputs of their authors.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::atomic;
use crate::cli::limits::LimitArguments;
use crate::cli::selection::word;
use crate::cli::{EXIT_FAIL, EXIT_INCOMPLETE, EXIT_PASS, Global, output};
use crate::convert::store::Store;
use crate::error::Result;
use crate::process::ProcessLimits;
use crate::progress;
use crate::suite::{self, SuiteOptions};
use crate::vocabulary::{Library, RuntimeId};
use crate::worker::WorkerProgram;

/// Arguments of `trtgate suite`.
#[derive(Debug, Args)]
pub struct SuiteArguments {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// ONNX's own backend cases, each with the outputs that ONNX expects
    Onnx(OnnxArguments),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 every case that is taken passed; 1 one failed; 2 usage; 3 the runtime is not here, no answer \
                  was looked at, or the time was over."
)]
struct OnnxArguments {
    /// The runtime, `onnxruntime` or `tensorrt-rtx@1.7`; a TensorRT without a GPU builds only
    #[arg(long, value_name = "RUNTIME", value_parser = word::<RuntimeId>)]
    runtime: Option<RuntimeId>,
    /// Only cases whose names hold this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Workers at once [default: one a processor]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Begin no case after so many seconds; what was not begun is told, and exit code 3
    #[arg(long, value_name = "SECONDS")]
    within: Option<u64>,
    /// Write the cases' files here, and leave them; the folder must be empty or absent
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Read the cases that `--folder` wrote, on another machine too, and write none
    #[arg(long, value_name = "DIR", conflicts_with = "folder")]
    cases: Option<PathBuf>,
    /// Write everything as JSON; `-` is standard output, in place of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a Markdown table of operators
    #[arg(long, value_name = "FILE")]
    operators: Option<PathBuf>,
    /// A library, or a folder of libraries, to look at first (repeatable)
    #[arg(long, value_name = "PATH")]
    library: Vec<PathBuf>,
    /// Install nothing: what is missing stays missing
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    limits: LimitArguments,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &SuiteArguments) -> Result<u8> {
    let Suite::Onnx(arguments) = &arguments.suite;
    let progress = progress::standard(global.quiet, global.verbose);
    let overrides = arguments.limits.overrides();
    let store = Store::open(None)?
        .limiting(overrides.over(ProcessLimits::default()))
        .reporting(std::sync::Arc::clone(&progress))
        .installing(!arguments.offline);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let found = suite::onnx(&SuiteOptions {
        runtime: arguments.runtime.clone().unwrap_or_else(|| RuntimeId::unversioned(Library::Onnxruntime)),
        only: arguments.only.clone(),
        cases: arguments.cases.clone(),
        folder: arguments.folder.clone(),
        jobs: arguments.jobs.unwrap_or(processors),
        within: arguments.within.map(std::time::Duration::from_secs),
        search: arguments.library.clone(),
        install: !arguments.offline,
        program: WorkerProgram::current()?,
        limits: overrides.of_workers(),
        store: &store,
        progress: &*progress,
    })?;
    if let Some(path) = &arguments.operators {
        atomic::write(path, found.operators().as_bytes())?;
    }
    let text = output::or_json(&found, arguments.json.as_deref(), "the suite", found.table())?;
    output::print(&text)?;
    Ok(match found.has_failures() {
        true => EXIT_FAIL,
        false if found.judged_any() && !found.is_cut_short() => EXIT_PASS,
        false => EXIT_INCOMPLETE,
    })
}

//! `trtgate build`: an engine from ONNX, for one TensorRT version and precision.

use std::path::PathBuf;

use clap::Args;

use crate::atomic;
use crate::cli::selection::{WorkspaceArguments, word};
use crate::cli::{EXIT_PASS, Global, output};
use crate::console;
use crate::convert::Artifact;
use crate::convert::pin::Reading;
use crate::error::{Error, Result};
use crate::files;
use crate::gate::{self, Workspace};
use crate::manifest::{ModelSource, TimingCacheMode};
use crate::runtime::tensorrt::EngineMetadata;
use crate::vocabulary::{ArtifactKind, CellId, Precision, RuntimeId};

/// Arguments of `trtgate build`.
#[derive(Debug, Args)]
pub struct BuildArguments {
    /// The TensorRT to build with, `tensorrt@8.5.3` or `tensorrt-rtx@1.7`
    #[arg(long, value_name = "RUNTIME", value_parser = word::<RuntimeId>)]
    runtime: RuntimeId,
    /// The precision
    #[arg(long, value_name = "PRECISION", default_value = "fp32", value_parser = word::<Precision>)]
    precision: Precision,
    /// Build from this ONNX file instead of the model's own artifact
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// Copy the engine there, with its metadata beside it; it stays in the store either way
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Smallest batch of the optimization profile; the manifest's if not given
    #[arg(long, value_name = "N")]
    min_batch: Option<u32>,
    /// Batch the tactics are chosen for
    #[arg(long, value_name = "N")]
    opt_batch: Option<u32>,
    /// Largest batch
    #[arg(long, value_name = "N")]
    max_batch: Option<u32>,
    /// Identical profiles, one for each execution context that is to run at once
    #[arg(long, value_name = "N")]
    profiles: Option<u32>,
    /// Workspace limit, MiB
    #[arg(long, value_name = "MIB")]
    workspace: Option<u64>,
    /// Builder optimization level, 0 to 5 (TensorRT 8.6 and later)
    #[arg(long, value_name = "LEVEL")]
    optimization_level: Option<u32>,
    /// How often each tactic is timed before one is chosen; more make builds slower, and choices less a matter of luck
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    timing_iterations: Option<u32>,
    /// Engines to build, each with its tactics timed anew, of which the fastest is kept
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    candidates: Option<u32>,
    /// A tactic source to enable (repeatable); the library's default if none is given
    #[arg(long, value_name = "SOURCE")]
    tactic_source: Vec<String>,
    /// The timing cache: off, record or verified
    #[arg(long, value_name = "MODE")]
    timing_cache: Option<CacheName>,
    #[command(flatten)]
    place: WorkspaceArguments,
}

/// Timing cache modes by name.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum CacheName {
    /// No cache.
    Off,
    /// Read if there, extended and written.
    Record,
    /// Must be there with its recorded hash and environment; a miss is an error.
    Verified,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &BuildArguments) -> Result<u8> {
    let mut options = arguments.place.options(global)?;
    options.several = true;
    let mut workspace = Workspace::open(&options)?;
    let asked = [arguments.min_batch, arguments.opt_batch, arguments.max_batch].iter().any(Option::is_some);
    if workspace.manifest.interface.is_some() && asked {
        return Err(Error::usage("the profiles of a model with `[[input]]` are those of its manifest")
            .hint("change `min-batch`, `opt-batch` and `max-batch` of `[engine]`, or `[[engine.profile]]`"));
    }
    let options = &mut workspace.manifest.engine;
    options.min_batch = arguments.min_batch.unwrap_or(options.min_batch);
    options.opt_batch = arguments.opt_batch.unwrap_or(options.opt_batch);
    options.max_batch = arguments.max_batch.unwrap_or(options.max_batch);
    options.profiles = arguments.profiles.unwrap_or(options.profiles);
    options.workspace_mebibytes = arguments.workspace.unwrap_or(options.workspace_mebibytes);
    options.optimization_level = arguments.optimization_level.or(options.optimization_level);
    options.timing_iterations = arguments.timing_iterations.or(options.timing_iterations);
    options.candidates = arguments.candidates.unwrap_or(options.candidates);
    if !arguments.tactic_source.is_empty() {
        options.tactic_sources = Some(arguments.tactic_source.clone());
    }
    if let Some(mode) = arguments.timing_cache {
        options.timing_cache = match mode {
            CacheName::Off => TimingCacheMode::Off,
            CacheName::Record => TimingCacheMode::Record,
            CacheName::Verified => TimingCacheMode::Verified,
        };
    }
    let (min, opt, max) = (options.min_batch, options.opt_batch, options.max_batch);
    if !(1 <= min && min <= opt && opt <= max) {
        return Err(Error::usage(format!("the profile needs 1 ≤ min ≤ opt ≤ max, not {min}, {opt}, {max}")));
    }
    let source = match &arguments.onnx {
        None => None,
        Some(path) => {
            let reading = Reading::of(&ModelSource::Onnx { path: path.clone() })?;
            let path = reading.keep(&workspace.store)?.path().to_owned();
            let bytes = std::fs::metadata(&path).map_err(|error| Error::io("read", &path, error))?.len();
            let (kind, sha256) = (ArtifactKind::OnnxFp32, reading.sha256().to_owned());
            Some(Artifact { kind, path, sha256, bytes, build_seconds: 0.0, cached: true })
        }
    };
    let cell = CellId { runtime: arguments.runtime.clone(), precision: arguments.precision, batch: max, shape: None };
    let (id, engine) = gate::build_engine(&workspace, &cell, source)?;
    if let Some(out) = &arguments.out {
        let metadata = |path: &std::path::Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".json");
            PathBuf::from(name)
        };
        for (from, to) in [(engine.path.clone(), out.clone()), (metadata(&engine.path), metadata(out))] {
            let bytes = files::read(&from, files::GRAPH).map_err(|error| Error::io("read", &from, error))?;
            atomic::write(&to, &bytes)?;
        }
    }
    let from =
        if engine.cached { "from the store".to_owned() } else { format!("built in {:.1} s", engine.build_seconds) };
    console::note(&format!("{id} {}: {} bytes, {from}", arguments.precision, engine.bytes));
    if let Some(line) = EngineMetadata::beside(&engine.path)?.and_then(|metadata| candidates_line(&metadata)) {
        console::note(&line);
    }
    output::data(&arguments.out.as_ref().unwrap_or(&engine.path).display().to_string())?;
    Ok(EXIT_PASS)
}

/// How fast the candidates were, the fastest first; none where there was no choice.
fn candidates_line(metadata: &EngineMetadata) -> Option<String> {
    let mut speeds: Vec<u64> = metadata.candidates.iter().map(|candidate| candidate.samples_per_second).collect();
    speeds.sort_unstable_by(|left, right| right.cmp(left));
    let (fastest, others) = speeds.split_first()?;
    let others = others.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let batch = metadata.options.opt_batch;
    Some(format!("the fastest of {}: {fastest} samples/s at batch {batch}; the others: {others}", speeds.len()))
}

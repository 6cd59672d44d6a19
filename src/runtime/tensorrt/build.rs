//! ONNX → engine: one build of one precision by one TensorRT.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::{Error, Result};
use crate::files;
use crate::manifest::{EngineOptions, HardwareCompatibility, TimingCacheMode};
use crate::runtime::Installation;
use crate::runtime::cuda::{Device, Driver};
use crate::runtime::tensorrt::calibration::{self, CalibrationRequest};
use crate::runtime::tensorrt::metadata::{EngineMetadata, Environment, SCHEMA, sha256, write_whole};
use crate::runtime::tensorrt::profile::{self, BatchRange};
use crate::runtime::tensorrt::ranges::InputRange;
use crate::runtime::tensorrt::result::{Builder, Config, Library, Network, Runtime, Typing};
use crate::runtime::tensorrt::sys::Family;
use crate::runtime::tensorrt::timing_cache::{TimingCache, TimingCacheOutcome};
use crate::runtime::tensorrt::{candidates, capabilities, layers, log, session};
use crate::vocabulary::Layer;
use crate::vocabulary::{Library as Name, Precision};

/// What to build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildRequest {
    /// The TensorRT to build with.
    pub installation: Installation,
    /// The ONNX model; which form of it a precision needs says [`Library::source`](crate::vocabulary::Library::source).
    pub onnx: PathBuf,
    /// Precision.
    pub precision: Precision,
    /// Batch range, limits, timing cache mode.
    pub options: EngineOptions,
    /// The optimization profiles, the ranges of every input in each; of a classifier none, whose batch `options` say.
    #[serde(default)]
    pub profiles: Vec<Vec<InputRange>>,
    /// Whether the engine is static: of the preferred shapes of the first of `profiles`, and no others.
    #[serde(default)]
    pub fixed: bool,
    /// Where the engine goes; its metadata goes to the same name with `.json` added.
    pub engine: PathBuf,
    /// Samples for the entropy calibrator; needed for [`Precision::Int8Calibrated`] only.
    #[serde(default)]
    pub calibration: Option<CalibrationRequest>,
    /// File of the timing cache; without one its mode counts as `off`.
    #[serde(default)]
    pub timing_cache: Option<PathBuf>,
    /// Inner tensors to show as outputs too.
    #[serde(default)]
    pub mark_outputs: Vec<String>,
    /// Whether names in `mark_outputs` that the network does not have are left out, instead of being an error.
    #[serde(default)]
    pub skip_absent_outputs: bool,
    /// CUDA device index.
    #[serde(default)]
    pub device: usize,
    /// Tries also what the list of capabilities calls impossible: how a test notices that an entry no longer holds.
    #[serde(default)]
    pub beyond_capabilities: bool,
}

impl BuildRequest {
    /// Engines that are built to choose from. One, where another build would choose the same tactics: when they are all in
    /// a verified timing cache, or the library times nothing; or where speed is not asked for: when inner tensors are
    /// shown.
    pub fn builds(&self) -> u32 {
        let verified = self.options.timing_cache == TimingCacheMode::Verified && self.timing_cache.is_some();
        let times_nothing = self.installation.id.library == Name::TensorrtRtx;
        if verified || times_nothing || !self.mark_outputs.is_empty() { 1 } else { self.options.candidates.max(1) }
    }
}

/// What a build made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildOutcome {
    /// Digest of the engine.
    pub sha256: String,
    /// Size of the engine, bytes.
    pub bytes: u64,
    /// Seconds from the parsed ONNX model to the engine's bytes, of the candidate that was kept.
    pub seconds: f64,
    /// Layers of the network, before optimisation.
    pub network_layers: usize,
    /// Layers of the engine, where it can be opened on this machine.
    pub layers: Option<Vec<Layer>>,
    /// Distinct warnings that TensorRT logged.
    pub warnings: Vec<String>,
    /// The timing cache after the build, if one was used.
    pub timing_cache: Option<TimingCacheOutcome>,
    /// What was written beside the engine.
    pub metadata: EngineMetadata,
}

/// Builds the engine, several times if the options want candidates, and writes it (the fastest) with its metadata, each
/// whole or not at all.
///
/// # Errors
///
/// `Unsupported` for a precision that the release cannot build, `Missing` without the driver or parser that it needs,
/// `Input` for a model that its parser refuses or whose inputs need another profile, `Invalid` for a timing cache that does
/// not verify, `Machine` for a full disk or exhausted device memory, `Failed` with TensorRT's own words otherwise.
pub fn build(request: &BuildRequest) -> Result<BuildOutcome> {
    let mark = log::mark();
    let onnx = files::read(&request.onnx, files::GRAPH).map_err(|error| Error::io("read", &request.onnx, error))?;
    let library = Library::open(&request.installation)?;
    let obstacle = capabilities::build_obstacle(library.family(), request.precision);
    if let Some(obstacle) = obstacle.filter(|_| !request.beyond_capabilities) {
        let error = Error::unsupported(format!("{} cannot build `{}`", library.title(), request.precision));
        return Err(Error { hint: obstacle.hint, ..error.cause(obstacle.reason) });
    }
    let device = open_device(library, request.device)?;
    let environment = environment(&request.installation, library, device.as_ref());
    let cache = open_cache(request, library, &environment)?;

    let (built, candidates) = candidates::fastest(
        request.builds(),
        &mut || build_once(request, library, device.as_ref(), &onnx, cache.as_ref()),
        &mut |built| candidates::measure(request, library, device.as_ref(), &built.engine),
    )?;
    let bytes = built.engine.as_slice();
    let timing_cache = match (&cache, &built.timing_cache) {
        (Some(cache), Some(measured)) => {
            let unread = super::timing_cache::was_partly_unread(&log::since(mark));
            Some(TimingCacheOutcome { partly_unread: unread, ..cache.close(measured, &environment)? })
        }
        _ => None,
    };
    let metadata = EngineMetadata {
        schema: SCHEMA.to_owned(),
        sha256: sha256(bytes),
        bytes: bytes.len() as u64,
        onnx_sha256: sha256(&onnx),
        precision: request.precision,
        flags: built.flags,
        tactic_sources_without: built.tactic_sources_without,
        options: request.options.clone(),
        profiles: built.profiles,
        ranges: request.profiles.clone(),
        fixed: request.fixed,
        build_milliseconds: u64::try_from(built.elapsed.as_millis()).unwrap_or(u64::MAX),
        candidates,
        built: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
        environment,
    };
    write_whole(&request.engine, bytes)?;
    metadata.write_beside(&request.engine)?;
    // The engine is whole and stored; that it cannot be inspected (for want of device memory, say) does not undo that.
    let mut warnings = log::warnings_since(mark);
    let layers = engine_layers(library, device.as_ref(), bytes).unwrap_or_else(|error| {
        warnings.push(format!("the layers cannot be inspected: {error}"));
        None
    });
    Ok(BuildOutcome {
        sha256: metadata.sha256.clone(),
        bytes: metadata.bytes,
        seconds: built.elapsed.as_secs_f64(),
        network_layers: built.network_layers,
        layers,
        warnings,
        timing_cache,
        metadata,
    })
}

/// An engine in memory, and how it was built.
struct Built {
    engine: Vec<u8>,
    /// The timing cache after the build, if one was used.
    timing_cache: Option<Vec<u8>>,
    /// Whether the cache had every tactic already.
    timed_nothing: bool,
    flags: Vec<String>,
    tactic_sources_without: Vec<String>,
    profiles: Vec<[u32; 3]>,
    network_layers: usize,
    elapsed: Duration,
}

impl candidates::Build for Built {
    fn engine(&self) -> &[u8] {
        &self.engine
    }

    fn timed_nothing(&self) -> bool {
        self.timed_nothing
    }
}

/// Parses `onnx` and builds one engine from it, starting from what `cache` held before.
fn build_once(
    request: &BuildRequest,
    library: &'static Library,
    device: Option<&Device>,
    onnx: &[u8],
    cache: Option<&TimingCache>,
) -> Result<Built> {
    let builder = Builder::new(library, device)?;
    let typing = typing(library.family(), request.precision);
    let network = Network::parse(&builder, onnx, &request.onnx, typing)?;
    network.mark_outputs(&request.mark_outputs, request.skip_absent_outputs)?;
    let mut config = builder.config()?;
    let flags = set_precision(&config, &network, library.family(), request.precision)?;
    let tactic_sources_without = set_options(&config, library, &request.options)?;
    let range = match request.profiles.as_slice() {
        [] => Some(BatchRange::of(&network, &request.options)?),
        _ => None,
    };
    let profiles = if request.fixed {
        profile::fix(&network, &request.profiles)?;
        Vec::new()
    } else {
        profile::add(&builder, &mut config, &network, range, request)?
    };
    if request.precision == Precision::Int8Calibrated {
        let range = range.ok_or_else(|| Error::unsupported("calibration of a network with profiles of its own"))?;
        calibration::prepare(request, &builder, &mut config, &network, range, device)?;
    }
    if let Some(cache) = cache {
        config.set_timing_cache(&cache.start)?;
        if request.options.timing_cache == TimingCacheMode::Verified {
            config.error_on_timing_cache_miss()?;
        }
    }
    let start = Instant::now();
    let engine = builder.build(&network, &config)?;
    let elapsed = start.elapsed();
    let engine = engine.bytes()?.to_vec();
    let timing_cache = match config.timing_cache()? {
        Some(measured) => Some(measured.bytes()?.to_vec()),
        None => None,
    };
    let timed_nothing = match (cache, &timing_cache) {
        (Some(cache), Some(measured)) => measured.len() == cache.start.len(),
        _ => false,
    };
    calibration::keep_table(request, &config)?;
    let network_layers = network.layer_count()?;
    Ok(Built { engine, timing_cache, timed_nothing, flags, tactic_sources_without, profiles, network_layers, elapsed })
}

/// A library kept ready to build. TensorRT loads its builder's kernels with the first builder of a process and unloads
/// them with the last, which takes seconds (4.2 s with 8.5.3: `docs/gpu/2026-11-24-h200-launches`). Whoever builds
/// several engines keeps one of these meanwhile.
#[derive(Debug)]
pub struct ReadyBuilder {
    _builder: Builder,
}

impl ReadyBuilder {
    /// Makes the library of `request` ready, on its device.
    ///
    /// # Errors
    ///
    /// As [`build()`] up to its first builder.
    pub fn of(request: &BuildRequest) -> Result<Self> {
        let library = Library::open(&request.installation)?;
        let device = open_device(library, request.device)?;
        Ok(Self { _builder: Builder::new(library, device.as_ref())? })
    }
}

/// The device to build for; none where the library builds without a driver and there is none.
fn open_device(library: &'static Library, index: usize) -> Result<Option<Device>> {
    match open_driver(library).and_then(|driver| driver.open(index)) {
        Ok(device) => {
            device.make_current()?;
            Ok(Some(device))
        }
        Err(_) if library.works_without_driver() => Ok(None),
        Err(error) => Err(error.context(format!("{} cannot build here", library.title()))),
    }
}

/// The CUDA driver, if it is new enough for the library.
pub(super) fn open_driver(library: &Library) -> Result<Driver> {
    let driver = Driver::load()?;
    driver.require_cuda(&library.title(), capabilities::needed_cuda(library.family()))?;
    Ok(driver)
}

/// Where things happen.
pub(super) fn environment(installation: &Installation, library: &Library, device: Option<&Device>) -> Environment {
    let info = device.map(Device::info);
    let pair = |(major, minor): (u32, u32)| format!("{major}.{minor}");
    Environment {
        runtime: installation.id.clone(),
        version: installation.version.clone(),
        family: library.family().as_str().to_owned(),
        // Engines of TensorRT for RTX are compiled for every GPU of a list, whichever is here.
        gpu: info.filter(|_| installation.id.library != Name::TensorrtRtx).map(|info| info.name.clone()),
        compute_capability: info.map(|info| pair(info.compute_capability)),
        driver: info.and_then(|info| info.driver_version.clone()),
        cuda: info.map(|info| pair(info.cuda_version)),
    }
}

/// Networks are strongly typed wherever the release can do so and the precision is one of the graph.
fn typing(family: Family, precision: Precision) -> Typing {
    match (family, precision) {
        (Family::Eight, _) | (_, Precision::Fp16Flag | Precision::Int8Calibrated) => Typing::Weak,
        _ => Typing::Strong,
    }
}

/// Sets the builder's flags for `precision`; returns their names.
fn set_precision(config: &Config, network: &Network, family: Family, precision: Precision) -> Result<Vec<String>> {
    let mut flags = Vec::new();
    let tf32 = precision == Precision::Tf32;
    config.tf32(tf32)?;
    if tf32 {
        flags.push("kTF32".to_owned());
    }
    if typing(family, precision) == Typing::Strong {
        flags.push("kSTRONGLY_TYPED".to_owned());
        return Ok(flags);
    }
    match precision {
        // 8-bit floats are built in strongly typed networks alone (`capabilities`).
        Precision::Fp32 | Precision::Tf32 | Precision::Fp8 => {}
        Precision::Fp16Flag => {
            config.fp16()?;
            flags.push("kFP16".to_owned());
        }
        Precision::Fp16 => {
            // Without strong typing the graph's halves are only a wish: say so layer by layer.
            config.fp16()?;
            config.prefer_precision_constraints()?;
            network.prefer_half_where_declared()?;
            flags.extend(["kFP16", "kPREFER_PRECISION_CONSTRAINTS"].map(str::to_owned));
        }
        Precision::Int8 | Precision::Int8Calibrated => {
            config.int8()?;
            flags.push("kINT8".to_owned());
        }
    }
    Ok(flags)
}

/// Sets what the manifest asks for; returns the tactic sources that had to be left out.
fn set_options(config: &Config, library: &Library, options: &EngineOptions) -> Result<Vec<String>> {
    let mut left_out = Vec::new();
    let since = |lacks: &str, key: &str, done: Result<()>| {
        done.map_err(|error| {
            error
                .context(format!("{} {lacks}", library.title()))
                .hint(format!("leave `[engine] {key}` out; it exists from TensorRT 8.6 on"))
        })
    };
    config.detailed_layers()?;
    if options.workspace_mebibytes > 0 {
        let bytes = options.workspace_mebibytes.checked_mul(1 << 20).and_then(|bytes| usize::try_from(bytes).ok());
        config.workspace_limit(bytes.ok_or_else(|| {
            Error::usage(format!("a workspace limit of {} MiB is out of range", options.workspace_mebibytes))
        })?)?;
    }
    if let Some(level) = options.optimization_level {
        let level = i32::try_from(level).map_err(|_| Error::usage("the optimization level is out of range"))?;
        since("takes no optimization level", "optimization-level", config.optimization_level(level))?;
    }
    if options.version_compatible {
        since("builds no version-compatible engines", "version-compatible", config.version_compatible())?;
    }
    if let Some(HardwareCompatibility::AmperePlus) = options.hardware_compatibility {
        since("builds no hardware-compatible engines", "hardware-compatibility", config.ampere_plus())?;
    }
    if let Some(iterations) = options.timing_iterations {
        let iterations =
            i32::try_from(iterations).map_err(|_| Error::usage("the timing iterations are out of range"))?;
        config.timing_iterations(iterations)?;
    }
    let missing = library.missing_tactic_sources();
    if let Some(sources) = &options.tactic_sources {
        config.tactic_sources(tactic_sources(sources)?)?;
    } else if missing != 0 {
        let (kept, without): (Vec<_>, Vec<_>) = (0..TACTIC_SOURCES.len()).partition(|bit| missing & (1 << bit) == 0);
        config.tactic_sources(kept.iter().fold(0, |bits, bit| bits | 1 << bit))?;
        left_out.extend(without.iter().filter_map(|bit| TACTIC_SOURCES.get(*bit)).map(|name| (*name).to_owned()));
    }
    Ok(left_out)
}

/// Names of `TacticSource`'s bits, the same in every family.
const TACTIC_SOURCES: [&str; 5] = ["cublas", "cublas-lt", "cudnn", "edge-mask-convolutions", "jit-convolutions"];

/// One bit a source.
fn tactic_sources(names: &[String]) -> Result<u32> {
    names.iter().try_fold(0, |bits, name| match TACTIC_SOURCES.iter().position(|known| known == name) {
        Some(bit) => Ok(bits | 1 << bit),
        None => Err(Error::usage(format!("unknown tactic source `{name}`"))
            .hint(format!("one of: `{}`", TACTIC_SOURCES.join("`, `")))),
    })
}

/// The timing cache of this build. TensorRT for RTX times nothing while it builds.
fn open_cache(request: &BuildRequest, library: &Library, here: &Environment) -> Result<Option<TimingCache>> {
    match &request.timing_cache {
        Some(path) if !library.works_without_driver() => TimingCache::open(path, request.options.timing_cache, here),
        _ => Ok(None),
    }
}

/// The layers of a new engine, where this machine can open it.
fn engine_layers(library: &'static Library, device: Option<&Device>, bytes: &[u8]) -> Result<Option<Vec<Layer>>> {
    let Some(device) = device else { return Ok(None) };
    let capability = device.info().compute_capability;
    if library.works_without_driver() && capabilities::device_obstacle(Name::TensorrtRtx, capability).is_some() {
        return Ok(None);
    }
    let engine = Runtime::new(library, Some(device))?.deserialize(bytes)?;
    let context = engine.context()?;
    if engine.profile_count()? > 1 {
        let stream = device.stream()?;
        context.set_profile(0, &stream)?;
        stream.synchronize()?;
    }
    for input in session::signature(&engine)?.inputs {
        if input.shape.contains(&None) {
            let [_, preferred, _] = engine.profile_range(&input.name, 0)?;
            context.set_input_shape(&input.name, &preferred)?;
        }
    }
    layers::parse(&engine.layer_information(&context)?).map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tactic_sources_are_bits() {
        assert_eq!(tactic_sources(&["cublas".to_owned(), "jit-convolutions".to_owned()]).unwrap(), 0b10001);
        assert_eq!(tactic_sources(&[]).unwrap(), 0);
        assert!(tactic_sources(&["cutlass".to_owned()]).is_err());
    }

    #[test]
    fn graphs_decide_wherever_they_can() {
        assert_eq!(typing(Family::Eight, Precision::Fp16), Typing::Weak);
        assert_eq!(typing(Family::Ten, Precision::Fp16), Typing::Strong);
        assert_eq!(typing(Family::Ten, Precision::Fp16Flag), Typing::Weak);
        assert_eq!(typing(Family::Eleven, Precision::Int8), Typing::Strong);
    }

    fn request(runtime: &str, options: EngineOptions) -> BuildRequest {
        BuildRequest {
            installation: Installation::plain(runtime.parse().unwrap(), "8.5.3", ""),
            onnx: PathBuf::new(),
            precision: Precision::Int8,
            options,
            profiles: Vec::new(),
            fixed: false,
            engine: PathBuf::new(),
            calibration: None,
            timing_cache: Some(PathBuf::from("timing.cache")),
            mark_outputs: Vec::new(),
            skip_absent_outputs: false,
            device: 0,
            beyond_capabilities: false,
        }
    }

    #[test]
    fn several_are_built_where_they_can_differ() {
        let options = EngineOptions { candidates: 3, ..EngineOptions::default() };
        let recorded = request("tensorrt@8.5.3", options.clone());
        assert_eq!(recorded.builds(), 3);
        assert_eq!(request("tensorrt@8.5.3", EngineOptions { candidates: 0, ..options.clone() }).builds(), 1);
        assert_eq!(request("tensorrt-rtx@1.7.1", options.clone()).builds(), 1);
        let shown = BuildRequest { mark_outputs: vec!["relu".to_owned()], ..recorded };
        assert_eq!(shown.builds(), 1);
        let verified =
            request("tensorrt@8.5.3", EngineOptions { timing_cache: TimingCacheMode::Verified, ..options.clone() });
        assert_eq!(verified.builds(), 1);
        // Without a file that mode counts as `off`.
        assert_eq!(BuildRequest { timing_cache: None, ..verified }.builds(), 3);
    }
}

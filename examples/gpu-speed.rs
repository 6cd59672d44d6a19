//! Builds and measures engines on this machine's GPU with nothing but the library: no manifest, no store, no workers.
//!
//! `gpu-speed LIBNVINFER OUT_DIR PRECISION=MODEL.onnx …` builds each model for batches 1 to 256 with four optimization
//! profiles, measures every mode, compares what the timed loops answered with plain runs, and prints one table. Set
//! `CUDA_DEVICE_MAX_CONNECTIONS=32`, as trtgate does for its workers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rand::{Rng, SeedableRng};
use trtgate::error::{Error, Result};
use trtgate::manifest::EngineOptions;
use trtgate::measure::contract::{Measurement, TimingContract, TimingMode};
use trtgate::runtime::tensorrt::{BuildRequest, Tensorrt, build, discovery};
use trtgate::runtime::{Installation, OpenRequest, Runtime, Session, SessionOptions};
use trtgate::tensor::Tensor;
use trtgate::vocabulary::{ArtifactKind, Precision};

/// Contexts that one engine serves at most.
const PROFILES: u32 = 4;
/// Distinct input batches.
const INPUTS: usize = 8;

/// What is measured: mode, batch, streams, graph.
const RUNS: &[(TimingMode, usize, usize, bool)] = &[
    (TimingMode::Latency, 1, 1, true),
    (TimingMode::Latency, 32, 1, true),
    (TimingMode::Throughput, 1, 1, true),
    (TimingMode::Throughput, 32, 1, true),
    (TimingMode::Throughput, 32, 1, false),
    (TimingMode::Compute, 32, 1, true),
    (TimingMode::Throughput, 32, 2, true),
    (TimingMode::Throughput, 32, 3, true),
    (TimingMode::Throughput, 32, 4, true),
    (TimingMode::Throughput, 256, 1, true),
    (TimingMode::Throughput, 256, 4, true),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, out, models @ ..] = arguments.as_slice() else {
        eprintln!("usage: gpu-speed LIBNVINFER OUT_DIR PRECISION=MODEL.onnx ...");
        return ExitCode::from(2);
    };
    let mut code = ExitCode::SUCCESS;
    for model in models {
        if let Err(error) = measure_model(Path::new(library), Path::new(out), model) {
            eprintln!("error: {model}: {error}");
            if let Some(hint) = error.hint {
                eprintln!("hint: {hint}");
            }
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn measure_model(library: &Path, out: &Path, model: &str) -> Result<()> {
    let wrong = || Error::usage(format!("`{model}` is not PRECISION=FILE"));
    let (precision, onnx) = model.split_once('=').ok_or_else(wrong)?;
    let precision: Precision = precision.parse()?;
    let installation = discovery::inspect(library)?;
    let engine = out.join(format!("{precision}.engine"));
    let request = BuildRequest {
        installation: installation.clone(),
        onnx: PathBuf::from(onnx),
        precision,
        options: EngineOptions {
            min_batch: 1,
            opt_batch: 32,
            max_batch: 256,
            profiles: PROFILES,
            ..EngineOptions::default()
        },
        engine: engine.clone(),
        calibration: None,
        timing_cache: Some(out.join("timing.cache")),
        mark_outputs: Vec::new(),
        skip_absent_outputs: false,
        beyond_capabilities: false,
        device: 0,
    };
    std::fs::create_dir_all(out).map_err(|error| Error::io("create", out, error))?;
    let outcome = build(&request)?;
    println!("{precision}: {} bytes, built in {:.1} s by {}", outcome.bytes, outcome.seconds, installation.version);
    let mut session = open(&installation, &engine, precision)?;
    for &(mode, batch, streams, graph) in RUNS {
        let transfers = mode != TimingMode::Compute;
        let contract = TimingContract {
            mode,
            graph,
            transfers_in: transfers,
            transfers_out: transfers,
            streams,
            spin: true,
            ..TimingContract::host()
        };
        let inputs = inputs(session.as_ref(), batch)?;
        let measurement = session.measure(&inputs, &contract)?;
        let worst = largest_difference(session.as_mut(), &inputs, &measurement)?;
        let name = format!("{precision}-{mode:?}-batch-{batch}-streams-{streams}-graph-{graph}").to_lowercase();
        print_line(&name, &measurement, worst);
        let file = out.join(format!("{name}.json"));
        let json =
            serde_json::to_string(&measurement).map_err(|error| Error::failed("cannot write JSON").because(error))?;
        std::fs::write(&file, json).map_err(|error| Error::io("write", &file, error))?;
    }
    Ok(())
}

fn open(installation: &Installation, engine: &Path, precision: Precision) -> Result<Box<dyn Session>> {
    Tensorrt.open(&OpenRequest {
        installation: installation.clone(),
        artifact: engine.to_owned(),
        kind: ArtifactKind::Engine,
        precision,
        batch: 256,
        options: SessionOptions::default(),
    })
}

/// Batches of uniform noise, the same at every run.
fn inputs(session: &dyn Session, batch: usize) -> Result<Vec<Tensor>> {
    let spec = session.signature().inputs.first().ok_or_else(|| Error::failed("the engine has no input"))?;
    let fixed = spec.shape.iter().skip(1).map(|extent| extent.unwrap_or(1));
    let shape: Vec<usize> = std::iter::once(batch).chain(fixed).collect();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut values = || (0..shape.iter().product()).map(|_| random.random::<f32>()).collect::<Vec<f32>>();
    (0..INPUTS).map(|_| Tensor::float32(&spec.name, shape.clone(), values())).collect()
}

/// Largest difference between the timed loop's outputs and plain runs of the same inputs.
fn largest_difference(session: &mut dyn Session, inputs: &[Tensor], measurement: &Measurement) -> Result<f32> {
    let mut worst = 0.0_f32;
    for (input, fast) in inputs.iter().zip(&measurement.outputs) {
        let plain = session.run(input)?;
        let plain = plain.first().ok_or_else(|| Error::failed("a run gave no output"))?;
        if plain.values.len() != fast.len() {
            return Err(Error::failed(format!("{} values instead of {}", fast.len(), plain.values.len())));
        }
        for (plain, fast) in plain.values.iter().zip(fast) {
            let difference = (plain - fast).abs();
            worst = if difference.is_nan() { f32::INFINITY } else { worst.max(difference) };
        }
    }
    Ok(worst)
}

fn print_line(name: &str, measurement: &Measurement, worst: f32) {
    let contract = &measurement.contract;
    let median = |times: &[f64]| {
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    };
    print!(
        "{name:<52} {:>9.0}/s  host {:.4} ms  GPU {:.4} ms  issue {:.2} µs  difference {worst:.1e}",
        measurement.samples_per_second(),
        median(&measurement.host_milliseconds),
        median(&measurement.gpu_milliseconds),
        measurement.enqueue_microseconds.unwrap_or(f64::NAN),
    );
    if let Some(device) = &measurement.device {
        print!("  {} a launch, {:.0} nodes", device.batches_per_launch, device.graph_nodes_per_batch);
        if let Some(limits) = &device.limits {
            let bound = limits.samples_per_second(measurement.batch, contract.transfers_in, contract.transfers_out);
            print!(
                "  {:.1} % of {bound:.0}/s, in {:.1} GB/s, out {:.2} GB/s",
                100.0 * measurement.samples_per_second() / bound,
                limits.copy_in_bytes_per_second / 1e9,
                limits.copy_out_bytes_per_second / 1e9
            );
        }
        if let Some(state) = &device.after {
            print!("  {:?} MHz {:?} °C {:?}", state.sm_clock_mhz, state.temperature_celsius, state.throttle_reasons);
        }
    }
    println!();
}

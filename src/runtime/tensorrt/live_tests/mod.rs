//! Builds and runs with the real libraries that `TRTGATE_TENSORRT_PATH` names. Ignored by default:
//! `cargo nextest run --lib tensorrt::live_tests::builds --run-ignored only` needs a library that builds here,
//! `…::live_tests::runs` one whose engines run here; each fails if there is none. `…::live_tests::loads` looks at what a library answers
//! where there is no CUDA driver.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod builds;
mod loads;
mod runs;
mod shapes;

use std::path::{Path, PathBuf};

use super::test_model::{self, Form, ROW};
use super::*;
use crate::error::ErrorKind;
use crate::manifest::{EngineOptions, TimingCacheMode};
use crate::runtime::{Installation, SessionOptions};
use crate::tensor::Tensor;
use crate::vocabulary::{ArtifactKind, Precision};

/// Installations to test; at least one, or the test says so.
fn installations() -> Vec<Installation> {
    log::echo(Some(log::Severity::Warning));
    let probe = discovery::probe_in_process(&SearchPaths::default());
    assert!(!probe.found.is_empty(), "name libraries in `TRTGATE_TENSORRT_PATH`: {:?}", probe.missing);
    for one in &probe.found {
        eprintln!(
            "{} family {:?} at {}\n  build: {:?}\n  run: {:?}",
            one.id,
            one.family,
            one.file.display(),
            one.build_obstacle.as_ref().map(|obstacle| &obstacle.reason),
            one.run_obstacle.as_ref().map(|obstacle| &obstacle.reason)
        );
    }
    probe.found
}

/// Installations that build here.
fn builders() -> Vec<Installation> {
    let mut all = installations();
    all.retain(|one| one.build_obstacle.is_none());
    assert!(!all.is_empty(), "no library in `TRTGATE_TENSORRT_PATH` builds here");
    all
}

/// Installations that build here and whose engines run here.
fn runners() -> Vec<Installation> {
    let mut all = builders();
    all.retain(|one| one.run_obstacle.is_none());
    assert!(!all.is_empty(), "no library in `TRTGATE_TENSORRT_PATH` runs engines here");
    all
}

fn write_model(folder: &Path, form: Form, batch: Option<u64>) -> PathBuf {
    let path = folder.join(format!("{form:?}-{batch:?}.onnx"));
    std::fs::write(&path, test_model::classifier(form, batch)).unwrap();
    path
}

fn form(precision: Precision) -> Form {
    match Library::Tensorrt.source(precision) {
        ArtifactKind::OnnxFp16 => Form::Half,
        ArtifactKind::OnnxInt8 => Form::Quantized,
        _ => Form::Float,
    }
}

fn request(installation: &Installation, folder: &Path, precision: Precision) -> BuildRequest {
    BuildRequest {
        installation: installation.clone(),
        onnx: write_model(folder, form(precision), None),
        precision,
        options: EngineOptions::default(),
        engine: folder.join(format!("{}-{precision}.engine", installation.id)),
        profiles: Vec::new(),
        fixed: false,
        calibration: None,
        timing_cache: None,
        mark_outputs: Vec::new(),
        skip_absent_outputs: false,
        beyond_capabilities: false,
        device: 0,
    }
}

fn calibration(folder: &Path, samples: usize) -> CalibrationRequest {
    use npyz::WriterBuilder as _;
    let path = folder.join("samples.npy");
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&[samples as u64, 3, 8, 8])
        .writer(std::fs::File::create(&path).unwrap())
        .begin_nd()
        .unwrap();
    writer.extend(test_model::inputs(samples)).unwrap();
    writer.finish().unwrap();
    CalibrationRequest { samples: path, table: Some(folder.join("calibration.table")) }
}

fn open(built: &BuildRequest, batch: usize) -> crate::error::Result<EngineSession> {
    EngineSession::open(&OpenRequest {
        installation: built.installation.clone(),
        artifact: built.engine.clone(),
        kind: ArtifactKind::Engine,
        precision: built.precision,
        batch,
        options: SessionOptions::default(),
    })
}

/// Runs `samples` in batches of `batch`; returns all logits.
fn run(session: &mut EngineSession, samples: usize, batch: usize) -> Vec<f32> {
    let values = test_model::inputs(samples);
    let mut logits = Vec::new();
    for chunk in values.chunks(ROW * batch) {
        let input = Tensor::float32("input_1", vec![chunk.len() / ROW, 3, 8, 8], chunk.to_vec()).unwrap();
        let outputs = session.run(&input.into()).unwrap();
        logits.extend(outputs[0].floats().iter().copied());
    }
    logits
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter()
        .zip(right)
        .map(|(left, right)| (left - right).abs())
        .fold(0.0, |worst, one| if one.is_nan() { one } else { f32::max(worst, one) })
}

/// Largest absolute error expected of the test model, whose logits are about 1.
fn tolerance(precision: Precision) -> f32 {
    match precision {
        Precision::Fp32 => 1e-4,
        Precision::Tf32 | Precision::Fp16 | Precision::Fp16Flag => 1e-2,
        Precision::Int8 | Precision::Int8Calibrated | Precision::Fp8 => 2e-1,
    }
}

/// Resident memory of this process, KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

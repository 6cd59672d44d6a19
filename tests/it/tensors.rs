//! Typed tensors through real runtimes, from the gate through a worker and back.

use std::path::{Path, PathBuf};
use std::process::Command;

use trtgate::convert::environment::{EXPORT, find_in};
use trtgate::convert::store::Store;
use trtgate::runtime::{OpenRequest, SessionOptions};
use trtgate::tensor::{ElementType, Tensor, Values};
use trtgate::vocabulary::{ArtifactKind, Library, Precision};
use trtgate::worker::{Limits, Worker, WorkerProgram};

use crate::context::program;
use crate::drivers::installation;

/// Writes the models into `folder`; with TensorFlow's where `forms` says so.
fn models(folder: &Path, forms: &[&str]) {
    let environment = find_in(&Store::open(None).unwrap(), EXPORT).expect("`trtgate export` installs the environment");
    let python = environment.python.expect("the export environment has no Python");
    let script = include_str!("tensors_models.py");
    let output = Command::new(python).args(["-c", script]).arg(folder).args(forms).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn worker(library: Library, artifact: PathBuf, kind: ArtifactKind, batch: usize) -> Worker {
    let program = WorkerProgram::of(program());
    let mut worker = Worker::start(&program, Limits::default()).unwrap();
    let precision = if kind == ArtifactKind::TfliteInt8 { Precision::Int8 } else { Precision::Fp32 };
    let options = SessionOptions { intra_threads: 1, ..SessionOptions::default() };
    let request = OpenRequest { installation: installation(library), artifact, kind, precision, batch, options };
    worker.open(&request).unwrap_or_else(|error| panic!("{library}: {error}"));
    worker
}

#[test]
fn integers_beyond_the_floats_stay_exact_from_end_to_end() {
    let folder = tempfile::tempdir().unwrap();
    models(folder.path(), &[]);
    let mut worker = worker(Library::Onnxruntime, folder.path().join("int64.onnx"), ArtifactKind::OnnxFp32, 2);
    // None of them is an `f32`, the later ones no `f64` either.
    let numbers = vec![(1 << 24) + 1, -(1 << 24) - 3, (1 << 53) + 1, i64::MAX - 1, i64::MIN, 0];
    let input = Tensor::new("x", vec![3, 2], Values::Int64(numbers.clone())).unwrap();
    let outputs = worker.run(&input, 2, false).unwrap().outputs;
    assert_eq!((outputs.len(), outputs[0].element_type()), (1, ElementType::Int64));
    let expected: Vec<i64> = numbers.iter().map(|number| number + 1).collect();
    assert_eq!(outputs[0].values.as_slice::<i64>().unwrap(), expected);

    let floats = Tensor::float32("x", vec![1, 2], vec![1.0, 2.0]).unwrap();
    let error = worker.run(&floats, 2, false).unwrap_err();
    assert_eq!(error.message, "`x` is float32, expected int64");
}

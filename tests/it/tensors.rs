//! Typed tensors through real runtimes, from the gate through a worker and back.

use std::path::{Path, PathBuf};
use std::process::Command;

use trtgate::convert::environment::{EXPORT, find_in};
use trtgate::convert::store::Store;
use trtgate::measure::contract::TimingContract;
use trtgate::runtime::{OpenRequest, SessionOptions};
use trtgate::tensor::{ElementType, Feeds, Tensor, Values};
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

/// Two inputs of five samples, and what three outputs have to be.
fn several() -> (Feeds, [(&'static str, Values); 3]) {
    let ids: Vec<i64> = (0..15).map(|index| (1 << 53) + index).collect();
    let mask: Vec<bool> = (0..15).map(|index| index % 4 != 1).collect();
    let feeds = Feeds::new(
        vec![
            // Not in the model's order: names decide.
            Tensor::new("mask", vec![5, 3], Values::Bool(mask.clone())).unwrap(),
            Tensor::new("ids", vec![5, 3], Values::Int64(ids.clone())).unwrap(),
        ],
        vec![],
    );
    let expected = [
        ("next", Values::Int64(ids.iter().zip(&mask).map(|(id, &more)| id + i64::from(more)).collect())),
        ("share", Values::Float32(mask.iter().map(|&more| if more { 0.25 } else { 0.0 }).collect())),
        ("rest", Values::Bool(mask.iter().map(|more| !more).collect())),
    ];
    (feeds.unwrap(), expected)
}

/// Every runtime of a processor, with the batch that its model is made for; the fifth sample fills no batch alone.
#[test]
fn several_typed_inputs_and_outputs_go_by_name_through_every_runtime() {
    let folder = tempfile::tempdir().unwrap();
    models(folder.path(), &["tensorflow"]);
    for (library, name, kind, pad) in [
        (Library::Onnxruntime, "several.onnx", ArtifactKind::OnnxFp32, false),
        (Library::Tensorflow, "several", ArtifactKind::SavedModel, false),
        (Library::Litert, "several.tflite", ArtifactKind::TfliteInt8, true),
    ] {
        let mut worker = worker(library, folder.path().join(name), kind, 4);
        let (feeds, expected) = several();
        let outputs = worker.run(&feeds, 4, pad).unwrap().outputs;
        assert_eq!(outputs.len(), expected.len(), "{library}");
        for (name, values) in &expected {
            let found = outputs.iter().find(|output| output.name == *name);
            let found = found.unwrap_or_else(|| panic!("{library} gave no `{name}`"));
            assert_eq!((found.shape.as_slice(), &found.values), (&[5, 3][..], values), "{library}, `{name}`");
        }
        // What is measured is what was run, all of it, by name.
        let contract = TimingContract { warm_up_milliseconds: 1, duration_milliseconds: 2, ..TimingContract::host() };
        let measured = worker.measure(&feeds.first(4).unwrap(), 4, &contract).unwrap();
        let mut names: Vec<&str> = measured.outputs[0].iter().map(|output| output.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!((measured.outputs.len(), names.as_slice()), (1, &["next", "rest", "share"][..]), "{library}");
        for (name, values) in &expected {
            let found = measured.outputs[0].iter().find(|output| output.name == *name).unwrap();
            assert_eq!(found.values, values.part(0, 12).unwrap(), "{library}, `{name}`");
        }
        let alone = feeds.get("ids").unwrap();
        assert_eq!(worker.run(alone, 4, pad).unwrap_err().message, "input `mask` is not fed", "{library}");
    }
}

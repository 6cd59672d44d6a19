//! ONNX Runtime against Python's, and its faults.

use std::fs;
use std::path::Path;

use trtgate::internals::runtime::OpenRequest;
use trtgate::internals::tensor::{ElementType, Values};
use trtgate::internals::vocabulary::Layer;
use trtgate::internals::vocabulary::{ArtifactKind, Library};

use crate::drivers::{assert_close, damaged, fixture, npy, open, refusal, request, rows, samples};

fn model(name: &str, kind: ArtifactKind) -> OpenRequest {
    request(Library::Onnxruntime, fixture(name), kind, 4)
}

/// Precisions of the convolutions and matrix products.
fn computing(layers: &[Layer]) -> Vec<&str> {
    let heavy = layers.iter().filter(|layer| layer.compute);
    heavy.map(|layer| layer.precision.as_deref().unwrap_or("unknown")).collect()
}

#[test]
fn answers_are_those_of_python() {
    for (name, kind, expected) in [
        ("fp32.onnx", ArtifactKind::OnnxFp32, "onnxruntime_fp32.npy"),
        ("fp16.onnx", ArtifactKind::OnnxFp16, "onnxruntime_fp16.npy"),
        ("int8.onnx", ArtifactKind::OnnxInt8, "onnxruntime_int8.npy"),
    ] {
        let mut session = open(&model(name, kind)).unwrap();
        let outputs = session.run(&samples().into()).unwrap();
        assert_eq!(outputs.len(), 1);
        assert_eq!(outputs[0].name, "logits");
        assert_close(&outputs[0], expected);
    }
}

#[test]
fn half_precision_borders_are_fed_and_kept() {
    let mut session = open(&model("fp16_border.onnx", ArtifactKind::OnnxFp16)).unwrap();
    assert_eq!(session.signature().inputs[0].element_type, ElementType::Float16);
    // Floats are rounded to the floats that the model takes, whoever rounds them.
    let mut halves = samples();
    halves.values = halves.values.to_float(ElementType::Float16).unwrap();
    for input in [samples(), halves] {
        let outputs = session.run(&input.into()).unwrap();
        assert_eq!(outputs[0].element_type(), ElementType::Float16);
        assert_close(&outputs[0], "onnxruntime_fp16_border.npy");
    }
}

#[test]
fn every_batch_size_runs_and_all_outputs_come_by_default() {
    let mut request = model("fp32.onnx", ArtifactKind::OnnxFp32);
    request.options.outputs.clear();
    let mut session = open(&request).unwrap();
    assert_eq!(session.signature().outputs.len(), 2);
    let logits = session.signature().outputs.iter().position(|output| output.name == "logits").unwrap();
    let (_, expected) = npy("onnxruntime_fp32.npy");
    for row in 0..4 {
        let outputs = session.run(&rows(&samples(), row..row + 1).into()).unwrap();
        for (got, wanted) in outputs[logits].floats().iter().zip(&expected[row * 5..]) {
            assert!((got - wanted).abs() <= 1e-5, "sample {row}: {got} for {wanted}");
        }
    }
}

#[test]
fn layers_tell_the_precision_that_really_computes() {
    let precisions = |name: &str, kind| {
        let layers = open(&model(name, kind)).unwrap().layers().unwrap().unwrap();
        computing(&layers).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(precisions("fp32.onnx", ArtifactKind::OnnxFp32), ["fp32", "fp32", "fp32"]);
    // The last product stays between its Q/DQ pairs: its input is an output of the graph as well, which keeps the
    // signed integers that ONNX Runtime turns into unsigned ones everywhere else.
    assert_eq!(precisions("int8.onnx", ArtifactKind::OnnxInt8), ["int8", "int8", "fp32"]);
    // Each is declared as the artifact's graph has it, whatever the processor makes of it.
    for (name, kind, expected) in
        [("fp16.onnx", ArtifactKind::OnnxFp16, "fp16"), ("int8.onnx", ArtifactKind::OnnxInt8, "int8")]
    {
        let layers = open(&model(name, kind)).unwrap().layers().unwrap().unwrap();
        let mut heavy = layers.iter().filter(|layer| layer.compute);
        assert!(heavy.all(|layer| layer.declared.as_deref() == Some(expected)), "{layers:?}");
    }
    // The CPU provider of x86-64 has no half-precision convolution: it casts to 32-bit floats and back.
    if cfg!(target_arch = "x86_64") {
        assert_eq!(precisions("fp16.onnx", ArtifactKind::OnnxFp16), ["fp32", "fp32", "fp32"]);
    }
}

#[test]
fn without_optimisation_the_nodes_stay_as_they_are() {
    let mut request = model("int8.onnx", ArtifactKind::OnnxInt8);
    request.options.optimize = false;
    let layers = open(&request).unwrap().layers().unwrap().unwrap();
    assert!(layers.iter().any(|layer| layer.kind == "DequantizeLinear"));
    assert_eq!(computing(&layers), ["fp32", "fp32", "fp32"]);
}

#[test]
fn wrong_inputs_are_refused() {
    let mut session = open(&model("fp32.onnx", ArtifactKind::OnnxFp32)).unwrap();
    let mut narrow = samples();
    narrow.shape = vec![4, 8, 6, 4];
    assert!(session.run(&narrow.into()).unwrap_err().message.contains("has shape [4, 8, 6, 4]"));
    let mut bytes = samples();
    bytes.values = Values::Uint8(vec![0; bytes.values.len()]);
    assert_eq!(session.run(&bytes.into()).unwrap_err().message, "`input_1` is uint8, expected float32");
    let mut named = samples();
    named.name = "image".to_owned();
    assert_eq!(session.run(&named.into()).unwrap_err().message, "expected tensor `input_1`, got `image`");
    assert_close(&session.run(&samples().into()).unwrap()[0], "onnxruntime_fp32.npy");
}

#[test]
fn an_unknown_output_names_those_that_are_there() {
    let mut request = model("fp32.onnx", ArtifactKind::OnnxFp32);
    request.options.outputs = vec!["probabilities".to_owned()];
    let error = refusal(&request);
    assert_eq!(error.message, "the model has no output `probabilities`");
    assert!(error.hint.unwrap().contains("`logits`"));
}

#[test]
fn a_truncated_or_garbled_model_is_an_error() {
    let length = fs::read(fixture("fp32.onnx")).unwrap().len();
    for keep in [0, 1, 50, length / 2, length - 1] {
        let (_folder, file) = damaged("fp32.onnx", |bytes| bytes.truncate(keep));
        let error = refusal(&request(Library::Onnxruntime, file, ArtifactKind::OnnxFp32, 4));
        assert!(error.message.starts_with("ONNX Runtime cannot load"), "{keep} bytes: {error}");
        assert!(!error.causes.is_empty() && error.hint.is_some());
    }
    let (_folder, file) = damaged("fp32.onnx", |bytes| bytes.fill(0xff));
    assert!(refusal(&request(Library::Onnxruntime, file, ArtifactKind::OnnxFp32, 4)).message.contains("cannot load"));
    let missing = request(Library::Onnxruntime, fixture("absent.onnx"), ArtifactKind::OnnxFp32, 4);
    assert!(refusal(&missing).message.starts_with("cannot open"));
}

#[test]
fn a_library_that_is_none_is_an_error() {
    let mut request = model("fp32.onnx", ArtifactKind::OnnxFp32);
    let right = request.installation.file.clone();
    request.installation.file = Path::new("/usr/lib/libonnxruntime-of-nowhere.so").to_path_buf();
    assert!(refusal(&request).message.starts_with("cannot load ONNX Runtime from"));
    // A failed load does not spoil the process; a second library in one process would be silently ignored.
    request.installation.file = right;
    assert!(open(&request).is_ok());
    request.installation.file = Path::new("/usr/lib/libonnxruntime-of-nowhere.so").to_path_buf();
    assert!(refusal(&request).message.starts_with("this process already runs ONNX Runtime from"));
}

#[test]
fn an_old_release_is_unsupported() {
    let mut request = model("fp32.onnx", ArtifactKind::OnnxFp32);
    request.installation.version = "1.20.0".to_owned();
    assert_eq!(refusal(&request).message, "ONNX Runtime 1.20.0 is older than 1.24");
}

//! TensorFlow against Python's TensorFlow, and its faults.

use std::fs;
use std::path::{Path, PathBuf};

use trtgate::internals::runtime::OpenRequest;
use trtgate::internals::tensor::{ElementType, Values};
use trtgate::internals::timing::contract::TimingContract;
use trtgate::internals::vocabulary::{ArtifactKind, Library};

use crate::drivers::{assert_close, fixture, npy, open, refusal, request, rows, samples};

fn saved_model(folder: PathBuf) -> OpenRequest {
    request(Library::Tensorflow, folder, ArtifactKind::SavedModel, 4)
}

/// A copy of the SavedModel that a test can damage.
fn copy(target: &Path) {
    for name in ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"] {
        let file = target.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::copy(fixture("saved_model").join(name), file).unwrap();
    }
}

#[test]
fn answers_are_those_of_python() {
    let mut session = open(&saved_model(fixture("saved_model"))).unwrap();
    let signature = session.signature().clone();
    assert_eq!(signature.inputs[0].name, "input_1");
    assert_eq!(signature.inputs[0].shape, [None, Some(8), Some(8), Some(3)]);
    let outputs = session.run(&samples().into()).unwrap();
    assert_eq!(outputs.len(), 1);
    assert_eq!((outputs[0].name.as_str(), outputs[0].element_type()), ("logits", ElementType::Float32));
    assert_close(&outputs[0], "tensorflow.npy");
}

#[test]
fn every_batch_size_runs_and_all_outputs_come_by_default() {
    let mut request = saved_model(fixture("saved_model"));
    request.options.outputs.clear();
    let mut session = open(&request).unwrap();
    let names: Vec<&str> = session.signature().outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["features", "logits"]);
    let (_, expected) = npy("tensorflow.npy");
    for row in 0..4 {
        let outputs = session.run(&rows(&samples(), row..row + 1).into()).unwrap();
        for (got, wanted) in outputs[1].floats().iter().zip(&expected[row * 5..]) {
            assert!((got - wanted).abs() <= 1e-5, "sample {row}: {got} for {wanted}");
        }
    }
}

#[test]
fn without_optimisation_the_answers_are_the_same() {
    let mut request = saved_model(fixture("saved_model"));
    request.options.optimize = false;
    assert_close(&open(&request).unwrap().run(&samples().into()).unwrap()[0], "tensorflow.npy");
}

#[test]
fn wrong_inputs_are_refused_before_the_library_sees_them() {
    let mut session = open(&saved_model(fixture("saved_model"))).unwrap();
    let mut narrow = samples();
    narrow.shape = vec![4, 8, 6, 4];
    let error = session.run(&narrow.into()).unwrap_err();
    assert_eq!(error.message, "`input_1` has shape [4, 8, 6, 4], expected [N, 8, 8, 3]");
    let mut bytes = samples();
    bytes.values = Values::Int8(vec![0; bytes.values.len()]);
    assert_eq!(session.run(&bytes.into()).unwrap_err().message, "`input_1` is int8, expected float32");
    let mut short = samples();
    short.values.as_mut::<f32>().unwrap().pop();
    assert!(session.run(&short.into()).unwrap_err().message.contains("comes with 767 values"));
    let mut none = samples();
    none.shape[0] = 0;
    none.values.as_mut::<f32>().unwrap().clear();
    // How many samples there may be is open; what the library makes of none is its own error, and no answer.
    session.run(&none.into()).unwrap_err();
    // The session is as good as before.
    assert_close(&session.run(&samples().into()).unwrap()[0], "tensorflow.npy");
}

#[test]
fn an_unknown_output_or_signature_names_those_that_are_there() {
    let mut request = saved_model(fixture("saved_model"));
    request.options.outputs = vec!["probabilities".to_owned()];
    assert_eq!(refusal(&request).hint.as_deref(), Some("its outputs are `features`, `logits`"));
    request.options.signature = "classify".to_owned();
    assert_eq!(refusal(&request).hint.as_deref(), Some("it has `serving_default`"));
}

#[test]
fn a_damaged_saved_model_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let graph = folder.path().join("saved_model.pb");
    let index = folder.path().join("variables/variables.index");
    let data = folder.path().join("variables/variables.data-00000-of-00001");

    copy(folder.path());
    fs::remove_file(&data).unwrap();
    assert!(refusal(&saved_model(folder.path().to_path_buf())).message.starts_with("TensorFlow cannot load"));

    copy(folder.path());
    fs::write(&data, b"short").unwrap();
    assert!(refusal(&saved_model(folder.path().to_path_buf())).message.starts_with("TensorFlow cannot load"));

    copy(folder.path());
    fs::write(&index, vec![0x5a; 389]).unwrap();
    assert!(refusal(&saved_model(folder.path().to_path_buf())).message.starts_with("TensorFlow cannot load"));

    copy(folder.path());
    fs::remove_file(&index).unwrap();
    assert!(refusal(&saved_model(folder.path().to_path_buf())).message.ends_with("has lost its variables"));

    let bytes = fs::read(fixture("saved_model/saved_model.pb")).unwrap();
    for length in [1, 100, bytes.len() / 2, bytes.len() - 1] {
        copy(folder.path());
        fs::write(&graph, &bytes[..length]).unwrap();
        assert!(refusal(&saved_model(folder.path().to_path_buf())).message.ends_with("is corrupt or truncated"));
    }
    fs::write(&graph, b"").unwrap();
    assert!(refusal(&saved_model(folder.path().to_path_buf())).message.ends_with("has no graph tagged `serve`"));
}

#[test]
fn another_kind_of_artifact_is_unsupported() {
    let request = request(Library::Tensorflow, fixture("fp32.onnx"), ArtifactKind::OnnxFp32, 4);
    assert_eq!(refusal(&request).message, "tensorflow runs `savedmodel`, not `onnx-fp32`");
}

#[test]
fn a_library_that_is_none_is_an_error() {
    let mut request = saved_model(fixture("saved_model"));
    let folder = tempfile::tempdir().unwrap();
    request.installation.file = folder.path().join("libtensorflow_cc.so.2");
    fs::write(&request.installation.file, b"\x7fELF and nothing more").unwrap();
    assert!(refusal(&request).message.starts_with("cannot load TensorFlow from"));
    // A library, but another one.
    request.installation.file = Path::new("libm.so.6").to_path_buf();
    assert_eq!(refusal(&request).message, "`libm.so.6` has no symbol `TF_Version`");
}

#[test]
fn a_version_that_the_package_denies_is_an_error() {
    let mut request = saved_model(fixture("saved_model"));
    request.installation.version = "1.15.0".to_owned();
    assert!(refusal(&request).message.ends_with("its package says `1.15.0`"));
}

#[test]
fn measuring_gives_times_and_the_last_answers() {
    let mut session = open(&saved_model(fixture("saved_model"))).unwrap();
    let contract =
        TimingContract { warm_up_milliseconds: 1, duration_milliseconds: 5, iterations: 3, ..TimingContract::host() };
    let measurement = session.measure(&[samples().into()], &contract).unwrap();
    assert!(measurement.batches >= 3 && measurement.samples_per_second() > 0.0);
    let (_, expected) = npy("tensorflow.npy");
    assert_eq!(measurement.outputs[0][0].values.len(), expected.len());
}

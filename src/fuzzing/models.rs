//! Models: ONNX graphs with their walkers, values in other files, SavedModels, TFLite.

use std::path::Path;

use super::on_file;
use crate::check::saturation::Saturation;
use crate::convert::pin::Reading;
use crate::convert::tflite as lite;
use crate::explain;
use crate::manifest::ModelSource;
use crate::onnx;
use crate::repository::{self, Verdict};
use crate::runtime::{onnxruntime, tensorflow};

/// Everything that walks a graph.
pub(super) fn onnx(bytes: &[u8]) -> bool {
    let _ = onnx::widen(bytes);
    let _ = onnxruntime::read_layers(bytes);
    let Ok(model) = onnx::parse(bytes) else { return false };
    let signature = onnx::signature(&model);
    let structure = onnx::structure(&model);
    assert!(!structure.to_string().is_empty());
    for output in &signature.outputs {
        let _ = onnx::ending(&model, &output.name);
        let _ = onnx::source_of(&model, &output.name);
    }
    let saturation = Saturation::of(&model);
    let _ = (saturation.is_proven(), saturation.worst(), saturation.beyond(&Saturation::of(&model)).check(None));
    for input in &signature.inputs {
        let _ = onnx::scales_bytes(&model, &input.name);
        explain::walk(&model, &input.name);
    }
    let made = model.graph.iter().flat_map(|graph| &graph.node).filter_map(|node| node.output.first());
    let names: Vec<&str> = made.take(4).map(String::as_str).collect();
    if let Ok(joined) = onnx::append_outputs(bytes, names) {
        assert!(onnx::parse(&joined).is_ok(), "a model does not read with outputs appended");
    }
    let _ = onnx::consistent(&model);
    let _ = onnx::inline(model);
    true
}

/// A model beside a file of 64 bytes that may hold its values: the one file out of both has what a reader of both has.
pub(super) fn onnx_external(bytes: &[u8]) -> bool {
    on_file("external/m.onnx", bytes, |path| {
        let values: Vec<u8> = (0..64).collect();
        if std::fs::write(path.with_file_name("w.bin"), values).is_err() {
            return false;
        }
        let source = ModelSource::Onnx { path: path.to_owned() };
        let Ok(reading) = Reading::of(&source) else { return false };
        let whole = reading.bytes();
        assert_eq!(crate::digest::digest_bytes(&whole), reading.sha256());
        // Nothing is elsewhere once it was brought here.
        let elsewhere = on_file("whole.onnx", &whole, |path| onnx::has_values_elsewhere(path).unwrap_or(false));
        assert!(!elsewhere, "the one file still keeps values in others");
        true
    })
}

pub(super) fn saved_model(bytes: &[u8]) -> bool {
    on_file("saved/saved_model.pb", bytes, |path| {
        let index = path.with_file_name("variables").join("variables.index");
        let beside = index.parent().is_some_and(|folder| std::fs::create_dir(folder).is_ok());
        beside && std::fs::write(index, "").is_ok() && path.parent().is_some_and(tensorflow::look_through)
    })
}

pub(super) fn tflite(bytes: &[u8]) -> bool {
    let _ = lite::border::border(bytes);
    lite::structure(bytes).is_ok_and(|structure| !structure.to_string().is_empty())
}

/// A model's configuration, alone and beside a file: read, held to every rule, and what is found written in every form.
pub(super) fn triton_config(bytes: &[u8]) -> bool {
    on_file("repository/m/config.pbtxt", bytes, |path| {
        let Some(repository) = path.parent().and_then(Path::parent) else { return false };
        let options = repository::Options { server: "25.06".parse().ok(), no_gpu: true };
        let Ok(checked) = repository::check(repository, &options) else { return false };
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
        for place in checked.findings.iter().filter_map(|finding| finding.place) {
            assert!((1..=lines).contains(&place.line) && place.end_line >= place.line, "{place:?} of {lines} lines");
        }
        assert!(!checked.table(false).is_empty() && repository::sarif(&checked).is_ok());
        assert!(serde_json::to_string(&checked).is_ok());
        // Its text is sound where nothing stands between it and the rules about files.
        !checked.findings.iter().any(|finding| finding.place.is_some() && finding.verdict == Verdict::Refused)
    })
}

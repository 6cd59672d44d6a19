//! The explanation names exactly the layer that was broken, and nothing where nothing is.

use std::path::Path;

use rstest::rstest;
use serde_json::Value;

use crate::context::{Context, Run, report};
use trtgate::internals::digest::digest_file;
use trtgate::internals::vocabulary::Status;

/// A folder with the artifacts of INT8 in ONNX Runtime, of which the INT8 graph was changed.
fn exported(change: impl FnOnce(&mut Vec<u8>)) -> Context {
    let context = Context::new();
    context.manifest(&[]);
    let export = context.run(&["export", "--only", "onnx-fp32", "--only", "onnx-int8-cpu", "--output", "artifacts"]);
    assert_eq!(export.code, 0, "{}", export.shown());
    let graph = context.path("artifacts/cifar10.onnx-int8-cpu.onnx");
    let old = digest_file(&graph).unwrap();
    let mut bytes = std::fs::read(&graph).unwrap();
    change(&mut bytes);
    std::fs::write(&graph, &bytes).unwrap();
    relist(&context.path("artifacts/artifacts.json"), &old, &graph);
    context
}

/// Explains INT8 in ONNX Runtime with a changed graph.
fn explained(change: impl FnOnce(&mut Vec<u8>)) -> (Run, Value) {
    let context = exported(change);
    let run = context.run(&[
        "explain",
        "onnxruntime/int8/batch-8",
        "--probes",
        "8",
        "--artifacts",
        "artifacts",
        "--json",
        "explanation.json",
    ]);
    let path = context.path("explanation.json");
    assert!(path.is_file(), "no explanation: {}", run.shown());
    (run, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

/// Makes the list of artifacts agree with a changed file.
fn relist(list: &Path, old: &str, file: &Path) {
    let text = std::fs::read_to_string(list).unwrap();
    std::fs::write(list, text.replace(old, &digest_file(file).unwrap())).unwrap();
}

/// Doubles every value of the stored tensor `name` of 32-bit floats, in place.
fn double(bytes: &mut [u8], name: &str) {
    let model = trtgate::internals::onnx::parse(bytes).unwrap();
    let tensor = model.graph.unwrap().initializer.into_iter().find(|tensor| tensor.name == name).unwrap();
    let values: Vec<u8> = match tensor.raw_data {
        Some(raw) => raw.to_vec(),
        None => tensor.float_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    // Raw bytes follow the name, floats stand in front of it; a few bytes of tags and lengths lie between.
    let near = |place: usize| {
        let from = place.saturating_sub(values.len() + 4);
        let to = (place + name.len() + values.len() + 8).min(bytes.len());
        Some(from + bytes[from..to].windows(values.len()).position(|window| window == values)?)
    };
    let places = bytes.windows(name.len()).enumerate().filter(|(_, window)| *window == name.as_bytes());
    let from = places.filter_map(|(place, _)| near(place)).next().unwrap();
    for value in bytes[from..from + values.len()].as_chunks_mut::<4>().0 {
        *value = (2.0 * f32::from_le_bytes(*value)).to_le_bytes();
    }
}

const MODEL: &str = "StatefulPartitionedCall";

#[test]
fn a_sound_cell_has_nothing_to_name() {
    let (run, explanation) = explained(|_| {});
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(explanation["found"].is_null(), "{}", run.shown());
    let tensors = explanation["tensors"].as_array().unwrap();
    assert!(tensors.len() > 30 && tensors.iter().all(|row| row["outside"].is_null()));
}

#[rstest]
#[case("stage1_in_relu", &["stage1_a_conv", "stage1_add"])]
#[case("stage2_a_relu", &["stage2_b_conv"])]
#[case("stage2_b_norm", &["stage2_add"])]
#[case("stage3_out", &["stage4_in_conv"])]
#[case("pool_Squeeze__135", &["dense"])]
fn the_doubled_scale_of_one_layer_is_named(#[case] tensor: &str, #[case] readers: &[&str]) {
    let (run, explanation) = explained(|bytes| double(bytes, &format!("{MODEL}/{tensor}:0_scale")));
    assert_eq!(run.code, 1, "{}", run.shown());
    let found = &explanation["found"];
    assert_eq!(found["tensor"], format!("{MODEL}/{tensor}:0"), "{}", run.shown());
    assert_eq!(found["fault"], "scale");
    let readers: Vec<String> = readers.iter().map(|reader| format!("{MODEL}/{reader}")).collect();
    assert_eq!(found["layers"], serde_json::json!(readers), "{}", run.shown());
    let row = &explanation["tensors"][found["index"].as_u64().unwrap() as usize];
    let ratio = row["pair"]["scale_ratio"].as_f64().unwrap();
    assert!((1.9..2.3).contains(&ratio), "{ratio}");
    // Exactly that one: no pair in front of it and none behind it.
    let scales = explanation["tensors"].as_array().unwrap().iter().filter(|row| row["outside"] == "scale");
    assert_eq!(scales.count(), 1, "{}", run.shown());
}

/// Every scale of one layer: that of the pair in front of it, of its weights and of its bias.
#[test]
fn all_scales_of_one_layer_doubled_name_that_layer_alone() {
    let (run, explanation) = explained(|bytes| {
        for part in ["stage3_in_relu:0", "stage3_a_conv_weights_fused_bn", "stage3_a_conv_bias_fused_bn"] {
            double(bytes, &format!("{MODEL}/{part}_scale"));
        }
    });
    let found = &explanation["found"];
    assert_eq!(found["layers"], serde_json::json!([format!("{MODEL}/stage3_a_conv")]), "{}", run.shown());
    let rows = explanation["tensors"].as_array().unwrap().iter();
    let scaled: Vec<&str> = rows
        .filter(|row| row["outside"] == "scale" || row["outside"] == "constant")
        .map(|row| row["tensor"].as_str().unwrap())
        .collect();
    assert_eq!(scaled, ["stage3_in_relu:0", "stage3_a_norm:0"].map(|name| format!("{MODEL}/{name}")));
}

#[test]
fn the_doubled_scale_of_weights_names_their_layer() {
    let weights = format!("{MODEL}/stage3_a_conv_weights_fused_bn");
    let (run, explanation) = explained(|bytes| double(bytes, &format!("{weights}_scale")));
    assert_eq!(run.code, 1, "{}", run.shown());
    let found = &explanation["found"];
    assert_eq!(found["layers"], serde_json::json!([format!("{MODEL}/stage3_a_conv")]), "{}", run.shown());
    assert_eq!(found["fault"], "constant");
    assert!(found["reason"].as_str().unwrap().contains(&weights));
}

/// One doubled scale of an activation costs a bit in one layer: the outputs stay within the ladder.
#[test]
fn the_gate_catches_a_doubled_scale_by_its_scales() {
    let context = exported(|bytes| double(bytes, &format!("{MODEL}/stage2_a_relu:0_scale")));
    let run = context.run(&[
        "gate",
        "--artifacts",
        "artifacts",
        "--runtime",
        "onnxruntime",
        "--precision",
        "int8",
        "--batch",
        "8",
        "--json",
        "r.json",
    ]);
    let cell = report(&context.path("r.json")).cells.remove(0);
    assert_eq!((run.code, cell.status), (1, Status::Fail), "{}", run.shown());
    let failed: Vec<&str> = cell
        .checks
        .iter()
        .filter(|check| check.gating && check.status == Status::Fail)
        .map(|check| check.name.as_str())
        .collect();
    assert_eq!(failed, ["scales"]);
    let reason = cell.reason.unwrap();
    assert!(reason.contains("stage2_a_relu:0") && reason.contains("stage2_b_conv"), "{reason}");
    assert!(reason.contains("2.00 times that of its calibration"), "{reason}");
}

#[test]
fn runtimes_without_inner_tensors_are_refused() {
    let context = Context::new();
    context.manifest(&[]);
    let run = context.run(&["explain", "litert/int8/batch-8"]);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.stderr.contains("`litert` shows no inner tensors"), "{}", run.stderr);
}

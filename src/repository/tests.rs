//! Configurations and what a real server (Triton 2.51.0 with its Python backend standing in for the others) said to each, held to
//! what the rules say.
#![allow(clippy::unwrap_used)]

mod cases;
mod ensembles;
mod files;
mod written;

use std::path::Path;

use prost::Message as _;

use super::*;
use crate::onnx::samples::{graph, model, node};
use crate::onnx::{Dimension, Shape, TensorType, Type, ValueInfo};

/// What `check` says of one model: names of rules with a letter for the verdict, `r`, `a` or `n`.
fn said(checked: &Checked) -> Vec<String> {
    let letter = |verdict| match verdict {
        Verdict::Refused => 'r',
        Verdict::Accepted => 'a',
        Verdict::Note => 'n',
    };
    let mut said: Vec<String> =
        checked.findings.iter().map(|finding| format!("{} {}", finding.rule.name(), letter(finding.verdict))).collect();
    said.sort();
    said.dedup();
    said
}

/// An input or output: 0 for an open size.
fn border(name: &str, element: i32, shape: &[i64]) -> ValueInfo {
    let size = |&size: &i64| match size {
        0 => Dimension { dim_value: None, dim_param: Some("N".to_owned()) },
        size => Dimension { dim_value: Some(size), dim_param: None },
    };
    let shape = Some(Shape { dim: shape.iter().map(size).collect() });
    let kind = Type { tensor_type: Some(TensorType { elem_type: element, shape }), ..Type::tensor(element) };
    ValueInfo { name: name.to_owned(), kind: Some(kind) }
}

/// A graph with these inputs and outputs, in floats.
fn onnx(inputs: &[(&str, &[i64])], outputs: &[(&str, &[i64])]) -> Vec<u8> {
    let borders = |all: &[(&str, &[i64])]| all.iter().map(|(name, shape)| border(name, 1, shape)).collect::<Vec<_>>();
    let nodes = outputs.iter().map(|(name, _)| node("Flatten", inputs[0].0, name)).collect();
    model(graph(borders(inputs), nodes, borders(outputs))).encode_to_vec()
}

/// The classifier that the configurations are of.
fn classifier() -> Vec<u8> {
    onnx(&[("input_1", &[0, 32, 32, 3])], &[("logits", &[0, 10])])
}

/// Writes a model: its configuration where there is one, and `bytes` as `file` of each version.
fn write(repository: &Path, name: &str, config: Option<&str>, versions: &[&str], file: &str, bytes: &[u8]) {
    let folder = repository.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    if let Some(config) = config {
        std::fs::write(folder.join("config.pbtxt"), config).unwrap();
    }
    for version in versions {
        std::fs::create_dir_all(folder.join(version)).unwrap();
        std::fs::write(folder.join(version).join(file), bytes).unwrap();
    }
}

/// A configuration with most of what may stand in one, which nothing is wrong with.
pub(crate) fn whole() -> String {
    "# whole\nname: \"m\"; platform: 'onnxruntime_onnx', backend: \"onnx\" \"runtime\"\nmax_batch_size: 0x8\n\
     input <name: \"a\\x41\\u00e9\" data_type: TYPE_FP32 dims: [ -1, 3 ] reshape { shape: [ -1, 1, 3 ] } optional: t>\n\
     output [ { name: \"y\" data_type: 11 dims: 10 dims: 2 } ]\ninstance_group { kind: KIND_CPU count: 1 rate_limiter { priority: 2 } }\n\
     version_policy { specific { versions: [ 1 ] } }\noptimization { cuda { graphs: 0 graph_spec { input { key: \"a\" value { dim: 1 } } } } }\n\
     dynamic_batching { max_queue_delay_microseconds: 100 priority_levels: 2 default_priority_level: 1 \
     priority_queue_policy { key: 1 value { timeout_action: DELAY max_queue_size: 010 } } }\ncc_model_filenames []\n\
     parameters { key: \"k\" value: { string_value: \"v\" } }\nmodel_warmup { name: \"w\" batch_size: 1 \
     inputs { key: \"aA\\303\\251\" value { data_type: TYPE_FP32 dims: [ 1, 3 ] zero_data: true } } }\n"
        .to_owned()
}

#[test]
fn a_configuration_with_most_of_what_there_is_has_nothing_wrong() {
    let bytes = onnx(&[("aA\u{e9}", &[0, 0, 1, 3])], &[("y", &[0, 10, 2])]);
    let checked = of(&whole(), "model.onnx", &bytes, &Options::default());
    assert_eq!(said(&checked), [""; 0], "{}", checked.table(false));
}

/// What is said of a model with one version of `bytes` in `file`.
fn of(config: &str, file: &str, bytes: &[u8], options: &Options) -> Checked {
    let repository = tempfile::tempdir().unwrap();
    write(repository.path(), "m", Some(config), &["1"], file, bytes);
    check(repository.path(), options).unwrap()
}

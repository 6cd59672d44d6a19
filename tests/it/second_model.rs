//! Another model than the one that ships: other sizes, one channel, softmax, other names, both layouts. Everything that is
//! gated for the shipped model is gated for it with what `init` writes, unchanged.

use std::path::Path;
use std::process::Command;

use prost::Message as _;

use crate::context::{Context, report, succeeded};
use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;
use trtgate::internals::findings::Report;
use trtgate::internals::onnx::{
    Attribute, Dimension, Graph, Model, Node, OperatorSet, Shape, TensorData, TensorType, Type, ValueInfo,
};
use trtgate::internals::vocabulary::{Library, Status};

/// Classes of the ONNX model.
pub const CLASSES: usize = 7;

/// Numbers in [−1, 1), the same everywhere.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }

    pub(crate) fn take(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| scale * self.next()).collect()
    }
}

pub(crate) fn node(name: &str, operator: &str, input: &[&str], output: &str, integers: &[(&str, &[i64])]) -> Node {
    let attribute = |&(name, values): &(&str, &[i64])| match values {
        // 2 is the kind of one integer, 7 that of several.
        [value] => Attribute { name: name.to_owned(), i: *value, kind: 2, ..Attribute::default() },
        values => Attribute { name: name.to_owned(), ints: values.to_vec(), kind: 7, ..Attribute::default() },
    };
    Node {
        name: name.to_owned(),
        op_type: operator.to_owned(),
        input: input.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute: integers.iter().map(attribute).collect(),
        ..Node::default()
    }
}

pub(crate) fn stored(name: &str, dims: &[i64], values: &[f32]) -> TensorData {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(dims.iter().product::<i64>() as usize, values.len(), "{name}");
    TensorData {
        name: name.to_owned(),
        data_type: 1,
        dims: dims.to_vec(),
        raw_data: Some(bytes.into()),
        ..TensorData::default()
    }
}

pub(crate) fn border(name: &str, sizes: &[i64]) -> ValueInfo {
    let batch = Dimension { dim_value: None, dim_param: Some("images".to_owned()) };
    let fixed = sizes.iter().map(|&size| Dimension { dim_value: Some(size), dim_param: None });
    let shape = Shape { dim: std::iter::once(batch).chain(fixed).collect() };
    let kind = Type { tensor_type: Some(TensorType { elem_type: 1, shape: Some(shape) }), ..Type::default() };
    ValueInfo { name: name.to_owned(), kind: Some(kind) }
}

/// A classifier of pictures `[N, 1, 20, 24]` that says which of seven regions is the brightest: two convolutions with
/// some noise in their weights, pooling, a dense layer, softmax.
pub(crate) fn onnx() -> Vec<u8> {
    let mut numbers = Numbers(7);
    // The first channel keeps brightness, the others hold features that the dense layer weighs a little.
    let mut first = numbers.take(12 * 9, 0.3);
    first[..9].fill(1.0 / 9.0);
    let mut second = numbers.take(16 * 12 * 9, 0.1);
    second[..12 * 9].fill(0.0);
    second[..9].fill(1.0 / 9.0);
    // Rows of the dense layer, by channel and cell of the 5 × 6 grid that the second convolution leaves.
    let mut dense = numbers.take(CLASSES * 16 * 30, 0.02);
    for class in 0..CLASSES {
        for cell in 0..30 {
            let inside = cell * CLASSES / 30 == class;
            dense[class * 16 * 30 + cell] += if inside { 3.0 } else { -0.5 };
        }
    }
    let nodes = vec![
        node(
            "edge",
            "Conv",
            &["glyph", "edge.weight", "edge.bias"],
            "edge.out",
            &[("kernel_shape", &[3, 3]), ("pads", &[1, 1, 1, 1]), ("strides", &[2, 2])],
        ),
        node("edge_relu", "Relu", &["edge.out"], "edge.active", &[]),
        node(
            "shape",
            "Conv",
            &["edge.active", "shape.weight", "shape.bias"],
            "shape.out",
            &[("kernel_shape", &[3, 3]), ("pads", &[1, 1, 1, 1]), ("strides", &[2, 2])],
        ),
        node("shape_relu", "Relu", &["shape.out"], "shape.active", &[]),
        node("flat", "Flatten", &["shape.active"], "flat.out", &[("axis", &[1])]),
        node("dense", "Gemm", &["flat.out", "dense.weight", "dense.bias"], "raw", &[("transB", &[1])]),
        node("scores", "Softmax", &["raw"], "scores", &[("axis", &[-1])]),
    ];
    let weights = vec![
        stored("edge.weight", &[12, 1, 3, 3], &first),
        stored("edge.bias", &[12], &numbers.take(12, 0.05)),
        stored("shape.weight", &[16, 12, 3, 3], &second),
        stored("shape.bias", &[16], &numbers.take(16, 0.05)),
        stored("dense.weight", &[CLASSES as i64, 16 * 30], &dense),
        stored("dense.bias", &[CLASSES as i64], &[0.0; CLASSES]),
    ];
    classifier(nodes, weights)
}

/// A model of pictures of 20 × 24 pixels in [`CLASSES`] classes.
pub fn classifier(nodes: Vec<Node>, weights: Vec<TensorData>) -> Vec<u8> {
    let model = Model {
        ir_version: 8,
        producer_name: "tests".to_owned(),
        opset_import: vec![OperatorSet { domain: String::new(), version: 17 }],
        graph: Some(Graph {
            name: "glyphs".to_owned(),
            node: nodes,
            initializer: weights,
            input: vec![border("glyph", &[1, 20, 24])],
            output: vec![border("scores", &[CLASSES as i64])],
            ..Graph::default()
        }),
        ..Model::default()
    };
    model.encode_to_vec()
}

/// Blesses the golden and gates with `runtimes`; every cell must pass, at every batch of the manifest.
fn gated(context: &Context, runtimes: &[&str]) -> Report {
    succeeded(context.run(&["bless", "--manifest", "gate.toml", "--reason", "first golden"]));
    let mut words = vec!["gate", "--manifest", "gate.toml", "--require-golden", "--json", "report.json"];
    for runtime in runtimes {
        words.extend(["--runtime", runtime]);
    }
    let run = succeeded(context.run(&words));
    let report = report(&context.path("report.json"));
    for cell in &report.cells {
        assert_eq!(cell.status, Status::Pass, "{}: {:?}\n{}", cell.id(), cell.reason, run.shown());
        assert!(cell.agreement.as_ref().unwrap().samples >= 256, "{}", cell.id());
    }
    report
}

#[test]
fn an_onnx_model_of_another_shape_is_gated_by_what_init_writes() {
    // Artifacts made elsewhere are of the project's own model.
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    std::fs::write(context.path("glyphs.onnx"), onnx()).unwrap();
    let init = succeeded(context.run(&["init", "--onnx", "glyphs.onnx"]));
    assert!(init.stderr.contains("`glyph` [N, 1, 20, 24] → `scores` [N, 7], 7 classes"), "{}", init.stderr);
    let manifest = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    assert!(manifest.contains("layout = \"nchw\"") && manifest.contains("kind = \"probabilities\""), "{manifest}");

    let report = gated(&context, &["onnxruntime"]);
    assert_eq!(report.cells.len(), 3 * 4, "three precisions at four batches");
    assert_eq!(report.model.name, "glyphs");

    // The other commands take it as well: inner tensors, and all runtimes side by side.
    let explain = succeeded(context.run(&["explain", "onnxruntime/int8/batch-8", "--probes", "8"]));
    assert!(explain.stdout.contains("no tensor leaves the ladder"), "{}", explain.shown());
    let compare = context.run(&["compare", "--all", "--precisions", "fp32,int8", "--no-timing", "--json", "all.json"]);
    assert_eq!(compare.code, 0, "{}", compare.shown());
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(context.path("all.json")).unwrap()).unwrap();
    let rows = all["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{}", compare.stdout);
    assert_eq!(rows[0]["size_to_fp32"], 1.0);

    // Its artifacts carry the probes to a machine that has neither the converters nor the store of this one.
    succeeded(context.run(&["export", "--output", "artifacts"]));
    let site = find_in(&Store::open(None).unwrap(), EXPORT).expect("the export environment").site_packages;
    let library = site.iter().map(|folder| folder.join("onnxruntime/capi")).find(|folder| folder.is_dir()).unwrap();
    let elsewhere = Context::new().with("TRTGATE_CACHE", &context.path("empty").display().to_string());
    for name in ["gate.toml", "glyphs.onnx", "snapshots", "artifacts"] {
        std::os::unix::fs::symlink(context.path(name), elsewhere.path(name)).unwrap();
    }
    let words = ["gate", "--artifacts", "artifacts", "--offline", "--require-golden", "--runtime", "onnxruntime"];
    let run = succeeded(elsewhere.run(&[&words[..], &["--library", &library.display().to_string()]].concat()));
    assert!(run.stdout.contains("PASS  12 passed"), "{}", run.shown());
}

/// A classifier of pictures `[N, 18, 14, 1]` with five classes, as TensorFlow writes it.
const SAVED_MODEL: &str = r#"
import sys

import numpy as np
import tensorflow as tf

random = np.random.default_rng(11)
regions = np.zeros((5, 4, 5), np.float32)
for cell in range(20):
    regions[cell // 4, cell % 4, cell * 5 // 20] = 1
dense = random.normal(0, 0.02, (5, 4, 10, 5))
dense[:, :, 0, :] += 4 * regions - 0.8
first = random.normal(0, 0.2, (3, 3, 1, 10))
first[:, :, 0, 0] = 1 / 9


class Letters(tf.Module):
    def __init__(self):
        super().__init__()
        self.first = tf.Variable(first.astype(np.float32))
        self.bias = tf.Variable(random.normal(0, 0.05, 10).astype(np.float32))
        self.dense = tf.Variable(dense.reshape(200, 5).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 18, 14, 1], tf.float32, name="letter")])
    def classify(self, letter):
        hidden = tf.nn.relu(tf.nn.conv2d(letter, self.first, 2, "SAME") + self.bias)
        hidden = tf.nn.max_pool2d(hidden, 2, 2, "SAME")
        return {"likelihood": tf.nn.softmax(tf.matmul(tf.reshape(hidden, [-1, 200]), self.dense))}


model = Letters()
tf.saved_model.save(model, sys.argv[1], signatures={"classify": model.classify})
"#;

/// Writes the SavedModel with the Python of the export environment.
fn save(folder: &Path) {
    let store = Store::open(None).unwrap();
    let python = find_in(&store, EXPORT).and_then(|environment| environment.python);
    let python = python.expect("the export environment is not here; `trtgate export` installs it");
    let output =
        Command::new(python).args(["-c", SAVED_MODEL]).arg(folder).env("TF_CPP_MIN_LOG_LEVEL", "3").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_saved_model_with_other_names_is_gated_by_what_init_writes() {
    // Artifacts made elsewhere are of the project's own model.
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    save(&context.path("letters"));
    let init = succeeded(context.run(&["init", "--saved-model", "letters", "--signature", "classify"]));
    assert!(init.stderr.contains("`letter` [N, 18, 14, 1] → `likelihood` [N, 5], 5 classes"), "{}", init.stderr);

    let report = gated(&context, &["tensorflow", "onnxruntime", "litert"]);
    for library in [Library::Tensorflow, Library::Onnxruntime, Library::Litert] {
        assert!(report.cells.iter().any(|cell| cell.runtime.library == library), "{library}");
    }
    assert_eq!(report.cells.len(), (1 + 3 + 1) * 4);
}

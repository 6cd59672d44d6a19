//! Tables: features of their own scale go from `init` to a pass with one edit, and a forest is gated as far as it can be.

use prost::Message as _;
use trtgate::internals::findings::Report;
use trtgate::internals::onnx::{
    Attribute, Dimension, Graph, Model, Node, OperatorSet, Shape, TensorData, TensorType, Type, ValueInfo,
};
use trtgate::internals::vocabulary::{Precision, Status};

use crate::context::{Context, report, succeeded};
use crate::second_model::{Numbers, node, stored};

/// A tensor of the border, `[N, size]`, or `[N]`.
fn border(name: &str, elem_type: i32, size: Option<i64>) -> ValueInfo {
    let open = Dimension { dim_value: None, dim_param: Some("N".to_owned()) };
    let size = size.map(|size| Dimension { dim_value: Some(size), dim_param: None });
    let shape = Some(Shape { dim: std::iter::once(open).chain(size).collect() });
    let kind = Type { tensor_type: Some(TensorType { elem_type, shape }), ..Type::default() };
    ValueInfo { name: name.to_owned(), kind: Some(kind) }
}

fn model(node: Vec<Node>, initializer: Vec<TensorData>, features: i64, output: Vec<ValueInfo>) -> Vec<u8> {
    let version = |domain: &str, version| OperatorSet { domain: domain.to_owned(), version };
    let input = vec![border("x", 1, Some(features))];
    let graph = Graph { name: "table".to_owned(), node, initializer, input, output, ..Graph::default() };
    let opset_import = vec![version("", 17), version("ai.onnx.ml", 3)];
    Model { ir_version: 8, opset_import, graph: Some(graph), ..Model::default() }.encode_to_vec()
}

/// Thirty standardised features, as of a scaler, to two classes.
fn network() -> Vec<u8> {
    let mut numbers = Numbers(3);
    let nodes = vec![
        node("dense", "Gemm", &["x", "w1"], "z1", &[]),
        node("relu", "Relu", &["z1"], "h", &[]),
        node("scores", "Gemm", &["h", "w2"], "z2", &[]),
        node("softmax", "Softmax", &["z2"], "p", &[("axis", &[1])]),
    ];
    let weights =
        vec![stored("w1", &[30, 16], &numbers.take(480, 0.3)), stored("w2", &[16, 2], &numbers.take(32, 1.5))];
    model(nodes, weights, 30, vec![border("p", 1, Some(2))])
}

/// Forty trees of three questions over six features, three classes: labels and probabilities, as skl2onnx writes them.
fn forest() -> Vec<u8> {
    let mut numbers = Numbers(5);
    let (mut trees, mut nodes, mut features, mut values, mut modes) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut when_true, mut when_false) = (vec![], vec![]);
    let (mut leaf_trees, mut leaves, mut classes, mut weights) = (vec![], vec![], vec![], vec![]);
    for (tree, place) in (0..40_i64).flat_map(|tree| (0..7_i64).map(move |place| (tree, place))) {
        let is_leaf = place > 2;
        trees.push(tree);
        nodes.push(place);
        features.push(if is_leaf { 0 } else { (tree + 2 * place) % 6 });
        values.push(if is_leaf { 0.0 } else { 0.5 + 0.3 * numbers.next() });
        modes.push(if is_leaf { "LEAF" } else { "BRANCH_LEQ" });
        when_true.push(if is_leaf { 0 } else { 2 * place + 1 });
        when_false.push(if is_leaf { 0 } else { 2 * place + 2 });
        if is_leaf {
            let shares: Vec<f32> = (0..3).map(|_| 1.05 + numbers.next()).collect();
            let total: f32 = shares.iter().sum();
            for (class, share) in (0..).zip(shares) {
                leaf_trees.push(tree);
                leaves.push(place);
                classes.push(class);
                weights.push(share / total / 40.0);
            }
        }
    }
    // 6 is the kind of several floats, 7 of integers, 8 of texts.
    let named = |name: &str, kind| Attribute { name: name.to_owned(), kind, ..Attribute::default() };
    let ints = |name: &str, ints: Vec<i64>| Attribute { ints, ..named(name, 7) };
    let floats = |name: &str, floats: Vec<f32>| Attribute { floats, ..named(name, 6) };
    let modes = modes.into_iter().map(|mode| mode.as_bytes().to_vec().into()).collect();
    let ensemble = Node {
        name: "forest".to_owned(),
        op_type: "TreeEnsembleClassifier".to_owned(),
        domain: "ai.onnx.ml".to_owned(),
        input: vec!["x".to_owned()],
        output: vec!["label".to_owned(), "probabilities".to_owned()],
        attribute: vec![
            ints("nodes_treeids", trees),
            ints("nodes_nodeids", nodes),
            ints("nodes_featureids", features),
            floats("nodes_values", values),
            Attribute { strings: modes, ..named("nodes_modes", 8) },
            ints("nodes_truenodeids", when_true),
            ints("nodes_falsenodeids", when_false),
            ints("class_treeids", leaf_trees),
            ints("class_nodeids", leaves),
            ints("class_ids", classes),
            floats("class_weights", weights),
            ints("classlabels_int64s", vec![0, 1, 2]),
        ],
        ..Node::default()
    };
    let outputs = vec![border("label", 7, None), border("probabilities", 1, Some(3))];
    model(vec![ensemble], Vec::new(), 6, outputs)
}

/// What `init` writes of a model, with one text in its place; then the gate.
fn gated(model: &[u8], edit: Option<(&str, &str)>) -> Report {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    std::fs::write(context.path("table.onnx"), model).unwrap();
    succeeded(context.run(&["init", "--no-probes", "--onnx", "table.onnx"]));
    let manifest = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    assert!(manifest.contains("kind = \"probabilities\"") && manifest.contains("layout = \"flat\""), "{manifest}");
    if let Some((from, to)) = edit {
        assert_eq!(manifest.matches(from).count(), 1, "{manifest}");
        context.write("gate.toml", &manifest.replace(from, to));
    }
    succeeded(context.run(&["gate", "--runtime", "onnxruntime", "--json", "report.json"]));
    report(&context.path("report.json"))
}

fn of(report: &Report, precision: Precision) -> Vec<Status> {
    report.cells.iter().filter(|cell| cell.precision == precision).map(|cell| cell.status).collect()
}

#[test]
fn a_table_passes_with_one_edit_of_what_init_wrote() {
    let report = gated(&network(), Some(("\nrange = [0.0, 1.0]", "\nrange = [-3.0, 3.0]")));
    for precision in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
        assert_eq!(of(&report, precision), [Status::Pass; 4], "{precision}: {:?}", report.reasons);
    }
}

#[test]
fn a_forest_is_gated_and_its_int8_is_unsupported_in_words() {
    let report = gated(&forest(), None);
    assert_eq!(of(&report, Precision::Fp16), [Status::Pass; 4], "{:?}", report.reasons);
    assert_eq!(of(&report, Precision::Int8), [Status::Unsupported; 4]);
    let reason = report.cells.iter().find(|cell| cell.precision == Precision::Int8).unwrap().reason.clone().unwrap();
    assert!(
        reason.contains("nothing in the model can be quantised") && reason.contains("TreeEnsembleClassifier"),
        "{reason}"
    );
}

//! `trtgate init` on models of many signatures: what it writes, what it says aloud, what it asks for, what it refuses.

use std::time::{Duration, Instant};

use prost::Message as _;
use rstest::rstest;
use trtgate::convert::digest::digest_bytes;
use trtgate::convert::onnx::{
    Attribute, Dimension, Graph, Model, Node, OperatorSet, Shape, TensorData, TensorType, Type, ValueInfo,
};

use crate::context::{Context, Run};

/// Element types as ONNX numbers them.
const FLOAT: i32 = 1;
const INT32: i32 = 6;
const STRING: i32 = 8;

/// A border tensor; -1 is an open size.
fn border(name: &str, elem_type: i32, sizes: &[i64]) -> ValueInfo {
    let size = |&size: &i64| match size {
        -1 => Dimension { dim_value: None, dim_param: Some("open".to_owned()) },
        size => Dimension { dim_value: Some(size), dim_param: None },
    };
    let shape = Some(Shape { dim: sizes.iter().map(size).collect() });
    ValueInfo {
        name: name.to_owned(),
        kind: Some(Type { tensor_type: Some(TensorType { elem_type, shape }), ..Type::default() }),
    }
}

/// `Operator input … -> output`.
fn node(text: &str) -> Node {
    let (left, output) = text.split_once(" -> ").unwrap();
    let mut words = left.split(' ').map(str::to_owned);
    let op_type = words.next().unwrap();
    let axis = Attribute { name: "axis".to_owned(), i: 1, kind: 2, ..Attribute::default() };
    let attribute = if op_type == "Softmax" { vec![axis] } else { Vec::new() };
    let (name, output) = (output.to_owned(), vec![output.to_owned()]);
    Node { op_type, name, input: words.collect(), output, attribute, ..Node::default() }
}

fn stored(name: &str, dims: &[i64], value: impl Fn(usize) -> f32) -> TensorData {
    let count = dims.iter().product::<i64>() as usize;
    TensorData {
        name: name.to_owned(),
        data_type: FLOAT,
        dims: dims.to_vec(),
        float_data: (0..count).map(value).collect(),
        ..TensorData::default()
    }
}

fn model(nodes: &[&str], inputs: &[ValueInfo], outputs: &[ValueInfo]) -> Model {
    Model {
        ir_version: 8,
        opset_import: vec![OperatorSet { domain: String::new(), version: 17 }],
        graph: Some(Graph {
            name: "net".to_owned(),
            node: nodes.iter().copied().map(node).collect(),
            initializer: vec![
                stored("w", &[8, 3], |index| (index % 5) as f32 - 2.0),
                stored("small", &[], |_| 1.0 / 255.0),
                stored("three", &[], |_| 3.0),
            ],
            input: inputs.to_vec(),
            output: outputs.to_vec(),
            ..Graph::default()
        }),
        ..Model::default()
    }
}

/// A dense layer of eight features, and `tail` behind it, whose last tensor is `y` [N, 3].
fn dense(tail: &[&str]) -> Model {
    let nodes = [&["Gemm x w -> z"], tail].concat();
    model(&nodes, &[border("x", FLOAT, &[-1, 8])], &[border("y", FLOAT, &[-1, 3])])
}

fn init(context: &Context, model: &Model, more: &[&str]) -> (Run, Option<String>) {
    std::fs::write(context.path("net.onnx"), model.encode_to_vec()).unwrap();
    let run = context.run(&[&["init", "--onnx", "net.onnx"][..], more].concat());
    (run, std::fs::read_to_string(context.path("gate.toml")).ok())
}

#[test]
fn a_folder_that_is_not_there_costs_nothing() {
    let context = Context::new();
    let cache = context.path("cache");
    let context = context.with("TRTGATE_CACHE", &cache.display().to_string());
    let start = Instant::now();
    let run = context.run(&["init", "--saved-model", "nowhere"]);
    // It takes milliseconds; a crowded machine may take its time.
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains("`nowhere` is not a SavedModel"), "{}", run.shown());
    assert!(!cache.exists(), "something was installed");
    let bare = context.run(&["init"]);
    assert_eq!(bare.code, 2, "{}", bare.shown());
    assert!(bare.stderr.contains("--saved-model <DIR>") && bare.stderr.contains("--onnx <FILE>"), "{}", bare.shown());
}

#[rstest]
#[case::gemm(&["Identity z -> y"], "logits", "ends in `Gemm`")]
#[case::softmax(&["Softmax z -> y"], "probabilities", "is a softmax")]
#[case::identity(&["Softmax z -> p", "Identity p -> y"], "probabilities", "is a softmax")]
#[case::log(&["Softmax z -> p", "Log p -> y"], "logits", "ends in `Log`, and does not sum to 1")]
#[case::by_hand(&["Exp z -> e", "ReduceSum e -> s", "Div e s -> y"], "logits", "does not sum to 1")]
#[case::halved(&["Softmax z -> p", "Sqrt p -> q", "Mul q q -> y"], "probabilities", "ends in `Mul`, and sums to 1")]
#[case::sigmoid(&["Sigmoid z -> y"], "logits", "ends in `Sigmoid`, and does not sum to 1")]
fn the_kind_is_told_by_the_chosen_output(#[case] tail: &[&str], #[case] kind: &str, #[case] why: &str) {
    let context = Context::new();
    let (run, manifest) = init(&context, &dense(tail), &[]);
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(manifest.unwrap().contains(&format!("\nkind = \"{kind}\"")), "{}", run.shown());
    assert!(run.stderr.contains(why), "{}", run.shown());
}

#[test]
fn what_is_written_says_what_was_guessed() {
    let context = Context::new();
    let model = dense(&["Softmax z -> p", "Identity p -> y"]);
    let (run, manifest) = init(&context, &model, &[]);
    let digest = digest_bytes(&model.encode_to_vec());
    insta::assert_snapshot!(format!(
        "{}\n--- gate.toml\n{}",
        run.shown(),
        manifest.unwrap().replace(&digest, "[SHA256]")
    ));
}

#[test]
fn open_sizes_are_asked_for() {
    let context = Context::new();
    let nodes = ["GlobalAveragePool x -> p", "Flatten p -> y"];
    let open = model(&nodes, &[border("x", FLOAT, &[-1, 3, -1, -1])], &[border("y", FLOAT, &[-1, 3])]);
    let (run, manifest) = init(&context, &open, &[]);
    assert_eq!((run.code, manifest), (2, None), "{}", run.shown());
    assert!(run.stderr.contains("height and width of input `x` [N, 3, N, N] are open"), "{}", run.shown());
    assert!(run.stderr.contains("`--size 224x224`"), "{}", run.shown());
    let (run, manifest) = init(&context, &open, &["--size", "20x24"]);
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(manifest.unwrap().contains("shape = [3, 20, 24]"));
}

#[test]
fn a_model_that_scales_bytes_takes_bytes() {
    let context = Context::new();
    let bytes =
        model(&["Mul x small -> s", "Gemm s w -> y"], &[border("x", FLOAT, &[-1, 8])], &[border("y", FLOAT, &[-1, 3])]);
    let (run, manifest) = init(&context, &bytes, &[]);
    assert!(manifest.unwrap().contains("\nrange = [0.0, 255.0]"), "{}", run.shown());
    assert!(!run.stderr.contains("guessed: `range"), "{}", run.shown());
}

#[test]
fn of_several_heads_the_one_that_is_gated_is_named() {
    let context = Context::new();
    let heads = |nodes: &[&str], outputs: &[ValueInfo]| model(nodes, &[border("x", FLOAT, &[-1, 8])], outputs);
    let float = |name: &str, classes: i64| border(name, FLOAT, &[-1, classes]);
    let mut shown = Vec::new();
    let mut show = |what: &str, model: &Model, more: &[&str]| {
        let (run, _) = init(&context, model, &[&["--force"], more].concat());
        shown.push(format!("# {what}\n{}", run.shown()));
    };
    let both = heads(&["Gemm x w -> z", "Softmax z -> p"], &[float("z", 3), float("p", 3)]);
    show("logits and their softmax", &both, &[]);
    show("the softmax, asked for", &both, &["--output", "p"]);
    show("one that is none", &both, &["--output", "q"]);
    let two = heads(&["Gemm x w -> z", "Mul z three -> t"], &[float("z", 3), float("t", 3)]);
    show("two heads", &two, &[]);
    let features = heads(&["Gemm x w -> z", "Mul x three -> f"], &[border("f", FLOAT, &[-1, 4, 2]), float("z", 3)]);
    show("a classifier and features", &features, &[]);
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn what_cannot_be_gated_is_refused_in_words() {
    let context = Context::new();
    let mut shown = Vec::new();
    let mut show = |what: &str, model: &Model| {
        let (run, manifest) = init(&context, model, &[]);
        assert_eq!((run.code, manifest), (2, None), "{what}: {}", run.shown());
        shown.push(format!("# {what}\n{}", run.stderr));
    };
    let y = [border("y", FLOAT, &[-1, 3])];
    let of = |input: &[ValueInfo], outputs: &[ValueInfo]| model(&["Gemm x w -> y"], input, outputs);
    show("texts", &of(&[border("x", STRING, &[-1, 8])], &y));
    show("whole numbers", &of(&[border("x", INT32, &[-1, 8])], &y));
    show("two inputs", &of(&[border("x", FLOAT, &[-1, 8]), border("b", FLOAT, &[-1, 8])], &y));
    show("one value", &of(&[border("x", FLOAT, &[-1, 8])], &[border("y", FLOAT, &[-1, 1])]));
    show("boxes", &of(&[border("x", FLOAT, &[-1, 8])], &[border("y", FLOAT, &[-1, 16, 16])]));
    let mut trees = of(&[border("x", FLOAT, &[-1, 8])], &y);
    trees.opset_import = vec![OperatorSet { domain: "ai.onnx.ml".to_owned(), version: 1 }];
    show("trees", &trees);
    insta::assert_snapshot!(shown.join("\n"));
}

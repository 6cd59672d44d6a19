#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use half::f16;

use super::data_type::{FLOAT, FLOAT16};
use super::*;
use crate::onnx::samples::{around, graph, halves, holding, model, node, value, with};

fn widened(graph: Graph) -> Graph {
    Model::decode(Bytes::from(widen(&model(graph).encode_to_vec()).unwrap())).unwrap().graph.unwrap()
}

/// `operator inputs -> outputs` of every node, the target of casts in brackets.
fn shown(graph: &Graph) -> Vec<String> {
    let to = |node: &Node| if node.op_type == "Cast" { format!("[{}]", node.attribute[0].i) } else { String::new() };
    let show =
        |node: &Node| format!("{}{} {} -> {}", node.op_type, to(node), node.input.join(" "), node.output.join(" "));
    graph.node.iter().map(show).map(|line| line.replace("/trtgate/", "~")).collect()
}

fn cast(to: i32, input: &str, output: &str) -> Node {
    with(node("Cast", input, output), "to", to.into())
}

#[test]
fn every_half_tensor_is_rounded_behind_its_node_and_nothing_else() {
    let nodes = vec![
        cast(FLOAT16, "x", "h"),
        node("MatMul", "h w", "p"),
        node("Shape", "p", "size"),
        cast(FLOAT, "p", "f"),
        node("Relu", "f", "y"),
    ];
    let mut made = graph(vec![value("x", Some(FLOAT))], nodes, vec![value("y", Some(FLOAT))]);
    made.initializer.push(halves("w", &[0.1, -3.0, f32::INFINITY]));
    let wide = widened(made);
    assert_eq!(
        shown(&wide),
        [
            "Cast[1] x -> h~wide",
            "Cast[10] h~wide -> h~half",
            "Cast[1] h~half -> h",
            "MatMul h w -> p~wide",
            "Cast[10] p~wide -> p~half",
            "Cast[1] p~half -> p",
            "Shape p -> size",
            "Cast[1] p -> f",
            "Relu f -> y",
        ]
    );
    let stored = &wide.initializer[0];
    let values: Vec<f32> =
        stored.raw_data.as_ref().unwrap().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!((stored.data_type, values), (FLOAT, vec![f16::from_f32(0.1).to_f32(), -3.0, f32::INFINITY]));
}

#[test]
fn a_border_in_half_precision_is_fed_in_single_and_rounded() {
    let inner = graph(vec![], vec![node("Relu", "x", "z")], vec![value("z", Some(FLOAT16))]);
    let choice = around(around(node("If", "c", "y"), "then_branch", inner.clone()), "else_branch", inner);
    let nodes = vec![node("ReduceMax", "x", "m"), node("IsNaN", "m", "c"), choice];
    let wide = widened(graph(vec![value("x", Some(FLOAT16))], nodes, vec![value("y", Some(FLOAT16))]));
    let lines = shown(&wide);
    assert_eq!(
        lines[..3],
        ["Cast[10] x -> x~rounded~half", "Cast[1] x~rounded~half -> x~rounded", "ReduceMax x~rounded -> m~wide"]
    );
    assert_eq!(lines[6..], ["If c -> y~wide", "Cast[10] y~wide -> y~half", "Cast[1] y~half -> y"]);
    let branch = wide.node[6].attribute[1].g.as_ref().unwrap();
    assert_eq!(shown(branch), ["Relu x~rounded -> z~wide", "Cast[10] z~wide -> z~half", "Cast[1] z~half -> z"]);
    for value in [&wide.input[0], &wide.output[0], &branch.output[0]] {
        assert_eq!(value.kind, Some(Type::tensor(FLOAT)), "{}", value.name);
    }
}

#[test]
fn tensors_and_types_in_attributes_follow() {
    let nodes = vec![
        holding(node("Constant", "", "a"), "value", halves("", &[2.5])),
        with(node("RandomNormal", "", "b"), "dtype", FLOAT16.into()),
        with(node("Transpose", "a", "c"), "perm", FLOAT16.into()),
    ];
    let wide = widened(graph(vec![], nodes, vec![value("c", None)]));
    assert_eq!(wide.node[0].attribute[0].t.as_ref().unwrap().data_type, FLOAT);
    assert_eq!(wide.node[3].attribute[0].i, i64::from(FLOAT));
    // What names no type keeps its number.
    assert_eq!(wide.node[6].attribute[0].i, 10);
}

#[test]
fn halves_by_their_bits_are_read() {
    let mut stored = halves("w", &[]);
    stored.dims = vec![2];
    stored.raw_data = None;
    stored.int32_data = vec![i32::from(f16::from_f32(1.5).to_bits()), i32::from(f16::NEG_INFINITY.to_bits())];
    let mut made = graph(vec![], vec![node("Relu", "w", "y")], vec![value("y", None)]);
    made.initializer.push(stored.clone());
    let raw = widened(made.clone()).initializer[0].raw_data.clone().unwrap();
    assert_eq!(raw, [1.5_f32.to_le_bytes(), f32::NEG_INFINITY.to_le_bytes()].concat());
    made.initializer[0].dims = vec![i64::MAX, i64::MAX];
    assert!(widen(&model(made).encode_to_vec()).unwrap_err().message.contains("do not fill its shape"));
}

#[test]
fn what_cannot_be_told_is_refused() {
    let bits = vec![cast(FLOAT16, "x", "h"), with(node("BitCast", "h", "y"), "to", 5)];
    let error = widen(&model(graph(vec![value("x", Some(FLOAT))], bits, vec![])).encode_to_vec()).unwrap_err();
    assert!(error.message.contains("reads the bits"), "{error}");
    let learned = Node { domain: "ai.onnx.ml".to_owned(), name: "trees".to_owned(), ..node("TreeEnsemble", "h", "y") };
    let nodes = vec![cast(FLOAT16, "x", "h"), learned];
    let error = widen(&model(graph(vec![value("x", Some(FLOAT))], nodes, vec![])).encode_to_vec()).unwrap_err();
    assert_eq!(error.message, "`trees` of operator `TreeEnsemble` makes `y`, whose element type cannot be told");
    assert!(widen(b"\x0a\xff\xff").is_err() && widen(b"").is_err());
}

#[test]
fn halves_are_found_wherever_a_graph_may_hold_them() {
    let of = |nodes: Vec<Node>| model(graph(vec![value("x", Some(FLOAT))], nodes, vec![value("y", Some(FLOAT))]));
    assert!(!holds_halves(&of(vec![cast(FLOAT, "x", "f"), node("Relu", "f", "y")])));
    assert!(holds_halves(&of(vec![cast(FLOAT16, "x", "h"), cast(FLOAT, "h", "y")])));
    assert!(holds_halves(&model(graph(vec![value("x", Some(FLOAT16))], vec![], vec![]))));
    let mut stored = of(vec![node("DequantizeLinear", "q s", "y")]);
    stored.graph.as_mut().unwrap().initializer.push(halves("s", &[0.1]));
    assert!(holds_halves(&stored));
}

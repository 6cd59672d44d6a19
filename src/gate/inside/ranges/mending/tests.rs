use rstest::rstest;

use super::*;
use crate::onnx::types::data_type;
use crate::onnx::{Graph, TensorData};

fn node(operator: &str, name: &str, input: &[&str], output: &str) -> Node {
    Node {
        op_type: operator.to_owned(),
        name: name.to_owned(),
        input: input.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Node::default()
    }
}

fn stored(name: &str, value: f32) -> TensorData {
    let data_type = data_type::FLOAT;
    TensorData { name: name.to_owned(), data_type, dims: vec![1], float_data: vec![value], ..TensorData::default() }
}

/// What is said of tensor `t`, which the first of `nodes` makes.
fn said(nodes: Vec<Node>) -> Option<String> {
    let graph = Graph { node: nodes, initializer: vec![stored("two", 2.0), stored("three", 3.0)], ..Graph::default() };
    let network = Network::of(&graph);
    of(&Item { tensor: "t", node: graph.node.first()?, stored: None }, &network)
}

#[rstest]
#[case::square_and_mean(
    vec![node("Mul", "m", &["x", "x"], "t"), node("ReduceMean", "r", &["t"], "y")],
    "keep Mul and ReduceMean `r` in FP32, or scale `x` before squaring it"
)]
#[case::power_of_two(
    vec![node("Pow", "p", &["x", "two"], "t"), node("ReduceSum", "r", &["t"], "y")],
    "keep Pow and ReduceSum `r` in FP32, or scale `x` before squaring it"
)]
#[case::square_alone(vec![node("Mul", "m", &["x", "x"], "t")], "keep Mul `m` in FP32, or scale `x` before squaring it")]
#[case::product(vec![node("Mul", "m", &["x", "z"], "t")], "keep Mul `m` in FP32, or scale what it reads")]
#[case::power_of_three(vec![node("Pow", "p", &["x", "three"], "t")], "keep Pow `p` in FP32, or scale what it reads")]
#[case::norm(vec![node("ReduceL2", "n", &["x"], "t")], "keep ReduceL2 in FP32, or scale `x` before")]
#[case::sum_and_quotient(
    vec![node("ReduceSum", "s", &["x"], "t"), node("Div", "d", &["t", "n"], "y")],
    "take the mean in one step: `ReduceMean` in the place of ReduceSum and Div `d` keeps the sum inside of the kernel"
)]
#[case::sum(vec![node("ReduceSum", "s", &["x"], "t")], "keep ReduceSum `s` in FP32, or scale `x` before")]
#[case::exponential(vec![node("Exp", "e", &["x"], "t")], "take the row's largest value off `x` before Exp, as `Softmax` does")]
#[case::quotient(
    vec![node("Div", "d", &["x", "z"], "t")],
    "keep the divisor of `d` away from zero, with a larger epsilon"
)]
#[case::weights(
    vec![node("MatMul", "", &["x", "w"], "t")],
    "keep MatMul `t` in FP32, or scale its weights down and what follows it up"
)]
#[case::another(vec![node("Add", "a", &["x", "z"], "t")], "keep Add `a` in FP32, or scale what it reads")]
fn each_pattern_has_its_mending(#[case] nodes: Vec<Node>, #[case] expected: &str) {
    assert_eq!(said(nodes).as_deref(), Some(expected));
}

#[test]
fn a_stored_tensor_is_a_mask_or_is_scaled() {
    for (operator, expected) in [
        ("Add", "a mask of -1e4 hides as much: half precision ends at 65504, and `n` has no more"),
        ("Where", "a mask of -1e4 hides as much: half precision ends at 65504, and `n` has no more"),
        ("Mul", "keep Mul `n` in FP32, or scale its stored `two`"),
    ] {
        let graph = Graph {
            node: vec![node(operator, "n", &["x", "two"], "y")],
            initializer: vec![stored("two", 1e30)],
            ..Graph::default()
        };
        let network = Network::of(&graph);
        let item = Item { tensor: "two", node: &graph.node[0], stored: network.stored("two") };
        assert_eq!(of(&item, &network).as_deref(), Some(expected));
    }
}

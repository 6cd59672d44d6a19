#![allow(clippy::unwrap_used)]
use rstest::rstest;

use super::data_type::{BOOL, FLOAT, FLOAT16, INT64};
use super::*;
use crate::onnx::samples::{around, graph, halves, holding, node, value, with};

fn element(graph: &Graph, name: &str) -> Option<i32> {
    Types::of(graph).view().get(name).map(|kind| kind.element)
}

/// A graph that halves its FP32 input, and then `nodes`.
fn after_cast(nodes: Vec<Node>) -> Graph {
    let mut all = vec![with(node("Cast", "x", "h"), "to", FLOAT16.into())];
    all.extend(nodes);
    graph(vec![value("x", Some(FLOAT))], all, vec![value("y", None)])
}

#[test]
fn the_output_of_a_branch_is_what_the_branch_makes() {
    let branch = |name: &str| graph(vec![], vec![node("Relu", "h", name)], vec![value(name, None)]);
    let made = around(around(node("If", "condition", "y"), "then_branch", branch("a")), "else_branch", branch("b"));
    let nodes = vec![node("ReduceMax", "x", "most"), node("Greater", "most most", "condition"), made];
    let graph = after_cast(nodes);
    // Its first input is a condition.
    assert_eq!(element(&graph, "condition"), Some(BOOL));
    assert_eq!(element(&graph, "y"), Some(FLOAT16));
}

#[test]
fn the_outputs_of_a_loop_are_those_of_its_body() {
    let body = graph(
        vec![value("turn", None), value("again", None), value("state", None)],
        vec![node("Mul", "state state", "next"), node("Identity", "again", "on"), node("Shape", "turn", "seen")],
        vec![value("on", None), value("next", None), value("seen", None)],
    );
    let graph = after_cast(vec![around(node("Loop", "count _ h", "y sizes"), "body", body)]);
    assert_eq!(element(&graph, "y"), Some(FLOAT16));
    assert_eq!(element(&graph, "sizes"), Some(INT64));
}

#[rstest]
#[case::now("h x")]
#[case::before_operator_set_9("_ h x")]
fn the_outputs_of_a_scan_are_those_of_its_body(#[case] inputs: &str) {
    let body = graph(
        vec![value("total", None), value("row", None)],
        vec![
            with(node("Cast", "row", "half"), "to", FLOAT16.into()),
            node("Add", "total half", "sum"),
            node("Neg", "row", "seen"),
        ],
        vec![value("sum", None), value("seen", None)],
    );
    let graph = after_cast(vec![around(node("Scan", inputs, "y rows"), "body", body)]);
    assert_eq!(element(&graph, "y"), Some(FLOAT16));
    assert_eq!(element(&graph, "rows"), Some(FLOAT));
}

#[test]
fn branches_may_use_the_same_names() {
    let branch =
        |element: i32| graph(vec![], vec![with(node("Cast", "x", "z"), "to", element.into())], vec![value("z", None)]);
    let made = around(around(node("If", "c", "y"), "then_branch", branch(FLOAT16)), "else_branch", branch(FLOAT16));
    let mut graph = after_cast(vec![node("Relu", "x", "z0"), made]);
    graph.node.push(node("Relu", "z0", "z"));
    let types = Types::of(&graph);
    let view = types.view();
    assert_eq!(view.get("z"), Some(Kind::tensor(FLOAT)));
    assert_eq!(view.enter((2, 0, 0)).unwrap().get("z"), Some(Kind::tensor(FLOAT16)));
    assert_eq!(view.enter((2, 0, 0)).unwrap().get("h"), Some(Kind::tensor(FLOAT16)));
    assert!(view.enter((1, 0, 0)).is_none());
}

#[test]
fn sequences_hold_tensors_and_are_none() {
    let graph = after_cast(vec![node("SplitToSequence", "h", "parts"), node("SequenceAt", "parts place", "y")]);
    let types = Types::of(&graph);
    assert_eq!(types.view().get("parts"), Some(Kind { element: FLOAT16, tensor: false }));
    assert_eq!(types.view().get("y"), Some(Kind::tensor(FLOAT16)));
}

#[test]
fn a_declared_type_goes_before_an_inferred_one() {
    let mut graph = after_cast(vec![node("Custom", "x", "y")]);
    graph.value_info.push(value("y", Some(FLOAT16)));
    assert_eq!(element(&graph, "y"), Some(FLOAT16));
}

#[rstest]
#[case(holding(node("Constant", "", "y"), "value", halves("", &[1.0])), Some(FLOAT16))]
#[case(holding(node("ConstantOfShape", "s", "y"), "value", halves("", &[1.0])), Some(FLOAT16))]
#[case(node("ConstantOfShape", "s", "y"), Some(FLOAT))]
#[case(node("CastLike", "x h", "y"), Some(FLOAT16))]
#[case(node("Where", "c h h", "y"), Some(FLOAT16))]
#[case(node("OneHot", "i d h", "y"), Some(FLOAT16))]
#[case(node("Relu", "unknown", "y"), None)]
#[case(with(node("RandomNormal", "", "y"), "dtype", 10), Some(FLOAT16))]
fn an_output_is_of_the_type_that_its_operator_gives(#[case] node: Node, #[case] expected: Option<i32>) {
    assert_eq!(element(&after_cast(vec![node]), "y"), expected);
}

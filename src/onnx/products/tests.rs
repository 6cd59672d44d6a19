#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use rstest::rstest;

use super::*;
use crate::onnx::{Function, Type, ValueInfo};

fn node(operator: &str, input: &[&str], output: &str) -> Node {
    Node {
        op_type: operator.to_owned(),
        name: output.to_owned(),
        input: input.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Node::default()
    }
}

fn with(mut node: Node, name: &str, value: i64) -> Node {
    node.attribute.push(Attribute { name: name.to_owned(), i: value, kind: 2, ..Attribute::default() });
    node
}

fn integers(name: &str, data_type: i32, dims: &[i64], values: &[i32]) -> TensorData {
    TensorData {
        name: name.to_owned(),
        data_type,
        dims: dims.to_vec(),
        int32_data: values.to_vec(),
        ..TensorData::default()
    }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorData {
    TensorData {
        name: name.to_owned(),
        data_type: 1,
        dims: dims.to_vec(),
        float_data: values.to_vec(),
        ..TensorData::default()
    }
}

/// Scales and zero points that every graph below has.
fn common() -> Vec<TensorData> {
    vec![
        floats("scale", &[], &[1.0]),
        integers("u", UNSIGNED, &[], &[128]),
        integers("s", SIGNED, &[], &[0]),
        integers("limit", UNSIGNED, &[], &[127]),
    ]
}

fn model(nodes: Vec<Node>, stored: Vec<TensorData>) -> Model {
    let initializer = stored.into_iter().chain(common()).collect();
    Model { graph: Some(Graph { node: nodes, initializer, ..Graph::default() }), ..Model::default() }
}

fn only(model: &Model) -> Option<PairSum> {
    let found = products(model);
    assert!(found.len() < 2, "{found:?}");
    found.first().map(|product| product.sum)
}

/// `operator` between pairs, its result quantised again; activations have the zero point `zero`.
fn between(operator: Node, zero: &str, clip: bool, weights: TensorData) -> Model {
    let mut nodes = vec![node("QuantizeLinear", &["x", "scale", zero], "x_q")];
    if clip {
        nodes.push(node("Clip", &["x_q", "", "limit"], "x_c"));
    }
    let read = if clip { "x_c" } else { "x_q" };
    nodes.push(node("DequantizeLinear", &[read, "scale", zero], "x_d"));
    nodes.push(node("DequantizeLinear", &["w", "scale", "s"], "w_d"));
    nodes.push(operator);
    nodes.push(node("Relu", &["y"], "y_r"));
    nodes.push(node("QuantizeLinear", &["y_r", "scale", "u"], "y_q"));
    model(nodes, vec![weights])
}

fn conv() -> Node {
    node("Conv", &["x_d", "w_d"], "y")
}

const NARROW: fn(i64, (i64, i64)) -> Option<PairSum> = |factor, weights| Some(PairSum::Narrow { factor, weights });

#[rstest]
#[case::neighbours([100, 29, 0, 0], (100, 29), false)]
#[case::just_fits([100, 28, 0, 0], (100, 28), true)]
#[case::negative([0, -64, -65, 0], (-64, -65), false)]
#[case::two_signs_never_add_up([127, -128, 127, -128], (127, -128), true)]
#[case::alone([127, 0, 0, 127], (0, 127), true)]
fn the_largest_pair_of_neighbours_decides(#[case] row: [i32; 4], #[case] pair: (i64, i64), #[case] fits: bool) {
    let weights = integers("w", SIGNED, &[1, 4, 1, 1], &row);
    let sum = only(&between(conv(), "u", false, weights)).unwrap();
    assert_eq!(Some(sum), NARROW(255, pair));
    assert_eq!(sum.fits(), fits);
}

#[test]
fn a_clip_at_127_lets_every_pair_fit() {
    let weights = integers("w", SIGNED, &[1, 2, 1, 1], &[127, 127]);
    let sum = only(&between(conv(), "u", true, weights)).unwrap();
    assert_eq!(Some(sum), NARROW(127, (127, 127)));
    assert!(sum.fits());
    // A range that reaches -128 does too: 127 * 256 is 32,512.
    assert!(PairSum::Narrow { factor: 127, weights: (-128, -128) }.fits());
    assert!(!PairSum::Narrow { factor: 128, weights: (-128, -128) }.fits());
}

#[test]
fn signed_activations_are_shifted_and_unsigned_weights_are_wide() {
    let heavy = [127, 127];
    let signed = integers("w", SIGNED, &[1, 2, 1, 1], &heavy);
    assert_eq!(only(&between(conv(), "s", false, signed)), NARROW(255, (127, 127)));
    let unsigned = integers("w", UNSIGNED, &[1, 2, 1, 1], &[255, 255]);
    assert_eq!(only(&between(conv(), "u", false, unsigned.clone())), Some(PairSum::Wide));
    assert_eq!(only(&between(conv(), "s", false, unsigned)), Some(PairSum::Wide));
}

#[test]
fn both_orders_of_a_convolution_count() {
    // Two channels of 1 x 2: channels-last brings 100 and 90 together, as stored 100 and 1, 90 and 1 do.
    let apart = integers("w", SIGNED, &[1, 2, 1, 2], &[100, 1, 90, 1]);
    assert_eq!(only(&between(conv(), "u", false, apart)), NARROW(255, (100, 90)));
    let together = integers("w", SIGNED, &[1, 2, 1, 2], &[100, 90, 1, 1]);
    assert_eq!(only(&between(conv(), "u", false, together)), NARROW(255, (100, 90)));
    // Filters are reduced by themselves.
    let filters = integers("w", SIGNED, &[2, 1, 1, 2], &[1, 100, 100, 1]);
    assert!(only(&between(conv(), "u", false, filters)).unwrap().fits());
}

#[test]
fn a_depthwise_convolution_is_wide_and_a_grouped_one_is_not() {
    let weights = || integers("w", SIGNED, &[2, 1, 1, 2], &[127, 127, 127, 127]);
    assert_eq!(only(&between(with(conv(), "group", 2), "u", false, weights())), Some(PairSum::Wide));
    assert_eq!(only(&between(conv(), "u", false, weights())), NARROW(255, (127, 127)));
}

#[rstest]
#[case::along_rows(node("MatMul", &["x_d", "w_d"], "y"), (90, 100))]
#[case::general(node("Gemm", &["x_d", "w_d"], "y"), (90, 100))]
#[case::transposed(with(node("Gemm", &["x_d", "w_d"], "y"), "transB", 1), (80, 100))]
fn a_matrix_is_reduced_along_k(#[case] operator: Node, #[case] pair: (i64, i64)) {
    let weights = integers("w", SIGNED, &[2, 2], &[0, 90, 80, 100]);
    assert_eq!(only(&between(operator, "u", false, weights)), NARROW(255, pair));
}

#[test]
fn weights_that_are_moved_on_the_way_may_meet_in_any_order() {
    let nodes = vec![
        node("QuantizeLinear", &["x", "scale", "u"], "x_q"),
        node("DequantizeLinear", &["x_q", "scale", "u"], "x_d"),
        node("DequantizeLinear", &["w", "scale", "s"], "w_d"),
        node("Transpose", &["w_d"], "w_t"),
        node("MatMul", &["x_d", "w_t"], "y"),
    ];
    let weights = integers("w", SIGNED, &[2, 3], &[100, 0, 0, 0, 0, 90]);
    assert_eq!(only(&model(nodes, vec![weights])), NARROW(255, (90, 100)));
}

#[test]
fn weights_in_floats_are_quantised_as_the_graph_does() {
    let nodes = vec![
        node("QuantizeLinear", &["x", "scale", "u"], "x_q"),
        node("DequantizeLinear", &["x_q", "scale", "u"], "x_d"),
        with(node("QuantizeLinear", &["w", "w_scale", "w_zero"], "w_q"), "axis", 0),
        with(node("DequantizeLinear", &["w_q", "w_scale", "w_zero"], "w_d"), "axis", 0),
        node("Conv", &["x_d", "w_d"], "y"),
        node("QuantizeLinear", &["y", "scale", "u"], "y_q"),
    ];
    let stored = vec![
        floats("w", &[2, 2, 1, 1], &[1.0, 0.5, 8.0, 4.0]),
        floats("w_scale", &[2], &[0.01, 0.1]),
        integers("w_zero", SIGNED, &[2], &[0, 0]),
    ];
    assert_eq!(only(&model(nodes, stored)), NARROW(255, (100, 50)));
}

#[test]
fn what_stays_in_floats_is_no_integer_product() {
    let weights = || integers("w", SIGNED, &[1, 2, 1, 1], &[127, 127]);
    let mut unread = between(conv(), "u", false, weights());
    unread.graph.as_mut().unwrap().node.truncate(4);
    assert_eq!(only(&unread), None);
    let plain = node("Conv", &["x_d", "plain"], "y");
    assert_eq!(only(&between(plain, "u", false, weights())), None);
    // 16 bits have no such kernel.
    assert_eq!(only(&between(conv(), "u", false, integers("w", 5, &[1, 2, 1, 1], &[127, 127]))), None);
}

#[rstest]
#[case("MatMulInteger", UNSIGNED, SIGNED, NARROW(255, (127, 127)))]
#[case("MatMulInteger", SIGNED, SIGNED, Some(PairSum::Wide))]
#[case("MatMulInteger", SIGNED, UNSIGNED, Some(PairSum::Wide))]
#[case("MatMulInteger", UNSIGNED, UNSIGNED, Some(PairSum::Wide))]
#[case("ConvInteger", UNSIGNED, SIGNED, Some(PairSum::Wide))]
#[case("ConvInteger", SIGNED, UNSIGNED, NARROW(128, (127, 127)))]
#[case("MatMulInteger", 0, SIGNED, Some(PairSum::Unbounded("the types of its factors are not declared")))]
fn operators_on_integers_go_by_their_types(
    #[case] operator: &str,
    #[case] data: i32,
    #[case] weights: i32,
    #[case] expected: Option<PairSum>,
) {
    let mut model = model(vec![node(operator, &["x", "w"], "y")], vec![integers("w", weights, &[2, 2], &[127; 4])]);
    let input = ValueInfo { name: "x".to_owned(), kind: (data != 0).then(|| Type::tensor(data)) };
    model.graph.as_mut().unwrap().input.push(input);
    assert_eq!(only(&model), expected);
}

#[test]
fn dynamic_quantisation_is_unsigned() {
    let nodes = vec![
        Node {
            output: vec!["q".to_owned(), "qs".to_owned(), "qz".to_owned()],
            ..node("DynamicQuantizeLinear", &["x"], "q")
        },
        node("MatMulInteger", &["q", "w", "qz"], "y"),
        node("DynamicQuantizeMatMul", &["x", "w", "scale"], "z"),
    ];
    let found = products(&model(nodes, vec![integers("w", SIGNED, &[2, 1], &[127, 100])]));
    assert_eq!(found.iter().map(|product| Some(product.sum)).collect::<Vec<_>>(), [NARROW(255, (127, 100)); 2]);
}

#[test]
fn branches_and_functions_are_looked_into() {
    let inner = between(conv(), "u", false, integers("w", SIGNED, &[1, 2, 1, 1], &[127, 127])).graph.unwrap();
    let mut branch = node("If", &["condition"], "chosen");
    branch.attribute.push(Attribute {
        name: "then_branch".to_owned(),
        g: Some(Box::new(inner)),
        ..Attribute::default()
    });
    assert_eq!(only(&model(vec![branch], vec![])), NARROW(255, (127, 127)));
    let body = vec![
        node("DequantizeLinear", &["data", "scale", "u"], "x_d"),
        node("DequantizeLinear", &["weights", "scale", "s"], "w_d"),
        node("MatMulInteger", &["data", "weights"], "y"),
    ];
    let function = Function { name: "dense".to_owned(), node: body, ..Function::default() };
    let model = Model { functions: vec![function], ..model(vec![node("dense", &["x", "w"], "y")], vec![]) };
    assert!(matches!(only(&model), Some(PairSum::Unbounded(_))));
}

#[test]
fn attention_over_integers_is_not_proven() {
    assert!(!only(&model(vec![node("QAttention", &["x", "w"], "y")], vec![])).unwrap().fits());
}

/// Names that are made twice lead in a circle.
#[rstest]
#[case::moves(&[("Transpose", "x_d", "x_d"), ("MatMul", "x_d w", "y")])]
#[case::integers(&[("Reshape", "q", "q"), ("DequantizeLinear", "q scale s", "d"), ("MatMul", "d d", "y")])]
#[case::limits(&[("Clip", "q no limit", "q"), ("MatMulInteger", "q q", "y")])]
#[case::results(&[("DequantizeLinear", "w scale s", "d"), ("Conv", "d d", "y"), ("Relu", "y", "r"), ("Clip", "r", "y")])]
fn circles_come_to_an_end(#[case] nodes: &[(&str, &str, &str)]) {
    let nodes =
        nodes.iter().map(|(operator, inputs, output)| node(operator, &inputs.split(' ').collect::<Vec<_>>(), output));
    products(&model(nodes.collect(), vec![integers("w", SIGNED, &[1], &[1])]));
}

/// Sizes beside a zero are no sizes of anything.
#[rstest]
#[case(&[0, i64::MAX])]
#[case(&[0, i64::MAX, i64::MAX])]
fn tensors_without_values_take_no_time(#[case] dims: &[i64]) {
    let found = only(&between(node("MatMul", &["x_d", "w_d"], "y"), "u", false, integers("w", SIGNED, dims, &[])));
    assert_eq!(found, Some(PairSum::Narrow { factor: 255, weights: (0, 0) }));
    let mut quantised = node("QuantizeLinear", &["f", "many", "s"], "w");
    quantised = with(quantised, "axis", 0);
    let nodes =
        vec![quantised, node("DequantizeLinear", &["w", "scale", "s"], "w_d"), node("MatMul", &["w_d", "w_d"], "y")];
    products(&model(nodes, vec![floats("f", dims, &[]), floats("many", &[2], &[1.0, 2.0])]));
}

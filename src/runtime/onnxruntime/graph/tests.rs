#![allow(clippy::unwrap_used)]
use rstest::rstest;

use super::*;
use crate::onnx::samples::{around, graph, model, node, value, with};
use crate::onnx::{Function, TensorData, ValueInfo};

fn cast(to: i32, input: &str, output: &str) -> Node {
    with(node("Cast", input, output), "to", to.into())
}

fn encode(graph: Graph) -> Vec<u8> {
    model(graph).encode_to_vec()
}

fn of_type(name: &str, data_type: i32) -> ValueInfo {
    value(name, Some(data_type))
}

fn stored(name: &str, data_type: i32) -> TensorData {
    TensorData { name: name.to_owned(), data_type, ..TensorData::default() }
}

fn layers_of(graph: Graph) -> Vec<Layer> {
    let bytes = encode(graph);
    layers(bytes.clone(), bytes).unwrap()
}

fn named(name: &str, node: Node) -> Node {
    Node { name: name.to_owned(), ..node }
}

#[rstest]
#[case("QLinearConv", data_type::UINT8, Some("int8"), true)]
#[case("QLinearAdd", data_type::INT8, Some("int8"), false)]
#[case("QLinearMatMul", data_type::INT8, Some("int8"), true)]
#[case("QGemm", data_type::INT8, Some("int8"), true)]
#[case("ConvInteger", data_type::UINT8, Some("int8"), true)]
#[case("MatMulIntegerToFloat", data_type::UINT8, Some("int8"), true)]
#[case("DynamicQuantizeMatMul", data_type::FLOAT, Some("int8"), true)]
#[case("Conv", data_type::FLOAT, Some("fp32"), true)]
#[case("FusedConv", data_type::FLOAT, Some("fp32"), true)]
#[case("Conv", data_type::FLOAT16, Some("fp16"), true)]
#[case("ConvTranspose", data_type::FLOAT, Some("fp32"), true)]
#[case("Relu", data_type::FLOAT16, Some("fp16"), false)]
#[case("MaxPool", data_type::INT8, Some("int8"), false)]
#[case("Reshape", 7, None, false)]
fn a_node_computes_in(
    #[case] operator: &str,
    #[case] data_type: i32,
    #[case] precision: Option<&str>,
    #[case] compute: bool,
) {
    let layers = layers_of(Graph {
        node: vec![node(operator, "x", "y")],
        input: vec![of_type("x", data_type)],
        ..Graph::default()
    });
    assert_eq!(layers[0].precision.as_deref(), precision);
    assert_eq!(layers[0].compute, compute);
    assert_eq!(layers[0].name, "y");
}

/// Precisions of a graph in which only the input `x` has a declared type.
fn precisions(data_type: i32, nodes: Vec<Node>, scales: &[&str]) -> Vec<Option<String>> {
    let initializer = scales.iter().map(|&name| stored(name, data_type::FLOAT)).collect();
    let layers =
        layers_of(Graph { node: nodes, initializer, input: vec![of_type("x", data_type)], ..Graph::default() });
    layers.into_iter().map(|layer| layer.precision).collect()
}

#[test]
fn a_convolution_between_casts_computes_in_fp32() {
    let nodes = vec![
        cast(data_type::FLOAT, "x", "f"),
        node("Conv", "f w", "g"),
        node("ReorderOutput", "g", "h"),
        cast(data_type::FLOAT16, "h", "k"),
        node("Conv", "k w", "l"),
    ];
    let found = precisions(data_type::FLOAT16, nodes, &[]);
    assert_eq!(found[1].as_deref(), Some("fp32"));
    assert_eq!(found[2].as_deref(), Some("fp32"));
    assert_eq!(found[4].as_deref(), Some("fp16"));
}

#[test]
fn an_unfused_convolution_between_dequantize_and_quantize_computes_in_fp32() {
    let nodes = vec![
        node("QuantizeLinear", "x s", "q"),
        node("MaxPool", "q", "p"),
        node("DequantizeLinear", "p s", "f"),
        node("Conv", "f w", "g"),
        node("QuantizeLinear", "g s", "r"),
        node("QLinearConv", "r", "t"),
    ];
    let found = precisions(data_type::FLOAT, nodes, &["s"]);
    assert_eq!(found[1].as_deref(), Some("int8"));
    assert_eq!(found[3].as_deref(), Some("fp32"));
    assert_eq!(found[5].as_deref(), Some("int8"));
}

#[rstest]
#[case(data_type::INT8, data_type::INT8, "int8")]
#[case(data_type::FLOAT8_E4M3FN, data_type::FLOAT8_E4M3FN, "fp8")]
#[case(data_type::FLOAT8_E5M2, data_type::FLOAT8_E4M3FN, "fp8")]
#[case(data_type::FLOAT8_E4M3FN, data_type::INT8, "fp32")]
fn what_the_graph_asks_of_a_product_is_the_type_behind_both_pairs(
    #[case] fed: i32,
    #[case] weights: i32,
    #[case] expected: &str,
) {
    let graph = Graph {
        node: vec![
            node("QuantizeLinear", "x s z", "q"),
            node("DequantizeLinear", "q s z", "f"),
            node("DequantizeLinear", "w s", "v"),
            node("Conv", "f v", "y"),
        ],
        initializer: vec![stored("s", data_type::FLOAT), stored("z", fed), stored("w", weights)],
        input: vec![of_type("x", data_type::FLOAT)],
        ..Graph::default()
    };
    let layers = layers(encode(graph.clone()), encode(graph)).unwrap();
    let asked = layers.iter().find(|layer| layer.name == "y").unwrap();
    assert_eq!(asked.declared.as_deref(), Some(expected));
}

#[test]
fn a_dynamically_quantised_product_computes_in_int8() {
    let nodes = vec![
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("MatMulInteger", "q w z", "i"),
        cast(data_type::FLOAT, "i", "f"),
        node("Mul", "f s", "y"),
    ];
    let found = precisions(data_type::FLOAT, nodes, &[]);
    assert_eq!(found[1].as_deref(), Some("int8"));
    assert_eq!(found[3].as_deref(), Some("fp32"));
}

#[test]
fn a_declared_type_goes_before_an_inferred_one() {
    let layers = layers_of(Graph {
        node: vec![node("Custom", "x", "y"), node("Conv", "y", "z")],
        input: vec![of_type("x", data_type::FLOAT)],
        value_info: vec![of_type("y", data_type::FLOAT16)],
        ..Graph::default()
    });
    assert_eq!(layers[1].precision.as_deref(), Some("fp16"));
}

#[test]
fn tensors_without_a_type_leave_the_precision_open() {
    let layers = layers_of(Graph { node: vec![node("Conv", "x", "y")], ..Graph::default() });
    assert_eq!(layers[0].precision, None);
}

#[test]
fn initializers_count_as_inputs() {
    let initializer = vec![stored("w", data_type::FLOAT16)];
    let nodes = vec![node("Relu", "w", "y")];
    let layers = layers_of(Graph { node: nodes, initializer, ..Graph::default() });
    assert_eq!(layers[0].precision.as_deref(), Some("fp16"));
}

#[test]
fn half_precision_that_computes_between_casts_is_declared_by_the_artifact() {
    let artifact = encode(Graph {
        node: vec![node("Conv", "x w", "y"), node("Gemm", "y v", "z")],
        input: vec![of_type("x", data_type::FLOAT16)],
        ..Graph::default()
    });
    let optimised = encode(Graph {
        node: vec![
            cast(data_type::FLOAT, "x", "f"),
            named("renamed", node("Conv", "f w", "g")),
            node("Gemm", "g v", "h"),
            cast(data_type::FLOAT16, "h", "z"),
        ],
        input: vec![of_type("x", data_type::FLOAT16)],
        ..Graph::default()
    });
    let layers = layers(optimised, artifact).unwrap();
    for layer in [&layers[1], &layers[2]] {
        assert_eq!((layer.precision.as_deref(), layer.declared.as_deref()), (Some("fp32"), Some("fp16")));
    }
    assert_eq!(layers[0].declared, None);
}

#[test]
fn a_mixed_artifact_declares_node_by_node() {
    let quantized = |input: &str, output: &str| node("DequantizeLinear", &format!("{input} s"), output);
    let graph = |first: &str, second: &str, third: &str| Graph {
        node: vec![
            named(first, node("Conv", "x w", "y")),
            node("QuantizeLinear", "y s", "q"),
            quantized("q", "d"),
            quantized("i", "e"),
            named(second, node("Conv", "d e", "z")),
            named(third, node("Conv", "z w", "a")),
        ],
        initializer: vec![stored("s", data_type::FLOAT), stored("i", data_type::INT8)],
        input: vec![of_type("x", data_type::FLOAT)],
        ..Graph::default()
    };
    let artifact = encode(graph("one", "two", "three"));
    let optimised = encode(graph("one_nchwc", "lost", "three_token_12"));
    let declared: Vec<Option<String>> = layers(optimised, artifact.clone())
        .unwrap()
        .into_iter()
        .filter(|layer| layer.compute)
        .map(|layer| layer.declared)
        .collect();
    let expected = [Some("fp32"), Some("int8"), Some("fp32")].map(|name| name.map(str::to_owned));
    assert_eq!(declared, expected);
    let lost = layers(encode(graph("lost", "two", "three")), artifact).unwrap();
    assert_eq!(lost[0].declared, None);
}

/// Behind a cast to half precision, a branch that makes it and holds a product; then a product over what it makes.
fn branching() -> Graph {
    let branch = |out: &str| {
        let product = named(&format!("inner_{out}"), node("MatMul", "h w", out));
        graph(vec![], vec![product], vec![value(out, None)])
    };
    let nodes = vec![
        cast(data_type::FLOAT16, "x", "h"),
        node("IsNaN", "m", "c"),
        around(around(node("If", "c", "z"), "then_branch", branch("a")), "else_branch", branch("b")),
        named("behind", node("MatMul", "z v", "y")),
    ];
    graph(vec![of_type("x", data_type::FLOAT), of_type("m", data_type::FLOAT)], nodes, vec![value("y", None)])
}

#[test]
fn products_inside_and_behind_a_branch_are_of_its_type() {
    let layers = layers_of(branching());
    let compute: Vec<_> = layers.iter().filter(|layer| layer.compute).collect();
    assert_eq!(compute.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>(), ["inner_a", "inner_b", "behind"]);
    assert_eq!(compute.iter().map(|layer| layer.inside).collect::<Vec<_>>(), [true, true, false]);
    assert!(compute.iter().all(|layer| layer.precision.as_deref() == Some("fp16")), "{compute:?}");
    assert!(compute.iter().all(|layer| layer.declared.as_deref() == Some("fp16")), "{compute:?}");
}

#[test]
fn an_fp32_product_in_a_branch_keeps_the_others_from_speaking_for_it() {
    let mut artifact = branching();
    let inner = artifact.node[2].attribute[0].g.as_mut().unwrap();
    inner.node.insert(0, cast(data_type::FLOAT, "h", "wide"));
    inner.node[1].input[0] = "wide".to_owned();
    inner.node[1].output[0] = "product".to_owned();
    inner.node.push(cast(data_type::FLOAT16, "product", "a"));
    let optimised = encode(branching());
    let declared: Vec<_> = layers(optimised, encode(artifact))
        .unwrap()
        .into_iter()
        .filter(|layer| layer.compute)
        .map(|layer| layer.declared.unwrap_or_default())
        .collect();
    assert_eq!(declared, ["fp32", "fp16", "fp16"]);
}

#[test]
fn a_functions_products_are_counted_where_it_is_called() {
    let function = Function {
        name: "Block".to_owned(),
        domain: "local".to_owned(),
        input: vec!["a".to_owned(), "b".to_owned()],
        output: vec!["o".to_owned()],
        node: vec![node("MatMul", "a b", "t"), node("Relu", "t", "o")],
        ..Function::default()
    };
    let call = |inputs: &str, output: &str| Node { domain: "local".to_owned(), ..node("Block", inputs, output) };
    let nodes =
        vec![cast(data_type::FLOAT16, "x", "h"), call("h w", "z"), cast(data_type::FLOAT, "z", "f"), call("f v", "y")];
    let artifact = Model {
        functions: vec![function],
        ..model(graph(vec![of_type("x", data_type::FLOAT)], nodes, vec![value("y", None)]))
    };
    let bytes = artifact.encode_to_vec();
    let layers = layers(bytes.clone(), bytes).unwrap();
    let compute: Vec<_> =
        layers.iter().filter(|layer| layer.compute).filter_map(|layer| layer.precision.as_deref()).collect();
    assert_eq!(compute, ["fp16", "fp32"]);
}

#[test]
fn garbage_and_emptiness_are_errors() {
    let good = encode(Graph::default());
    assert!(layers(b"\x0a\xff\xff".to_vec(), good.clone()).is_err());
    assert!(layers(good.clone(), b"\x0a\xff\xff".to_vec()).is_err());
    assert!(layers(Vec::new(), good).is_err());
}

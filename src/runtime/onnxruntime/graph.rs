//! The optimised graph that ONNX Runtime writes, read for one purpose: in which precision each node computes, beside
//! the precision that the artifact's own graph declares. Branches and bodies of loops are looked into, functions are put in
//! the place of their calls.

use std::collections::HashMap;

use prost::Message;
use prost::bytes::Bytes;

use crate::error::{Error, Result};
use crate::onnx::types::{self, Kind, Types, View, data_type};
use crate::onnx::{Graph, Model, Node, inline};
use crate::vocabulary::Layer;

/// The nodes of the encoded ONNX model `optimised`, in their order, with the precision in which each computes and the
/// one that the encoded model `artifact`, from which ONNX Runtime made it, declares.
///
/// # Errors
///
/// `Failed` when the bytes are no ONNX models.
pub(super) fn layers(optimised: Vec<u8>, artifact: Vec<u8>) -> Result<Vec<Layer>> {
    let graph = decode(optimised, "ONNX Runtime's optimised model")?;
    let declarations = Declarations::of(&decode(artifact, "the artifact")?);
    let mut layers = Vec::new();
    walk(&graph, &mut |node, place| {
        layers.push(Layer {
            name: display_name(node),
            kind: node.op_type.clone(),
            precision: precision(node, place).map(str::to_owned),
            declared: declarations.find(node, declared(node, place)).map(str::to_owned),
            tactic: None,
            inside: place.outer.is_some(),
            compute: is_compute(node),
            outputs: node.output.iter().filter(|output| !output.is_empty()).cloned().collect(),
        });
    });
    Ok(layers)
}

/// What the convolutions and matrix products of the encoded ONNX model compute in by its own graph, where that can be told.
///
/// # Errors
///
/// `Failed` when the bytes are no ONNX model.
pub(super) fn computed_in(model: Vec<u8>) -> Result<Vec<Option<&'static str>>> {
    let mut found = Vec::new();
    walk(&decode(model, "the model")?, &mut |node, place| {
        if is_compute(node) {
            found.push(declared(node, place));
        }
    });
    Ok(found)
}

/// The main graph, functions inlined.
fn decode(bytes: Vec<u8>, what: &str) -> Result<Graph> {
    let no_model = |error: Error| Error::failed(format!("{what} is no ONNX model")).cause(error.to_string());
    let model = Model::decode(Bytes::from(bytes))
        .map_err(|error| Error::failed(format!("{what} is no ONNX model")).because(error))?;
    inline(model).map_err(no_model)?.graph.ok_or_else(|| Error::failed(format!("{what} has no graph")))
}

/// What can be told of names from inside a graph.
struct Place<'a> {
    view: View<'a>,
    makers: HashMap<&'a str, &'a Node>,
    outer: Option<&'a Place<'a>>,
}

impl Place<'_> {
    fn element(&self, name: &str) -> Option<i32> {
        self.view.get(name).map(|kind: Kind| kind.element)
    }

    /// The node that makes a tensor.
    fn maker(&self, name: &str) -> Option<&Node> {
        self.makers.get(name).copied().or_else(|| self.outer?.maker(name))
    }
}

/// Visits every node of `graph` in order, those of the graphs inside a node before the node itself.
fn walk(graph: &Graph, visit: &mut dyn FnMut(&Node, &Place<'_>)) {
    let types = Types::of(graph);
    inside(graph, types.view(), None, visit);
}

fn inside(graph: &Graph, view: View<'_>, outer: Option<&Place<'_>>, visit: &mut dyn FnMut(&Node, &Place<'_>)) {
    let makers = graph.node.iter().flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node)));
    let place = Place { view, makers: makers.collect(), outer };
    for (index, node) in graph.node.iter().enumerate() {
        for (number, attribute) in node.attribute.iter().enumerate() {
            for (which, graph) in types::graphs(attribute).enumerate() {
                if let Some(view) = place.view.enter((index, number, which)) {
                    inside(graph, view, Some(&place), visit);
                }
            }
        }
        visit(node, &place);
    }
}

/// What the compute nodes of an artifact declare.
struct Declarations {
    /// The precision of all of them, where it is one.
    uniform: Option<&'static str>,
    /// The precision of each, by name.
    by_name: HashMap<String, &'static str>,
}

impl Declarations {
    fn of(graph: &Graph) -> Self {
        let mut found = Vec::new();
        walk(graph, &mut |node, place| {
            if is_compute(node) {
                found.push((node.name.clone(), declared(node, place)));
            }
        });
        let mut kinds = found.iter().map(|(_, precision)| *precision);
        let first = kinds.next().flatten();
        let uniform = if kinds.all(|kind| kind == first) { first } else { None };
        let by_name = found.into_iter().filter_map(|(name, precision)| Some((name, precision?))).collect();
        Self { uniform, by_name }
    }

    /// What the artifact declares for `node` of the optimised graph; `seen` is what still shows there.
    ///
    /// Fusions rename nodes, so a name helps only some of them; where all nodes declare the same, none is needed. A
    /// node that cannot be matched declares nothing.
    fn find(&self, node: &Node, seen: Option<&'static str>) -> Option<&'static str> {
        if !is_compute(node) {
            return None;
        }
        seen.filter(|precision| *precision == "int8")
            .or(self.uniform)
            .or_else(|| self.by_name.get(original_name(node)).copied())
    }
}

/// The name of a node; nodes that a fusion made have none, and go by what they make.
fn display_name(node: &Node) -> String {
    if node.name.is_empty() { node.output.first().cloned().unwrap_or_default() } else { node.name.clone() }
}

/// The name that a node had before ONNX Runtime's transformers added to it.
fn original_name(node: &Node) -> &str {
    let name = node.name.strip_suffix("_nchwc").unwrap_or(&node.name);
    match name.rsplit_once("_token_") {
        Some((stem, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => stem,
        _ => name,
    }
}

/// The precision that the graph asks of a node: `int8` or `fp8` between Q/DQ pairs of such elements, otherwise the type of its tensors.
fn declared(node: &Node, place: &Place<'_>) -> Option<&'static str> {
    let dequantized = |input: &String| {
        let maker = place.maker(input).filter(|maker| maker.op_type == "DequantizeLinear")?;
        match maker.input.first().and_then(|source| place.element(source))? {
            data_type::INT8 | data_type::UINT8 => Some("int8"),
            data_type::FLOAT8_E4M3FN | data_type::FLOAT8_E5M2 => Some("fp8"),
            _ => None,
        }
    };
    let operands = node.input.get(..2).unwrap_or_default();
    let (first, second) = (operands.first().and_then(dequantized), operands.get(1).and_then(dequantized));
    first.filter(|_| first == second).or_else(|| precision(node, place))
}

/// Whether a node is a convolution or matrix product, fused or not.
fn is_compute(node: &Node) -> bool {
    let base = node.op_type.strip_prefix("QLinear").unwrap_or(&node.op_type);
    ["Conv", "FusedConv", "NhwcFusedConv", "Gemm", "FusedGemm", "QGemm", "MatMul", "FusedMatMul", "Einsum"]
        .contains(&base)
        || ["ConvTranspose", "ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulNBits"]
            .iter()
            .any(|prefix| base.starts_with(prefix))
        || base.ends_with("Attention")
}

/// The precision in which a node computes.
///
/// An operator defined on integers computes in `int8`, as does a convolution or matrix product over 8-bit tensors.
/// Any other node computes in the type of its tensors. A convolution left between `DequantizeLinear` and
/// `QuantizeLinear` takes floats and is reported so: the runtime did not fuse it. A node that the runtime put
/// between `Cast`s because it has no half-precision kernel takes 32-bit floats and is reported so as well.
fn precision(node: &Node, place: &Place<'_>) -> Option<&'static str> {
    let integer = node.op_type.starts_with("QLinear")
        || ["QGemm", "QAttention", "QMoE"].contains(&node.op_type.as_str())
        || ["ConvInteger", "MatMulInteger", "DynamicQuantize"].iter().any(|prefix| node.op_type.starts_with(prefix));
    if integer {
        return Some("int8");
    }
    // The first input carries the activations; sources (`Constant`) are known by what they make.
    match node.input.iter().take(1).chain(&node.output).find_map(|name| place.element(name))? {
        data_type::FLOAT => Some("fp32"),
        data_type::FLOAT16 => Some("fp16"),
        data_type::BFLOAT16 => Some("bf16"),
        data_type::DOUBLE => Some("fp64"),
        data_type::INT8 | data_type::UINT8 => Some("int8"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            compute.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>(),
            ["inner_a", "inner_b", "behind"]
        );
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
        let nodes = vec![
            cast(data_type::FLOAT16, "x", "h"),
            call("h w", "z"),
            cast(data_type::FLOAT, "z", "f"),
            call("f v", "y"),
        ];
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
}

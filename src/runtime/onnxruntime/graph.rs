//! The optimised graph that ONNX Runtime writes, read for one purpose: in which precision each node computes, beside
//! the precision that the artifact's own graph declares.
//!
//! Field numbers: `onnx.proto` (IR version 3 and later). Weights are skipped while decoding.

use std::collections::HashMap;

use prost::Message;

use crate::error::{Error, Result};
use crate::runtime::Layer;

/// `ModelProto`.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

/// `GraphProto`.
#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializers: Vec<Initializer>,
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    outputs: Vec<Value>,
    #[prost(message, repeated, tag = "13")]
    values: Vec<Value>,
}

/// `NodeProto`.
#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    outputs: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    operator: String,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
}

/// `AttributeProto`, of the kinds that decide a type.
#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "3")]
    integer: i64,
    #[prost(message, optional, tag = "5")]
    tensor: Option<Initializer>,
}

/// `TensorProto`, without its data.
#[derive(Clone, PartialEq, Message)]
struct Initializer {
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
}

/// `ValueInfoProto`.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Kind>,
}

/// `TypeProto`, tensors alone.
#[derive(Clone, PartialEq, Message)]
struct Kind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorKind>,
}

/// `TypeProto.Tensor`.
#[derive(Clone, PartialEq, Message)]
struct TensorKind {
    #[prost(int32, tag = "1")]
    data_type: i32,
}

/// `TensorProto.DataType` numbers.
mod data_type {
    pub(super) const FLOAT: i32 = 1;
    pub(super) const UINT8: i32 = 2;
    pub(super) const INT8: i32 = 3;
    pub(super) const INT32: i32 = 6;
    pub(super) const INT64: i32 = 7;
    pub(super) const BOOL: i32 = 9;
    pub(super) const FLOAT16: i32 = 10;
    pub(super) const DOUBLE: i32 = 11;
    pub(super) const BFLOAT16: i32 = 16;
}

/// The nodes of the encoded ONNX model `optimised`, in their order, with the precision in which each computes and the
/// one that the encoded model `artifact`, from which ONNX Runtime made it, declares.
///
/// # Errors
///
/// `Failed` when the bytes are no ONNX models.
pub(super) fn layers(optimised: &[u8], artifact: &[u8]) -> Result<Vec<Layer>> {
    let graph = decode(optimised, "ONNX Runtime's optimised model")?;
    let declarations = Declarations::of(&decode(artifact, "the artifact")?);
    let types = graph.types();
    let makers = graph.makers();
    Ok(graph
        .nodes
        .iter()
        .map(|node| Layer {
            name: node.display_name(),
            kind: node.operator.clone(),
            precision: node.precision(&types).map(str::to_owned),
            declared: declarations.find(node, node.declared(&types, &makers)).map(str::to_owned),
            tactic: None,
            compute: node.is_compute(),
            outputs: node.outputs.iter().filter(|output| !output.is_empty()).cloned().collect(),
        })
        .collect())
}

fn decode(bytes: &[u8], what: &str) -> Result<Graph> {
    let model =
        Model::decode(bytes).map_err(|error| Error::failed(format!("{what} is no ONNX model")).because(error))?;
    model.graph.ok_or_else(|| Error::failed(format!("{what} has no graph")))
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
        let types = graph.types();
        let makers = graph.makers();
        let compute = graph.nodes.iter().filter(|node| node.is_compute());
        let declared: Vec<_> = compute.map(|node| (node.name.clone(), node.declared(&types, &makers))).collect();
        let mut kinds = declared.iter().map(|(_, precision)| *precision);
        let first = kinds.next().flatten();
        let uniform = if kinds.all(|kind| kind == first) { first } else { None };
        let by_name = declared.into_iter().filter_map(|(name, precision)| Some((name, precision?))).collect();
        Self { uniform, by_name }
    }

    /// What the artifact declares for `node` of the optimised graph; `seen` is what still shows there.
    ///
    /// Fusions rename nodes, so a name helps only some of them; where all nodes declare the same, none is needed. A
    /// node that cannot be matched declares nothing.
    fn find(&self, node: &Node, seen: Option<&'static str>) -> Option<&'static str> {
        if !node.is_compute() {
            return None;
        }
        seen.filter(|precision| *precision == "int8")
            .or(self.uniform)
            .or_else(|| self.by_name.get(node.original_name()).copied())
    }
}

impl Graph {
    /// The node that makes each tensor.
    fn makers(&self) -> HashMap<&str, &Node> {
        self.nodes.iter().flat_map(|node| node.outputs.iter().map(move |output| (output.as_str(), node))).collect()
    }

    /// Element type of every tensor: declared, or else inferred from the nodes in their (topological) order. ONNX
    /// Runtime declares few of the tensors that its optimisations make.
    fn types(&self) -> HashMap<&str, i32> {
        let values = self.inputs.iter().chain(&self.outputs).chain(&self.values);
        let declared = values.filter_map(|value| {
            let data_type = value.kind.as_ref()?.tensor.as_ref()?.data_type;
            Some((value.name.as_str(), data_type))
        });
        let initializers = self.initializers.iter().map(|tensor| (tensor.name.as_str(), tensor.data_type));
        let mut types: HashMap<&str, i32> = declared.chain(initializers).collect();
        for node in &self.nodes {
            for (index, output) in node.outputs.iter().enumerate() {
                if let Some(inferred) = node.output_type(index, &types) {
                    types.entry(output).or_insert(inferred);
                }
            }
        }
        types
    }
}

impl Node {
    /// The element type of output `index`, by the operator's definition in ONNX or in ONNX Runtime's contributed
    /// operators; most operators keep the type of their first input.
    fn output_type(&self, index: usize, types: &HashMap<&str, i32>) -> Option<i32> {
        let input = |index: usize| types.get(self.inputs.get(index)?.as_str()).copied();
        let attribute = |name: &str| self.attributes.iter().find(|attribute| attribute.name == name);
        let asked = |name: &str| attribute(name).and_then(|attribute| i32::try_from(attribute.integer).ok());
        match self.operator.as_str() {
            "Cast" => asked("to"),
            "Constant" => attribute("value")?.tensor.as_ref().map(|tensor| tensor.data_type),
            "QuantizeLinear" => input(2).or_else(|| asked("output_dtype")).or(Some(data_type::UINT8)),
            "DequantizeLinear" => input(1),
            "DynamicQuantizeLinear" if index == 1 => Some(data_type::FLOAT),
            "DynamicQuantizeLinear" => Some(data_type::UINT8),
            "ConvInteger" | "MatMulInteger" => Some(data_type::INT32),
            "MatMulIntegerToFloat" | "DynamicQuantizeMatMul" => Some(data_type::FLOAT),
            "Shape" | "Size" | "ArgMax" | "ArgMin" | "NonZero" => Some(data_type::INT64),
            "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "IsNaN" | "IsInf" | "Not" => {
                Some(data_type::BOOL)
            }
            "Where" => input(1),
            _ => input(0),
        }
    }

    /// Its name; nodes that a fusion made have none, and go by what they make.
    fn display_name(&self) -> String {
        if self.name.is_empty() { self.outputs.first().cloned().unwrap_or_default() } else { self.name.clone() }
    }

    /// The name that it had before ONNX Runtime's transformers added to it.
    fn original_name(&self) -> &str {
        let name = self.name.strip_suffix("_nchwc").unwrap_or(&self.name);
        match name.rsplit_once("_token_") {
            Some((stem, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => stem,
            _ => name,
        }
    }

    /// The precision that the graph asks of it: `int8` between Q/DQ pairs, otherwise the type of its tensors.
    fn declared(&self, types: &HashMap<&str, i32>, makers: &HashMap<&str, &Self>) -> Option<&'static str> {
        let dequantized = |input: &String| {
            makers.get(input.as_str()).is_some_and(|maker| {
                let source = maker.inputs.first().and_then(|source| types.get(source.as_str()));
                maker.operator == "DequantizeLinear" && matches!(source, Some(&(data_type::INT8 | data_type::UINT8)))
            })
        };
        let operands = self.inputs.get(..2).is_some_and(|operands| operands.iter().all(dequantized));
        if operands { Some("int8") } else { self.precision(types) }
    }

    /// Whether it is a convolution or matrix product, fused or not.
    fn is_compute(&self) -> bool {
        let base = self.operator.strip_prefix("QLinear").unwrap_or(&self.operator);
        ["Conv", "FusedConv", "NhwcFusedConv", "Gemm", "FusedGemm", "QGemm", "MatMul", "FusedMatMul", "Einsum"]
            .contains(&base)
            || ["ConvTranspose", "ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulNBits"]
                .iter()
                .any(|prefix| base.starts_with(prefix))
            || base.ends_with("Attention")
    }

    /// The precision in which it computes.
    ///
    /// An operator defined on integers computes in `int8`, as does a convolution or matrix product over 8-bit tensors.
    /// Any other node computes in the type of its tensors. A convolution left between `DequantizeLinear` and
    /// `QuantizeLinear` takes floats and is reported so: the runtime did not fuse it. A node that the runtime put
    /// between `Cast`s because it has no half-precision kernel takes 32-bit floats and is reported so as well.
    fn precision(&self, types: &HashMap<&str, i32>) -> Option<&'static str> {
        let integer = self.operator.starts_with("QLinear")
            || ["QGemm", "QAttention", "QMoE"].contains(&self.operator.as_str())
            || ["ConvInteger", "MatMulInteger", "DynamicQuantize"]
                .iter()
                .any(|prefix| self.operator.starts_with(prefix));
        if integer {
            return Some("int8");
        }
        // The first input carries the activations; sources (`Constant`) are known by what they make.
        let inputs = self.inputs.iter().take(1);
        let named = inputs.chain(&self.outputs).find(|name| types.contains_key(name.as_str()))?;
        match *types.get(named.as_str())? {
            data_type::FLOAT => Some("fp32"),
            data_type::FLOAT16 => Some("fp16"),
            data_type::BFLOAT16 => Some("bf16"),
            data_type::DOUBLE => Some("fp64"),
            data_type::INT8 | data_type::UINT8 => Some("int8"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn value(name: &str, data_type: i32) -> Value {
        let kind = Some(Kind { tensor: Some(TensorKind { data_type }) });
        Value { name: name.to_owned(), kind }
    }

    fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> Node {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Node {
            inputs: owned(inputs),
            outputs: owned(outputs),
            name: String::new(),
            operator: operator.to_owned(),
            attributes: vec![],
        }
    }

    fn cast(to: i32, input: &str, output: &str) -> Node {
        let to = Attribute { name: "to".to_owned(), integer: to.into(), tensor: None };
        Node { attributes: vec![to], ..node("Cast", &[input], &[output]) }
    }

    fn encode(graph: Graph) -> Vec<u8> {
        Model { graph: Some(graph) }.encode_to_vec()
    }

    fn layers_of(graph: Graph) -> Vec<Layer> {
        let bytes = encode(graph);
        layers(&bytes, &bytes).unwrap()
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
            nodes: vec![node(operator, &["x"], &["y"])],
            inputs: vec![value("x", data_type)],
            ..Graph::default()
        });
        assert_eq!(layers[0].precision.as_deref(), precision);
        assert_eq!(layers[0].compute, compute);
        assert_eq!(layers[0].name, "y");
    }

    /// Precisions of a graph in which only the input `x` has a declared type.
    fn precisions(data_type: i32, nodes: Vec<Node>, scales: &[&str]) -> Vec<Option<String>> {
        let initializers =
            scales.iter().map(|&name| Initializer { data_type: data_type::FLOAT, name: name.to_owned() }).collect();
        let layers = layers_of(Graph { nodes, initializers, inputs: vec![value("x", data_type)], ..Graph::default() });
        layers.into_iter().map(|layer| layer.precision).collect()
    }

    #[test]
    fn a_convolution_between_casts_computes_in_fp32() {
        let nodes = vec![
            cast(data_type::FLOAT, "x", "f"),
            node("Conv", &["f", "w"], &["g"]),
            node("ReorderOutput", &["g"], &["h"]),
            cast(data_type::FLOAT16, "h", "k"),
            node("Conv", &["k", "w"], &["l"]),
        ];
        let found = precisions(data_type::FLOAT16, nodes, &[]);
        assert_eq!(found[1].as_deref(), Some("fp32"));
        assert_eq!(found[2].as_deref(), Some("fp32"));
        assert_eq!(found[4].as_deref(), Some("fp16"));
    }

    #[test]
    fn an_unfused_convolution_between_dequantize_and_quantize_computes_in_fp32() {
        let nodes = vec![
            node("QuantizeLinear", &["x", "s"], &["q"]),
            node("MaxPool", &["q"], &["p"]),
            node("DequantizeLinear", &["p", "s"], &["f"]),
            node("Conv", &["f", "w"], &["g"]),
            node("QuantizeLinear", &["g", "s"], &["r"]),
            node("QLinearConv", &["r"], &["t"]),
        ];
        let found = precisions(data_type::FLOAT, nodes, &["s"]);
        assert_eq!(found[1].as_deref(), Some("int8"));
        assert_eq!(found[3].as_deref(), Some("fp32"));
        assert_eq!(found[5].as_deref(), Some("int8"));
    }

    #[test]
    fn a_dynamically_quantised_product_computes_in_int8() {
        let nodes = vec![
            node("DynamicQuantizeLinear", &["x"], &["q", "s", "z"]),
            node("MatMulInteger", &["q", "w", "z"], &["i"]),
            cast(data_type::FLOAT, "i", "f"),
            node("Mul", &["f", "s"], &["y"]),
        ];
        let found = precisions(data_type::FLOAT, nodes, &[]);
        assert_eq!(found[1].as_deref(), Some("int8"));
        assert_eq!(found[3].as_deref(), Some("fp32"));
    }

    #[test]
    fn a_declared_type_goes_before_an_inferred_one() {
        let layers = layers_of(Graph {
            nodes: vec![node("Custom", &["x"], &["y"]), node("Conv", &["y"], &["z"])],
            inputs: vec![value("x", data_type::FLOAT)],
            values: vec![value("y", data_type::FLOAT16)],
            ..Graph::default()
        });
        assert_eq!(layers[1].precision.as_deref(), Some("fp16"));
    }

    #[test]
    fn tensors_without_a_type_leave_the_precision_open() {
        let layers = layers_of(Graph { nodes: vec![node("Conv", &["x"], &["y"])], ..Graph::default() });
        assert_eq!(layers[0].precision, None);
    }

    #[test]
    fn initializers_count_as_inputs() {
        let initializers = vec![Initializer { data_type: data_type::FLOAT16, name: "w".to_owned() }];
        let nodes = vec![node("Relu", &["w"], &["y"])];
        let layers = layers_of(Graph { nodes, initializers, ..Graph::default() });
        assert_eq!(layers[0].precision.as_deref(), Some("fp16"));
    }

    #[test]
    fn half_precision_that_computes_between_casts_is_declared_by_the_artifact() {
        let artifact = encode(Graph {
            nodes: vec![node("Conv", &["x", "w"], &["y"]), node("Gemm", &["y", "v"], &["z"])],
            inputs: vec![value("x", data_type::FLOAT16)],
            ..Graph::default()
        });
        let optimised = encode(Graph {
            nodes: vec![
                cast(data_type::FLOAT, "x", "f"),
                named("renamed", node("Conv", &["f", "w"], &["g"])),
                node("Gemm", &["g", "v"], &["h"]),
                cast(data_type::FLOAT16, "h", "z"),
            ],
            inputs: vec![value("x", data_type::FLOAT16)],
            ..Graph::default()
        });
        let layers = layers(&optimised, &artifact).unwrap();
        for layer in [&layers[1], &layers[2]] {
            assert_eq!((layer.precision.as_deref(), layer.declared.as_deref()), (Some("fp32"), Some("fp16")));
        }
        assert_eq!(layers[0].declared, None);
    }

    #[test]
    fn a_mixed_artifact_declares_node_by_node() {
        let quantized = |input: &str, output: &str| node("DequantizeLinear", &[input, "s"], &[output]);
        let graph = |first: &str, second: &str, third: &str| Graph {
            nodes: vec![
                named(first, node("Conv", &["x", "w"], &["y"])),
                node("QuantizeLinear", &["y", "s"], &["q"]),
                quantized("q", "d"),
                quantized("i", "e"),
                named(second, node("Conv", &["d", "e"], &["z"])),
                named(third, node("Conv", &["z", "w"], &["a"])),
            ],
            initializers: vec![
                Initializer { data_type: data_type::FLOAT, name: "s".to_owned() },
                Initializer { data_type: data_type::INT8, name: "i".to_owned() },
            ],
            inputs: vec![value("x", data_type::FLOAT)],
            ..Graph::default()
        };
        let artifact = encode(graph("one", "two", "three"));
        let optimised = encode(graph("one_nchwc", "lost", "three_token_12"));
        let declared: Vec<Option<String>> = layers(&optimised, &artifact)
            .unwrap()
            .into_iter()
            .filter(|layer| layer.compute)
            .map(|layer| layer.declared)
            .collect();
        let expected = [Some("fp32"), Some("int8"), Some("fp32")].map(|name| name.map(str::to_owned));
        assert_eq!(declared, expected);
        let lost = layers(&encode(graph("lost", "two", "three")), &artifact).unwrap();
        assert_eq!(lost[0].declared, None);
    }

    #[test]
    fn garbage_and_emptiness_are_errors() {
        let good = encode(Graph::default());
        assert!(layers(b"\x0a\xff\xff", &good).is_err());
        assert!(layers(&good, b"\x0a\xff\xff").is_err());
        assert!(layers(b"", &good).is_err());
    }
}

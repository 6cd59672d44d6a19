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
mod tests;

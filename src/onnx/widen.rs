//! A half-precision graph written so that FP32 kernels compute what half precision stores.
//!
//! ONNX Runtime's CPU provider has few half-precision kernels: it puts casts around everything else and then drops most of
//! them, so that a value beyond 65504 goes on as it is. Here every tensor that the graph declares as FLOAT16 is FLOAT,
//! and two casts behind the node that makes it, to FLOAT16 and back, round it as half precision does, overflow to
//! infinity included. What a kernel computes inside of itself stays FP32.
//!
//! | of the graph | becomes |
//! |---|---|
//! | FLOAT16 initialisers, tensors in attributes | FLOAT with the same values |
//! | FLOAT16 in attributes that name a type, and in declared types | FLOAT |
//! | a node's FLOAT16 output | FLOAT, with the two casts behind it |
//! | a FLOAT16 input of the model | FLOAT, with the two casts in front of those that read it |
//! | functions | nodes of the graph |
//!
//! Branches and bodies of loops likewise.

use std::collections::BTreeMap;

use prost::Message;
use prost::bytes::Bytes;

use super::types::{Kind, Types, View, data_type};
use super::{Attribute, Graph, Model, Node, TensorData, Type, consistent, inline, numbers};
use crate::error::{Error, Result};

/// Attributes that name an element type: of a result, or of the arithmetic inside of an operator.
const TYPE_ATTRIBUTES: [&str; 7] =
    ["to", "dtype", "output_dtype", "output_datatype", "softmax_precision", "stash_type", "precision"];

/// The bytes of the widened model.
///
/// # Errors
/// `Input` for what is no ONNX model, `Unsupported` where the type of a tensor cannot be told, or where the bits of a half
/// are read as such.
pub fn widen(bytes: &[u8]) -> Result<Vec<u8>> {
    let model = Model::decode(Bytes::copy_from_slice(bytes))
        .map_err(|error| Error::input("it does not decode as ONNX").because(error))?;
    consistent(&model)?;
    let mut model = inline(model)?;
    let graph = model.graph.as_mut().ok_or_else(|| Error::input("it has no graph"))?;
    let types = Types::of(graph);
    let read = inputs(graph);
    for node in &mut graph.node {
        rename(node, &read);
    }
    self::graph(graph, &types.view())?;
    let casts: Vec<Node> = read.iter().flat_map(|(name, rounded)| round(name, rounded)).collect();
    graph.node.splice(0..0, casts);
    Ok(model.encode_to_vec())
}

/// Whether `model` holds halves: stored, fed, or cast to, in its graph, the graphs inside of its nodes and its functions.
pub fn holds_halves(model: &Model) -> bool {
    let functions = model.functions.iter().flat_map(|function| &function.node);
    model.graph.as_ref().is_some_and(graph_holds_halves) || functions.into_iter().any(node_holds_halves)
}

/// Whether tensors of this type hold halves.
fn is_half(kind: &Type) -> bool {
    kind.tensor_type.as_ref().is_some_and(|tensor| tensor.elem_type == data_type::FLOAT16)
}

fn graph_holds_halves(graph: &Graph) -> bool {
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    graph.initializer.iter().chain(sparse).any(|stored| stored.data_type == data_type::FLOAT16)
        || graph.input.iter().any(|value| value.kind.as_ref().is_some_and(is_half))
        || graph.node.iter().any(node_holds_halves)
}

fn node_holds_halves(node: &Node) -> bool {
    node.attribute.iter().any(|attribute| {
        let named = TYPE_ATTRIBUTES.contains(&attribute.name.as_str()) && attribute.i == i64::from(data_type::FLOAT16);
        let stored = attribute.t.iter().map(|stored| &**stored).chain(&attribute.tensors);
        named
            || stored.into_iter().any(|stored| stored.data_type == data_type::FLOAT16)
            || super::types::graphs(attribute).any(graph_holds_halves)
    })
}

/// The model's FLOAT16 inputs, and what those that read them read instead.
fn inputs(graph: &Graph) -> BTreeMap<String, String> {
    graph
        .input
        .iter()
        .filter(|value| value.kind.as_ref().is_some_and(is_half))
        // Before IR version 4, initialisers are among the inputs.
        .filter(|value| graph.initializer.iter().all(|tensor| tensor.name != value.name))
        .map(|value| (value.name.clone(), format!("{}/trtgate/rounded", value.name)))
        .collect()
}

/// Lets `node`, and the nodes of the graphs inside it, read other names.
fn rename(node: &mut Node, names: &BTreeMap<String, String>) {
    for name in &mut node.input {
        if let Some(other) = names.get(name) {
            name.clone_from(other);
        }
    }
    for graph in node.attribute.iter_mut().flat_map(graphs) {
        graph.node.iter_mut().for_each(|node| rename(node, names));
    }
}

fn graphs(attribute: &mut Attribute) -> impl Iterator<Item = &mut Graph> {
    attribute.g.iter_mut().map(|graph| &mut **graph).chain(&mut attribute.graphs)
}

/// The two casts that round `from` and call the result `to`.
fn round(from: &str, to: &str) -> [Node; 2] {
    let half = format!("{to}/trtgate/half");
    let cast = |to: i32, input: &str, output: &str| Node {
        name: format!("{output}/trtgate/cast"),
        op_type: "Cast".to_owned(),
        input: vec![input.to_owned()],
        output: vec![output.to_owned()],
        // 2 is the kind of an integer.
        attribute: vec![Attribute { name: "to".to_owned(), i: to.into(), kind: 2, ..Attribute::default() }],
        ..Node::default()
    };
    [cast(data_type::FLOAT16, from, &half), cast(data_type::FLOAT, &half, to)]
}

fn graph(graph: &mut Graph, view: &View<'_>) -> Result<()> {
    let sparse = graph.sparse_initializer.iter_mut().filter_map(|sparse| sparse.values.as_mut());
    for stored in graph.initializer.iter_mut().chain(sparse) {
        tensor(stored)?;
    }
    for value in graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info) {
        value.kind.iter_mut().for_each(declared);
    }
    let mut nodes = Vec::with_capacity(3 * graph.node.len());
    for (index, mut node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        let casts = self::node(&mut node, index, view)?;
        nodes.push(node);
        nodes.extend(casts);
    }
    graph.node = nodes;
    Ok(())
}

/// Widens a node; returns the casts that stand behind it.
fn node(node: &mut Node, index: usize, view: &View<'_>) -> Result<Vec<Node>> {
    let half = |kind: Option<Kind>| kind.is_some_and(|kind| kind.element == data_type::FLOAT16);
    let reads = node.input.iter().any(|name| half(view.get(name)));
    let mut casts = Vec::new();
    for place in 0..node.output.len() {
        let Some(name) = node.output.get_mut(place).filter(|name| !name.is_empty()) else { continue };
        let Some(kind) = view.get(name) else {
            // What reads no half makes none by itself, but for the operators whose types are known.
            if !reads {
                continue;
            }
            return Err(Error::unsupported(format!(
                "`{}` of operator `{}` makes `{name}`, whose element type cannot be told",
                node.name, node.op_type
            ))
            .hint("write the model again with the types of its tensors: `onnx.shape_inference.infer_shapes`"));
        };
        // The tensors in a sequence are rounded where they are made.
        if kind.tensor && kind.element == data_type::FLOAT16 {
            let wide = format!("{name}/trtgate/wide");
            casts.extend(round(&wide, name));
            *name = wide;
        }
    }
    if node.op_type == "BitCast" && (reads || !casts.is_empty()) {
        return Err(Error::unsupported(format!("`{}` reads the bits of a half-precision tensor", node.name)));
    }
    for (place, attribute) in node.attribute.iter_mut().enumerate() {
        for (number, inner) in graphs(attribute).enumerate() {
            let view = view
                .enter((index, place, number))
                .ok_or_else(|| Error::failed("a graph inside of a node was not looked at"))?;
            self::graph(inner, &view)?;
        }
        if TYPE_ATTRIBUTES.contains(&attribute.name.as_str()) && attribute.i == i64::from(data_type::FLOAT16) {
            attribute.i = data_type::FLOAT.into();
        }
        let sparse =
            attribute.sparse_tensor.iter_mut().map(|sparse| &mut **sparse).chain(&mut attribute.sparse_tensors);
        let sparse = sparse.filter_map(|sparse| sparse.values.as_mut());
        for stored in attribute.t.iter_mut().map(|stored| &mut **stored).chain(&mut attribute.tensors).chain(sparse) {
            tensor(stored)?;
        }
        attribute.tp.iter_mut().map(|kind| &mut **kind).chain(&mut attribute.type_protos).for_each(declared);
    }
    Ok(casts)
}

/// A stored FLOAT16 tensor with the same values as FLOAT.
fn tensor(tensor: &mut TensorData) -> Result<()> {
    if tensor.data_type != data_type::FLOAT16 {
        return Ok(());
    }
    let values = numbers(tensor).ok_or_else(|| {
        Error::input(format!("the halves of tensor `{}` do not fill its shape {:?}", tensor.name, tensor.dims))
    })?;
    tensor.data_type = data_type::FLOAT;
    tensor.int32_data.clear();
    tensor.raw_data = Some(values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect());
    Ok(())
}

fn declared(kind: &mut Type) {
    for tensor in kind.tensor_type.iter_mut().chain(&mut kind.sparse_tensor_type) {
        if tensor.elem_type == data_type::FLOAT16 {
            tensor.elem_type = data_type::FLOAT;
        }
    }
    for inner in kind.sequence_type.iter_mut().chain(&mut kind.optional_type) {
        inner.elem_type.iter_mut().for_each(|kind| declared(kind));
    }
    if let Some(map) = &mut kind.map_type {
        map.value_type.iter_mut().for_each(|kind| declared(kind));
    }
}

#[cfg(test)]
mod tests;

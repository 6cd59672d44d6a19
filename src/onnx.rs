//! ONNX files read without a library of ONNX: signature, structure, validity, and outputs appended to a graph.
//!
//! Documentation and metadata are skipped while reading. So an artifact is never written again from what was read here:
//! outputs are *appended* to its bytes, which protobuf reads as a merge. What is only run once, to look at it, may be.

mod ending;
pub(crate) mod external;
mod inline;
mod messages;
mod numbers;
mod order;
pub mod products;
#[cfg(test)]
pub(crate) mod samples;
pub mod test_sets;
pub mod types;
mod values;
mod widen;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use prost::Message;
use prost::bytes::Bytes;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::files;
use crate::tensor::{ElementType, Signature, TensorSpec, shape_text};

pub use ending::{Ending, ending, scales_bytes, source_of};
pub use inline::{consistent, inline};
pub use messages::{
    Attribute, Dimension, Function, Graph, Model, Node, OperatorSet, Shape, SparseTensorData, StringEntry, TensorData,
    TensorType, Type, ValueInfo,
};
pub use numbers::numbers;
pub use values::{read_tensor, tensor};
pub use widen::{holds_halves, widen};

/// Operators that do the heavy work, which a proof of precision counts.
pub const COMPUTE: [&str; 4] = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// Reads a model from a file.
pub fn read(path: &Path) -> Result<Model> {
    let bytes = files::read(path, files::GRAPH).map_err(|error| Error::io("read", path, error))?;
    parse(&bytes).map_err(|error| error.context(format!("`{}` is not a usable ONNX model", path.display())))
}

/// What exporters wrote beside the graph, key and value: nothing that decides what it computes.
pub fn metadata(path: &Path) -> Result<Vec<(String, String)>> {
    #[derive(Clone, PartialEq, Message)]
    struct Beside {
        #[prost(message, repeated, tag = "14")]
        metadata: Vec<messages::StringEntry>,
    }
    let bytes = files::read(path, files::GRAPH).map_err(|error| Error::io("read", path, error))?;
    let beside = Beside::decode(Bytes::from(bytes))
        .map_err(|error| Error::input(format!("`{}` does not decode as ONNX", path.display())).because(error))?;
    Ok(beside.metadata.into_iter().map(|entry| (entry.key, entry.value)).collect())
}

/// Whether a file decodes as a model that keeps values in other files, as no artifact does.
pub(crate) fn has_values_elsewhere(path: &Path) -> Result<bool> {
    let bytes = files::read(path, files::GRAPH).map_err(|error| Error::io("read", path, error))?;
    // Values are not copied out of these bytes.
    Ok(Model::decode(Bytes::from(bytes)).is_ok_and(|model| external::elsewhere(&model).is_some()))
}

/// Reads a model and checks what a truncated or foreign file would get wrong: every node reads tensors that exist,
/// every output is made, every stored tensor has all its bytes. Nodes that stand before what they read are brought behind it, as
/// runtimes do.
pub fn parse(bytes: &[u8]) -> Result<Model> {
    let mut model = Model::decode(bytes).map_err(|error| Error::input("it does not decode as ONNX").because(error))?;
    model.graph.iter_mut().for_each(order::sort);
    valid(&model)?;
    Ok(model)
}

/// Checks a decoded model; see [`parse`].
pub fn valid(model: &Model) -> Result<()> {
    let graph = model.graph.as_ref().ok_or_else(|| Error::input("it has no graph"))?;
    if !model.opset_import.iter().any(OperatorSet::is_standard) {
        if model.opset_import.iter().any(|set| set.domain == "ai.onnx.ml") {
            return Err(Error::unsupported("its operators are those of `ai.onnx.ml` alone").hint(
                "trees and linear classifiers need an engine that computes them, and neither TensorRT nor LiteRT does",
            ));
        }
        if let Some(set) = model.opset_import.first() {
            return Err(Error::unsupported(format!("its operators are those of `{}` alone", set.domain))
                .hint("only operators of ONNX itself are converted and gated"));
        }
        return Err(Error::input("it names no ONNX operator set"));
    }
    if graph.node.is_empty() || graph.output.is_empty() {
        return Err(Error::input("its graph has no nodes or no outputs"));
    }
    if let Some(tensor) = external::elsewhere(model) {
        return Err(Error::input(format!("the values of tensor `{}` are in another file", tensor.name))
            .hint("save the model as one file, so that its digest covers its weights"));
    }
    let mut known: BTreeSet<&str> = graph.input.iter().map(|value| value.name.as_str()).collect();
    for tensor in &graph.initializer {
        complete(tensor)?;
        known.insert(&tensor.name);
    }
    known.extend(graph.sparse_initializer.iter().filter_map(|sparse| Some(sparse.values.as_ref()?.name.as_str())));
    for node in &graph.node {
        if let Some(missing) = node.input.iter().find(|name| !name.is_empty() && !known.contains(name.as_str())) {
            return Err(Error::input(format!("node `{}` reads `{missing}`, which nothing makes", node.name)));
        }
        // Each name is made once: who looks for what makes a tensor, and for what makes that, comes to an end.
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if !known.insert(name) {
                return Err(Error::input(format!("node `{}` makes `{name}`, which there is already", node.name)));
            }
        }
    }
    match graph.output.iter().find(|value| !known.contains(value.name.as_str())) {
        Some(value) => Err(Error::input(format!("nothing makes its output `{}`", value.name))),
        None => Ok(()),
    }
}

/// Checks that a stored tensor has as many bytes as its shape and type ask for, in this file.
fn complete(tensor: &TensorData) -> Result<()> {
    let Some(bits) = messages::bits(tensor.data_type) else { return Ok(()) };
    let count = tensor.dims.iter().try_fold(1_u64, |count, &size| count.checked_mul(u64::try_from(size).ok()?));
    let whole = match &tensor.raw_data {
        Some(raw) => {
            let expected = count.and_then(|count| count.checked_mul(bits)).map(|bits| bits.div_ceil(8));
            expected == Some(raw.len() as u64)
        }
        // Typed fields pack small types in their own ways; that there are values is enough.
        None => count.is_some_and(|count| count == 0 || tensor.stored_bytes() > 0),
    };
    if whole {
        return Ok(());
    }
    Err(Error::input(format!(
        "tensor `{}` of shape {:?} has {} bytes",
        tensor.name,
        tensor.dims,
        tensor.stored_bytes()
    )))
}

/// Inputs (without initialisers) and outputs of a model.
pub fn signature(model: &Model) -> Signature {
    let Some(graph) = &model.graph else { return Signature::default() };
    let constants: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs = graph.input.iter().filter(|value| !constants.contains(value.name.as_str()));
    Signature { inputs: inputs.map(specification).collect(), outputs: graph.output.iter().map(specification).collect() }
}

fn specification(value: &ValueInfo) -> TensorSpec {
    let tensor = value.kind.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let dimensions = tensor.and_then(|tensor| tensor.shape.as_ref()).map(|shape| shape.dim.as_slice());
    TensorSpec {
        name: value.name.clone(),
        element_type: tensor.map_or(ElementType::Other, |tensor| messages::element_type(tensor.elem_type)),
        shape: dimensions.unwrap_or_default().iter().map(Dimension::size).collect(),
    }
}

/// What a graph is made of, for review in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Structure {
    /// Version of the file format.
    pub ir_version: i64,
    /// Operator sets: domain (`ai.onnx` for the standard one) and version.
    pub operator_sets: BTreeMap<String, i64>,
    /// Inputs: name, type and shape.
    pub inputs: Vec<String>,
    /// Outputs: name, type and shape.
    pub outputs: Vec<String>,
    /// How often each operator occurs.
    pub operators: BTreeMap<String, usize>,
    /// Q/DQ pairs on stored weights: a `DequantizeLinear` that reads an initialiser, or a `QuantizeLinear` of one.
    pub weight_pairs: usize,
    /// Q/DQ pairs on activations.
    pub activation_pairs: usize,
    /// Compute nodes ([`COMPUTE`]) whose data and weights both come out of `DequantizeLinear`.
    pub quantized_compute: usize,
    /// Compute nodes.
    pub compute: usize,
    /// Stored tensors by element type: bytes.
    pub initializer_bytes: BTreeMap<String, u64>,
}

impl fmt::Display for Structure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = |map: &BTreeMap<String, i64>| {
            map.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
        };
        writeln!(formatter, "ir version: {}", self.ir_version)?;
        writeln!(formatter, "operator sets: {}", pairs(&self.operator_sets))?;
        for (role, values) in [("input", &self.inputs), ("output", &self.outputs)] {
            for value in values {
                writeln!(formatter, "{role}: {value}")?;
            }
        }
        for (name, count) in &self.operators {
            writeln!(formatter, "operator: {name} × {count}")?;
        }
        writeln!(formatter, "Q/DQ pairs: {} on weights, {} on activations", self.weight_pairs, self.activation_pairs)?;
        writeln!(formatter, "compute nodes: {}, of them quantised: {}", self.compute, self.quantized_compute)?;
        for (kind, bytes) in &self.initializer_bytes {
            writeln!(formatter, "stored {kind}: {bytes} bytes")?;
        }
        Ok(())
    }
}

/// The structure of a model.
pub fn structure(model: &Model) -> Structure {
    let empty = Graph::default();
    let graph = model.graph.as_ref().unwrap_or(&empty);
    let describe = |specification: &TensorSpec| {
        format!("{} {} {}", specification.name, specification.element_type, shape_text(&specification.shape))
    };
    let signature = signature(model);
    let constants: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let makers: BTreeMap<&str, &Node> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect();
    let made_by = |name: Option<&String>, operator: &str| {
        name.and_then(|name| makers.get(name.as_str()).copied()).filter(|node| node.op_type == operator)
    };
    let mut structure = Structure {
        ir_version: model.ir_version,
        operator_sets: model.opset_import.iter().map(|set| (set.name().to_owned(), set.version)).collect(),
        inputs: signature.inputs.iter().map(describe).collect(),
        outputs: signature.outputs.iter().map(describe).collect(),
        operators: BTreeMap::new(),
        weight_pairs: 0,
        activation_pairs: 0,
        quantized_compute: 0,
        compute: 0,
        initializer_bytes: BTreeMap::new(),
    };
    for node in &graph.node {
        *structure.operators.entry(node.op_type.clone()).or_default() += 1;
        if node.op_type == "DequantizeLinear" {
            let is_stored = |name: Option<&String>| name.is_some_and(|name| constants.contains(name.as_str()));
            // A pair for CPUs clips between its halves.
            let clip = made_by(node.input.first(), "Clip").and_then(|clip| clip.input.first());
            match made_by(clip.or(node.input.first()), "QuantizeLinear") {
                Some(quantize) if is_stored(quantize.input.first()) => structure.weight_pairs += 1,
                Some(_) => structure.activation_pairs += 1,
                None if is_stored(node.input.first()) => structure.weight_pairs += 1,
                None => {}
            }
        }
        if COMPUTE.contains(&node.op_type.as_str()) {
            structure.compute += 1;
            let dequantized = |index: usize| made_by(node.input.get(index), "DequantizeLinear").is_some();
            structure.quantized_compute += usize::from(dequantized(0) && dequantized(1));
        }
    }
    for tensor in &graph.initializer {
        let kind = messages::element_type(tensor.data_type).to_string();
        *structure.initializer_bytes.entry(kind).or_default() += tensor.stored_bytes();
    }
    structure
}

/// Bytes of the model with `names` as further graph outputs, in that order; names that are outputs already are left
/// out. The model's own bytes come first, unchanged.
///
/// Protobuf joins repeated fields of messages that follow each other (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>),
/// so an appended `ModelProto` that holds nothing but a graph with outputs adds these to the graph.
pub fn append_outputs<'name>(bytes: &[u8], names: impl IntoIterator<Item = &'name str>) -> Result<Vec<u8>> {
    let model = parse(bytes)?;
    let graph = model.graph.unwrap_or_default();
    let mut known: BTreeSet<&str> = graph.output.iter().map(|value| value.name.as_str()).collect();
    let made: BTreeSet<&str> = graph
        .node
        .iter()
        .flat_map(|node| &node.output)
        .chain(graph.input.iter().map(|value| &value.name))
        .map(String::as_str)
        .collect();
    let mut output = Vec::new();
    for name in names {
        if !made.contains(name) {
            return Err(Error::usage(format!("the model has no tensor `{name}`")));
        }
        if known.insert(name) {
            // The type may be left out: whoever loads the model infers it.
            output.push(ValueInfo { name: name.to_owned(), kind: None });
        }
    }
    let addition = messages::GraphAddition { graph: Some(messages::OutputAddition { output }) };
    let mut joined = bytes.to_vec();
    joined.extend(addition.encode_to_vec());
    Ok(joined)
}

#[cfg(test)]
mod tests;

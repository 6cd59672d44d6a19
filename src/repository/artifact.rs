//! What a model's file tells of itself: an ONNX graph its inputs and outputs, an engine its beginning and what stands beside it.

use std::path::{Path, PathBuf};

use prost::Message as _;
use prost::bytes::Bytes;

use crate::error::{Error, Result};
use crate::files;
use crate::onnx::{self, ValueInfo};
use crate::runtime::tensorrt::EngineMetadata;
use crate::runtime::tensorrt::plan_file::{self, PlanHeader};
use crate::tensor::ElementType;

/// What is known of a file.
#[derive(Clone, Debug)]
pub enum Facts {
    /// An ONNX graph.
    Onnx(Border),
    /// An engine.
    Plan(Plan),
    /// Nothing, and why.
    Unseen(String),
}

/// Inputs and outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Border {
    /// Inputs, without stored ones.
    pub inputs: Vec<TensorFact>,
    /// Outputs.
    pub outputs: Vec<TensorFact>,
}

/// An input or output of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorFact {
    /// Its name.
    pub name: String,
    /// Its element type, as the house calls it.
    pub element: ElementType,
    /// Its dimensions, the batch first, `None` for an open one; none at all where the file does not say them.
    pub shape: Option<Vec<Option<i64>>>,
}

impl TensorFact {
    /// Its shape in words, -1 for what is open.
    pub fn shown(&self) -> String {
        self.shape.as_ref().map_or_else(|| "of no stated shape".to_owned(), |shape| dims_text(shape.iter().copied()))
    }
}

/// An engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its beginning.
    pub header: PlanHeader,
    /// The bytes that are there.
    pub bytes: u64,
    /// The largest batch of each profile, where what stands beside it says so and describes these bytes.
    pub profiles: Vec<u32>,
}

/// Dims in words, `[-1, 3, 4]`.
pub fn dims_text(dims: impl Iterator<Item = Option<i64>>) -> String {
    let dims: Vec<String> = dims.map(|dim| dim.unwrap_or(-1).to_string()).collect();
    if dims.is_empty() { "[]".to_owned() } else { format!("[{}]", dims.join(", ")) }
}

/// What Triton calls an element type; none for what it has none for.
pub const fn data_type(element: ElementType) -> Option<&'static str> {
    Some(match element {
        ElementType::Bool => "TYPE_BOOL",
        ElementType::Uint8 => "TYPE_UINT8",
        ElementType::Uint16 => "TYPE_UINT16",
        ElementType::Uint32 => "TYPE_UINT32",
        ElementType::Uint64 => "TYPE_UINT64",
        ElementType::Int8 => "TYPE_INT8",
        ElementType::Int16 => "TYPE_INT16",
        ElementType::Int32 => "TYPE_INT32",
        ElementType::Int64 => "TYPE_INT64",
        ElementType::Float16 => "TYPE_FP16",
        ElementType::Float32 => "TYPE_FP32",
        ElementType::Float64 => "TYPE_FP64",
        ElementType::Bfloat16 => "TYPE_BF16",
        ElementType::String => "TYPE_STRING",
        ElementType::Other => return None,
    })
}

/// Inputs and outputs of the ONNX file at `path`, whatever its operators are and wherever its values lie: more loads in a
/// server than the gate converts.
///
/// # Errors
/// `Input`, for what is no ONNX graph, or cannot be read.
pub fn onnx(path: &Path) -> Result<Border> {
    let bytes = files::read(path, files::GRAPH).map_err(|error| Error::io("read", path, error))?;
    // Weights are not copied out of these bytes.
    let model = onnx::Model::decode(Bytes::from(bytes))
        .map_err(|error| Error::input("it does not decode as ONNX").because(error))?;
    let graph = model.graph.as_ref().ok_or_else(|| Error::input("it has no graph"))?;
    if graph.output.is_empty() {
        return Err(Error::input("its graph has no outputs"));
    }
    let stored: std::collections::BTreeSet<&str> =
        graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs = graph.input.iter().filter(|input| !stored.contains(input.name.as_str()));
    let elements = onnx::signature(&model);
    let element = |name: &str| {
        let mut known = elements.inputs.iter().chain(&elements.outputs);
        known.find(|spec| spec.name == name).map_or(ElementType::Other, |spec| spec.element_type)
    };
    let fact = |value: &ValueInfo| {
        let shape =
            value.kind.as_ref().and_then(|kind| kind.tensor_type.as_ref()).and_then(|tensor| tensor.shape.as_ref());
        let sizes = shape.map(|shape| {
            shape.dim.iter().map(|dim| dim.size().and_then(|size| i64::try_from(size).ok())).collect::<Vec<_>>()
        });
        TensorFact { name: value.name.clone(), element: element(&value.name), shape: sizes }
    };
    Ok(Border { inputs: inputs.map(fact).collect(), outputs: graph.output.iter().map(fact).collect() })
}

/// What the engine at `path` tells without its library; `None` for what begins as no engine that is known.
///
/// # Errors
/// `Input`, for a file that cannot be read.
pub fn plan(path: &Path) -> Result<Option<Plan>> {
    let file = files::plain(path).map_err(|error| Error::io("read", path, error))?;
    let bytes = file.metadata().map_err(|error| Error::io("read", path, error))?.len();
    let Some(header) = plan_file::begins(path) else { return Ok(None) };
    let beside = EngineMetadata::beside(path).ok().flatten().filter(|beside| beside.bytes == bytes);
    let profiles = beside.filter(|beside| crate::digest::digest_file(path).is_ok_and(|digest| digest == beside.sha256));
    let profiles = profiles.map(|beside| beside.profiles.iter().map(|[_, _, largest]| *largest).collect());
    Ok(Some(Plan { header, bytes, profiles: profiles.unwrap_or_default() }))
}

/// The file inside of what an ONNX model may be as a folder: `model.onnx/model.onnx`.
pub fn inside(path: &Path, name: &str) -> PathBuf {
    if path.is_dir() { path.join(name) } else { path.to_owned() }
}

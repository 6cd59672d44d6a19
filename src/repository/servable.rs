//! A model as it is to be served: what its configuration says, out of what its file is.

use std::path::PathBuf;

use super::artifact::{Border, TensorFact, data_type, dims_text};
use crate::error::{Error, Result};
use crate::tensor::ElementType;

/// Keys of `parameters`, under which a server's `/config` tells where a model came from.
pub mod keys {
    /// SHA-256 of the model that was converted.
    pub const MODEL: &str = "trtgate.model.sha256";
    /// SHA-256 of the file that is served.
    pub const ARTIFACT: &str = "trtgate.artifact.sha256";
    /// What that file is: `onnx-fp16`, `engine`.
    pub const KIND: &str = "trtgate.artifact";
    /// Its precision.
    pub const PRECISION: &str = "trtgate.precision";
    /// The program's version.
    pub const VERSION: &str = "trtgate.version";
    /// The TensorRT that built an engine.
    pub const TENSORRT: &str = "trtgate.tensorrt";
    /// The card that it was built on.
    pub const DEVICE: &str = "trtgate.device";
}

/// What serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// ONNX Runtime's, of an ONNX file.
    Onnxruntime,
    /// TensorRT's, of an engine with so many profiles.
    Tensorrt {
        /// Its optimization profiles.
        profiles: usize,
    },
}

impl Backend {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Onnxruntime => "onnxruntime",
            Self::Tensorrt { .. } => "tensorrt",
        }
    }

    /// The file that it loads.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Onnxruntime => "model.onnx",
            Self::Tensorrt { .. } => "model.plan",
        }
    }
}

/// A model that is to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servable {
    /// Its name, and that of its folder.
    pub name: String,
    /// What serves it.
    pub backend: Backend,
    /// Its file.
    pub file: PathBuf,
    /// The file's digest.
    pub sha256: String,
    /// What stands beside an engine, and goes with it.
    pub beside: Option<PathBuf>,
    /// The largest batch; 0 for a model whose shapes are served as they are.
    pub max_batch_size: u32,
    /// Its inputs.
    pub inputs: Vec<ServedTensor>,
    /// Its outputs.
    pub outputs: Vec<ServedTensor>,
    /// Names of its classes, where it has one output of classes and they have names.
    pub labels: Vec<String>,
    /// Microseconds that a request waits for others; not merged at all where nothing is said.
    pub queue_delay: Option<u64>,
    /// Where it came from.
    pub parameters: Vec<(&'static str, String)>,
}

/// An input or output as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedTensor {
    /// Its name.
    pub name: String,
    /// Its type, as Triton calls it.
    pub data_type: &'static str,
    /// Its dims, without the batch where there is one.
    pub dims: Vec<i64>,
    /// The shape that the backend has, where it is another.
    pub reshape: Option<Vec<i64>>,
}

/// Whether a file's inputs and outputs may all have a batch first: an open size.
pub fn is_open_first(border: &Border) -> bool {
    let open = |tensor: &TensorFact| tensor.shape.as_deref().and_then(<[_]>::first) == Some(&None);
    border.inputs.iter().chain(&border.outputs).all(open)
}

/// The inputs and outputs of `border` as they are served, without their first size where they are `batched`.
///
/// # Errors
/// `Unsupported`, for what Triton cannot be told: types that it has not, a single number of a model without a batch, a shape that
/// the file does not state.
pub fn tensors(border: &Border, batched: bool) -> Result<(Vec<ServedTensor>, Vec<ServedTensor>)> {
    let all = |tensors: &[TensorFact]| tensors.iter().map(|tensor| served(tensor, batched)).collect::<Result<Vec<_>>>();
    Ok((all(&border.inputs)?, all(&border.outputs)?))
}

fn served(tensor: &TensorFact, batched: bool) -> Result<ServedTensor> {
    let name = &tensor.name;
    // Its backends for ONNX and TensorRT take no brain floats at a model's border.
    let data_type = data_type(tensor.element).filter(|_| tensor.element != ElementType::Bfloat16).ok_or_else(|| {
        Error::unsupported(format!("`{name}` is {}, which Triton has no type for", tensor.element))
            .hint("cast it inside of the model, so that its border is of floats or whole numbers")
    })?;
    let shape = tensor.shape.as_deref().ok_or_else(|| {
        Error::unsupported(format!("the file does not state the shape of `{name}`"))
            .hint("export the model with shapes inferred, so that its outputs have dimensions")
    })?;
    let inner = shape.get(usize::from(batched)..).unwrap_or_default();
    let dims: Vec<i64> = inner.iter().map(|size| size.unwrap_or(-1)).collect();
    if !dims.is_empty() {
        return Ok(ServedTensor { name: name.clone(), data_type, dims, reshape: None });
    }
    if !batched {
        return Err(Error::unsupported(format!(
            "`{name}` of shape {} is one number",
            dims_text(shape.iter().copied())
        ))
        .hint("Triton serves no single numbers of a model without a batch: give it a dimension"));
    }
    // A number a sample: a dimension of one for the request, taken away for the backend.
    Ok(ServedTensor { name: name.clone(), data_type, dims: vec![1], reshape: Some(Vec::new()) })
}

//! Tensors as they pass between data, runtimes and checks.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Element types that occur at the border of a classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ElementType {
    /// IEEE binary32.
    Float32,
    /// IEEE binary16.
    Float16,
    /// bfloat16.
    Bfloat16,
    /// IEEE binary64.
    Float64,
    /// Signed 8-bit integer.
    Int8,
    /// Unsigned 8-bit integer.
    Uint8,
    /// Signed 32-bit integer.
    Int32,
    /// Signed 64-bit integer.
    Int64,
    /// Boolean.
    Bool,
    /// Text.
    String,
    /// Anything else (4-bit types): never accepted at the border, as texts.
    Other,
}

impl ElementType {
    /// Bytes of one element; `None` where elements are not whole bytes or not of one size.
    pub const fn bytes(self) -> Option<usize> {
        match self {
            Self::Int8 | Self::Uint8 | Self::Bool => Some(1),
            Self::Float16 | Self::Bfloat16 => Some(2),
            Self::Float32 | Self::Int32 => Some(4),
            Self::Float64 | Self::Int64 => Some(8),
            Self::String | Self::Other => None,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Bfloat16 => "bfloat16",
            Self::Float64 => "float64",
            Self::Int8 => "int8",
            Self::Uint8 => "uint8",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Other => "other",
        })
    }
}

/// A named tensor, row-major. Values are held as `f32` whatever the element type was: half floats widen exactly,
/// quantised integers are kept as their integer values (the runtime dequantises before it hands outputs out).
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name at the border of the graph.
    pub name: String,
    /// The element type that the runtime reported, before widening.
    pub element_type: ElementType,
    /// Dimensions, the batch first.
    pub shape: Vec<usize>,
    /// `shape.product()` values.
    pub values: Vec<f32>,
}

impl Tensor {
    /// A `float32` tensor; an error if `values` does not fill `shape`.
    pub fn float32(name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) -> Result<Self> {
        let name = name.into();
        let expected: usize = shape.iter().product();
        if values.len() != expected {
            return Err(Error::input(format!(
                "tensor `{name}` of shape {shape:?} needs {expected} values, got {}",
                values.len()
            )));
        }
        Ok(Self { name, element_type: ElementType::Float32, shape, values })
    }

    /// Samples along the first dimension; 0 for a scalar.
    pub fn batch(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Values of one sample.
    pub fn row_len(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// The first `count` samples, or all where there are fewer.
    pub fn first(&self, count: usize) -> Result<Self> {
        let count = count.min(self.batch());
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = count;
        }
        let values = self.values.get(..count * self.row_len()).unwrap_or_default().to_vec();
        Self::float32(self.name.clone(), shape, values)
    }

    /// The values of sample `index`, or `None` past the end.
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        let length = self.row_len();
        self.values.get(index * length..(index + 1) * length)
    }
}

/// One input or output of a model, as a runtime reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// Name at the border of the graph.
    pub name: String,
    /// Element type.
    pub element_type: ElementType,
    /// Dimensions, the batch first; `None` is dynamic.
    pub shape: Vec<Option<usize>>,
}

impl TensorSpec {
    /// A tensor of `batch` samples whose values mean nothing, between 0 and 1: to see what comes out, or how fast.
    ///
    /// # Errors
    /// If a dimension other than the batch is open.
    pub fn made_up(&self, batch: usize) -> Result<Tensor> {
        let sample = self.shape.iter().skip(1).copied().collect::<Option<Vec<_>>>().ok_or_else(|| {
            let shape = shape_text(&self.shape);
            Error::unsupported(format!("`{}` has shape {shape}: only its batch may be open", self.name))
        })?;
        let shape = [&[batch], sample.as_slice()].concat();
        let count: usize = shape.iter().product();
        Tensor::float32(self.name.clone(), shape, (0..count).map(|index| (index % 251) as f32 / 250.0).collect())
    }

    /// Checks `tensor` against name, element type and every fixed dimension; says which one differs.
    pub fn accepts(&self, tensor: &Tensor) -> Result<()> {
        let fits = self.shape.len() == tensor.shape.len()
            && self.shape.iter().zip(&tensor.shape).all(|(wanted, got)| wanted.is_none_or(|wanted| wanted == *got));
        if self.name != tensor.name {
            return Err(Error::failed(format!("expected tensor `{}`, got `{}`", self.name, tensor.name)));
        }
        if self.element_type != tensor.element_type {
            return Err(Error::failed(format!(
                "`{}` is {}, expected {}",
                self.name, tensor.element_type, self.element_type
            )));
        }
        if !fits {
            return Err(Error::failed(format!(
                "`{}` has shape {}, expected {}",
                self.name,
                shape_text(&tensor.shape.iter().map(|&size| Some(size)).collect::<Vec<_>>()),
                shape_text(&self.shape)
            )));
        }
        Ok(())
    }
}

/// `[N, 32, 32, 3]`: dynamic dimensions print as `N`.
pub fn shape_text(shape: &[Option<usize>]) -> String {
    let parts: Vec<String> =
        shape.iter().map(|size| size.map_or_else(|| "N".to_owned(), |size| size.to_string())).collect();
    format!("[{}]", parts.join(", "))
}

/// The inputs and outputs of a loaded model.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Signature {
    /// Inputs, in the model's order.
    pub inputs: Vec<TensorSpec>,
    /// Outputs, in the model's order.
    pub outputs: Vec<TensorSpec>,
}

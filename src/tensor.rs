//! Tensors as they pass between data, runtimes and checks: named, shaped, every element in its own type.
//!
//! | file      | subject                                                                  |
//! |-----------|--------------------------------------------------------------------------|
//! | `axes`    | where samples lie in the tensors of a model that has them elsewhere      |
//! | `element` | element types                                                            |
//! | `feeds`   | what goes into a run: a tensor for each input, by name                   |
//! | `values`  | elements in their own type, and the one codec between them and bytes     |
//! | `spec`    | what a model declares, and what may be fed to it: the policy of coercion |

mod axes;
mod element;
mod feeds;
mod spec;
mod values;

use std::borrow::Cow;

pub use axes::{BatchAxes, BatchAxis};
pub use element::ElementType;
pub use feeds::{Feed, Feeds};
pub use spec::{Signature, TensorSpec, element_count, shape_text};
pub(crate) use values::each;
pub use values::{Element, Values};

use crate::digest::digest_bytes;
use crate::error::{Error, Result};

/// A named tensor, row-major, its elements in the type that the runtime has.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name at the border of the graph.
    pub name: String,
    /// Dimensions, the batch first.
    pub shape: Vec<usize>,
    /// `shape.product()` elements.
    pub values: Values,
}

impl Tensor {
    /// Appends the rows of `other` along the first dimension; that the rows have one shape is for the caller to see.
    ///
    /// # Errors
    /// `Failed`, where its elements are of another type.
    pub fn append(&mut self, other: &Self) -> Result<()> {
        self.values.extend(&other.values)?;
        self.shape.iter_mut().take(1).for_each(|rows| *rows += other.batch());
        Ok(())
    }

    /// Name, type, shape and a digest of the values, one line: equal of tensors that are equal bit by bit, and of no others.
    pub fn identity(&self) -> String {
        let values = digest_bytes(&self.values.encode());
        format!("{:?} {} {:?} {values}", self.name, self.element_type(), self.shape)
    }

    /// A tensor; an error if `values` does not fill `shape`.
    ///
    /// # Errors
    /// `Input`, with both numbers.
    pub fn new(name: impl Into<String>, shape: Vec<usize>, values: Values) -> Result<Self> {
        let name = name.into();
        if element_count(&shape) != Some(values.len()) {
            let needed = element_count(&shape).map_or_else(|| "too many".to_owned(), |count| count.to_string());
            return Err(Error::input(format!(
                "tensor `{name}` of shape {shape:?} needs {needed} values, got {}",
                values.len()
            )));
        }
        Ok(Self { name, shape, values })
    }

    /// A `float32` tensor; an error if `values` does not fill `shape`.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn float32(name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) -> Result<Self> {
        Self::new(name, shape, Values::Float32(values))
    }

    /// The type of the elements.
    pub const fn element_type(&self) -> ElementType {
        self.values.element_type()
    }

    /// The elements as `f32`, for arithmetic; see [`Values::to_f32`].
    pub fn floats(&self) -> Cow<'_, [f32]> {
        self.values.to_f32()
    }

    /// As [`Tensor::floats`], without the tensor.
    pub fn into_floats(self) -> Vec<f32> {
        match self.values {
            Values::Float32(elements) => elements,
            other => other.to_f32().into_owned(),
        }
    }

    /// The same numbers as `float32`; see [`Values::to_f32`].
    #[must_use]
    pub fn into_float32(self) -> Self {
        Self { name: self.name, shape: self.shape, values: Values::Float32(self.values.to_f32().into_owned()) }
    }

    /// Samples along the first dimension; 0 for a scalar.
    pub fn batch(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Values of one sample.
    pub fn row_len(&self) -> usize {
        // What a stream says may be no shape that memory holds.
        self.shape.iter().skip(1).fold(1, |product: usize, &size| product.saturating_mul(size))
    }

    /// The first `count` samples, or all where there are fewer.
    ///
    /// # Errors
    /// If the values do not fill the shape.
    pub fn first(&self, count: usize) -> Result<Self> {
        self.samples(0..count.min(self.batch()))
    }

    /// The samples that `rows` names, in its order.
    ///
    /// # Errors
    /// `Input`, where one lies past the end.
    pub fn samples(&self, rows: impl ExactSizeIterator<Item = usize>) -> Result<Self> {
        let count = rows.len();
        let values = self.values.rows(self.row_len(), rows).ok_or_else(|| {
            Error::input(format!("`{}` of shape {:?} has not all the samples asked for", self.name, self.shape))
        })?;
        let mut shape = self.shape.clone();
        match shape.first_mut() {
            Some(first) => *first = count,
            None => return Err(Error::input(format!("`{}` is a scalar, which has no samples", self.name))),
        }
        Ok(Self { name: self.name.clone(), shape, values })
    }

    /// The values of sample `index`; `None` past the end, and where they are not `float32`.
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        let length = self.row_len();
        let (start, end) = (index.checked_mul(length)?, index.checked_add(1)?.checked_mul(length)?);
        self.values.as_slice()?.get(start..end)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn samples_keep_their_type() {
        let ids = Tensor::new("ids", vec![3, 2], Values::Int64(vec![1, 2, 3, 4, 1 << 60, -1])).unwrap();
        let picked = ids.samples([2, 0].into_iter()).unwrap();
        assert_eq!((picked.shape.as_slice(), &picked.values), (&[2, 2][..], &Values::Int64(vec![1 << 60, -1, 1, 2])));
        assert_eq!(ids.first(1).unwrap().values, Values::Int64(vec![1, 2]));
        assert!(ids.samples([3].into_iter()).is_err());
        assert_eq!(ids.row(1), None);
        let floats = ids.into_float32();
        assert_eq!((floats.row(1), floats.row(3)), (Some(&[3.0, 4.0][..]), None));
    }

    #[test]
    fn values_must_fill_the_shape() {
        let error = Tensor::float32("x", vec![2, 3], vec![0.0; 5]).unwrap_err();
        assert_eq!(error.message, "tensor `x` of shape [2, 3] needs 6 values, got 5");
        assert!(Tensor::new("x", vec![usize::MAX, 2], Values::Bool(vec![])).is_err());
        assert!(Tensor::new("x", vec![], Values::Bool(vec![true])).is_ok());
    }
}

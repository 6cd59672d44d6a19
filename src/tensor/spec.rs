//! What a model declares of its inputs and outputs, and what may be fed to them.
//!
//! The policy of coercion, one for every runtime: **a float may become another float, nothing else changes its type.**
//! Samples are `float32`; an input of half floats or doubles takes them rounded to nearest, ties to even. Integers and
//! booleans are fed as they are or refused: a rounded index is another index. A quantised input of a TFLite model is
//! declared with the floats that its integers stand for, and quantised by its own scale. Outputs keep the type that the
//! runtime gives; a quantised output of a TFLite model gives the floats that its integers stand for.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{ElementType, Tensor, Values};
use crate::error::{Error, Result};

/// Elements of the largest tensor that is made up: 1 GiB of `float32`.
const MADE_UP: usize = 1 << 28;

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
    /// A tensor of `batch` samples whose values mean nothing, between 0 and 1: to see what comes out, or how fast. Integers
    /// are all 0, which is an index into anything.
    ///
    /// # Errors
    /// If a dimension other than the batch is open, or no tensor holds the element type.
    pub fn made_up(&self, batch: usize) -> Result<Tensor> {
        let sample = self.shape.iter().skip(1).copied().collect::<Option<Vec<_>>>().ok_or_else(|| {
            let shape = shape_text(&self.shape);
            Error::unsupported(format!("`{}` has shape {shape}: only its batch may be open", self.name))
        })?;
        // A scalar has no batch.
        let shape = if self.shape.is_empty() { sample } else { [&[batch], sample.as_slice()].concat() };
        let count = element_count(&shape)
            .filter(|&count| count <= MADE_UP)
            .ok_or_else(|| Error::unsupported(format!("`{}` of shape {shape:?} does not fit memory", self.name)))?;
        let floats = Values::Float32((0..count).map(|index| (index % 251) as f32 / 250.0).collect());
        let values = match (floats.to_float(self.element_type), self.element_type.bytes()) {
            (Some(values), _) => values,
            (None, Some(size)) => Values::decode(self.element_type, &vec![0; count * size])?,
            (None, None) => {
                return Err(Error::unsupported(format!(
                    "`{}` is {}, which cannot be fed",
                    self.name, self.element_type
                )));
            }
        };
        Tensor::new(self.name.clone(), shape, values)
    }

    /// Checks `tensor` against name, element type and every fixed dimension; says which one differs.
    ///
    /// # Errors
    /// `Failed`, naming what was expected.
    pub fn accepts(&self, tensor: &Tensor) -> Result<()> {
        let fits = self.shape.len() == tensor.shape.len()
            && self.shape.iter().zip(&tensor.shape).all(|(wanted, got)| wanted.is_none_or(|wanted| wanted == *got));
        if self.name != tensor.name {
            return Err(Error::failed(format!("expected tensor `{}`, got `{}`", self.name, tensor.name)));
        }
        if self.element_type != tensor.element_type() {
            return Err(Error::failed(format!(
                "`{}` is {}, expected {}",
                self.name,
                tensor.element_type(),
                self.element_type
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

    /// As [`TensorSpec::accepts`], and that `tensor` holds as many values as its shape says, and at least one where the
    /// specification does not say itself that there are none. Libraries read
    /// as many bytes as the shape says, so nothing goes in, and nothing comes out, unchecked.
    ///
    /// # Errors
    /// `Failed`, naming what was expected.
    pub fn check(&self, tensor: &Tensor) -> Result<()> {
        self.filled(tensor)?;
        if tensor.values.is_empty() && !self.shape.contains(&Some(0)) {
            return Err(Error::failed(format!("`{}` of shape {:?} holds no values", tensor.name, tensor.shape)));
        }
        Ok(())
    }

    /// As [`TensorSpec::accepts`], and that `tensor` holds as many values as its shape says.
    fn filled(&self, tensor: &Tensor) -> Result<()> {
        self.accepts(tensor)?;
        match element_count(&tensor.shape) {
            Some(count) if count == tensor.values.len() => Ok(()),
            _ => Err(Error::failed(format!(
                "`{}` of shape {:?} comes with {} values",
                tensor.name,
                tensor.shape,
                tensor.values.len()
            ))),
        }
    }

    /// `tensor` as this input takes it: checked whole, and rounded where a float is fed to another float type.
    ///
    /// # Errors
    /// `Failed`, as [`TensorSpec::check`] but that a size which is left open may be none, and where a finite number would become infinite: every runtime would be fed the
    /// same infinity, and agree on what the model makes of it.
    pub fn fit<'a>(&self, tensor: &'a Tensor) -> Result<Cow<'a, Tensor>> {
        let rounded = if tensor.element_type() == self.element_type {
            None
        } else {
            // What rounds to nothing else is refused below, by its own type.
            tensor.values.to_float(self.element_type)
        };
        let fitted = match rounded {
            None => Cow::Borrowed(tensor),
            Some(values) => Cow::Owned(Tensor { name: tensor.name.clone(), shape: tensor.shape.clone(), values }),
        };
        self.filled(&fitted)?;
        if let Cow::Owned(rounded) = &fitted {
            let pairs = tensor.values.to_f64().into_iter().zip(rounded.values.to_f64());
            if let Some((value, _)) = pairs.into_iter().find(|(fed, taken)| fed.is_finite() && !taken.is_finite()) {
                return Err(Error::failed(format!(
                    "`{}` is {}, which holds no {value}: it would be fed as infinite",
                    self.name, self.element_type
                ))
                .hint("scale the samples (`range`, `mean` and `std` under `[input]`), or export the model with a float32 input"));
            }
        }
        Ok(fitted)
    }

    /// The same input or output of any batch.
    #[must_use]
    pub fn of_any_batch(&self) -> Self {
        let mut any = self.clone();
        if let Some(batch) = any.shape.first_mut() {
            *batch = None;
        }
        any
    }
}

/// The product of `shape`, or `None` where it does not fit memory.
pub fn element_count(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
        .filter(|&count| count <= isize::MAX as usize / 8)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn spec(name: &str, element_type: ElementType, shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), element_type, shape: shape.to_vec() }
    }

    #[rstest]
    #[case("x", vec![2, 3], 6, true)]
    #[case("y", vec![2, 3], 6, false)]
    #[case("x", vec![2, 4], 8, false)]
    #[case("x", vec![6], 6, false)]
    #[case("x", vec![2, 3], 5, false)]
    #[case("x", vec![usize::MAX, 3], 6, false)]
    fn inputs_are_checked_whole(
        #[case] name: &str,
        #[case] shape: Vec<usize>,
        #[case] values: usize,
        #[case] expected: bool,
    ) {
        let input = Tensor { name: name.to_owned(), shape, values: vec![0.5; values].into() };
        let spec = spec("x", ElementType::Float32, &[None, Some(3)]);
        assert_eq!(spec.check(&input).is_ok(), expected);
        assert_eq!(spec.fit(&input).is_ok(), expected);
    }

    #[rstest]
    #[case::said(&[Some(0), Some(3)], true, true)]
    #[case::open(&[None, Some(3)], true, false)]
    #[case::another(&[Some(2), Some(3)], false, false)]
    fn nothing_is_fed_where_a_size_is_open_and_answered_only_where_it_is_said(
        #[case] shape: &[Option<usize>],
        #[case] fed: bool,
        #[case] answered: bool,
    ) {
        let none = Tensor { name: "x".to_owned(), shape: vec![0, 3], values: Vec::<f32>::new().into() };
        let spec = spec("x", ElementType::Float32, shape);
        assert_eq!((spec.fit(&none).is_ok(), spec.check(&none).is_ok()), (fed, answered));
    }

    /// The policy, whole: every type that is fed to every type that is declared.
    #[test]
    fn floats_become_floats_and_nothing_else_changes_its_type() {
        for declared in ElementType::HELD {
            let spec = spec("x", declared, &[None]);
            for fed in ElementType::HELD {
                let bytes = vec![1; 2 * fed.bytes().unwrap()];
                let tensor = Tensor::new("x", vec![2], Values::decode(fed, &bytes).unwrap()).unwrap();
                let fitted = spec.fit(&tensor);
                let both_floats = declared.is_float() && fed.is_float();
                assert_eq!(fitted.is_ok(), declared == fed || both_floats, "{fed} into {declared}");
                match fitted {
                    Ok(fitted) => assert_eq!(fitted.element_type(), declared),
                    Err(error) => assert_eq!(error.message, format!("`x` is {fed}, expected {declared}")),
                }
            }
        }
    }

    #[rstest]
    #[case::largest(65_504.0, true)]
    #[case::too_large(100_000.0, false)]
    #[case::infinite_already(f32::INFINITY, true)]
    #[case::not_a_number(f32::NAN, true)]
    fn no_finite_sample_is_fed_as_infinite(#[case] value: f32, #[case] expected: bool) {
        let sample = Tensor::float32("x", vec![2], vec![1.0, value]).unwrap();
        let fitted = spec("x", ElementType::Float16, &[None]);
        let fitted = fitted.fit(&sample);
        assert_eq!(fitted.is_ok(), expected);
        if let Err(error) = fitted {
            assert_eq!(error.message, "`x` is float16, which holds no 100000: it would be fed as infinite");
        }
    }

    #[test]
    fn no_tensor_beyond_memory_is_made_up() {
        let vast = spec("x", ElementType::Float32, &[None, Some(1 << 56)]);
        assert!(vast.made_up(1).unwrap_err().message.ends_with("does not fit memory"));
    }

    #[test]
    fn what_comes_out_is_never_converted() {
        let halves = Tensor::float32("y", vec![1], vec![0.5]).unwrap();
        let error = spec("y", ElementType::Float16, &[None]).check(&halves).unwrap_err();
        assert_eq!(error.message, "`y` is float32, expected float16");
    }

    #[test]
    fn made_up_values_have_the_type_that_is_declared() {
        for element_type in ElementType::HELD {
            let tensor = spec("x", element_type, &[None, Some(3)]).made_up(2).unwrap();
            assert_eq!((tensor.element_type(), tensor.shape.as_slice()), (element_type, &[2, 3][..]));
        }
        assert!(spec("x", ElementType::Float32, &[None, None]).made_up(2).is_err());
        assert!(spec("x", ElementType::String, &[None]).made_up(2).is_err());
        assert_eq!(spec("x", ElementType::Int64, &[]).made_up(2).unwrap().shape, [0_usize; 0]);
    }
}

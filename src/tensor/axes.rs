//! Where the samples lie in the tensors of a model that does not have all of them first.
//!
//! Everything but a session has samples along the first dimension. A session is fed what [`BatchAxes::lay_out`] makes of it, and
//! [`BatchAxes::bring_first`] brings its answers back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Feeds, Tensor};
use crate::error::{Error, Result};

/// The dimension of a tensor along which samples lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchAxis {
    /// This one, counted from 0.
    At(usize),
    /// None: the whole tensor belongs to one sample, so that the model is run sample by sample.
    None,
}

impl Default for BatchAxis {
    fn default() -> Self {
        Self::At(0)
    }
}

/// The batch axes of a model's inputs and outputs, by name; those of tensors that are not named are the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAxes {
    /// Of inputs.
    pub inputs: BTreeMap<String, BatchAxis>,
    /// Of outputs.
    pub outputs: BTreeMap<String, BatchAxis>,
}

impl BatchAxes {
    /// Whether the model is run sample by sample, because an input or output has no batch.
    pub fn one_by_one(&self) -> bool {
        self.inputs.values().chain(self.outputs.values()).any(|axis| *axis == BatchAxis::None)
    }

    /// The axis of output `name`.
    pub fn output(&self, name: &str) -> BatchAxis {
        self.outputs.get(name).copied().unwrap_or_default()
    }

    /// `feeds`, samples first, as the model takes them.
    ///
    /// # Errors
    /// `Input`, where a tensor has no such dimension, or has no batch and there are several samples.
    pub fn lay_out(&self, feeds: &Feeds) -> Result<Feeds> {
        if self.inputs.is_empty() {
            return Ok(feeds.clone());
        }
        let laid_out = |tensor: &Tensor| match self.inputs.get(&tensor.name).copied().unwrap_or_default() {
            BatchAxis::At(0) => Ok(tensor.clone()),
            BatchAxis::At(axis) => tensor.with_samples_at(axis),
            BatchAxis::None => tensor.only_sample(),
        };
        let samples = feeds.with_samples().iter().map(laid_out).collect::<Result<_>>()?;
        Ok(Feeds::laid_out(samples, feeds.shared().to_vec(), feeds.batch()))
    }

    /// What the model answered, samples first; what has no batch stays as it is.
    ///
    /// # Errors
    /// `Failed`, where an output has no such dimension.
    pub fn bring_first(&self, outputs: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let brought = |output: Tensor| match self.output(&output.name) {
            BatchAxis::At(0) | BatchAxis::None => Ok(output),
            BatchAxis::At(axis) => output.with_samples_from(axis),
        };
        outputs.into_iter().map(brought).collect()
    }
}

impl Tensor {
    /// The samples of a model's own tensor along the first dimension; what has no batch is one sample.
    ///
    /// # Errors
    /// `Input`, where it has no such dimension.
    pub fn samples_first(self, axis: BatchAxis) -> Result<Self> {
        match axis {
            BatchAxis::At(axis) if axis >= self.shape.len() => {
                Err(Error::input(format!("has shape {:?}, and no samples along dimension {axis}", self.shape)))
            }
            BatchAxis::At(0) => Ok(self),
            BatchAxis::At(axis) => self.with_samples_from(axis),
            BatchAxis::None => {
                let shape = [&[1], self.shape.as_slice()].concat();
                Self::new(self.name, shape, self.values)
            }
        }
    }

    /// A tensor for each sample, of those along the first dimension.
    ///
    /// # Errors
    /// `Input`, where there is none.
    pub fn to_samples(&self) -> Result<Vec<Self>> {
        let Some((&batch, sample)) = self.shape.split_first() else {
            return Err(Error::input(format!("`{}` is one number, and has no samples", self.name)));
        };
        let length = sample.iter().product::<usize>();
        let one = |row: usize| {
            let values = self.values.part(row * length, (row + 1) * length);
            let values = values.ok_or_else(|| Error::input(format!("`{}` has not all its samples", self.name)))?;
            Self::new(self.name.clone(), sample.to_vec(), values)
        };
        (0..batch).map(one).collect()
    }

    /// The samples along dimension `axis` in place of the first; the other dimensions keep their order.
    pub(crate) fn with_samples_at(&self, axis: usize) -> Result<Self> {
        let Some((&batch, sample)) = self.shape.split_first().filter(|(_, sample)| axis <= sample.len()) else {
            return Err(self.without_dimension(axis));
        };
        let (before, behind) = sample.split_at(axis);
        let (outer, inner) = (before.iter().product::<usize>(), behind.iter().product::<usize>());
        let chunks = (0..outer).flat_map(|place| (0..batch).map(move |row| row * outer + place));
        let values = self.values.rows(inner, chunks).ok_or_else(|| self.without_dimension(axis))?;
        let shape = before.iter().copied().chain([batch]).chain(behind.iter().copied()).collect();
        Self::new(self.name.clone(), shape, values)
    }

    /// The samples of dimension `axis` along the first.
    fn with_samples_from(&self, axis: usize) -> Result<Self> {
        let (Some(&batch), Some((before, behind))) = (self.shape.get(axis), self.shape.split_at_checked(axis)) else {
            return Err(self.without_dimension(axis));
        };
        let behind = behind.get(1..).unwrap_or_default();
        let (outer, inner) = (before.iter().product::<usize>(), behind.iter().product::<usize>());
        let chunks = (0..batch).flat_map(|row| (0..outer).map(move |place| place * batch + row));
        let values = self.values.rows(inner, chunks).ok_or_else(|| self.without_dimension(axis))?;
        let shape = [batch].iter().chain(before).chain(behind).copied().collect();
        Self::new(self.name.clone(), shape, values)
    }

    /// The one sample that the tensor holds, without a dimension for it.
    fn only_sample(&self) -> Result<Self> {
        match self.shape.split_first() {
            Some((1, sample)) => Self::new(self.name.clone(), sample.to_vec(), self.values.clone()),
            _ => Err(Error::input(format!(
                "`{}` has no batch and takes one sample at a time, not {:?}",
                self.name, self.shape
            ))),
        }
    }

    fn without_dimension(&self, axis: usize) -> Error {
        Error::failed(format!("`{}` of shape {:?} has no samples along dimension {axis}", self.name, self.shape))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::tensor::Values;

    fn tensor(shape: &[usize]) -> Tensor {
        let count = shape.iter().product::<usize>() as i64;
        Tensor::new("x", shape.to_vec(), Values::Int64((0..count).collect())).unwrap()
    }

    fn axes(axis: BatchAxis) -> BatchAxes {
        let named = BTreeMap::from([("x".to_owned(), axis)]);
        BatchAxes { inputs: named.clone(), outputs: named }
    }

    #[rstest]
    #[case(1, &[3, 2], &[2, 3], &[0, 2, 4, 1, 3, 5])]
    #[case(1, &[2, 2, 2], &[2, 2, 2], &[0, 1, 4, 5, 2, 3, 6, 7])]
    #[case(2, &[2, 3, 1], &[3, 1, 2], &[0, 3, 1, 4, 2, 5])]
    #[case(0, &[2, 2], &[2, 2], &[0, 1, 2, 3])]
    fn samples_move_to_their_axis_and_back(
        #[case] axis: usize,
        #[case] shape: &[usize],
        #[case] laid_out: &[usize],
        #[case] values: &[i64],
    ) {
        let axes = axes(BatchAxis::At(axis));
        let fed = axes.lay_out(&tensor(shape).into()).unwrap();
        let moved = fed.get("x").unwrap();
        assert_eq!((moved.shape.as_slice(), moved.values.as_slice::<i64>().unwrap()), (laid_out, values));
        assert_eq!(fed.batch(), shape[0]);
        assert_eq!(axes.bring_first(vec![moved.clone()]).unwrap(), [tensor(shape)]);
        assert!(!axes.one_by_one());
    }

    #[test]
    fn what_has_no_batch_takes_one_sample() {
        let axes = axes(BatchAxis::None);
        assert!(axes.one_by_one());
        let fed = axes.lay_out(&tensor(&[1, 4, 5]).into()).unwrap();
        assert_eq!(fed.get("x").unwrap().shape, [4, 5]);
        assert_eq!(axes.bring_first(vec![tensor(&[7])]).unwrap(), [tensor(&[7])]);
        let error = axes.lay_out(&tensor(&[2, 4]).into()).unwrap_err();
        assert_eq!(error.message, "`x` has no batch and takes one sample at a time, not [2, 4]");
    }

    #[test]
    fn a_dimension_that_is_not_there_is_an_error() {
        let axes = axes(BatchAxis::At(2));
        assert!(axes.lay_out(&tensor(&[2, 3]).into()).is_err());
        let error = axes.bring_first(vec![tensor(&[2, 3])]).unwrap_err();
        assert_eq!(error.message, "`x` of shape [2, 3] has no samples along dimension 2");
    }
}

//! Samples as the model takes them, one or several held together.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// One sample, ready for the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The label, where the source has one; below the class count.
    pub label: Option<u32>,
    /// Values in the order of the model's input shape.
    pub values: Vec<f32>,
}

/// Samples held together.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Name of the model's input.
    pub input_name: String,
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Values of all samples, one after the other.
    pub values: Vec<f32>,
    /// Labels, one a sample, where the source has them.
    pub labels: Option<Vec<u32>>,
}

impl Samples {
    /// No samples yet.
    pub fn empty(input_name: &str, shape: &[usize]) -> Self {
        Self { input_name: input_name.to_owned(), shape: shape.to_vec(), values: Vec::new(), labels: None }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.values.len() / self.sample_len().max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Values of one sample.
    pub fn sample_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Adds a sample; all or none have labels.
    pub fn push(&mut self, sample: Sample) -> Result<()> {
        if sample.values.len() != self.sample_len() {
            return Err(Error::input(format!(
                "a sample of shape {:?} has {} values, got {}",
                self.shape,
                self.sample_len(),
                sample.values.len()
            )));
        }
        if self.is_empty() {
            self.labels = sample.label.map(|_| Vec::new());
        }
        match (&mut self.labels, sample.label) {
            (Some(labels), Some(label)) => labels.push(label),
            (None, None) => {}
            _ => return Err(Error::input("some samples have labels and some have none")),
        }
        self.values.extend_from_slice(&sample.values);
        Ok(())
    }

    /// The samples of `range` as one batch; an error if the range is empty or reaches past the end.
    pub fn tensor(&self, range: Range<usize>) -> Result<Tensor> {
        let length = self.sample_len();
        let values = self
            .values
            .get(range.start.saturating_mul(length)..range.end.saturating_mul(length))
            .filter(|values| !values.is_empty())
            .ok_or_else(|| {
                Error::input(format!("no samples {} to {}, there are {}", range.start, range.end, self.len()))
            })?;
        let shape = [&[range.len()], self.shape.as_slice()].concat();
        Tensor::float32(&self.input_name, shape, values.to_vec())
    }

    /// Values of sample `index`, or `None` past the end.
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        let length = self.sample_len();
        self.values.get(index.checked_mul(length)?..(index + 1).checked_mul(length)?)
    }
}

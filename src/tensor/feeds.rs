//! What goes into a run: a tensor for each input of a model, by name.

use super::Tensor;
use crate::error::{Error, Result};

/// A tensor for each input, by name. The first dimension of a tensor is its batch, and all have the same samples in the same
/// order; what is `shared` is the same for every sample (a rate, a scale) and has no batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Feeds {
    samples: Vec<Tensor>,
    shared: Vec<Tensor>,
    batch: usize,
}

impl Feeds {
    /// Feeds of `samples`, each with the batch first, beside what is `shared`.
    ///
    /// # Errors
    /// `Input`, where none has a batch, two have the same name, or their batches differ.
    pub fn new(samples: Vec<Tensor>, shared: Vec<Tensor>) -> Result<Self> {
        let Some(first) = samples.first() else {
            return Err(Error::input("a run needs an input with samples").hint("name an input that has a batch"));
        };
        if let Some(other) = samples.iter().find(|other| other.shape.is_empty() || other.batch() != first.batch()) {
            return Err(Error::input(format!(
                "`{}` holds {} samples, `{}` of shape {:?} does not",
                first.name,
                first.batch(),
                other.name,
                other.shape
            )));
        }
        let batch = first.batch();
        let feeds = Self { samples, shared, batch };
        let twice = |name: &str| feeds.tensors().filter(|tensor| tensor.name == name).count() > 1;
        if let Some(tensor) = feeds.tensors().find(|tensor| twice(&tensor.name)) {
            return Err(Error::input(format!("input `{}` is fed twice", tensor.name)));
        }
        Ok(feeds)
    }

    /// What a model is fed once, whole: nothing in it has a batch, and there may be nothing to feed.
    ///
    /// # Errors
    /// `Input`, where two tensors have the same name.
    pub fn whole(tensors: Vec<Tensor>) -> Result<Self> {
        let feeds = Self { samples: Vec::new(), shared: tensors, batch: 1 };
        let twice = |name: &str| feeds.shared.iter().filter(|tensor| tensor.name == name).count() > 1;
        match feeds.shared.iter().find(|tensor| twice(&tensor.name)) {
            Some(tensor) => Err(Error::input(format!("input `{}` is fed twice", tensor.name))),
            None => Ok(feeds),
        }
    }

    /// What a model is fed whose samples do not all lie along first dimensions.
    pub(super) const fn laid_out(samples: Vec<Tensor>, shared: Vec<Tensor>, batch: usize) -> Self {
        Self { samples, shared, batch }
    }

    /// Samples.
    pub const fn batch(&self) -> usize {
        self.batch
    }

    /// Every tensor, those with samples first.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.samples.iter().chain(&self.shared)
    }

    /// The tensors with samples.
    pub fn with_samples(&self) -> &[Tensor] {
        &self.samples
    }

    /// As [`Feeds::with_samples`], to be changed.
    pub(crate) fn with_samples_mut(&mut self) -> &mut [Tensor] {
        &mut self.samples
    }

    /// The same feeds with every tensor as `change` gives it back, of the same name and samples.
    ///
    /// # Errors
    /// Those of `change`.
    pub(crate) fn map(self, mut change: impl FnMut(Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self {
            samples: self.samples.into_iter().map(&mut change).collect::<Result<_>>()?,
            shared: self.shared.into_iter().map(&mut change).collect::<Result<_>>()?,
            batch: self.batch,
        })
    }

    /// The tensors that are the same for every sample.
    pub fn shared(&self) -> &[Tensor] {
        &self.shared
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors().find(|tensor| tensor.name == name)
    }

    /// The samples that `rows` names, of every tensor that has samples, in its order.
    ///
    /// # Errors
    /// `Input`, where one lies past the end.
    pub fn samples(&self, rows: impl ExactSizeIterator<Item = usize> + Clone) -> Result<Self> {
        let batch = rows.len();
        let samples = self.samples.iter().map(|tensor| tensor.samples(rows.clone())).collect::<Result<_>>()?;
        Ok(Self { samples, shared: self.shared.clone(), batch })
    }

    /// The first `count` samples, or all where there are fewer.
    ///
    /// # Errors
    /// If the values do not fill the shapes.
    pub fn first(&self, count: usize) -> Result<Self> {
        self.samples(0..count.min(self.batch()))
    }
}

/// Feeds of a model of one input.
impl From<Tensor> for Feeds {
    fn from(tensor: Tensor) -> Self {
        Self { batch: tensor.batch(), samples: vec![tensor], shared: Vec::new() }
    }
}

impl From<&Tensor> for Feeds {
    fn from(tensor: &Tensor) -> Self {
        tensor.clone().into()
    }
}

/// What can be fed without a copy: [`Feeds`], and the one tensor of a model of one input.
pub trait Feed {
    /// The tensors with samples.
    fn with_samples(&self) -> &[Tensor];
    /// The tensors that are the same for every sample.
    fn shared(&self) -> &[Tensor];
}

impl Feed for Feeds {
    fn with_samples(&self) -> &[Tensor] {
        &self.samples
    }

    fn shared(&self) -> &[Tensor] {
        &self.shared
    }
}

impl Feed for Tensor {
    fn with_samples(&self) -> &[Tensor] {
        std::slice::from_ref(self)
    }

    fn shared(&self) -> &[Tensor] {
        &[]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tensor::Values;

    fn ids(count: usize) -> Tensor {
        let numbers = (0..count as i64).flat_map(|row| [row, row + 100]).collect();
        Tensor::new("ids", vec![count, 2], Values::Int64(numbers)).unwrap()
    }

    fn mask(count: usize) -> Tensor {
        Tensor::new("mask", vec![count], Values::Bool((0..count).map(|row| row % 2 == 0).collect())).unwrap()
    }

    fn rate() -> Tensor {
        Tensor::new("rate", vec![], Values::Int64(vec![16_000])).unwrap()
    }

    #[test]
    fn samples_of_all_inputs_move_together_and_what_is_shared_stays() {
        let feeds = Feeds::new(vec![ids(3), mask(3)], vec![rate()]).unwrap();
        let turned = feeds.samples([2, 1].into_iter()).unwrap();
        assert_eq!(turned.batch(), 2);
        assert_eq!(turned.get("ids").unwrap().values, Values::Int64(vec![2, 102, 1, 101]));
        assert_eq!(turned.get("mask").unwrap().values, Values::Bool(vec![true, false]));
        assert_eq!(turned.get("rate"), Some(&rate()));
        assert_eq!(turned.get("rates"), None);
        assert_eq!(feeds.first(9).unwrap(), feeds);
        assert!(feeds.samples(2..4).is_err());
    }

    #[test]
    fn batches_that_differ_and_names_that_do_not_are_refused() {
        let message = |samples, shared| Feeds::new(samples, shared).unwrap_err().message;
        assert_eq!(message(vec![ids(3), mask(2)], vec![]), "`ids` holds 3 samples, `mask` of shape [2] does not");
        assert_eq!(message(vec![ids(3), rate()], vec![]), "`ids` holds 3 samples, `rate` of shape [] does not");
        assert_eq!(message(vec![ids(3)], vec![rate(), rate()]), "input `rate` is fed twice");
        assert_eq!(message(vec![], vec![rate()]), "a run needs an input with samples");
    }
}

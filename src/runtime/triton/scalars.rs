//! Tensors of one value a sample. Triton has no empty `dims`: what a model gives as [N] is configured as `dims: [ 1 ] reshape { }`
//! and goes over the wire as [N, 1]. The configuration says which ones these are, so that they are taken for what the model has.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::metadata::Configuration;
use crate::tensor::{Signature, Tensor, TensorSpec};

/// The names of a model's tensors of one value a sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scalars(BTreeSet<String>);

impl Configuration {
    /// The tensors that are reshaped to one value a sample; of a model without a batch none, since [1] is then what it has.
    pub(super) fn scalars(&self) -> Scalars {
        if self.max_batch_size <= 0 {
            return Scalars::default();
        }
        let tensors = self.input.iter().chain(&self.output);
        let reshaped = tensors.filter(|one| one.reshape.as_ref().is_some_and(|reshape| reshape.shape.is_empty()));
        Scalars(reshaped.map(|one| one.name.clone()).collect())
    }
}

impl Scalars {
    /// The model's inputs and outputs as it has them, of those on the wire.
    pub(super) fn presented(&self, mut wire: Signature) -> Signature {
        let of_wire = |spec: &&mut TensorSpec| self.0.contains(&spec.name) && spec.shape == [None, Some(1)];
        wire.inputs.iter_mut().chain(&mut wire.outputs).filter(of_wire).for_each(|spec| spec.shape.truncate(1));
        wire
    }

    /// What is fed, as it goes over the wire.
    pub(super) fn sent<'a>(&self, inputs: Vec<Cow<'a, Tensor>>) -> Vec<Cow<'a, Tensor>> {
        let to_wire = |mut input: Cow<'a, Tensor>| {
            if self.0.contains(&input.name) && input.shape.len() == 1 {
                input.to_mut().shape.push(1);
            }
            input
        };
        inputs.into_iter().map(to_wire).collect()
    }

    /// What was answered, as the model has it.
    pub(super) fn received(&self, mut output: Tensor) -> Tensor {
        if self.0.contains(&output.name) && matches!(output.shape.as_slice(), [_, 1]) {
            output.shape.truncate(1);
        }
        output
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::runtime::triton::metadata::read;
    use crate::tensor::ElementType;

    fn scalars(largest: i64) -> Scalars {
        let text = format!(
            r#"{{"max_batch_size": {largest}, "input": [{{"name": "t", "dims": [1], "reshape": {{"shape": []}}}}],
               "output": [{{"name": "y", "dims": [1], "reshape": {{"shape": []}}}}, {{"name": "z", "dims": [1]}},
                          {{"name": "w", "dims": [4], "reshape": {{"shape": [2, 2]}}}}]}}"#
        );
        read::<Configuration>(text.as_bytes(), "it").unwrap().scalars()
    }

    #[test]
    fn one_value_a_sample_is_taken_for_what_the_model_has() {
        let found = scalars(8);
        let spec = |name: &str, shape: &[Option<usize>]| TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Float32,
            shape: shape.to_vec(),
        };
        let wire = Signature {
            inputs: vec![spec("t", &[None, Some(1)]), spec("x", &[None, Some(1)])],
            outputs: vec![spec("y", &[None, Some(1)]), spec("z", &[None, Some(1)])],
        };
        let shown = found.presented(wire.clone());
        let shapes = |specs: &[TensorSpec]| specs.iter().map(|spec| spec.shape.len()).collect::<Vec<_>>();
        assert_eq!((shapes(&shown.inputs), shapes(&shown.outputs)), (vec![1, 2], vec![1, 2]));
        let tensor = |name: &str, shape: Vec<usize>| Tensor::float32(name, shape, vec![0.5, 0.5]).unwrap();
        let sent = found.sent(vec![Cow::Owned(tensor("t", vec![2])), Cow::Owned(tensor("x", vec![2, 1]))]);
        assert_eq!((sent[0].shape.as_slice(), sent[1].shape.as_slice()), (&[2, 1][..], &[2, 1][..]));
        assert_eq!(found.received(tensor("y", vec![2, 1])).shape, [2]);
        assert_eq!(found.received(tensor("z", vec![2, 1])).shape, [2, 1]);
        // Without a batch [1] is what the model has.
        assert_eq!(scalars(0), Scalars::default());
    }
}

//! Inputs that fit together: one length a sample, which masks, lengths and paddings go by.

use super::{Draw, InputPlan};
use crate::error::{Error, Result};
use crate::manifest::interface::LengthOf;

/// How long the samples of an input are: one draw for all that go by it.
pub(super) struct Lengths {
    /// The place of the input among all.
    pub(super) input: usize,
    /// Its size along the dimension that the length lies along: the longest.
    pub(super) size: usize,
    /// Elements of a step along that dimension.
    pub(super) inner: usize,
}

impl Lengths {
    /// That of the input which `of` names.
    ///
    /// # Errors
    /// `Input`, where there is no such input or dimension.
    pub(super) fn of(inputs: &[InputPlan], of: &LengthOf) -> Result<Self> {
        let found = inputs.iter().position(|input| input.name == of.input);
        let found = found.and_then(|place| Some((place, inputs.get(place)?)));
        let (place, input) = found.ok_or_else(|| Error::input(format!("there is no input `{}`", of.input)))?;
        let axis = match (of.axis, input.sample.as_slice()) {
            (Some(axis), _) => axis,
            (None, [_]) => 0,
            (None, sample) => {
                return Err(Error::input(format!(
                    "which of the dimensions {sample:?} of `{}` is its length?",
                    of.input
                ))
                .hint(format!("say it: `{{ input = \"{}\", axis = 0 }}`, the batch left out", of.input)));
            }
        };
        let size = input.sample.get(axis).copied().filter(|&size| size > 0).ok_or_else(|| {
            Error::input(format!("`{}` has samples {:?}, and no dimension {axis}", of.input, input.sample))
        })?;
        let inner = input.sample.iter().skip(axis + 1).product::<usize>().max(1);
        Ok(Self { input: place, size, inner })
    }

    /// The length of a sample, 1 at least; the first is as long as it can be.
    pub(super) fn drawn(&self, seed: u64, sample: usize) -> i64 {
        let size = self.size as i64;
        if sample == 0 { size } else { Draw::of_lengths(seed, self.input, sample).integer(1, size) }
    }
}

/// The lengths behind which `input` is padded, if it is.
pub(super) fn padded(inputs: &[InputPlan], input: &InputPlan) -> Result<Option<Lengths>> {
    let asking = inputs.iter().filter_map(|other| other.values.length()).find(|of| of.input == input.name);
    asking.filter(|_| input.padding.is_some()).map(|of| Lengths::of(inputs, of)).transpose()
}

//! The batch sizes that a model takes, found by asking: some graphs hold one size though their input leaves it open.

use crate::check::trials::Run;
use crate::error::Error;
use crate::tensor::Tensor;

/// Sizes that are tried: those that models are exported with.
const SIZES: &[usize] = &[1, 2, 4, 8, 10, 16, 32, 64];

/// The one batch size that a model answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OnlyBatch {
    size: usize,
    refused: Vec<usize>,
}

impl OnlyBatch {
    /// The one size of those tried that `run` answers, of samples that come again where there are too few; nothing where it
    /// answers none or several. Sizes of `further` are tried too.
    pub(crate) fn find(run: &mut Run<'_>, samples: &Tensor, further: &[u32]) -> Option<Self> {
        let mut sizes: Vec<usize> = SIZES.iter().copied().chain(further.iter().map(|&size| size as usize)).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let mut only = None;
        for &size in &sizes {
            let answered = repeated(samples, size).and_then(|batch| run(&batch));
            if answered.is_ok_and(|answers| answers.batch() == size) && only.replace(size).is_some() {
                return None;
            }
        }
        let size = only?;
        Some(Self { size, refused: sizes.into_iter().filter(|&other| other != size).collect() })
    }

    /// `error` of a batch that is not answered, with what to put into the manifest.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let Self { size, refused } = self;
        let refused: Vec<String> = refused.iter().map(usize::to_string).collect();
        error
            .context(format!(
                "the reference answers batches of {size}, none of {}, though its input leaves the batch open",
                refused.join(", ")
            ))
            .hint(format!("set `fixed-batch = {size}` under `[input]`, and `batches = [{size}]` under `[matrix]`"))
    }
}

/// The first `count` of `samples`, from the first again where there are fewer.
fn repeated(samples: &Tensor, count: usize) -> crate::Result<Tensor> {
    let mut shape = samples.shape.clone();
    if let Some(first) = shape.first_mut() {
        *first = count;
    }
    let row = |place: usize| samples.row(place % samples.batch().max(1)).unwrap_or_default();
    Tensor::float32(samples.name.clone(), shape, (0..count).flat_map(row).copied().collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::eight(|size| size == 8, Some(8))]
    #[case::of_the_manifest(|size| size == 12, Some(12))]
    #[case::one_by_one(|size| size == 1, Some(1))]
    #[case::even(|size| size % 2 == 0, None)]
    #[case::none(|_| false, None)]
    fn the_one_size_that_is_answered_is_named(#[case] takes: fn(usize) -> bool, #[case] named: Option<usize>) {
        let samples = Tensor::float32("x", vec![3, 2], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let mut run = |input: &Tensor| match takes(input.batch()) {
            true => Tensor::float32("y", vec![input.batch(), 2], vec![0.0; 2 * input.batch()]),
            false => Err(Error::failed("cannot reshape")),
        };
        let found = OnlyBatch::find(&mut run, &samples, &[1, 12]);
        assert_eq!(found.as_ref().map(|only| only.size), named);
        let Some(only) = found else { return };
        let error = only.explain(Error::failed("cannot reshape"));
        let size = only.size;
        assert!(error.message.starts_with(&format!("the reference answers batches of {size}, none of ")), "{error}");
        assert!(error.hint.as_deref().unwrap().contains(&format!("`fixed-batch = {size}` under `[input]`")));
        assert!(error.causes.iter().any(|cause| cause.contains("cannot reshape")), "{error}");
    }
}

//! A short last batch through a session whose batch is fixed.

use crate::error::{Error, Result};
use crate::tensor::{Feeds, Tensor, element_count};

/// Runs `feeds` of `1..=batch` samples through `run`, which takes exactly `batch` samples, and returns the answers of
/// the samples that were given.
///
/// The last sample is repeated until the batch is full; the rows that answer the repetitions are dropped, so that no
/// value made from padding gets out. A repeated sample, unlike zeros, keeps dynamic quantisation ranges as they are.
///
/// # Errors
///
/// `Input` for no samples, more than `batch` samples or values that do not fill the shape; `Failed` when an output's
/// first dimension is not `batch` or its values do not fill its shape; whatever `run` answers otherwise.
pub fn run_padded(
    feeds: &Feeds,
    batch: usize,
    run: &mut dyn FnMut(&Feeds) -> Result<Vec<Tensor>>,
) -> Result<Vec<Tensor>> {
    let samples = feeds.batch();
    if samples == 0 || samples > batch {
        return Err(Error::input(format!("{samples} samples do not fit a batch of {batch}")));
    }
    if let Some(input) = feeds.tensors().find(|input| Some(input.values.len()) != element_count(&input.shape)) {
        return Err(Error::input(format!(
            "`{}` of shape {:?} holds {} values",
            input.name,
            input.shape,
            input.values.len()
        )));
    }
    let outputs = if samples == batch { run(feeds)? } else { run(&padded(feeds, batch)?)? };
    outputs.into_iter().map(|output| first_rows(output, samples, batch)).collect()
}

/// `feeds` with the last sample repeated up to `batch` samples.
fn padded(feeds: &Feeds, batch: usize) -> Result<Feeds> {
    let last = feeds.batch().saturating_sub(1);
    feeds.samples((0..batch).map(|row| row.min(last)))
}

/// The first `samples` of the `batch` rows of `output`.
fn first_rows(output: Tensor, samples: usize, batch: usize) -> Result<Tensor> {
    if output.batch() != batch || element_count(&output.shape) != Some(output.values.len()) {
        return Err(Error::failed(format!(
            "output `{}` of shape {:?} with {} values does not answer a batch of {batch}",
            output.name,
            output.shape,
            output.values.len()
        )));
    }
    output.first(samples)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn tensor(name: &str, shape: &[usize], values: Vec<f32>) -> Tensor {
        Tensor::float32(name, shape.to_vec(), values).unwrap()
    }

    /// Answers each row with its sum, and remembers the batches that it saw.
    fn row_sums(seen: &mut Vec<Tensor>, input: &Tensor) -> Vec<Tensor> {
        seen.push(input.clone());
        let sums = (0..input.batch()).map(|row| input.row(row).unwrap().iter().sum()).collect();
        vec![tensor("sums", &[input.batch(), 1], sums)]
    }

    proptest! {
        #[test]
        fn padding_never_leaks(samples in 1_usize..6, extra in 0_usize..6, length in 1_usize..5) {
            let values: Vec<f32> = (0..samples * length).map(|value| value as f32).collect();
            let input = tensor("x", &[samples, length], values);
            let mut alone = Vec::new();
            let expected = row_sums(&mut alone, &input);
            let mut seen = Vec::new();
            let outputs =
                run_padded(&Feeds::from(&input), samples + extra, &mut |batch| {
                    Ok(row_sums(&mut seen, batch.get("x").unwrap()))
                })
                .unwrap();
            prop_assert_eq!(outputs, expected);
            prop_assert_eq!(seen[0].batch(), samples + extra);
            for row in samples..samples + extra {
                prop_assert_eq!(seen[0].row(row), input.row(samples - 1));
            }
        }
    }

    #[test]
    fn no_samples_and_too_many_are_refused() {
        let run: &mut dyn FnMut(&Feeds) -> Result<Vec<Tensor>> = &mut |feeds| Ok(feeds.with_samples().to_vec());
        assert!(run_padded(&tensor("x", &[0, 2], vec![]).into(), 4, run).is_err());
        assert!(run_padded(&tensor("x", &[3, 1], vec![0.0; 3]).into(), 2, run).is_err());
    }

    #[test]
    fn values_that_do_not_fill_the_shape_are_refused() {
        let mut input = tensor("x", &[2, 2], vec![0.0; 4]);
        input.values.as_mut::<f32>().unwrap().pop();
        assert!(run_padded(&input.into(), 4, &mut |feeds| Ok(feeds.with_samples().to_vec())).is_err());
    }

    #[test]
    fn an_output_of_another_batch_is_an_error() {
        let input = tensor("x", &[1, 2], vec![1.0, 2.0]);
        let error = run_padded(&input.into(), 4, &mut |_| Ok(vec![tensor("y", &[1, 1], vec![3.0])])).unwrap_err();
        assert_eq!(error.message, "output `y` of shape [1, 1] with 1 values does not answer a batch of 4");
    }

    #[test]
    fn an_output_with_missing_values_is_an_error() {
        let input = tensor("x", &[1, 2], vec![1.0, 2.0]);
        let mut short = tensor("y", &[2, 2], vec![0.0; 4]);
        short.values.as_mut::<f32>().unwrap().pop();
        assert!(run_padded(&input.into(), 2, &mut |_| Ok(vec![short.clone()])).is_err());
    }
}

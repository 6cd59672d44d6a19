//! Whether a reference contradicts itself: what answers one sample in two ways can be compared with nothing, and whoever is
//! compared with it gets the blame.

use crate::check::trials::Run;
use crate::error::{Error, Result};
use crate::figure::figure;
use crate::tensor::Tensor;

/// Samples run one by one.
const ALONE: usize = 4;

/// Largest difference allowed between two answers for one sample, over the root mean square of the outputs about their
/// means by sample and by class. In batches of one size sound models keep within 6e-8.
const SHARE: f64 = 1e-5;
/// The same of a sample alone and in a batch: TensorFlow has other kernels for one sample, and sound models reach 3.8e-5
/// (docs/tolerances/cpu.md).
const SHARE_ALONE: f64 = 6e-5;

/// The rounding of the largest output that is allowed where the outputs hardly differ from each other: 32 steps of FP32.
const ROUNDING: f64 = 32.0 * f32::EPSILON as f64;

/// How a reference contradicts itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Contradiction {
    /// The same batch, run twice, is answered in two ways.
    Random(Difference),
    /// A sample is answered otherwise with other samples beside it.
    Batch(Difference),
    /// Different samples are answered exactly alike.
    Constant,
}

/// Two answers for one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The sample.
    pub sample: usize,
    /// Largest absolute difference.
    pub difference: f64,
    /// Largest one allowed.
    pub allowed: f64,
}

/// What to look for in a model whose answers are random.
pub const RANDOM: &str = "the model draws random numbers (dropout, noise, sampling): export it for inference";
/// What to look for in a model whose answers depend on the batch.
pub const BATCH: &str = "a layer mixes the samples of a batch (BatchNormalization in training mode, a mean over the batch): export the model for inference";

impl Contradiction {
    /// As an error of the reference, with what to look for in the model.
    pub fn error(&self) -> Error {
        let by = |found: &Difference| format!("by {}, {} allowed", figure(found.difference), figure(found.allowed));
        match self {
            Self::Random(found) => Error::failed(format!(
                "the reference's answers are random: the same input, run twice, is answered otherwise {}",
                by(found)
            ))
            .hint(RANDOM),
            Self::Batch(found) => Error::failed(format!(
                "the reference's answers depend on the batch: one sample, with other samples beside it, is answered otherwise {}",
                by(found)
            ))
            .hint(BATCH),
            Self::Constant => Error::failed("the reference answers different inputs exactly alike")
                .hint("look at `[input] range`, `mean` and `std`: values that the model was not made for saturate it, and a model may scale its input itself"),
        }
    }
}

/// Runs `samples` twice, some of them alone, and all in another order; `run` is called with 1 to all samples.
///
/// # Errors
/// Those of `run`; `Failed` where the number of answers is not that of the samples.
pub fn find(run: &mut Run<'_>, samples: &Tensor) -> Result<Option<Contradiction>> {
    let count = samples.batch();
    let first = answers(run, samples)?;
    let columns = first.row_len();
    let values = first.floats();
    let allowing = |share: f64| share.mul_add(spread(&values, columns), ROUNDING * largest(&values));
    let (allowed, allowed_alone) = (allowing(SHARE), allowing(SHARE_ALONE));
    let again = answers(run, samples)?;
    if let Some(found) = apart((0..count).map(|sample| (sample, first.row(sample), again.row(sample))), allowed) {
        return Ok(Some(Contradiction::Random(found)));
    }
    for sample in 0..count.min(ALONE) {
        let alone = answers(run, &samples.samples(std::iter::once(sample))?)?;
        if let Some(found) = apart(std::iter::once((sample, first.row(sample), alone.row(0))), allowed_alone) {
            return Ok(Some(Contradiction::Batch(found)));
        }
    }
    let order: Vec<usize> = (0..count).rev().collect();
    let turned = answers(run, &samples.samples(order.iter().copied())?)?;
    let rows = order.iter().enumerate().map(|(slot, &sample)| (sample, first.row(sample), turned.row(slot)));
    if let Some(found) = apart(rows, allowed) {
        return Ok(Some(Contradiction::Batch(found)));
    }
    let differ = |sample: usize| samples.row(sample) != samples.row(0);
    let alike = (1..count).all(|sample| first.row(sample) == first.row(0));
    Ok((alike && (1..count).any(differ)).then_some(Contradiction::Constant))
}

fn answers(run: &mut Run<'_>, samples: &Tensor) -> Result<Tensor> {
    let answers = run(samples)?;
    if answers.batch() == samples.batch() {
        return Ok(answers);
    }
    Err(Error::failed(format!("{} samples went into the reference, {} came out", samples.batch(), answers.batch())))
}

/// The first sample whose two answers are further apart than `allowed`; NaN is, and so are rows of two lengths.
fn apart<'a>(
    rows: impl Iterator<Item = (usize, Option<&'a [f32]>, Option<&'a [f32]>)>,
    allowed: f64,
) -> Option<Difference> {
    rows.filter_map(|(sample, one, other)| {
        let (one, other) = (one.unwrap_or_default(), other.unwrap_or_default());
        let pairs = one.iter().zip(other).map(|(&x, &y)| (f64::from(x) - f64::from(y)).abs());
        let difference = if one.len() == other.len() {
            pairs.fold(0.0, |worst: f64, next| if next.is_nan() { f64::INFINITY } else { worst.max(next) })
        } else {
            f64::INFINITY
        };
        (difference > allowed).then_some(Difference { sample, difference, allowed })
    })
    .next()
}

fn largest(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(value.abs())).fold(0.0, f64::max)
}

/// Root mean square of `values` in rows of `columns`, less the means of their rows and of their columns.
fn spread(values: &[f32], columns: usize) -> f64 {
    let rows = values.len().checked_div(columns).unwrap_or(0);
    if rows == 0 {
        return 0.0;
    }
    let all: f64 = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
    let mut by_column = vec![0.0; columns];
    for row in values.chunks_exact(columns) {
        by_column.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value) / rows as f64);
    }
    let squares: f64 = values
        .chunks_exact(columns)
        .flat_map(|row| {
            let mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / columns as f64;
            row.iter().zip(&by_column).map(move |(&value, column)| (f64::from(value) - mean - column + all).powi(2))
        })
        .sum();
    (squares / values.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn samples() -> Tensor {
        let values = (0..32).map(|index| ((index * 37 % 101) as f32).mul_add(0.1, -5.0)).collect();
        Tensor::float32("x", vec![8, 4], values).unwrap()
    }

    /// Three scores a sample.
    fn honest(input: &Tensor) -> Vec<f32> {
        let score = |row: &[f32]| [row[0] + row[1], row[1] - row[2], row[2] * row[3] * 0.1];
        (0..input.batch()).flat_map(|sample| score(input.row(sample).unwrap())).collect()
    }

    fn found(mut run: impl FnMut(&Tensor) -> Vec<f32>) -> Option<Contradiction> {
        let mut run = |input: &Tensor| {
            let values = run(input);
            Tensor::float32("y", vec![input.batch(), values.len() / input.batch()], values)
        };
        find(&mut run, &samples()).unwrap()
    }

    #[rstest]
    #[case::honest(0.0, 1.0)]
    #[case::small_outputs(0.0, 1e-6)]
    #[case::common_offset(300.0, 1.0)]
    fn a_reference_that_agrees_with_itself_is_sound(#[case] offset: f32, #[case] scale: f32) {
        let mut call = 0;
        // Another order of sums gives another last bit.
        let sound = found(|input| {
            call += 1;
            let last_bit = |value: f32| if call % 2 == 0 { value } else { f32::from_bits(value.to_bits() ^ 1) };
            honest(input).into_iter().map(|value| last_bit(value.mul_add(scale, offset))).collect()
        });
        assert_eq!(sound, None);
    }

    #[test]
    fn noise_is_called_random() {
        let mut call = 0.0;
        let noisy = found(|input| {
            call += 1.0;
            honest(input).into_iter().map(|value| value + call * 0.001).collect()
        });
        assert!(matches!(noisy, Some(Contradiction::Random(_))), "{noisy:?}");
        let message = noisy.unwrap().error();
        assert!(message.message.starts_with("the reference's answers are random"), "{message}");
    }

    #[test]
    fn a_mean_over_the_batch_is_called_a_batch() {
        let mixed = found(|input| {
            let mut values = honest(input);
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            values.iter_mut().for_each(|value| *value += 0.0005 * mean);
            values
        });
        assert!(matches!(mixed, Some(Contradiction::Batch(_))), "{mixed:?}");
    }

    /// What a mean over the batch adds to a sample, as a share of the spread; alone it adds nothing.
    #[rstest]
    #[case::rounding_of_another_kernel(4e-5, false)]
    #[case::just_beyond(8e-5, true)]
    fn a_sample_alone_may_differ_by_rounding_and_no_more(#[case] share: f64, #[case] is_found: bool) {
        let spread = spread(&honest(&samples()), 3);
        let mixed = found(|input| {
            let mut values = honest(input);
            if input.batch() > 1 {
                values.iter_mut().for_each(|value| *value += (share * spread) as f32);
            }
            values
        });
        assert_eq!(matches!(mixed, Some(Contradiction::Batch(_))), is_found, "{mixed:?}");
    }

    #[test]
    fn a_neighbour_that_leaks_is_called_a_batch() {
        // Alone every sample is answered right, and so it is beside the one that follows it here.
        let leaking = found(|input| {
            let mut values = honest(input);
            let other = samples();
            if input.batch() > 1 && input.row(0) != other.row(0) {
                values[0] += 0.1;
            }
            values
        });
        assert!(matches!(leaking, Some(Contradiction::Batch(_))), "{leaking:?}");
    }

    #[test]
    fn one_answer_for_everything_is_named() {
        let dead = found(|input| [0.5, 0.25, 0.25].repeat(input.batch()));
        assert_eq!(dead, Some(Contradiction::Constant));
    }

    #[test]
    fn a_missing_answer_is_an_error() {
        let mut run = |input: &Tensor| Tensor::float32("y", vec![input.batch() - 1, 1], vec![0.0; input.batch() - 1]);
        assert!(find(&mut run, &samples()).is_err());
    }

    /// What rows and columns have in common is no spread.
    #[test]
    fn rows_and_columns_have_no_spread() {
        assert!((spread(&[1.0, 2.0, 3.0, 5.0], 2) - 0.25).abs() < 1e-12);
        assert!(spread(&[1.0, 2.0, 11.0, 12.0, 21.0, 22.0], 2) < 1e-9);
        assert_eq!((spread(&[], 2), spread(&[1.0], 0)), (0.0, 0.0));
    }
}

//! What of the course of a run explains an output that is wrong: something that is kept from one call to the next, or a mask
//! that is not read. Pure functions of what was fed and answered, for outputs that fail.

use crate::check::apart::Answers;
use crate::tensor::{Tensor, Values};

/// Samples that are called right are off by at most this share of what those that are called wrong are off by.
const RIGHT: f64 = 0.2;
/// So many samples without padding a mask's reading is told by, and so many with it.
const FEW: usize = 2;

/// What one cell answered, beside the reference.
#[derive(Clone, Copy, Debug)]
pub struct Course<'a> {
    /// The reference's answers.
    pub reference: &'a [Answers],
    /// The cell's, in the order of the samples.
    pub forwards: &'a [Answers],
    /// The cell's to the same samples asked in another order, in their own order.
    pub again: &'a [Answers],
    /// Samples in one call.
    pub batch: usize,
    /// What was fed as masks: a row a sample, zeros where it is padded.
    pub masks: &'a [&'a Tensor],
}

/// How far each sample's answer is from another, a share of what the first says; endless where one is not there.
fn errors(reference: &[Answers], actual: &[Answers], output: &str) -> Option<Vec<f64>> {
    let of = |answers: &'_ [Answers]| answers.iter().position(|one| one.name() == output);
    let (one, other) = (reference.get(of(reference)?)?, actual.get(of(actual)?)?);
    let (one, other) = (one.samples().ok()?, other.samples().ok()?);
    let energies = one.iter().map(|sample| energy(&sample.values));
    let scale = energies.sum::<f64>() / one.len().max(1) as f64;
    let apart = |(x, y): (&Tensor, &Tensor)| {
        if x.values.element_type() != y.values.element_type() || x.values.len() != y.values.len() {
            return f64::INFINITY;
        }
        let mut sum = 0.0;
        x.values.visit_beside(&y.values, |x, y| {
            // What is no number on both sides is no error.
            sum += if x.to_bits() == y.to_bits() { 0.0 } else { (x - y) * (x - y) };
        });
        if sum.is_nan() { f64::INFINITY } else { (sum / scale.max(f64::MIN_POSITIVE)).sqrt() }
    };
    (one.len() == other.len()).then(|| one.iter().zip(other.iter()).map(apart).collect())
}

fn energy(values: &Values) -> f64 {
    let mut sum = 0.0;
    values.visit_beside(values, |x, _| sum += if x.is_finite() { x * x } else { 0.0 });
    sum
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Whether the `right` ones are hardly off beside the `wrong` ones.
fn parted(right: &[f64], wrong: &[f64]) -> bool {
    let middle = median(wrong);
    let most = right.iter().copied().fold(0.0, f64::max);
    !right.is_empty() && middle > 0.0 && most <= RIGHT * middle
}

impl Course<'_> {
    /// That something is kept from one call to the next, where it is so: what the first call answers is right, what later ones
    /// do is not, and it is otherwise with other samples before.
    pub fn kept(&self, output: &str) -> Option<String> {
        let forwards = errors(self.reference, self.forwards, output)?;
        let between = errors(self.forwards, self.again, output)?;
        let (first, later) = forwards.split_at_checked(self.batch)?;
        let moved = between.get(self.batch..)?;
        // Without a number nothing can be said of what came before.
        let depends = median(moved) > RIGHT * median(later);
        (parted(first, later) && depends).then(|| {
            format!(
                "what the first call answers is right, what later ones do depends on the samples before them: something is kept from one call to the next (state that is not reset), `{output}` shows it"
            )
        })
    }

    /// The mask that is not read, where it is so: samples without padding are answered right, those with some are not.
    pub fn ignored_mask(&self, output: &str) -> Option<String> {
        let found = errors(self.reference, self.forwards, output)?;
        let mask = self.masks.iter().find(|mask| {
            let padded = padded(mask);
            let of = |wanted: bool| {
                let samples = found.iter().zip(&padded).filter(|(_, padded)| **padded == wanted);
                samples.map(|(error, _)| *error).collect::<Vec<f64>>()
            };
            let (full, others) = (of(false), of(true));
            padded.len() == found.len() && full.len() >= FEW && others.len() >= FEW && parted(&full, &others)
        })?;
        let count = padded(mask).into_iter().filter(|padded| *padded).count();
        Some(format!(
            "padding changes the answer: `{output}` is right for the {} samples without padding and wrong for those with some ({count}), as if the mask `{}` were not read",
            found.len() - count,
            mask.name
        ))
    }
}

/// Whether a tensor reads like a mask: along its last dimension ones, then zeros, and not ones alone.
pub fn is_mask(fed: &Tensor) -> bool {
    let length = fed.shape.get(1..).and_then(<[usize]>::last).copied().unwrap_or(0);
    if length < 2 || fed.values.any(|value| value != 0.0 && value != 1.0) {
        return false;
    }
    let values = fed.values.to_f64();
    let row = |row: &[f64]| row.first() == Some(&1.0) && row.is_sorted_by(|one, other| one >= other);
    values.contains(&0.0) && values.chunks(length).all(row)
}

/// Whether each sample of a mask has padding.
fn padded(mask: &Tensor) -> Vec<bool> {
    let length = mask.row_len().max(1);
    mask.values.to_f64().chunks(length).map(|row| row.contains(&0.0)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SAMPLES: usize = 12;

    fn answers(value: impl Fn(usize) -> f32) -> Vec<Answers> {
        let values = (0..SAMPLES).flat_map(|sample| [value(sample), 1.0]).collect();
        vec![Answers::Rows(Tensor::float32("y", vec![SAMPLES, 2], values).unwrap())]
    }

    fn sound(sample: usize) -> f32 {
        (sample * 7 % 5) as f32 - 2.0
    }

    fn kept(forwards: impl Fn(usize) -> f32, backwards: impl Fn(usize) -> f32) -> Option<String> {
        let (reference, forwards, backwards) = (answers(sound), answers(forwards), answers(backwards));
        Course { reference: &reference, forwards: &forwards, again: &backwards, batch: 3, masks: &[] }.kept("y")
    }

    #[test]
    fn what_is_kept_between_calls_is_told_from_what_is_wrong_throughout() {
        // The sample three places before stands in the same slot of the call before.
        let forwards = |sample: usize| if sample < 3 { sound(sample) } else { sound(sample) + sound(sample - 3) };
        let backwards = |sample: usize| if sample > 8 { sound(sample) } else { sound(sample) + sound(sample + 3) };
        let words = kept(forwards, backwards).unwrap();
        assert!(words.contains("state that is not reset") && words.contains("`y`"), "{words}");
        // Wrong in every call, or wrong in the same way whatever came before.
        assert_eq!(kept(|sample| sound(sample) + 1.0, |sample| sound(sample) + 1.0), None);
        assert_eq!(kept(forwards, forwards), None);
        assert_eq!(kept(sound, sound), None);
        // One call alone has none before it.
        let all = answers(|sample| sound(sample) + 1.0);
        let one = Course { reference: &answers(sound), forwards: &all, again: &all, batch: SAMPLES, masks: &[] };
        assert_eq!(one.kept("y"), None);
        assert_eq!(one.kept("z"), None);
    }

    #[test]
    fn a_mask_that_is_not_read_is_told_by_samples_with_padding() {
        let lengths = |sample: usize| 1 + sample % 4;
        let ones = (0..SAMPLES).flat_map(|sample| (0..4).map(move |place| i64::from(place < lengths(sample))));
        let mask = Tensor::new("mask", vec![SAMPLES, 4], Values::Int64(ones.collect())).unwrap();
        let told = |value: &dyn Fn(usize) -> f32| {
            let (reference, actual) = (answers(sound), answers(value));
            let masks = [&mask];
            let course = Course { reference: &reference, forwards: &actual, again: &actual, batch: 3, masks: &masks };
            course.ignored_mask("y")
        };
        let words = told(&|sample| sound(sample) + (4 - lengths(sample)) as f32).unwrap();
        assert!(words.starts_with("padding changes the answer: `y` is right for the 3 samples"), "{words}");
        assert!(words.ends_with("as if the mask `mask` were not read"), "{words}");
        assert_eq!(told(&sound), None);
        assert_eq!(told(&|sample| sound(sample) + 1.0), None);
        // A sample without padding that is wrong is no matter of masks.
        assert_eq!(told(&|sample| sound(sample) + if sample == 3 { 2.0 } else { (4 - lengths(sample)) as f32 }), None);
    }

    #[test]
    fn masks_are_ones_and_then_zeros() {
        let of = |values: Vec<i64>| is_mask(&Tensor::new("x", vec![2, 3], Values::Int64(values)).unwrap());
        assert!(of(vec![1, 1, 0, 1, 1, 1]));
        assert!(!of(vec![1, 1, 1, 1, 1, 1]) && !of(vec![1, 0, 1, 1, 1, 1]) && !of(vec![2, 0, 0, 1, 1, 1]));
        assert!(!of(vec![0, 0, 0, 1, 1, 1]));
        assert!(is_mask(&Tensor::new("x", vec![1, 2], Values::Bool(vec![true, false])).unwrap()));
        assert!(!is_mask(&Tensor::new("x", vec![2], Values::Int64(vec![1, 0])).unwrap()));
    }

    #[test]
    fn answers_of_other_shapes_are_wrong_and_numbers_that_are_none_are_compared_by_their_bits() {
        let nan = answers(|_| f32::NAN);
        assert!(errors(&nan, &nan, "y").unwrap().iter().all(|error| *error == 0.0));
        assert!(errors(&answers(sound), &nan, "y").unwrap().iter().all(|error| error.is_infinite()));
        let wide = vec![Answers::Rows(Tensor::float32("y", vec![SAMPLES, 3], vec![0.0; SAMPLES * 3]).unwrap())];
        assert!(errors(&answers(sound), &wide, "y").unwrap().iter().all(|error| error.is_infinite()));
    }

    /// What is right is hardly off beside what is wrong; with nothing right, or nothing wrong, they are not told apart.
    #[test]
    fn right_and_wrong_are_told_apart() {
        assert!(parted(&[0.0, 1.8 * RIGHT], &[2.0, 9.0, 1.0]) && !parted(&[0.0, 2.2 * RIGHT], &[2.0, 9.0, 1.0]));
        assert!(!parted(&[], &[2.0]) && !parted(&[0.0], &[0.0]) && !parted(&[0.0], &[]));
    }
}

//! What went wrong, by arithmetic on the outputs alone: faults that leave a pattern are named.
//!
//! A pattern is named only when it explains nearly everything: what is left of the squared error after undoing it must be
//! at most [`LEFT`] of what was there. A fault that looks like noise (weights, quantisation, preprocessing) has no name here.

use std::fmt;

use crate::check::agreement::answer;
use crate::check::metrics::Tolerance;
use crate::check::pair::OutputPair;

/// Share of the squared error that may be left once a pattern is undone.
const LEFT: f64 = 0.05;

/// Most rows and columns looked at for permutations, and samples read for each column: keeps the search linear in the
/// number of outputs.
const ROWS_SEARCHED: usize = 64;
const COLUMNS_SEARCHED: usize = 64;
const SAMPLES_READ: usize = 256;

/// Pairs named in a message.
const NAMED: usize = 4;

/// A fault that explains the outputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Diagnosis {
    /// Every sample got the same outputs, whatever was put in.
    Constant,
    /// The actual outputs are the softmax of the reference's.
    SoftmaxAdded,
    /// The reference's outputs are the softmax of the actual ones.
    SoftmaxMissing,
    /// The outputs stand in the columns of other classes: (class, class whose outputs it holds).
    ClassesPermuted(Vec<(usize, usize)>),
    /// The outputs stand in the rows of other samples: (sample, sample whose outputs it holds).
    SamplesPermuted(Vec<(usize, usize)>),
    /// Every sample holds the outputs of the sample this far behind (positive) or ahead (negative).
    SamplesShifted(isize),
    /// Every output is the reference's times this.
    Scaled(f64),
    /// Every output is the reference's plus this.
    Offset(f64),
    /// Some classes are off by one constant each, in every sample: (class, constant).
    BiasChanged(Vec<(usize, f64)>),
}

impl Diagnosis {
    /// The likely cause and the next step.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Constant => {
                "the input does not reach the output: check the input's name and buffer, and dead or saturated layers"
            }
            Self::SoftmaxAdded | Self::SoftmaxMissing => {
                "reference and artifact were exported with different heads: check `[output] kind` and the export's output"
            }
            Self::ClassesPermuted(_) => {
                "the classes' order changed: check the label map of the training run and the last layer's weights"
            }
            Self::SamplesPermuted(_) => {
                "outputs are handed to the wrong slots of a batch: check how batches are gathered and split"
            }
            Self::SamplesShifted(_) => {
                "batches are answered with the outputs of another call: check the order of copies and streams"
            }
            Self::Scaled(_) => {
                "check the output's dequantisation scale and any normalisation or temperature at the end of the model"
            }
            Self::Offset(_) => "check the output's zero point and any constant added at the end of the model",
            Self::BiasChanged(_) => "check the last layer's bias for these classes",
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => formatter.write_str("every sample got the same outputs"),
            Self::SoftmaxAdded => formatter.write_str("the outputs are the softmax of the reference's"),
            Self::SoftmaxMissing => formatter.write_str("the reference's outputs are the softmax of these"),
            Self::ClassesPermuted(pairs) => permuted(formatter, "classes", "class", pairs),
            Self::SamplesPermuted(pairs) => permuted(formatter, "samples", "sample", pairs),
            Self::SamplesShifted(shift) => {
                let side = if *shift > 0 { "before" } else { "after" };
                write!(formatter, "every sample holds the outputs of the sample {} {side} it", shift.unsigned_abs())
            }
            Self::Scaled(factor) => write!(formatter, "every output is the reference's times {factor:.4}"),
            Self::Offset(offset) => write!(formatter, "every output is the reference's plus {offset:.4}"),
            Self::BiasChanged(classes) => {
                if let [(class, offset)] = classes.as_slice() {
                    return write!(formatter, "every output of class {class} is shifted by {offset:+.4}");
                }
                let named = classes.iter().take(NAMED).map(|(class, offset)| format!("{class} by {offset:+.4}"));
                let named = named.collect::<Vec<_>>().join(", ");
                write!(formatter, "the outputs of {} classes are shifted by a constant: {named}", classes.len())
            }
        }
    }
}

fn permuted(formatter: &mut fmt::Formatter<'_>, plural: &str, singular: &str, pairs: &[(usize, usize)]) -> fmt::Result {
    if let [(one, other), _] = pairs {
        return write!(formatter, "the outputs of {plural} {one} and {other} are swapped");
    }
    let named = pairs.iter().take(NAMED).map(|(place, from)| format!("{singular} {place} holds those of {from}"));
    let more = if pairs.len() > NAMED { ", …" } else { "" };
    let least = if pairs.len() >= ROWS_SEARCHED { "at least " } else { "" };
    write!(
        formatter,
        "the outputs of {least}{} {plural} are permuted: {}{more}",
        pairs.len(),
        named.collect::<Vec<_>>().join(", ")
    )
}

/// Names the fault behind a pair that differs by more than `tolerance`, if it leaves a pattern. The most specific first.
pub fn diagnose(pair: &OutputPair<'_>, tolerance: Tolerance) -> Option<Diagnosis> {
    let noise = squared_error(pair.rows().map(|(x, y)| (x.iter().copied(), y.iter().copied())));
    if noise == 0.0 {
        return None;
    }
    constant(pair)
        .or_else(|| softmax(pair))
        .or_else(|| classes_permuted(pair, noise))
        .or_else(|| samples_moved(pair, tolerance))
        .or_else(|| affine(pair, noise))
        .or_else(|| bias(pair, noise))
}

fn squared_error<X, Y>(rows: impl Iterator<Item = (X, Y)>) -> f64
where
    X: Iterator<Item = f32>,
    Y: Iterator<Item = f32>,
{
    rows.map(|(x, y)| x.zip(y).map(|(x, y)| (f64::from(x) - f64::from(y)).powi(2)).sum::<f64>()).sum()
}

fn constant(pair: &OutputPair<'_>) -> Option<Diagnosis> {
    let same = |values: &[f32]| {
        let mut rows = values.chunks_exact(pair.classes());
        rows.next().is_some_and(|first| rows.all(|row| row == first))
    };
    (pair.samples() > 1 && same(pair.actual()) && !same(pair.reference())).then_some(Diagnosis::Constant)
}

fn softmax(pair: &OutputPair<'_>) -> Option<Diagnosis> {
    // Wide enough for a softmax output in half precision or eight bits; logits match it in no sample.
    let explains = |scores: &[f32], probabilities: &[f32]| {
        let rows = scores.chunks_exact(pair.classes()).zip(probabilities.chunks_exact(pair.classes()));
        rows.into_iter().all(|(scores, probabilities)| {
            let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = scores.iter().map(|&score| f64::from(score - most).exp()).sum();
            scores.iter().zip(probabilities).all(|(&score, &probability)| {
                (f64::from(score - most).exp() / sum - f64::from(probability)).abs() <= 5e-3
            })
        })
    };
    if pair.classes() < 2 {
        None
    } else if explains(pair.reference(), pair.actual()) {
        Some(Diagnosis::SoftmaxAdded)
    } else if explains(pair.actual(), pair.reference()) {
        Some(Diagnosis::SoftmaxMissing)
    } else {
        None
    }
}

fn classes_permuted(pair: &OutputPair<'_>, noise: f64) -> Option<Diagnosis> {
    let classes = pair.classes();
    let samples = pair.samples().min(SAMPLES_READ);
    let column = |values: &[f32], class: usize| -> Vec<f32> {
        values.iter().skip(class).step_by(classes).take(samples).copied().collect()
    };
    let distance = |x: &[f32], y: &[f32]| squared_error(std::iter::once((x.iter().copied(), y.iter().copied())));
    let reference: Vec<Vec<f32>> = (0..classes).map(|class| column(pair.reference(), class)).collect();
    let total: f64 = reference.iter().enumerate().map(|(class, x)| distance(x, &column(pair.actual(), class))).sum();
    let mut moved = Vec::new();
    for (class, own) in reference.iter().enumerate() {
        let actual = column(pair.actual(), class);
        let here = distance(own, &actual);
        // A column that holds less than its share of the error has not moved.
        if here <= total * LEFT / classes as f64 {
            continue;
        }
        if moved.len() == COLUMNS_SEARCHED {
            return None;
        }
        let distances = reference.iter().map(|other| distance(other, &actual));
        let (best, least) = distances.enumerate().min_by(|one, other| one.1.total_cmp(&other.1))?;
        if best != class && least <= here * LEFT {
            moved.push((class, best));
        }
    }
    if !is_permutation(&moved) {
        return None;
    }
    let restored = |row: &[f32]| -> Vec<f32> {
        let mut restored = row.to_vec();
        for &(class, from) in &moved {
            if let (Some(place), Some(&value)) = (restored.get_mut(from), row.get(class)) {
                *place = value;
            }
        }
        restored
    };
    let left = squared_error(pair.rows().map(|(x, y)| (x.iter().copied(), restored(y).into_iter())));
    (left <= noise * LEFT).then_some(Diagnosis::ClassesPermuted(moved))
}

/// Whether the places and the sources are the same set, each once, and not empty.
fn is_permutation(moved: &[(usize, usize)]) -> bool {
    let mut places: Vec<usize> = moved.iter().map(|&(place, _)| place).collect();
    let mut sources: Vec<usize> = moved.iter().map(|&(_, from)| from).collect();
    places.sort_unstable();
    sources.sort_unstable();
    !moved.is_empty() && places == sources && places.windows(2).all(|pair| pair.first() != pair.last())
}

fn samples_moved(pair: &OutputPair<'_>, tolerance: Tolerance) -> Option<Diagnosis> {
    let classes = pair.classes();
    let rows: Vec<&[f32]> = pair.reference().chunks_exact(classes).collect();
    let distance = |x: &[f32], y: &[f32]| squared_error(std::iter::once((x.iter().copied(), y.iter().copied())));
    let admitted = |x: &[f32], y: &[f32]| {
        x.iter().zip(y).all(|(&x, &y)| tolerance.admits((f64::from(x) - f64::from(y)).abs(), f64::from(x).abs()))
    };
    let mut moved = Vec::new();
    let mut unexplained = 0;
    for (sample, (reference, actual)) in pair.rows().enumerate() {
        if moved.len() + unexplained == ROWS_SEARCHED {
            break;
        }
        if admitted(reference, actual) {
            continue;
        }
        let here = distance(reference, actual);
        let distances = rows.iter().map(|other| distance(other, actual));
        let (best, least) = distances.enumerate().min_by(|one, other| one.1.total_cmp(&other.1))?;
        if best != sample && least <= here * LEFT {
            moved.push((sample, best));
        } else {
            unexplained += 1;
        }
    }
    let looked_at = moved.len() + unexplained;
    if let Some(shift) = common_shift(&moved, looked_at, pair.samples()) {
        return Some(Diagnosis::SamplesShifted(shift));
    }
    (unexplained == 0 && !moved.is_empty()).then_some(Diagnosis::SamplesPermuted(moved))
}

/// The distance, the last sample being before the first, that at least three quarters of the rows looked at moved by: the
/// rest hold what was there before. Fewer than four rows show no direction.
fn common_shift(moved: &[(usize, usize)], looked_at: usize, samples: usize) -> Option<isize> {
    let shift = |&(sample, from): &(usize, usize)| (sample + samples - from) % samples;
    let common = shift(moved.get(moved.len() / 2)?);
    let alike = moved.iter().filter(|pair| shift(pair) == common).count();
    let direction = if common > samples / 2 { common as isize - samples as isize } else { common as isize };
    (looked_at >= 4 && alike * 4 >= looked_at * 3).then_some(direction)
}

fn affine(pair: &OutputPair<'_>, noise: f64) -> Option<Diagnosis> {
    let (mut xx, mut xy, mut sum, mut count) = (0.0, 0.0, 0.0, 0.0);
    for (&x, &y) in pair.reference().iter().zip(pair.actual()) {
        let (x, y) = (f64::from(x), f64::from(y));
        xx += x * x;
        xy += x * y;
        sum += y - x;
        count += 1.0;
    }
    // Least squares: y = s·x leaves ‖y‖² − s·x·y; y = x + c leaves the noise without n·c².
    if xx > 0.0 {
        let factor = xy / xx;
        let left: f64 = pair
            .reference()
            .iter()
            .zip(pair.actual())
            .map(|(&x, &y)| (f64::from(y) - factor * f64::from(x)).powi(2))
            .sum();
        if left <= noise * LEFT {
            return Some(Diagnosis::Scaled(factor));
        }
    }
    let offset = sum / count;
    (noise - count * offset * offset <= noise * LEFT).then_some(Diagnosis::Offset(offset))
}

fn bias(pair: &OutputPair<'_>, noise: f64) -> Option<Diagnosis> {
    // Two samples tell a constant from anything else only by chance.
    if pair.samples() < 8 {
        return None;
    }
    let mut sums = vec![0.0_f64; pair.classes()];
    for (reference, actual) in pair.rows() {
        for ((sum, &x), &y) in sums.iter_mut().zip(reference).zip(actual) {
            *sum += f64::from(y) - f64::from(x);
        }
    }
    let samples = pair.samples() as f64;
    let explained = |sum: f64| sum * sum / samples;
    let total: f64 = sums.iter().map(|&sum| explained(sum)).sum();
    if noise - total > noise * LEFT {
        return None;
    }
    let offsets = sums.iter().enumerate().filter(|(_, sum)| explained(**sum) > noise * LEFT / pair.classes() as f64);
    let mut classes: Vec<(usize, f64)> = offsets.map(|(class, sum)| (class, sum / samples)).collect();
    classes.sort_by(|one, other| other.1.abs().total_cmp(&one.1.abs()));
    Some(Diagnosis::BiasChanged(classes))
}

/// The share of samples whose answer is the reference's, in words for a fault that has no pattern.
pub fn without_pattern(pair: &OutputPair<'_>) -> String {
    let same = pair.rows().filter(|(reference, actual)| answer(reference) == answer(actual)).count();
    let samples = pair.samples();
    // Half as many again as guessing gives; a few samples agree by chance as often as not.
    if samples >= 16 && same * pair.classes() * 2 <= samples * 3 {
        format!(
            "{same} of {samples} answers are the reference's, near chance: suspect the input's layout, scale or channel order, or damaged weights"
        )
    } else {
        "the error has no pattern: suspect weights, calibration or preprocessing; `trtgate explain` finds the first tensor that is off".to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    const SAMPLES: usize = 64;
    const CLASSES: usize = 10;
    const TOLERANCE: Tolerance = Tolerance { absolute: 0.05, relative: 0.01 };

    /// Values without structure in -10..10, the same in every run.
    fn scores() -> Vec<f32> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        (0..SAMPLES * CLASSES)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as f32 / (1 << 24) as f32 * 20.0 - 10.0
            })
            .collect()
    }

    /// Adds noise of 0.02 at most.
    fn noisy(values: Vec<f32>) -> Vec<f32> {
        let wave = |index: usize| ((index * 7919 % 997) as f32 / 997.0 - 0.5) * 0.04;
        values.into_iter().enumerate().map(|(index, value)| value + wave(index)).collect()
    }

    fn softmax_of(values: &[f32]) -> Vec<f32> {
        let rows = values.chunks_exact(CLASSES).flat_map(|row| {
            let sum: f32 = row.iter().map(|value| value.exp()).sum();
            row.iter().map(move |value| value.exp() / sum).collect::<Vec<_>>()
        });
        rows.collect()
    }

    fn named(reference: &[f32], actual: &[f32]) -> Option<String> {
        let pair = OutputPair::new(reference, actual, SAMPLES, CLASSES).unwrap();
        diagnose(&pair, TOLERANCE).map(|diagnosis| diagnosis.to_string())
    }

    fn rows_of(values: &[f32], order: impl Fn(usize) -> usize) -> Vec<f32> {
        let row = |sample: usize| &values[order(sample) * CLASSES..(order(sample) + 1) * CLASSES];
        (0..SAMPLES).flat_map(|sample| row(sample).to_vec()).collect()
    }

    fn columns_of(values: &[f32], order: impl Fn(usize) -> usize) -> Vec<f32> {
        values
            .chunks_exact(CLASSES)
            .flat_map(|row| (0..CLASSES).map(|class| row[order(class)]).collect::<Vec<_>>())
            .collect()
    }

    fn swap(one: usize, other: usize) -> impl Fn(usize) -> usize {
        move |index| {
            if index == one {
                other
            } else if index == other {
                one
            } else {
                index
            }
        }
    }

    #[rstest]
    #[case::constant(rows_of(&scores(), |_| 3), "every sample got the same outputs")]
    #[case::zeros(vec![0.0; SAMPLES * CLASSES], "every sample got the same outputs")]
    #[case::softmax(softmax_of(&scores()), "the outputs are the softmax of the reference's")]
    #[case::two_classes(noisy(columns_of(&scores(), swap(3, 7))), "the outputs of classes 3 and 7 are swapped")]
    #[case::three_classes(noisy(columns_of(&scores(), |class| match class { 0 => 1, 1 => 2, 2 => 0, other => other })),
        "the outputs of 3 classes are permuted: class 0 holds those of 1, class 1 holds those of 2, class 2 holds those of 0")]
    #[case::reversed_classes(columns_of(&scores(), |class| 9 - class),
        "the outputs of 10 classes are permuted: class 0 holds those of 9, class 1 holds those of 8, class 2 holds those of 7, class 3 holds those of 6, …")]
    #[case::two_samples(noisy(rows_of(&scores(), swap(0, 1))), "the outputs of samples 0 and 1 are swapped")]
    #[case::shifted(noisy(rows_of(&scores(), |sample| (sample + SAMPLES - 1) % SAMPLES)),
        "every sample holds the outputs of the sample 1 before it")]
    #[case::shifted_by_a_batch(noisy(rows_of(&scores(), |sample| sample.saturating_sub(8))),
        "every sample holds the outputs of the sample 8 before it")]
    #[case::doubled(noisy(scores().iter().map(|value| value * 2.0).collect()), "every output is the reference's times 2.0000")]
    #[case::negated(scores().iter().map(|value| -value).collect(), "every output is the reference's times -1.0000")]
    #[case::offset(scores().iter().map(|value| value + 1.5).collect(), "every output is the reference's plus 1.5000")]
    #[case::bias(scores().chunks_exact(CLASSES).flat_map(|row| { let mut row = row.to_vec(); row[4] += 0.5; row }).collect(),
        "every output of class 4 is shifted by +0.5000")]
    fn a_pattern_is_named(#[case] actual: Vec<f32>, #[case] expected: &str) {
        assert_eq!(named(&scores(), &actual).as_deref(), Some(expected));
    }

    #[test]
    fn a_missing_softmax_is_named() {
        let expected = "the reference's outputs are the softmax of these";
        assert_eq!(named(&softmax_of(&scores()), &scores()).as_deref(), Some(expected));
    }

    #[test]
    fn noise_and_equality_have_no_name() {
        let loud: Vec<f32> =
            scores().iter().enumerate().map(|(index, value)| value + ((index * 31 % 17) as f32 - 8.0) * 0.3).collect();
        assert_eq!(named(&scores(), &loud), None);
        assert_eq!(named(&scores(), &scores()), None);
    }

    #[test]
    fn one_sample_has_no_constant_answer() {
        let pair = OutputPair::new(&[1.0, 5.0, 2.0], &[1.1, 5.3, 2.0], 1, 3).unwrap();
        assert_eq!(diagnose(&pair, TOLERANCE), None);
    }
}

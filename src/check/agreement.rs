//! Answers (arg max) compared as counts, each flip described by the reference's margin: figures to look at. What flips cost is
//! judged in [`rule`](crate::check::rule); on probes that were searched near boundaries their number means little.
//!
//! The margin is the distance between the reference's best and second-best class: a difference of logits, or of the
//! logarithms of probabilities. The two are the same number, because a softmax cancels in the difference:
//! `ln pᵢ − ln pⱼ = zᵢ − zⱼ`. So one limit, in logits, serves both kinds of output.
//!
//! A flip is a *near-tie* when its margin is at most the ladder's `near_tie`, which may not exceed twice the absolute
//! tolerance: two classes that each move by the error that is allowed close a gap of twice that error and no more. Any other
//! flip is *confident*.

use crate::check::leads::Lead;
use crate::check::pair::OutputPair;
use crate::error::{Error, Result};
use crate::findings::Agreement;
use crate::manifest::OutputKind;

/// Margins kept in the report.
const MARGINS_KEPT: usize = 16;

/// Relative slack of the arithmetic check: sums and differences of two `f32` in `f64` round at 2⁻⁵³.
const ROUNDING: f64 = 1e-12;

/// How a changed answer is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlipKind {
    /// The reference's margin is small enough for the allowed error to explain the flip.
    NearTie,
    /// It is not.
    Confident,
    /// The margin exceeds twice the sample's largest error, which arithmetic forbids: the comparison itself is wrong.
    Impossible,
}

/// One sample whose answer changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flip {
    /// Index of the sample.
    pub sample: usize,
    /// The reference's answer.
    pub reference: usize,
    /// The answer now.
    pub actual: usize,
    /// The reference's margin, in logits.
    pub margin: f64,
    /// How it is judged.
    pub kind: FlipKind,
}

/// The counts of the report, and every flip in the order of the samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// Counts.
    pub agreement: Agreement,
    /// Every flip.
    pub flips: Vec<Flip>,
}

impl Answers {
    /// Whether no more confident flips occurred than are allowed, and none that arithmetic forbids.
    pub fn agree(&self) -> bool {
        self.agreement.confident_flips <= self.agreement.confident_allowed && self.agreement.impossible_flips == 0
    }
}

/// What [`count`] judges by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// What the outputs are.
    pub kind: OutputKind,
    /// Largest margin, in logits, of a near-tie.
    pub near_tie: f64,
    /// Confident flips allowed.
    pub confident_allowed: usize,
}

/// Counts answers. `sample_max_abs` holds the largest absolute error of each sample as the metrics measured it: a flip that
/// those errors cannot explain shows that one of the two was computed on other data, and is counted as impossible.
///
/// Errors: a usage error for outputs of fewer than two classes, which hold no answer; an invalid one if `sample_max_abs`
/// is not one value a sample.
pub fn count(pair: &OutputPair<'_>, sample_max_abs: &[f64], terms: &Terms) -> Result<Answers> {
    if pair.classes() < 2 {
        return Err(Error::usage("an output of one class holds no answer to compare")
            .hint("gate a model with one output a class"));
    }
    if sample_max_abs.len() != pair.samples() {
        return Err(Error::invalid(format!(
            "{} samples have {} measured errors",
            pair.samples(),
            sample_max_abs.len()
        )));
    }
    let mut flips = Vec::new();
    for (sample, ((reference, actual), &error)) in pair.rows().zip(sample_max_abs).enumerate() {
        let (before, after) = (Lead::of(reference, terms.kind), answer(actual));
        if before.answer == after {
            continue;
        }
        let margin = before.nats;
        let value = |class: usize| reference.get(class).map_or(f64::NAN, |&value| f64::from(value));
        let kind = if value(before.answer) - value(before.rival) > 2.0 * error * (1.0 + ROUNDING) {
            FlipKind::Impossible
        } else if margin <= terms.near_tie {
            FlipKind::NearTie
        } else {
            FlipKind::Confident
        };
        flips.push(Flip { sample, reference: before.answer, actual: after, margin, kind });
    }
    Ok(Answers { agreement: summary(pair.samples(), &flips, terms.confident_allowed), flips })
}

fn summary(samples: usize, flips: &[Flip], confident_allowed: usize) -> Agreement {
    let of = |kind| flips.iter().filter(|flip| flip.kind == kind).count();
    let mut margins: Vec<f32> = flips.iter().map(|flip| flip.margin as f32).collect();
    margins.sort_by(|one, other| other.total_cmp(one));
    margins.truncate(MARGINS_KEPT);
    Agreement {
        samples,
        top1_matches: samples - flips.len(),
        near_tie_flips: of(FlipKind::NearTie),
        confident_flips: of(FlipKind::Confident),
        confident_allowed,
        impossible_flips: of(FlipKind::Impossible),
        flip_margins: margins,
    }
}

/// The class with the largest value, the lowest such class on a tie; 0 for an empty row.
pub fn answer(row: &[f32]) -> usize {
    Lead::of(row, OutputKind::Logits).answer
}

/// The reference's margin of a row, in logits; zero for a tie.
pub fn margin(row: &[f32], kind: OutputKind) -> f64 {
    Lead::of(row, kind).nats
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use approx::assert_relative_eq;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::check::metrics::{Tolerance, measure};

    const TERMS: Terms = Terms { kind: OutputKind::Logits, near_tie: 0.2, confident_allowed: 0 };

    fn counted(reference: &[f32], actual: &[f32], classes: usize, terms: &Terms) -> Answers {
        let pair = OutputPair::new(reference, actual, reference.len() / classes, classes).unwrap();
        let metrics = measure(&pair, Tolerance { absolute: 0.1, relative: 0.0 });
        count(&pair, &metrics.sample_max_abs, terms).unwrap()
    }

    #[rstest]
    #[case::same(&[1.0, 2.0, 0.0], &[1.0, 2.1, 0.0], None)]
    #[case::near_tie(&[1.0, 1.125, 0.0], &[1.125, 1.0, 0.0], Some((FlipKind::NearTie, 0.125)))]
    #[case::confident(&[1.0, 2.0, 0.0], &[2.0, 1.0, 0.0], Some((FlipKind::Confident, 1.0)))]
    #[case::exact_tie_goes_to_the_lowest(&[2.0, 2.0, 0.0], &[2.0, 2.0, 0.0], None)]
    #[case::tie_broken(&[2.0, 2.0, 0.0], &[2.0, 2.5, 0.0], Some((FlipKind::NearTie, 0.0)))]
    fn flips_are_judged_by_the_margin(
        #[case] reference: &[f32],
        #[case] actual: &[f32],
        #[case] expected: Option<(FlipKind, f64)>,
    ) {
        let answers = counted(reference, actual, 3, &TERMS);
        assert_eq!(answers.flips.first().map(|flip| (flip.kind, flip.margin)), expected);
        assert_eq!(answers.agree(), !matches!(expected, Some((FlipKind::Confident, _))));
    }

    /// The bounds themselves: a margin of exactly a near-tie is one, an error of exactly half the gap explains a flip.
    #[test]
    fn what_lies_on_a_bound_is_within() {
        let of = |near_tie: f64| {
            counted(&[1.0, 1.25, 0.0], &[1.25, 1.0, 0.0], 3, &Terms { near_tie, ..TERMS }).flips[0].kind
        };
        assert_eq!((of(0.25), of(0.249)), (FlipKind::NearTie, FlipKind::Confident));
        let pair = OutputPair::new(&[1.0, 2.0], &[2.0, 1.0], 1, 2).unwrap();
        let kind = |error: f64| count(&pair, &[error], &TERMS).unwrap().flips[0].kind;
        assert_eq!((kind(0.5), kind(0.49)), (FlipKind::Confident, FlipKind::Impossible));
    }

    #[test]
    fn margins_of_probabilities_are_those_of_their_logits() {
        let logits = [3.0_f32, 2.5, -1.0];
        let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
        let probabilities: Vec<f32> = logits.iter().map(|logit| logit.exp() / sum).collect();
        assert_relative_eq!(margin(&probabilities, OutputKind::Probabilities), 0.5, epsilon = 1e-6);
        assert_relative_eq!(margin(&logits, OutputKind::Logits), 0.5);
        assert!(margin(&[1.0, 0.0], OutputKind::Probabilities).is_finite());
    }

    #[test]
    fn confident_flips_may_be_allowed_and_are_still_counted() {
        let terms = Terms { confident_allowed: 1, ..TERMS };
        let answers = counted(&[0.0, 9.0, 9.0, 0.0], &[9.0, 0.0, 9.0, 0.0], 2, &terms);
        assert!(answers.agree());
        assert_eq!((answers.agreement.confident_flips, answers.agreement.top1_matches), (1, 1));
        assert_eq!(answers.agreement.flip_margins, [9.0]);
    }

    #[test]
    fn a_flip_that_the_measured_error_cannot_explain_is_impossible() {
        let pair = OutputPair::new(&[1.0, 2.0], &[2.0, 1.0], 1, 2).unwrap();
        let answers = count(&pair, &[0.25], &TERMS).unwrap();
        assert_eq!(answers.agreement.impossible_flips, 1);
        assert!(!answers.agree());
        assert!(count(&pair, &[], &TERMS).is_err());
    }

    #[test]
    fn one_class_holds_no_answer() {
        let pair = OutputPair::new(&[1.0], &[1.0], 1, 1).unwrap();
        assert!(count(&pair, &[0.0], &TERMS).is_err());
    }

    proptest! {
        #[test]
        fn no_flip_is_impossible_when_both_read_the_same_data(
            values in prop::collection::vec((-1e30_f32..1e30, -1e30_f32..1e30), 3..90),
            probabilities in any::<bool>(),
        ) {
            let kind = if probabilities { OutputKind::Probabilities } else { OutputKind::Logits };
            let whole = values.len() / 3 * 3;
            let (x, y): (Vec<f32>, Vec<f32>) = values[..whole].iter().copied().unzip();
            let answers = counted(&x, &y, 3, &Terms { kind, ..TERMS });
            let agreement = &answers.agreement;
            prop_assert_eq!(agreement.impossible_flips, 0);
            prop_assert_eq!(
                agreement.top1_matches + agreement.near_tie_flips + agreement.confident_flips,
                agreement.samples
            );
        }
    }
}

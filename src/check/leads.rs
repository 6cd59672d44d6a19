//! Leads: how far an answer is ahead of its best rival, in nats, and how large leads are on ordinary inputs.
//!
//! `z` are log-odds in nats: a logit itself, and of a probability `ln max(p, 1e-4)`. Only differences of two classes of one
//! sample are ever used, so an offset that all classes share, masked classes and the temperature cancel.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::manifest::OutputKind;

/// Least probability whose logarithm is taken: what half precision holds of a softmax. A true FP16 softmax whose tail
/// underflows to zero would otherwise be far from its reference though its answers are right.
pub const LEAST_PROBABILITY: f64 = 1e-4;

/// Quantiles that stand for the leads of all natural samples.
pub const QUANTILES: usize = 256;

/// Fewest natural samples that leads are taken from.
pub const LEAST_SAMPLES: usize = 128;

/// The log-odds of one output, in nats.
pub fn log_odds(value: f32, kind: OutputKind) -> f64 {
    match kind {
        OutputKind::Logits => f64::from(value),
        OutputKind::Probabilities => f64::from(value).max(LEAST_PROBABILITY).ln(),
    }
}

/// How far the sum of a softmax may be from 1, and a probability outside of 0 to 1.
const ROUNDING: f64 = 1e-3;

/// What the reference's outputs `[samples, classes]` are, held against what was declared.
///
/// Rows of numbers of at least 0 that all sum to 1 are a softmax: declared as logits they would be judged by differences of
/// probabilities, which change M, E and S, so they are taken for what they are.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid) where probabilities were declared and a value is none: its logarithm would hide
/// what changed.
pub fn kind_of(reference: &[f32], classes: usize, declared: OutputKind) -> Result<OutputKind> {
    match declared {
        OutputKind::Logits => {
            let softmax = |row: &[f32]| {
                row.iter().all(|&value| value >= 0.0)
                    && (row.iter().map(|&value| f64::from(value)).sum::<f64>() - 1.0).abs() <= ROUNDING
            };
            let all = classes > 1 && !reference.is_empty() && reference.chunks_exact(classes).all(softmax);
            Ok(if all { OutputKind::Probabilities } else { OutputKind::Logits })
        }
        OutputKind::Probabilities => {
            let outside = |value: &f32| !(-ROUNDING..=1.0 + ROUNDING).contains(&f64::from(*value));
            match reference.iter().position(outside) {
                None => Ok(OutputKind::Probabilities),
                Some(place) => Err(Error::invalid(format!(
                    "the reference's outputs are not probabilities: sample {} holds {}",
                    place.checked_div(classes).unwrap_or(0),
                    reference.get(place).copied().unwrap_or(f32::NAN)
                ))
                .hint("set `kind = \"logits\"` in the manifest's `[output]`")),
            }
        }
    }
}

/// The answer of a row and its best rival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lead {
    /// The class with the largest output, the lowest such class on a tie.
    pub answer: usize,
    /// The best of the other classes, the lowest such class on a tie.
    pub rival: usize,
    /// How far the answer is ahead, in nats; zero for a tie, NaN for a row of fewer than two classes.
    pub nats: f64,
}

impl Lead {
    /// The lead of `row`, outputs of `kind`.
    pub fn of(row: &[f32], kind: OutputKind) -> Self {
        let (mut answer, mut first) = (0, f32::NEG_INFINITY);
        let (mut rival, mut second) = (0, f32::NEG_INFINITY);
        for (class, &value) in row.iter().enumerate() {
            if value > first {
                (rival, second) = (answer, first);
                (answer, first) = (class, value);
            } else if value > second {
                (rival, second) = (class, value);
            }
        }
        let nats = if row.len() < 2 { f64::NAN } else { log_odds(first, kind) - log_odds(second, kind) };
        Self { answer, rival, nats }
    }
}

/// How far `answer` is ahead of the best other class of `row`, in nats; negative where another class is ahead.
pub fn lead_of(row: &[f32], answer: usize, kind: OutputKind) -> f64 {
    let best = |values: &[f32]| values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    match row.get(answer) {
        Some(&own) if row.len() > 1 => {
            let before = row.get(..answer).map_or(f32::NEG_INFINITY, best);
            let after = row.get(answer + 1..).map_or(f32::NEG_INFINITY, best);
            log_odds(own, kind) - log_odds(before.max(after), kind)
        }
        _ => f64::NAN,
    }
}

/// Leads of the reference on natural samples: ordinary inputs, none searched at a decision boundary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NaturalLeads {
    /// The typical lead M: the median, in nats.
    pub typical: f64,
    /// Leads at the probabilities (k + 1/2) / 256, ascending, in nats.
    pub quantiles: Vec<f64>,
    /// Natural samples that they were taken from.
    pub samples: usize,
}

impl NaturalLeads {
    /// The leads of reference outputs `[samples, classes]`, row-major.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for outputs of fewer than two classes, for no samples, for values that do
    /// not fill rows, for rows that are not finite, with their number, and for what [`kind_of`] refuses.
    pub fn of(outputs: &[f32], classes: usize, kind: OutputKind) -> Result<Self> {
        if classes < 2 {
            return Err(Error::invalid("an output of one class has no rival, so its answers have no lead"));
        }
        if outputs.is_empty() || !outputs.len().is_multiple_of(classes) {
            return Err(Error::invalid(format!("{} natural outputs do not fill rows of {classes}", outputs.len())));
        }
        let rows = || outputs.chunks_exact(classes);
        let samples = outputs.len() / classes;
        let broken = rows().filter(|row| row.iter().any(|value| !value.is_finite())).count();
        if broken > 0 {
            return Err(Error::invalid(format!(
                "the reference's outputs are not finite in {broken} of {samples} natural samples"
            ))
            .hint(
                "check the input's range and layout in the manifest, and the model for overflows on ordinary inputs",
            ));
        }
        let kind = kind_of(outputs, classes, kind)?;
        Self::of_nats(rows().map(|row| Lead::of(row, kind).nats).collect())
    }

    /// Of leads, in nats.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) where there are none.
    pub fn of_nats(mut leads: Vec<f64>) -> Result<Self> {
        let samples = leads.len();
        if samples == 0 {
            return Err(Error::invalid("there are no natural samples to take leads from"));
        }
        leads.sort_by(f64::total_cmp);
        let at = |place: f64| {
            let last = samples - 1;
            let low = (place.max(0.0) as usize).min(last);
            let high = (low + 1).min(last);
            let share = (place - low as f64).clamp(0.0, 1.0);
            let value = |index: usize| leads.get(index).copied().unwrap_or(f64::NAN);
            value(low) + (value(high) - value(low)) * share
        };
        let quantile = |index: usize| at((index as f64 + 0.5) / QUANTILES as f64 * samples as f64 - 0.5);
        Ok(Self { typical: at((samples - 1) as f64 / 2.0), quantiles: (0..QUANTILES).map(quantile).collect(), samples })
    }

    /// Checks leads that come from a file.
    ///
    /// # Errors
    /// [`Input`](crate::ErrorKind::Input) where they are not [`QUANTILES`] finite, ascending numbers of at least 0 with a
    /// typical lead among them.
    pub fn check(&self) -> Result<()> {
        let ascending = self.quantiles.windows(2).all(|pair| matches!(pair, [low, high] if low <= high));
        let sound = |value: &f64| value.is_finite() && *value >= 0.0;
        if self.quantiles.len() == QUANTILES
            && ascending
            && self.quantiles.iter().all(sound)
            && sound(&self.typical)
            && self.samples > 0
        {
            return Ok(());
        }
        Err(Error::input(format!("the natural leads are not {QUANTILES} ascending numbers of at least 0")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use approx::assert_relative_eq;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain(&[1.0, 4.0, -2.0, 3.5], 1, 3, 0.5)]
    #[case::tie_to_the_lowest(&[2.0, 7.0, 7.0, 7.0], 1, 2, 0.0)]
    #[case::falling(&[9.0, 3.0, 1.0], 0, 1, 6.0)]
    #[case::two(&[-1.0, -3.0], 0, 1, 2.0)]
    fn answer_and_rival(#[case] row: &[f32], #[case] answer: usize, #[case] rival: usize, #[case] nats: f64) {
        assert_eq!(Lead::of(row, OutputKind::Logits), Lead { answer, rival, nats });
        assert_eq!(lead_of(row, answer, OutputKind::Logits), nats);
    }

    #[test]
    fn a_class_behind_has_a_negative_lead_and_one_class_has_none() {
        assert_eq!(lead_of(&[1.0, 4.0, 3.5], 2, OutputKind::Logits), -0.5);
        assert_eq!(lead_of(&[1.0, 4.0, 3.5], 0, OutputKind::Logits), -3.0);
        assert!(lead_of(&[1.0], 0, OutputKind::Logits).is_nan());
        assert!(lead_of(&[1.0, 2.0], 2, OutputKind::Logits).is_nan());
        assert!(Lead::of(&[1.0], OutputKind::Logits).nats.is_nan());
    }

    #[test]
    fn leads_of_probabilities_are_those_of_their_logits_down_to_what_half_precision_holds() {
        let row = [0.7_f32, 0.2, 0.1];
        assert_relative_eq!(Lead::of(&row, OutputKind::Probabilities).nats, 3.5_f64.ln(), epsilon = 1e-6);
        let sure = Lead::of(&[1.0, 0.0], OutputKind::Probabilities).nats;
        assert_relative_eq!(sure, 1e4_f64.ln());
        assert_eq!(Lead::of(&[1.0, 1e-9], OutputKind::Probabilities).nats, sure);
    }

    #[test]
    fn quantiles_of_evenly_spread_leads_are_evenly_spread() {
        let outputs: Vec<f32> = (0..512).flat_map(|index| [index as f32, 0.0]).collect();
        let leads = NaturalLeads::of(&outputs, 2, OutputKind::Logits).unwrap();
        assert_eq!((leads.samples, leads.typical, leads.quantiles.len()), (512, 255.5, QUANTILES));
        assert_eq!(leads.quantiles[..3], [0.5, 2.5, 4.5]);
        assert_eq!(leads.quantiles[255], 510.5);
        leads.check().unwrap();
        let single = NaturalLeads::of(&[3.0, 1.0], 2, OutputKind::Logits).unwrap();
        assert_eq!((single.typical, single.quantiles[0], single.quantiles[255]), (2.0, 2.0, 2.0));
    }

    #[rstest]
    #[case::logits(&[0.2, 0.9, 0.5, 0.5], OutputKind::Logits, OutputKind::Logits)]
    #[case::negative(&[-0.5, 1.5, 0.5, 0.5], OutputKind::Logits, OutputKind::Logits)]
    #[case::softmax_declared_as_logits(&[0.2, 0.8, 0.4999, 0.5], OutputKind::Logits, OutputKind::Probabilities)]
    #[case::softmax(&[0.2, 0.8, -0.0005, 1.0005], OutputKind::Probabilities, OutputKind::Probabilities)]
    fn the_kind_is_what_the_rows_are(#[case] rows: &[f32], #[case] declared: OutputKind, #[case] kind: OutputKind) {
        assert_eq!(kind_of(rows, 2, declared).unwrap(), kind);
        assert_eq!(NaturalLeads::of(rows, 2, declared).unwrap(), NaturalLeads::of(rows, 2, kind).unwrap());
    }

    #[test]
    fn logits_are_no_probabilities() {
        let error = kind_of(&[0.2, 0.8, 3.0, 1.0], 2, OutputKind::Probabilities).unwrap_err();
        assert_eq!(error.message, "the reference's outputs are not probabilities: sample 1 holds 3");
        assert!(kind_of(&[0.2, f32::NAN], 2, OutputKind::Probabilities).is_err());
    }

    #[rstest]
    #[case(&[1.0, 2.0], 1, "one class")]
    #[case(&[], 2, "do not fill")]
    #[case(&[1.0, 2.0, 3.0], 2, "do not fill")]
    #[case(&[1.0, f32::NAN, 3.0, 4.0], 2, "not finite in 1 of 2")]
    fn outputs_without_leads_are_refused(#[case] outputs: &[f32], #[case] classes: usize, #[case] message: &str) {
        let error = NaturalLeads::of(outputs, classes, OutputKind::Logits).unwrap_err();
        assert!(error.message.contains(message), "{error}");
    }

    #[rstest]
    #[case(|leads: &mut NaturalLeads| leads.quantiles.swap(0, 255))]
    #[case(|leads: &mut NaturalLeads| leads.quantiles.truncate(255))]
    #[case(|leads: &mut NaturalLeads| leads.quantiles.fill(f64::NAN))]
    #[case(|leads: &mut NaturalLeads| leads.typical = -1.0)]
    #[case(|leads: &mut NaturalLeads| leads.samples = 0)]
    fn damaged_leads_are_refused(#[case] damage: fn(&mut NaturalLeads)) {
        let outputs: Vec<f32> = (0..512).flat_map(|index| [index as f32, 0.0]).collect();
        let mut leads = NaturalLeads::of(&outputs, 2, OutputKind::Logits).unwrap();
        damage(&mut leads);
        assert!(leads.check().is_err());
    }
}

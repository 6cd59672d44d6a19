//! Independent scores: each is a classifier of its own, which says yes above one half.
//!
//! Errors of all scores are pooled. A common offset, which no classifier of several classes minds, is a fault here.

use super::rows::{Rows, alone, judge, log_odds};
use super::{Found, Given, broken, distance};
use crate::check::diagnose::order;
use crate::check::leads::NaturalLeads;
use crate::check::pair::OutputPair;
use crate::check::rule;
use crate::error::{Error, Result};
use crate::figure::figure;
use crate::findings::verdict::plural;
use crate::manifest::OutputKind;
use crate::tensor::Tensor;

/// Fewest samples that tell whether a score follows its input.
const TOLD: usize = 16;
/// A score that varies by so many times what errors are allowed of all is worth following.
const VARIES: f64 = 1.5;
/// Share of the error's energy that one offset takes away where it is called its cause.
const OFFSET: f64 = 0.75;

pub(super) fn compare(given: &Given<'_>, kind: Option<OutputKind>) -> Result<Found> {
    let sides = match given.comparable()? {
        Ok(sides) => sides,
        Err(fault) => return Ok(Found::broken(fault)),
    };
    let (reference, actual) = (sides.reference.as_ref(), sides.actual.as_ref());
    if !reference.element_type().is_float() {
        return Err(Error::invalid(format!("it is {}, which is no score", reference.element_type()))
            .hint("`task = \"values\"` asks whole numbers to be equal"));
    }
    if let Some(broken) = broken(reference, actual, given.samples)? {
        return Ok(broken);
    }
    let (before, after) = (reference.floats(), actual.floats());
    let outside = before.iter().find(|value| !(0.0..=1.0).contains(*value));
    let kind = match (kind, outside) {
        (Some(OutputKind::Probabilities), Some(value)) => {
            return Err(Error::invalid(format!("the reference's scores are no probabilities: one is {value}"))
                .hint("set `kind = \"logits\"` in its `[[output]]`"));
        }
        (Some(kind), _) => kind,
        (None, None) => OutputKind::Probabilities,
        (None, Some(_)) => OutputKind::Logits,
    };
    let rows = Rows { reference: alone(&before, kind), actual: alone(&after, kind), classes: 2 };
    let first = rows.reference.get(..2);
    if rows.reference.chunks_exact(2).all(|score| Some(score) == first) {
        return Err(Error::invalid(format!(
            "all {} scores of the reference lie below 0.002, or all above 0.998: nothing was judged",
            before.len()
        ))
        .hint("feed samples that it answers in both ways: `values` of `[[input]]`, or `from = \"samples.npz\"`"));
    }
    let judged = judge(&rows, OutputKind::Logits, given.limits)?;
    let (borderline, confident) = judged.counts();
    let scores = reference.row_len();
    let (place, size) = worst(&judged.measured.lead_errors, scores);
    let worst =
        || format!("of {} score {place} is off the most, by {} in log-odds", plural(scores, "score"), figure(size));
    // One of very many that is wrong hardly moves what is pooled.
    let typical = judged.measured.typical;
    let few = rule::few(given.samples).sqrt();
    let allowed = given.limits.get("alone") * few * typical;
    let fault = match &judged.fault {
        Some(fault) => Some(format!("{}: {fault}", cause(given, kind, reference, actual).unwrap_or_else(worst))),
        None if size <= allowed => {
            lost(&rows, &judged.measured.lead_errors, scores, given.limits.get("leads") * typical)
        }
        None => Some(format!("{}, {} is allowed of one score", worst(), figure(allowed))),
    };
    let mut figures = judged.figures();
    // In the unit of the limit, that of enough samples.
    figures.push(("alone", if typical > 0.0 { size / (few * typical) } else { f64::NAN }));
    let compared = format!(
        "{} of {} scores lie on the reference's side of one half; {}",
        before.len() - judged.changes.len(),
        before.len(),
        judged.leads.sentence()
    );
    Ok(Found {
        fault,
        compared,
        figures,
        borderline,
        confident,
        error: distance(reference, actual, given.samples)?,
        shown: None,
    })
}

/// What explains the error, where one thing does: scores in each other's places, an offset of all, their opposites.
fn cause(given: &Given<'_>, kind: OutputKind, reference: &Tensor, actual: &Tensor) -> Option<String> {
    let odds = |tensor: &Tensor| tensor.floats().iter().map(|&value| log_odds(value, kind)).collect::<Vec<f64>>();
    let (before, after) = (odds(reference), odds(actual));
    let errors: Vec<f64> = before.iter().zip(&after).map(|(x, y)| y - x).collect();
    let energy = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let all = energy(&mut errors.iter().copied());
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    if energy(&mut errors.iter().map(|error| error - mean)) <= (1.0 - OFFSET) * all {
        return Some(format!("all scores are shifted by {} in log-odds", figure(mean)));
    }
    if energy(&mut before.iter().zip(&after).map(|(x, y)| x + y)) <= (1.0 - OFFSET) * all {
        return Some("every score is the opposite of the reference's".to_owned());
    }
    let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
    let (x, y) = (narrow(&before), narrow(&after));
    let pair = OutputPair::new(&x, &y, given.samples, reference.row_len()).ok()?;
    let natural = NaturalLeads::of(&x, reference.row_len(), OutputKind::Logits).ok()?;
    let measured = rule::measure(&pair, OutputKind::Logits, &natural).ok()?;
    order(&pair, &measured, given.batch).map(|found| found.to_string())
}

/// A score that follows its input no more, in words: its errors have more than half the energy by which it varies, and it varies by
/// more than the errors that are allowed of all, `allowed` in log-odds.
fn lost(rows: &Rows, errors: &[f64], scores: usize, allowed: f64) -> Option<String> {
    // Each score is a row of two: itself and its opposite.
    let odds: Vec<f64> = rows
        .reference
        .chunks_exact(2)
        .map(|pair| f64::from(pair.first().copied().unwrap_or(0.0)) - f64::from(pair.get(1).copied().unwrap_or(0.0)))
        .collect();
    (0..scores).find_map(|score| {
        let of: Vec<f64> = odds.iter().skip(score).step_by(scores.max(1)).copied().collect();
        let own = errors.iter().skip(score).step_by(scores.max(1));
        let count = of.len().max(1) as f64;
        let mean = of.iter().sum::<f64>() / count;
        let varies = (of.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        let error = (own.map(|error| error * error).sum::<f64>() / count).sqrt();
        let is_lost = of.len() >= TOLD && varies > VARIES * allowed && error * error > 0.5 * varies * varies;
        is_lost.then(|| {
            format!(
                "score {score} of {scores} follows its input no more: it varies by {} in log-odds, its errors are {}",
                figure(varies),
                figure(error)
            )
        })
    })
}

/// The score that is off the most over all samples, and by how much: the root of the mean square.
fn worst(errors: &[f64], scores: usize) -> (usize, f64) {
    let mut squares = vec![0.0; scores.max(1)];
    for (index, error) in errors.iter().enumerate() {
        if let Some(sum) = squares.get_mut(index % scores.max(1)) {
            *sum += error * error;
        }
    }
    let samples = (errors.len() / scores.max(1)).max(1);
    let (index, sum) =
        squares.iter().copied().enumerate().fold((0, 0.0), |best, one| if one.1 > best.1 { one } else { best });
    (index, (sum / samples as f64).sqrt())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Two scores over these many samples, whose log-odds vary by 2 and by 1; the errors of the second are a share of that.
    fn found(samples: usize, share: f64, allowed: f64) -> Option<String> {
        let swing = |sample: usize| if sample.is_multiple_of(2) { 1.0_f32 } else { -1.0 };
        let reference = (0..samples).flat_map(|sample| {
            let swing = swing(sample);
            // Each a row of itself and its opposite, off zero by a constant.
            [3.0 + swing, -3.0 - swing, 0.5 * swing, -0.5 * swing]
        });
        let rows = Rows { reference: reference.collect(), actual: Vec::new(), classes: 2 };
        let errors: Vec<f64> = (0..samples).flat_map(|_| [0.1, share]).collect();
        lost(&rows, &errors, 2, allowed)
    }

    #[test]
    fn a_score_that_follows_its_input_no_more_is_lost() {
        let words = found(16, 0.8, 0.5).unwrap();
        assert_eq!(words, "score 1 of 2 follows its input no more: it varies by 1 in log-odds, its errors are 0.8");
        assert_eq!(found(16, 0.7, 0.5), None, "half of its energy is 0.5");
        assert_eq!(found(15, 0.8, 0.5), None, "too few samples to tell");
        assert_eq!(found(16, 0.8, 1.0 / VARIES), None, "it varies by no more than may be off");
        assert!(found(16, 0.8, 0.99 / VARIES).is_some());
    }
}

//! Rows of class scores, wherever the classes stand: places of a map, steps of a sequence, scores by themselves.

use crate::check::agreement;
use crate::check::leads::{Lead, NaturalLeads};
use crate::check::pair::OutputPair;
use crate::check::rule::{self, Measured};
use crate::error::{Error, Result};
use crate::findings::LeadFigures;
use crate::manifest::OutputKind;
use crate::tensor::Tensor;

use super::TaskLimits;

/// The rows of both sides.
pub(super) struct Rows {
    pub(super) reference: Vec<f32>,
    pub(super) actual: Vec<f32>,
    pub(super) classes: usize,
}

/// A row whose answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) row: usize,
    pub(super) from: usize,
    pub(super) to: usize,
    /// Whether the reference was sure of its answer.
    pub(super) confident: bool,
}

/// What the rule says of rows.
pub(super) struct Judged {
    pub(super) measured: Measured,
    pub(super) leads: LeadFigures,
    /// The rows whose answer changed, in their order.
    pub(super) changes: Vec<Change>,
    /// What is beyond its limit of loss, leads and slope.
    pub(super) fault: Option<String>,
}

/// The rows of `tensor` with the classes along `axis`, and how many classes: each place is a row. `None` without such an axis.
pub(super) fn along(tensor: &Tensor, axis: usize) -> Option<(Vec<f32>, usize)> {
    let classes = *tensor.shape.get(axis)?;
    let inner: usize = tensor.shape.get(axis + 1..)?.iter().product();
    let values = tensor.floats();
    if inner <= 1 || classes == 0 {
        return Some((values.into_owned(), classes));
    }
    let mut rows = Vec::with_capacity(values.len());
    for block in values.chunks_exact(classes * inner) {
        for place in 0..inner {
            rows.extend(block.iter().skip(place).step_by(inner));
        }
    }
    Some((rows, classes))
}

/// Scores that stand alone as rows of two classes, in log-odds: it is so, it is not so.
pub(super) fn alone(values: &[f32], kind: OutputKind) -> Vec<f32> {
    values
        .iter()
        .flat_map(|&value| {
            // Half the log-odds on either side, so that their difference is the log-odds.
            let half = 0.5 * log_odds(value, kind);
            [half as f32, -half as f32]
        })
        .collect()
}

/// Least probability of a score, and of its opposite: what half precision holds beside one half.
const LEAST: f64 = 0.002;

/// The log-odds of a score that stands alone, nats.
pub(super) fn log_odds(value: f32, kind: OutputKind) -> f64 {
    match kind {
        OutputKind::Logits => f64::from(value),
        OutputKind::Probabilities => {
            let share = f64::from(value).clamp(LEAST, 1.0 - LEAST);
            (share / (1.0 - share)).ln()
        }
    }
}

/// Holds rows to the rule; the reference's own leads are the ordinary ones.
///
/// # Errors
/// `Invalid` where nothing can be measured: no rows, one class, leads that are all zero.
pub(super) fn judge(rows: &Rows, kind: OutputKind, limits: &TaskLimits) -> Result<Judged> {
    let Rows { reference, actual, classes } = rows;
    let count = reference.len().checked_div(*classes).unwrap_or(0);
    if *classes < 2 || count == 0 {
        return Err(Error::invalid(format!("{count} rows of {classes} classes hold no answer to compare")));
    }
    let pair = OutputPair::new(reference, actual, count, *classes)?;
    let natural = NaturalLeads::of(reference, *classes, kind)?;
    let measured = rule::measure(&pair, kind, &natural)?;
    let row = limits.row();
    let allowed = row.limits.of_few(count);
    // The error that leads may have explains such a change; in spreads, as of classifiers, it would be nothing of thousands of
    // classes whose probabilities are all cut at the least one.
    let near_tie = row.limits.leads * measured.typical;
    let changes = pair.rows().enumerate().filter_map(|(index, (before, after))| {
        let (lead, to) = (Lead::of(before, measured.kind), agreement::answer(after));
        (lead.answer != to).then_some(Change { row: index, from: lead.answer, to, confident: lead.nats > near_tie })
    });
    let leads = LeadFigures {
        typical: measured.typical,
        natural_samples: measured.natural_samples,
        loss: measured.loss,
        loss_allowed: allowed.loss,
        changed: measured.changed,
        error: measured.error,
        error_allowed: allowed.leads,
        slope: measured.slope,
        slope_allowed: allowed.slope,
        named: allowed.named,
    };
    let fault = (!measured.keeps(&allowed)).then(|| {
        let slope = match measured.slope_error() <= allowed.slope {
            true => String::new(),
            false => format!("; all leads together are {:.4} times the reference's", measured.slope),
        };
        format!("{}{slope}; allowed are {}", leads.sentence(), leads.limits())
    });
    Ok(Judged { changes: changes.collect(), leads, measured, fault })
}

impl Judged {
    /// How many answers changed near a tie, and how many others.
    pub(super) fn counts(&self) -> (usize, usize) {
        let confident = self.changes.iter().filter(|change| change.confident).count();
        (self.changes.len() - confident, confident)
    }

    /// The figures of the rule by the names of their limits.
    pub(super) fn figures(&self) -> Vec<(&'static str, f64)> {
        vec![("loss", self.measured.loss), ("leads", self.measured.error), ("slope", self.measured.slope_error())]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What is as good as certain has log-odds that half precision can hold, on either side.
    #[test]
    fn certain_scores_have_finite_log_odds() {
        let most = (0.998_f64 / 0.002).ln();
        let of = |value: f32| log_odds(value, OutputKind::Probabilities);
        assert!((of(1.0) - most).abs() < 1e-9 && (of(0.0) + most).abs() < 1e-9, "{} {}", of(1.0), of(0.0));
        assert_eq!((of(0.5), log_odds(7.0, OutputKind::Logits)), (0.0, 7.0));
        assert!((of(0.75) - 3.0_f64.ln()).abs() < 1e-6);
    }

    /// The figures of the rule have the names of their limits.
    #[test]
    fn figures_are_named_as_their_limits() {
        let scores: Vec<f32> = (0..300).map(|place| ((place * 37) % 23) as f32 - 11.0).collect();
        let rows = Rows { reference: scores.clone(), actual: scores, classes: 3 };
        let ladder = crate::check::ladder::Ladder::built_in().unwrap();
        let (library, precision) = (crate::vocabulary::Library::Onnxruntime, crate::vocabulary::Precision::Fp16);
        let task = crate::vocabulary::Task::Classification;
        let limits = TaskLimits::of(&ladder, library, precision, task, None).unwrap();
        let found = judge(&rows, OutputKind::Logits, &limits).unwrap().figures();
        assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["loss", "leads", "slope"]);
        assert!(found.iter().all(|(_, value)| value.abs() < 1e-9), "{found:?}");
    }
}

//! Accepting new baselines: what changes, by how much, and what stands against it.

use std::fmt;

use crate::error::{Error, Result};
use crate::measure::baseline::{Entry, Quantity, Series};
use crate::measure::rule::{Decision, Limits, decide};
use crate::measure::thresholds::Thresholds;

/// A run that is to become a baseline.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The cell, or the ratio's name.
    pub subject: String,
    /// Samples in one batch; 1 for ratios.
    pub batch: u32,
    /// Limits of the rule.
    pub limits: Limits,
    /// Least noise of a young series.
    pub assumed_noise: f64,
    /// The entry; its level is set by [`plan`].
    pub entry: Entry,
    /// Why the run cannot be trusted, if so: unstable twice, throttled, wrong outputs. One sentence each.
    pub doubts: Vec<String>,
}

/// One line of what blessing does.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The cell, or the ratio's name.
    pub subject: String,
    /// The value of the current baseline, if there is one in this environment.
    pub old: Option<f64>,
    /// The new value.
    pub new: f64,
    /// New over old.
    pub ratio: Option<f64>,
    /// What the values are.
    pub quantity: Quantity,
    /// Level that the entry belongs to.
    pub level: u32,
    /// What the current baseline is of, where that is another model or version.
    pub beside: String,
    /// Why it is refused, one sentence each.
    pub doubts: Vec<String>,
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, old, new, ratio, quantity, .. } = self;
        let significant = |value: f64| match quantity {
            Quantity::Bytes => format!("{value:.0} bytes"),
            Quantity::Rate => format!("{}/s held", significant(value)),
            Quantity::SamplesPerSecond => format!("{} samples/s", significant(value)),
            Quantity::Ratio => significant(value),
        };
        match (old, ratio) {
            (Some(old), Some(ratio)) => {
                let change = (ratio - 1.0) * 100.0;
                write!(
                    formatter,
                    "{subject}: {} -> {} (x {ratio:.4}, {change:+.2} %)",
                    significant(*old),
                    significant(*new)
                )?;
                if self.beside.is_empty() { Ok(()) } else { write!(formatter, ", the old one of {}", self.beside) }
            }
            _ => write!(formatter, "{subject}: none -> {}", significant(*new)),
        }
    }
}

/// At least four significant digits.
pub(crate) fn significant(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.1}") } else { format!("{value:.4}") }
}

/// Throttle reasons as doubts: a card that holds its clocks down measures its cooling, not the program.
pub fn throttle_doubts(reasons: &[String]) -> Vec<String> {
    reasons.iter().map(|reason| format!("the GPU was throttled: {reason}")).collect()
}

/// Sets the level of `candidate.entry` within `series`, and says what accepting it changes.
///
/// A run that the rule calls `ok` or `warn` joins the current level: it is within what the level's noise explains.
/// One that would fail if confirmed, or is an improvement, opens the next.
///
/// # Errors
///
/// `Invalid` for a run or a series with a value that is not positive and finite.
pub fn plan(series: &Series, candidate: &mut Candidate, thresholds: &Thresholds) -> Result<Line> {
    let new = candidate.entry.value()?;
    let environment = &candidate.entry.environment;
    let reference = series.reference(environment, thresholds.known_after, candidate.assumed_noise)?;
    let beside = series.beside(environment);
    let level = series.level(environment).last().map_or(0, |entry| entry.level);
    let joins = match &reference {
        // A size has no noise to be told from: within the band it is the same level.
        Some(reference) if series.quantity == Quantity::Bytes => {
            let band = candidate.entry.artifact.as_ref().map_or(0.0, |artifact| thresholds.size_band(artifact.kind));
            (new / reference.value - 1.0).abs() <= band
        }
        Some(reference) => {
            // Both runs are this one: what would fail if confirmed is another level.
            let decision = decide(reference, &candidate.limits, candidate.batch, new, Some(new))?;
            matches!(decision, Decision::Ok | Decision::Warn)
        }
        None => false,
    };
    candidate.entry.level = if joins { level } else { level + 1 };
    candidate.entry.joins = joins && !beside.is_empty();
    let old = reference.map(|reference| reference.value);
    Ok(Line {
        subject: candidate.subject.clone(),
        old,
        new,
        ratio: old.map(|old| new / old),
        quantity: series.quantity,
        level: candidate.entry.level,
        beside,
        doubts: candidate.doubts.clone(),
    })
}

/// Whether all of `lines` may be stored.
///
/// # Errors
///
/// `Usage` for a blank reason: a baseline that nobody can explain legitimises any slowdown. `Invalid` for a run that
/// cannot be trusted, unless `force` is set.
pub fn permit(lines: &[Line], reason: &str, force: bool) -> Result<()> {
    if reason.trim().is_empty() {
        return Err(Error::usage("a baseline needs a reason").hint("say why with `--reason TEXT`"));
    }
    let doubts: Vec<String> = lines
        .iter()
        .flat_map(|line| line.doubts.iter().map(move |doubt| format!("{}: {doubt}", line.subject)))
        .collect();
    if doubts.is_empty() || force {
        return Ok(());
    }
    let mut error = Error::invalid("a run that cannot be trusted does not become a baseline")
        .hint("measure again on an idle, cool machine; `--force` accepts it all the same and records why not");
    error.causes = doubts;
    Err(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::error::ErrorKind;
    use crate::measure::baseline::Quantity;
    use crate::measure::baseline::tests::{CELL, entry};
    use crate::vocabulary::Library;

    fn candidate(value: f64, doubts: &[&str]) -> Candidate {
        Candidate {
            subject: CELL.to_owned(),
            batch: 32,
            limits: Limits::of_time(&Thresholds::embedded().unwrap(), Library::Onnxruntime),
            assumed_noise: 0.005,
            entry: entry(2, 1, value),
            doubts: doubts.iter().map(|doubt| (*doubt).to_owned()).collect(),
        }
    }

    fn series(values: &[f64]) -> Series {
        let mut series = Series::new(CELL, Quantity::SamplesPerSecond);
        series.entries = values.iter().map(|value| entry(2, 1, *value)).collect();
        series
    }

    #[rstest]
    #[case::first(&[], 100.0, 1, "onnxruntime/fp32/batch-32: none -> 100.0000 samples/s")]
    #[case::same(&[100.0], 100.5, 1, "onnxruntime/fp32/batch-32: 100.0000 samples/s -> 100.5000 samples/s (x 1.0050, +0.50 %)")]
    #[case::within_the_limit(&[100.0], 98.2, 1, "onnxruntime/fp32/batch-32: 100.0000 samples/s -> 98.2000 samples/s (x 0.9820, -1.80 %)")]
    #[case::slower(&[100.0], 50.0, 2, "onnxruntime/fp32/batch-32: 100.0000 samples/s -> 50.0000 samples/s (x 0.5000, -50.00 %)")]
    #[case::faster(&[2000.0], 4000.0, 2, "onnxruntime/fp32/batch-32: 2000.0 samples/s -> 4000.0 samples/s (x 2.0000, +100.00 %)")]
    fn lines_say_old_new_and_ratio(#[case] old: &[f64], #[case] new: f64, #[case] level: u32, #[case] expected: &str) {
        let mut candidate = candidate(new, &[]);
        let line = plan(&series(old), &mut candidate, &Thresholds::embedded().unwrap()).unwrap();
        assert_eq!(line.to_string(), expected);
        assert_eq!((line.level, candidate.entry.level), (level, level));
        assert!(permit(&[line], "a faster kernel", false).is_ok());
    }

    #[test]
    fn throttled_and_unstable_runs_are_refused_without_force() {
        let throttled = throttle_doubts(&["software thermal slowdown".to_owned()]);
        let mut candidate = candidate(100.0, &[&throttled[0], "unstable twice"]);
        let line = plan(&series(&[]), &mut candidate, &Thresholds::embedded().unwrap()).unwrap();
        let error = permit(std::slice::from_ref(&line), "nightly", false).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        insta::assert_snapshot!(error.causes.join("\n"), @r"
        onnxruntime/fp32/batch-32: the GPU was throttled: software thermal slowdown
        onnxruntime/fp32/batch-32: unstable twice
        ");
        assert!(permit(&[line], "nightly", true).is_ok());
    }

    #[test]
    fn a_reason_is_needed_even_with_force() {
        assert_eq!(permit(&[], "  ", true).unwrap_err().kind, ErrorKind::Usage);
    }

    #[test]
    fn a_run_that_is_no_number_is_refused() {
        let mut candidate = candidate(f64::NAN, &[]);
        assert!(plan(&series(&[100.0]), &mut candidate, &Thresholds::embedded().unwrap()).is_err());
    }
}

//! The rate that a cell holds, against what was accepted before.

use super::judge::{CONFIRM, Judged, Subject, UNSTABLE, damaged_verdict, empty_verdict, judge};
use super::{BenchCell, BenchContext};
use crate::error::{Error, Result};
use crate::findings::BaselineVerdict;
use crate::load::{Standing, Wanted};
use crate::measure::baseline::Quantity;
use crate::measure::bless::significant;
use crate::measure::environment::{Environment, device_name};
use crate::measure::rule::Limits;

/// What a cell held under load.
#[derive(Clone, Debug)]
pub struct LoadRun<'a> {
    /// The cell.
    pub cell: &'a BenchCell,
    /// What was wanted of it.
    pub wanted: &'a Wanted,
    /// What came of it.
    pub standing: &'a Standing,
    /// Queries a second that it held.
    pub rate: Option<f64>,
    /// The same of a second run, where the first was found too slow; none in it where that run held nothing.
    pub again: Option<Option<f64>>,
}

/// A rate with its verdict.
#[derive(Clone, Debug)]
pub struct LoadBench {
    /// The cell.
    pub cell: BenchCell,
    /// Queries a second; none where the rate was not held, or not measured.
    pub rate: Option<f64>,
    /// The verdict against the baseline.
    pub baseline: BaselineVerdict,
    pub(super) subject: Subject,
}

impl LoadBench {
    /// Whether a second run has to say the same before it is too slow.
    pub fn is_suspect(&self) -> bool {
        self.baseline.verdict == CONFIRM
    }
}

/// Judges a run by its baseline, where there is one. A baseline is of the cell, the scenario and its bound, not of the rate that was
/// offered: a stated rate that was held and is smaller than what was accepted before says nothing about that.
///
/// # Errors
/// `Invalid` for a rate that is no number.
pub fn judge_load(run: &LoadRun<'_>, context: &BenchContext<'_>) -> Result<LoadBench> {
    let subject = subject(run.cell, run.wanted, context);
    let baseline = match subject.series(context) {
        Err(error) => damaged_verdict(&error),
        Ok(series) => match run.rate {
            Some(rate) => {
                let again = run.again.map(Option::unwrap_or_default);
                let slow_again = again.is_some_and(|again| again <= 0.0);
                let judged =
                    Judged { repetitions: &[rate], confirming: again.filter(|again| *again > 0.0), waited_share: 0.0 };
                let verdict = judge(&subject, series.as_ref(), context.thresholds, &judged)?;
                let slower = matches!(verdict.verdict.as_str(), CONFIRM | "fail" | "warn");
                match verdict.baseline_samples_per_second {
                    Some(accepted) if slower && !run.wanted.is_searched() && *run.standing == Standing::Held => {
                        let detail = format!(
                            "no comparison: {}/s are held, and the baseline's {}/s were not offered",
                            significant(rate),
                            significant(accepted)
                        );
                        BaselineVerdict { detail, ..empty_verdict() }
                    }
                    _ if slow_again && verdict.verdict == CONFIRM => BaselineVerdict {
                        detail: format!("no verdict: {}; a second run was not measured", verdict.detail),
                        verdict: UNSTABLE.to_owned(),
                        ..verdict
                    },
                    _ => verdict,
                }
            }
            None => {
                let level = series.as_ref().map(|series| series.history(&subject.environment)).unwrap_or_default();
                let detail = match level.last() {
                    Some((date, accepted)) => {
                        format!("no comparison: nothing is held; {}/s were accepted on {date}", significant(*accepted))
                    }
                    None => "no baseline: no run was accepted yet".to_owned(),
                };
                BaselineVerdict { detail, history: level, ..empty_verdict() }
            }
        },
    };
    Ok(LoadBench { cell: run.cell.clone(), rate: run.rate, baseline, subject })
}

fn subject(cell: &BenchCell, wanted: &Wanted, context: &BenchContext<'_>) -> Subject {
    let library = cell.id.runtime.library;
    let device = device_name(context.machine, library);
    Subject {
        name: format!("{} {}", cell.id, wanted.scenario.as_str()),
        quantity: Quantity::Rate,
        library,
        runtime: cell.id.runtime.clone(),
        batch: 1,
        environment: Environment::of_load(&context.facts(cell), wanted),
        path: context.store.load_path(&device, context.model, &cell.id, wanted.scenario.as_str()),
        limits: Limits::of_load(context.thresholds),
    }
}

/// The error of a rate that cannot be accepted.
pub(super) fn unknown(load: &LoadBench) -> Error {
    Error::invalid(format!("`{}` held no rate, or it was not measured", load.subject.name))
        .hint("`trtgate bench` with the same arguments says why")
}

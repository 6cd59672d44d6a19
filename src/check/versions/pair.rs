//! Two versions' answers to the same samples.

use super::kept::{Terms, unpack};
use crate::check::apart::{Answers, widened};
use crate::check::comparison::{self, Comparison};
use crate::check::ladder::Ladder;
use crate::check::pair::OutputPair;
use crate::check::tasks::{self, Given, TaskLimits};
use crate::error::{Error, Result};
use crate::findings::versions::{AnswerSet, LargestDifference, OutputDifference, VersionPair};
use crate::manifest::tasks::OutputTask;
use crate::report::figures;
use crate::tensor::Tensor;
use crate::vocabulary::{CellId, Status, Task};

/// What one side of a pair answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    pub(super) cell: &'a CellId,
    /// Digest of all its answers.
    pub(super) digest: &'a str,
    pub(super) set: &'a AnswerSet,
}

/// The newer version held to the older one, by the limits that each has beside the reference.
pub(super) fn compare(terms: &Terms, ladder: &Ladder, older: Side<'_>, newer: Side<'_>) -> Result<VersionPair> {
    if older.set.asked != newer.set.asked || older.set.samples != newer.set.samples {
        return Err(Error::invalid("they were asked other samples"));
    }
    let kept = older.set.kept.min(newer.set.kept);
    if kept == 0 {
        let bytes = u64::try_from(older.set.sample_bytes).unwrap_or(u64::MAX);
        return Err(Error::invalid(format!("a sample's answers take {}, too many to be kept", figures::bytes(bytes))));
    }
    let (before, places) = unpack(older.set, kept)?;
    let (after, _) = unpack(newer.set, kept)?;
    let after = widened(after, &before);
    let before = widened(before, &after);
    let held = Held { terms, ladder, cell: newer.cell, before: &before, after: &after, places: &places };
    let outputs = held.outputs()?;
    let status = if outputs.iter().any(|output| output.status == Status::Fail) { Status::Fail } else { Status::Pass };
    let pair = VersionPair {
        older: older.cell.runtime.version_text().to_owned(),
        newer: newer.cell.runtime.version_text().to_owned(),
        status,
        detail: String::new(),
        equal: older.digest == newer.digest,
        samples: places.len(),
        of: older.set.samples,
        outputs,
    };
    Ok(VersionPair { detail: sentence(&pair), ..pair })
}

/// Why two versions were not compared.
pub(super) fn not_compared(older: &str, newer: &str, why: &str) -> VersionPair {
    VersionPair {
        older: older.to_owned(),
        newer: newer.to_owned(),
        status: Status::Unavailable,
        detail: why.to_owned(),
        equal: false,
        samples: 0,
        of: 0,
        outputs: Vec::new(),
    }
}

/// `3 answers differ, 3 of them near a tie; SQNR 51.3 dB`.
fn sentence(pair: &VersionPair) -> String {
    let part = match pair.samples == pair.of {
        true => String::new(),
        false => format!(" (of {} of {} samples, which are kept)", pair.samples, pair.of),
    };
    if pair.equal {
        return format!("equal bit by bit{part}");
    }
    let failing = pair.outputs.iter().find(|output| output.status != Status::Pass);
    if let Some(failing) = failing {
        return format!("{}{part}", failing.detail);
    }
    let (near, sure) = pair.changes();
    let noise = pair.worst().map_or_else(String::new, |worst| figures::decibels(worst.sqnr_db));
    let changes = match (near, sure) {
        (0, 0) => "the same answers".to_owned(),
        (near, 0) => format!("{near} answers differ, all near a tie"),
        (near, sure) => format!("{} answers differ, {near} of them near a tie", near + sure),
    };
    format!("{changes}; SQNR {noise}{part}")
}

/// Both sides, and what they are held by.
struct Held<'a> {
    terms: &'a Terms,
    ladder: &'a Ladder,
    /// The newer cell.
    cell: &'a CellId,
    before: &'a [Answers],
    after: &'a [Answers],
    /// Which samples they are.
    places: &'a [usize],
}

impl Held<'_> {
    fn outputs(&self) -> Result<Vec<OutputDifference>> {
        if self.terms.outputs.is_empty() {
            return Err(Error::input("the report does not say which outputs are compared"));
        }
        self.terms.outputs.iter().map(|compared| self.output(compared)).collect()
    }

    fn output(&self, compared: &super::kept::Compared) -> Result<OutputDifference> {
        let (name, task) = (&compared.name, compared.task.task());
        let mut found = match (&compared.task, &self.terms.natural) {
            (OutputTask::Classification(kind), Some(natural)) => {
                let (before, after) = (self.scores(self.before, name)?, self.scores(self.after, name)?);
                let pair = OutputPair::of_tensors(&before, &after, self.places.len())?;
                let mut row = self.ladder.row(self.cell.runtime.library, self.cell.precision)?.clone();
                row.limits = row.limits.of_few(self.places.len());
                let batch = Some(self.cell.batch);
                let terms = comparison::Terms { kind: *kind, row: &row, natural, confident_allowed: 0, batch };
                of_classifier(name, &comparison::compare(&pair, &terms)?)
            }
            _ => {
                let output = compared.gated();
                let named = output.named.get(&self.cell.precision);
                let id = self.cell;
                let limits = TaskLimits::of(self.ladder, id.runtime.library, id.precision, task, named)?;
                let samples = self.places.len();
                let found = tasks::judged(&Given {
                    output: &output,
                    reference: self.before,
                    actual: self.after,
                    samples,
                    batch: Some(id.batch),
                    limits: &limits,
                });
                OutputDifference {
                    output: name.clone(),
                    task,
                    status: found.status,
                    near_ties: found.borderline,
                    confident: found.confident,
                    sqnr_db: found.error.sqnr_db,
                    max_abs: found.error.max_abs,
                    largest: None,
                    detail: found.detail,
                }
            }
        };
        found.largest = self.largest(name, task);
        Ok(found)
    }

    fn answers<'b>(&self, side: &'b [Answers], name: &str) -> Result<&'b Answers> {
        let found = side.iter().find(|answers| answers.name() == name);
        found.ok_or_else(|| Error::input(format!("output `{name}` is not among the kept answers")))
    }

    fn scores(&self, side: &[Answers], name: &str) -> Result<Tensor> {
        match self.answers(side, name)? {
            Answers::Rows(tensor) => Ok(tensor.clone().into_float32()),
            Answers::Apart(_) => Err(Error::input(format!("output `{name}` has not one row of scores a sample"))),
        }
    }

    /// Where the values of an output are furthest apart; not of sets and sequences, whose rows have no place.
    fn largest(&self, name: &str, task: Task) -> Option<LargestDifference> {
        if matches!(task, Task::Boxes | Task::Tokens) {
            return None;
        }
        let before = self.answers(self.before, name).ok()?.samples().ok()?;
        let after = self.answers(self.after, name).ok()?.samples().ok()?;
        let mut most: Option<(f64, usize, usize, [f64; 2])> = None;
        for (sample, (one, other)) in before.iter().zip(after.iter()).enumerate() {
            if one.shape != other.shape {
                return None;
            }
            let mut place = 0;
            one.values.visit_beside(&other.values, |older, newer| {
                let apart = (older - newer).abs();
                if apart > most.as_ref().map_or(0.0, |most| most.0) {
                    most = Some((apart, sample, place, [older, newer]));
                }
                place += 1;
            });
        }
        let (_, sample, place, [older, newer]) = most?;
        let shape: Vec<usize> = before.get(sample)?.shape.iter().copied().filter(|&size| size != 1).collect();
        Some(LargestDifference { sample: *self.places.get(sample)?, place: indices(place, &shape), older, newer })
    }
}

/// The indices of element `place` of a tensor of `shape`, row-major.
fn indices(place: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = place;
    let step = |size: &usize| {
        let index = rest.checked_rem(*size).unwrap_or(0);
        rest = rest.checked_div(*size).unwrap_or(0);
        index
    };
    let mut indices: Vec<usize> = shape.iter().rev().map(step).collect();
    indices.reverse();
    indices
}

fn of_classifier(name: &str, found: &Comparison) -> OutputDifference {
    let agreement = &found.answers.agreement;
    let fault = found.fault();
    OutputDifference {
        output: name.to_owned(),
        task: Task::Classification,
        status: if fault.is_some() { Status::Fail } else { Status::Pass },
        near_ties: agreement.near_tie_flips,
        confident: agreement.confident_flips + agreement.impossible_flips,
        sqnr_db: found.metrics.error.sqnr_db,
        max_abs: found.metrics.error.max_abs,
        largest: None,
        detail: fault.unwrap_or_else(|| found.leads.sentence()),
    }
}

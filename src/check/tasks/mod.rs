//! Outputs judged by what they are for: one comparator a task, each a pure function of the reference's tensors and a cell's.
//!
//! | file             | the same answer means                                                         |
//! |------------------|-------------------------------------------------------------------------------|
//! | `classification` | the leads of the reference's answers, as the rule has it                       |
//! | `scores`         | the same of every score by itself, over its distance from one half             |
//! | `embedding`      | direction and length of each vector, the cosines between samples, neighbours   |
//! | `map`            | the class of each place, the overlap of each class, the noise of the scores    |
//! | `boxes`          | the same set of boxes, in any order, classes and scores with them              |
//! | `tokens`         | the same sequences; of scores a step, the leads too                            |
//! | `labelled`       | what answers are worth by labels, a figure a task                             |
//!
//! An answer that changed where the reference was not sure of it (near a tie, near a threshold) is *borderline*, counted and no
//! fault by itself; one that it was sure of is *confident*. Where the reference itself answers every sample alike, nothing was
//! judged, and that is no pass.

mod boxes;
mod classification;
mod embedding;
pub mod labelled;
mod limits;
mod map;
mod rows;
mod scores;
mod shown;
mod tokens;

pub use limits::TaskLimits;

use crate::check::apart::{Answers, Beside, beside};
use crate::check::metrics::{self, Tolerance};
use crate::check::pair::OutputPair;
use crate::check::values::{self, ValuesFinding, place};
use crate::error::{Error, Result};
use crate::findings::shown::Shown;
use crate::findings::{CheckResult, ErrorMetrics, OutputFigure, OutputFinding};
use crate::manifest::interface::GatedOutput;
use crate::manifest::tasks::OutputTask;
use crate::tensor::Tensor;
use crate::vocabulary::Status;

/// One output of a cell beside the reference's, with what is read beside it.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The output and its task.
    pub output: &'a GatedOutput,
    /// The reference's outputs, by name.
    pub reference: &'a [Answers],
    /// The cell's outputs, by name.
    pub actual: &'a [Answers],
    /// Samples that were fed.
    pub samples: usize,
    /// Samples in one call, where it is known.
    pub batch: Option<u32>,
    /// What is allowed.
    pub limits: &'a TaskLimits,
}

/// What a comparator found: the finding without what all share.
#[derive(Clone, Debug, Default, PartialEq)]
struct Found {
    /// What is wrong, in a sentence; `None` where nothing is.
    fault: Option<String>,
    /// What was compared, in a sentence.
    compared: String,
    /// The figures by the names of their limits.
    figures: Vec<(&'static str, f64)>,
    borderline: usize,
    confident: usize,
    error: ErrorMetrics,
    /// What a person looks at.
    shown: Option<Shown>,
}

/// Judges one output by its task.
///
/// # Errors
/// `Invalid` where nothing can be judged: the reference has not one row a sample, is not finite, does not fit the task, or
/// answers every sample alike.
pub fn judge(given: &Given<'_>) -> Result<OutputFinding> {
    let (name, task) = (&given.output.name, given.output.task.task());
    let found = compare(given)?;
    let (status, detail) = match found.fault {
        Some(fault) => (Status::Fail, format!("output `{name}`: {fault}")),
        None => (Status::Pass, format!("output `{name}`: {}", found.compared)),
    };
    let figures = found.figures.into_iter().map(|(limit, value)| OutputFigure {
        name: limit.to_owned(),
        value,
        limit: given.limits.get(limit),
        named: given.limits.is_named(limit),
    });
    Ok(OutputFinding {
        output: name.clone(),
        task,
        status,
        detail,
        figures: figures.collect(),
        borderline: found.borderline,
        confident: found.confident,
        error: found.error,
        shown: found.shown,
    })
}

/// As [`judge`], with an output that nothing can be judged by as a finding.
pub fn judged(given: &Given<'_>) -> OutputFinding {
    judge(given).unwrap_or_else(|error| {
        let hint = error.hint.map_or_else(String::new, |hint| format!(" ({hint})"));
        OutputFinding {
            output: given.output.name.clone(),
            task: given.output.task.task(),
            status: Status::Invalid,
            detail: format!("output `{}`: {}{hint}", given.output.name, error.message),
            figures: Vec::new(),
            borderline: 0,
            confident: 0,
            error: ErrorMetrics::default(),
            shown: None,
        }
    })
}

fn compare(given: &Given<'_>) -> Result<Found> {
    match &given.output.task {
        OutputTask::Values => {
            let (reference, actual) = given.sides(&given.output.name)?;
            let pair = match beside(reference, actual) {
                Ok(pair) => pair,
                Err(fault) => return Ok(Found::broken(fault)),
            };
            if pair.reference.element_type().is_float() && !pair.reference.values.any(f64::is_finite) {
                return Err(Error::invalid("the reference answers with no number, so that nothing is judged by it"));
            }
            let mut found = values::compare(&pair.reference, &pair.actual, given.samples, given.limits.values())?;
            found.elements -= pair.filled.min(found.elements);
            Ok(of_values(&found))
        }
        OutputTask::Classification(kind) => classification::compare(given, *kind),
        OutputTask::Scores(kind) => scores::compare(given, *kind),
        OutputTask::Embedding => embedding::compare(given),
        OutputTask::Map(map) => map::compare(given, map),
        OutputTask::Boxes(boxes) => boxes::compare(given, boxes),
        OutputTask::Tokens(tokens) => tokens::compare(given, tokens),
    }
}

/// The comparison of values as a task's.
fn of_values(found: &ValuesFinding) -> Found {
    Found {
        fault: found.fault.clone(),
        compared: found.summary(),
        figures: vec![("sqnr-db", found.sqnr_db)],
        error: found.metrics(),
        ..Found::default()
    }
}

impl<'a> Given<'a> {
    /// Both sides' output called `name`.
    fn sides(&self, name: &str) -> Result<(&'a Answers, &'a Answers)> {
        let of = |answers: &'a [Answers], whose: &str| {
            let found = answers.iter().find(|one| one.name() == name);
            found.ok_or_else(|| Error::invalid(format!("output `{name}` of {whose} is missing")))
        };
        Ok((of(self.reference, "the reference")?, of(self.actual, "the cell")?))
    }

    /// Both sides of the output itself, held to one row a sample and, of the cell, to type and shape of the reference: what is
    /// wrong with it is a fault.
    ///
    /// # Errors
    /// `Invalid` where the reference has not one row a sample.
    fn comparable(&self) -> Result<Result<Beside<'a>, String>> {
        let (reference, actual) = self.sides(&self.output.name)?;
        let pair = match beside(reference, actual) {
            Ok(pair) => pair,
            Err(fault) => return Ok(Err(fault)),
        };
        let (reference, actual) = (&pair.reference, &pair.actual);
        if self.samples == 0 || reference.batch() != self.samples || reference.values.is_empty() {
            return Err(Error::invalid(format!(
                "the reference has shape {:?}, not one row for each of {} samples",
                reference.shape, self.samples
            )));
        }
        Ok(if reference.element_type() != actual.element_type() {
            Err(format!("it is {}, the reference has {}", actual.element_type(), reference.element_type()))
        } else if reference.shape != actual.shape {
            Err(format!("it has shape {:?}, the reference has {:?}", actual.shape, reference.shape))
        } else {
            Ok(pair)
        })
    }
}

impl Found {
    /// A fault before any figure.
    fn broken(fault: String) -> Self {
        let endless = f64::INFINITY;
        let error = ErrorMetrics { max_abs: endless, mean_abs: endless, p99_abs: endless, ..ErrorMetrics::default() };
        Self { fault: Some(fault), error: ErrorMetrics { sqnr_db: f64::NEG_INFINITY, ..error }, ..Self::default() }
    }

    /// The same with a fault, unless there is one.
    fn or(mut self, fault: Option<String>) -> Self {
        self.fault = self.fault.or(fault);
        self
    }
}

/// The finding of a cell that has no number where the reference has one; none where both sides can be judged.
///
/// # Errors
/// `Invalid` where nothing can be judged: the reference is not finite, or answers every sample alike.
fn broken(reference: &Tensor, actual: &Tensor, samples: usize) -> Result<Option<Found>> {
    if reference.element_type().is_float()
        && let Some(fault) = finite(reference, actual)?
    {
        return Ok(Some(Found::broken(fault)));
    }
    if is_still(reference) { Err(still(samples)) } else { Ok(None) }
}

/// What is not finite in `actual` though the reference, which is, has a number there: the fault.
///
/// # Errors
/// `Invalid` where the reference is not finite: by such values nothing is judged.
fn finite(reference: &Tensor, actual: &Tensor) -> Result<Option<String>> {
    if let Some(index) = reference.floats().iter().position(|value| !value.is_finite()) {
        return Err(Error::invalid(format!("the reference is not finite in {}", place(reference, index)))
            .hint("`task = \"values\"` compares what is no number by its place"));
    }
    let values = actual.floats();
    let count = values.iter().filter(|value| !value.is_finite()).count();
    let first = values.iter().position(|value| !value.is_finite());
    Ok(first.map(|index| {
        let value = values.get(index).copied().unwrap_or(f32::NAN);
        let verb = if count == 1 { "value is" } else { "values are" };
        format!("{count} {verb} not finite: {} is {value}", place(actual, index))
    }))
}

/// How far the numbers of two sides are from each other, as figures; both are finite.
fn distance(reference: &Tensor, actual: &Tensor, samples: usize) -> Result<ErrorMetrics> {
    let (before, after) = (reference.floats(), actual.floats());
    let pair = OutputPair::new(&before, &after, samples, before.len().checked_div(samples).unwrap_or(0))?;
    Ok(metrics::measure(&pair, Tolerance { absolute: 0.0, relative: 0.0 }).error)
}

/// Whether the reference answers all of several samples alike, to the last bit.
fn is_still(reference: &Tensor) -> bool {
    let (rows, length) = (reference.batch(), reference.row_len());
    let part = |row: usize| reference.values.part(row * length, (row + 1) * length);
    let first = part(0);
    rows > 1 && (1..rows).all(|row| part(row) == first)
}

/// Whether the reference answers all of several samples alike in every one of its outputs, which then say nothing of the input.
pub fn all_still(reference: &[Answers]) -> bool {
    let still = |answers: &Answers| match answers {
        Answers::Rows(tensor) => is_still(tensor),
        Answers::Apart(parts) => {
            let first = parts.first().map(|part| (&part.shape, &part.values));
            parts.len() > 1 && parts.iter().all(|part| Some((&part.shape, &part.values)) == first)
        }
    };
    !reference.is_empty() && reference.iter().all(still)
}

/// That nothing was judged, since the reference answers every sample alike.
fn still(samples: usize) -> Error {
    Error::invalid(format!("the reference answers all {samples} samples alike: nothing was judged"))
        .hint("feed samples that it tells apart: `values` of `[[input]]`, or `from = \"samples.npz\"`")
}

/// The finding as a check of a report, which decides.
pub fn check(found: &OutputFinding) -> CheckResult {
    CheckResult { name: found.task.to_string(), status: found.status, gating: true, detail: found.detail.clone() }
}

#[cfg(test)]
mod tests;

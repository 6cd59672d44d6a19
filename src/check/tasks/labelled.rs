//! What an output's answers are worth by people's labels: one figure a task, from 0 to 1, the higher the better.
//!
//! | task | labels | figure |
//! |---|---|---|
//! | `classification`, `scores` | `[N]` whole numbers | top-1: share of samples whose largest score is the label's |
//! | `map` | `[N, …]` whole numbers, a class a place | mIoU: mean over classes of places in both over places in either (J. Long, E. Shelhamer, T. Darrell, CVPR 2015), over all samples; classes in neither are left out |
//! | `boxes` | `[N, M, 5]`: left, top, right, bottom, class | mAP as COCO has it ([`super::boxes::precision`]) |
//! | `tokens` | `[N, M]` whole numbers | 1 − CER: edits for each label's token, over all samples (V. I. Levenshtein, 1966) |
//!
//! Whole numbers below zero are no labels: a place that is not looked at, the padding behind a sequence, a row without a box.
//! How much a figure may fall is said in points of it, as for accuracy; of counts one sample at least.

use super::rows::along;
use super::{boxes, map, tokens};
use crate::check::accuracy::allowed_drop;
use crate::check::agreement::answer;
use crate::check::apart::Answers;
use crate::check::labels::{self, Finding, Tally};
use crate::check::ladder::Check;
use crate::error::{Error, Result};
use crate::findings::CheckResult;
use crate::findings::verdict::{boxes, plural};
use crate::manifest::AccuracyLimits;
use crate::manifest::interface::GatedOutput;
use crate::manifest::tasks::OutputTask;
use crate::tensor::Tensor;
use crate::vocabulary::Status;

/// An output's answers by its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The figure.
    pub value: f64,
    /// Its name and unit, for people: `mIoU`.
    pub name: &'static str,
    /// What was labelled, for people: `64 samples`.
    pub of: String,
    /// Samples, where the figure is a count of them.
    counted: Option<usize>,
    /// Why the labels are not taken for the model's, where they are not.
    pub refused: Option<String>,
}

/// What the answers of `output`, among `all` that were read, are worth by `truth`, its labels.
///
/// # Errors
/// `Input`, where labels do not fit the output; `Failed`, where answers do not fit its task or are no numbers.
pub fn score(output: &GatedOutput, all: &[Answers], truth: &Tensor) -> Result<Scored> {
    let samples = truth.batch();
    let answers = all.iter().find(|answers| answers.name() == output.name);
    let answers = answers.ok_or_else(|| Error::failed(format!("output `{}` is missing", output.name)))?;
    if let OutputTask::Boxes(task) = &output.task {
        let (value, count) = boxes::precision::average(answers, all, task, truth)?;
        let of = format!("{} of {}", boxes(count), plural(samples, "sample"));
        return Ok(Scored { value, name: "mAP", of, counted: None, refused: None });
    }
    let Answers::Rows(rows) = answers else {
        return Err(Error::failed("its answers have not one shape, and labels one for each of them"));
    };
    if rows.batch() != samples {
        return Err(Error::failed(format!("{} samples were answered, {samples} were asked", rows.batch())));
    }
    if rows.element_type().is_float() && rows.values.to_f64().iter().any(|value| !value.is_finite()) {
        return Err(Error::failed("the answers to labelled samples are not all finite"));
    }
    match &output.task {
        OutputTask::Classification(_) | OutputTask::Scores(_) => top_one(rows, truth),
        OutputTask::Map(task) => overlap(&map::classes(task, rows)?, truth),
        OutputTask::Tokens(task) => {
            let said = tokens::sequences(task, rows)?;
            errors(&said, truth, task.end)
        }
        OutputTask::Values | OutputTask::Embedding | OutputTask::Boxes(_) => {
            Err(Error::input(format!("labels say nothing of the task `{}`", output.task.task())))
        }
    }
}

/// Labels as whole numbers.
fn whole(truth: &Tensor) -> Result<Vec<i64>> {
    let values = truth.values.to_f64();
    if truth.element_type().is_float() && values.iter().any(|value| value.fract() != 0.0) {
        return Err(Error::input("labels are whole numbers"));
    }
    Ok(values.into_iter().map(|value| value as i64).collect())
}

fn top_one(rows: &Tensor, truth: &Tensor) -> Result<Scored> {
    let (samples, classes) = (truth.batch(), rows.row_len());
    let labels = whole(truth)?;
    if labels.len() != samples || rows.shape.len() != 2 {
        return Err(Error::input(format!(
            "labels have shape {:?} and answers {:?}: one label a sample is asked, of scores [N, classes]",
            truth.shape, rows.shape
        )));
    }
    let mut tally = Tally::default();
    let scores = rows.floats();
    for ((sample, label), scores) in labels.iter().enumerate().zip(scores.chunks_exact(classes.max(1))) {
        let label = u32::try_from(*label).ok().filter(|label| (*label as usize) < classes).ok_or_else(|| {
            Error::input(format!("label {label} of sample {sample} is none of {classes} classes, from 0 on"))
        })?;
        tally.add(label, u32::try_from(answer(scores)).unwrap_or(u32::MAX));
    }
    let refused = match labels::examine(&tally, classes, &[]) {
        Finding::Refused(refusal) => Some(format!("{}; {}", refusal.message, refusal.hint)),
        Finding::Suspicious(_) | Finding::Fitting => None,
    };
    Ok(Scored {
        value: tally.correct() as f64 / samples.max(1) as f64,
        name: "top-1",
        of: plural(samples, "sample"),
        counted: Some(samples),
        refused,
    })
}

/// Mean overlap of the classes of all places.
fn overlap(classes: &[i64], truth: &Tensor) -> Result<Scored> {
    let labels = whole(truth)?;
    if labels.len() != classes.len() {
        return Err(Error::input(format!(
            "labels have shape {:?}, {} places, and the answers {}",
            truth.shape,
            labels.len(),
            classes.len()
        )));
    }
    // Of each class: places that have it in both, in the labels, in the answers.
    let mut counts: std::collections::BTreeMap<i64, [usize; 3]> = std::collections::BTreeMap::new();
    let mut places = 0;
    for (label, class) in labels.iter().zip(classes).filter(|(label, _)| **label >= 0) {
        places += 1;
        if label == class {
            counts.entry(*label).or_default()[0] += 1;
        }
        counts.entry(*label).or_default()[1] += 1;
        counts.entry(*class).or_default()[2] += 1;
    }
    if places == 0 {
        return Err(Error::input("no place has a label"));
    }
    let overlaps = counts.values().map(|[both, before, after]| *both as f64 / (before + after - both).max(1) as f64);
    let value = overlaps.sum::<f64>() / counts.len().max(1) as f64;
    let of = format!("{} of {}", plural(places, "place"), plural(truth.batch(), "sample"));
    Ok(Scored { value, name: "mIoU", of, counted: None, refused: None })
}

/// How few edits there are between what is said and what is labelled.
fn errors(said: &[Vec<i64>], truth: &Tensor, end: Option<i64>) -> Result<Scored> {
    let (labels, width) = (whole(truth)?, truth.row_len());
    if truth.shape.len() != 2 || width == 0 {
        return Err(Error::input(format!("labels have shape {:?}, and tokens have [N, tokens]", truth.shape)));
    }
    let (mut edits, mut tokens) = (0, 0);
    for (said, label) in said.iter().zip(labels.chunks_exact(width)) {
        let length = label.iter().position(|&token| token < 0 || Some(token) == end).unwrap_or(width);
        let label = label.get(..length).unwrap_or(label);
        tokens += label.len();
        edits += strsim::generic_levenshtein(&said.to_vec(), &label.to_vec());
    }
    if tokens == 0 {
        return Err(Error::input("no sample has a labelled token"));
    }
    let of = format!("{} of {}", plural(tokens, "token"), plural(said.len(), "sample"));
    Ok(Scored { value: 1.0 - edits as f64 / tokens as f64, name: "1 − CER", of, counted: None, refused: None })
}

/// The classes along `axis` of every place, each the largest score's.
pub(super) fn largest(rows: &Tensor, axis: usize) -> Result<Vec<i64>> {
    let (scores, classes) = along(rows, axis)
        .filter(|(_, classes)| *classes > 0)
        .ok_or_else(|| Error::failed(format!("it has shape {:?}, and no classes along axis {axis}", rows.shape)))?;
    Ok(scores.chunks_exact(classes).map(|row| answer(row) as i64).collect())
}

/// What a cell's figure may lose where the manifest says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MayLose {
    /// Percentage points, by the precision.
    pub points: f64,
    /// Share of a figure that is no count which rounding alone may cost.
    pub rounding: f64,
}

/// The check of a cell: its figure beside the reference's and its limits.
pub fn judge(name: &str, cell: &Scored, reference: &Scored, limits: &AccuracyLimits, ladder: MayLose) -> CheckResult {
    let allowed = match limits.drop {
        Some(drop) => allowed_loss(cell.counted, 100.0 * drop),
        None if cell.counted.is_some() => allowed_loss(cell.counted, ladder.points),
        None => allowed_loss(None, ladder.points).max(ladder.rounding),
    };
    let lost = reference.value - cell.value;
    let mut detail = format!("output `{name}`: {}, the reference's {}", words(cell), shown(reference.value));
    let mut status = Status::Pass;
    if let Some(refused) = &reference.refused {
        detail.push_str(&format!("; the labels are refused: {refused}"));
        status = Status::Invalid;
    } else if reference.value.is_nan() || reference.value <= 0.0 {
        detail.push_str(": the reference is right nowhere, so that these are not its labels");
        status = Status::Invalid;
    }
    // What is no number fails.
    if lost.is_nan() || lost > allowed + 1e-9 {
        detail.push_str(&format!(": {:.2} points less, {:.2} allowed", 100.0 * lost, 100.0 * allowed));
        status = Status::Fail;
    }
    check(floor(cell, limits, &mut detail).unwrap_or(status), detail)
}

/// The figure that a golden keeps of an output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Before {
    /// The figure.
    pub value: f64,
    /// Whether it is the same one, of the same samples and labels.
    pub same_data: bool,
}

/// The rule of the reference itself: its figure, the floor, and what the golden keeps of it.
pub fn judge_reference(name: &str, reference: &Scored, limits: &AccuracyLimits, before: Option<Before>) -> CheckResult {
    let mut detail = format!("output `{name}`: the reference's {}", words(reference));
    let mut status = Status::Pass;
    match before {
        Some(Before { value, same_data: true }) => {
            let lost = value - reference.value;
            detail.push_str(&format!("; the golden's was {}", shown(value)));
            if let Some(drop) = limits.drop {
                let allowed = allowed_loss(reference.counted, 100.0 * drop);
                detail.push_str(&format!(": {:.2} points less, {:.2} allowed", 100.0 * lost.max(0.0), 100.0 * allowed));
                // What is no number fails.
                if lost.is_nan() || lost > allowed + 1e-9 {
                    status = Status::Fail;
                }
            }
        }
        // Two figures of different samples say nothing of a loss, and `drop` asks for one.
        Some(Before { value, same_data: false }) => {
            let kept = shown(value);
            detail.push_str(&format!("; the golden's was {kept} of other labelled data, and is not compared"));
            if limits.drop.is_some() {
                detail.push_str(": `trtgate bless --data` stores that of these samples");
                status = Status::Invalid;
            }
        }
        None => {}
    }
    if let Some(refused) = &reference.refused {
        detail.push_str(&format!("; the labels are refused: {refused}"));
        status = if status == Status::Pass { Status::Invalid } else { status };
    }
    check(floor(reference, limits, &mut detail).unwrap_or(status), detail)
}

/// How much of a figure may be lost where `points` are allowed: of one that counts samples one at least, unless none is allowed.
fn allowed_loss(counted: Option<usize>, points: f64) -> f64 {
    match counted {
        Some(samples) => allowed_drop(points, samples) as f64 / samples.max(1) as f64,
        None => points / 100.0,
    }
}

/// The check of labels, as it ended.
pub(crate) fn check(status: Status, detail: String) -> CheckResult {
    CheckResult { name: Check::Accuracy.as_str().to_owned(), status, gating: true, detail }
}

fn floor(found: &Scored, limits: &AccuracyLimits, detail: &mut String) -> Option<Status> {
    let floor = limits.floor?;
    let keeps = found.value >= floor - 1e-9;
    let word = if keeps { "floor" } else { "below the floor of" };
    detail.push_str(&format!("; {word} {}", shown(floor)));
    (!keeps).then_some(Status::Fail)
}

fn words(found: &Scored) -> String {
    format!("{} {} over {}", found.name, shown(found.value), found.of)
}

fn shown(value: f64) -> String {
    format!("{value:.4}")
}

#[cfg(test)]
mod tests;

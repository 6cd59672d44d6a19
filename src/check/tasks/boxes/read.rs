//! Boxes out of tensors: rows of an output, with scores, classes and a count beside them or in the rows.

use std::borrow::Cow;

use crate::check::apart::Answers;
use crate::error::{Error, Result};
use crate::manifest::tasks::{BoxFormat, BoxesTask, Companion};
use crate::tensor::Tensor;

/// Most boxes of a sample: more than any suppression leaves, and a second's work.
const MOST: usize = 1000;

/// One box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Detection {
    /// Left, top, right, bottom.
    pub(super) corners: [f64; 4],
    /// 1 where the model gives none.
    pub(super) score: f64,
    pub(super) class: i64,
    /// How far the score is ahead of that of the next class; endless where the model gives none.
    pub(super) margin: f64,
    /// Its row in the output.
    pub(super) row: usize,
}

/// The boxes of one sample, and whether all rows were taken, so that others may have been cut off.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Set {
    pub(super) boxes: Vec<Detection>,
    pub(super) full: bool,
}

impl Detection {
    pub(super) fn area(&self) -> f64 {
        let [left, top, right, bottom] = self.corners;
        (right - left).max(0.0) * (bottom - top).max(0.0)
    }

    /// Intersection over union; two boxes without area are the same where their corners are.
    pub(super) fn overlap(&self, other: &Self) -> f64 {
        let ([a, b, c, d], [e, f, g, h]) = (self.corners, other.corners);
        let inside = (c.min(g) - a.max(e)).max(0.0) * (d.min(h) - b.max(f)).max(0.0);
        let either = self.area() + other.area() - inside;
        if either > 0.0 { inside / either } else { f64::from(u8::from(self.corners == other.corners)) }
    }

    /// How far each corner is from another box's.
    pub(super) fn shifts(&self, other: &Self) -> [f64; 4] {
        let ([a, b, c, d], [e, f, g, h]) = (self.corners, other.corners);
        [e - a, f - b, g - c, h - d]
    }
}

/// What is wrong with a side.
pub(super) enum Flaw {
    /// It does not fit the manifest: of the reference nothing can be judged.
    Shape(String),
    /// A box that counts holds what is no number.
    Number(String),
}

/// The boxes of every sample on one side.
pub(super) fn sets(output: &Answers, all: &[Answers], task: &BoxesTask, samples: usize) -> Result<Vec<Set>, Flaw> {
    let parts = parts(output, samples)?;
    let beside = |companion: &Option<Companion>| match companion {
        Some(Companion::Column(column)) => Ok(Some(Beside::Own(*column))),
        Some(Companion::Output(name)) => Ok(Some(Beside::Other(self::parts(named(all, name)?, samples)?))),
        None => Ok(None),
    };
    let (scores, labels) = (beside(&task.scores)?, beside(&task.labels)?);
    let counts = task.count.as_ref().map(|name| counts(named(all, name)?, name, samples)).transpose()?;
    let mut sets = Vec::with_capacity(samples);
    for (sample, part) in parts.iter().enumerate() {
        let width = part.shape.last().copied().unwrap_or(0);
        if width < task.column + 4 {
            return Err(Flaw::Shape(format!(
                "it has shape {:?} a sample, not rows of {} numbers and more",
                part.shape,
                task.column + 4
            )));
        }
        let rows = part.values.len() / width;
        let (scores, labels) = (numbers(&scores, sample, rows, width)?, numbers(&labels, sample, rows, width)?);
        let valid = counts.as_ref().and_then(|counts| counts.get(sample)).copied().unwrap_or(rows);
        if valid > rows {
            return Err(Flaw::Number(format!("the count of sample {sample} is {valid}, and it has {rows} rows")));
        }
        let mut set = Set { boxes: Vec::new(), full: false };
        for (row, own) in part.values.to_f64().chunks_exact(width).take(valid).enumerate() {
            let (score, best, margin) = scores.as_ref().map_or((1.0, 0, f64::INFINITY), |scores| scores.of(own, row));
            let class = labels.as_ref().map_or(best as f64, |labels| labels.of(own, row).0);
            let place = || format!("sample {sample}, row {row}");
            if score.is_nan() || class.is_nan() {
                return Err(Flaw::Number(format!("the score or class of {} is NaN", place())));
            }
            // Padding has a score of zero or a class below zero.
            if task.scores.is_some() && score < task.threshold || class < 0.0 {
                continue;
            }
            let four = own.get(task.column..task.column + 4).unwrap_or_default();
            let Some(corners) = corners(four, task.format).filter(|_| score.is_finite()) else {
                return Err(Flaw::Number(format!("the box of {} is not finite: {four:?}, score {score}", place())));
            };
            set.boxes.push(Detection { corners, score, class: class as i64, margin, row });
        }
        if set.boxes.len() > MOST {
            return Err(Flaw::Shape(format!(
                "sample {sample} has {} boxes, and no more than {MOST} are matched: a higher `threshold`, or `task = \"values\"` for a raw head",
                set.boxes.len()
            )));
        }
        set.full = rows > 0 && set.boxes.len() == rows;
        sets.push(set);
    }
    Ok(sets)
}

/// The answers to each of `samples`.
fn parts(answers: &Answers, samples: usize) -> Result<Cow<'_, [Tensor]>, Flaw> {
    let parts = answers.samples().map_err(|error| Flaw::Shape(error.message))?;
    if parts.len() == samples {
        return Ok(parts);
    }
    Err(Flaw::Shape(format!("`{}` answers {} samples, {samples} were asked", answers.name(), parts.len())))
}

/// The corners of four numbers; `None` where one is not finite.
fn corners(four: &[f64], format: BoxFormat) -> Option<[f64; 4]> {
    let &[a, b, c, d] = four else { return None };
    let corners = match format {
        BoxFormat::Xyxy => [a, b, c, d],
        BoxFormat::Yxyx => [b, a, d, c],
        BoxFormat::Xywh => [a, b, a + c, b + d],
        BoxFormat::Cxcywh => [a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0],
    };
    corners.iter().all(|value| value.is_finite()).then_some(corners)
}

/// Where a number of each row comes from.
enum Beside<'a> {
    /// A column of the row itself.
    Own(usize),
    /// Another output.
    Other(Cow<'a, [Tensor]>),
}

/// The numbers beside the rows of one sample.
enum Numbers {
    /// A column of the row itself.
    Own(usize),
    /// Of another output, with so many numbers a row: the largest counts, and its place.
    Other(Vec<f64>, usize),
}

impl Numbers {
    /// The number of a row, its place, and how far it is ahead of the next.
    fn of(&self, own: &[f64], row: usize) -> (f64, usize, f64) {
        match self {
            Self::Own(column) => (own.get(*column).copied().unwrap_or(f64::NAN), 0, f64::INFINITY),
            Self::Other(values, each) => {
                let found = values.get(row * each..(row + 1) * each).unwrap_or_default();
                if found.is_empty() || found.iter().any(|value| value.is_nan()) {
                    return (f64::NAN, 0, f64::INFINITY);
                }
                let largest =
                    |best: (f64, usize), one: (usize, &f64)| if *one.1 > best.0 { (*one.1, one.0) } else { best };
                let (best, place) = found.iter().enumerate().fold((f64::NEG_INFINITY, 0), largest);
                let others = found.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, value)| *value);
                (best, place, best - others.fold(f64::NEG_INFINITY, f64::max))
            }
        }
    }
}

fn numbers(beside: &Option<Beside<'_>>, sample: usize, rows: usize, width: usize) -> Result<Option<Numbers>, Flaw> {
    match beside {
        None => Ok(None),
        Some(Beside::Own(column)) if *column >= width => {
            Err(Flaw::Shape(format!("its rows have {width} numbers, no column {column}")))
        }
        Some(Beside::Own(column)) => Ok(Some(Numbers::Own(*column))),
        Some(Beside::Other(parts)) => {
            let Some(part) = parts.get(sample) else { return Ok(Some(Numbers::Other(Vec::new(), 1))) };
            let values = part.values.to_f64();
            match (rows, values.len()) {
                (0, 0) => Ok(Some(Numbers::Other(values, 1))),
                (1.., count) if count >= rows && count.is_multiple_of(rows) => {
                    Ok(Some(Numbers::Other(values, count / rows)))
                }
                _ => Err(Flaw::Shape(format!(
                    "`{}` has shape {:?} in sample {sample}, not numbers for each of {rows} rows",
                    part.name, part.shape
                ))),
            }
        }
    }
}

fn named<'a>(all: &'a [Answers], name: &str) -> Result<&'a Answers, Flaw> {
    all.iter().find(|one| one.name() == name).ok_or_else(|| Flaw::Shape(format!("output `{name}` is missing")))
}

/// How many rows of each sample are there.
fn counts(answers: &Answers, name: &str, samples: usize) -> Result<Vec<usize>, Flaw> {
    let count = |part: &Tensor| match part.values.to_f64().as_slice() {
        // A count that is none would hide boxes.
        &[count] if count >= 0.0 && count.is_finite() => Ok(count as usize),
        [count] => Err(Flaw::Number(format!("`{name}` holds {count}, no count"))),
        _ => Err(Flaw::Shape(format!("`{name}` has shape {:?} a sample, not one count", part.shape))),
    };
    parts(answers, samples)?.iter().map(count).collect()
}

impl Flaw {
    /// Of the reference: nothing can be judged by it.
    pub(super) fn of_reference(self) -> Error {
        match self {
            Self::Shape(words) => Error::invalid(words)
                .hint("check `column`, `scores`, `labels` and `count` in its `[[output]]` against the model's outputs"),
            Self::Number(words) => Error::invalid(format!("of the reference {words}")),
        }
    }

    /// Of the cell: a fault.
    pub(super) fn of_cell(self) -> String {
        match self {
            Self::Shape(words) | Self::Number(words) => words,
        }
    }
}

//! What `[[output]]` says of its task: what the same answer means for the output, and the limits that are not the ladder's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::OutputKind;
use super::interface::RawBatchAxis;
use super::raw::RawAccuracy;
use super::read::Source;
use crate::error::{Error, Result};
use crate::vocabulary::{Precision, Task};

/// Score below which a row is no box, where the manifest says no other.
const THRESHOLD: f64 = 0.05;

/// What the same answer means for an output, with what its comparison has to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OutputTask {
    /// Element by element.
    Values,
    /// One class a sample: `[N, classes]`.
    Classification(OutputKind),
    /// Independent scores, each about a half of its own; without a kind they are probabilities where all lie in 0 to 1.
    Scores(Option<OutputKind>),
    /// Vectors along the last dimension, compared by direction and length.
    Embedding,
    /// One class a place: scores of classes along an axis, one score a place, or the classes as whole numbers.
    Map(MapTask),
    /// Boxes with scores and classes, as a set.
    Boxes(Box<BoxesTask>),
    /// Sequences of whole numbers, or scores of classes a step.
    Tokens(TokensTask),
}

/// How a map is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapTask {
    /// What the scores are.
    pub kind: OutputKind,
    /// The axis of the classes, the batch being 0.
    pub axis: usize,
}

/// How boxes are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoxesTask {
    /// What the four numbers of a box are.
    pub format: BoxFormat,
    /// Column of the first of the four numbers in a row.
    pub column: usize,
    /// Where scores stand; without them every row is a box.
    pub scores: Option<Companion>,
    /// Where classes stand; without them all boxes have one.
    pub labels: Option<Companion>,
    /// The output that says how many rows of a sample are there; those behind are not looked at.
    pub count: Option<String>,
    /// Score below which a row is no box.
    pub threshold: f64,
    /// Overlap beyond which the model itself drops a box for a better one.
    pub nms: Option<f64>,
}

impl BoxesTask {
    /// The outputs that are read beside the boxes.
    pub fn companions(&self) -> impl Iterator<Item = &String> {
        let names = [&self.scores, &self.labels].into_iter().flatten().filter_map(|companion| match companion {
            Companion::Output(name) => Some(name),
            Companion::Column(_) => None,
        });
        names.chain(&self.count)
    }
}

/// Where a number of each box stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Companion {
    /// In this column of the box's own row.
    Column(usize),
    /// In the output of this name.
    Output(String),
}

/// What the four numbers of a box are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoxFormat {
    /// Left, top, right, bottom.
    Xyxy,
    /// Top, left, bottom, right.
    Yxyx,
    /// Left, top, width, height.
    Xywh,
    /// Middle, width, height.
    Cxcywh,
}

/// How tokens are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokensTask {
    /// What scores are, where tokens come as scores.
    pub kind: OutputKind,
    /// The axis of the classes, where tokens come as scores and it is not the last.
    pub axis: Option<usize>,
    /// The blank of a CTC decoder: repeated tokens become one, and blanks go.
    pub blank: Option<i64>,
    /// The token that ends a sequence; what stands behind it is not looked at.
    pub end: Option<i64>,
}

/// Limits that the manifest names in place of the ladder's, by precision and name.
pub type Named = BTreeMap<Precision, BTreeMap<&'static str, f64>>;

impl OutputTask {
    /// Its name.
    pub const fn task(&self) -> Task {
        match self {
            Self::Values => Task::Values,
            Self::Classification(_) => Task::Classification,
            Self::Scores(_) => Task::Scores,
            Self::Embedding => Task::Embedding,
            Self::Map(_) => Task::Map,
            Self::Boxes(_) => Task::Boxes,
            Self::Tokens(_) => Task::Tokens,
        }
    }

    /// The outputs that are read beside the one that names this task.
    pub fn companions(&self) -> Vec<&str> {
        let Self::Boxes(boxes) = self else { return Vec::new() };
        [&boxes.scores, &boxes.labels]
            .into_iter()
            .filter_map(|companion| match companion {
                Some(Companion::Output(name)) => Some(name.as_str()),
                _ => None,
            })
            .chain(boxes.count.as_deref())
            .collect()
    }
}

/// The keys of `[[output]]` but for its name.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawTask {
    pub(super) name: Spanned<String>,
    pub(super) batch_axis: Option<Spanned<RawBatchAxis>>,
    task: Spanned<String>,
    kind: Option<Spanned<OutputKind>>,
    axis: Option<Spanned<usize>>,
    format: Option<Spanned<BoxFormat>>,
    column: Option<Spanned<usize>>,
    scores: Option<Spanned<RawCompanion>>,
    labels: Option<Spanned<RawCompanion>>,
    count: Option<Spanned<String>>,
    threshold: Option<Spanned<f64>>,
    nms: Option<Spanned<f64>>,
    blank: Option<Spanned<i64>>,
    end: Option<Spanned<i64>>,
    #[serde(default)]
    pub(super) accuracy: RawAccuracy,
    #[serde(default)]
    tolerance: BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, Spanned<f64>>>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum RawCompanion {
    Column(usize),
    Output(String),
}

impl From<RawCompanion> for Companion {
    fn from(raw: RawCompanion) -> Self {
        match raw {
            RawCompanion::Column(column) => Self::Column(column),
            RawCompanion::Output(name) => Self::Output(name),
        }
    }
}

/// Keys that belong to some tasks only.
const KEYS: &[(&str, &[Task])] = &[
    ("kind", &[Task::Classification, Task::Scores, Task::Map, Task::Tokens]),
    ("axis", &[Task::Map, Task::Tokens]),
    ("format", &[Task::Boxes]),
    ("column", &[Task::Boxes]),
    ("scores", &[Task::Boxes]),
    ("labels", &[Task::Boxes]),
    ("count", &[Task::Boxes]),
    ("threshold", &[Task::Boxes]),
    ("nms", &[Task::Boxes]),
    ("blank", &[Task::Tokens]),
    ("end", &[Task::Tokens]),
];

impl RawTask {
    /// The keys that are given, with their places.
    fn given(&self) -> Vec<(&'static str, std::ops::Range<usize>)> {
        let spans = [
            self.kind.as_ref().map(Spanned::span),
            self.axis.as_ref().map(Spanned::span),
            self.format.as_ref().map(Spanned::span),
            self.column.as_ref().map(Spanned::span),
            self.scores.as_ref().map(Spanned::span),
            self.labels.as_ref().map(Spanned::span),
            self.count.as_ref().map(Spanned::span),
            self.threshold.as_ref().map(Spanned::span),
            self.nms.as_ref().map(Spanned::span),
            self.blank.as_ref().map(Spanned::span),
            self.end.as_ref().map(Spanned::span),
        ];
        KEYS.iter().zip(spans).filter_map(|((key, _), span)| Some((*key, span?))).collect()
    }

    /// The task and its named limits.
    ///
    /// # Errors
    /// `Input`, at the place that is wrong.
    pub(super) fn read(&self, source: &Source<'_>) -> Result<(OutputTask, Named)> {
        let task: Task = self.task.get_ref().parse().map_err(|error: Error| {
            let refused = source.error(self.task.span(), error.message);
            match error.hint {
                Some(hint) => refused.hint(hint),
                None => refused,
            }
        })?;
        for (key, span) in self.given() {
            let tasks = KEYS.iter().find(|(name, _)| *name == key).map_or(&[][..], |(_, tasks)| *tasks);
            if !tasks.contains(&task) {
                let of: Vec<String> = tasks.iter().map(|task| format!("`{task}`")).collect();
                return Err(
                    source.error(span, format!("`{key}` belongs to the task {}, not to `{task}`", of.join(", ")))
                );
            }
        }
        let kind = self.kind.as_ref().map(|kind| *kind.get_ref());
        let logits = kind.unwrap_or(OutputKind::Logits);
        let axis = self.axis.as_ref().map(|axis| *axis.get_ref());
        if axis == Some(0) {
            let span = self.axis.as_ref().map_or(0..0, Spanned::span);
            return Err(source.error(span, "axis 0 is the batch; the classes stand along another"));
        }
        let read = match task {
            Task::Values => OutputTask::Values,
            Task::Classification => OutputTask::Classification(logits),
            Task::Scores => OutputTask::Scores(kind),
            Task::Embedding => OutputTask::Embedding,
            Task::Map => OutputTask::Map(MapTask { kind: logits, axis: axis.unwrap_or(1) }),
            Task::Boxes => OutputTask::Boxes(Box::new(self.boxes(source)?)),
            Task::Tokens => OutputTask::Tokens(TokensTask {
                kind: logits,
                axis,
                blank: self.blank.as_ref().map(|blank| *blank.get_ref()),
                end: self.end.as_ref().map(|end| *end.get_ref()),
            }),
        };
        Ok((read, self.named(source, task)?))
    }

    fn boxes(&self, source: &Source<'_>) -> Result<BoxesTask> {
        let Some(format) = &self.format else {
            return Err(source
                .error(self.task.span(), "boxes need `format`: what their four numbers are")
                .hint("`xyxy`, `yxyx`, `xywh` (left, top, width, height) or `cxcywh` (middle, width, height)"));
        };
        let share = |given: &Option<Spanned<f64>>, name: &str| match given {
            // Written so that a NaN is refused.
            Some(given) if !(*given.get_ref() > 0.0 && *given.get_ref() < 1.0) => {
                Err(source.error(given.span(), format!("`{name}` lies between 0 and 1")))
            }
            given => Ok(given.as_ref().map(|given| *given.get_ref())),
        };
        if let (None, Some(threshold)) = (&self.scores, &self.threshold) {
            return Err(source.error(threshold.span(), "a threshold needs `scores`: an output's name, or a column"));
        }
        let companion = |given: &Option<Spanned<RawCompanion>>| given.clone().map(|raw| raw.into_inner().into());
        Ok(BoxesTask {
            format: *format.get_ref(),
            column: self.column.as_ref().map_or(0, |column| *column.get_ref()),
            scores: companion(&self.scores),
            labels: companion(&self.labels),
            count: self.count.as_ref().map(|count| count.get_ref().clone()),
            threshold: share(&self.threshold, "threshold")?.unwrap_or(THRESHOLD),
            nms: share(&self.nms, "nms")?,
        })
    }

    fn named(&self, source: &Source<'_>, task: Task) -> Result<Named> {
        let mut named = Named::new();
        for (precision, limits) in &self.tolerance {
            let parsed = precision.get_ref().parse::<Precision>();
            let parsed = parsed.map_err(|error| source.error(precision.span(), error.message))?;
            for (name, value) in limits {
                let Some(limit) = task.limit(name.get_ref()) else {
                    let known: Vec<&str> = task.limits().iter().map(|limit| limit.name).collect();
                    return Err(source
                        .error(name.span(), format!("the task `{task}` has no limit `{}`", name.get_ref()))
                        .hint(format!("it has {}", known.join(", "))));
                };
                if !limit.takes(*value.get_ref()) {
                    let words = format!("`{}` lies between {} and {}", limit.name, limit.least, limit.most);
                    return Err(source.error(value.span(), words));
                }
                named.entry(parsed).or_default().insert(limit.name, *value.get_ref());
            }
        }
        Ok(named)
    }
}

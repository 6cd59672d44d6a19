//! Tasks of an output: what "the same answer" means for it, and the limits that each is judged by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// What "the same answer" means for an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Task {
    /// Element by element.
    Values,
    /// One class a sample.
    Classification,
    /// Independent scores, each a classifier of its own.
    Scores,
    /// Vectors that are compared by their directions.
    Embedding,
    /// One class a place.
    Map,
    /// Sets of boxes with classes and scores.
    Boxes,
    /// Sequences of tokens, as whole numbers or as scores a step.
    Tokens,
}
names!(Task, "task", Values => "values", Classification => "classification", Scores => "scores",
    Embedding => "embedding", Map => "map", Boxes => "boxes", Tokens => "tokens");

impl Task {
    /// Whether labels say what its answers are worth.
    pub const fn is_labelled(self) -> bool {
        match self {
            Self::Classification | Self::Scores | Self::Map | Self::Boxes | Self::Tokens => true,
            Self::Values | Self::Embedding => false,
        }
    }
}

/// A limit of a task: its name in `tolerances.toml` and in a manifest, and the range that it may lie in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Its name.
    pub name: &'static str,
    /// Smallest value.
    pub least: f64,
    /// Largest value.
    pub most: f64,
    /// Whether a larger one allows more.
    pub loosens: bool,
}

/// A limit that allows more as it grows.
const fn most(name: &'static str, most: f64) -> Limit {
    Limit { name, least: 0.0, most, loosens: true }
}

/// A limit that allows more as it falls.
const fn least(name: &'static str, least: f64, most: f64) -> Limit {
    Limit { name, least, most, loosens: false }
}

/// Of answers: L, E and S of the rule.
const LOSS: Limit = most("loss", 0.5);
const LEADS: Limit = most("leads", 3.0);
const SLOPE: Limit = most("slope", 10.0);
/// Of values, element by element.
const ABSOLUTE: Limit = most("absolute", 1e6);
const RELATIVE: Limit = most("relative", 1.0);
const SQNR: Limit = least("sqnr-db", 0.0, 400.0);
/// Share of answers that change though the reference was sure of them.
const CONFIDENT: Limit = most("confident", 1.0);
/// Intersection over union.
const OVERLAP: Limit = least("iou", 0.0, 1.0);
const EMBEDDING: &[Limit] = &[least("cosine", -1.0, 1.0), most("length", 10.0), most("pairs", 2.0)];
/// Error of the leads of one score by itself.
const SCORES: &[Limit] = &[LOSS, LEADS, SLOPE, most("alone", 30.0)];
const MAP: &[Limit] = &[LOSS, LEADS, SLOPE, CONFIDENT, OVERLAP, least("signal-db", 0.0, 400.0)];
const BOXES: &[Limit] = &[OVERLAP, most("corner", 1.0), most("score", 1.0)];
const TOKENS: &[Limit] = &[LOSS, LEADS, SLOPE, CONFIDENT, most("edits", 1.0)];

impl Task {
    /// Every limit that decides about an output of this task.
    pub const fn limits(self) -> &'static [Limit] {
        match self {
            Self::Values => &[ABSOLUTE, RELATIVE, SQNR],
            Self::Classification => &[LOSS, LEADS, SLOPE],
            Self::Scores => SCORES,
            Self::Embedding => EMBEDDING,
            Self::Map => MAP,
            Self::Boxes => BOXES,
            Self::Tokens => TOKENS,
        }
    }

    /// Those that stand under `[[task]]` in `tolerances.toml`; the others are those of `[[row]]` and `[[values]]`.
    pub fn own_limits(self) -> impl Iterator<Item = &'static Limit> {
        let shared = [LOSS, LEADS, SLOPE, ABSOLUTE, RELATIVE, SQNR].map(|limit| limit.name);
        self.limits().iter().filter(move |limit| !shared.contains(&limit.name))
    }

    /// The limit called `name`.
    pub fn limit(self, name: &str) -> Option<&'static Limit> {
        self.limits().iter().find(|limit| limit.name == name)
    }
}

impl Limit {
    /// Whether `value` is one that the limit may have; a NaN is not.
    pub fn takes(&self, value: f64) -> bool {
        value >= self.least && value <= self.most
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn limits_are_named_once_and_have_a_range() {
        for task in Task::ALL {
            let names: std::collections::BTreeSet<&str> = task.limits().iter().map(|limit| limit.name).collect();
            assert_eq!(names.len(), task.limits().len(), "{task}");
            for limit in task.limits() {
                assert!(limit.least < limit.most && !limit.takes(f64::NAN) && limit.takes(limit.most), "{task}");
                assert_eq!(task.limit(limit.name), Some(limit));
            }
            assert_eq!(task.to_string().parse::<Task>().unwrap(), *task);
        }
        assert_eq!(
            Task::Map.own_limits().map(|limit| limit.name).collect::<Vec<_>>(),
            ["confident", "iou", "signal-db"]
        );
        assert_eq!(Task::Values.own_limits().count() + Task::Classification.own_limits().count(), 0);
        assert_eq!(Task::Scores.own_limits().map(|limit| limit.name).collect::<Vec<_>>(), ["alone"]);
        assert!("pose".parse::<Task>().is_err());
    }
}

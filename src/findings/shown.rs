//! What a person looks at of an output: one sample's answers beside the reference's, or all of them at a glance.

use serde::{Deserialize, Serialize};

use super::Histogram;

/// What is drawn of an output, by its task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Shown {
    /// The boxes of one sample.
    Boxes(ShownBoxes),
    /// The classes of one sample's places.
    Map(ShownMap),
    /// The tokens of one sample.
    Tokens(ShownTokens),
    /// How far every vector is turned.
    Cosines(ShownCosines),
}

impl Shown {
    /// The sample that is drawn, where it is one.
    pub const fn sample(&self) -> Option<usize> {
        match self {
            Self::Boxes(boxes) => Some(boxes.sample),
            Self::Map(map) => Some(map.sample),
            Self::Tokens(tokens) => Some(tokens.sample),
            Self::Cosines(_) => None,
        }
    }
}

/// The boxes of one sample on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownBoxes {
    /// Its index.
    pub sample: usize,
    /// Width and height of the plane that they lie in, in their own unit: the picture's, where there is one.
    pub extent: [f64; 2],
    /// The reference's.
    pub reference: Vec<ShownBox>,
    /// The cell's.
    pub actual: Vec<ShownBox>,
    /// Boxes of both sides that are not drawn: there are too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: usize,
}

/// One box.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownBox {
    /// Left, top, right, bottom.
    pub corners: [f64; 4],
    /// Its class.
    pub class: i64,
    /// Its score; 1 where the model gives none.
    pub score: f64,
    /// Whether the other side has it.
    pub matched: bool,
}

/// The classes of one sample's places on both sides, thinned out where they are many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownMap {
    /// Its index.
    pub sample: usize,
    /// Places from left to right.
    pub width: usize,
    /// Places from top to bottom.
    pub height: usize,
    /// The reference's classes row by row, as runs: a class, and how many places in a row have it.
    pub reference: Vec<(usize, usize)>,
    /// The cell's, likewise.
    pub actual: Vec<(usize, usize)>,
    /// Places of the whole sample whose class changed.
    pub changed: usize,
}

/// Runs of equal classes.
pub fn runs(classes: &[usize]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &class in classes {
        match runs.last_mut() {
            Some((last, count)) if *last == class => *count += 1,
            _ => runs.push((class, 1)),
        }
    }
    runs
}

/// The first `most` classes of `runs`.
pub fn classes(runs: &[(usize, usize)], most: usize) -> Vec<usize> {
    runs.iter().flat_map(|&(class, count)| std::iter::repeat_n(class, count.min(most))).take(most).collect()
}

/// The tokens of one sample: each step as both sides have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownTokens {
    /// Its index.
    pub sample: usize,
    /// Its steps, those that are inserted or dropped without the other side's.
    pub steps: Vec<ShownStep>,
    /// Steps in front of the first that is shown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub before: usize,
    /// Steps behind the last that is shown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub after: usize,
}

/// One step of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownStep {
    /// The reference's token; none where it is inserted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<i64>,
    /// The cell's; none where it is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<i64>,
}

/// The cosines of vectors with the reference's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownCosines {
    /// Counts by `log10(1 − cosine)`.
    pub histogram: Histogram,
    /// Largest `1 − cosine` that is allowed.
    pub allowed: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn runs_come_back_as_classes_and_never_more_than_asked_for() {
        let places = [0, 0, 0, 7, 7, 0, 2];
        assert_eq!(runs(&places), [(0, 3), (7, 2), (0, 1), (2, 1)]);
        assert_eq!(classes(&runs(&places), 7), places);
        assert_eq!(classes(&[(1, usize::MAX), (2, usize::MAX)], 3), [1, 1, 1]);
        assert!(classes(&[], 3).is_empty());
    }

    #[test]
    fn what_is_shown_is_told_by_what_it_is() {
        let step = ShownStep { reference: Some(3), actual: None };
        let shown = Shown::Tokens(ShownTokens { sample: 5, steps: vec![step], before: 0, after: 2 });
        let text = serde_json::to_string(&shown).unwrap();
        assert_eq!(text, r#"{"what":"tokens","sample":5,"steps":[{"reference":3}],"after":2}"#);
        assert_eq!(serde_json::from_str::<Shown>(&text).unwrap(), shown);
        assert_eq!(shown.sample(), Some(5));
    }
}

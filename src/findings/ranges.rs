//! What leaves the range of half precision, found in an FP32 run: the diagnosis of an FP16 cell that failed, never its
//! verdict.

use serde::{Deserialize, Serialize};

use crate::figure::figure;

/// The least magnitude that half precision rounds to infinity.
pub const BEYOND: f32 = 65_520.0;

/// Half of the largest half: one bit of headroom is left, which rarer inputs may need.
pub const NEAR: f32 = 32_752.0;

/// A stored constant is altered where its converted value is off by more than this share of it,
pub const ALTERED_RELATIVE: f64 = 1.0 / 1024.0;

/// and by more than this.
pub const ALTERED_ABSOLUTE: f64 = 6e-8;

/// What an FP32 run of the graph shows of half precision's range.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranges {
    /// Samples that were run.
    pub samples: usize,
    /// Tensors that were looked at, stored ones included.
    pub tensors: usize,
    /// The first tensors that leave the range, in the network's order.
    #[serde(default)]
    pub beyond: Vec<RangeFinding>,
    /// How many leave it.
    #[serde(default)]
    pub beyond_count: usize,
    /// The first tensors within one bit of the range's end.
    #[serde(default)]
    pub near: Vec<RangeFinding>,
    /// How many come so near.
    #[serde(default)]
    pub near_count: usize,
    /// The first stored tensors that the conversion altered.
    #[serde(default)]
    pub altered: Vec<AlteredConstant>,
    /// How many it altered.
    #[serde(default)]
    pub altered_count: usize,
    /// What was not looked at, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
}

/// A tensor at the end of the range or beyond it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RangeFinding {
    /// The tensor.
    pub tensor: String,
    /// The node that makes it; the one that reads it first for a stored tensor.
    pub node: String,
    /// The operator that makes it, `Stored` for a stored tensor, `Input` for the model's input.
    pub operator: String,
    /// Its finite value of the largest magnitude.
    pub value: f64,
    /// The sample of that value; none for what does not depend on the samples.
    #[serde(default)]
    pub sample: Option<usize>,
    /// Share of its values, on the samples that were run.
    pub share: f64,
    /// Whether the output changes where these values are infinite; none where that was not tried.
    #[serde(default)]
    pub reaches_output: Option<bool>,
    /// What to change, where the pattern is known.
    #[serde(default)]
    pub mending: Option<String>,
}

/// A stored tensor whose values in the converted graph are not those of the FP32 graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlteredConstant {
    /// The tensor.
    pub tensor: String,
    /// The node that reads it first.
    pub node: String,
    /// That node's operator.
    pub operator: String,
    /// The value that moved the most.
    pub value: f64,
    /// What it became.
    pub stored: f64,
    /// Share of its values.
    pub share: f64,
    /// Whether the output changes by it; none where that was not tried.
    #[serde(default)]
    pub reaches_output: Option<bool>,
}

impl Ranges {
    /// The first tensor beyond the range that changes the output.
    pub fn cause(&self) -> Option<&RangeFinding> {
        self.beyond.iter().find(|found| found.reaches_output == Some(true))
    }

    /// What explains a failure, as a sentence without an end; none where nothing does.
    pub fn sentence(&self) -> Option<String> {
        if let Some(found) = self.cause() {
            return Some(format!("the first tensor beyond half precision's range that reaches the output is {found}"));
        }
        if let Some(found) = self.altered.iter().find(|found| found.reaches_output == Some(true)) {
            return Some(format!("the conversion to half precision altered {found}, and the output with it"));
        }
        // Not tried is no proof of the contrary.
        let found = self.beyond.iter().find(|found| found.reaches_output.is_none())?;
        Some(format!("beyond half precision's range is {found}; whether it reaches the output is not known"))
    }

    /// The next step that follows from it.
    pub fn hint(&self) -> Option<String> {
        self.cause()?.mending.clone()
    }
}

impl std::fmt::Display for RangeFinding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tensor, node, operator, .. } = self;
        match operator.as_str() {
            "Stored" => write!(formatter, "`{tensor}` (stored, read by `{node}`)")?,
            "Input" => write!(formatter, "the input `{tensor}`")?,
            _ if tensor == node => write!(formatter, "`{tensor}` ({operator})")?,
            _ => write!(formatter, "`{tensor}` ({operator} `{node}`)")?,
        }
        write!(formatter, ": {}", figure(self.value))?;
        if let Some(sample) = self.sample {
            write!(formatter, " in sample {sample}")?;
        }
        write!(formatter, ", {} of its values beyond 65504", share(self.share))
    }
}

impl std::fmt::Display for AlteredConstant {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tensor, node, operator, value, stored, .. } = self;
        write!(formatter, "`{tensor}` (read by {operator} `{node}`): ")?;
        write!(formatter, "{} became {}", figure(*value), figure(*stored))
    }
}

/// A share in percent, never rounded to none.
fn share(share: f64) -> String {
    let percent = 100.0 * share;
    if percent >= 10.0 {
        format!("{percent:.0} %")
    } else if percent >= 0.1 {
        format!("{percent:.1} %")
    } else {
        "under 0.1 %".to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn found(tensor: &str, reaches_output: Option<bool>) -> RangeFinding {
        RangeFinding {
            tensor: tensor.to_owned(),
            node: "rms/square".to_owned(),
            operator: "Mul".to_owned(),
            value: 1.3e6,
            sample: Some(17),
            share: 0.1213,
            reaches_output,
            mending: Some("scale before squaring".to_owned()),
        }
    }

    fn altered(reaches_output: Option<bool>) -> AlteredConstant {
        AlteredConstant {
            tensor: "mask".to_owned(),
            node: "masked".to_owned(),
            operator: "Add".to_owned(),
            value: -1e9,
            stored: -65504.0,
            share: 0.5,
            reaches_output,
        }
    }

    #[test]
    fn the_first_that_reaches_the_output_is_the_cause() {
        let beyond = vec![found("discarded", Some(false)), found("square", Some(true)), found("later", None)];
        let ranges = Ranges { beyond, altered: vec![altered(Some(true))], ..Ranges::default() };
        insta::assert_snapshot!(ranges.sentence().unwrap(), @"the first tensor beyond half precision's range that reaches the output is `square` (Mul `rms/square`): 1.3e6 in sample 17, 12 % of its values beyond 65504");
        assert_eq!(ranges.hint().as_deref(), Some("scale before squaring"));
    }

    #[test]
    fn an_altered_constant_that_changes_the_output_is_one_too() {
        let beyond = vec![found("discarded", Some(false))];
        let ranges = Ranges { beyond, altered: vec![altered(Some(true))], ..Ranges::default() };
        insta::assert_snapshot!(ranges.sentence().unwrap(), @"the conversion to half precision altered `mask` (read by Add `masked`): -1e9 became -65504, and the output with it");
        assert_eq!(ranges.hint(), None);
    }

    #[test]
    fn what_changes_nothing_explains_nothing() {
        let ranges =
            Ranges { beyond: vec![found("a", Some(false))], altered: vec![altered(Some(false))], ..Ranges::default() };
        assert_eq!(ranges.sentence(), None);
        assert_eq!(Ranges::default().sentence(), None);
        let untried = Ranges { beyond: vec![found("a", None)], ..Ranges::default() };
        assert!(untried.sentence().unwrap().ends_with("is not known"));
    }

    #[test]
    fn stored_tensors_and_small_shares_are_said_as_such() {
        let stored = RangeFinding { operator: "Stored".to_owned(), sample: None, share: 1e-5, ..found("limit", None) };
        insta::assert_snapshot!(stored, @"`limit` (stored, read by `rms/square`): 1.3e6, under 0.1 % of its values beyond 65504");
    }
}

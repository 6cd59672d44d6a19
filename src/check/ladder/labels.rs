//! `[labels]`: what rounding may cost a figure by labels.

use serde::Deserialize;
use toml::Spanned;

use super::Flaw;

/// Largest share of a figure that a ladder may allow.
const MOST: f64 = 0.01;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelsEntry {
    rounding: Spanned<f64>,
    source: Spanned<String>,
}

impl LabelsEntry {
    pub(super) fn validate(&self) -> Result<f64, Flaw> {
        let rounding = *self.rounding.get_ref();
        // Written so that a NaN is outside.
        if !(0.0..=MOST).contains(&rounding) {
            return Err((self.rounding.span().start, format!("`rounding` is {rounding}, not between 0 and {MOST}")));
        }
        match self.source.get_ref().trim().is_empty() {
            true => Err((self.source.span().start, "`source` is empty: say why this number".to_owned())),
            false => Ok(rounding),
        }
    }
}

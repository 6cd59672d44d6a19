//! Figures that may be NaN: JSON has no such number, so they are written as `null`, and `null` reads back as NaN.
//!
//! A cell with NaN outputs must stay readable as a failed cell; losing the whole report over it would hide the failure.

use serde::{Deserialize, Deserializer};

/// Reads a number, or `null` as NaN.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Reads pairs of class and output, an output of `null` as NaN.
pub(super) fn scores<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(usize, f32)>, D::Error> {
    let pairs = Vec::<(usize, Option<f32>)>::deserialize(deserializer)?;
    Ok(pairs.into_iter().map(|(class, output)| (class, output.unwrap_or(f32::NAN))).collect())
}

//! Outputs that are compared element by element: what "the same answer" means for the task `values`.
//!
//! Whole numbers and booleans are equal or wrong. Of floats, what is no number (NaN, an infinity) stands at the same places on
//! both sides; every other element is within an absolute or a relative bound, and the noise of all of them below the signal by
//! so many dB. Bounds are stated in the root mean square of the reference's output, so that one table serves outputs of any
//! scale: `[[values]]` in `tolerances.toml`. What lies along one index of an axis, such as a detector's scores beside its
//! coordinates, is held to its own size too (`slices`), and what the samples change in the answers to the error (`following`). What lies below the least number that a precision holds fails nothing and proves
//! nothing.
//!
//! Tensors are read in two passes, in their own type, and once more each for slices and for movement where nothing else fails; of all elements only the absolute errors are kept, 8 bytes each.

use crate::error::{Error, Result};
use crate::figure::figure;
use crate::findings::ErrorMetrics;
use crate::tensor::{Tensor, Values};

mod following;
mod slices;
mod sums;

use sums::{EXACT, Sums};

/// What the elements of one output may differ by.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueLimits {
    /// Largest error of an element, over the root mean square of the reference's output.
    pub absolute: f64,
    /// Largest error of an element as a share of its own magnitude; either bound will do.
    pub relative: f64,
    /// Least signal to noise over all elements, dB.
    pub sqnr_db: f64,
    /// Twice the least number that the precision holds, in the output's own unit: an error up to it is none that the precision
    /// could have avoided. 0 where the precision holds whatever a float of 32 bits does.
    pub least: f64,
    /// Why these numbers.
    pub source: String,
}

/// How far one output is from the reference's.
#[derive(Clone, Debug, PartialEq)]
pub struct ValuesFinding {
    /// The output's name.
    pub output: String,
    /// Elements that were compared.
    pub elements: usize,
    /// Elements outside both bounds or, of whole numbers, that differ.
    pub outside: usize,
    /// Largest absolute error of a finite element.
    pub max_abs: f64,
    /// Mean absolute error of the finite elements.
    pub mean_abs: f64,
    /// Its 99th percentile.
    pub p99_abs: f64,
    /// Smallest cosine similarity of a sample's finite elements.
    pub cosine_min: f64,
    /// Signal to noise, dB; 999 where all are equal.
    pub sqnr_db: f64,
    /// What is wrong, in a sentence; `None` where nothing is.
    pub fault: Option<String>,
}

impl ValuesFinding {
    fn of(tensor: &Tensor) -> Self {
        Self {
            output: tensor.name.clone(),
            elements: tensor.values.len(),
            outside: 0,
            max_abs: 0.0,
            mean_abs: 0.0,
            p99_abs: 0.0,
            cosine_min: 1.0,
            sqnr_db: EXACT,
            fault: None,
        }
    }

    /// Keeps the figures of `sums`.
    fn measure(&mut self, sums: Sums) {
        self.sqnr_db = sums.decibels();
        self.max_abs = sums.largest;
        self.mean_abs = sums.mean();
        self.cosine_min = sums.cosine_min;
        self.p99_abs = sums.percentile_99();
    }

    /// What was compared, in a sentence.
    pub fn summary(&self) -> String {
        let Self { elements, max_abs, sqnr_db, .. } = self;
        if *sqnr_db >= EXACT {
            return format!("{elements} values are equal");
        }
        format!("{elements} values, {sqnr_db:.1} dB, off by {} at most", figure(*max_abs))
    }

    /// The figures as a report has them.
    pub fn metrics(&self) -> ErrorMetrics {
        ErrorMetrics {
            max_abs: self.max_abs,
            mean_abs: self.mean_abs,
            p99_abs: self.p99_abs,
            cosine_min: self.cosine_min,
            sqnr_db: self.sqnr_db,
            outside: self.outside,
        }
    }
}

/// Compares `actual` with `reference`, which have `samples` samples along their first dimension.
///
/// # Errors
/// `Invalid` where there is nothing to compare: the reference has not one row a sample, nothing in it is large enough for the
/// precision to hold, or the error hides all that the samples change in it.
pub fn compare(reference: &Tensor, actual: &Tensor, samples: usize, limits: &ValueLimits) -> Result<ValuesFinding> {
    if samples == 0 || reference.batch() != samples || reference.values.is_empty() {
        return Err(Error::invalid(format!(
            "output `{}` of the reference has shape {:?}, not one row for each of {samples} samples",
            reference.name, reference.shape
        )));
    }
    let mut found = ValuesFinding::of(reference);
    found.fault = if reference.element_type() != actual.element_type() {
        Some(format!("it is {}, the reference has {}", actual.element_type(), reference.element_type()))
    } else if reference.shape != actual.shape || reference.values.len() != actual.values.len() {
        Some(format!("it has shape {:?}, the reference has {:?}", actual.shape, reference.shape))
    } else if reference.element_type().is_float() {
        floats(reference, actual, limits, &mut found)?
    } else {
        whole(reference, actual, &mut found)
    };
    if found.fault.is_some() && found.outside == 0 {
        found.outside = found.elements;
    }
    Ok(found)
}

/// The place of element `index`, for people.
pub(super) fn place(tensor: &Tensor, index: usize) -> String {
    let row = tensor.row_len().max(1);
    format!("sample {}, element {}", index / row, index % row)
}

/// Whole numbers and booleans, as they are: numbers beyond the floats would look equal.
fn whole(reference: &Tensor, actual: &Tensor, found: &mut ValuesFinding) -> Option<String> {
    let (first, differing) = sums::differing(&reference.values, &actual.values)?;
    found.outside = differing;
    let (wanted, got) = (reference.values.part(first, first + 1)?, actual.values.part(first, first + 1)?);
    found.measure(Sums::of(&reference.values, &actual.values, reference.row_len()));
    let text = |values: &Values| {
        let debug = format!("{values:?}");
        debug
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'))
            .map_or(debug.clone(), |(value, _)| value.to_owned())
    };
    Some(format!(
        "{} of {} values differ, the first in {}: {} instead of {}",
        found.outside,
        found.elements,
        place(reference, first),
        text(&got),
        text(&wanted)
    ))
}

/// Floats: what is wrong, where something is.
///
/// # Errors
/// `Invalid` where they would fail by nothing but what the precision does not hold, or the error hides what the samples change.
fn floats(
    reference: &Tensor,
    actual: &Tensor,
    limits: &ValueLimits,
    found: &mut ValuesFinding,
) -> Result<Option<String>> {
    let sums = Sums::of(&reference.values, &actual.values, reference.row_len());
    if let Some((index, x, y)) = sums.first_unlike {
        found.outside = sums.unlike;
        (found.max_abs, found.mean_abs, found.sqnr_db) = (f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY);
        return Ok(Some(format!(
            "{} values are numbers on one side only: {} is {y}, the reference has {x}",
            found.outside,
            place(reference, index)
        )));
    }
    let (scale, noise, factor) = (sums.signal(), sums.noise(), sums.factor());
    found.measure(sums);
    // Written so that a NaN is outside.
    let within = |x: f64, y: f64| {
        let error = (x - y).abs();
        error <= limits.absolute * scale || error <= limits.relative * x.abs() || error <= limits.least
    };
    let outside = sums::Outside::of(&reference.values, &actual.values, within);
    found.outside = outside.count;
    let scaled = factor.map_or_else(String::new, |by| format!("; all of it is scaled by {by:.4}"));
    if let Some((index, x, y)) = outside.worst {
        return Ok(Some(format!(
            "{} of {} values are off by more than {} of the output's root mean square and {} of themselves: {} is {} instead of {}{scaled}",
            found.outside,
            found.elements,
            figure(limits.absolute),
            figure(limits.relative),
            place(reference, index),
            figure(y),
            figure(x)
        )));
    }
    if found.sqnr_db >= limits.sqnr_db {
        return match slices::lost(reference, actual, limits, scale) {
            Some(fault) => Ok(Some(fault)),
            None => following::lost(reference, actual, limits, [scale, noise]),
        };
    }
    if noise <= limits.least {
        return Err(Error::invalid(format!(
            "the reference's values are {} in their root mean square, and what differs lies below {}, which this precision hardly holds: nothing was judged",
            figure(scale),
            figure(limits.least)
        ))
        .hint("feed samples that the model has an answer to (`from = \"samples.npz\"`)"));
    }
    Ok(Some(format!(
        "the signal is {:.1} dB above the noise, {:.0} dB are asked{scaled}",
        found.sqnr_db, limits.sqnr_db
    )))
}

/// Of outputs that fail, those that hold each other's values: `a` what the reference has in `b`, and the other way round.
pub fn exchanged<'a>(
    failing: &[(&'a Tensor, &'a Tensor)],
    samples: usize,
    limits: &ValueLimits,
) -> Option<(&'a str, &'a str)> {
    let same = |reference: &Tensor, actual: &Tensor| {
        compare(reference, actual, samples, limits).is_ok_and(|found| found.fault.is_none())
    };
    failing.iter().enumerate().find_map(|(index, one)| {
        let other = failing.iter().skip(index + 1).find(|other| same(one.0, other.1) && same(other.0, one.1))?;
        Some((one.0.name.as_str(), other.0.name.as_str()))
    })
}

#[cfg(test)]
mod tests;

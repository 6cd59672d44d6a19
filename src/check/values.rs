//! Outputs that are compared element by element: what "the same answer" means for the task `values`.
//!
//! Whole numbers and booleans are equal or wrong. Of floats, what is no number (NaN, an infinity) stands at the same places on
//! both sides; every other element is within an absolute or a relative bound, and the noise of all of them below the signal by
//! so many dB. Bounds are stated in the root mean square of the reference's output, so that one table serves outputs of any
//! scale: `[[values]]` in `tolerances.toml`.

use crate::error::{Error, Result};
use crate::figure::figure;
use crate::findings::ErrorMetrics;
use crate::tensor::Tensor;

/// Decibels of outputs that are equal bit by bit, as in reports.
const EXACT: f64 = 999.0;
/// An error is called a scaling where dividing by the factor takes away all but this share of its energy.
const LEFT_BY_A_FACTOR: f64 = 0.03;

/// What the elements of one output may differ by.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueLimits {
    /// Largest error of an element, over the root mean square of the reference's output.
    pub absolute: f64,
    /// Largest error of an element as a share of its own magnitude; either bound will do.
    pub relative: f64,
    /// Least signal to noise over all elements, dB.
    pub sqnr_db: f64,
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

    /// Keeps the figures of `errors`, which stand beside `signal`.
    fn measure(&mut self, signal: &[f64], mut errors: Vec<f64>) {
        self.sqnr_db = decibels(signal, &errors);
        self.max_abs = errors.iter().copied().fold(0.0, f64::max);
        self.mean_abs = errors.iter().sum::<f64>() / errors.len().max(1) as f64;
        errors.sort_by(f64::total_cmp);
        self.p99_abs = errors.get((errors.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0.0);
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
/// `Invalid` where there is nothing to compare: the reference has not one row a sample.
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
        floats(reference, actual, limits, &mut found)
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
    let size = reference.element_type().bytes()?;
    let (one, other) = (reference.values.encode(), actual.values.encode());
    let differs = |index: &usize| {
        let place = index * size..(index + 1) * size;
        one.get(place.clone()) != other.get(place)
    };
    let mut differing = (0..found.elements).filter(differs);
    let first = differing.next()?;
    found.outside = 1 + differing.count();
    let (wanted, got) = (reference.values.part(first, first + 1)?, actual.values.part(first, first + 1)?);
    let pairs = reference.values.to_f64().into_iter().zip(actual.values.to_f64());
    let errors: Vec<f64> = pairs.map(|(x, y)| (x - y).abs()).collect();
    found.measure(&reference.values.to_f64(), errors);
    let text = |values: &crate::tensor::Values| {
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

fn floats(reference: &Tensor, actual: &Tensor, limits: &ValueLimits, found: &mut ValuesFinding) -> Option<String> {
    let (wanted, got) = (reference.values.to_f64(), actual.values.to_f64());
    // What is no number, by its kind: NaN is like any NaN, an infinity like one of its sign.
    let kind = |value: f64| {
        if value.is_nan() {
            f64::MAX
        } else if value.is_infinite() {
            value
        } else {
            0.0
        }
    };
    let numbers = wanted.iter().zip(&got);
    if let Some(index) = numbers.clone().position(|(x, y)| kind(*x) != kind(*y)) {
        let (x, y) = (wanted.get(index)?, got.get(index)?);
        found.outside = numbers.filter(|(x, y)| kind(**x) != kind(**y)).count();
        (found.max_abs, found.mean_abs, found.sqnr_db) = (f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY);
        return Some(format!(
            "{} values are numbers on one side only: {} is {y}, the reference has {x}",
            found.outside,
            place(reference, index)
        ));
    }
    let finite: Vec<(usize, f64, f64)> = wanted
        .iter()
        .zip(&got)
        .enumerate()
        .filter(|(_, (x, _))| x.is_finite())
        .map(|(index, (x, y))| (index, *x, *y))
        .collect();
    let signal: Vec<f64> = finite.iter().map(|(_, x, _)| *x).collect();
    let scale = root_mean_square(&signal);
    found.measure(&signal, finite.iter().map(|(_, x, y)| (x - y).abs()).collect());
    let row = reference.row_len().max(1);
    let rows = finite.chunk_by(|one, other| one.0 / row == other.0 / row);
    found.cosine_min = rows.map(cosine).fold(1.0, f64::min);
    // Written so that a NaN is outside.
    let within = |x: f64, y: f64| {
        let error = (x - y).abs();
        error <= limits.absolute * scale || error <= limits.relative * x.abs()
    };
    let outside: Vec<&(usize, f64, f64)> = finite.iter().filter(|(_, x, y)| !within(*x, *y)).collect();
    found.outside = outside.len();
    let scaled = factor(&finite).map_or_else(String::new, |by| format!("; all of it is scaled by {by:.4}"));
    if let Some((index, x, y)) =
        outside.iter().max_by(|one, other| (one.1 - one.2).abs().total_cmp(&(other.1 - other.2).abs()))
    {
        return Some(format!(
            "{} of {} values are off by more than {} of the output's root mean square and {} of themselves: {} is {} instead of {}{scaled}",
            found.outside,
            found.elements,
            figure(limits.absolute),
            figure(limits.relative),
            place(reference, *index),
            figure(*y),
            figure(*x)
        ));
    }
    if found.sqnr_db >= limits.sqnr_db {
        return None;
    }
    Some(format!("the signal is {:.1} dB above the noise, {:.0} dB are asked{scaled}", found.sqnr_db, limits.sqnr_db))
}

fn root_mean_square(values: &[f64]) -> f64 {
    (values.iter().map(|value| value * value).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

/// Signal over noise, dB; [`EXACT`] without noise.
fn decibels(signal: &[f64], errors: &[f64]) -> f64 {
    let noise = root_mean_square(errors);
    if noise == 0.0 { EXACT } else { (20.0 * (root_mean_square(signal) / noise).log10()).min(EXACT) }
}

/// Cosine similarity of one sample's elements; 1 where neither side has any length.
fn cosine(sample: &[(usize, f64, f64)]) -> f64 {
    let sum = |of: fn(f64, f64) -> f64| sample.iter().map(|(_, x, y)| of(*x, *y)).sum::<f64>();
    let (one, other) = (sum(|x, _| x * x).sqrt(), sum(|_, y| y * y).sqrt());
    match one * other {
        0.0 => f64::from(u8::from(one == other)),
        lengths => sum(|x, y| x * y) / lengths,
    }
}

/// The factor that explains what differs, where one does.
fn factor(finite: &[(usize, f64, f64)]) -> Option<f64> {
    let sum = |of: &dyn Fn(f64, f64) -> f64| finite.iter().map(|(_, x, y)| of(*x, *y)).sum::<f64>();
    let by = sum(&|x, y| x * y) / sum(&|x, _| x * x);
    let (before, after) = (sum(&|x, y| (y - x).powi(2)), sum(&|x, y| (y - by * x).powi(2)));
    (by.is_finite() && before > 0.0 && after <= LEFT_BY_A_FACTOR * before).then_some(by)
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::tensor::Values;

    const SAMPLES: usize = 20;

    fn limits() -> ValueLimits {
        ValueLimits { absolute: 0.05, relative: 0.005, sqnr_db: 44.0, source: "a test".to_owned() }
    }

    fn reference() -> Tensor {
        let values = (0..SAMPLES * 5).map(|index| ((index * 37 % 101) as f32).mul_add(0.1, -5.0)).collect();
        Tensor::float32("y", vec![SAMPLES, 5], values).unwrap()
    }

    fn altered(change: impl FnOnce(&mut Vec<f32>)) -> Tensor {
        let mut tensor = reference();
        change(tensor.values.as_mut().unwrap());
        tensor
    }

    fn fault(actual: &Tensor) -> Option<String> {
        compare(&reference(), actual, SAMPLES, &limits()).unwrap().fault
    }

    #[test]
    fn equal_outputs_are_said_to_be_equal() {
        let found = compare(&reference(), &reference(), SAMPLES, &limits()).unwrap();
        assert_eq!(found.summary(), "100 values are equal");
        assert_eq!((found.fault, found.sqnr_db, found.outside), (None, EXACT, 0));
    }

    #[test]
    fn the_noise_of_a_precision_passes() {
        let noisy = altered(|values| {
            values.iter_mut().enumerate().for_each(|(index, value)| *value += 0.01 * ((index % 3) as f32 - 1.0));
        });
        let found = compare(&reference(), &noisy, SAMPLES, &limits()).unwrap();
        assert_eq!(found.fault, None);
        assert!((50.0..60.0).contains(&found.sqnr_db), "{}", found.sqnr_db);
        assert!(found.summary().starts_with("100 values, 5"), "{}", found.summary());
    }

    #[rstest]
    #[case::scaled_by_a_percent(|values: &mut Vec<f32>| values.iter_mut().for_each(|value| *value *= 1.01),
        "the signal is 40.0 dB above the noise, 44 dB are asked; all of it is scaled by 1.0100")]
    #[case::one_element(|values: &mut Vec<f32>| values[42] += 1.0,
        "1 of 100 values are off by more than 0.05 of the output's root mean square and 0.005 of themselves: sample 8, element 2 is")]
    #[case::nan(|values: &mut Vec<f32>| values[7] = f32::NAN, "1 values are numbers on one side only: sample 1, element 2 is NaN")]
    #[case::all_zero(|values: &mut Vec<f32>| values.fill(0.0), "values are off by more than")]
    #[case::negated(|values: &mut Vec<f32>| values.iter_mut().for_each(|value| *value = -*value), "all of it is scaled by -1.0000")]
    fn faults_are_named(#[case] change: fn(&mut Vec<f32>), #[case] words: &str) {
        let fault = fault(&altered(change)).unwrap();
        assert!(fault.contains(words), "{fault}");
    }

    #[test]
    fn what_is_no_number_stands_where_the_reference_has_it() {
        let with =
            |values: &[(usize, f32)]| altered(|all| values.iter().for_each(|&(index, value)| all[index] = value));
        let masked = with(&[(0, f32::NEG_INFINITY), (9, f32::NAN)]);
        let fault = |actual: &Tensor| compare(&masked, actual, SAMPLES, &limits()).unwrap().fault;
        assert_eq!(fault(&masked), None);
        assert!(fault(&with(&[(0, f32::INFINITY), (9, f32::NAN)])).is_some());
        assert!(fault(&with(&[(0, f32::NEG_INFINITY)])).is_some());
        // Where all is masked there is no signal, and any number is wrong.
        let nothing = altered(|values| values.fill(f32::NAN));
        assert_eq!(compare(&nothing, &nothing, SAMPLES, &limits()).unwrap().fault, None);
        assert!(compare(&nothing, &reference(), SAMPLES, &limits()).unwrap().fault.is_some());
    }

    #[test]
    fn an_output_of_zeros_allows_nothing_else() {
        let zeros = altered(|values| values.fill(0.0));
        let nearly = altered(|values| {
            values.fill(0.0);
            values[3] = 1e-30;
        });
        assert_eq!(compare(&zeros, &zeros, SAMPLES, &limits()).unwrap().fault, None);
        assert!(compare(&zeros, &nearly, SAMPLES, &limits()).unwrap().fault.is_some());
    }

    #[test]
    fn whole_numbers_are_equal_or_wrong_beyond_the_floats_too() {
        let ids = |last: i64| Tensor::new("ids", vec![2, 2], Values::Int64(vec![1, 2, 3, last])).unwrap();
        let exact = (1 << 53) + 1;
        let found = compare(&ids(exact), &ids(exact), 2, &limits()).unwrap();
        assert_eq!((found.fault, found.sqnr_db), (None, EXACT));
        let found = compare(&ids(exact), &ids(exact - 1), 2, &limits()).unwrap();
        assert_eq!(
            found.fault.as_deref(),
            Some(
                "1 of 4 values differ, the first in sample 1, element 1: 9007199254740992 instead of 9007199254740993"
            )
        );
        let truth = |value| Tensor::new("m", vec![1], Values::Bool(vec![value])).unwrap();
        assert!(compare(&truth(true), &truth(false), 1, &limits()).unwrap().fault.is_some());
    }

    #[rstest]
    #[case::shape(Tensor::float32("y", vec![SAMPLES, 4], vec![0.0; SAMPLES * 4]).unwrap(), "it has shape [20, 4], the reference has [20, 5]")]
    #[case::samples(Tensor::float32("y", vec![SAMPLES - 1, 5], vec![0.0; (SAMPLES - 1) * 5]).unwrap(), "it has shape [19, 5]")]
    #[case::kind(Tensor::new("y", vec![SAMPLES, 5], Values::Int32(vec![0; SAMPLES * 5])).unwrap(), "it is int32, the reference has float32")]
    fn what_cannot_be_compared_fails(#[case] actual: Tensor, #[case] words: &str) {
        let fault = fault(&actual).unwrap();
        assert!(fault.starts_with(words), "{fault}");
    }

    #[test]
    fn a_reference_without_samples_judges_nothing() {
        let error = compare(&reference(), &reference(), SAMPLES + 1, &limits()).unwrap_err();
        assert_eq!(error.kind, crate::ErrorKind::Invalid);
    }

    #[test]
    fn outputs_in_each_others_places_are_named() {
        let a = reference();
        let b = Tensor { name: "z".to_owned(), ..altered(|values| values.reverse()) };
        let swapped = (Tensor { name: "y".to_owned(), ..b.clone() }, Tensor { name: "z".to_owned(), ..a.clone() });
        let exchanged = |pairs: &[(&Tensor, &Tensor)]| {
            let failing: Vec<(&Tensor, &Tensor)> = pairs
                .iter()
                .filter(|(x, y)| compare(x, y, SAMPLES, &limits()).unwrap().fault.is_some())
                .copied()
                .collect();
            exchanged(&failing, SAMPLES, &limits()).map(|(one, other)| (one.to_owned(), other.to_owned()))
        };
        let named = exchanged(&[(&a, &swapped.0), (&b, &swapped.1)]);
        assert_eq!(named, Some(("y".to_owned(), "z".to_owned())));
        assert_eq!(exchanged(&[(&a, &a), (&b, &swapped.1)]), None);
    }
}

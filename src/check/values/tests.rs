//! Outputs compared element by element.

#![allow(clippy::unwrap_used)]
use rstest::rstest;

use super::*;
use crate::tensor::Values;

const SAMPLES: usize = 20;

fn limits() -> ValueLimits {
    ValueLimits { absolute: 0.05, relative: 0.005, sqnr_db: 44.0, least: 0.0, source: "a test".to_owned() }
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
    let with = |values: &[(usize, f32)]| altered(|all| values.iter().for_each(|&(index, value)| all[index] = value));
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
        Some("1 of 4 values differ, the first in sample 1, element 1: 9007199254740992 instead of 9007199254740993")
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
        let failing: Vec<(&Tensor, &Tensor)> =
            pairs.iter().filter(|(x, y)| compare(x, y, SAMPLES, &limits()).unwrap().fault.is_some()).copied().collect();
        exchanged(&failing, SAMPLES, &limits()).map(|(one, other)| (one.to_owned(), other.to_owned()))
    };
    let named = exchanged(&[(&a, &swapped.0), (&b, &swapped.1)]);
    assert_eq!(named, Some(("y".to_owned(), "z".to_owned())));
    assert_eq!(exchanged(&[(&a, &a), (&b, &swapped.1)]), None);
}

#[test]
fn what_lies_below_the_least_number_of_a_precision_is_not_judged_and_nothing_above_it_passes() {
    let halves = ValueLimits { least: 6e-8, ..limits() };
    let tiny = altered(|values| values.iter_mut().for_each(|value| *value *= 1e-11));
    let with = |value: f32| Tensor {
        values: Values::Float32(
            tiny.floats().iter().enumerate().map(|(at, x)| if at == 7 { value } else { *x }).collect(),
        ),
        ..tiny.clone()
    };
    let zeros = Tensor { values: Values::Float32(vec![0.0; SAMPLES * 5]), ..tiny.clone() };
    let judged = |actual: &Tensor, limits: &ValueLimits| compare(&tiny, actual, SAMPLES, limits);
    // Rounding to halves makes zeros of it: that is neither right nor wrong.
    let error = judged(&zeros, &halves).unwrap_err();
    assert_eq!(error.kind, crate::ErrorKind::Invalid);
    assert!(error.message.ends_with("which this precision hardly holds: nothing was judged"), "{error}");
    assert!(error.hint.is_some());
    // A precision that holds such values is held to them.
    assert!(judged(&zeros, &limits()).unwrap().fault.is_some());
    // What is above the least number is a fault, a single value of hundreds too.
    assert!(judged(&with(1.0), &halves).unwrap().fault.unwrap().starts_with("1 of 100 values are off"));
    assert!(judged(&with(1e-7), &halves).unwrap().fault.is_some());
    // What agrees is judged, however small.
    assert_eq!(judged(&tiny, &halves).unwrap().fault, None);
    // Errors below the least number fail no output that is answered.
    let answered = Tensor { values: with(1.0).values, ..tiny.clone() };
    let rounded = altered(|values| {
        values.fill(0.0);
        values[7] = 1.0;
    });
    assert_eq!(compare(&answered, &rounded, SAMPLES, &halves).unwrap().fault, None);
}

#[test]
fn figures_are_those_of_all_elements_at_once() {
    let (before, after) = (
        reference(),
        altered(|values| {
            values.iter_mut().enumerate().for_each(|(index, value)| *value += 0.001 * (index as f32));
        }),
    );
    let found = compare(&before, &after, SAMPLES, &limits()).unwrap();
    let mut errors: Vec<f64> =
        before.floats().iter().zip(after.floats().iter()).map(|(x, y)| (f64::from(*x) - f64::from(*y)).abs()).collect();
    errors.sort_by(f64::total_cmp);
    let energy = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
    let signal: Vec<f64> = before.floats().iter().map(|value| f64::from(*value)).collect();
    let expected = 10.0 * (energy(&signal) / energy(&errors)).log10();
    assert!((found.sqnr_db - expected).abs() < 1e-9, "{} {expected}", found.sqnr_db);
    assert!((found.p99_abs - errors[98]).abs() < 1e-12 && (found.max_abs - errors[99]).abs() < 1e-12);
    assert!((found.mean_abs - errors.iter().sum::<f64>() / 100.0).abs() < 1e-12);
    assert!(found.cosine_min < 1.0 && found.cosine_min > 0.99);
}

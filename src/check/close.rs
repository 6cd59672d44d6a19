//! Whether two tensors are close in the sense of `numpy.testing.assert_allclose`, which ONNX's own tests go by.

use crate::error::{Error, Result};
use crate::figure::figure;
use crate::tensor::{ElementType, Tensor};

/// Largest difference of two elements: `absolute` + `relative` × the expected magnitude.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Closeness {
    /// Share of the expected element.
    pub relative: f64,
    /// In the element's own unit.
    pub absolute: f64,
}

/// Holds `actual` to `expected`: element type, shape, and every element. NaN and infinities stand at the same places. Whole numbers
/// are held to the same bound, as NumPy does; booleans are equal.
///
/// # Errors
/// `Failed`, naming the output and the first element that is off.
pub fn close(expected: &Tensor, actual: &Tensor, bound: Closeness) -> Result<()> {
    let name = &actual.name;
    let wrong = |message: String| Err(Error::failed(format!("output `{name}`: {message}")));
    if expected.element_type() != actual.element_type() {
        return wrong(format!("it is {}, expected {}", actual.element_type(), expected.element_type()));
    }
    if expected.shape != actual.shape {
        return wrong(format!("it has shape {:?}, expected {:?}", actual.shape, expected.shape));
    }
    if expected.values.len() != actual.values.len() {
        return wrong(format!("{} values, expected {}", actual.values.len(), expected.values.len()));
    }
    if expected.values.is_bit_equal(&actual.values) {
        return Ok(());
    }
    let exact = expected.element_type() == ElementType::Bool;
    let near = |expected: f64, actual: f64| {
        expected == actual
            || expected.is_nan() && actual.is_nan()
            || !exact
                && (actual - expected).abs() <= bound.relative.mul_add(expected.abs(), bound.absolute)
                && expected.is_finite()
    };
    let pairs: Vec<(f64, f64)> = expected.values.to_f64().into_iter().zip(actual.values.to_f64()).collect();
    let off = pairs.iter().filter(|(expected, actual)| !near(*expected, *actual)).count();
    match pairs.iter().position(|(expected, actual)| !near(*expected, *actual)) {
        None => Ok(()),
        Some(index) => {
            let (expected, actual) = pairs.get(index).copied().unwrap_or_default();
            wrong(format!(
                "{off} of {} values are off, the first is element {index}: {}, expected {}",
                pairs.len(),
                figure(actual),
                figure(expected)
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::tensor::Values;

    const BOUND: Closeness = Closeness { relative: 1e-3, absolute: 1e-7 };

    fn floats(values: &[f32]) -> Tensor {
        Tensor::float32("y", vec![values.len()], values.to_vec()).unwrap()
    }

    #[rstest]
    #[case::within(&[1.0, -2.0], &[1.0009, -2.001], true)]
    #[case::beyond(&[1.0, -2.0], &[1.0, -2.01], false)]
    #[case::near_zero(&[0.0], &[9e-8], true)]
    #[case::not_so_near_zero(&[0.0], &[2e-7], false)]
    #[case::nan_beside_nan(&[f32::NAN], &[f32::NAN], true)]
    #[case::nan(&[1.0], &[f32::NAN], false)]
    #[case::expected_nan(&[f32::NAN], &[1.0], false)]
    #[case::infinite(&[f32::INFINITY], &[f32::INFINITY], true)]
    #[case::infinite_otherwise(&[f32::INFINITY], &[f32::NEG_INFINITY], false)]
    #[case::not_infinite(&[f32::INFINITY], &[3e38], false)]
    #[case::not_finite(&[3e38], &[f32::INFINITY], false)]
    fn floats_are_close_as_numpy_says(#[case] expected: &[f32], #[case] actual: &[f32], #[case] is: bool) {
        assert_eq!(close(&floats(expected), &floats(actual), BOUND).is_ok(), is);
    }

    #[test]
    fn types_shapes_and_booleans_are_equal() {
        let whole =
            |values: Vec<i64>| Tensor { name: "y".into(), shape: vec![values.len()], values: Values::Int64(values) };
        close(&whole(vec![1000, 5]), &whole(vec![1001, 5]), BOUND).unwrap();
        let error = close(&whole(vec![10, 5]), &whole(vec![11, 5]), BOUND).unwrap_err();
        assert_eq!(error.message, "output `y`: 1 of 2 values are off, the first is element 0: 11, expected 10");
        close(&floats(&[1.0]), &whole(vec![1]), BOUND).unwrap_err();
        let wide = Tensor { shape: vec![1, 2], ..floats(&[1.0, 2.0]) };
        close(&wide, &floats(&[1.0, 2.0]), BOUND).unwrap_err();
        let bools = |value| Tensor { name: "y".into(), shape: vec![1], values: Values::Bool(vec![value]) };
        close(&bools(true), &bools(true), BOUND).unwrap();
        close(&bools(true), &bools(false), Closeness { relative: 2.0, absolute: 2.0 }).unwrap_err();
    }

    /// What is no number is near what is none either, and near nothing else.
    #[test]
    fn no_number_is_near_no_number_alone() {
        let near =
            |expected: f32, actual: f32| close(&floats(&[1.0, expected]), &floats(&[1.0001, actual]), BOUND).is_ok();
        assert!(near(f32::NAN, f32::NAN) && near(2.0, 2.0));
        assert!(!near(f32::NAN, 2.0) && !near(2.0, f32::NAN) && !near(f32::INFINITY, 2.0));
    }
}

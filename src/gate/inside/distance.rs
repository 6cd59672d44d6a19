//! How far one tensor is from another, summed in one pass.

use crate::check::metrics::SQNR_EQUAL_DB;

/// Sums over the elements of a tensor and its reference.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Distance {
    count: usize,
    sum: f64,
    signal: f64,
    noise: f64,
    /// Largest absolute error.
    pub(crate) max_abs: f64,
    /// Elements that are not finite in the tensor and finite in the reference.
    pub(crate) not_finite: usize,
}

impl Distance {
    fn add(&mut self, reference: f64, actual: f64) {
        self.count += 1;
        // The same infinity is no noise: a mask of -inf is what it was.
        if reference.is_infinite() {
            if actual != reference {
                self.noise = f64::NAN;
            }
            return;
        }
        self.sum += reference;
        self.signal += reference * reference;
        if !actual.is_finite() && reference.is_finite() {
            self.not_finite += 1;
            return;
        }
        let error = (reference - actual).abs();
        self.noise += error * error;
        self.max_abs = self.max_abs.max(error);
    }

    /// Signal over noise, `20 · log10(‖x‖ / ‖x − y‖)`, dB; as in the report, ±[`SQNR_EQUAL_DB`] at its ends. The worst
    /// value where anything is not finite.
    pub(crate) fn sqnr_db(&self) -> f64 {
        if self.not_finite > 0 || self.noise.is_nan() {
            return -SQNR_EQUAL_DB;
        }
        if self.noise == 0.0 {
            return SQNR_EQUAL_DB;
        }
        (10.0 * (self.signal / self.noise).log10()).clamp(-SQNR_EQUAL_DB, SQNR_EQUAL_DB)
    }

    /// Standard deviation of the reference.
    pub(crate) fn spread(&self) -> f64 {
        let count = self.count as f64;
        let mean = self.sum / count;
        (self.signal / count - mean * mean).max(0.0).sqrt()
    }
}

/// The distance of `actual` from `reference`, which have as many elements.
pub(crate) fn of(reference: &[f64], actual: &[f64]) -> Distance {
    let mut distance = Distance::default();
    for (reference, actual) in reference.iter().zip(actual) {
        distance.add(*reference, *actual);
    }
    distance
}

/// As [`of`], of single precision; `relu` makes negative values of `actual` zero first.
pub(crate) fn of_floats(reference: &[f32], actual: &[f32], relu: bool) -> Distance {
    let mut distance = Distance::default();
    for (&reference, &actual) in reference.iter().zip(actual) {
        // Not `max`, which drops a NaN.
        let actual = if relu && actual < 0.0 { 0.0 } else { actual };
        distance.add(f64::from(reference), f64::from(actual));
    }
    distance
}

/// Signal over noise of something that reads several tensors, were their noises independent and passed on as they are.
pub(crate) fn joined(sqnrs_db: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut any = false;
    let sqnrs_db = sqnrs_db.into_iter().inspect(|_| any = true);
    // Several without any noise have none together.
    let noise: f64 = sqnrs_db.filter(|sqnr| *sqnr < SQNR_EQUAL_DB).map(|sqnr| 10_f64.powf(-sqnr / 10.0)).sum();
    any.then(|| (-10.0 * noise.log10()).min(SQNR_EQUAL_DB))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn figures_of_a_small_case_by_hand() {
        let distance = of(&[3.0, 4.0], &[3.0, 4.5]);
        assert_relative_eq!(distance.sqnr_db(), 20.0, epsilon = 1e-9);
        assert_relative_eq!(distance.max_abs, 0.5);
        assert_relative_eq!(distance.spread(), 0.5);
    }

    /// Every value counts, whatever becomes of it; what is infinite in the reference is in no sum.
    #[test]
    fn what_is_summed_is_the_finite_values_of_the_reference() {
        let distance = of(&[1.0, 3.0, f64::INFINITY, 2.0], &[2.0, 1.0, f64::INFINITY, f64::NAN]);
        let expected = Distance { count: 4, sum: 6.0, signal: 14.0, noise: 5.0, max_abs: 2.0, not_finite: 1 };
        assert_eq!(distance, expected);
        assert_relative_eq!(of(&[-2.0, -2.0, -2.0], &[0.0; 3]).spread(), 0.0);
        assert_relative_eq!(of(&[1.0, 3.0, 5.0], &[0.0; 3]).spread(), (8.0_f64 / 3.0).sqrt(), epsilon = 1e-12);
        // A value that neither side can tell is no error that this side made.
        assert_eq!(of(&[f64::NAN], &[f64::NAN]).not_finite, 0);
    }

    #[test]
    fn the_relu_is_applied_to_the_actual_values() {
        assert_relative_eq!(of_floats(&[0.0, 2.0], &[-7.0, 2.0], true).sqnr_db(), SQNR_EQUAL_DB);
        assert!(of_floats(&[0.0, 2.0], &[-7.0, 2.0], false).sqnr_db() < 0.0);
    }

    #[test]
    fn what_is_not_finite_is_the_worst() {
        for value in [f32::NAN, f32::INFINITY] {
            let distance = of_floats(&[1.0, 2.0], &[1.0, value], true);
            assert_eq!(distance.not_finite, 1);
            assert_relative_eq!(distance.sqnr_db(), -SQNR_EQUAL_DB);
        }
    }

    #[test]
    fn the_same_infinity_is_no_noise_and_another_is_the_worst() {
        let infinite = f64::NEG_INFINITY;
        assert_relative_eq!(of(&[infinite, 1.0], &[infinite, 1.0]).sqnr_db(), SQNR_EQUAL_DB);
        assert_relative_eq!(of(&[infinite, 3.0, 4.0], &[infinite, 3.0, 4.5]).sqnr_db(), 20.0, epsilon = 1e-9);
        for other in [f64::INFINITY, -3.0e38, f64::NAN] {
            assert!(of(&[infinite, 1.0], &[other, 1.0]).sqnr_db() < -900.0, "{other}");
        }
    }

    #[test]
    fn noises_add_up() {
        assert_relative_eq!(joined([30.0, 30.0]).unwrap(), 30.0 - 10.0 * 2_f64.log10(), epsilon = 1e-9);
        assert_relative_eq!(joined([SQNR_EQUAL_DB, 20.0]).unwrap(), 20.0, epsilon = 1e-9);
        assert_eq!(joined([]), None);
    }
}

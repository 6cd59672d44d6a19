//! Whether answers follow their samples. An output that hardly moves around a large value is as near as ever where all that its
//! samples change in it is lost: a constant beside scores between 0.46 and 0.56 lies 27 dB above its noise.

use super::ValueLimits;
use crate::error::{Error, Result};
use crate::figure::figure;
use crate::tensor::Tensor;

/// Answers with less than this share of the energy of the reference's movement stand still.
const STANDS_STILL: f64 = 1.0 / 16.0;
/// What they are off by then at least, of that energy: (1 - 1/4)².
const STILL_NOISE: f64 = 0.5;
/// What lies so many dB below the noise that the precision may have is less than it resolves: of FP32 6e-6 of the output, of FP16 4e-4,
/// of INT8 0.9 %. That something so small stands still is not seen here.
const UNRESOLVED: f64 = 24.0;
/// An error that lies so many dB below it is rounding, however little the samples change: FP16 of a captcha reader that is fed noise
/// lies 12.8 dB below it, and its answers move less than that.
const ROUNDS: f64 = 12.0;

/// One element over the samples: its mean on both sides, and the energy of its movement around it (Welford, Technometrics 4, 1962).
#[derive(Clone, Copy, Default)]
struct Element {
    count: f64,
    means: [f64; 2],
    movements: [f64; 2],
}

impl Element {
    fn add(&mut self, values: [f64; 2]) {
        self.count += 1.0;
        for ((value, mean), movement) in values.into_iter().zip(&mut self.means).zip(&mut self.movements) {
            let before = value - *mean;
            *mean += before / self.count;
            *movement += before * (value - *mean);
        }
    }
}

/// What is wrong with the movement of `actual`, where something is. `scale` is the root mean square of the reference, `noise` that of
/// the error.
///
/// # Errors
/// `Invalid` where the samples change so little in the reference's answers that the error hides it.
pub(super) fn lost(
    reference: &Tensor,
    actual: &Tensor,
    limits: &ValueLimits,
    [scale, noise]: [f64; 2],
) -> Result<Option<String>> {
    let below = |decibels: f64| scale * 10_f64.powf(-(limits.sqnr_db + decibels) / 20.0);
    let least = below(UNRESOLVED).max(limits.least);
    // An error that would hide no movement which is looked at hides none.
    if limits.sqnr_db <= 0.0 || reference.batch() < 2 || noise <= STILL_NOISE.sqrt() * least {
        return Ok(None);
    }
    let mut elements = vec![Element::default(); reference.row_len().max(1)];
    let mut index = 0_usize;
    let row = elements.len();
    reference.values.visit_beside(&actual.values, |x, y| {
        if let Some(element) = elements.get_mut(index % row).filter(|_| x.is_finite()) {
            element.add([x, y]);
        }
        index += 1;
    });
    let count: f64 = elements.iter().map(|element| element.count).sum();
    let moves = |side: fn(&Element) -> f64| (elements.iter().map(side).sum::<f64>() / count.max(1.0)).sqrt();
    let (movement, follows) = (moves(|element| element.movements[0]), moves(|element| element.movements[1]));
    if movement <= least {
        return Ok(None);
    }
    if follows < STANDS_STILL.sqrt() * movement && noise > STILL_NOISE.sqrt() * movement {
        return Ok(Some(format!(
            "the answers do not follow the samples: around their means the reference's move by {} in their root mean square, these by {}",
            figure(movement),
            figure(follows)
        )));
    }
    // The best constant is off by the movement itself.
    if noise < movement || noise < below(ROUNDS) {
        return Ok(None);
    }
    Err(Error::invalid(format!(
        "the error ({} in its root mean square) is as large as what the samples change in the reference's answers ({} around their means): nothing of it was judged",
        figure(noise),
        figure(movement)
    ))
    .hint("feed samples that the model answers differently (`from = \"samples.npz\"`), or judge the output by what it is for (`task`)"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::super::compare;
    use super::*;
    use crate::error::ErrorKind;

    const SAMPLES: usize = 64;

    /// The limits of INT8, about.
    fn limits(sqnr_db: f64) -> ValueLimits {
        ValueLimits { absolute: 0.3, relative: 0.01, sqnr_db, least: 1.2e-7, source: String::new() }
    }

    /// Two elements a sample around one half, which move by `by`.
    fn around_a_half(by: f32) -> Vec<f32> {
        (0..SAMPLES * 2).map(|index| 0.5 + by * ((index * 37 % 64) as f32 / 32.0 - 1.0)).collect()
    }

    fn tensor(values: Vec<f32>) -> Tensor {
        Tensor::float32("y", vec![SAMPLES, 2], values).unwrap()
    }

    #[rstest]
    #[case::the_same_with_noise(|values: &mut Vec<f32>| values.iter_mut().step_by(3).for_each(|value| *value += 0.004), None)]
    #[case::constant(|values: &mut Vec<f32>| values.fill(0.5), Some("the answers do not follow the samples: around their means the reference's move by 0.0289"))]
    #[case::nearly_constant(|values: &mut Vec<f32>| values.iter_mut().for_each(|value| *value = 0.5 + (*value - 0.5) * 0.1), Some("these by 0.00289"))]
    fn answers_that_stand_still_fail_however_near_they_are(
        #[case] change: fn(&mut Vec<f32>),
        #[case] words: Option<&str>,
    ) {
        let reference = tensor(around_a_half(0.05));
        let mut values = around_a_half(0.05);
        change(&mut values);
        let found = compare(&reference, &tensor(values), SAMPLES, &limits(17.0)).unwrap();
        assert!(found.sqnr_db > 20.0, "{}", found.sqnr_db);
        match words {
            None => assert_eq!(found.fault, None),
            Some(words) => assert!(found.fault.as_ref().unwrap().contains(words), "{:?}", found.fault),
        }
    }

    #[test]
    fn movement_that_the_error_hides_is_not_judged() {
        let reference = tensor(around_a_half(0.05));
        let mut turned = around_a_half(0.05);
        turned.reverse();
        let error = compare(&reference, &tensor(turned.clone()), SAMPLES, &limits(17.0)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.message.contains("nothing of it was judged") && error.hint.is_some(), "{error}");
        // Where no noise is asked about, nor is movement: trials of one session with itself.
        assert_eq!(compare(&reference, &tensor(turned), SAMPLES, &limits(0.0)).unwrap().fault, None);
    }

    #[rstest]
    #[case(1e-4)]
    #[case(4e-4)]
    fn rounding_is_not_held_to_movement_that_is_smaller_yet(#[case] by: f32) {
        // 1e-4 around one half moves less than halves resolve, 4e-4 no more than they round: 60 dB and more, where 44 are asked.
        let reference = tensor(around_a_half(by));
        let rounded: Vec<f32> = around_a_half(by).iter().map(|value| half::f16::from_f32(*value).to_f32()).collect();
        assert_eq!(compare(&reference, &tensor(rounded), SAMPLES, &limits(44.0)).unwrap().fault, None);
    }

    #[test]
    fn what_does_not_move_has_nothing_to_follow() {
        // A constant but for rounding, and one altogether, which is another sentence of the report.
        for by in [1e-7, 0.0] {
            let reference = tensor(around_a_half(by));
            let found = compare(&reference, &tensor(vec![0.5001; SAMPLES * 2]), SAMPLES, &limits(17.0)).unwrap();
            assert_eq!(found.fault, None, "{by}");
        }
        let one = Tensor::float32("y", vec![1, 2], vec![0.4, 0.6]).unwrap();
        let other = Tensor::float32("y", vec![1, 2], vec![0.41, 0.6]).unwrap();
        assert_eq!(compare(&one, &other, 1, &limits(17.0)).unwrap().fault, None);
    }
}

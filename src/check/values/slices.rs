//! What lies along one index of an axis, held to its own size: scores beside coordinates a thousand times as large may all be
//! lost, and the output as a whole is as near as ever.

use super::ValueLimits;
use crate::figure::figure;
use crate::tensor::Tensor;

/// Fewest elements of a slice that is judged, and most slices of an axis.
const ELEMENTS: usize = 32;
const SLICES: usize = 1024;
/// Most columns of an output of two dimensions.
const COLUMNS: usize = 64;
/// A slice that lies this many dB below the noise that the whole may have is below what any precision keeps beside it.
const BELOW_NOISE: f64 = 60.0;
/// As many times as large as the least number that the precision holds is what it holds to three figures.
const HELD: f64 = 1e4;

/// Sums along one axis.
struct Along {
    axis: usize,
    size: usize,
    /// Elements from one index to the next.
    inner: usize,
    signal: Vec<f64>,
    noise: Vec<f64>,
}

/// The axes whose slices are judged: the first behind the batch, and the last.
fn axes(shape: &[usize]) -> Vec<Along> {
    let elements: usize = shape.iter().product();
    let last = shape.len().saturating_sub(1);
    let mut wanted: Vec<usize> = [1, last].into_iter().filter(|&axis| axis > 0 && axis < shape.len()).collect();
    wanted.dedup();
    let along = |axis: usize| {
        let size = *shape.get(axis)?;
        let most = if shape.len() == 2 { COLUMNS } else { SLICES };
        let fits = (2..=most).contains(&size) && elements / size >= ELEMENTS;
        let inner = shape.iter().skip(axis + 1).product();
        fits.then(|| Along { axis, size, inner, signal: vec![0.0; size], noise: vec![0.0; size] })
    };
    wanted.into_iter().filter_map(along).collect()
}

/// The slice that is lost, in words: its noise is above a limit of its own, a quarter of the whole's dB less one (FP32 19 dB,
/// FP16 10, INT8 3.25: at 10 dB a third of each value is noise). `scale` is the root mean square of the whole output.
pub(super) fn lost(reference: &Tensor, actual: &Tensor, limits: &ValueLimits, scale: f64) -> Option<String> {
    let mut all = axes(&reference.shape);
    if all.is_empty() {
        return None;
    }
    let mut index = 0_usize;
    reference.values.visit_beside(&actual.values, |x, y| {
        for along in &mut all {
            let place = index / along.inner.max(1) % along.size;
            if let (Some(signal), Some(noise)) = (along.signal.get_mut(place), along.noise.get_mut(place))
                && x.is_finite()
            {
                *signal += x * x;
                *noise += (x - y) * (x - y);
            }
        }
        index += 1;
    });
    let asked = limits.sqnr_db / 4.0 - 1.0;
    let floor = (scale * 10.0_f64.powf(-(limits.sqnr_db + BELOW_NOISE) / 20.0)).max(HELD * limits.least);
    let elements: usize = reference.shape.iter().product();
    let judged = all.iter().flat_map(|along| {
        let each = (elements / along.size) as f64;
        along.signal.iter().zip(&along.noise).enumerate().filter_map(move |(place, (signal, noise))| {
            let size = (signal / each).sqrt();
            // Written so that a NaN is lost.
            let kept = size <= floor || *noise <= signal * 10.0_f64.powf(-asked / 10.0);
            (!kept).then(|| (along.axis, place, size, (noise / each).sqrt()))
        })
    });
    let (axis, place, size, noise) = judged.max_by(|one, other| (one.3 / one.2).total_cmp(&(other.3 / other.2)))?;
    Some(format!(
        "what lies at index {place} of axis {axis} is lost: its root mean square is {}, that of its errors {}, though beside the rest ({}) that is little",
        figure(size),
        figure(noise),
        figure(scale)
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::super::{ValueLimits, compare};
    use crate::tensor::{Tensor, Values};

    const SHAPE: [usize; 3] = [4, 6, 50];

    /// A raw head: four rows of coordinates to 640, two of scores to 0.8.
    fn head(scores: impl Fn(usize) -> f64) -> Tensor {
        let value = |index: usize| {
            let row = index / SHAPE[2] % SHAPE[1];
            let wave = ((index * 7919 % 997) as f64 / 997.0).max(0.01);
            if row < 4 { 640.0 * wave } else { scores(index) }
        };
        let values = (0..SHAPE.iter().product()).map(|index| value(index) as f32).collect();
        Tensor { name: "y".to_owned(), shape: SHAPE.to_vec(), values: Values::Float32(values) }
    }

    fn score(index: usize) -> f64 {
        0.8 * (index * 104_729 % 1009) as f64 / 1009.0
    }

    fn limits(sqnr_db: f64, least: f64) -> ValueLimits {
        ValueLimits { absolute: 0.05, relative: 0.01, sqnr_db, least, source: String::new() }
    }

    fn fault(actual: &Tensor, limits: &ValueLimits) -> Option<String> {
        compare(&head(score), actual, SHAPE[0], limits).unwrap().fault
    }

    #[rstest]
    #[case::fp16(44.0, 1.2e-7)]
    #[case::fp32(80.0, 0.0)]
    #[case::int8(17.0, 1.2e-7)]
    fn scores_that_are_lost_beside_coordinates_are_named(#[case] sqnr_db: f64, #[case] least: f64) {
        let words = fault(&head(|_| 0.0), &limits(sqnr_db, least)).unwrap();
        // FP32 is held to more dB than that.
        assert!(sqnr_db > 60.0 || words.contains("of axis 1 is lost"), "{words}");
        let noisy = head(|index| score(index) + 0.6 * ((index % 2) as f64 - 0.5));
        assert!(sqnr_db < 40.0 || fault(&noisy, &limits(sqnr_db, least)).is_some());
        let sound = head(|index| score(index) * (1.0 + 1e-3 * ((index % 2) as f64 - 0.5)));
        assert_eq!(fault(&sound, &limits(sqnr_db, least)), None);
    }

    /// What lies below what the precision holds beside the rest is no slice of its own.
    #[test]
    fn what_no_precision_holds_beside_the_rest_is_not_judged() {
        let faint = |index: usize| 1e-4 * score(index);
        let reference = head(faint);
        let found = compare(&reference, &head(|_| 0.0), SHAPE[0], &limits(44.0, 1.2e-7)).unwrap();
        assert_eq!(found.fault, None);
    }
}

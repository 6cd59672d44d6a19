//! Distance of outputs from the reference: error, cosine, SQNR, histogram, worst samples.

use crate::check::pair::OutputPair;
use crate::findings::{ErrorMetrics, Histogram, WorstProbe};

/// SQNR reported for outputs without any difference, dB; its negative stands for "all noise, no signal".
pub const SQNR_EQUAL_DB: f64 = 999.0;

/// Worst samples kept by [`measure`].
pub const WORST_KEPT: usize = 8;

/// Lower edge, width and number of the bins of the report's histogram of `log10(absolute error)`: the same for every cell,
/// so that histograms can be laid over each other.
const HISTOGRAM_FROM: f64 = -10.0;
const HISTOGRAM_STEP: f64 = 0.25;
const HISTOGRAM_BINS: usize = 48;

/// Bounds on one element: it is admitted within `absolute` OR within `relative` of the reference's magnitude.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Largest absolute error.
    pub absolute: f64,
    /// Largest error as a share of the reference's magnitude.
    pub relative: f64,
}

impl Tolerance {
    /// Whether `error` at a reference value of `magnitude` is admitted; a NaN anywhere is not.
    pub fn admits(&self, error: f64, magnitude: f64) -> bool {
        // Both bounds are always looked at: a branch that depends on the data costs more than a product.
        (error <= self.absolute) | (error <= self.relative * magnitude)
    }
}

/// What [`measure`] finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// The figures over all samples and classes.
    pub error: ErrorMetrics,
    /// The distribution of the absolute error; an element within 0.8 % above a bin's edge may count below it.
    pub histogram: Histogram,
    /// At most [`WORST_KEPT`] samples with the largest error, the worst first; none with no error at all.
    pub worst: Vec<WorstProbe>,
    /// The largest absolute error of each sample.
    pub sample_max_abs: Vec<f64>,
}

/// Measures the distance of a pair in two linear passes, with 64-bit accumulation.
///
/// * SQNR is `20 · log10(‖x‖ / ‖x − y‖)` over all elements, x the reference (as in ONNX Runtime's quantisation debugger):
///   higher is better, [`SQNR_EQUAL_DB`] when nothing differs.
/// * The cosine is that of the worst sample; of two zero rows it is 1, of one zero row 0.
/// * The percentile is the smallest error that at least 99 % of the elements do not exceed, rounded to `f32`.
pub fn measure(pair: &OutputPair<'_>, tolerance: Tolerance) -> Metrics {
    let mut spread = Spread::new();
    let mut totals = Totals::default();
    let mut cosine_min = 1.0_f64;
    let mut sample_max_abs = Vec::with_capacity(pair.samples());
    let mut worst = Worst::default();
    for (index, (reference, actual)) in pair.rows().enumerate() {
        let row = Totals::of(reference, actual, tolerance);
        spread.count(reference, actual);
        cosine_min = cosine_min.min(cosine(&row));
        sample_max_abs.push(row.max);
        worst.offer(index, row.max);
        totals.add(&row);
    }
    let elements = pair.reference().len();
    let error = ErrorMetrics {
        max_abs: totals.max,
        mean_abs: totals.error / elements as f64,
        p99_abs: spread.percentile_99(pair),
        cosine_min,
        sqnr_db: sqnr(totals.signal, totals.noise),
        outside: usize::try_from(totals.outside).unwrap_or(usize::MAX),
    };
    Metrics { error, histogram: spread.histogram(), worst: worst.probes(pair), sample_max_abs }
}

#[derive(Default)]
struct Totals {
    signal: f64,
    actual: f64,
    dot: f64,
    noise: f64,
    error: f64,
    max: f64,
    outside: u64,
}

/// Sums kept side by side, so that one addition does not wait for the one before it and the processor's vectors are used.
const LANES: usize = 4;

impl Totals {
    fn of(reference: &[f32], actual: &[f32], tolerance: Tolerance) -> Self {
        let mut lanes: [Self; LANES] = Default::default();
        let (xs, x_rest) = reference.as_chunks::<LANES>();
        let (ys, y_rest) = actual.as_chunks::<LANES>();
        for (xs, ys) in xs.iter().zip(ys) {
            for ((lane, &x), &y) in lanes.iter_mut().zip(xs).zip(ys) {
                lane.element(x, y, tolerance);
            }
        }
        for ((lane, &x), &y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
            lane.element(x, y, tolerance);
        }
        lanes.iter().fold(Self::default(), |mut sum, lane| {
            sum.add(lane);
            sum
        })
    }

    #[inline]
    fn element(&mut self, x: f32, y: f32, tolerance: Tolerance) {
        let (x, y) = (f64::from(x), f64::from(y));
        let error = (x - y).abs();
        self.signal += x * x;
        self.actual += y * y;
        self.dot += x * y;
        self.noise += error * error;
        self.error += error;
        // No NaN comes here, and a plain comparison is one instruction where `f64::max` is four.
        self.max = if error > self.max { error } else { self.max };
        self.outside += u64::from(!tolerance.admits(error, x.abs()));
    }

    fn add(&mut self, row: &Self) {
        self.signal += row.signal;
        self.actual += row.actual;
        self.dot += row.dot;
        self.noise += row.noise;
        self.error += row.error;
        self.max = self.max.max(row.max);
        self.outside += row.outside;
    }
}

fn cosine(row: &Totals) -> f64 {
    if row.signal == 0.0 && row.actual == 0.0 {
        return 1.0;
    }
    if row.signal == 0.0 || row.actual == 0.0 {
        return 0.0;
    }
    (row.dot / (row.signal * row.actual).sqrt()).clamp(-1.0, 1.0)
}

fn sqnr(signal: f64, noise: f64) -> f64 {
    if noise == 0.0 {
        return SQNR_EQUAL_DB;
    }
    // JSON has no infinity: a zero reference under noise is the negative of the largest value.
    (10.0 * (signal / noise).log10()).clamp(-SQNR_EQUAL_DB, SQNR_EQUAL_DB)
}

/// Counts of errors by the upper 15 bits below the sign of their `f32` pattern (exponent and 7 bits of mantissa): patterns
/// of non-negative floats sort as the floats do, so an exact percentile needs only the elements of one bin.
struct Spread {
    counts: Vec<u64>,
}

const SPREAD_SHIFT: u32 = 16;

impl Spread {
    fn new() -> Self {
        Self { counts: vec![0; 1 << (31 - SPREAD_SHIFT)] }
    }

    /// The error as `f32`, never infinite.
    fn narrow(error: f64) -> f32 {
        (error as f32).min(f32::MAX)
    }

    fn bin(error: f32) -> usize {
        (error.to_bits() >> SPREAD_SHIFT) as usize
    }

    /// The absolute error of an element as `f32`, as it is counted.
    fn error(x: f32, y: f32) -> f32 {
        Self::narrow((f64::from(x) - f64::from(y)).abs())
    }

    fn count(&mut self, reference: &[f32], actual: &[f32]) {
        for (&x, &y) in reference.iter().zip(actual) {
            if let Some(count) = self.counts.get_mut(Self::bin(Self::error(x, y))) {
                *count += 1;
            }
        }
    }

    fn percentile_99(&self, pair: &OutputPair<'_>) -> f64 {
        let elements = pair.reference().len() as u64;
        let rank = (elements * 99).div_ceil(100).max(1);
        let mut below = 0;
        let Some(bin) = self.counts.iter().position(|&count| {
            let reached = below + count >= rank;
            if !reached {
                below += count;
            }
            reached
        }) else {
            return 0.0;
        };
        let errors = pair.reference().iter().zip(pair.actual()).map(|(&x, &y)| Self::error(x, y));
        let mut inside: Vec<f32> = errors.filter(|&error| Self::bin(error) == bin).collect();
        let place = usize::try_from(rank - below - 1).unwrap_or(usize::MAX);
        if place >= inside.len() {
            return 0.0;
        }
        let (_, value, _) = inside.select_nth_unstable_by(place, f32::total_cmp);
        f64::from(*value)
    }

    fn histogram(&self) -> Histogram {
        let mut counts = vec![0; HISTOGRAM_BINS];
        for (bin, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count != 0) {
            let lower = f32::from_bits((bin as u32) << SPREAD_SHIFT);
            let place = ((f64::from(lower).log10() - HISTOGRAM_FROM) / HISTOGRAM_STEP).floor();
            // The logarithm of zero saturates to the first bin, as everything below its upper edge does.
            let place = (place.max(0.0) as usize).min(HISTOGRAM_BINS - 1);
            if let Some(total) = counts.get_mut(place) {
                *total += count;
            }
        }
        Histogram { from: HISTOGRAM_FROM, step: HISTOGRAM_STEP, counts }
    }
}

/// The samples with the largest error, the worst first, ties to the lower index.
#[derive(Default)]
struct Worst {
    kept: Vec<(usize, f64)>,
}

impl Worst {
    fn offer(&mut self, index: usize, error: f64) {
        let full = self.kept.len() == WORST_KEPT;
        if error == 0.0 || (full && self.kept.last().is_some_and(|&(_, least)| error <= least)) {
            return;
        }
        let place = self.kept.partition_point(|&(_, kept)| kept >= error);
        self.kept.insert(place, (index, error));
        self.kept.truncate(WORST_KEPT);
    }

    fn probes(&self, pair: &OutputPair<'_>) -> Vec<WorstProbe> {
        let row = |values: &[f32], index: usize| top3(values.chunks_exact(pair.classes()).nth(index).unwrap_or(&[]));
        let probe = |&(probe, max_abs): &(usize, f64)| WorstProbe {
            probe,
            max_abs,
            reference_top3: row(pair.reference(), probe),
            actual_top3: row(pair.actual(), probe),
        };
        self.kept.iter().map(probe).collect()
    }
}

/// The three best classes of a row with their outputs, the best first, ties to the lower class.
pub fn top3(row: &[f32]) -> Vec<(usize, f32)> {
    let mut best: Vec<(usize, f32)> = Vec::with_capacity(4);
    for (class, &value) in row.iter().enumerate() {
        let place = best.partition_point(|&(_, kept)| kept >= value);
        if place < 3 {
            best.insert(place, (class, value));
            best.truncate(3);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use approx::assert_relative_eq;
    use proptest::prelude::*;

    use super::*;

    const TIGHT: Tolerance = Tolerance { absolute: 0.1, relative: 0.01 };

    fn measured(reference: &[f32], actual: &[f32], classes: usize) -> Metrics {
        let pair = OutputPair::new(reference, actual, reference.len() / classes, classes).unwrap();
        measure(&pair, TIGHT)
    }

    #[test]
    fn figures_of_a_small_case_by_hand() {
        let metrics = measured(&[3.0, 4.0, 0.0, 100.0], &[3.0, 4.5, 0.0, 99.5], 2);
        assert_relative_eq!(metrics.error.max_abs, 0.5);
        assert_relative_eq!(metrics.error.mean_abs, 0.25);
        assert_relative_eq!(metrics.error.p99_abs, 0.5);
        // ‖x‖² = 10025, ‖x − y‖² = 0.5.
        assert_relative_eq!(metrics.error.sqnr_db, 43.021_147, max_relative = 1e-6);
        // (3·3 + 4·4.5) / (5 · √29.25).
        assert_relative_eq!(metrics.error.cosine_min, 0.998_460_35, max_relative = 1e-6);
        // 0.5 of 4 is outside both bounds; 0.5 of 100 is within the relative one.
        assert_eq!(metrics.error.outside, 1);
        assert_eq!(metrics.worst.iter().map(|probe| probe.probe).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(metrics.worst[0].actual_top3, [(1, 4.5), (0, 3.0)]);
        assert_eq!(metrics.sample_max_abs, [0.5, 0.5]);
    }

    #[test]
    fn equal_outputs_have_no_error() {
        let values: Vec<f32> = (0..70).map(|index| (index as f32).sin() * 9.0).collect();
        let metrics = measured(&values, &values, 7);
        let expected = ErrorMetrics { cosine_min: 1.0, sqnr_db: SQNR_EQUAL_DB, ..ErrorMetrics::default() };
        assert_eq!(metrics.error, expected);
        assert!(metrics.worst.is_empty());
        assert_eq!(metrics.histogram.counts[0], 70);
    }

    #[test]
    fn zeros_under_noise_are_the_worst_ratio_and_finite() {
        let metrics = measured(&[0.0; 4], &[1.0, 0.0, 0.0, 0.0], 2);
        assert_relative_eq!(metrics.error.sqnr_db, -SQNR_EQUAL_DB);
        assert_relative_eq!(metrics.error.cosine_min, 0.0);
    }

    #[test]
    fn extreme_values_stay_finite() {
        let metrics = measured(&[f32::MAX, f32::MIN], &[f32::MIN, f32::MAX], 2);
        assert!(metrics.error.max_abs.is_finite() && metrics.error.p99_abs.is_finite());
        assert_relative_eq!(metrics.error.cosine_min, -1.0);
    }

    #[test]
    fn ties_go_to_the_lower_class() {
        assert_eq!(top3(&[1.0, 2.0, 2.0, 2.0, 2.0]), [(1, 2.0), (2, 2.0), (3, 2.0)]);
        assert_eq!(top3(&[1.0]), [(0, 1.0)]);
    }

    /// The relative bound is a share of the reference, not of what is judged by it; what lies on a bound is within.
    #[test]
    fn a_bound_is_of_the_reference() {
        let outside = |reference: f32, actual: f32| {
            let (reference, actual) = ([reference], [actual]);
            let pair = OutputPair::new(&reference, &actual, 1, 1).unwrap();
            measure(&pair, Tolerance { absolute: 0.125, relative: 0.25 }).error.outside
        };
        assert_eq!((outside(4.0, 5.0), outside(4.0, 5.01), outside(4.0, 3.0)), (0, 1, 0));
        assert_eq!((outside(5.0, 4.0), outside(3.9, 5.0), outside(-4.0, -5.0)), (0, 1, 0));
        assert_eq!((outside(0.0, 0.125), outside(0.0, 0.126)), (0, 1));
        assert!(TIGHT.admits(0.0, 0.0));
    }

    #[test]
    fn nothing_admits_a_nan() {
        assert!(!TIGHT.admits(f64::NAN, 1.0));
        assert!(!TIGHT.admits(1.0, f64::NAN));
        assert!(!Tolerance { absolute: f64::NAN, relative: f64::NAN }.admits(0.0, 0.0));
    }

    fn rows() -> impl Strategy<Value = (usize, Vec<(f32, f32)>)> {
        (1_usize..6, 1_usize..40).prop_flat_map(|(classes, samples)| {
            (Just(classes), prop::collection::vec((-50_f32..50.0, -50_f32..50.0), classes * samples))
        })
    }

    proptest! {
        #[test]
        fn figures_agree_with_the_plain_formulas((classes, values) in rows()) {
            let (x, y): (Vec<f32>, Vec<f32>) = values.iter().copied().unzip();
            let metrics = measured(&x, &y, classes);
            let mut errors: Vec<f64> = values.iter().map(|(x, y)| f64::from(*x) - f64::from(*y)).map(f64::abs).collect();
            errors.sort_by(f64::total_cmp);
            let rank = (errors.len() * 99).div_ceil(100);
            prop_assert_eq!(metrics.error.max_abs, errors[errors.len() - 1]);
            prop_assert!((metrics.error.p99_abs - errors[rank - 1]).abs() <= 1e-5);
            prop_assert!((metrics.error.mean_abs - errors.iter().sum::<f64>() / errors.len() as f64).abs() < 1e-9);
            prop_assert_eq!(metrics.histogram.counts.iter().sum::<u64>(), errors.len() as u64);
            let outside = values.iter().filter(|(x, y)| {
                let error = (f64::from(*x) - f64::from(*y)).abs();
                error > TIGHT.absolute && error > TIGHT.relative * f64::from(x.abs())
            });
            prop_assert_eq!(metrics.error.outside, outside.count());
            let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
            let wide: Vec<(f64, f64)> = values.iter().map(|&(x, y)| (f64::from(x), f64::from(y))).collect();
            let (signal, noise) =
                wide.iter().map(|(x, y)| (*x, x - y)).unzip::<f64, f64, Vec<f64>, Vec<f64>>();
            let sqnr = 20.0 * (norm(&signal) / norm(&noise)).log10();
            prop_assert!((metrics.error.sqnr_db - sqnr).abs() < 1e-9);
            let cosines = wide.chunks(classes).map(|row| {
                let (x, y) = row.iter().copied().unzip::<f64, f64, Vec<f64>, Vec<f64>>();
                x.iter().zip(&y).map(|(x, y)| x * y).sum::<f64>() / (norm(&x) * norm(&y))
            });
            prop_assert!((metrics.error.cosine_min - cosines.fold(1.0, f64::min)).abs() < 1e-9);
        }

        #[test]
        fn errors_are_symmetric((classes, values) in rows()) {
            let (x, y): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();
            let (there, back) = (measured(&x, &y, classes), measured(&y, &x, classes));
            prop_assert_eq!(there.error.max_abs, back.error.max_abs);
            prop_assert_eq!(there.error.mean_abs, back.error.mean_abs);
            prop_assert_eq!(there.error.p99_abs, back.error.p99_abs);
            prop_assert_eq!(there.error.cosine_min, back.error.cosine_min);
            prop_assert_eq!(there.histogram, back.histogram);
        }

        #[test]
        fn the_order_of_samples_does_not_matter((classes, values) in rows(), shift in 0_usize..40) {
            let mut turned = values.clone();
            turned.rotate_left((shift % (values.len() / classes)) * classes);
            let (x, y): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();
            let (u, v): (Vec<f32>, Vec<f32>) = turned.into_iter().unzip();
            let (one, other) = (measured(&x, &y, classes), measured(&u, &v, classes));
            prop_assert_eq!(one.error.max_abs, other.error.max_abs);
            prop_assert_eq!(one.error.p99_abs, other.error.p99_abs);
            prop_assert_eq!(one.error.outside, other.error.outside);
            prop_assert_eq!(one.error.cosine_min, other.error.cosine_min);
            prop_assert!((one.error.mean_abs - other.error.mean_abs).abs() < 1e-9);
            prop_assert!((one.error.sqnr_db - other.error.sqnr_db).abs() < 1e-9);
            prop_assert_eq!(one.histogram, other.histogram);
        }

        #[test]
        fn more_error_is_never_better((classes, values) in rows(), factor in 1.0_f32..8.0) {
            let (x, y): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();
            let further: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + (y - x) * factor).collect();
            let (near, far) = (measured(&x, &y, classes).error, measured(&x, &further, classes).error);
            let slack = 1.0 + 1e-5;
            prop_assert!(near.max_abs <= far.max_abs * slack);
            prop_assert!(near.mean_abs <= far.mean_abs * slack);
            prop_assert!(near.p99_abs <= far.p99_abs * slack);
            prop_assert!(near.sqnr_db >= far.sqnr_db - 1e-3);
        }
    }
}

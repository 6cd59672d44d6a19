//! The rule that says whether a run is slower than its baseline: pure functions over numbers.
//!
//! ```text
//! slowdown = baseline / run − 1                                   (samples per second; 0.05: 5 % more time a sample)
//! limit    = max(relative floor, noise factor × the series' own noise)
//! fail     = slowdown > limit  AND  extra time of a batch > absolute floor  AND  a second run says the same
//! ```
//!
//! Numbers come from [`Thresholds`]; `docs/measuring.md` has the sources and the simulated rates of error.

use crate::error::{Error, Result};
use crate::findings::CheckResult;
use crate::measure::thresholds::{Limit, Thresholds};
use crate::timing::statistics::{median, standard_deviation};
use crate::vocabulary::{ArtifactKind, Library, Status};

/// Standard deviations between a limit and a slowdown that both of two runs show at least 99 times in 100. For normal
/// values 2.58 would do, Φ(2.58)² = 0.99; the fastest of a few repetitions has a longer tail.
const BOTH_RUNS_Z: f64 = 3.0;

/// Student's t quantile at 0.999 for 1, 2, … degrees of freedom.
const STUDENT_T: [f64; 30] = [
    318.309, 22.327, 10.215, 7.173, 5.893, 5.208, 4.785, 4.501, 4.297, 4.144, 4.025, 3.930, 3.852, 3.787, 3.733, 3.686,
    3.646, 3.610, 3.579, 3.552, 3.527, 3.505, 3.485, 3.467, 3.450, 3.435, 3.421, 3.408, 3.396, 3.385,
];
/// The normal quantile at 0.999.
const NORMAL_QUANTILE: f64 = 3.090_232;

/// How much wider a limit from a spread of `runs` values must be than one from a known spread: Student's t over the
/// normal quantile, both at 0.999; approaches 1.
pub fn small_sample_factor(runs: usize) -> f64 {
    let freedom = runs.saturating_sub(1);
    match (freedom.checked_sub(1).and_then(|index| STUDENT_T.get(index)), freedom) {
        (Some(quantile), _) => quantile / NORMAL_QUANTILE,
        (None, 0) => f64::INFINITY,
        // The tail of the table, in 1 / degrees of freedom.
        (None, freedom) => 1.0 + 2.86 / freedom as f64,
    }
}

/// The value of a run: its fastest repetition. Whatever disturbs a repetition slows it down.
///
/// # Errors
///
/// `Invalid` for no repetition, or one that is not positive and finite.
pub fn run_value(repetitions: &[f64]) -> Result<f64> {
    if repetitions.is_empty() {
        return Err(Error::invalid("a run has no repetition"));
    }
    repetitions.iter().try_fold(0.0_f64, |fastest, &value| Ok(fastest.max(positive(value)?)))
}

/// The spread of a run by itself: ln(fastest / median repetition). For normal values about one standard deviation;
/// blind to two slow ones in five.
///
/// # Errors
///
/// As [`run_value`].
pub fn gap(repetitions: &[f64]) -> Result<f64> {
    Ok((run_value(repetitions)? / median(repetitions)?).ln())
}

fn positive(value: f64) -> Result<f64> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(Error::invalid(format!("a value to be judged is not positive and finite: `{value}`")))
    }
}

/// What a series of runs says a clean run looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reference {
    /// Median of the runs' values.
    pub value: f64,
    /// The series' own noise: the standard deviation that the limit multiplies, of ln(run / reference).
    pub noise: f64,
    /// Runs that it is made of.
    pub runs: usize,
    /// Whether the noise is the spread of the series itself, or still assumed.
    pub known: bool,
}

impl Reference {
    /// The reference of `runs`, each a list of repetitions, of one level of a series.
    ///
    /// From `known_after` runs on, the noise is the standard deviation of ln(run value) × [`small_sample_factor`].
    /// Before, it is the largest of that deviation, the runs' own spreads ([`gap`]), and the assumed noise. Both × √(1 + 1/runs), for the reference's own error.
    ///
    /// # Errors
    ///
    /// `Invalid` for no run, a run without repetitions, or a value that is not positive and finite.
    pub fn of(runs: &[Vec<f64>], known_after: usize, assumed_noise: f64) -> Result<Self> {
        let values = runs.iter().map(|run| run_value(run)).collect::<Result<Vec<f64>>>()?;
        let value = median(&values)?;
        let logarithms: Vec<f64> = values.iter().map(|value| value.ln()).collect();
        let between = standard_deviation(&logarithms);
        let known = values.len() >= known_after;
        let noise = if known {
            between * small_sample_factor(values.len())
        } else {
            let within = runs.iter().map(|run| gap(run)).collect::<Result<Vec<f64>>>()?;
            within.into_iter().fold(between.max(assumed_noise), f64::max)
        };
        let count = values.len() as f64;
        Ok(Self { value, noise: noise * (1.0 + 1.0 / count).sqrt(), runs: values.len(), known })
    }

    /// The reference for judging a run of these `repetitions`: while the series does not know its noise, a run that is
    /// noisier by its own repetitions is judged by that.
    ///
    /// # Errors
    ///
    /// As [`gap`].
    pub fn for_run(self, repetitions: &[f64]) -> Result<Self> {
        let noise = if self.known { self.noise } else { self.noise.max(gap(repetitions)?) };
        Ok(Self { noise, ..self })
    }

    /// The smallest slowdown that `limit` catches at least 99 times in 100, in both runs.
    pub fn detectable_slowdown(&self, limit: &Limit) -> f64 {
        (1.0 + limit.of(self.noise)) * (BOTH_RUNS_Z * self.noise).exp() - 1.0
    }
}

/// The limits that apply to one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Slower fails.
    pub fail: Limit,
    /// Slower warns.
    pub warn: Limit,
    /// Faster is an improvement.
    pub improved: Limit,
    /// Least extra time of a batch, microseconds; 0 for quantities that are no time.
    pub absolute_microseconds: f64,
}

impl Limits {
    /// The limits on the time of a cell run by `library`.
    pub fn of_time(thresholds: &Thresholds, library: Library) -> Self {
        let Thresholds { fail, warn, improved, absolute_microseconds, .. } = thresholds;
        Self { fail: *fail, warn: *warn, improved: *improved, absolute_microseconds: absolute_microseconds.of(library) }
    }

    /// The limits on a rate that is held under load.
    pub const fn of_load(thresholds: &Thresholds) -> Self {
        let load = thresholds.load;
        Self { fail: load, warn: load, improved: load, absolute_microseconds: 0.0 }
    }

    /// The limits on a ratio inside one run.
    pub const fn of_ratio(thresholds: &Thresholds) -> Self {
        let ratio = thresholds.ratio;
        Self { fail: ratio, warn: ratio, improved: ratio, absolute_microseconds: 0.0 }
    }
}

/// What the rule says of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Within the limits.
    Ok,
    /// Faster than the improvement limit.
    Improved,
    /// Slower than the warning limit.
    Warn,
    /// Slower than the failure limit: a second run has to say so too.
    Confirm,
    /// Slower than the failure limit, twice.
    Fail,
}

impl Decision {
    /// In words for a reader.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Improved => "faster",
            Self::Warn => "slower, within the limit",
            Self::Confirm => "to be confirmed",
            Self::Fail => "slower",
        }
    }
}

/// The slowdown of `value` against `baseline`, both higher is better: `baseline / value − 1`.
pub fn slowdown(baseline: f64, value: f64) -> f64 {
    baseline / value - 1.0
}

/// Judges `value` (and `confirming`, of a second independent run) against `reference`; all are samples per second of
/// batches of `batch` samples, or another quantity where higher is better.
///
/// # Errors
///
/// `Invalid` for a value that is not positive and finite: no verdict is better than a wrong one.
pub fn decide(
    reference: &Reference,
    limits: &Limits,
    batch: u32,
    value: f64,
    confirming: Option<f64>,
) -> Result<Decision> {
    let baseline = positive(reference.value)?;
    if !reference.noise.is_finite() || reference.noise < 0.0 {
        return Err(Error::invalid(format!("the noise of a series is not a number: `{}`", reference.noise)));
    }
    let slower = |value: f64, limit: &Limit| -> Result<bool> {
        let value = positive(value)?;
        let extra_microseconds = f64::from(batch) * 1e6 * (1.0 / value - 1.0 / baseline);
        Ok(slowdown(baseline, value) > limit.of(reference.noise) && extra_microseconds > limits.absolute_microseconds)
    };
    if slower(value, &limits.fail)? {
        let Some(second) = confirming else { return Ok(Decision::Confirm) };
        return Ok(if slower(second, &limits.fail)? {
            Decision::Fail
        } else if slower(second, &limits.warn)? {
            Decision::Warn
        } else {
            Decision::Ok
        });
    }
    if slower(value, &limits.warn)? {
        return Ok(Decision::Warn);
    }
    let faster = slowdown(value, baseline) > limits.improved.of(reference.noise);
    Ok(if faster { Decision::Improved } else { Decision::Ok })
}

/// Judges an artifact's size: larger than the band around the baseline's bytes fails; smaller passes and says so.
pub fn size_verdict(thresholds: &Thresholds, kind: ArtifactKind, baseline_bytes: u64, bytes: u64) -> CheckResult {
    held("size", thresholds.size_band(kind), baseline_bytes, bytes)
}

/// Judges device memory, of a process or a context, as check `name`: more than the band above the baseline's fails, less passes and
/// says so.
pub fn memory_verdict(name: &str, thresholds: &Thresholds, baseline_bytes: u64, bytes: u64) -> CheckResult {
    held(name, thresholds.memory, baseline_bytes, bytes)
}

/// Bytes held to a band around a baseline's.
fn held(name: &str, band: f64, baseline_bytes: u64, bytes: u64) -> CheckResult {
    let (old, new) = (baseline_bytes as f64, bytes as f64);
    let (status, remark) = if baseline_bytes == 0 || bytes == 0 {
        (Status::Invalid, "; that there are none cannot be judged")
    } else if new > old * (1.0 + band) {
        (Status::Fail, "")
    } else if new < old * (1.0 - band) {
        (Status::Pass, "; smaller than the band, bless it to keep the gain")
    } else {
        (Status::Pass, "")
    };
    CheckResult {
        name: name.to_owned(),
        status,
        gating: true,
        detail: format!(
            "{bytes} bytes, baseline {baseline_bytes} bytes, {:+.1} %, band ±{:.1} %{remark}",
            (new / old - 1.0) * 100.0,
            band * 100.0
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use approx::assert_relative_eq;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn limits(absolute_microseconds: f64) -> Limits {
        let limit = |relative, noise_factor| Limit { relative, noise_factor };
        Limits { fail: limit(0.02, 3.0), warn: limit(0.01, 2.0), improved: limit(0.02, 3.0), absolute_microseconds }
    }

    // A baseline of 1000 samples/s at batch 1 is 1000 µs a batch: 1 % is 10 µs.
    #[rstest]
    // The relative floor decides in a quiet series.
    #[case::equal(0.0, 0.0, 0.000, None, Decision::Ok)]
    #[case::below_warn(0.0, 0.0, 0.009, None, Decision::Ok)]
    #[case::above_warn(0.0, 0.0, 0.011, None, Decision::Warn)]
    #[case::below_fail(0.0, 0.0, 0.019, None, Decision::Warn)]
    #[case::above_fail(0.0, 0.0, 0.021, None, Decision::Confirm)]
    // A second run decides.
    #[case::confirmed(0.0, 0.0, 0.05, Some(0.05), Decision::Fail)]
    #[case::half_confirmed(0.0, 0.0, 0.05, Some(0.015), Decision::Warn)]
    #[case::not_confirmed(0.0, 0.0, 0.05, Some(0.001), Decision::Ok)]
    #[case::second_faster(0.0, 0.0, 0.05, Some(-0.05), Decision::Ok)]
    #[case::second_not_asked(0.0, 0.0, 0.015, Some(0.05), Decision::Warn)]
    // The series' own noise decides in a noisy one: limits of 3 % and 2 %, then 30 % and 20 %.
    #[case::noise_widens_warn(0.01, 0.0, 0.019, None, Decision::Ok)]
    #[case::noise_widens_fail(0.01, 0.0, 0.029, None, Decision::Warn)]
    #[case::noise_exceeded(0.01, 0.0, 0.031, Some(0.031), Decision::Fail)]
    #[case::very_noisy(0.1, 0.0, 0.19, None, Decision::Ok)]
    // The absolute floor: 5 % are 50 µs, and need more than the floor.
    #[case::absolute_exceeded(0.0, 49.9, 0.05, Some(0.05), Decision::Fail)]
    #[case::absolute_not_exceeded(0.0, 50.1, 0.05, Some(0.05), Decision::Ok)]
    #[case::absolute_only_first(0.0, 50.1, 0.06, Some(0.05), Decision::Ok)]
    // Faster.
    #[case::faster_within(0.0, 0.0, -0.019, None, Decision::Ok)]
    #[case::faster_beyond(0.0, 0.0, -0.021, None, Decision::Improved)]
    #[case::faster_within_noise(0.01, 0.0, -0.025, None, Decision::Ok)]
    fn the_rule(
        #[case] noise: f64,
        #[case] absolute: f64,
        #[case] slower: f64,
        #[case] confirming: Option<f64>,
        #[case] expected: Decision,
    ) {
        let reference = Reference { value: 1000.0, noise, runs: 20, known: true };
        let value = |slower: f64| 1000.0 / (1.0 + slower);
        let decision = decide(&reference, &limits(absolute), 1, value(slower), confirming.map(value)).unwrap();
        assert_eq!(decision, expected);
    }

    #[test]
    fn the_absolute_floor_is_time_of_a_batch() {
        // 32 samples at 1000/s are 32 ms a batch; 5 % are 1600 µs.
        let reference = Reference { value: 1000.0, noise: 0.0, runs: 20, known: true };
        let decision = |batch| decide(&reference, &limits(1000.0), batch, 1000.0 / 1.05, Some(1000.0 / 1.05)).unwrap();
        assert_eq!(decision(32), Decision::Fail);
        assert_eq!(decision(1), Decision::Ok);
    }

    #[rstest]
    #[case(0.0, 1.0, 0.0)]
    #[case(f64::NAN, 1.0, 0.0)]
    #[case(f64::INFINITY, 1.0, 0.0)]
    #[case(-1.0, 1.0, 0.0)]
    #[case(1.0, f64::NAN, 0.0)]
    #[case(1.0, 0.0, 0.0)]
    #[case(1.0, 1.0, f64::NAN)]
    #[case(1.0, 1.0, f64::INFINITY)]
    fn what_is_no_number_gets_no_verdict(#[case] value: f64, #[case] baseline: f64, #[case] noise: f64) {
        let reference = Reference { value: baseline, noise, runs: 20, known: true };
        assert!(decide(&reference, &limits(0.0), 1, value, None).is_err());
        // A first run that fails must not be saved by a second that is nothing.
        let reference = Reference { value: 1000.0, noise: 0.0, runs: 20, known: true };
        assert!(decide(&reference, &limits(0.0), 1, 1.0, Some(f64::NAN)).is_err());
    }

    #[test]
    fn a_young_series_assumes_its_noise() {
        let young = Reference::of(&[vec![99.0, 100.0]], 10, 0.02).unwrap();
        assert_relative_eq!(young.value, 100.0);
        assert_relative_eq!(young.noise, 0.02 * 2.0_f64.sqrt());
        assert!(!young.known);
        // Repetitions that disagree by more than the assumption count.
        let noisy = Reference::of(&[vec![50.0, 100.0]], 10, 0.02).unwrap();
        assert!(noisy.noise > 0.35);
    }

    #[test]
    fn a_noisy_run_widens_the_limit_of_a_young_series_only() {
        let young = Reference::of(&[vec![100.0]], 2, 0.01).unwrap();
        assert!(young.for_run(&[100.0, 90.0, 90.0]).unwrap().noise > 0.1);
        assert_relative_eq!(young.for_run(&[100.0, 100.0, 50.0]).unwrap().noise, young.noise);
        let known = Reference::of(&[vec![100.0], vec![101.0]], 2, 0.01).unwrap();
        assert_eq!(known.for_run(&[100.0, 90.0, 90.0]).unwrap(), known);
    }

    #[test]
    fn a_known_series_takes_its_own_spread() {
        let runs: Vec<Vec<f64>> = (0..10).map(|run| vec![90.0, 100.0 + f64::from(run % 2)]).collect();
        let known = Reference::of(&runs, 10, 0.5).unwrap();
        assert!(known.known);
        let deviation = 1.01_f64.ln() / 2.0 * (10.0_f64 / 9.0).sqrt();
        assert_relative_eq!(known.noise, deviation * 4.297 / 3.090_232 * 1.1_f64.sqrt(), max_relative = 1e-6);
        let limit = Limit { relative: 0.02, noise_factor: 3.0 };
        assert!(known.detectable_slowdown(&limit) > limit.of(known.noise));
    }

    #[test]
    fn the_small_sample_factor_falls_to_one() {
        assert!(small_sample_factor(0).is_infinite() && small_sample_factor(1).is_infinite());
        let factors: Vec<f64> = (2..200).map(small_sample_factor).collect();
        assert!(factors.windows(2).all(|pair| pair[0] > pair[1]));
        assert!((1.0..1.02).contains(factors.last().unwrap()));
    }

    #[rstest]
    #[case(ArtifactKind::Engine, 1000, 1000, Status::Pass)]
    #[case(ArtifactKind::Engine, 1000, 1100, Status::Pass)]
    #[case(ArtifactKind::Engine, 1000, 1101, Status::Fail)]
    #[case(ArtifactKind::Engine, 1000, 500, Status::Pass)]
    #[case(ArtifactKind::OnnxFp32, 1000, 1021, Status::Fail)]
    #[case(ArtifactKind::OnnxFp32, 1000, 1020, Status::Pass)]
    #[case(ArtifactKind::Engine, 0, 1000, Status::Invalid)]
    #[case(ArtifactKind::Engine, 1000, 0, Status::Invalid)]
    fn sizes_have_a_band(#[case] kind: ArtifactKind, #[case] old: u64, #[case] new: u64, #[case] expected: Status) {
        let check = size_verdict(&Thresholds::embedded().unwrap(), kind, old, new);
        assert_eq!(check.status, expected, "{}", check.detail);
    }

    proptest! {
        #[test]
        fn slower_is_never_judged_better(noise in 0.0_f64..0.1, first in 1.0_f64..3000.0, factor in 0.1_f64..1.0) {
            let rank = |decision| match decision {
                Decision::Improved => 0, Decision::Ok => 1, Decision::Warn => 2, Decision::Confirm => 3, Decision::Fail => 4,
            };
            let reference = Reference { value: 1000.0, noise, runs: 20, known: true };
            let faster = decide(&reference, &limits(1.0), 1, first, None).unwrap();
            let slower = decide(&reference, &limits(1.0), 1, first * factor, None).unwrap();
            prop_assert!(rank(slower) >= rank(faster));
        }

        #[test]
        fn one_run_never_fails(noise in 0.0_f64..0.1, value in 1.0_f64..3000.0) {
            let reference = Reference { value: 1000.0, noise, runs: 20, known: true };
            prop_assert!(decide(&reference, &limits(0.0), 1, value, None).unwrap() != Decision::Fail);
        }
    }
}

//! What a list of times says: percentiles, noise, stability, and the typical time that baselines are judged by.
//!
//! A trace is cut into [`WINDOWS`] windows of equal count. The typical time of a measurement is the lower quartile of
//! the windows' medians: a burst spoils some batches of a window (the median ignores them), or some windows (the
//! quartile ignores them up to three in four), and a clock that switches between two states is read in its fast state.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::timing::contract::Measurement;
use crate::timing::summary::TimingSummary;

/// Windows that a trace is cut into; a shorter trace has one window a batch.
pub const WINDOWS: usize = 30;

/// Scales the median absolute deviation to the standard deviation of a normal distribution, 1 / Φ⁻¹(3/4).
const DEVIATION_SCALE: f64 = 1.482_602_218_505_602;

/// `values` in ascending order.
///
/// # Errors
///
/// `Invalid` when there is no value, or one that is not finite.
pub fn sorted(values: &[f64]) -> Result<Vec<f64>> {
    if values.is_empty() {
        return Err(Error::invalid("there is nothing to summarise: no value was measured"));
    }
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(Error::invalid(format!("a measured value is not finite: `{value}`")));
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Ok(sorted)
}

/// The percentile of an ascending list: the largest value left after the highest ⌊(100 − `percent`) · n / 100⌋ are
/// taken away. Always one of the values, never an interpolation (`trtexec` defines its percentiles the same way).
/// NaN for an empty list; `percent` above 100 counts as 100.
pub fn percentile(ascending: &[f64], percent: u32) -> f64 {
    let above = (100 - percent.min(100)) as usize * ascending.len() / 100;
    let index = ascending.len().saturating_sub(1).saturating_sub(above);
    ascending.get(index).copied().unwrap_or(f64::NAN)
}

/// The median: the middle value, or the mean of the two middle values.
///
/// # Errors
///
/// As [`sorted`].
pub fn median(values: &[f64]) -> Result<f64> {
    Ok(median_of_sorted(&sorted(values)?))
}

/// The median of an ascending list; NaN for an empty one.
pub fn median_of_sorted(ascending: &[f64]) -> f64 {
    let length = ascending.len();
    let at = |index: usize| ascending.get(index).copied().unwrap_or(f64::NAN);
    if length % 2 == 1 { at(length / 2) } else { f64::midpoint(at((length / 2).wrapping_sub(1)), at(length / 2)) }
}

/// The mean; NaN for an empty list.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation with n − 1 in the denominator; 0 for fewer than two values.
pub fn standard_deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// The coefficient of variation: standard deviation over mean, 0.01 is 1 %.
pub fn coefficient_of_variation(values: &[f64]) -> f64 {
    standard_deviation(values) / mean(values)
}

/// Robust noise: the median absolute deviation from the median, scaled to a standard deviation, over the median.
///
/// # Errors
///
/// As [`sorted`].
pub fn robust_variation(values: &[f64]) -> Result<f64> {
    let center = median(values)?;
    let deviations: Vec<f64> = values.iter().map(|value| (value - center).abs()).collect();
    Ok(DEVIATION_SCALE * median(&deviations)? / center)
}

/// The medians of `count` windows of equal length, in order; the remainder of the division goes to the last ones.
///
/// # Errors
///
/// As [`sorted`].
pub fn window_medians(trace: &[f64], count: usize) -> Result<Vec<f64>> {
    let count = count.clamp(1, trace.len().max(1));
    let edge = |window: usize| window * trace.len() / count;
    (0..count).map(|window| median(trace.get(edge(window)..edge(window + 1)).unwrap_or_default())).collect()
}

/// The clock that a number was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// CUDA events.
    Gpu,
    /// The host's monotonic clock.
    Host,
}

/// The trace that the percentiles are taken of: the GPU's clock where there is one, else the host's.
fn shown_trace(measurement: &Measurement) -> (Clock, &[f64]) {
    if measurement.gpu_milliseconds.is_empty() {
        (Clock::Host, &measurement.host_milliseconds)
    } else {
        (Clock::Gpu, &measurement.gpu_milliseconds)
    }
}

/// The trace that is judged: the host's clock, which sees what a caller sees, less the time without a processor; the
/// GPU's where there is no other.
fn judged_trace(measurement: &Measurement) -> Vec<f64> {
    let Measurement { host_milliseconds: host, waited_milliseconds: waited, gpu_milliseconds: gpu, .. } = measurement;
    if host.is_empty() {
        gpu.clone()
    } else if waited.len() == host.len() {
        // Waiting between two calls can be counted to the later one; no call takes less than nothing.
        host.iter().zip(waited).map(|(time, waited)| (time - waited).max(time * 0.01)).collect()
    } else {
        host.clone()
    }
}

/// A measurement that is complete and positive throughout.
fn check(measurement: &Measurement) -> Result<()> {
    let Measurement {
        contract,
        batch,
        host_milliseconds,
        waited_milliseconds,
        gpu_milliseconds,
        wall_seconds,
        batches,
        ..
    } = measurement;
    if *batch == 0 || *batches == 0 || !wall_seconds.is_finite() || *wall_seconds <= 0.0 {
        return Err(Error::invalid(format!(
            "the measurement is empty: {batches} batches of {batch} samples in {wall_seconds} s"
        )));
    }
    if *batches < contract.iterations {
        return Err(Error::invalid(format!(
            "the measurement is short: {batches} batches instead of the contract's {}",
            contract.iterations
        )));
    }
    if let Some(time) = waited_milliseconds.iter().find(|time| !time.is_finite() || **time < 0.0) {
        return Err(Error::invalid(format!("the measurement holds a waiting time of `{time}` ms")));
    }
    for trace in [host_milliseconds, gpu_milliseconds] {
        if let Some(time) = trace.iter().find(|time| !time.is_finite() || **time <= 0.0) {
            return Err(Error::invalid(format!("the measurement holds a time of `{time}` ms")));
        }
    }
    if host_milliseconds.is_empty() && gpu_milliseconds.is_empty() {
        return Err(Error::invalid("the measurement holds no times"));
    }
    Ok(())
}

/// The figures of a measurement for the report.
///
/// `samples_per_second` is the plain quotient over the timed region; the percentiles ([`percentile`]), median and
/// coefficient of variation are of the GPU's clock where there is one.
///
/// # Errors
///
/// `Invalid` for a measurement that is empty, shorter than its contract, or holds a time that is not positive and finite.
pub fn summary(measurement: &Measurement) -> Result<TimingSummary> {
    check(measurement)?;
    let (clock, trace) = shown_trace(measurement);
    let ascending = sorted(trace)?;
    Ok(TimingSummary {
        contract: measurement.contract.clone(),
        samples_per_second: measurement.samples_per_second(),
        median_milliseconds: median_of_sorted(&ascending),
        p90_milliseconds: percentile(&ascending, 90),
        p95_milliseconds: percentile(&ascending, 95),
        p99_milliseconds: percentile(&ascending, 99),
        variation: coefficient_of_variation(trace),
        iterations: measurement.batches,
        enqueue_microseconds: measurement.enqueue_microseconds,
        clock: Some(clock),
        device: measurement.device.clone(),
        repetitions: vec![repetition(measurement)?],
    })
}

/// One repetition (one measurement in a process of its own), reduced to what is judged and kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repetition {
    /// Samples per second at the typical time; what baselines are judged by.
    pub typical_samples_per_second: f64,
    /// Samples per second over the whole timed region, bursts included.
    pub samples_per_second: f64,
    /// Share of the time that the calling thread, or the other thread that waited longest, had no processor, where the
    /// system tells.
    #[serde(default)]
    pub waited_share: Option<f64>,
    /// Medians of the windows of the judged clock, milliseconds, in order of time.
    pub windows_milliseconds: Vec<f64>,
}

/// Reduces a measurement to its typical throughput.
///
/// The typical time is the lower quartile of the window medians (see the module's page) of the host's clock, less the
/// time that the thread had no processor. That clock gives the time a batch in every mode, so typical samples per
/// second are batch over typical time. Where only the GPU's clock is there, batches may overlap: then they are the
/// plain ones times mean over typical time (Little's law: as long as the number of batches in flight stays the same,
/// throughput and latency are inverse).
///
/// # Errors
///
/// As [`summary`].
pub fn repetition(measurement: &Measurement) -> Result<Repetition> {
    check(measurement)?;
    let trace = judged_trace(measurement);
    let windows = window_medians(&trace, WINDOWS)?;
    let typical = lower_quartile(&windows)?;
    let plain = measurement.samples_per_second();
    let typical_samples_per_second = if measurement.host_milliseconds.is_empty() {
        plain * mean(&trace) / typical
    } else {
        measurement.batch as f64 * 1e3 / typical
    };
    let waited = &measurement.waited_milliseconds;
    let own = (!waited.is_empty()).then(|| waited.iter().sum::<f64>() / (measurement.wall_seconds * 1e3));
    let waited_share = own.into_iter().chain(measurement.longest_waited_share).reduce(f64::max);
    Ok(Repetition {
        typical_samples_per_second,
        samples_per_second: plain,
        waited_share,
        windows_milliseconds: windows,
    })
}

/// The lower quartile: [`percentile`] 25.
///
/// # Errors
///
/// As [`sorted`].
pub fn lower_quartile(values: &[f64]) -> Result<f64> {
    Ok(percentile(&sorted(values)?, 25))
}

/// Whether the typical time of a repetition is a level that it held, and not a chance.
#[derive(Clone, Debug, PartialEq)]
pub struct Stability {
    /// Whether it is.
    pub stable: bool,
    /// The typical time over the 10th percentile of the windows; 1 is perfectly still.
    pub spread: f64,
    /// One sentence with the numbers.
    pub detail: String,
}

/// A repetition is stable when its typical time, the 25th percentile of the window medians, exceeds the 10th by at most
/// the factor `limit`: the fastest quarter of the windows shows one level.
///
/// Bursts and slow states do not count, as long as the level is seen in a quarter of the time; a level that keeps
/// moving, or is seen too rarely to be read, does.
///
/// # Errors
///
/// `Invalid` when there is no window.
pub fn stability(repetition: &Repetition, limit: f64) -> Result<Stability> {
    let windows = sorted(&repetition.windows_milliseconds)?;
    let (fast, typical) = (percentile(&windows, 10), percentile(&windows, 25));
    let spread = typical / fast;
    let detail = format!(
        "10th and 25th percentile of {} windows are {fast:.4} and {typical:.4} ms, {:.1} % apart, limit {:.1} %",
        windows.len(),
        (spread - 1.0) * 100.0,
        (limit - 1.0) * 100.0
    );
    // A spread that is not a number is not stable.
    Ok(Stability { stable: spread <= limit, spread, detail })
}

/// A measurement that was tried once, or twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The last try.
    pub measurement: Measurement,
    /// Its reduction.
    pub repetition: Repetition,
    /// Whether the first try was unstable and this is the second.
    pub retried: bool,
    /// Why the second try is unstable too, if so; it must not be judged.
    pub unstable: Option<String>,
}

/// Measures until stable, at most twice: `measure_once` must use a fresh process each time it is called.
///
/// # Errors
///
/// `Invalid` for a measurement that [`summary`] refuses; whatever `measure_once` answers otherwise.
pub fn measure_settled(limit: f64, measure_once: &mut dyn FnMut() -> Result<Measurement>) -> Result<Settled> {
    let mut retried = false;
    loop {
        let measurement = measure_once()?;
        let repetition = repetition(&measurement)?;
        let stability = stability(&repetition, limit)?;
        if stability.stable || retried {
            let unstable = (!stability.stable).then_some(stability.detail);
            return Ok(Settled { measurement, repetition, retried, unstable });
        }
        retried = true;
    }
}

/// The stable repetitions of a run, if they are more than half of it: the rest of a run may be lost to a disturbance,
/// but not its bulk.
///
/// # Errors
///
/// `Invalid` when half of the repetitions or more are unstable, or there is none: no verdict can be given.
pub fn stable_majority(run: &[Settled]) -> Result<Vec<&Settled>> {
    let stable: Vec<&Settled> = run.iter().filter(|settled| settled.unstable.is_none()).collect();
    if 2 * stable.len() > run.len() {
        return Ok(stable);
    }
    let mut error = Error::invalid(format!(
        "the measurement is unstable: {} of {} repetitions, each tried in two processes",
        run.len() - stable.len(),
        run.len()
    ))
    .hint("measure on an idle machine, or for longer with `--duration`");
    error.causes = run.iter().filter_map(|settled| settled.unstable.clone()).collect();
    Err(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use approx::assert_relative_eq;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::timing::contract::TimingContract;

    fn measured(trace: Vec<f64>) -> Measurement {
        Measurement {
            contract: TimingContract { iterations: 1, ..TimingContract::host() },
            batch: 4,
            wall_seconds: trace.iter().sum::<f64>() / 1e3,
            batches: trace.len() as u64,
            host_milliseconds: trace,
            waited_milliseconds: Vec::new(),
            longest_waited_share: None,
            gpu_milliseconds: Vec::new(),
            enqueue_microseconds: None,
            device: None,
            outputs: Vec::new(),
        }
    }

    #[rstest]
    #[case(10, 50, 5.0)]
    #[case(10, 90, 9.0)]
    #[case(10, 95, 10.0)]
    #[case(10, 99, 10.0)]
    #[case(100, 99, 99.0)]
    #[case(200, 99, 198.0)]
    #[case(1, 1, 1.0)]
    #[case(4, 25, 1.0)]
    #[case(4, 0, 1.0)]
    #[case(4, 100, 4.0)]
    fn percentiles_are_floor_indexed(#[case] count: u32, #[case] percent: u32, #[case] expected: f64) {
        let values: Vec<f64> = (1..=count).map(f64::from).collect();
        assert_relative_eq!(percentile(&values, percent), expected);
    }

    #[rstest]
    #[case(&[3.0, 1.0, 2.0], 2.0)]
    #[case(&[4.0, 1.0, 2.0, 3.0], 2.5)]
    fn medians_interpolate_between_two_middles(#[case] values: &[f64], #[case] expected: f64) {
        assert_relative_eq!(median(values).unwrap(), expected);
    }

    #[rstest]
    #[case(&[])]
    #[case(&[1.0, f64::NAN])]
    #[case(&[f64::INFINITY])]
    fn nothing_and_not_finite_are_refused(#[case] values: &[f64]) {
        assert!(median(values).is_err());
        assert!(robust_variation(values).is_err());
        assert!(window_medians(values, 3).is_err());
    }

    #[test]
    fn robust_variation_ignores_what_variation_does_not() {
        let mut values = vec![1.0; 50];
        for (index, value) in values.iter_mut().enumerate() {
            *value += 0.01 * (index % 5) as f64;
        }
        let quiet = robust_variation(&values).unwrap();
        values.push(100.0);
        assert!(coefficient_of_variation(&values) > 1.0);
        assert_relative_eq!(robust_variation(&values).unwrap(), quiet, max_relative = 0.1);
    }

    #[test]
    fn bursts_move_the_mean_but_not_the_typical_time() {
        let mut trace = vec![2.0; 3000];
        trace.splice(500..1500, std::iter::repeat_n(3.0, 1000));
        let repetition = repetition(&measured(trace)).unwrap();
        assert_relative_eq!(repetition.typical_samples_per_second, 2000.0, max_relative = 1e-9);
        assert_relative_eq!(repetition.samples_per_second, 4.0 * 3000.0 / 7.0, max_relative = 1e-9);
        assert_eq!(repetition.windows_milliseconds.len(), WINDOWS);
    }

    #[test]
    fn overlapping_batches_count_by_their_throughput() {
        // Four in flight: each takes 4 ms on the GPU, one ends every millisecond.
        let mut measurement = measured(Vec::new());
        (measurement.batches, measurement.wall_seconds) = (1000, 1.0);
        measurement.gpu_milliseconds = vec![4.0; 1000];
        let only_gpu = repetition(&measurement).unwrap();
        assert_relative_eq!(only_gpu.typical_samples_per_second, 4000.0, max_relative = 1e-9);
        measurement.host_milliseconds = vec![1.0; 1000];
        let both = repetition(&measurement).unwrap();
        assert_relative_eq!(both.typical_samples_per_second, 4000.0, max_relative = 1e-9);
    }

    #[test]
    fn time_without_a_processor_does_not_count() {
        let mut measurement = measured((0..3000).map(|index| if index % 2 == 0 { 2.0 } else { 6.0 }).collect());
        measurement.waited_milliseconds = (0..3000).map(|index| if index % 2 == 0 { 0.0 } else { 4.0 }).collect();
        let repetition = repetition(&measurement).unwrap();
        assert_relative_eq!(repetition.typical_samples_per_second, 2000.0);
        assert_relative_eq!(repetition.samples_per_second, 1000.0);
        assert_relative_eq!(repetition.waited_share.unwrap(), 0.5);
        // The report's percentiles stay what a caller saw.
        assert_relative_eq!(summary(&measurement).unwrap().p90_milliseconds, 6.0);
    }

    #[test]
    fn the_gpu_clock_is_shown_and_the_host_clock_judged() {
        let mut measurement = measured(vec![2.0; 100]);
        measurement.gpu_milliseconds = vec![1.0; 100];
        assert_eq!(summary(&measurement).unwrap().clock, Some(Clock::Gpu));
        assert_relative_eq!(summary(&measurement).unwrap().median_milliseconds, 1.0);
        assert_relative_eq!(repetition(&measurement).unwrap().windows_milliseconds[0], 2.0);
    }

    #[rstest]
    #[case::short(|measurement: &mut Measurement| measurement.contract.iterations = 1000)]
    #[case::nothing(|measurement: &mut Measurement| measurement.host_milliseconds.clear())]
    #[case::zero_time(|measurement: &mut Measurement| measurement.host_milliseconds[3] = 0.0)]
    #[case::nan(|measurement: &mut Measurement| measurement.host_milliseconds[3] = f64::NAN)]
    #[case::waited(|measurement: &mut Measurement| measurement.waited_milliseconds = vec![f64::NAN; 100])]
    #[case::no_wall(|measurement: &mut Measurement| measurement.wall_seconds = 0.0)]
    #[case::nan_wall(|measurement: &mut Measurement| measurement.wall_seconds = f64::NAN)]
    #[case::no_batches(|measurement: &mut Measurement| measurement.batches = 0)]
    fn broken_measurements_are_refused(#[case] damage: fn(&mut Measurement)) {
        let mut measurement = measured(vec![1.0; 100]);
        assert!(summary(&measurement).is_ok());
        damage(&mut measurement);
        assert!(summary(&measurement).is_err());
        assert!(repetition(&measurement).is_err());
    }

    #[test]
    fn a_level_that_moves_is_unstable_and_a_burst_is_not() {
        let mut burst = vec![1.0; 3000];
        burst.splice(1000..3000, std::iter::repeat_n(5.0, 2000));
        let still = stability(&repetition(&measured(burst)).unwrap(), 1.01).unwrap();
        assert!(still.stable, "{}", still.detail);
        let moving = (0..3000).map(|index| 1.0 + f64::from(index) / 3000.0).collect();
        let moving = stability(&repetition(&measured(moving)).unwrap(), 1.1).unwrap();
        assert!(!moving.stable, "{}", moving.detail);
        insta::assert_snapshot!(
            moving.detail,
            @"10th and 25th percentile of 30 windows are 1.0832 and 1.2498 ms, 15.4 % apart, limit 10.0 %"
        );
        // The fast state is there, but for less than a quarter of the time.
        let mut rare = vec![1.5; 3000];
        rare.splice(1000..1600, std::iter::repeat_n(1.0, 600));
        assert!(!stability(&repetition(&measured(rare)).unwrap(), 1.1).unwrap().stable);
    }

    #[rstest]
    #[case(&[true], 1, true)]
    #[case(&[false, true], 2, true)]
    #[case(&[false, false, true], 2, false)]
    fn unstable_is_retried_once(#[case] tries: &[bool], #[case] calls: usize, #[case] stable: bool) {
        let mut made = 0;
        let settled = measure_settled(1.1, &mut || {
            let step = if tries[made] { 0.0 } else { 1.0 };
            made += 1;
            Ok(measured((0..90).map(|index| 1.0 + step * f64::from(index)).collect()))
        })
        .unwrap();
        assert_eq!((made, settled.retried, settled.unstable.is_none()), (calls, calls == 2, stable));
    }

    #[rstest]
    #[case(&[], None)]
    #[case(&[true], Some(1))]
    #[case(&[false], None)]
    #[case(&[true, false], None)]
    #[case(&[true, true, false], Some(2))]
    #[case(&[true, true, false, true, false], Some(3))]
    #[case(&[true, true, false, false, false], None)]
    fn a_run_needs_a_stable_majority(#[case] stable: &[bool], #[case] expected: Option<usize>) {
        let measurement = measured(vec![1.0; 30]);
        let settled = |stable: &bool| Settled {
            repetition: repetition(&measurement).unwrap(),
            measurement: measurement.clone(),
            retried: false,
            unstable: (!stable).then(|| "it moves".to_owned()),
        };
        let run: Vec<Settled> = stable.iter().map(settled).collect();
        let majority = stable_majority(&run);
        assert_eq!(majority.as_ref().ok().map(Vec::len), expected);
        if let Err(error) = majority {
            assert_eq!(error.kind, crate::error::ErrorKind::Invalid);
        }
    }

    proptest! {
        #[test]
        fn percentiles_are_members_and_rise(values in proptest::collection::vec(0.1_f64..100.0, 1..200), low in 0_u32..100) {
            let ascending = sorted(&values).unwrap();
            prop_assert!(values.contains(&percentile(&ascending, low)));
            prop_assert!(percentile(&ascending, low) <= percentile(&ascending, low + 1));
        }

        #[test]
        fn scaling_time_scales_throughput(values in proptest::collection::vec(0.1_f64..100.0, 30..200), factor in 0.5_f64..2.0) {
            let plain = repetition(&measured(values.clone())).unwrap().typical_samples_per_second;
            let scaled = values.iter().map(|value| value * factor).collect();
            let scaled = repetition(&measured(scaled)).unwrap().typical_samples_per_second;
            prop_assert!((plain / scaled / factor - 1.0).abs() < 1e-9);
        }
    }
}

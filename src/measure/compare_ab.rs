//! Two programs on one device, measured in turns: the slowdown without a stored baseline.
//!
//! Runs go reference, candidate, candidate, reference, …: drift that is linear in time cancels in each four. Each run
//! is a process of its own. The slowdown is the Hodges–Lehmann estimate (median of the pairwise averages) of the
//! pairs' ln(reference / candidate); its interval comes from the exact distribution of Wilcoxon's signed-rank
//! statistic, so it assumes nothing of the noise but that a pair is as likely to favour one side as the other
//! (Hollander, Wolfe, Chicken: Nonparametric Statistical Methods, 3.2–3.3).

use crate::error::{Error, Result};
use crate::measure::rule::{Decision, Limits};
use crate::timing::statistics::{median_of_sorted, sorted};

/// Probability that a clean comparison's interval lies wholly on the slow side.
pub const FALSE_FAILURE: f64 = 0.001;

/// Fewest pairs whose interval can exclude anything at [`FALSE_FAILURE`]: 2⁻¹⁰ < 0.001.
pub const FEWEST_PAIRS: usize = 10;

/// Most pairs; the pairwise averages grow with the square.
const MOST_PAIRS: usize = 500;

/// One of the two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What is compared with.
    Reference,
    /// What is judged.
    Candidate,
}

/// Samples per second of both sides, measured one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The reference's.
    pub reference: f64,
    /// The candidate's.
    pub candidate: f64,
}

/// Measures `pairs` pairs in the order reference, candidate, candidate, reference. `run` measures one side once, in a
/// fresh process, and returns samples per second.
///
/// # Errors
///
/// Whatever `run` answers; nothing is retried, because a pair whose halves lie apart in time is no pair.
pub fn interleave(pairs: usize, run: &mut dyn FnMut(Side) -> Result<f64>) -> Result<Vec<Pair>> {
    (0..pairs)
        .map(|pair| {
            if pair % 2 == 0 {
                let reference = run(Side::Reference)?;
                Ok(Pair { reference, candidate: run(Side::Candidate)? })
            } else {
                let candidate = run(Side::Candidate)?;
                Ok(Pair { reference: run(Side::Reference)?, candidate })
            }
        })
        .collect()
}

/// What the pairs say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Pairs.
    pub pairs: usize,
    /// Estimated slowdown of the candidate; 0.05 is 5 % more time a sample.
    pub slowdown: f64,
    /// Interval of the slowdown; each end is missed with a probability of at most [`FALSE_FAILURE`].
    pub interval: (f64, f64),
    /// `Fail`, `Warn`, `Ok` or `Improved`.
    pub decision: Decision,
}

/// Refuses a number of pairs that cannot be judged.
///
/// # Errors
///
/// `Usage` for fewer than [`FEWEST_PAIRS`] or more than 500.
pub fn check_pairs(pairs: usize) -> Result<()> {
    if (FEWEST_PAIRS..=MOST_PAIRS).contains(&pairs) {
        return Ok(());
    }
    Err(Error::usage(format!("{pairs} pairs cannot be judged"))
        .hint(format!("measure between {FEWEST_PAIRS} and {MOST_PAIRS} pairs")))
}

/// Judges the pairs: slower when the estimate exceeds the limit's relative floor, a batch of `batch` samples takes
/// longer by more than the absolute floor, and the whole interval is on the slow side. The interval takes the place of
/// the series' own noise and of the confirming run.
///
/// # Errors
///
/// Those of [`check_pairs`]; `Invalid` for a value that is not positive and
/// finite.
pub fn judge(pairs: &[Pair], limits: &Limits, batch: u32) -> Result<Comparison> {
    check_pairs(pairs.len())?;
    let positive = |value: f64| value.is_finite() && value > 0.0;
    if let Some(pair) = pairs.iter().find(|pair| !positive(pair.reference) || !positive(pair.candidate)) {
        return Err(Error::invalid(format!(
            "a pair is not positive and finite: `{}` and `{}` samples/s",
            pair.reference, pair.candidate
        )));
    }
    let differences: Vec<f64> = pairs.iter().map(|pair| (pair.reference / pair.candidate).ln()).collect();
    let averages = sorted(&pairwise_averages(&differences))?;
    let cut = lower_tail(pairs.len(), FALSE_FAILURE);
    let end = |index: Option<usize>| index.and_then(|index| averages.get(index)).copied().unwrap_or(f64::NAN);
    let slowdown = median_of_sorted(&averages).exp_m1();
    let interval = (end(Some(cut)).exp_m1(), end((averages.len() - 1).checked_sub(cut)).exp_m1());

    let reference = sorted(&pairs.iter().map(|pair| pair.reference).collect::<Vec<f64>>())?;
    let batch_microseconds = f64::from(batch) * 1e6 / median_of_sorted(&reference);
    let slow = |floor: f64| {
        slowdown > floor && interval.0 > 0.0 && slowdown * batch_microseconds > limits.absolute_microseconds
    };
    let decision = if slow(limits.fail.relative) {
        Decision::Fail
    } else if slow(limits.warn.relative) {
        Decision::Warn
    } else if 1.0 / (1.0 + slowdown) - 1.0 > limits.improved.relative && interval.1 < 0.0 {
        Decision::Improved
    } else {
        Decision::Ok
    };
    Ok(Comparison { pairs: pairs.len(), slowdown, interval, decision })
}

/// Averages of all pairs of values, each value with itself too (Walsh averages).
fn pairwise_averages(values: &[f64]) -> Vec<f64> {
    let pairs = values
        .iter()
        .enumerate()
        .flat_map(|(index, &first)| values.iter().skip(index).map(move |&second| f64::midpoint(first, second)));
    pairs.collect()
}

/// The number of smallest pairwise averages that may be cut off: the largest t with P(T ≤ t) ≤ `probability`, where T
/// is Wilcoxon's signed-rank statistic of `count` values symmetric about 0.
fn lower_tail(count: usize, probability: f64) -> usize {
    // Probability of each rank sum: every rank 1 … count is in it with probability one half.
    let mut sums = vec![0.0_f64; count * (count + 1) / 2 + 1];
    if let Some(zero) = sums.first_mut() {
        *zero = 1.0;
    }
    for rank in 1..=count {
        let before = sums.clone();
        for (sum, probability) in sums.iter_mut().enumerate() {
            let without = before.get(sum).copied().unwrap_or(0.0);
            let with = sum.checked_sub(rank).and_then(|rest| before.get(rest)).copied().unwrap_or(0.0);
            *probability = f64::midpoint(without, with);
        }
    }
    let mut tail = 0.0;
    let within = sums.iter().take_while(|sum| {
        tail += **sum;
        tail <= probability
    });
    within.count().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use approx::assert_relative_eq;
    use rstest::rstest;

    use super::*;
    use crate::measure::thresholds::Thresholds;
    use crate::vocabulary::Library;

    fn limits() -> Limits {
        Limits::of_time(&Thresholds::embedded().unwrap(), Library::Tensorrt)
    }

    /// Pairs with the candidate slower by `slowdown`, and a deterministic wobble of ±`noise`.
    fn pairs(count: u32, slowdown: f64, noise: f64) -> Vec<Pair> {
        let wobble = |index: u32| (f64::from(index) * 2.399).sin() * noise;
        (0..count)
            .map(|index| Pair {
                reference: 1000.0 * (1.0 + wobble(index)),
                candidate: 1000.0 / (1.0 + slowdown) * (1.0 + wobble(index + 7)),
            })
            .collect()
    }

    #[test]
    fn the_order_is_abba() {
        let mut order = String::new();
        let measured = interleave(4, &mut |side| {
            order.push(if side == Side::Reference { 'A' } else { 'B' });
            Ok(order.len() as f64)
        });
        assert_eq!(order, "ABBAABBA");
        assert_eq!(measured.unwrap().get(1), Some(&Pair { reference: 4.0, candidate: 3.0 }));
    }

    #[test]
    fn linear_drift_cancels() {
        let mut clock = 0.0;
        let measured = interleave(12, &mut |_| {
            clock += 1.0;
            Ok(1000.0 * (-0.01_f64 * clock).exp())
        });
        let judged = judge(&measured.unwrap(), &limits(), 1).unwrap();
        assert_relative_eq!(judged.slowdown, 0.0, epsilon = 1e-9);
        assert_eq!(judged.decision, Decision::Ok);
    }

    #[rstest]
    #[case(0.0, 0.005, Decision::Ok)]
    #[case(0.05, 0.005, Decision::Fail)]
    #[case(0.03, 0.005, Decision::Fail)]
    #[case(0.017, 0.001, Decision::Warn)]
    #[case(0.01, 0.0, Decision::Ok)]
    #[case(-0.05, 0.005, Decision::Improved)]
    #[case(0.05, 0.3, Decision::Ok)]
    fn slowdowns_are_judged(#[case] slowdown: f64, #[case] noise: f64, #[case] expected: Decision) {
        let judged = judge(&pairs(12, slowdown, noise), &limits(), 1).unwrap();
        assert_eq!(judged.decision, expected, "{judged:?}");
        assert!(judged.interval.0 <= judged.slowdown && judged.slowdown <= judged.interval.1);
    }

    #[test]
    fn the_absolute_floor_holds() {
        // 5 % of 10 µs are half a microsecond.
        let fast: Vec<Pair> = (0..12).map(|_| Pair { reference: 1e5, candidate: 1e5 / 1.05 }).collect();
        assert_eq!(judge(&fast, &limits(), 1).unwrap().decision, Decision::Ok);
        assert_eq!(judge(&fast, &limits(), 32).unwrap().decision, Decision::Fail);
    }

    #[test]
    fn few_pairs_and_broken_pairs_get_no_verdict() {
        assert!(judge(&pairs(9, 0.05, 0.0), &limits(), 1).is_err());
        for value in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
            let mut broken = pairs(12, 0.05, 0.0);
            broken[3].candidate = value;
            assert!(judge(&broken, &limits(), 1).is_err());
        }
    }

    // Published critical values of the signed-rank statistic, one-sided: largest t with P(T ≤ t) ≤ α.
    #[rstest]
    #[case(10, 0.05, 10)]
    #[case(10, 0.01, 5)]
    #[case(20, 0.05, 60)]
    #[case(20, 0.01, 43)]
    #[case(10, 0.001, 0)]
    fn signed_rank_tails_are_exact(#[case] count: usize, #[case] probability: f64, #[case] expected: usize) {
        assert_eq!(lower_tail(count, probability), expected);
    }
}

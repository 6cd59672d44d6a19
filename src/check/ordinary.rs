//! What the changed answers to ordinary samples cost, counted on these samples themselves.
//!
//! The rule estimates that loss from the errors on probes, and an error may be larger where ordinary samples lie than where
//! probes were searched. Here each sample whose answer changed costs `tanh(m ∕ M)`, as in [`rule`](crate::check::rule): `m` is
//! the reference's lead over its best rival, at least as small as its lead over the answer given now, so that the sum never
//! says too much. A mean of so few samples is known within its standard error; the check fails only where the loss is beyond
//! the limit by two of them.

use crate::findings::CheckResult;
use crate::findings::leads::{points, points_beside};
use crate::vocabulary::Status;

/// The check's name in reports.
pub(crate) const NAME: &str = "ordinary";

/// Samples from which on a count outweighs what the probes say.
pub(crate) const ENOUGH: usize = 1024;

/// So many times the loss allowed the probes may say and be outweighed: they know a loss within a factor of 2, and what they put
/// beyond this is no error of theirs.
pub(crate) const OUTWEIGHED: f64 = 3.0;

/// Standard errors by which the loss must be beyond its limit: 1 sound cell of 40 that loses as much as it may would fail.
const STANDARD_ERRORS: f64 = 2.0;

/// What changed answers to ordinary samples cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Samples that were answered.
    samples: usize,
    /// Of them, with another answer.
    changed: usize,
    /// Mean cost, share of accuracy.
    loss: f64,
    /// Standard error of the mean.
    error: f64,
}

impl Cost {
    /// Of `answers`, beside the reference's and its leads in nats, `typical` the median lead; `None` where nothing is known of
    /// any.
    pub(crate) fn of(answers: &[usize], reference: &[u32], leads: &[f32], typical: f64) -> Option<Self> {
        let costs: Vec<f64> = answers
            .iter()
            .zip(reference)
            .zip(leads)
            .map(
                |((&answer, &expected), &lead)| {
                    if answer == expected as usize { 0.0 } else { (f64::from(lead) / typical).tanh() }
                },
            )
            .collect();
        let samples = costs.len();
        if samples < 2 || typical.is_nan() || typical <= 0.0 || costs.iter().any(|cost| cost.is_nan()) {
            return None;
        }
        let count = samples as f64;
        let loss = costs.iter().sum::<f64>() / count;
        let variance = costs.iter().map(|cost| (cost - loss).powi(2)).sum::<f64>() / (count - 1.0);
        let changed = answers.iter().zip(reference).take(samples).filter(|&(now, then)| *now != *then as usize).count();
        Some(Self { samples, changed, loss, error: (variance / count).sqrt() })
    }

    /// The loss that chance has not made.
    fn surely(&self) -> f64 {
        self.loss - STANDARD_ERRORS * self.error
    }

    /// Whether the loss is beyond `allowed` by more than chance; of a NaN it is.
    pub(crate) fn exceeds(&self, allowed: f64) -> bool {
        self.surely().partial_cmp(&allowed).is_none_or(std::cmp::Ordering::is_gt)
    }

    /// Whether chance may have hidden a loss beyond `allowed`; of a NaN it may.
    pub(crate) fn may_exceed(&self, allowed: f64) -> bool {
        (self.loss + STANDARD_ERRORS * self.error).partial_cmp(&allowed).is_none_or(std::cmp::Ordering::is_gt)
    }

    /// Whether the loss is within `allowed` by more than chance, were there one more changed answer that costs all it can: of
    /// none in n samples, 3 ∕ n is not yet excluded.
    pub(crate) fn is_within(&self, allowed: f64) -> bool {
        self.at_most() <= allowed
    }

    /// The loss that chance may hide, with one more changed answer.
    fn at_most(&self) -> f64 {
        let one = 1.0 / self.samples as f64;
        self.loss + one + STANDARD_ERRORS * self.error.hypot(one)
    }

    /// Samples that were answered.
    pub(crate) const fn samples(&self) -> usize {
        self.samples
    }

    /// Whether the count says for sure that no more than `allowed` is lost, where the probes estimate `loss`.
    pub(crate) fn outweighs(&self, loss: f64, allowed: f64) -> bool {
        self.samples >= ENOUGH && loss <= OUTWEIGHED * allowed && self.is_within(allowed)
    }

    /// That it does, in words that stand behind the probes' own.
    pub(crate) fn outweighing(&self) -> String {
        format!(
            "by the probes' errors alone; counted on {} ordinary samples it is about {}, {} at most, which decides",
            self.samples,
            points(self.loss),
            points(self.at_most())
        )
    }

    /// The check, held to the largest loss `allowed`.
    pub(crate) fn check(&self, allowed: f64) -> CheckResult {
        let surely = self.surely();
        let passed = !self.exceeds(allowed);
        let loss = if passed { points(self.loss) } else { points_beside(self.loss, allowed) };
        let least = if passed { String::new() } else { format!(", {} at least", points_beside(surely, allowed)) };
        CheckResult {
            name: NAME.to_owned(),
            status: if passed { Status::Pass } else { Status::Fail },
            gating: true,
            detail: format!(
                "{} of {} ordinary samples have another answer, which costs about {loss} of accuracy{least}; {} allowed",
                self.changed,
                self.samples,
                points(allowed)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Of 256 samples with a typical lead of 2 nats, `changed` answer otherwise, each where the reference led by `lead`.
    fn cost(changed: usize, lead: f32) -> Cost {
        let answers: Vec<usize> = (0..256).map(|sample| usize::from(sample < changed)).collect();
        Cost::of(&answers, &[0; 256], &[lead; 256], 2.0).unwrap()
    }

    #[test]
    fn a_changed_answer_costs_what_the_odds_say() {
        let Cost { samples, changed, loss, error } = cost(64, 2.0);
        assert_eq!((samples, changed), (256, 64));
        assert!((loss - 0.25 * 1.0_f64.tanh()).abs() < 1e-12, "{loss}");
        // A share p of n samples is known within √(p (1 − p) ∕ (n − 1)).
        let expected = 1.0_f64.tanh() * (0.25 * 0.75 / 255.0_f64).sqrt();
        assert!((error - expected).abs() < 1e-12, "{error}");
    }

    #[test]
    fn a_tie_that_fell_the_other_way_costs_nothing() {
        assert_eq!(cost(256, 0.0).loss, 0.0);
    }

    #[test]
    fn only_a_loss_that_is_surely_beyond_fails() {
        // 16 of 256 at full cost: 6 points, 3 surely.
        let sixteen = cost(16, 20.0);
        assert_eq!(sixteen.check(0.033).status, Status::Pass);
        assert_eq!(sixteen.check(0.031).status, Status::Fail);
        assert!(sixteen.check(0.01).detail.starts_with("16 of 256 ordinary samples have another answer"));
    }

    #[test]
    fn a_loss_near_the_limit_is_on_neither_side() {
        // 6 points, give or take 3.
        let sixteen = cost(16, 20.0);
        let sides = |allowed| (sixteen.exceeds(allowed), sixteen.may_exceed(allowed));
        assert_eq!([0.02, 0.05, 0.1].map(sides), [(true, true), (false, true), (false, false)]);
        assert_eq!(
            (sixteen.exceeds(f64::NAN), sixteen.may_exceed(f64::NAN), sixteen.is_within(f64::NAN)),
            (true, true, false)
        );
        assert_eq!([0.09, 0.12].map(|allowed| sixteen.is_within(allowed)), [false, true]);
        // None of 256: up to 3 of 256 may be.
        assert_eq!([0.0119, 0.0118, 0.0116].map(|allowed| cost(0, 2.0).is_within(allowed)), [true, true, false]);
    }

    /// 1,024 answers or so of which one has changed lose a thousandth, 0.4 points at most.
    #[test]
    fn enough_samples_outweigh_probes_that_say_little_too_much() {
        let of = |samples: usize| {
            let answers: Vec<usize> = (0..samples).map(|sample| usize::from(sample == 7)).collect();
            Cost::of(&answers, &vec![0; samples], &vec![2.0; samples], 2.0).unwrap()
        };
        assert!(of(1024).outweighs(0.012, 0.005));
        assert!(!of(1023).outweighs(0.012, 0.005), "too few");
        assert!(!of(1024).outweighs(0.016, 0.005), "three times too much");
        assert!(!of(1024).outweighs(0.012, 0.0041), "chance may hide more");
        assert!(!of(1024).outweighs(f64::NAN, 0.005) && !of(1024).outweighs(0.01, f64::NAN));
    }

    #[test]
    fn what_is_not_known_is_no_verdict() {
        assert_eq!(Cost::of(&[0, 0], &[], &[], 2.0), None);
        assert_eq!(Cost::of(&[0, 1], &[0, 0], &[1.0, f32::NAN], 2.0), None);
        assert_eq!(Cost::of(&[0, 1], &[0, 0], &[1.0, 1.0], 0.0), None);
    }
}

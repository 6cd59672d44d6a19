//! Labelled accuracy, as counts.
//!
//! A share of a few hundred samples cannot express every bound: 0.1 points of 932 samples are less than one sample. Such a
//! bound is taken as one sample, the resolution of the set, and the report says so; a bound of zero stays zero.

use crate::check::ladder::Check;
use crate::report::schema::{Accuracy, CheckResult};
use crate::vocabulary::Status;

/// Samples that may be lost: `points` percentage points of `samples`, rounded down, at least one unless `points` is zero.
pub fn allowed_drop(points: f64, samples: usize) -> usize {
    // The slack keeps a bound that is a whole number of samples from falling below it in binary.
    let exact = points.max(0.0) / 100.0 * samples as f64 + 1e-9;
    let least = usize::from(points > 0.0);
    (exact.floor() as usize).max(least).min(samples)
}

/// The check of the report: right answers of this cell against the reference's on the same samples.
pub fn judge(accuracy: &Accuracy, gating: bool) -> CheckResult {
    let Accuracy { samples, correct, reference_correct, allowed_drop_points: points, .. } = accuracy;
    let done =
        |status, detail: String| CheckResult { name: Check::Accuracy.as_str().to_owned(), status, gating, detail };
    let Some(reference) = reference_correct else {
        let detail = format!("{}; the reference did not answer these samples", share(*correct, *samples));
        return CheckResult { gating: false, ..done(Status::Unavailable, detail) };
    };
    if *samples == 0 || correct > samples || reference > samples || !points.is_finite() {
        return done(
            Status::Invalid,
            format!("{correct} of {samples} right, the reference {reference}: not a count of answers"),
        );
    }
    if let Some(refused) = &accuracy.labels_refused {
        return done(Status::Invalid, format!("the labels are refused: {refused}"));
    }
    if *reference == 0 {
        return done(
            Status::Invalid,
            format!("the reference answers none of {samples} samples right: these are not its labels"),
        );
    }
    let allowed = allowed_drop(*points, *samples);
    let lost = reference.saturating_sub(*correct);
    let mut detail = format!(
        "{}, the reference {}: {lost} fewer, {allowed} allowed",
        share(*correct, *samples),
        share(*reference, *samples)
    );
    if allowed == 1 && *points * (*samples as f64) < 100.0 {
        let resolution = 100.0 / *samples as f64;
        detail.push_str(&format!(" ({points} points asked, one of {samples} samples is {resolution:.3})"));
    }
    if let Some(suspicious) = &accuracy.labels_suspicious {
        detail.push_str(&format!("; {suspicious}"));
    }
    done(if lost <= allowed { Status::Pass } else { Status::Fail }, detail)
}

fn share(correct: usize, samples: usize) -> String {
    format!("{correct} of {samples} right ({:.2} %)", 100.0 * correct as f64 / samples.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0.1, 932, 1)]
    #[case(0.1, 1999, 1)]
    #[case(0.1, 2000, 2)]
    #[case(0.1, 0, 0)]
    #[case(0.1, 1000, 1)]
    #[case(0.1, 10_000, 10)]
    #[case(1.0, 932, 9)]
    #[case(0.3, 1000, 3)]
    #[case(0.7, 1000, 7)]
    #[case(0.0, 10_000, 0)]
    #[case(100.0, 50, 50)]
    #[case(-1.0, 50, 0)]
    #[case(f64::NAN, 50, 0)]
    fn points_become_counts(#[case] points: f64, #[case] samples: usize, #[case] allowed: usize) {
        assert_eq!(allowed_drop(points, samples), allowed);
    }

    #[rstest]
    #[case(
        859,
        Some(860),
        0.1,
        Status::Pass,
        "859 of 932 right (92.17 %), the reference 860 of 932 right (92.27 %): 1 fewer, 1 allowed (0.1 points asked, one of 932 samples is 0.107)"
    )]
    #[case(
        858,
        Some(860),
        0.1,
        Status::Fail,
        "858 of 932 right (92.06 %), the reference 860 of 932 right (92.27 %): 2 fewer, 1 allowed (0.1 points asked, one of 932 samples is 0.107)"
    )]
    #[case(
        859,
        Some(860),
        0.0,
        Status::Fail,
        "859 of 932 right (92.17 %), the reference 860 of 932 right (92.27 %): 1 fewer, 0 allowed"
    )]
    #[case(
        851,
        Some(860),
        1.0,
        Status::Pass,
        "851 of 932 right (91.31 %), the reference 860 of 932 right (92.27 %): 9 fewer, 9 allowed"
    )]
    #[case(
        850,
        Some(860),
        1.0,
        Status::Fail,
        "850 of 932 right (91.20 %), the reference 860 of 932 right (92.27 %): 10 fewer, 9 allowed"
    )]
    #[case(
        900,
        Some(860),
        0.0,
        Status::Pass,
        "900 of 932 right (96.57 %), the reference 860 of 932 right (92.27 %): 0 fewer, 0 allowed"
    )]
    #[case(
        0,
        Some(0),
        0.1,
        Status::Invalid,
        "the reference answers none of 932 samples right: these are not its labels"
    )]
    #[case(
        860,
        None,
        1.0,
        Status::Unavailable,
        "860 of 932 right (92.27 %); the reference did not answer these samples"
    )]
    #[case(933, Some(860), 1.0, Status::Invalid, "933 of 932 right, the reference 860: not a count of answers")]
    fn a_fall_is_counted(
        #[case] correct: usize,
        #[case] reference_correct: Option<usize>,
        #[case] allowed_drop_points: f64,
        #[case] status: Status,
        #[case] detail: &str,
    ) {
        let found = judge(&accuracy(correct, reference_correct, allowed_drop_points), true);
        assert_eq!((found.status, found.detail.as_str()), (status, detail));
    }

    fn accuracy(correct: usize, reference_correct: Option<usize>, allowed_drop_points: f64) -> Accuracy {
        Accuracy {
            samples: 932,
            correct,
            reference_correct,
            allowed_drop_points,
            labels_refused: None,
            labels_suspicious: None,
        }
    }

    #[test]
    fn refused_labels_judge_nothing() {
        let refused = Some("the reference is right on 90 of 932 labelled samples; guessing gives 93".to_owned());
        let found = judge(&Accuracy { labels_refused: refused, ..accuracy(90, Some(90), 1.0) }, true);
        assert_eq!(found.status, Status::Invalid);
        assert!(found.detail.starts_with("the labels are refused: the reference is right on 90 of 932"), "{found:?}");
        let suspicious = Some("labels 3 and 8 seem to be swapped".to_owned());
        let found = judge(&Accuracy { labels_suspicious: suspicious, ..accuracy(700, Some(700), 1.0) }, true);
        assert_eq!(found.status, Status::Pass);
        assert!(found.detail.ends_with("; labels 3 and 8 seem to be swapped"), "{found:?}");
    }
}

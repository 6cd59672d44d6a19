//! Labelled accuracy, as counts.
//!
//! A share of a few hundred samples cannot express every bound: 0.1 points of 932 samples are less than one sample. Such a
//! bound is taken as one sample, the resolution of the set, and the report says so; a bound of zero stays zero.
//!
//! The counts decide, of the reference as of every cell: right answers below the floor fail, and so do more lost ones than
//! are allowed. How far a count of few samples tells of others is shown beside it ([`interval`]) and decides nothing: the
//! samples are the same in every run, so that a verdict that followed the interval would let a known loss pass for being
//! measured on few of them.

use crate::check::ladder::Check;
use crate::findings::{ACCURACY_RULE, Accuracy, AccuracyReport, CheckResult};
use crate::vocabulary::Status;

/// Samples that may be lost: `points` percentage points of `samples`, rounded down, at least one unless `points` is zero.
pub fn allowed_drop(points: f64, samples: usize) -> usize {
    // The slack keeps a bound that is a whole number of samples from falling below it in binary.
    let exact = points.max(0.0) / 100.0 * samples as f64 + 1e-9;
    let least = usize::from(points > 0.0);
    (exact.floor() as usize).max(least).min(samples)
}

/// Fewest right answers of `samples` that keep the `floor`, a share.
pub fn least_correct(floor: f64, samples: usize) -> usize {
    // The slack keeps a floor that is a whole number of samples from rising above it in binary.
    (floor * samples as f64 - 1e-9).ceil().max(0.0) as usize
}

/// Bounds of the 95 % interval of a share of `correct` of `samples`, by Wilson's score: E. B. Wilson, Journal of the American
/// Statistical Association 22 (1927), 209–212. It holds for few samples and for shares near 0 and 1 too, where the textbook's
/// does not (Brown, Cai and `DasGupta`, Statistical Science 16 (2001), 101–133).
pub fn interval(correct: usize, samples: usize) -> [f64; 2] {
    // The normal distribution's 97.5th percentile.
    const Z: f64 = 1.959_963_984_540_054;
    if samples == 0 {
        return [0.0, 1.0];
    }
    let (count, share) = (samples as f64, correct.min(samples) as f64 / samples as f64);
    let middle = share + Z * Z / (2.0 * count);
    let half = Z * (share * (1.0 - share) / count + Z * Z / (4.0 * count * count)).sqrt();
    let scale = 1.0 + Z * Z / count;
    [((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0)]
}

/// The check of the report: right answers of this cell against the reference's on the same samples, and against the floor.
pub fn judge(accuracy: &Accuracy, gating: bool) -> CheckResult {
    let Accuracy { samples, correct, reference_correct, allowed_drop_points: points, .. } = accuracy;
    let done =
        |status, detail: String| CheckResult { name: Check::Accuracy.as_str().to_owned(), status, gating, detail };
    let below = accuracy.floor.filter(|floor| *correct < least_correct(*floor, *samples));
    let below = below.map(|floor| format!("below the floor of {}", percent(floor)));
    let Some(reference) = reference_correct else {
        let mut detail = format!("{}; the reference did not answer these samples", share(*correct, *samples));
        if let Some(below) = below {
            detail.push_str(&format!("; {below}"));
            return done(Status::Fail, detail);
        }
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
    match (&below, accuracy.floor) {
        (Some(below), _) => detail.push_str(&format!("; {below}")),
        (None, Some(floor)) => detail.push_str(&format!("; floor {}", percent(floor))),
        (None, None) => {}
    }
    if let Some(suspicious) = &accuracy.labels_suspicious {
        detail.push_str(&format!("; {suspicious}"));
    }
    done(if lost <= allowed && below.is_none() { Status::Pass } else { Status::Fail }, detail)
}

/// The rule of the report: the reference's own right answers against the floor, and against those that the golden keeps.
///
/// A floor that is not kept fails whatever the labels are: who names one vouches for them.
pub fn judge_reference(found: &AccuracyReport) -> CheckResult {
    let AccuracyReport { samples, correct, interval: [low, high], floor, drop, golden, .. } = found;
    let mut detail = format!(
        "the reference is right on {correct} of {samples} labelled samples ({}, 95 % interval {:.2} to {:.2} %)",
        percent(*correct as f64 / (*samples).max(1) as f64),
        100.0 * low,
        100.0 * high
    );
    if found.of_golden {
        detail.push_str(", as the golden keeps it");
    }
    let mut status = Status::Pass;
    if let Some(floor) = floor {
        let below = *correct < least_correct(*floor, *samples);
        let what = if below { "below the floor of" } else { "floor" };
        detail.push_str(&format!(", {what} {}", percent(*floor)));
        if (*low..=*high).contains(floor) {
            detail.push_str(" (within that interval: other samples could say otherwise, these decide)");
        }
        status = if below { Status::Fail } else { status };
    }
    match golden.as_ref().filter(|_| !found.of_golden) {
        Some(golden) if golden.same_data => {
            let lost = golden.correct.saturating_sub(*correct);
            let kept = share(golden.correct, golden.samples);
            match drop.map(|drop| allowed_drop(100.0 * drop, *samples)) {
                Some(allowed) => {
                    detail.push_str(&format!("; the golden's was {kept}: {lost} fewer, {allowed} allowed"));
                    status = if lost > allowed { Status::Fail } else { status };
                }
                None => detail.push_str(&format!("; the golden's was {kept}")),
            }
        }
        // Two shares of different samples say nothing of a loss, and `drop` asks for one.
        Some(golden) => {
            let kept = share(golden.correct, golden.samples);
            detail.push_str(&format!("; the golden's was {kept} of other labelled data, and is not compared"));
            if drop.is_some() && status == Status::Pass {
                detail.push_str(": `trtgate bless --data` stores that of these samples");
                status = Status::Invalid;
            }
        }
        None => {}
    }
    if let Some(refused) = &found.labels_refused {
        detail.push_str(&format!("; the labels are refused: {refused}"));
        status = if status == Status::Pass { Status::Invalid } else { status };
    }
    CheckResult { name: ACCURACY_RULE.to_owned(), status, gating: true, detail }
}

/// `859 of 932 right (92.17 %)`.
pub(crate) fn share(correct: usize, samples: usize) -> String {
    format!("{correct} of {samples} right ({:.2} %)", 100.0 * correct as f64 / samples.max(1) as f64)
}

/// A share with as many digits as it needs, two at most: `90 %`.
fn percent(share: f64) -> String {
    let text = format!("{:.2}", 100.0 * share);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::findings::GoldenAccuracy;

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
            floor: None,
            labels_refused: None,
            labels_suspicious: None,
        }
    }

    #[rstest]
    // Published values of Wilson's interval.
    #[case(90, 100, 0.825_63, 0.944_77)]
    #[case(10, 10, 0.722_47, 1.0)]
    #[case(0, 10, 0.0, 0.277_53)]
    #[case(5, 10, 0.236_59, 0.763_41)]
    #[case(0, 0, 0.0, 1.0)]
    fn few_samples_tell_little(#[case] correct: usize, #[case] samples: usize, #[case] low: f64, #[case] high: f64) {
        let [found_low, found_high] = interval(correct, samples);
        approx::assert_abs_diff_eq!(found_low, low, epsilon = 5e-5);
        approx::assert_abs_diff_eq!(found_high, high, epsilon = 5e-5);
    }

    #[rstest]
    #[case(0.9, 1000, 900)]
    #[case(0.9, 932, 839)]
    #[case(0.7, 10, 7)]
    #[case(1.0, 7, 7)]
    #[case(0.001, 10, 1)]
    fn a_floor_is_a_count(#[case] floor: f64, #[case] samples: usize, #[case] least: usize) {
        assert_eq!(least_correct(floor, samples), least);
    }

    #[rstest]
    #[case(839, Some(840), Status::Pass, "; floor 90 %")]
    #[case(838, Some(839), Status::Fail, "; below the floor of 90 %")]
    #[case(838, None, Status::Fail, "; below the floor of 90 %")]
    #[case(839, None, Status::Unavailable, "; the reference did not answer these samples")]
    fn a_cell_keeps_the_floor(
        #[case] correct: usize,
        #[case] reference: Option<usize>,
        #[case] status: Status,
        #[case] end: &str,
    ) {
        let found = judge(&Accuracy { floor: Some(0.9), ..accuracy(correct, reference, 1.0) }, true);
        assert_eq!(found.status, status, "{found:?}");
        assert!(found.detail.ends_with(end), "{found:?}");
        assert_eq!(found.gating, status != Status::Unavailable);
    }

    fn of_reference(correct: usize, samples: usize) -> AccuracyReport {
        AccuracyReport {
            samples,
            correct,
            interval: interval(correct, samples),
            of_golden: false,
            floor: None,
            drop: None,
            golden: None,
            labels_refused: None,
        }
    }

    fn before(correct: usize, same_data: bool) -> Option<GoldenAccuracy> {
        Some(GoldenAccuracy { samples: 1000, correct, same_data })
    }

    #[test]
    fn the_reference_is_shown_and_held_to_the_floor() {
        let found = judge_reference(&of_reference(912, 1000));
        assert_eq!(found.status, Status::Pass);
        assert_eq!(
            found.detail,
            "the reference is right on 912 of 1000 labelled samples (91.2 %, 95 % interval 89.28 to 92.80 %)"
        );
        let with = |correct, samples, floor| {
            judge_reference(&AccuracyReport { floor: Some(floor), ..of_reference(correct, samples) })
        };
        let found = with(899, 1000, 0.9);
        assert_eq!(found.status, Status::Fail);
        assert!(found.detail.contains(", below the floor of 90 % (within that interval"), "{found:?}");
        assert_eq!(with(900, 1000, 0.9).status, Status::Pass);
        let found = with(800, 1000, 0.9);
        assert!(found.detail.ends_with(", below the floor of 90 %"), "{found:?}");
        // Nine of ten could be of a model that is right on 60 %.
        let found = with(9, 10, 0.85);
        assert_eq!(found.status, Status::Pass);
        assert!(found.detail.contains("interval 59.58 to 98.21 %), floor 85 % (within that interval"), "{found:?}");
    }

    #[test]
    fn labels_that_are_refused_do_not_excuse_a_reference_below_the_floor() {
        let refused = Some("guessing gives 100".to_owned());
        let refused = AccuracyReport { labels_refused: refused, ..of_reference(100, 1000) };
        assert_eq!(judge_reference(&refused).status, Status::Invalid);
        let found = judge_reference(&AccuracyReport { floor: Some(0.9), ..refused });
        assert_eq!(found.status, Status::Fail);
        assert!(found.detail.ends_with("; the labels are refused: guessing gives 100"), "{found:?}");
    }

    #[rstest]
    #[case(912, None, before(930, true), Status::Pass, "; the golden's was 930 of 1000 right (93.00 %)")]
    #[case(920, Some(0.01), before(930, true), Status::Pass, "(93.00 %): 10 fewer, 10 allowed")]
    #[case(919, Some(0.01), before(930, true), Status::Fail, "(93.00 %): 11 fewer, 10 allowed")]
    #[case(950, Some(0.0), before(930, true), Status::Pass, "(93.00 %): 0 fewer, 0 allowed")]
    #[case(912, None, before(930, false), Status::Pass, "of other labelled data, and is not compared")]
    #[case(
        912,
        Some(0.01),
        before(930, false),
        Status::Invalid,
        "not compared: `trtgate bless --data` stores that of these samples"
    )]
    #[case(912, Some(0.01), None, Status::Pass, "89.28 to 92.80 %)")]
    fn the_reference_is_held_to_the_golden(
        #[case] correct: usize,
        #[case] drop: Option<f64>,
        #[case] golden: Option<GoldenAccuracy>,
        #[case] status: Status,
        #[case] end: &str,
    ) {
        let found = judge_reference(&AccuracyReport { drop, golden, ..of_reference(correct, 1000) });
        assert_eq!(found.status, status, "{found:?}");
        assert!(found.detail.ends_with(end), "{found:?}");
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

    /// What is no count of answers judges nothing, whichever of its numbers is wrong.
    #[rstest]
    #[case::none(0, 0, 0, 1.0)]
    #[case::more_right_than_asked(10, 11, 5, 1.0)]
    #[case::a_reference_beyond(10, 5, 11, 1.0)]
    #[case::no_points(10, 5, 5, f64::NAN)]
    fn what_is_no_count_is_invalid(
        #[case] samples: usize,
        #[case] correct: usize,
        #[case] reference: usize,
        #[case] allowed_drop_points: f64,
    ) {
        let accuracy = Accuracy {
            samples,
            correct,
            reference_correct: Some(reference),
            allowed_drop_points,
            floor: None,
            labels_refused: None,
            labels_suspicious: None,
        };
        let found = judge(&accuracy, true);
        assert_eq!(found.status, Status::Invalid);
        assert!(found.detail.ends_with(": not a count of answers"), "{}", found.detail);
    }
}

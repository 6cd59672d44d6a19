//! Boxes with classes and scores: sets, whatever the order of their rows.
//!
//! In each class boxes are matched so that their overlaps sum to the most. A box that has no match is *borderline* where its
//! score lies near the threshold or near the lowest that was kept of a full set; where one that took its place overlaps it by nearly
//! as much as the model's own suppression takes, or one that both sides have moved by about what it needed to; and where two classes
//! tie and the other side chose the other. Any other is a fault.

mod matching;
pub(super) mod precision;
mod read;

use super::{Found, Given};
use crate::error::{Error, Result};
use crate::figure::figure;
use crate::findings::ErrorMetrics;
use crate::findings::shown::{Shown, ShownBox, ShownBoxes};
use crate::findings::verdict::boxes;
use crate::manifest::tasks::BoxesTask;
use matching::{Matched, matched};
use read::{Detection, Set, sets};

/// Most boxes of a side that are drawn.
const DRAWN: usize = 60;
/// Pairs from which on a common shift is called one of all boxes.
const MANY: usize = 3;
/// Share of pairs that have the common shift, within half of it.
const MOST: f64 = 0.9;

/// How many times as much as a box moved its overlap with another may have moved, and the least that it counts as.
const MOVED: f64 = 3.0;
const LEAST_MOVED: f64 = 1e-3;
/// Overlap from which on a box of another class stands in a box's place.
const IN_PLACE: f64 = 0.8;

/// One pair of boxes.
struct Pair {
    sample: usize,
    before: Detection,
    after: Detection,
    overlap: f64,
    /// Largest shift of a corner, a share of the largest coordinate.
    corner: f64,
    score: f64,
}

/// A box without a match.
struct Alone {
    sample: usize,
    detection: Detection,
    /// Whether the reference has it.
    lost: bool,
    borderline: bool,
}

pub(super) fn compare(given: &Given<'_>, task: &BoxesTask) -> Result<Found> {
    let (reference, actual) = given.sides(&given.output.name)?;
    for name in std::iter::once(&given.output.name).chain(task.companions()) {
        let types = given.sides(name).map(|(one, other)| (one.element_type(), other.element_type()));
        if let Ok((Some(wanted), Some(got))) = types
            && wanted != got
        {
            return Ok(Found::broken(format!("`{name}` is {got}, the reference has {wanted}")));
        }
    }
    let before = sets(reference, given.reference, task, given.samples).map_err(read::Flaw::of_reference)?;
    let after = match sets(actual, given.actual, task, given.samples) {
        Ok(after) => after,
        Err(flaw) => return Ok(Found::broken(flaw.of_cell())),
    };
    let empty = before.iter().zip(&after).filter(|(one, other)| one.boxes.is_empty() && other.boxes.is_empty()).count();
    if empty == given.samples {
        return Err(Error::invalid(format!(
            "none of {} samples has a box on either side: nothing was judged",
            given.samples
        ))
        .hint("feed samples with objects in them (`from = \"samples.npz\"`), or lower `threshold`"));
    }
    let extent = before
        .iter()
        .flat_map(|set| &set.boxes)
        .flat_map(|one| one.corners)
        .fold(0.0_f64, |size, value| size.max(value.abs()));
    let band = given.limits.get("score");
    let mut pairs = Vec::new();
    let mut alone = Vec::new();
    for (sample, (one, other)) in before.iter().zip(&after).enumerate() {
        let found = matched(&one.boxes, &other.boxes);
        for &(x, y) in &found.pairs {
            let (Some(&x), Some(&y)) = (one.boxes.get(x), other.boxes.get(y)) else { continue };
            let corner = x.shifts(&y).iter().fold(0.0_f64, |most, shift| most.max(shift.abs()));
            let corner = if corner == 0.0 { 0.0 } else { corner / extent };
            pairs.push(Pair {
                sample,
                before: x,
                after: y,
                overlap: x.overlap(&y),
                corner,
                score: (x.score - y.score).abs(),
            });
        }
        alone.extend(without_match(sample, one, other, &found, task, band, 1.0 - given.limits.get("iou")));
    }
    let (borderline, confident) =
        alone.iter().fold((0, 0), |(near, sure), one| if one.borderline { (near + 1, sure) } else { (near, sure + 1) });
    if pairs.is_empty() && confident == 0 {
        return Err(Error::invalid(format!(
            "all {borderline} boxes lie near the threshold and none has a match: nothing was judged"
        ))
        .hint("feed samples with clear objects in them (`from = \"samples.npz\"`)"));
    }
    let least = pairs.iter().map(|pair| pair.overlap).fold(1.0, f64::min);
    let corner = pairs.iter().map(|pair| pair.corner).fold(0.0, f64::max);
    let score = pairs.iter().map(|pair| pair.score).fold(0.0, f64::max);
    let mut compared = format!(
        "{} of {} samples, IoU {} and more, corners within {} of {}, scores within {}",
        boxes(pairs.len()),
        given.samples - empty,
        figure(least),
        figure(corner * extent),
        figure(extent),
        figure(score)
    );
    if borderline > 0 {
        compared.push_str(&format!("; {borderline} more are borderline"));
    }
    if empty > 0 {
        compared.push_str(&format!(
            "; {} no box on either side",
            if empty == 1 { "1 sample has".to_owned() } else { format!("{empty} samples have") }
        ));
    }
    Ok(Found {
        fault: fault(given, &pairs, &alone, extent),
        compared,
        figures: vec![("iou", least), ("corner", corner), ("score", score)],
        borderline,
        confident,
        error: distance(&pairs),
        shown: Some(drawn(&before, &after, &pairs, &alone)),
    })
}

/// The sample that tells most, drawn: that of the first box that is missing or not the reference's, or else of the box that
/// moved most.
fn drawn(before: &[Set], after: &[Set], pairs: &[Pair], alone: &[Alone]) -> Shown {
    let first = alone.iter().find(|one| !one.borderline).map(|one| one.sample);
    let moved = pairs.iter().max_by(|one, other| one.corner.total_cmp(&other.corner)).map(|pair| pair.sample);
    let sample = first.or(moved).unwrap_or(0);
    let side = |sets: &[Set], lost: bool| {
        let left =
            |row: usize| alone.iter().any(|one| one.sample == sample && one.lost == lost && one.detection.row == row);
        let boxes = sets.get(sample).map(|set| set.boxes.as_slice()).unwrap_or_default();
        let mut shown: Vec<ShownBox> = boxes
            .iter()
            .map(|one| ShownBox { corners: one.corners, class: one.class, score: one.score, matched: !left(one.row) })
            .collect();
        // What has no match is drawn before what has, the surest first.
        shown.sort_by(|one, other| one.matched.cmp(&other.matched).then(other.score.total_cmp(&one.score)));
        let count = shown.len();
        shown.truncate(DRAWN);
        (shown, count - count.min(DRAWN))
    };
    let ((reference, one), (actual, other)) = (side(before, true), side(after, false));
    let far = |axis: usize| {
        let ends = reference.iter().chain(&actual).filter_map(|one| one.corners.get(axis).copied());
        ends.fold(0.0, f64::max)
    };
    Shown::Boxes(ShownBoxes { sample, extent: [far(2), far(3)], reference, actual, left_out: one + other })
}

/// The boxes of a sample that have no match, each with whether that may be.
fn without_match(
    sample: usize,
    one: &Set,
    other: &Set,
    found: &Matched,
    task: &BoxesTask,
    band: f64,
    room: f64,
) -> Vec<Alone> {
    // The box of the own side that a kept one is matched with.
    let partner = |lost: bool, kept: usize| {
        let pair = found.pairs.iter().find(|&&(x, y)| kept == if lost { y } else { x });
        pair.and_then(|&(x, y)| if lost { one.boxes.get(x) } else { other.boxes.get(y) })
    };
    let side = |lost: bool, left: &[usize], own: &Set, others: &Set| {
        let judge = |&index: &usize| {
            let detection = *own.boxes.get(index)?;
            let near_threshold = task.scores.is_some() && detection.score <= task.threshold + band;
            // Of a full set the next best were cut off.
            let lowest = others.boxes.iter().map(|kept| kept.score).fold(f64::INFINITY, f64::min);
            let near_cut = task.scores.is_some() && others.full && detection.score <= lowest + band;
            // Dropped for a better one that overlaps it by about as much as is allowed: one that took its place, or one that both
            // sides have and that moved by about what it needed to.
            let suppressed = task.nms.is_some_and(|nms| {
                others.boxes.iter().enumerate().any(|(index, kept)| {
                    let near = |other: &Detection, room: f64| other.overlap(&detection) >= nms - room;
                    kept.class == detection.class
                        && kept.score + band >= detection.score
                        && match partner(lost, index) {
                            None => near(kept, room),
                            Some(same) => near(same, MOVED * (1.0 - same.overlap(kept)).max(LEAST_MOVED)),
                        }
                })
            });
            // Of another class there, of which it was no surer.
            let tied = detection.margin <= band
                && others.boxes.iter().any(|kept| {
                    kept.class != detection.class && kept.margin <= band && kept.overlap(&detection) >= IN_PLACE
                });
            let borderline = near_threshold || near_cut || suppressed || tied;
            Some(Alone { sample, detection, lost, borderline })
        };
        left.iter().filter_map(judge).collect::<Vec<_>>()
    };
    let mut alone = side(true, &found.lost, one, other);
    alone.extend(side(false, &found.found, other, one));
    alone
}

/// What is wrong, the most telling first.
fn fault(given: &Given<'_>, pairs: &[Pair], alone: &[Alone], extent: f64) -> Option<String> {
    let limits = given.limits;
    if let Some(words) = classes(alone) {
        return Some(words);
    }
    let mut sure = alone.iter().filter(|one| !one.borderline);
    if let Some(first) = sure.next() {
        let count = 1 + sure.count();
        let words = match moved(first, alone) {
            Some(other) => format!(
                "a box of class {} moved from {} to {}",
                first.detection.class,
                corners(&first.detection),
                corners(&other.detection)
            ),
            None => format!(
                "a box of class {} at {}, score {}, {}",
                first.detection.class,
                corners(&first.detection),
                figure(first.detection.score),
                if first.lost { "is missing" } else { "is not the reference's" }
            ),
        };
        return Some(format!(
            "{count} of {} boxes have no match and are not borderline: in sample {} {words}",
            alone.len() + pairs.len(),
            first.sample
        ));
    }
    // Each may be where it is; all of them together are another answer.
    if alone.len() > pairs.len() {
        return Some(format!(
            "{} boxes have no match, all of them borderline, and only {} have one",
            alone.len(),
            pairs.len()
        ));
    }
    let keeps = |pair: &Pair| limits.keeps("iou", pair.overlap) && limits.keeps("corner", pair.corner);
    let beyond: Vec<&Pair> = pairs.iter().filter(|pair| !keeps(pair)).collect();
    if let Some(worst) = beyond.iter().max_by(|one, other| one.corner.total_cmp(&other.corner)) {
        let count = format!("{} of {} boxes are off", beyond.len(), pairs.len());
        if let Some([x, y]) = common_shift(pairs) {
            return Some(format!("{count}: all are shifted by ({}, {})", figure(x), figure(y)));
        }
        return Some(format!(
            "{count}: in sample {} the box of class {} in row {} is {} (IoU {}, a corner off by {}; IoU {} and {} are allowed)",
            worst.sample,
            worst.before.class,
            worst.after.row,
            change(worst),
            figure(worst.overlap),
            figure(worst.corner * extent),
            figure(limits.get("iou")),
            figure(limits.get("corner") * extent)
        ));
    }
    let worst = pairs
        .iter()
        .filter(|pair| !limits.keeps("score", pair.score))
        .max_by(|one, other| one.score.total_cmp(&other.score))?;
    Some(format!(
        "the score of a box of class {} in sample {} is {} instead of {}, {} more or less is allowed",
        worst.before.class,
        worst.sample,
        figure(worst.after.score),
        figure(worst.before.score),
        figure(limits.get("score"))
    ))
}

/// How a box changed, in words: shifted as a whole, or from these corners to those.
fn change(pair: &Pair) -> String {
    let [left, top, right, bottom] = pair.before.shifts(&pair.after);
    let size = [left, top, right, bottom].iter().fold(0.0_f64, |most, shift| most.max(shift.abs()));
    let whole = (left - right).abs() <= 0.1 * size && (top - bottom).abs() <= 0.1 * size;
    if whole {
        format!("shifted by ({}, {})", figure(f64::midpoint(left, right)), figure(f64::midpoint(top, bottom)))
    } else {
        format!("{} instead of {}", corners(&pair.after), corners(&pair.before))
    }
}

/// The shift that most pairs have, where one is.
fn common_shift(pairs: &[Pair]) -> Option<[f64; 2]> {
    if pairs.len() < MANY {
        return None;
    }
    let shifts: Vec<[f64; 4]> = pairs.iter().map(|pair| pair.before.shifts(&pair.after)).collect();
    let middle = |axis: usize| {
        let mut sorted: Vec<f64> =
            shifts.iter().flat_map(|shift| [shift.get(axis), shift.get(axis + 2)]).flatten().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
    };
    let common = [middle(0), middle(1)];
    let [x, y] = common;
    let size = x.abs().max(y.abs());
    let has = |&&[left, top, right, bottom]: &&[f64; 4]| {
        [left - x, right - x, top - y, bottom - y].iter().all(|rest| rest.abs() <= 0.5 * size)
    };
    let share = shifts.iter().filter(has).count() as f64 / shifts.len() as f64;
    (size > 0.0 && share >= MOST).then_some(common)
}

/// Boxes that have another class than the reference's in their place, told by classes: two swapped, or one box.
fn classes(alone: &[Alone]) -> Option<String> {
    let sure = |lost: bool| alone.iter().filter(move |one| one.lost == lost && !one.borderline);
    let mut changes: Vec<(i64, i64, usize)> = Vec::new();
    for one in sure(true) {
        let there = sure(false).find(|other| {
            other.sample == one.sample
                && other.detection.class != one.detection.class
                && one.detection.overlap(&other.detection) >= IN_PLACE
        });
        changes.extend(there.map(|other| (one.detection.class, other.detection.class, one.sample)));
    }
    let &(from, to, sample) = changes.first()?;
    let both = |one: i64, other: i64| changes.iter().filter(|change| (change.0, change.1) == (one, other)).count();
    if both(to, from) > 0 {
        let (low, high) = (from.min(to), from.max(to));
        return Some(format!(
            "classes {low} and {high} of boxes are swapped: {} boxes hold the other class",
            both(from, to) + both(to, from)
        ));
    }
    Some(format!("{} changed their class, the first in sample {sample}: {to} instead of {from}", boxes(changes.len())))
}

/// The box that `first` may have become: of the same sample and class on the other side, the nearest.
fn moved<'a>(first: &Alone, alone: &'a [Alone]) -> Option<&'a Alone> {
    let far = |other: &Alone| first.detection.shifts(&other.detection).iter().map(|shift| shift.abs()).sum::<f64>();
    alone
        .iter()
        .filter(|other| {
            first.lost && !other.lost && other.sample == first.sample && other.detection.class == first.detection.class
        })
        .min_by(|one, other| far(one).total_cmp(&far(other)))
}

fn corners(detection: &Detection) -> String {
    let [left, top, right, bottom] = detection.corners;
    format!("[{}, {}, {}, {}]", figure(left), figure(top), figure(right), figure(bottom))
}

/// The corners of pairs as figures.
fn distance(pairs: &[Pair]) -> ErrorMetrics {
    let mut errors: Vec<f64> = pairs.iter().flat_map(|pair| pair.before.shifts(&pair.after)).map(f64::abs).collect();
    errors.sort_by(f64::total_cmp);
    let signal: f64 = pairs.iter().flat_map(|pair| pair.before.corners).map(|value| value * value).sum();
    let noise: f64 = errors.iter().map(|error| error * error).sum();
    let last = errors.len().saturating_sub(1);
    ErrorMetrics {
        max_abs: errors.last().copied().unwrap_or(0.0),
        mean_abs: errors.iter().sum::<f64>() / errors.len().max(1) as f64,
        p99_abs: errors.get(last * 99 / 100).copied().unwrap_or(0.0),
        cosine_min: 1.0,
        sqnr_db: if noise == 0.0 { 999.0 } else { (10.0 * (signal / noise).log10()).min(999.0) },
        outside: 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A pair whose corners moved by `shifts`.
    fn pair(corners: [f64; 4], shifts: [f64; 4]) -> Pair {
        let detection = |corners| Detection { corners, score: 1.0, class: 0, margin: f64::INFINITY, row: 0 };
        let [a, b, c, d] = corners;
        let [e, f, g, h] = shifts;
        let (before, after) = (detection(corners), detection([a + e, b + f, c + g, d + h]));
        Pair { sample: 0, before, after, overlap: 1.0, corner: 0.0, score: 0.0 }
    }

    /// Of the corners' errors the largest, the mean, the 99th of a hundred, and the signal over them.
    #[test]
    fn corners_are_compared_in_figures() {
        let pairs: Vec<Pair> =
            (0..50).map(|place| pair([10.0, 10.0, 20.0, 20.0], [f64::from(place), 0.0, 0.0, 0.0])).collect();
        let found = distance(&pairs);
        // Of 200 errors 150 are nothing; the others are 0 to 49, and number 197 of them is 47.
        assert_eq!((found.max_abs, found.p99_abs, found.mean_abs), (49.0, 47.0, 1225.0 / 200.0));
        let noise: f64 = (0..50).map(|place| f64::from(place * place)).sum();
        assert!((found.sqnr_db - 10.0 * (50.0 * 1000.0 / noise).log10()).abs() < 1e-9, "{}", found.sqnr_db);
        let none = distance(&[pair([0.0, 0.0, 1.0, 1.0], [0.0; 4])]);
        assert_eq!((none.max_abs, none.p99_abs, none.sqnr_db), (0.0, 0.0, 999.0));
        assert_eq!(distance(&[]).mean_abs, 0.0);
    }

    /// Pairs have a shift in common where nearly all corners moved by about as much.
    #[test]
    fn pairs_share_a_shift_where_nearly_all_moved_alike() {
        let shifted = |shifts: &[[f64; 4]]| {
            let pairs: Vec<Pair> = shifts.iter().map(|shift| pair([10.0, 10.0, 20.0, 20.0], *shift)).collect();
            common_shift(&pairs)
        };
        assert_eq!(shifted(&[[8.0, -4.0, 8.0, -4.0]; 4]), Some([8.0, -4.0]));
        assert_eq!(shifted(&[[8.0, -4.0, 8.0, -4.0]; 2]), None, "two are too few");
        assert_eq!(shifted(&[[0.0; 4]; 4]), None);
        // One side stays, so that the boxes grew.
        for grown in [[20.0, -4.0, 8.0, -4.0], [8.0, -4.0, 20.0, -4.0], [8.0, -14.0, 8.0, -4.0], [8.0, -4.0, 8.0, 9.0]]
        {
            let half = [[8.0, -4.0, 8.0, -4.0], grown].repeat(4);
            assert_eq!(shifted(&half), None, "{grown:?}");
        }
    }
}

//! What a person looks at of an output: the sample that tells most, beside the reference's.

use crate::findings::Histogram;
use crate::findings::shown::{Shown, ShownCosines, ShownMap, ShownStep, ShownTokens, runs};

/// Longest side of a map that is kept; larger ones are thinned out.
const LONGEST_SIDE: usize = 64;
/// Most steps of a sequence that are kept, and those in front of the first change.
const MOST_STEPS: usize = 60;
const STEPS_BEFORE: usize = 12;
/// Longest sequences whose steps are laid beside each other.
const LONGEST_SEQUENCE: usize = 2000;
/// The bins of cosines: `log10(1 − cosine)`, the first with everything below.
const FROM: f64 = -12.0;
const STEP: f64 = 0.25;
const BINS: usize = 50;

/// One sample's places as two classes each, thinned out so that what changed stays.
pub(super) fn map(sample: usize, [height, width]: [usize; 2], places: &[(usize, usize)]) -> Option<Shown> {
    if width == 0 || height == 0 || places.len() != width * height {
        return None;
    }
    let step = width.max(height).div_ceil(LONGEST_SIDE);
    let (columns, rows) = (width.div_ceil(step), height.div_ceil(step));
    let block = |index: usize| {
        let (top, left) = (index / columns * step, index % columns * step);
        let inside = (top..(top + step).min(height))
            .flat_map(|row| places.get(row * width + left..row * width + (left + step).min(width)).unwrap_or_default());
        let mut first = None;
        for &(before, after) in inside {
            if before != after {
                return (before, after);
            }
            first = first.or(Some((before, after)));
        }
        first.unwrap_or_default()
    };
    let thinned: Vec<(usize, usize)> = (0..columns * rows).map(block).collect();
    let side = |of: fn(&(usize, usize)) -> usize| runs(&thinned.iter().map(of).collect::<Vec<_>>());
    Some(Shown::Map(ShownMap {
        sample,
        width: columns,
        height: rows,
        reference: side(|place| place.0),
        actual: side(|place| place.1),
        changed: places.iter().filter(|(before, after)| before != after).count(),
    }))
}

/// Two sequences beside each other, from a little before where they part.
pub(super) fn tokens(sample: usize, before: &[i64], after: &[i64]) -> Option<Shown> {
    if before.len().max(after.len()) > LONGEST_SEQUENCE {
        return None;
    }
    let steps = aligned(before, after);
    let first = steps.iter().position(|step| step.reference != step.actual).unwrap_or(0);
    let start = first.saturating_sub(STEPS_BEFORE);
    let end = (start + MOST_STEPS).min(steps.len());
    let shown = steps.get(start..end)?.to_vec();
    Some(Shown::Tokens(ShownTokens { sample, steps: shown, before: start, after: steps.len() - end }))
}

/// The steps of two sequences by the fewest tokens to insert, drop or replace.
fn aligned(before: &[i64], after: &[i64]) -> Vec<ShownStep> {
    let columns = after.len() + 1;
    // Edits from each pair of places to both ends, the last row first.
    let mut edits = vec![0_usize; (before.len() + 1) * columns];
    let at = |row: usize, column: usize| row * columns + column;
    let get = |edits: &[usize], row: usize, column: usize| edits.get(at(row, column)).copied().unwrap_or(usize::MAX);
    let same = |row: usize, column: usize| before.get(row) == after.get(column);
    for row in (0..=before.len()).rev() {
        for column in (0..columns).rev() {
            let fewest = match (before.len() - row, after.len() - column) {
                (left, 0) | (0, left) => left,
                _ if same(row, column) => get(&edits, row + 1, column + 1),
                _ => {
                    let replaced = get(&edits, row + 1, column + 1);
                    1 + replaced.min(get(&edits, row + 1, column)).min(get(&edits, row, column + 1))
                }
            };
            if let Some(place) = edits.get_mut(at(row, column)) {
                *place = fewest;
            }
        }
    }
    let (mut row, mut column, mut steps) = (0, 0, Vec::new());
    while row < before.len() || column < after.len() {
        let (own, other) = (before.get(row).copied(), after.get(column).copied());
        let here = get(&edits, row, column);
        let both = row < before.len() && column < after.len();
        let (reference, actual) = if both && (same(row, column) || here == 1 + get(&edits, row + 1, column + 1)) {
            (own, other)
        } else if row < before.len() && (column == after.len() || here == 1 + get(&edits, row + 1, column)) {
            (own, None)
        } else {
            (None, other)
        };
        (row, column) = (row + usize::from(reference.is_some()), column + usize::from(actual.is_some()));
        steps.push(ShownStep { reference, actual });
    }
    steps
}

/// One less the cosine of every vector, counted.
pub(super) fn cosines(aparts: &[f64], allowed: f64) -> Option<Shown> {
    if aparts.iter().any(|apart| apart.is_nan()) || aparts.is_empty() {
        return None;
    }
    let mut counts = vec![0; BINS + 1];
    for apart in aparts {
        let place = ((apart.max(f64::MIN_POSITIVE).log10() - FROM) / STEP).floor().clamp(0.0, BINS as f64);
        if let Some(count) = counts.get_mut(place as usize) {
            *count += 1;
        }
    }
    Some(Shown::Cosines(ShownCosines { histogram: Histogram { from: FROM, step: STEP, counts }, allowed }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::findings::shown::classes;

    #[test]
    fn a_large_map_is_thinned_out_and_what_changed_stays() {
        let mut places = vec![(1, 1); 200 * 100];
        places[37 * 200 + 151] = (1, 2);
        let Some(Shown::Map(map)) = map(4, [100, 200], &places) else { panic!("no map") };
        assert_eq!((map.sample, map.width, map.height, map.changed), (4, 50, 25, 1));
        assert_eq!(map.reference, [(1, 50 * 25)]);
        let actual = classes(&map.actual, 50 * 25);
        assert_eq!(actual.iter().position(|class| *class == 2), Some(37 / 4 * 50 + 151 / 4));
        assert_eq!(actual.iter().filter(|class| **class == 2).count(), 1);
        assert_eq!(super::map(0, [3, 3], &[(0, 0); 8]), None);
    }

    fn steps(before: &[i64], after: &[i64]) -> Vec<(Option<i64>, Option<i64>)> {
        aligned(before, after).iter().map(|step| (step.reference, step.actual)).collect()
    }

    #[test]
    fn sequences_are_laid_beside_each_other_by_the_fewest_edits() {
        assert_eq!(steps(&[1, 2, 3], &[1, 9, 3]), [(Some(1), Some(1)), (Some(2), Some(9)), (Some(3), Some(3))]);
        assert_eq!(steps(&[1, 2, 3], &[1, 3]), [(Some(1), Some(1)), (Some(2), None), (Some(3), Some(3))]);
        assert_eq!(steps(&[1, 3], &[1, 2, 3]), [(Some(1), Some(1)), (None, Some(2)), (Some(3), Some(3))]);
        assert_eq!(steps(&[], &[4]), [(None, Some(4))]);
        for (before, after) in [(vec![1, 2, 3, 4], vec![2, 3, 4, 5]), (vec![5; 9], vec![5; 3]), (vec![], vec![])] {
            let found = aligned(&before, &after);
            let edits = found.iter().filter(|step| step.reference != step.actual).count();
            assert_eq!(edits, strsim::generic_levenshtein(&before, &after), "{found:?}");
            assert_eq!(found.iter().filter_map(|step| step.reference).collect::<Vec<_>>(), before);
            assert_eq!(found.iter().filter_map(|step| step.actual).collect::<Vec<_>>(), after);
        }
    }

    #[test]
    fn long_sequences_are_cut_around_the_first_change() {
        let before: Vec<i64> = (0..500).collect();
        let mut after = before.clone();
        after[200] = -1;
        let Some(Shown::Tokens(shown)) = tokens(3, &before, &after) else { panic!("no tokens") };
        assert_eq!((shown.before, shown.steps.len(), shown.after), (188, 60, 252));
        assert_eq!(shown.steps[12], ShownStep { reference: Some(200), actual: Some(-1) });
        assert_eq!(tokens(0, &vec![0; 3000], &[]), None);
    }

    #[test]
    fn cosines_are_counted_by_their_distance_from_one() {
        let Some(Shown::Cosines(shown)) = cosines(&[0.0, 1e-7, 1.1e-7, 2.0], 1e-4) else { panic!("no cosines") };
        let counts = &shown.histogram.counts;
        assert_eq!((counts[0], counts[20], counts[49], counts.iter().sum::<u64>()), (1, 2, 1, 4));
        assert_eq!(cosines(&[f64::NAN], 1e-4), None);
    }
}

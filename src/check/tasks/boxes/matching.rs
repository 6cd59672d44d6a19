//! Which box is which: in each class the pairs whose overlaps sum to the most, whatever the order of the rows.

use std::collections::{BTreeMap, BTreeSet};

use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;

use super::read::Detection;

/// Least overlap of two boxes that are one.
pub(super) const SAME: f64 = 0.5;
/// Overlaps as whole numbers, which a sum keeps exact.
const UNITS: f64 = 1e9;
/// Boxes of one heap that are matched at once; in a larger heap the best pairs are taken first.
const HEAP: usize = 300;

/// Pairs of (reference, actual) places, and what is left of either.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Matched {
    pub(super) pairs: Vec<(usize, usize)>,
    pub(super) lost: Vec<usize>,
    pub(super) found: Vec<usize>,
}

/// Matches the boxes of one sample, class by class.
pub(super) fn matched(reference: &[Detection], actual: &[Detection]) -> Matched {
    let mut classes: BTreeMap<i64, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (index, one) in reference.iter().enumerate() {
        classes.entry(one.class).or_default().0.push(index);
    }
    for (index, one) in actual.iter().enumerate() {
        classes.entry(one.class).or_default().1.push(index);
    }
    let mut all = Matched::default();
    for (before, after) in classes.values() {
        all.pairs.extend(of_class(reference, actual, before, after));
    }
    all.pairs.sort_unstable();
    let left = |count: usize, taken: &dyn Fn(usize) -> bool| (0..count).filter(|&index| !taken(index)).collect();
    all.lost = left(reference.len(), &|index| all.pairs.iter().any(|(one, _)| *one == index));
    all.found = left(actual.len(), &|index| all.pairs.iter().any(|(_, other)| *other == index));
    all
}

/// The pairs of one class. Boxes that do not touch cannot be one, so each heap of touching boxes is matched by itself.
fn of_class(reference: &[Detection], actual: &[Detection], before: &[usize], after: &[usize]) -> Vec<(usize, usize)> {
    let mut edges: Vec<(usize, usize, f64)> = Vec::new();
    for &one in before {
        for &other in after {
            let overlap = match (reference.get(one), actual.get(other)) {
                (Some(one), Some(other)) => one.overlap(other),
                _ => 0.0,
            };
            if overlap >= SAME {
                edges.push((one, other, overlap));
            }
        }
    }
    heaps(&edges).into_iter().flat_map(|heap| of_heap(&heap)).collect()
}

/// A box of the reference (false) or the cell (true).
type Place = (bool, usize);
/// Where each box points: at one nearer the root of its heap.
type Towards = BTreeMap<Place, Place>;

/// The root of the heap that a box is in.
fn root(towards: &mut Towards, mut at: Place) -> Place {
    while let Some(&next) = towards.get(&at) {
        if let Some(&after) = towards.get(&next) {
            towards.insert(at, after);
        }
        at = next;
    }
    at
}

/// Edges that share boxes, directly or through others.
fn heaps(edges: &[(usize, usize, f64)]) -> Vec<Vec<(usize, usize, f64)>> {
    let mut towards = Towards::new();
    for &(one, other, _) in edges {
        let (one, other) = (root(&mut towards, (false, one)), root(&mut towards, (true, other)));
        if one != other {
            towards.insert(one, other);
        }
    }
    let mut heaps: BTreeMap<Place, Vec<(usize, usize, f64)>> = BTreeMap::new();
    for &edge in edges {
        heaps.entry(root(&mut towards, (false, edge.0))).or_default().push(edge);
    }
    heaps.into_values().collect()
}

fn of_heap(heap: &[(usize, usize, f64)]) -> Vec<(usize, usize)> {
    let distinct = |of: fn(&(usize, usize, f64)) -> usize| {
        heap.iter().map(of).collect::<BTreeSet<usize>>().into_iter().collect::<Vec<usize>>()
    };
    let (ones, others) = (distinct(|edge| edge.0), distinct(|edge| edge.1));
    if ones.len().max(others.len()) > HEAP {
        return best_first(heap);
    }
    // The crate's rows are the fewer.
    let turned = ones.len() > others.len();
    let (rows, columns) = if turned { (&others, &ones) } else { (&ones, &others) };
    let mut weights = Matrix::new(rows.len(), columns.len(), 0_i64);
    for &(one, other, overlap) in heap {
        let (row, column) = if turned { (other, one) } else { (one, other) };
        if let (Ok(row), Ok(column)) = (rows.binary_search(&row), columns.binary_search(&column))
            && let Some(weight) = weights.get_mut((row, column))
        {
            *weight = (overlap * UNITS) as i64;
        }
    }
    let (_, taken) = kuhn_munkres(&weights);
    let pair = |(row, &column): (usize, &usize)| {
        // What was matched for want of another is no pair.
        weights.get((row, column)).filter(|weight| **weight > 0)?;
        let (row, column) = (*rows.get(row)?, *columns.get(column)?);
        Some(if turned { (column, row) } else { (row, column) })
    };
    taken.iter().enumerate().filter_map(pair).collect()
}

/// The pairs that overlap the most, each box once.
fn best_first(heap: &[(usize, usize, f64)]) -> Vec<(usize, usize)> {
    let mut sorted = heap.to_vec();
    sorted.sort_by(|one, other| other.2.total_cmp(&one.2));
    let (mut ones, mut others) = (BTreeSet::new(), BTreeSet::new());
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (one, other, _) in sorted {
        if !ones.contains(&one) && !others.contains(&other) {
            ones.insert(one);
            others.insert(other);
            pairs.push((one, other));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(at: f64) -> Detection {
        Detection { corners: [at, 0.0, at + 100.0, 100.0], score: 0.9, class: 0, margin: f64::INFINITY, row: 0 }
    }

    /// Edges hang together through boxes of either side, in whatever order they come.
    #[test]
    fn heaps_are_whole_and_apart() {
        let edges = [(0, 0, 0.9), (3, 3, 0.9), (1, 0, 0.8), (2, 1, 0.7), (1, 1, 0.6)];
        let mut sizes: Vec<usize> = heaps(&edges).iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 4]);
    }

    /// As many boxes as are taken, all upon each other.
    #[test]
    fn a_large_heap_is_matched_in_time() {
        let boxes: Vec<Detection> = (0..1000).map(|index| square(f64::from(index) * 0.01)).collect();
        let found = matched(&boxes, &boxes);
        assert!(found.pairs.iter().all(|(one, other)| one == other) && found.pairs.len() == 1000);
        assert!(found.lost.is_empty() && found.found.is_empty());
    }
}

//! What a run tells of an output: whether its values are probabilities, vectors of one length, or boxes.

use crate::tensor::Tensor;

/// How far a sum or a length may be from 1.
const ONE: f64 = 1e-3;
/// Fewest components of a vector that is one.
const WIDTH: usize = 8;

/// The answers of one output in a few runs, in the model's own layout; none where the model did not run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a>(pub(super) &'a [Tensor]);

impl Seen<'_> {
    /// The values along `axis`, one list for each place of the other dimensions; nothing where there is no such dimension.
    fn lanes(&self, axis: usize) -> Vec<Vec<f64>> {
        let mut lanes = Vec::new();
        for tensor in self.0 {
            let (Some(&size), Some(behind)) = (tensor.shape.get(axis), tensor.shape.get(axis + 1..)) else {
                return Vec::new();
            };
            let (values, inner) = (tensor.values.to_f64(), behind.iter().product::<usize>());
            let outer = values.len().checked_div(size * inner).unwrap_or(0);
            for start in (0..outer).flat_map(|block| (0..inner).map(move |place| block * size * inner + place)) {
                lanes.push(values.iter().skip(start).step_by(inner.max(1)).take(size).copied().collect());
            }
        }
        lanes
    }

    fn every(&self, axis: usize, least: usize, holds: impl Fn(&[f64]) -> bool) -> bool {
        let lanes = self.lanes(axis);
        !lanes.is_empty() && lanes.iter().all(|lane| lane.len() >= least && holds(lane))
    }

    /// Whether the values along `axis` are probabilities of classes.
    pub(super) fn sums_to_one(&self, axis: usize) -> bool {
        let of_one = |value: &f64| (-ONE..=1.0 + ONE).contains(value);
        self.every(axis, 2, |lane| lane.iter().all(of_one) && (lane.iter().sum::<f64>() - 1.0).abs() <= ONE)
    }

    /// Whether they are logarithms of such.
    pub(super) fn logarithms(&self, axis: usize) -> bool {
        let sum = |lane: &[f64]| lane.iter().map(|value| value.exp()).sum::<f64>();
        self.every(axis, 2, |lane| lane.iter().all(|value| *value <= ONE) && (sum(lane) - 1.0).abs() <= ONE)
    }

    /// Whether all values lie between 0 and 1, and are not all of them one of the two.
    pub(super) fn is_within_one(&self) -> bool {
        let all: Vec<f64> = self.0.iter().flat_map(|tensor| tensor.values.to_f64()).collect();
        all.iter().all(|value| (0.0..=1.0).contains(value)) && all.iter().any(|value| *value > 0.0 && *value < 1.0)
    }

    /// The last dimension.
    fn last(&self) -> usize {
        self.0.first().map_or(0, |tensor| tensor.shape.len().saturating_sub(1))
    }

    /// Whether the vectors along the last dimension have length 1.
    pub(super) fn has_unit_vectors(&self) -> bool {
        let length = |lane: &[f64]| lane.iter().map(|value| value * value).sum::<f64>().sqrt();
        self.last() > 0 && self.every(self.last(), WIDTH, |lane| (length(lane) - 1.0).abs() <= ONE)
    }

    /// Whether the first four numbers of each row are two corners, the first before the second.
    pub(super) fn has_corners(&self) -> bool {
        let ordered = |row: &[f64]| matches!(row, [left, top, right, bottom, ..] if left <= right && top <= bottom);
        self.every(self.last(), 4, ordered)
    }

    /// Whether `holds` is true of column `column` of every row.
    pub(super) fn column(&self, column: usize, holds: fn(f64) -> bool) -> bool {
        self.every(self.last(), column + 1, |row| row.get(column).is_some_and(|&value| holds(value)))
    }

    /// Whether there are any.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::float32("y", shape.to_vec(), values.to_vec()).unwrap()
    }

    #[test]
    fn probabilities_are_told_along_their_axis() {
        let first = [tensor(&[1, 2, 2], &[0.25, 0.5, 0.75, 0.5])];
        assert!(Seen(&first).sums_to_one(1) && !Seen(&first).sums_to_one(2) && Seen(&first).is_within_one());
        let last = [tensor(&[1, 2, 2], &[0.25, 0.75, 0.5, 0.5])];
        assert!(!Seen(&last).sums_to_one(1) && Seen(&last).sums_to_one(2));
        assert!(!Seen(&[tensor(&[1, 2], &[1.5, -0.5])]).sums_to_one(1));
        assert!(!Seen(&[tensor(&[2, 1], &[1.0, 1.0])]).sums_to_one(1), "one class is none");
        let logarithms = [tensor(&[1, 2], &[0.25_f32.ln(), 0.75_f32.ln()])];
        assert!(Seen(&logarithms).logarithms(1) && !Seen(&logarithms).sums_to_one(1));
        for nothing in [Seen(&[]), Seen(&[tensor(&[0, 2], &[])])] {
            assert!(
                !nothing.sums_to_one(1)
                    && !nothing.logarithms(1)
                    && !nothing.has_unit_vectors()
                    && !nothing.has_corners()
            );
        }
    }

    #[test]
    fn vectors_and_boxes_are_told_by_their_numbers() {
        let vector: Vec<f32> = (0..16).map(|place| if place % 8 == 3 { -1.0 } else { 0.0 }).collect();
        assert!(Seen(&[tensor(&[2, 8], &vector)]).has_unit_vectors());
        assert!(!Seen(&[tensor(&[4, 4], &vector)]).has_unit_vectors());
        let boxes = [tensor(&[1, 2, 6], &[1.0, 2.0, 3.0, 4.0, 0.5, 7.0, 0.0, 0.0, 9.0, 9.0, 0.25, 1.0])];
        assert!(Seen(&boxes).has_corners() && Seen(&boxes).column(5, |value| value.fract() == 0.0));
        assert!(Seen(&boxes).column(4, |value| (0.0..=1.0).contains(&value)) && !Seen(&boxes).column(6, |_| true));
        assert!(!Seen(&[tensor(&[1, 1, 4], &[3.0, 3.0, 1.0, 5.0])]).has_corners());
    }
}

//! What is summed over two tensors of one type, element by element, without a copy of either.

use crate::tensor::Values;

/// Decibels of outputs that are equal bit by bit, as in reports.
pub(super) const EXACT: f64 = 999.0;
/// An error is called a scaling where dividing by the factor takes away all but this share of its energy.
const LEFT_BY_A_FACTOR: f64 = 0.03;
/// Whole numbers that are compared at once.
const CHUNK: usize = 1 << 14;

/// Sums over the elements that are numbers on both sides.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// Elements that are a number on one side only, or no number of another kind.
    pub(super) unlike: usize,
    /// The first of these: its place, the reference's element, the other.
    pub(super) first_unlike: Option<(usize, f64, f64)>,
    /// Largest absolute error.
    pub(super) largest: f64,
    /// Smallest cosine similarity of a row.
    pub(super) cosine_min: f64,
    /// Absolute errors, in no order.
    errors: Vec<f64>,
    total: f64,
    signal: f64,
    noise: f64,
    /// Of the reference and the error.
    cross: f64,
}

/// Sums over one row.
#[derive(Clone, Copy, Default)]
struct RowSums {
    before: f64,
    after: f64,
    both: f64,
    count: usize,
}

impl RowSums {
    /// Cosine similarity; 1 where neither side has any length, or any number.
    fn cosine(&self) -> f64 {
        match self.before.sqrt() * self.after.sqrt() {
            0.0 => f64::from(u8::from(self.count == 0 || self.before == self.after)),
            lengths => self.both / lengths,
        }
    }
}

/// What is no number, by its kind: NaN is like any NaN, an infinity like one of its sign.
fn kind(value: f64) -> f64 {
    if value.is_nan() {
        f64::MAX
    } else if value.is_infinite() {
        value
    } else {
        0.0
    }
}

impl Sums {
    /// Sums over both, whose rows have `row` elements.
    pub(super) fn of(reference: &Values, actual: &Values, row: usize) -> Self {
        let mut sums = Self { cosine_min: 1.0, errors: Vec::with_capacity(reference.len()), ..Self::default() };
        let (mut of_row, mut index, mut left) = (RowSums::default(), 0, row.max(1));
        reference.visit_beside(actual, |x, y| {
            if kind(x) != kind(y) {
                sums.unlike += 1;
                sums.first_unlike = sums.first_unlike.or(Some((index, x, y)));
            } else if x.is_finite() {
                sums.add(x, y);
                of_row.before += x * x;
                of_row.after += y * y;
                of_row.both += x * y;
                of_row.count += 1;
            }
            index += 1;
            left -= 1;
            if left == 0 {
                sums.cosine_min = sums.cosine_min.min(of_row.cosine());
                (of_row, left) = (RowSums::default(), row.max(1));
            }
        });
        sums
    }

    fn add(&mut self, x: f64, y: f64) {
        let error = (x - y).abs();
        self.errors.push(error);
        self.total += error;
        self.largest = self.largest.max(error);
        self.signal += x * x;
        self.noise += error * error;
        self.cross += x * (y - x);
    }

    fn root_mean(&self, sum: f64) -> f64 {
        (sum / self.errors.len().max(1) as f64).sqrt()
    }

    /// Root mean square of the reference.
    pub(super) fn signal(&self) -> f64 {
        self.root_mean(self.signal)
    }

    /// Root mean square of the error.
    pub(super) fn noise(&self) -> f64 {
        self.root_mean(self.noise)
    }

    /// Mean absolute error.
    pub(super) fn mean(&self) -> f64 {
        self.total / self.errors.len().max(1) as f64
    }

    /// Signal over noise, dB; [`EXACT`] without noise.
    pub(super) fn decibels(&self) -> f64 {
        let noise = self.noise();
        if noise == 0.0 { EXACT } else { (20.0 * (self.signal() / noise).log10()).min(EXACT) }
    }

    /// The factor that explains what differs, where one does.
    pub(super) fn factor(&self) -> Option<f64> {
        let more = self.cross / self.signal;
        // Of the error what is left when a share of the reference is taken off it.
        let left = self.noise - self.cross * more;
        (more.is_finite() && self.noise > 0.0 && left <= LEFT_BY_A_FACTOR * self.noise).then_some(1.0 + more)
    }

    /// The smallest error that at least 99 % of the elements do not exceed; 0 of none.
    pub(super) fn percentile_99(mut self) -> f64 {
        if self.errors.is_empty() {
            return 0.0;
        }
        let place = (self.errors.len() * 99).div_ceil(100).saturating_sub(1);
        let (_, found, _) = self.errors.select_nth_unstable_by(place, f64::total_cmp);
        *found
    }
}

/// Elements that leave their bounds.
#[derive(Debug, Default)]
pub(super) struct Outside {
    /// How many.
    pub(super) count: usize,
    /// That with the largest error: its place, the reference's element, the other.
    pub(super) worst: Option<(usize, f64, f64)>,
}

impl Outside {
    /// The finite elements that are not `within`.
    pub(super) fn of(reference: &Values, actual: &Values, within: impl Fn(f64, f64) -> bool) -> Self {
        let (mut found, mut index, mut most) = (Self::default(), 0, f64::NEG_INFINITY);
        reference.visit_beside(actual, |x, y| {
            if x.is_finite() && !within(x, y) {
                found.count += 1;
                let error = (x - y).abs();
                if error > most {
                    (found.worst, most) = (Some((index, x, y)), error);
                }
            }
            index += 1;
        });
        found
    }
}

/// The place of the first element with other bits, and how many there are; `None` where all are equal.
pub(super) fn differing(one: &Values, other: &Values) -> Option<(usize, usize)> {
    let size = one.element_type().bytes()?;
    let (mut first, mut count) = (None, 0);
    for start in (0..one.len()).step_by(CHUNK) {
        let end = (start + CHUNK).min(one.len());
        let (x, y) = (one.part(start, end)?.encode(), other.part(start, end)?.encode());
        if x == y {
            continue;
        }
        for (index, _) in x.chunks_exact(size).zip(y.chunks_exact(size)).enumerate().filter(|(_, (x, y))| x != y) {
            count += 1;
            first = first.or(Some(start + index));
        }
    }
    first.map(|first| (first, count))
}

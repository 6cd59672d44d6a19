//! Outputs as the rule sees them: log-odds of the classes that compete for answers, each sample's mean taken off.

use crate::check::leads::log_odds;
use crate::check::pair::OutputPair;
use crate::check::rule::Measured;

/// Both sides of a pair, row-major over samples and competing classes.
pub(super) struct Centred {
    /// Classes that come within the reference's largest lead of the top of some sample, in either output, ascending.
    pub(super) classes: Vec<usize>,
    /// Number of samples.
    pub(super) samples: usize,
    /// Reference, nats.
    pub(super) reference: Vec<f64>,
    /// Actual, nats.
    pub(super) actual: Vec<f64>,
    /// How far all outputs of a sample moved together, nats: the mean over samples.
    pub(super) common: f64,
}

impl Centred {
    /// Takes off what no answer depends on.
    pub(super) fn of(pair: &OutputPair<'_>, measured: &Measured) -> Self {
        let kind = measured.kind;
        let top = |row: &[f32]| row.iter().fold(f32::NEG_INFINITY, |top, &value| if value > top { value } else { top });
        let mut largest = 0.0_f64;
        for (reference, _) in pair.rows() {
            largest = largest.max(crate::check::leads::Lead::of(reference, kind).nats);
        }
        let mut competes = vec![false; pair.classes()];
        for row in pair.rows().flat_map(|(reference, actual)| [reference, actual]) {
            let floor = log_odds(top(row), kind) - largest;
            for (competes, &value) in competes.iter_mut().zip(row) {
                *competes = *competes || log_odds(value, kind) >= floor;
            }
        }
        let classes: Vec<usize> = (0..pair.classes()).filter(|&class| competes.get(class) == Some(&true)).collect();
        let mut centred = Self {
            samples: pair.samples(),
            reference: Vec::with_capacity(pair.samples() * classes.len()),
            actual: Vec::with_capacity(pair.samples() * classes.len()),
            common: 0.0,
            classes,
        };
        for (reference, actual) in pair.rows() {
            let before = push(&mut centred.reference, reference, &centred.classes, kind);
            let after = push(&mut centred.actual, actual, &centred.classes, kind);
            centred.common += (after - before) / pair.samples() as f64;
        }
        centred
    }

    /// Number of competing classes, at least 2 for a pair with answers.
    pub(super) fn width(&self) -> usize {
        self.classes.len().max(1)
    }

    /// Rows of both sides.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&[f64], &[f64])> {
        self.reference.chunks_exact(self.width()).zip(self.actual.chunks_exact(self.width()))
    }

    /// Squared error of all outputs.
    pub(super) fn noise(&self) -> f64 {
        self.rows().map(|(x, y)| distance(x, y)).sum()
    }

    /// A column of either side, its mean taken off, and its sum of squares.
    pub(super) fn column(&self, values: &[f64], place: usize) -> (Vec<f64>, f64) {
        let column: Vec<f64> = values.iter().skip(place).step_by(self.width()).copied().collect();
        let mean = column.iter().sum::<f64>() / column.len().max(1) as f64;
        let column: Vec<f64> = column.into_iter().map(|value| value - mean).collect();
        let energy = column.iter().map(|value| value * value).sum();
        (column, energy)
    }

    /// Sum of squares of all columns, their means taken off: what changes from sample to sample.
    pub(super) fn variance(&self, values: &[f64]) -> f64 {
        let (width, samples) = (self.width(), self.samples as f64);
        let (mut sums, mut squares) = (vec![0.0_f64; width], 0.0);
        for row in values.chunks_exact(width) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
                squares += value * value;
            }
        }
        squares - sums.iter().map(|sum| sum * sum / samples).sum::<f64>()
    }
}

/// Adds a row, its mean taken off; returns the mean.
fn push(to: &mut Vec<f64>, row: &[f32], classes: &[usize], kind: crate::manifest::OutputKind) -> f64 {
    let odds = |class: &usize| row.get(*class).map_or(f64::NAN, |&value| log_odds(value, kind));
    let mean = classes.iter().map(odds).sum::<f64>() / classes.len().max(1) as f64;
    to.extend(classes.iter().map(|class| odds(class) - mean));
    mean
}

/// Squared distance of two rows.
pub(super) fn distance(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum()
}

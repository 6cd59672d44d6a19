//! Runs both sides in groups of tensors, so that memory stays bounded, and measures every step.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::explain::report::{PairRow, TensorRow};
use crate::gate::inside::distance::{self, Distance};
use crate::gate::inside::graph::{Counterparts, Step};
use crate::gate::inside::side::Side;
use crate::tensor::{Feeds, Tensor};

/// Most bytes of tensors that one run hands over.
const GROUP_BYTES: usize = 64 << 20;

/// Bytes that a tensor of unknown size counts for.
const UNKNOWN_BYTES: usize = 16 << 20;

/// The tensors that one step needs: of the reference, and of the artifact.
fn needs(step: &Step, counterparts: &Counterparts, expected: &Side, actual: &Side) -> (Vec<String>, Vec<String>) {
    let reference = if expected.shows(&step.tensor) { vec![step.tensor.clone()] } else { Vec::new() };
    let pair = counterparts.pairs.get(&step.tensor);
    let parts = pair.map_or_else(|| vec![step.tensor.clone()], |pair| vec![pair.before.clone(), pair.after.clone()]);
    (reference, parts.into_iter().filter(|name| actual.shows(name)).collect())
}

/// Both sides, what they are fed, and the steps that are measured.
pub(super) struct Walk<'a> {
    pub(super) steps: &'a [Step],
    pub(super) counterparts: &'a Counterparts,
    pub(super) expected: &'a mut Side,
    pub(super) actual: &'a mut Side,
    pub(super) probes: &'a Feeds,
    pub(super) detail: &'a dyn Fn(&str),
}

impl Walk<'_> {
    /// Measures every step, as far as both sides show it; rows come in the order of the steps.
    ///
    /// # Errors
    /// Those of running.
    pub(super) fn measure(&mut self) -> Result<Vec<TensorRow>> {
        self.measure_at(&(0..self.steps.len()).collect::<Vec<_>>())
    }

    /// Measures the steps at `indices`; rows come in that order.
    ///
    /// # Errors
    /// Those of running.
    pub(super) fn measure_at(&mut self, indices: &[usize]) -> Result<Vec<TensorRow>> {
        let steps: Vec<(usize, &Step)> =
            indices.iter().filter_map(|&index| Some((index, self.steps.get(index)?))).collect();
        let mut rows = Vec::with_capacity(steps.len());
        let mut rest = steps.as_slice();
        while !rest.is_empty() {
            let (mut reference, mut own) = (BTreeSet::new(), BTreeSet::new());
            let (mut bytes, mut count) = (0, 0);
            for (_, step) in rest {
                let (wanted, parts) = needs(step, self.counterparts, self.expected, self.actual);
                let values = self.expected.values_per_sample(&step.tensor);
                let size = values.map_or(UNKNOWN_BYTES, |values| 4 * values * self.probes.batch());
                let added = size * parts.len().max(1);
                if count > 0 && bytes + added > GROUP_BYTES {
                    break;
                }
                bytes += added;
                count += 1;
                reference.extend(wanted);
                own.extend(parts);
            }
            let (group, after) = rest.split_at(count.max(1));
            if let Some((_, step)) = group.first() {
                (self.detail)(&step.layer);
            }
            let reference = self.expected.run(&reference, self.probes)?;
            let own = self.actual.run(&own, self.probes)?;
            for (index, step) in group {
                rows.push(row(*index, step, self.counterparts, &reference, &own, self.probes));
            }
            rest = after;
        }
        Ok(rows)
    }
}

fn row(
    index: usize,
    step: &Step,
    counterparts: &Counterparts,
    reference: &BTreeMap<String, Tensor>,
    own: &BTreeMap<String, Tensor>,
    probes: &Feeds,
) -> TensorRow {
    let input = step.operator == "Input";
    let mut row = TensorRow::new(index, step);
    // What is fed as whole numbers is the same on both sides.
    let fed = || probes.get(&step.tensor).filter(|fed| fed.element_type().is_float());
    if input && fed().is_none() && probes.get(&step.tensor).is_some() {
        row.sqnr_db = Some(crate::check::metrics::SQNR_EQUAL_DB);
        return row;
    }
    let Some(expected) = (if input { fed() } else { reference.get(&step.tensor) }) else {
        row.not_measured = Some("it holds no floating-point values by sample".to_owned());
        return row;
    };
    let find = |name: &str| if input && name == step.tensor { fed() } else { own.get(name) };
    let same = |tensor: &&Tensor| tensor.values.len() == expected.values.len();
    let pair = counterparts.pairs.get(&step.tensor);
    let measured: Option<Distance> = match pair {
        None => find(&step.tensor)
            .filter(same)
            .map(|tensor| distance::of_floats(&expected.floats(), &tensor.floats(), false)),
        Some(pair) => {
            // A pair that clips at zero does the ReLU's work.
            let relu = pair.before != step.tensor && step.operator == "Relu";
            let before = find(&pair.before).filter(same);
            let after = find(&pair.after).filter(same);
            if pair.before == step.tensor || relu {
                row.before_pair_db =
                    before.map(|tensor| distance::of_floats(&expected.floats(), &tensor.floats(), relu).sqnr_db());
            }
            let own_sqnr_db = before.zip(after).filter(|_| row.before_pair_db.is_some()).map(|(before, after)| {
                let rectified: Vec<f32> =
                    before.floats().iter().map(|&value| if relu && value < 0.0 { 0.0 } else { value }).collect();
                distance::of_floats(&rectified, &after.floats(), false).sqnr_db()
            });
            row.pair = Some(PairRow {
                name: pair.name.clone(),
                scale: pair.scale.map(|scale| scale * pair.levels),
                scale_after: pair.scale_after.map(|scale| scale * pair.levels),
                scale_ratio: None,
                own_sqnr_db,
            });
            after.map(|tensor| distance::of_floats(&expected.floats(), &tensor.floats(), false))
        }
    };
    match measured {
        Some(distance) => {
            row.sqnr_db = Some(distance.sqnr_db());
            row.max_abs = Some(distance.max_abs);
            row.spread = Some(distance.spread());
            row.not_finite = distance.not_finite;
        }
        None if input => row.sqnr_db = Some(crate::check::metrics::SQNR_EQUAL_DB),
        None => row.not_measured = Some("the artifact does not show it".to_owned()),
    }
    row
}

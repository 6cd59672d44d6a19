//! Which tensors leave the ladder, and why.

use crate::check::metrics::SQNR_EQUAL_DB;
use crate::explain::output::Verdict;
use crate::explain::report::{ConstantRow, Fault, Finding, TensorRow};
use crate::gate::inside::distance;
use crate::gate::inside::graph::Step;
use crate::gate::inside::scales::{scale_of_constant, scale_of_pair};

/// How far below the output's floor an inner tensor may be, dB: twice the noise.
pub(super) const INNER_ROOM_DB: f64 = 6.0;

/// A layer that makes its noise at least this much worse is the one to look at, dB.
const STEEP_DB: f64 = 3.0;

/// Least signal over noise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floors<'a> {
    /// Of the output, from the ladder, dB.
    pub(super) output: f64,
    /// The output's name.
    pub(super) output_name: &'a str,
    /// Whether the output is a softmax, whose ratio says little and is not judged.
    pub(super) probabilities: bool,
    /// What the gate's rule says of the output.
    pub(super) verdict: &'a Verdict,
}

impl Floors<'_> {
    /// Of inner tensors, dB.
    pub(super) const fn inner(&self) -> f64 {
        self.output - INNER_ROOM_DB
    }

    fn of(&self, row: &TensorRow) -> Option<f64> {
        // Answers tell nothing of noise that the output's limits have room for; an output that leaves them is told by its rule.
        match self.verdict {
            Verdict::Keeps(_) => return None,
            Verdict::Leaves(..) if row.tensor == self.output_name => return None,
            Verdict::Leaves(..) | Verdict::Unknown => {}
        }
        match (row.tensor == self.output_name, self.probabilities) {
            (_, true) if row.operator == "Softmax" || row.tensor == self.output_name => None,
            (true, _) => Some(self.output),
            (false, _) => Some(self.inner()),
        }
    }
}

/// Fills in what each layer had to work with: the signal over noise of the tensors and constants that it reads.
pub(super) fn inherit(steps: &[Step], rows: &mut [TensorRow]) {
    let known: std::collections::BTreeMap<String, Option<f64>> =
        rows.iter().map(|row| (row.tensor.clone(), row.sqnr_db)).collect();
    for (step, row) in steps.iter().zip(rows) {
        let inputs: Option<Vec<f64>> = step.inputs.iter().map(|name| known.get(name).copied().flatten()).collect();
        let Some(inputs) = inputs.filter(|inputs| !inputs.is_empty()) else { continue };
        let stored = row.constants.iter().map(|constant| constant.sqnr_db);
        row.inputs_db = distance::joined(inputs.into_iter().chain(stored));
        // Behind inputs without any error, there is no ratio to fall from.
        let inputs = row.inputs_db.filter(|inputs| *inputs < SQNR_EQUAL_DB);
        row.fall_db = inputs.zip(row.before_pair_db.or(row.sqnr_db)).map(|(inputs, own)| inputs - own);
    }
}

/// Marks every row that leaves the ladder, and returns the first.
pub(super) fn judge(steps: &[Step], rows: &mut [TensorRow], floors: Floors<'_>) -> Option<Finding> {
    let mut first = None;
    for (step, row) in steps.iter().zip(rows.iter_mut()) {
        let Some((fault, reason)) = fault(row, floors) else { continue };
        row.outside = Some(fault);
        if first.is_none() {
            // A pair belongs to the layers that read it; everything else is the work of the layer that makes the tensor.
            let layers = match fault {
                Fault::Scale if !step.readers.is_empty() => step.readers.clone(),
                _ => vec![row.layer.clone()],
            };
            first = Some(Finding {
                index: row.index,
                tensor: row.tensor.clone(),
                layers,
                made_by: row.layer.clone(),
                operator: row.operator.clone(),
                readers: step.readers.clone(),
                fault,
                reason,
            });
        }
    }
    if let Some(found) = first.as_mut().filter(|found| found.fault == Fault::Scale) {
        // Of several readers, one whose weights are off as well is the layer that was quantised wrongly.
        let also =
            |reader: &&String| rows.iter().any(|row| row.layer == **reader && row.outside == Some(Fault::Constant));
        let narrowed: Vec<String> = found.layers.iter().filter(also).cloned().collect();
        if !narrowed.is_empty() {
            found.layers = narrowed;
        }
    }
    let worn = first.as_ref().filter(|found| found.fault == Fault::Error).and_then(|found| worn_down(found, rows));
    if let (Some(found), Some(worn)) = (&mut first, worn) {
        found.reason.push_str(&worn);
    }
    first
}

fn fault(row: &TensorRow, floors: Floors<'_>) -> Option<(Fault, String)> {
    let floor = floors.of(row);
    for constant in &row.constants {
        if let Some(reason) = constant_fault(constant, floors.inner()) {
            return Some((Fault::Constant, reason));
        }
    }
    if row.not_finite > 0 {
        return Some((Fault::NotFinite, format!("{} of its values are not finite", row.not_finite)));
    }
    // What a pair adds is judged by its scale; in front of it the tensor is the layer's own work.
    let own = row.before_pair_db.or(row.sqnr_db);
    if let (Some(own), Some(floor)) = (own, floor)
        && own < floor
    {
        let inputs =
            row.inputs_db.map_or_else(String::new, |inputs| format!("; what the layer reads has {inputs:.1} dB"));
        return Some((Fault::Error, format!("signal over noise is {own:.1} dB, the floor {floor:.1} dB{inputs}")));
    }
    if let Some(pair) = &row.pair {
        let change = match (row.before_pair_db, row.sqnr_db) {
            (Some(before), Some(after)) => format!("; signal over noise goes from {before:.1} to {after:.1} dB in it"),
            _ => String::new(),
        };
        if let Some(reason) = scale_of_pair(pair.scale, pair.scale_after, pair.scale_ratio) {
            return Some((Fault::Scale, format!("{reason}{change}")));
        }
    }
    // One that is FP32's leaves its limits by what it is held to: nothing inside made that.
    if let Verdict::Leaves(_, reason) = floors.verdict
        && row.tensor == floors.output_name
        && row.sqnr_db.is_none_or(|own| own < SQNR_EQUAL_DB)
    {
        return Some((Fault::Error, reason.clone()));
    }
    let (after, floor) = (row.sqnr_db?, floor?);
    (after < floor).then(|| {
        let reason = format!("signal over noise is {after:.1} dB behind its Q/DQ pair, the floor {floor:.1} dB");
        (Fault::Error, reason)
    })
}

fn constant_fault(constant: &ConstantRow, floor: f64) -> Option<String> {
    let ConstantRow { name, sqnr_db, rounded, scale_ratio } = constant;
    scale_of_constant(name, *sqnr_db, *scale_ratio).or_else(|| {
        (*sqnr_db < floor && !rounded).then(|| {
            format!("`{name}` is not the FP32 graph's: signal over noise {sqnr_db:.1} dB, the floor {floor:.1} dB")
        })
    })
}

/// Where the tensor that crosses the floor is not the one that lost most: which one did.
fn worn_down(found: &Finding, rows: &[TensorRow]) -> Option<String> {
    let own = rows.iter().find(|row| row.index == found.index)?.fall_db.unwrap_or(0.0);
    let steepest = rows
        .iter()
        .take_while(|row| row.index < found.index)
        .filter_map(|row| Some((row, row.loss_db()?)).filter(|(_, loss)| *loss > 0.0))
        .max_by(|one, other| one.1.total_cmp(&other.1))?;
    (own < STEEP_DB).then(|| {
        format!("; the error grew over several layers, most at `{}`, by {:.1} dB", steepest.0.tensor, steepest.1)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use approx::assert_relative_eq;
    use rstest::rstest;

    use super::*;
    use crate::explain::report::PairRow;
    use crate::gate::inside::graph;
    use crate::gate::inside::samples_of_graphs::fp32;

    const FLOORS: Floors<'_> =
        Floors { output: 17.0, output_name: "logits", probabilities: false, verdict: &Verdict::Unknown };

    /// Rows of a sound network of three layers.
    fn sound() -> (Vec<Step>, Vec<TensorRow>) {
        let steps = graph::steps(&fp32(), "x");
        let rows = steps
            .iter()
            .enumerate()
            .map(|(index, step)| TensorRow { sqnr_db: Some(30.0 - index as f64), ..TensorRow::new(index, step) });
        let mut rows: Vec<TensorRow> = rows.collect();
        rows[2].before_pair_db = Some(29.0);
        rows[2].pair = Some(PairRow {
            name: "relu:0_QuantizeLinear".to_owned(),
            scale: Some(6.0),
            scale_after: Some(6.0),
            scale_ratio: Some(1.05),
            own_sqnr_db: Some(35.0),
        });
        rows[1].constants =
            vec![ConstantRow { name: "w".to_owned(), sqnr_db: 40.0, rounded: true, scale_ratio: Some(1.0) }];
        (steps, rows)
    }

    fn found(change: impl FnOnce(&mut [TensorRow])) -> Option<Finding> {
        let (steps, mut rows) = sound();
        change(&mut rows);
        inherit(&steps, &mut rows);
        judge(&steps, &mut rows, FLOORS)
    }

    #[test]
    fn a_sound_network_stays_on_the_ladder() {
        assert_eq!(found(|_| {}), None);
    }

    type Change = fn(&mut [TensorRow]);

    #[rstest]
    #[case::doubled(|rows: &mut [TensorRow]| rows[2].pair.as_mut().unwrap().scale_ratio = Some(2.0), "relu:0", Fault::Scale)]
    #[case::halved(|rows: &mut [TensorRow]| rows[2].pair.as_mut().unwrap().scale_ratio = Some(0.5), "relu:0", Fault::Scale)]
    #[case::nan_ratio(|rows: &mut [TensorRow]| rows[2].pair.as_mut().unwrap().scale_ratio = Some(f64::NAN), "relu:0", Fault::Scale)]
    #[case::two_scales(|rows: &mut [TensorRow]| rows[2].pair.as_mut().unwrap().scale_after = Some(12.0), "relu:0", Fault::Scale)]
    #[case::weights(|rows: &mut [TensorRow]| rows[1].constants[0].scale_ratio = Some(2.0), "conv:0", Fault::Constant)]
    #[case::other_weights(|rows: &mut [TensorRow]| (rows[1].constants[0].sqnr_db, rows[1].constants[0].rounded) = (5.0, false), "conv:0", Fault::Constant)]
    #[case::not_finite(|rows: &mut [TensorRow]| rows[1].not_finite = 1, "conv:0", Fault::NotFinite)]
    #[case::inner(|rows: &mut [TensorRow]| rows[1].sqnr_db = Some(10.9), "conv:0", Fault::Error)]
    #[case::output(|rows: &mut [TensorRow]| rows[3].sqnr_db = Some(16.9), "logits", Fault::Error)]
    fn the_first_fault_is_named(#[case] change: Change, #[case] tensor: &str, #[case] fault: Fault) {
        let found = found(change).unwrap();
        assert_eq!((found.tensor.as_str(), found.fault), (tensor, fault), "{}", found.reason);
    }

    #[test]
    fn a_constant_below_the_grid_of_its_sums_is_sound() {
        assert_eq!(found(|rows| rows[1].constants[0].sqnr_db = 0.0), None);
    }

    #[test]
    fn inner_tensors_have_twice_the_noise_of_room() {
        assert_eq!(found(|rows| rows[1].sqnr_db = Some(11.1)), None);
    }

    #[test]
    fn a_softmax_is_not_judged_by_its_ratio() {
        let (steps, mut rows) = sound();
        rows[3].sqnr_db = Some(1.0);
        assert_eq!(judge(&steps, &mut rows, Floors { probabilities: true, ..FLOORS }), None);
    }

    #[test]
    fn noise_inside_is_no_fault_where_the_output_keeps_within_its_limits() {
        let (steps, mut rows) = sound();
        rows[1].sqnr_db = Some(3.0);
        let keeps = Verdict::Keeps(crate::findings::LeadFigures::default());
        assert_eq!(judge(&steps, &mut rows, Floors { verdict: &keeps, ..FLOORS }), None);
        // A stored weight or a scale that is off is one all the same.
        rows[1].constants[0].scale_ratio = Some(2.0);
        let found = judge(&steps, &mut rows, Floors { verdict: &keeps, ..FLOORS }).unwrap();
        assert_eq!((found.tensor.as_str(), found.fault), ("conv:0", Fault::Constant));
    }

    #[test]
    fn an_output_that_leaves_its_limits_is_named_where_no_noise_is() {
        let (steps, mut rows) = sound();
        inherit(&steps, &mut rows);
        let leaves = Verdict::Leaves(None, "leads are off by 0.9 of a typical one, 0.5 allowed".to_owned());
        let found = judge(&steps, &mut rows, Floors { verdict: &leaves, ..FLOORS }).unwrap();
        assert_eq!((found.tensor.as_str(), found.fault), ("logits", Fault::Error));
        assert!(found.reason.starts_with("leads are off by 0.9 of a typical one, 0.5 allowed"), "{}", found.reason);
    }

    /// Outputs that are the very same bits part from something else than the model that is walked.
    #[test]
    fn equal_tensors_have_no_fault() {
        let (steps, mut rows) = sound();
        rows.iter_mut().for_each(|row| {
            (row.sqnr_db, row.before_pair_db, row.pair) = (Some(SQNR_EQUAL_DB), None, None);
            row.constants.iter_mut().for_each(|constant| constant.sqnr_db = SQNR_EQUAL_DB);
        });
        inherit(&steps, &mut rows);
        assert!(rows.iter().all(|row| row.fall_db.is_none()), "{rows:?}");
        let leaves = Verdict::Leaves(None, "it is not the golden's".to_owned());
        assert_eq!(judge(&steps, &mut rows, Floors { verdict: &leaves, ..FLOORS }), None);
    }

    #[test]
    fn a_layers_fall_is_that_behind_everything_it_reads() {
        let (steps, mut rows) = sound();
        inherit(&steps, &mut rows);
        // 30 dB of the input and 40 dB of the weights.
        assert_relative_eq!(rows[1].inputs_db.unwrap(), 29.586, epsilon = 1e-3);
        assert_relative_eq!(rows[1].fall_db.unwrap(), 0.586, epsilon = 1e-3);
        assert_eq!(rows[0].inputs_db, None);
    }

    #[test]
    fn a_slow_decline_is_said_to_be_one() {
        let found = found(|rows| {
            for (row, sqnr) in rows.iter_mut().zip([30.0, 12.0, 11.5, 10.9]) {
                row.sqnr_db = Some(sqnr);
                row.before_pair_db = row.before_pair_db.map(|_| sqnr);
            }
        });
        assert!(found.unwrap().reason.ends_with("most at `conv:0`, by 17.6 dB"));
    }
}

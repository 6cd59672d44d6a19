//! Batch invariance: a sample's answer may depend on neither its slot, nor its neighbours, nor the size of its batch.
//!
//! No reference is needed: the runtime is held against itself, so a fault here is the runtime's (or the driver's), never the
//! model's. What is judged are the [`Trials`] that were recorded while the session was open; the bound is known only then.

use crate::check::ladder::Check;
use crate::check::pair::check_outputs;
use crate::check::trials::{Alone, Trial, Trials, distances};
use crate::error::Result;
use crate::figure::figure;
use crate::findings::CheckResult;
use crate::tensor::Tensor;
use crate::vocabulary::Status;

/// What a trial found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The trial.
    pub trial: Trial,
    /// Rows compared.
    pub rows: usize,
    /// Largest absolute difference between two answers for one sample.
    pub spread: f64,
    /// Slots whose answer differs by more than is tolerated, in order.
    pub slots: Vec<usize>,
    /// The fault in words, if there is one.
    pub fault: Option<String>,
}

/// What all trials found.
#[derive(Clone, Debug, PartialEq)]
pub struct Invariance {
    /// Samples in a full batch.
    pub batch: usize,
    /// Largest difference tolerated.
    pub tolerance: f64,
    /// One finding a trial; none for a batch of one, which has no neighbours.
    pub findings: Vec<Finding>,
}

impl Invariance {
    /// Judges what was recorded: a difference above `tolerance` is a fault, and so is one that is not a number.
    pub fn of(trials: &Trials, tolerance: f64) -> Self {
        let batch = trials.batch;
        let mut findings = Vec::new();
        if let Some(found) = &trials.neighbours {
            let tiled = found.tiled.iter().enumerate().map(|(probe, by_slot)| tiled(probe, by_slot, batch, tolerance));
            findings.extend(tiled.reduce(merge));
            findings.push(permuted(&found.permuted, tolerance));
            findings.extend(alone(&found.alone, batch, tolerance));
            findings.push(short(&found.short, batch, tolerance));
        }
        Self { batch, tolerance, findings }
    }

    /// Whether every trial kept within the tolerance.
    pub fn holds(&self) -> bool {
        self.findings.iter().all(|finding| finding.fault.is_none())
    }

    /// Largest difference over all trials; 0 is equal bit by bit.
    pub fn spread(&self) -> f64 {
        self.findings.iter().map(|finding| finding.spread).fold(0.0, f64::max)
    }

    /// The most telling fault: a slot that computes something else, then a slot that holds another's answer, before what
    /// merely follows from them.
    pub fn fault(&self) -> Option<&str> {
        let of = |trial| self.findings.iter().filter(move |finding| finding.trial == trial);
        let order = [Trial::Tiled, Trial::Alone, Trial::Permuted, Trial::Short];
        order.into_iter().flat_map(of).find_map(|finding| finding.fault.as_deref())
    }

    /// The check of the report; `None` for a batch of one.
    pub fn result(&self, gating: bool) -> Option<CheckResult> {
        let rows: usize = self.findings.iter().map(|finding| finding.rows).sum();
        if rows == 0 {
            return None;
        }
        let fault = self.fault().map(str::to_owned);
        let status = if fault.is_some() { Status::Fail } else { Status::Pass };
        let detail = fault.unwrap_or_else(|| match self.spread() {
            0.0 => format!("{rows} answers equal bit by bit whatever their slot and batch"),
            spread => format!(
                "{rows} answers within {} whatever their slot and batch, {} allowed",
                figure(spread),
                figure(self.tolerance)
            ),
        });
        Some(CheckResult { name: Check::BatchInvariance.as_str().to_owned(), status, gating, detail })
    }
}

/// Holds the answers of the same samples at two batch sizes, `size` the smaller, against each other, for artifacts that have
/// one file a batch size. Errors: whatever [`check_outputs`] refuses.
pub fn compare_batches(single: &Tensor, batched: &Tensor, size: u32, tolerance: f64) -> Result<Finding> {
    let samples = single.batch();
    check_outputs(single, samples)?;
    check_outputs(batched, samples)?;
    let found = distances(single, batched, (0..samples).map(|slot| (slot, slot)));
    let mut finding = compare(Trial::Alone, found.into_iter().zip(0..), tolerance);
    if let Some(&sample) = finding.slots.first() {
        finding.fault = Some(format!(
            "probe {sample} is answered otherwise than at batch {size}: by up to {}, {} allowed",
            figure(finding.spread),
            figure(tolerance)
        ));
    }
    Ok(finding)
}

/// One probe in every slot, held to the answer in the first.
fn tiled(probe: usize, by_slot: &[f64], batch: usize, tolerance: f64) -> Finding {
    let mut finding = compare(Trial::Tiled, by_slot.iter().copied().zip(1..), tolerance);
    if let Some(&slot) = finding.slots.first() {
        finding.fault = Some(format!(
            "probe {probe} in every slot of a batch of {batch} answers differently in slot {slot}: by {}, {} allowed",
            figure(finding.spread),
            figure(tolerance)
        ));
    }
    finding
}

fn permuted(by_slot: &[f64], tolerance: f64) -> Finding {
    let mut finding = compare(Trial::Permuted, by_slot.iter().copied().zip(0..), tolerance);
    if let Some(&slot) = finding.slots.first() {
        finding.fault = Some(format!(
            "a permuted batch of {} does not give permuted answers: slot {slot} is off by {}, {} allowed",
            by_slot.len(),
            figure(finding.spread),
            figure(tolerance)
        ));
    }
    finding
}

/// Samples alone, held to their answers inside the batch.
fn alone(samples: &[Alone], batch: usize, tolerance: f64) -> Option<Finding> {
    // What a sample answers in a slot that is not there is infinitely far.
    let own = |one: &Alone| one.by_slot.get(one.slot).copied().unwrap_or(f64::INFINITY);
    let findings = samples.iter().map(|one| compare(Trial::Alone, std::iter::once((own(one), one.slot)), tolerance));
    let mut finding = findings.reduce(merge)?;
    if let Some(&slot) = finding.slots.first() {
        let taken_from =
            samples.iter().find(|one| one.slot == slot).and_then(|one| only_within(&one.by_slot, tolerance));
        finding.fault = Some(match taken_from {
            Some(other) => format!(
                "slots {slot} and {other} of a batch of {batch} are swapped: the answer of one sample stands in the slot of the other"
            ),
            None => format!(
                "slot {slot} of a batch of {batch} differs from the same sample alone by {}, {} allowed",
                figure(finding.spread),
                figure(tolerance)
            ),
        });
    }
    Some(finding)
}

/// A short batch after a full one of other samples, held to its answers inside a full batch of its own.
fn short(by_slot: &[f64], batch: usize, tolerance: f64) -> Finding {
    let mut finding = compare(Trial::Short, by_slot.iter().copied().zip(0..), tolerance);
    if let Some(&slot) = finding.slots.first() {
        finding.fault = Some(format!(
            "padding leaks: a batch of {} run after a full batch of {batch} is off by {} in slot {slot}, {} allowed",
            by_slot.len(),
            figure(finding.spread),
            figure(tolerance)
        ));
    }
    finding
}

/// Holds differences, each with its slot, to the tolerance.
fn compare(trial: Trial, differences: impl Iterator<Item = (f64, usize)>, tolerance: f64) -> Finding {
    let mut finding = Finding { trial, rows: 0, spread: 0.0, slots: Vec::new(), fault: None };
    for (difference, slot) in differences {
        finding.rows += 1;
        finding.spread = finding.spread.max(difference);
        let same = difference <= tolerance;
        if !same {
            finding.slots.push(slot);
        }
    }
    if let Some(&slot) = finding.slots.first() {
        finding.fault =
            Some(format!("slot {slot} is off by {}, {} allowed", figure(finding.spread), figure(tolerance)));
    }
    finding
}

fn merge(before: Finding, after: Finding) -> Finding {
    Finding {
        trial: before.trial,
        rows: before.rows + after.rows,
        spread: before.spread.max(after.spread),
        slots: before.slots.into_iter().chain(after.slots).collect(),
        fault: before.fault.or(after.fault),
    }
}

/// The one slot whose answer is within the tolerance, if exactly one is.
fn only_within(by_slot: &[f64], tolerance: f64) -> Option<usize> {
    let mut matching = by_slot.iter().zip(0..).filter(|&(&difference, _)| difference <= tolerance);
    let (_, first) = matching.next()?;
    matching.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::check::trials::Run;
    use crate::error::Error;

    /// Records the trials and judges them.
    fn check(run: &mut Run<'_>, probes: &Tensor, batch: usize, tolerance: f64) -> Result<Invariance> {
        Ok(Invariance::of(&Trials::record(run, probes, batch)?, tolerance))
    }

    /// Four features a sample; the honest answer is their sums with alternating signs.
    fn probes(count: usize) -> Tensor {
        let values = (0..count * 4).map(|index| ((index * 37 % 101) as f32).mul_add(0.1, -5.0)).collect();
        Tensor::float32("input", vec![count, 4], values).unwrap()
    }

    fn answer(row: &[f32]) -> [f32; 3] {
        [row[0] + row[1], row[1] - row[2], row[2] * row[3] * 0.1]
    }

    fn honest(input: &Tensor) -> Vec<[f32; 3]> {
        (0..input.batch()).map(|slot| answer(input.row(slot).unwrap())).collect()
    }

    fn tensor(rows: &[[f32; 3]]) -> Result<Tensor> {
        Tensor::float32("logits", vec![rows.len(), 3], rows.concat())
    }

    fn checked(run: &mut Run<'_>, batch: usize) -> Invariance {
        check(run, &probes(80), batch, 1e-5).unwrap()
    }

    fn faults(invariance: &Invariance) -> Vec<(Trial, &str)> {
        let findings = invariance.findings.iter();
        findings.filter_map(|finding| Some((finding.trial, finding.fault.as_deref()?))).collect()
    }

    #[rstest]
    #[case(2)]
    #[case(3)]
    #[case(8)]
    #[case(32)]
    fn an_honest_runtime_is_equal_bit_by_bit(#[case] batch: usize) {
        let invariance = checked(&mut |input| tensor(&honest(input)), batch);
        assert!(invariance.holds());
        assert_eq!(invariance.findings.len(), 4);
        assert_eq!(invariance.spread(), 0.0);
        assert_eq!(invariance.result(true).unwrap().status, Status::Pass);
    }

    #[rstest]
    #[case::above_half(48)]
    #[case::all(80)]
    #[case::above_all(96)]
    #[case::twice(160)]
    fn a_batch_is_looked_at_however_few_probes_there_are(#[case] batch: usize) {
        assert_eq!(checked(&mut |input| tensor(&honest(input)), batch).findings.len(), 4);
        let neighbour = checked(
            &mut |input| {
                let mut rows = honest(input);
                let mean = rows.iter().map(|row| row[0]).sum::<f32>() / rows.len() as f32;
                rows.iter_mut().for_each(|row| row[0] += 0.01 * mean);
                tensor(&rows)
            },
            batch,
        );
        assert!(faults(&neighbour).iter().any(|(trial, _)| *trial == Trial::Alone));
        let mut last: Vec<[f32; 3]> = Vec::new();
        let stale = checked(
            &mut |input| {
                let rows = honest(input);
                let answer = if rows.len() > 1 && rows.len() < last.len() { last[..rows.len()].to_vec() } else { rows };
                last.clone_from(&answer);
                tensor(&answer)
            },
            batch,
        );
        assert_eq!(faults(&stale).iter().map(|(trial, _)| *trial).collect::<Vec<_>>(), [Trial::Short]);
    }

    #[test]
    fn a_batch_of_one_has_no_neighbours() {
        let invariance = checked(&mut |input| tensor(&honest(input)), 1);
        assert!(invariance.holds());
        assert_eq!(invariance.result(true), None);
    }

    #[rstest]
    #[case(2)]
    #[case(8)]
    fn a_swapped_slot_is_named(#[case] batch: usize) {
        let invariance = checked(
            &mut |input| {
                let mut rows = honest(input);
                if rows.len() > 1 {
                    rows.swap(0, 1);
                }
                tensor(&rows)
            },
            batch,
        );
        assert!(faults(&invariance).iter().any(|(trial, fault)| {
            *trial == Trial::Alone && fault.starts_with(&format!("slots 0 and 1 of a batch of {batch} are swapped"))
        }));
        assert_eq!(invariance.result(true).unwrap().status, Status::Fail);
    }

    #[test]
    fn a_slot_that_computes_something_else_is_named() {
        let invariance = checked(
            &mut |input| {
                let mut rows = honest(input);
                if let Some(row) = rows.get_mut(5) {
                    row[2] += 0.5;
                }
                tensor(&rows)
            },
            8,
        );
        insta::assert_snapshot!(faults(&invariance).iter().map(|(_, fault)| *fault).collect::<Vec<_>>().join("\n"), @r"
        probe 0 in every slot of a batch of 8 answers differently in slot 5: by 0.5, 1e-5 allowed
        a permuted batch of 8 does not give permuted answers: slot 4 is off by 0.5, 1e-5 allowed
        slot 5 of a batch of 8 differs from the same sample alone by 0.5, 1e-5 allowed
        ");
    }

    #[test]
    fn a_batch_that_depends_on_its_neighbours_is_named() {
        let invariance = checked(
            &mut |input| {
                let mut rows = honest(input);
                let mean = rows.iter().map(|row| row[0]).sum::<f32>() / rows.len() as f32;
                rows.iter_mut().for_each(|row| row[0] -= mean);
                tensor(&rows)
            },
            8,
        );
        assert!(faults(&invariance).iter().any(|(trial, _)| *trial == Trial::Alone));
    }

    #[test]
    fn a_padding_leak_is_named() {
        let mut buffer = [[0.0_f32; 4]; 8];
        let invariance = checked(
            &mut |input| {
                let samples = input.batch();
                for (slot, row) in buffer.iter_mut().enumerate().take(samples) {
                    row.copy_from_slice(input.row(slot).unwrap());
                }
                // The last sample reads on into what the batch before left behind it.
                let mut rows = honest(input);
                if samples > 1 && samples < buffer.len() {
                    rows[samples - 1][0] += buffer[samples][0];
                }
                tensor(&rows)
            },
            8,
        );
        let found = faults(&invariance);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, Trial::Short);
        assert!(found[0].1.starts_with("padding leaks: a batch of 4 run after a full batch of 8"), "{}", found[0].1);
    }

    #[test]
    fn a_short_batch_answered_from_the_batch_before_is_named() {
        let mut last: Vec<[f32; 3]> = Vec::new();
        let invariance = checked(
            &mut |input| {
                let rows = honest(input);
                let answer = if rows.len() > 1 && rows.len() < last.len() { last[..rows.len()].to_vec() } else { rows };
                last.clone_from(&answer);
                tensor(&answer)
            },
            8,
        );
        assert_eq!(faults(&invariance).iter().map(|(trial, _)| *trial).collect::<Vec<_>>(), [Trial::Short]);
    }

    #[test]
    fn noise_within_the_tolerance_is_reported_and_passes() {
        let mut call = 0.0_f32;
        let invariance = checked(
            &mut |input| {
                call += 1.0;
                let mut rows = honest(input);
                rows.iter_mut().for_each(|row| row[0] += call * 1e-7);
                tensor(&rows)
            },
            4,
        );
        assert!(invariance.holds() && invariance.spread() > 0.0);
        assert!(invariance.result(false).unwrap().detail.contains("1e-5 allowed"));
    }

    #[rstest]
    #[case::missing_row(|rows: &mut Vec<[f32; 3]>| { rows.pop(); }, "the output holds 3 samples, 4 were asked")]
    #[case::nan(|rows: &mut Vec<[f32; 3]>| rows[0][1] = f32::NAN, "NaN")]
    fn an_answer_that_cannot_be_compared_is_an_error(#[case] damage: fn(&mut Vec<[f32; 3]>), #[case] word: &str) {
        let error = check(
            &mut |input| {
                let mut rows = honest(input);
                damage(&mut rows);
                Tensor::float32("logits", vec![rows.len(), 3], rows.concat())
            },
            &probes(8),
            4,
            1.0,
        )
        .unwrap_err();
        assert!(error.message.contains(word) && !error.message.contains("reference"), "{}", error.message);
    }

    #[test]
    fn the_runtimes_own_error_comes_through() {
        let error = check(&mut |_| Err(Error::failed("out of device memory")), &probes(8), 4, 1.0).unwrap_err();
        assert_eq!(error.message, "out of device memory");
    }

    #[test]
    fn answers_at_two_batch_sizes_are_compared() {
        let one = tensor(&honest(&probes(8))).unwrap();
        let mut other = one.clone();
        assert_eq!(compare_batches(&one, &other, 1, 1e-6).unwrap().fault, None);
        other.values.as_mut::<f32>().unwrap()[23] += 1.0;
        let found = compare_batches(&one, &other, 1, 1e-6).unwrap();
        assert_eq!(found.slots, [7]);
        assert_eq!(found.fault.unwrap(), "probe 7 is answered otherwise than at batch 1: by up to 1, 1e-6 allowed");
    }
}

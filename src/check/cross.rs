//! Cells beside each other: what no single cell can show.
//!
//! A broken expectation here is shown and does not gate: it says that a conversion does not pay, not that it is wrong.

use std::collections::BTreeSet;

use crate::findings::{ArtifactReport, CellReport, CheckResult, Report, TimingSummary};
use crate::vocabulary::{CellId, Library, Precision, RuntimeId, ShapePoint, Status};

/// A cell over the FP32 cell of the same runtime and batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Ratio {
    /// The cell.
    pub cell: CellId,
    /// Artifact bytes over the FP32 artifact's; below 1 is smaller.
    pub size: Option<f64>,
    /// Samples per second over the FP32 cell's, under the same timing contract; above 1 is faster.
    pub speed: Option<f64>,
}

/// Every cell over the FP32 cell of its runtime and batch, in the order of the cells.
pub fn ratios(cells: &[CellReport]) -> Vec<Ratio> {
    let ratio = |cell: &CellReport| {
        let id = cell.id();
        let base = cells.iter().find(|other| other.id() == CellId { precision: Precision::Fp32, ..id.clone() });
        let size = base.and_then(|base| quotient(bytes(cell)?, bytes(base)?));
        let speed = base.and_then(|base| speed_ratio(cell.timing.as_ref()?, base.timing.as_ref()?));
        Ratio { cell: id, size, speed }
    };
    cells.iter().map(ratio).collect()
}

/// What is expected of a pair of precisions of one runtime: the second smaller, and on a GPU faster, than the first.
const STEPS: [(Precision, Precision); 9] = [
    (Precision::Fp32, Precision::Fp16),
    (Precision::Fp32, Precision::Fp16Flag),
    (Precision::Fp32, Precision::Int8),
    (Precision::Fp32, Precision::Int8Calibrated),
    (Precision::Fp16, Precision::Int8),
    (Precision::Fp16Flag, Precision::Int8Calibrated),
    (Precision::Fp32, Precision::Tf32),
    (Precision::Fp32, Precision::Fp8),
    (Precision::Fp16, Precision::Fp8),
];

/// Makes the rules over all cells: `size-order`, `speed-order`, `batch-order`. None gates.
///
/// Sizes are compared wherever both precisions have an artifact of the same kind. Speeds are compared at the largest batch
/// that both were measured at under the same contract, shape by shape, and on TensorRT only: a CPU without half-precision units is
/// expected to be slower in FP16.
pub fn check(cells: &[CellReport]) -> Vec<CheckResult> {
    let mut runtimes: Vec<&RuntimeId> = cells.iter().map(|cell| &cell.runtime).collect();
    runtimes.sort();
    runtimes.dedup();
    let mut found = Vec::new();
    for runtime in runtimes {
        let of_runtime = || cells.iter().filter(|cell| cell.runtime == *runtime);
        let shapes: BTreeSet<Option<&ShapePoint>> = of_runtime().map(|cell| cell.shape.as_ref()).collect();
        let of = |precision, shape: Option<&ShapePoint>| -> Vec<&CellReport> {
            let mut cells: Vec<&CellReport> =
                of_runtime().filter(|cell| cell.precision == precision && cell.shape.as_ref() == shape).collect();
            cells.sort_by_key(|cell| std::cmp::Reverse(cell.batch));
            cells
        };
        for (coarse, fine) in STEPS {
            // One file serves every shape.
            let size = |shape| size_order(runtime, (coarse, &of(coarse, shape)), (fine, &of(fine, shape)));
            found.extend(shapes.iter().find_map(|&shape| size(shape)));
            let speed = |shape| speed_order(runtime, (coarse, &of(coarse, shape)), (fine, &of(fine, shape)));
            found.extend(shapes.iter().filter_map(|&shape| speed(shape)));
        }
        for &precision in Precision::ALL {
            found.extend(shapes.iter().filter_map(|&shape| batch_order(runtime, precision, &of(precision, shape))));
        }
    }
    found
}

/// Makes every rule that needs nothing but a report: those over its cells, and those of versions, which it puts beside each other.
pub fn conclude(report: &mut Report) -> Vec<CheckResult> {
    let mut rules = check(&report.cells);
    rules.extend(super::versions::conclude(report));
    rules
}

type Series<'a> = (Precision, &'a [&'a CellReport]);

fn size_order(runtime: &RuntimeId, before: Series<'_>, after: Series<'_>) -> Option<CheckResult> {
    // TF32 keeps its weights in FP32, and so does an ONNX graph with Q/DQ pairs: no size is expected of them.
    let quantised_graph = runtime.library == Library::Onnxruntime && after.0 == Precision::Int8;
    if after.0 == Precision::Tf32 || quantised_graph {
        return None;
    }
    let engine = |artifact: &ArtifactReport| artifact.kind == crate::vocabulary::ArtifactKind::Engine;
    let (old, new) = before.1.iter().find_map(|old| {
        let new = after.1.iter().find(|new| new.batch == old.batch)?;
        let (old, new) = (old.artifact.as_ref()?, new.artifact.as_ref()?);
        (engine(old) == engine(new)).then_some((old.bytes, new.bytes))
    })?;
    let ratio = quotient(new as f64, old as f64)?;
    let (fine, coarse) = (after.0, before.0);
    Some(rule("size-order", new < old, || {
        let words = if new < old { "smaller than" } else { "no smaller than" };
        format!("{runtime}: {fine} is {words} {coarse}: {new} bytes, {old} bytes, {ratio:.2} ×")
    }))
}

fn speed_order(runtime: &RuntimeId, before: Series<'_>, after: Series<'_>) -> Option<CheckResult> {
    if !runtime.library.on_gpu() {
        return None;
    }
    let (cell, ratio) = before.1.iter().find_map(|old| {
        let new = after.1.iter().find(|new| new.batch == old.batch)?;
        Some((old, speed_ratio(new.timing.as_ref()?, old.timing.as_ref()?)?))
    })?;
    let (fine, coarse) = (after.0, before.0);
    Some(rule("speed-order", ratio > 1.0, || {
        let words = if ratio > 1.0 { "faster than" } else { "no faster than" };
        format!("{runtime}: {fine} is {words} {coarse} at batch {}{}: {ratio:.2} ×", cell.batch, of_shape(cell))
    }))
}

fn batch_order(runtime: &RuntimeId, precision: Precision, cells: &[&CellReport]) -> Option<CheckResult> {
    let timed: Vec<(u32, &TimingSummary)> =
        cells.iter().filter_map(|cell| Some((cell.batch, cell.timing.as_ref()?))).collect();
    let (&(large, fast), &(small, slow)) = (timed.first()?, timed.last()?);
    if large == small {
        return None;
    }
    let ratio = speed_ratio(fast, slow)?;
    Some(rule("batch-order", ratio > 1.0, || {
        let words = if ratio > 1.0 { "more" } else { "no more" };
        let shape = cells.first().map(|cell| of_shape(cell)).unwrap_or_default();
        format!(
            "{runtime}: {precision} answers {words} samples a second at batch {large} than at batch {small}{shape}: {ratio:.2} ×"
        )
    }))
}

/// The shape of a cell, where a model is gated at several.
fn of_shape(cell: &CellReport) -> String {
    cell.shape.as_ref().map(|shape| format!(", {shape}")).unwrap_or_default()
}

fn rule(name: &str, holds: bool, detail: impl FnOnce() -> String) -> CheckResult {
    let status = if holds { Status::Pass } else { Status::Fail };
    CheckResult { name: name.to_owned(), status, gating: false, detail: detail() }
}

fn bytes(cell: &CellReport) -> Option<f64> {
    cell.artifact.as_ref().map(|artifact| artifact.bytes as f64)
}

/// Two timings compare only under one contract.
fn speed_ratio(new: &TimingSummary, old: &TimingSummary) -> Option<f64> {
    (new.contract == old.contract).then(|| quotient(new.samples_per_second, old.samples_per_second)).flatten()
}

fn quotient(new: f64, old: f64) -> Option<f64> {
    let quotient = new / old;
    (new > 0.0 && old > 0.0 && quotient.is_finite()).then_some(quotient)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use approx::assert_relative_eq;

    use super::*;
    use crate::timing::contract::TimingContract;
    use crate::vocabulary::{ArtifactKind, Stage};

    fn cell(id: &str, bytes: u64, samples_per_second: f64) -> CellReport {
        let id: CellId = id.parse().unwrap();
        let timing = TimingSummary {
            contract: TimingContract::host(),
            samples_per_second,
            median_milliseconds: 1.0,
            p90_milliseconds: 1.0,
            p95_milliseconds: 1.0,
            p99_milliseconds: 1.0,
            variation: 0.0,
            iterations: 10,
            enqueue_microseconds: None,
            clock: None,
            device: None,
            repetitions: Vec::new(),
        };
        let artifact = ArtifactReport {
            kind: ArtifactKind::Engine,
            sha256: String::new(),
            bytes,
            build_seconds: 0.0,
            cached: true,
        };
        CellReport {
            status: Status::Pass,
            stage: Stage::Measure,
            artifact: (bytes > 0).then_some(artifact),
            timing: (samples_per_second > 0.0).then_some(timing),
            ..CellReport::new(&id, "")
        }
    }

    fn details(cells: &[CellReport]) -> String {
        let line = |check: &CheckResult| format!("{} {} {}", check.status, check.name, check.detail);
        check(cells).iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_does_not_pay_is_flagged_and_gates_nothing() {
        let cells = [
            cell("tensorrt@8.5.3/fp32/batch-1", 13_500_000, 9_000.0),
            cell("tensorrt@8.5.3/fp32/batch-32", 13_500_000, 77_000.0),
            cell("tensorrt@8.5.3/fp16/batch-1", 6_900_000, 10_000.0),
            cell("tensorrt@8.5.3/fp16/batch-32", 6_900_000, 70_000.0),
            cell("tensorrt@8.5.3/int8/batch-32", 7_100_000, 303_000.0),
        ];
        insta::assert_snapshot!(details(&cells), @r"
        pass size-order tensorrt@8.5.3: fp16 is smaller than fp32: 6900000 bytes, 13500000 bytes, 0.51 ×
        fail speed-order tensorrt@8.5.3: fp16 is no faster than fp32 at batch 32: 0.91 ×
        pass size-order tensorrt@8.5.3: int8 is smaller than fp32: 7100000 bytes, 13500000 bytes, 0.53 ×
        pass speed-order tensorrt@8.5.3: int8 is faster than fp32 at batch 32: 3.94 ×
        fail size-order tensorrt@8.5.3: int8 is no smaller than fp16: 7100000 bytes, 6900000 bytes, 1.03 ×
        pass speed-order tensorrt@8.5.3: int8 is faster than fp16 at batch 32: 4.33 ×
        pass batch-order tensorrt@8.5.3: fp32 answers more samples a second at batch 32 than at batch 1: 8.56 ×
        pass batch-order tensorrt@8.5.3: fp16 answers more samples a second at batch 32 than at batch 1: 7.00 ×
        ");
        assert!(check(&cells).iter().all(|check| !check.gating));
    }

    /// Cells of one shape are compared with each other: a long sequence is no slower batch. One file serves every shape.
    #[test]
    fn shapes_are_compared_each_with_itself() {
        let at = |id: &str, length: usize, bytes: u64, speed: f64| {
            let shape = Some(ShapePoint::new(vec![("length".to_owned(), length)]));
            CellReport { shape, ..cell(id, bytes, speed) }
        };
        let cells = [
            at("tensorrt@8.5.3/fp32/batch-1", 8, 10, 4.0),
            at("tensorrt@8.5.3/fp32/batch-1", 64, 10, 1.0),
            at("tensorrt@8.5.3/fp32/batch-8", 64, 10, 2.0),
            at("tensorrt@8.5.3/fp16/batch-1", 8, 5, 8.0),
            at("tensorrt@8.5.3/fp16/batch-1", 64, 5, 1.0),
        ];
        insta::assert_snapshot!(details(&cells), @r"
        pass size-order tensorrt@8.5.3: fp16 is smaller than fp32: 5 bytes, 10 bytes, 0.50 ×
        pass speed-order tensorrt@8.5.3: fp16 is faster than fp32 at batch 1, length=8: 2.00 ×
        fail speed-order tensorrt@8.5.3: fp16 is no faster than fp32 at batch 1, length=64: 1.00 ×
        pass batch-order tensorrt@8.5.3: fp32 answers more samples a second at batch 8 than at batch 1, length=64: 2.00 ×
        ");
    }

    #[test]
    fn what_cannot_be_compared_is_not_judged() {
        let mut other_contract = cell("tensorrt@8.5.3/fp16/batch-32", 0, 1.0);
        other_contract.timing.as_mut().unwrap().contract.graph = true;
        let cells = [
            cell("tensorrt@8.5.3/fp32/batch-32", 10, 2.0),
            other_contract,
            cell("tensorrt@10.1.0/fp16/batch-32", 20, 1.0),
            cell("tensorrt@8.5.3/int8/batch-8", 20, 1.0),
        ];
        assert_eq!(details(&cells), "");
        assert_eq!(check(&[]), []);
    }

    /// What is as large, as slow or no faster in a larger batch does not pay.
    #[test]
    fn what_makes_no_difference_does_not_pay() {
        let cells = [
            cell("tensorrt@8.5.3/fp32/batch-1", 10, 2.0),
            cell("tensorrt@8.5.3/fp32/batch-8", 10, 2.0),
            cell("tensorrt@8.5.3/fp16/batch-8", 10, 2.0),
        ];
        insta::assert_snapshot!(details(&cells), @r"
        fail size-order tensorrt@8.5.3: fp16 is no smaller than fp32: 10 bytes, 10 bytes, 1.00 ×
        fail speed-order tensorrt@8.5.3: fp16 is no faster than fp32 at batch 8: 1.00 ×
        fail batch-order tensorrt@8.5.3: fp32 answers no more samples a second at batch 8 than at batch 1: 1.00 ×
        ");
    }

    #[test]
    fn a_cpu_is_not_expected_to_be_faster_in_half_precision() {
        let cells = [
            cell("onnxruntime/fp32/batch-8", 10, 2.0),
            cell("onnxruntime/fp16/batch-8", 5, 1.0),
            cell("onnxruntime/int8/batch-8", 11, 1.0),
        ];
        assert_eq!(
            details(&cells),
            "pass size-order onnxruntime: fp16 is smaller than fp32: 5 bytes, 10 bytes, 0.50 ×"
        );
    }

    #[test]
    fn ratios_are_over_fp32_of_the_same_batch() {
        let cells = [
            cell("tensorrt@8.5.3/fp32/batch-32", 13_500_000, 77_000.0),
            cell("tensorrt@8.5.3/fp16/batch-32", 6_750_000, 288_750.0),
            cell("tensorrt@8.5.3/fp16/batch-8", 6_750_000, 1.0),
        ];
        let ratios = ratios(&cells);
        assert_relative_eq!(ratios[1].size.unwrap(), 0.5);
        assert_relative_eq!(ratios[1].speed.unwrap(), 3.75);
        assert_eq!((ratios[2].size, ratios[2].speed), (None, None));
    }
}

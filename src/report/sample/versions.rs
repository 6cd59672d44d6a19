//! Three versions of TensorRT in one report, with answers: one pair equal bit by bit, one beyond the limits, one with near ties.

use std::collections::BTreeMap;

use super::measured::{gpu_machine, timing};
use super::{SAMPLES, cell_with_status, digest, report};
use crate::check::apart::Answers;
use crate::check::leads::NaturalLeads;
use crate::check::versions::kept::{self, Answered, Compared, ROOM, Terms};
use crate::findings::{ArtifactReport, CellReport, CheckResult, ErrorMetrics, Report};
use crate::manifest::OutputKind;
use crate::manifest::tasks::OutputTask;
use crate::tensor::Tensor;
use crate::vocabulary::{ArtifactKind, Stage, Status};

const VERSIONS: [(&str, f64, f64); 3] = [("8.5.3", 1.0, 1.0), ("8.6.1", 1.02, 0.97), ("10.6.0", 1.12, 1.08)];
/// Precision, size, samples per second, and how far logits are off.
const PRECISIONS: [(&str, u64, f64, f32); 3] =
    [("fp32", 15_200_000, 61_000.0, 2e-6), ("fp16", 7_900_000, 281_000.0, 2e-3), ("int8", 4_000_000, 353_000.0, 0.12)];

/// Numbers in −1 to 1 that look drawn and are the same everywhere.
fn drawn(seed: usize, index: usize) -> f32 {
    let mut mixed = ((seed << 32) + index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed >> 48) as f32 / 32768.0 - 1.0
}

/// Answers of a version: `error` off the reference, drawn from `seed`.
pub(crate) fn logits(seed: usize, error: f32) -> Tensor {
    let value = |index: usize| 4.0 * drawn(0, index) + error * drawn(seed, index);
    Tensor::float32("logits", vec![SAMPLES, 10], (0..SAMPLES * 10).map(value).collect()).unwrap()
}

/// What answers of a classifier are compared by.
pub(crate) fn terms() -> Terms {
    let compared = Compared {
        name: "logits".to_owned(),
        task: OutputTask::Classification(OutputKind::Logits),
        named: BTreeMap::new(),
    };
    let natural = NaturalLeads::of(&logits(0, 0.0).floats(), 10, OutputKind::Logits).unwrap();
    Terms { outputs: vec![compared], natural: Some(natural), losses: Vec::new() }
}

/// A run of three versions, all of which pass.
pub(crate) fn versions() -> Report {
    let mut cells = Vec::new();
    let mut answered = Vec::new();
    for (place, (version, size, speed)) in VERSIONS.into_iter().enumerate() {
        for (precision, bytes, rate, error) in PRECISIONS {
            for batch in [1, 32] {
                let cell = cell(version, precision, batch, (bytes as f64 * size) as u64, rate * speed);
                // FP32 answers of 8.6.1 are those of 8.5.3; INT8 of 10.6.0 passes, and lies on the other side.
                let (seed, error) = match (precision, place) {
                    ("fp32", 1) => (1, error),
                    ("int8", 2) if batch == 32 => (3, error * 4.0),
                    _ => (place + 1, error),
                };
                let outputs = vec![Answers::Rows(logits(seed, error))];
                answered.push(Ok(Answered { cell: cell.id(), asked: "probes".to_owned(), outputs }));
                cells.push(cell);
            }
        }
    }
    let mut report = report(cells, gpu_machine(), "trtgate gate --runtime tensorrt --bench --html report.html");
    let (kept, places) = kept::keep(&terms(), answered.len(), ROOM, answered.into_iter()).unwrap();
    report.cells.iter_mut().for_each(|cell| cell.answers = places.get(&cell.id()).cloned());
    report.answers = Some(kept);
    report.cross = crate::check::cross::conclude(&mut report);
    report.judge();
    report
}

fn cell(version: &str, precision: &str, batch: u32, bytes: u64, rate: f64) -> CellReport {
    let mut cell = cell_with_status(&format!("tensorrt@{version}"), precision, batch, Status::Pass);
    cell.version = Some(version.to_owned());
    cell.artifact = Some(ArtifactReport {
        kind: ArtifactKind::Engine,
        sha256: digest(&format!("{version}-{precision}")),
        bytes,
        build_seconds: 15.0 + bytes as f64 / 4e5,
        cached: false,
    });
    cell.error = Some(ErrorMetrics { sqnr_db: 40.0, ..ErrorMetrics::default() });
    cell.checks = vec![CheckResult {
        name: "loss".to_owned(),
        status: Status::Pass,
        gating: true,
        detail: "no loss of accuracy found on ordinary inputs".to_owned(),
    }];
    cell.stage = Stage::Measure;
    cell.timing = Some(timing(rate * if batch == 1 { 0.1 } else { 1.0 }, batch, true));
    cell
}

//! A run of a model of several outputs, each of another task: one cell passes, one fails in all that can be drawn.

use super::{cell_with_status, cpu_machine, digest, report};
use crate::findings::shown::{Shown, ShownBox, ShownBoxes, ShownCosines, ShownMap, ShownStep, ShownTokens, runs};
use crate::findings::{CellReport, CheckResult, ErrorMetrics, Histogram, OutputFigure, OutputFinding, Report};
use crate::vocabulary::{Status, Task};

/// The picture that boxes and the map are drawn on.
const SAMPLE: usize = 7;

fn finding(output: &str, task: Task, status: Status, detail: &str, figure: (&str, f64, f64)) -> OutputFinding {
    let (name, value, limit) = figure;
    OutputFinding {
        output: output.into(),
        task,
        status,
        detail: format!("output `{output}`: {detail}"),
        figures: vec![OutputFigure { name: name.into(), value, limit, named: false }],
        borderline: 0,
        confident: 0,
        error: ErrorMetrics { sqnr_db: 41.0, ..ErrorMetrics::default() },
        shown: None,
    }
}

fn boxes(shifted: f64, lost: bool) -> Shown {
    let one = |left: f64, top: f64, class: i64, score: f64, matched: bool| ShownBox {
        corners: [left, top, left + 9.0, top + 7.5],
        class,
        score,
        matched,
    };
    let reference = vec![one(3.0, 4.0, 0, 0.94, true), one(18.0, 15.0, 2, 0.81, true), one(4.0, 21.0, 1, 0.66, !lost)];
    let mut actual = vec![one(3.0 + shifted, 4.0, 0, 0.93, true), one(18.0 + shifted, 15.0, 2, 0.82, true)];
    if !lost {
        actual.push(one(4.0 + shifted, 21.0, 1, 0.66, true));
    }
    Shown::Boxes(ShownBoxes { sample: SAMPLE, extent: [32.0, 32.0], reference, actual, left_out: 0 })
}

fn map(changed: bool) -> Shown {
    let class = |place: usize, shift: usize| {
        let (x, y) = (place % 32, place / 32);
        let disc = (x + shift).abs_diff(17).pow(2) + y.abs_diff(16).pow(2) < 81;
        if disc { 1 } else { 2 * usize::from(y > 25) }
    };
    let side = |shift: usize| (0..32 * 32).map(|place| class(place, shift)).collect::<Vec<_>>();
    let (before, after) = (side(0), side(if changed { 2 } else { 0 }));
    Shown::Map(ShownMap {
        sample: SAMPLE,
        width: 32,
        height: 32,
        reference: runs(&before),
        actual: runs(&after),
        changed: before.iter().zip(&after).filter(|(one, other)| one != other).count(),
    })
}

fn tokens() -> Shown {
    let same = |token: i64| ShownStep { reference: Some(token), actual: Some(token) };
    let mut steps: Vec<ShownStep> = [101, 2023, 2003, 1037, 7099].map(same).to_vec();
    steps.push(ShownStep { reference: Some(6251), actual: Some(6252) });
    steps.push(ShownStep { reference: Some(1997), actual: None });
    steps.extend([19_204, 2015].map(same));
    steps.push(ShownStep { reference: None, actual: Some(1012) });
    steps.push(same(102));
    Shown::Tokens(ShownTokens { sample: 3, steps, before: 12, after: 40 })
}

fn cosines(from: usize) -> Shown {
    let counts = (0..51).map(|bin: usize| (9_u64).saturating_sub(bin.abs_diff(from).pow(2) as u64 / 2)).collect();
    Shown::Cosines(ShownCosines { histogram: Histogram { from: -12.0, step: 0.25, counts }, allowed: 1e-4 })
}

fn cell(precision: &str, batch: u32, outputs: Vec<(OutputFinding, Option<Shown>)>) -> CellReport {
    let mut cell = cell_with_status("onnxruntime", precision, batch, Status::Pass);
    cell.version = Some("1.32.0".into());
    cell.stage = crate::vocabulary::Stage::Compare;
    cell.outputs = outputs.into_iter().map(|(found, shown)| OutputFinding { shown, ..found }).collect();
    cell.checks = cell
        .outputs
        .iter()
        .map(|found| CheckResult {
            name: found.task.to_string(),
            status: found.status,
            gating: true,
            detail: found.detail.clone(),
        })
        .collect();
    if let Some(failed) = cell.outputs.iter().find(|found| found.status == Status::Fail) {
        (cell.status, cell.reason) = (Status::Fail, Some(failed.detail.clone()));
    }
    cell
}

/// Boxes, a map, tokens and an embedding: right at batch 1, wrong at batch 8.
pub(crate) fn tasks() -> Report {
    let (pass, fail) = (Status::Pass, Status::Fail);
    let sound = vec![
        (
            finding(
                "boxes",
                Task::Boxes,
                pass,
                "3 boxes of 1 samples, IoU 0.97 and more, corners within 0.1 of 32, scores within 0.01",
                ("iou", 0.97, 0.9),
            ),
            Some(boxes(0.1, false)),
        ),
        (
            finding(
                "mask",
                Task::Map,
                pass,
                "1024 places, 0 changed near a tie, 0 others; 3 classes, IoU 1 and more (class 0); scores at 41.0 dB",
                ("iou", 1.0, 0.99),
            ),
            Some(map(false)),
        ),
        (finding("words", Task::Tokens, pass, "768 tokens of 64 samples, all the same", ("edits", 0.0, 0.001)), None),
        (
            finding(
                "vector",
                Task::Embedding,
                pass,
                "64 vectors, the cosine with the reference's at least 0.9999990, 64 of 64 keep their nearest neighbour",
                ("cosine", 0.999_999, 0.9999),
            ),
            Some(cosines(22)),
        ),
    ];
    let broken = vec![
        (
            finding(
                "boxes",
                Task::Boxes,
                fail,
                "1 of 3 boxes have no match and are not borderline: in sample 7 a box of class 1 at [4, 21, 13, 28.5], score 0.66, is missing",
                ("iou", 0.8, 0.9),
            ),
            Some(boxes(1.0, true)),
        ),
        (
            finding(
                "mask",
                Task::Map,
                fail,
                "68 places changed their class though the reference was sure, the first is place 239 of sample 7, 0 instead of 1",
                ("iou", 0.78, 0.99),
            ),
            Some(map(true)),
        ),
        (
            finding(
                "words",
                Task::Tokens,
                fail,
                "3 edits to 768 tokens, 1 sample differs, sample 3 first: step 17 is 6252 instead of 6251, and 3 edits from there on",
                ("edits", 0.0039, 0.001),
            ),
            Some(tokens()),
        ),
        (
            finding(
                "vector",
                Task::Embedding,
                fail,
                "all 64 vectors are turned by 2° together, their angles among themselves kept (cosine 0.999391, 0.9999 is asked)",
                ("cosine", 0.999_391, 0.9999),
            ),
            Some(cosines(35)),
        ),
    ];
    let cells = vec![cell("fp16", 1, sound), cell("fp16", 8, broken)];
    let mut report = report(cells, cpu_machine(), "trtgate gate --json report.json");
    report.model.name = "detector".into();
    report.model.sha256 = digest("detector");
    report.model.classes.clear();
    report.probe_images = std::collections::BTreeMap::from([(SAMPLE, super::image(SAMPLE))]);
    report.judge();
    report
}

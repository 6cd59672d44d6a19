//! Reports to test with: a passing run on a GPU host, the same with failures of every kind, and a run without a GPU.
//!
//! The figures are made up, in the sizes that real runs have, and the same on every machine.

#![allow(clippy::unwrap_used)]

mod measured;
mod tasks;
#[cfg(test)]
pub(crate) mod versions;

use crate::findings::{
    Accuracy, Agreement, ArtifactReport, CellReport, CellSeconds, CheckResult, ErrorMetrics, FreshAgreement, Histogram,
    LeadFigures, Leg, Machine, ModelReport, ProbeImage, Report, WorstProbe,
};
use crate::report::plan_file::{Ability, PlanFile, PlannedCell, PlannedModel};
use crate::timing::TransferCount;
use crate::vocabulary::{ArtifactKind, CellId, Library, Precision, Stage, Status};

pub(crate) use tasks::tasks;
pub(crate) use versions::versions;

use measured::{baseline, cpu_machine, gpu_machine, timing};

const BATCHES: [u32; 4] = [1, 8, 16, 32];
const CLASSES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
const SAMPLES: usize = 256;

/// One runtime and precision: its artifact, and how far and how fast it is at batch 32.
struct Row(&'static str, &'static str, &'static str, &'static str, u64, f64, f64, f64);

const CPU_ROWS: [Row; 5] = [
    Row("tensorflow", "2.21.0", "fp32", "savedmodel", 15_834_112, 0.0, 999.0, 555.6),
    Row("onnxruntime", "1.32.0", "fp32", "onnx-fp32", 15_646_201, 3.8e-6, 118.4, 1840.3),
    Row("onnxruntime", "1.32.0", "fp16", "onnx-fp16", 7_861_740, 0.0041, 61.2, 911.8),
    Row("onnxruntime", "1.32.0", "int8", "onnx-int8", 4_102_933, 0.31, 27.4, 2954.7),
    Row("litert", "2.3.0", "int8", "tflite-int8", 3_984_120, 0.42, 25.1, 1160.1),
];

const GPU_ROWS: [Row; 6] = [
    Row("tensorrt@8.5.3", "8.5.3.1", "fp32", "engine", 16_412_884, 5.7e-6, 112.9, 2108.2),
    Row("tensorrt@8.5.3", "8.5.3.1", "tf32", "engine", 16_433_108, 0.0022, 66.3, 5480.6),
    Row("tensorrt@8.5.3", "8.5.3.1", "fp16", "engine", 8_504_316, 0.0051, 58.8, 19_884.0),
    Row("tensorrt@8.5.3", "8.5.3.1", "fp16-flag", "engine", 8_502_772, 0.0050, 58.9, 20_023.8),
    Row("tensorrt@8.5.3", "8.5.3.1", "int8", "engine", 4_520_196, 0.29, 28.0, 31_127.9),
    Row("tensorrt@8.5.3", "8.5.3.1", "int8-calibrated", "engine", 4_498_404, 0.55, 23.2, 31_410.5),
];

/// A run on a GPU host where everything that could run passed.
pub(crate) fn passing() -> Report {
    let mut cells: Vec<CellReport> = CPU_ROWS.iter().chain(&GPU_ROWS).flat_map(|row| row_cells(row, true)).collect();
    for precision in ["fp32", "fp16", "int8"] {
        cells.extend(BATCHES.map(|batch| {
            let mut cell = cell_with_status("tensorrt@11.4.0", precision, batch, Status::Unavailable);
            cell.reason = Some("only the lean runtime of TensorRT 11.4.0 is here, and it builds no engine".into());
            cell.hint = Some("run the gate in the container of TensorRT 11".into());
            cell.stage = Stage::Build;
            cell
        }));
    }
    cells.extend(BATCHES.map(|batch| {
        let mut cell = cell_with_status("tensorrt@11.4.0", "fp16-flag", batch, Status::Unsupported);
        cell.reason = Some("TensorRT 11 is strongly typed only: it has no FP16 builder flag".into());
        cell.stage = Stage::Build;
        cell
    }));
    let mut report = report(cells, gpu_machine(), "trtgate gate --bench --require tensorrt@8.5 --json report.json");
    report.requirements.runtimes = vec!["tensorrt@8.5".parse().unwrap()];
    report.cross = crate::check::cross::check(&report.cells);
    let detail = "10.204; within the noise of the baseline of 2026-02-27";
    report.cross.push(rule("ratio tensorrt@8.5.3 int8: batch 32 over batch 1", Status::Pass, detail));
    report.judge();
    report
}

/// The run of [`passing`] with a failure of each kind, an invalid cell, and a warning.
pub(crate) fn failing() -> Report {
    let mut report = passing();
    report.started = "2026-03-02T09:14:07Z".into();
    for batch in [16, 32] {
        let cell = cell(&mut report, "tensorrt@8.5.3/int8-calibrated", batch);
        let detail = "about 10 points of accuracy lost on ordinary inputs, 3 points allowed; 19 of 100 answers change";
        fail(cell, Stage::Compare, &format!("{detail}; leads are off by 0.9 of a typical one, 0.5 allowed"));
        cell.leads = Some(leads(0.9, "int8-calibrated"));
        cell.fresh = cell.fresh.map(|fresh| FreshAgreement { same: 209, ..fresh });
        cell.notes = vec!["few samples: sample 17 makes up most of the error of the leads".into()];
        cell.hint = Some("calibrate on samples like the probes, or find the layer with `trtgate explain`".into());
        cell.agreement = Some(Agreement {
            samples: SAMPLES,
            top1_matches: 249,
            near_tie_flips: 4,
            confident_flips: 3,
            flip_margins: vec![2.31, 1.74, 0.92, 0.11, 0.08, 0.03, 0.01],
            ..Agreement::default()
        });
        check(cell, "loss", Status::Fail, detail);
        check(cell, "leads", Status::Fail, "leads are off by 0.9 of a typical one, 0.5 allowed");
        let leg = cell.legs.last_mut().unwrap();
        leg.status = Status::Fail;
        leg.detail = Some("this leg alone leaves its tolerance, the ones before it do not".into());
        for worst in &mut cell.worst[..2] {
            worst.actual_top3.swap(0, 1);
            let (first, second) = (worst.actual_top3[0].1, worst.actual_top3[1].1);
            worst.actual_top3[0].1 = second;
            worst.actual_top3[1].1 = first;
        }
    }
    let cell_tf32 = cell(&mut report, "tensorrt@8.5.3/tf32", 32);
    fail(cell_tf32, Stage::Compare, "one probe tiled over batch 32 gives 4 different answers");
    cell_tf32.hint = Some("report it to the vendor with the replay line; batch 1 is not affected".into());
    check(cell_tf32, "batch-invariance", Status::Fail, "slots 0 and 17 differ by 0.41, at most 0.0044 is allowed");

    let crashed = cell(&mut report, "tensorrt@8.5.3/fp16-flag", 32);
    fail(
        crashed,
        Stage::Run,
        "the worker ended with signal `SIGSEGV` after 3.2 s\n  last lines:\n    [TRT] [I] running batch 32\n    [TRT] [E] 1: [context.cpp::enqueue::312] Error Code 1: Cuda Runtime (an illegal memory access)",
    );
    crashed.hint = Some("run the replay line with `-v` to see all of the worker's messages".into());
    (crashed.leads, crashed.fresh) = (None, None);
    (crashed.agreement, crashed.error, crashed.histogram, crashed.timing) = (None, None, None, None);
    (crashed.worst, crashed.checks, crashed.baseline, crashed.transfers) = (Vec::new(), Vec::new(), None, None);
    (crashed.accuracy, crashed.legs) = (None, Vec::new());

    for batch in BATCHES {
        let lossy = cell(&mut report, "litert/int8", batch);
        lossy.leads =
            Some(LeadFigures { loss_allowed: 0.05, error_allowed: 0.645, named: true, ..leads(0.42, "int8") });
        lossy.warnings = vec!["about 2 points of accuracy lost on ordinary inputs, more than a third of the 5 points allowed; 9 of 100 answers change".into()];
    }
    let slow = cell(&mut report, "litert/int8", 8);
    fail(slow, Stage::Measure, "12.4% slower than the baseline, 5.0% is allowed; confirmed by a second run");
    slow.hint = Some("if it is meant, accept it with `trtgate bless --baselines --reason TEXT`".into());
    slow_down(slow, 0.876, "fail", "12.4% slower than the baseline of 2026-02-27, 5.0% is allowed");

    slow_down(
        cell(&mut report, "onnxruntime/fp32", 16),
        0.963,
        "warn",
        "3.7% slower than the baseline, 5.0% is allowed",
    );
    slow_down(cell(&mut report, "tensorrt@8.5.3/int8", 32), 1.094, "improved", "9.4% faster than the baseline");

    let stale = cell(&mut report, "onnxruntime/fp16", 1);
    (stale.status, stale.stage) = (Status::Invalid, Stage::Compare);
    stale.reason =
        Some("the golden `snapshots/cifar10.golden` is of another model: it was made from `9b1c04e2a7d3`".into());
    stale.hint = Some("make it anew with `trtgate bless --reason TEXT`".into());
    (stale.leads, stale.fresh) = (None, None);
    (stale.agreement, stale.error, stale.histogram, stale.timing) = (None, None, None, None);
    (stale.worst, stale.checks, stale.baseline, stale.accuracy) = (Vec::new(), Vec::new(), None, None);

    report.cross = crate::check::cross::check(&report.cells);
    let detail = "3.971; 12.1% below the baseline of 2026-02-27, 5.0% is allowed";
    report.cross.push(rule("ratio litert int8: batch 8 over batch 1", Status::Fail, detail));
    report.judge();
    report
}

/// A run on a machine without a GPU, without timings; the RTX engines are built there, but cannot run.
pub(crate) fn cpu_only() -> Report {
    let mut cells: Vec<CellReport> = CPU_ROWS.iter().flat_map(|row| row_cells(row, false)).collect();
    for precision in ["fp32", "tf32", "fp16", "int8"] {
        cells.extend(BATCHES.map(|batch| {
            let mut cell = cell_with_status("tensorrt", precision, batch, Status::Unavailable);
            cell.reason = Some(
                "TensorRT is not here: no `libnvinfer.so.8`, `libnvinfer.so.10` or `libnvinfer.so.11` in 7 places"
                    .into(),
            );
            cell.hint = Some("name its folder in `TRTGATE_TENSORRT_PATH`; `trtgate doctor` lists the places".into());
            cell
        }));
    }
    for (precision, bytes) in [("fp32", 16_301_556u64), ("fp16", 8_330_228), ("int8", 4_390_020)] {
        cells.extend(BATCHES.map(|batch| {
            let mut cell = cell_with_status("tensorrt-rtx@1.7.1", precision, batch, Status::Unavailable);
            cell.version = Some("1.7.1.27".into());
            cell.stage = Stage::Run;
            cell.reason = Some("the engine was built, but there is no GPU to run it: `libcuda.so.1` not found".into());
            cell.artifact = Some(ArtifactReport {
                kind: ArtifactKind::Engine,
                sha256: digest(&format!("rtx-{precision}")),
                bytes,
                build_seconds: 6.4,
                cached: false,
            });
            cell
        }));
    }
    let mut report = report(cells, cpu_machine(), "trtgate gate --json report.json");
    report.judge();
    report
}

/// A report of `count` cells, for limits and benchmarks: every tenth cell fails.
pub(crate) fn many(count: u32) -> Report {
    let pattern = failing();
    let (good, bad) = (pattern.cells[4].clone(), cell(&mut failing(), "tensorrt@8.5.3/int8-calibrated", 32).clone());
    let mut report = pattern;
    report.cells = (0..count)
        .map(|index| {
            let mut cell = if index % 10 == 9 { bad.clone() } else { good.clone() };
            cell.runtime = format!("tensorrt@10.{}.0", index / 24).parse().unwrap();
            cell.precision = Precision::ALL[(index as usize / 4) % 6];
            cell.batch = BATCHES[index as usize % 4];
            cell
        })
        .collect();
    report.judge();
    report
}

/// The plan that `report` is complete for.
pub(crate) fn plan_of(report: &Report) -> PlanFile {
    let cells = report.cells.iter().map(|cell| PlannedCell {
        shard: None,
        runtime: cell.runtime.clone(),
        precision: cell.precision,
        batch: cell.batch,
        shape: cell.shape.clone(),
        artifact: cell.artifact.as_ref().map_or(ArtifactKind::Engine, |artifact| artifact.kind),
        ability: Ability::default(),
    });
    let model = PlannedModel { name: report.model.name.clone(), sha256: report.model.sha256.clone() };
    PlanFile::new(model, cells.collect())
}

/// A bare cell.
pub(crate) fn cell_with_status(runtime: &str, precision: &str, batch: u32, status: Status) -> CellReport {
    let id = CellId { runtime: runtime.parse().unwrap(), precision: precision.parse().unwrap(), batch, shape: None };
    let replay = format!("trtgate gate --runtime {runtime} --precision {precision} --batch {batch}");
    CellReport {
        status,
        stage: if status == Status::Unavailable { Stage::Load } else { Stage::Compare },
        ..CellReport::new(&id, replay)
    }
}

fn row_cells(row: &Row, measured: bool) -> Vec<CellReport> {
    let &Row(runtime, version, precision, kind, bytes, max_abs, sqnr_db, rate) = row;
    BATCHES
        .iter()
        .enumerate()
        .map(|(index, &batch)| {
            let mut cell = cell_with_status(runtime, precision, batch, Status::Pass);
            let on_gpu = cell.runtime.library == Library::Tensorrt;
            let near_ties = if max_abs > 0.3 { index % 3 } else { 0 };
            cell.version = Some(version.into());
            // One TFLite model a batch size; everything else is one artifact for all of them.
            let name = if kind == "tflite-int8" { format!("{kind}-{batch}") } else { format!("{runtime}-{precision}") };
            cell.artifact = Some(ArtifactReport {
                kind: kind.parse().unwrap(),
                sha256: digest(&name),
                bytes: if kind == "tflite-int8" { bytes + u64::from(batch) * 640 } else { bytes },
                build_seconds: if on_gpu { 41.7 } else { 0.0 },
                cached: !on_gpu,
            });
            cell.leads = Some(leads(max_abs * 0.5, precision));
            let other = (max_abs * 20.0) as usize;
            cell.fresh = (batch == 32).then_some(FreshAgreement { samples: SAMPLES, same: SAMPLES - other });
            cell.agreement = Some(Agreement {
                samples: SAMPLES,
                top1_matches: SAMPLES - near_ties,
                near_tie_flips: near_ties,
                flip_margins: [0.021, 0.008][..near_ties].to_vec(),
                ..Agreement::default()
            });
            cell.error = Some(ErrorMetrics {
                max_abs,
                mean_abs: max_abs / 8.0,
                p99_abs: max_abs / 2.0,
                cosine_min: if max_abs > 0.01 { 0.9987 } else { 1.0 },
                sqnr_db,
                outside: 0,
            });
            cell.checks = checks(max_abs, near_ties, on_gpu, precision);
            cell.emulated = (kind == "onnx-fp16").then(|| "every half-precision tensor is rounded".into());
            cell.legs = legs(kind, runtime, max_abs, sqnr_db);
            cell.transfers = on_gpu.then(|| transfers(batch));
            cell.accuracy = Some(Accuracy {
                samples: 932,
                correct: if max_abs > 0.01 { 853 } else { 856 },
                reference_correct: Some(856),
                allowed_drop_points: if precision.starts_with("int8") { 1.0 } else { 0.1 },
                floor: None,
                labels_refused: None,
                labels_suspicious: None,
            });
            cell.histogram = Some(histogram(max_abs));
            cell.worst = worst(max_abs, index);
            cell.seconds = Some(CellSeconds { load: 0.25, run: 0.5 });
            if measured {
                let rate = rate * [0.098, 0.45, 0.72, 1.0][index];
                cell.timing = Some(timing(rate, batch, on_gpu));
                cell.baseline = Some(baseline(rate, [0.994, 1.012, 1.003, 0.998][index]));
                cell.stage = Stage::Measure;
            }
            cell
        })
        .collect()
}

/// Figures of leads that are off by `error` typical ones, beside the ladder's limits.
fn leads(error: f64, precision: &str) -> LeadFigures {
    let (loss_allowed, error_allowed, slope_allowed) = match precision {
        "fp32" => (1e-5, 1e-4, 3e-4),
        "int8" | "int8-calibrated" => (0.03, 0.5, 0.2),
        _ => (0.002, 0.1, 0.02),
    };
    LeadFigures {
        typical: 1.85,
        natural_samples: 1024,
        loss: 0.12 * error * error,
        loss_allowed,
        changed: 0.21 * error,
        error,
        error_allowed,
        slope: 1.0 - error / 50.0,
        slope_allowed,
        named: false,
    }
}

fn checks(max_abs: f64, near_ties: usize, on_gpu: bool, precision: &str) -> Vec<CheckResult> {
    let mut checks = vec![
        rule("loss", Status::Pass, &format!("{:.1e} of accuracy lost on ordinary inputs", 0.03 * max_abs * max_abs)),
        rule("leads", Status::Pass, &format!("leads are off by {:.1e} of a typical one", max_abs * 0.5)),
        CheckResult {
            gating: false,
            ..rule(
                "agreement",
                Status::Pass,
                &format!("{} of 256 agree; {near_ties} near-tie flips", SAMPLES - near_ties),
            )
        },
        rule("batch-invariance", Status::Pass, "a tiled probe answers the same in every slot"),
        rule("determinism", Status::Pass, "two runs are equal bit by bit"),
    ];
    if on_gpu {
        let detail = format!("21 of 21 compute layers run in {precision}");
        checks.push(CheckResult { gating: false, ..rule("precision-proof", Status::Pass, &detail) });
    }
    checks
}

fn legs(kind: &str, runtime: &str, max_abs: f64, sqnr_db: f64) -> Vec<Leg> {
    let leg = |name: &str, max_abs: f64, sqnr_db: f64| Leg {
        name: name.into(),
        status: Status::Pass,
        error: Some(ErrorMetrics {
            max_abs,
            mean_abs: max_abs / 8.0,
            p99_abs: max_abs / 2.0,
            cosine_min: 1.0,
            sqnr_db,
            outside: 0,
        }),
        detail: None,
    };
    match kind {
        "savedmodel" => vec![leg("golden → SavedModel", 0.0, 999.0)],
        "onnx-fp32" => vec![leg("SavedModel → ONNX FP32", max_abs, sqnr_db)],
        "engine" => vec![
            leg("SavedModel → ONNX FP32", 3.8e-6, 118.4),
            leg(&format!("ONNX → {runtime} engine"), max_abs, sqnr_db),
        ],
        kind => {
            vec![leg("SavedModel → ONNX FP32", 3.8e-6, 118.4), leg(&format!("ONNX FP32 → {kind}"), max_abs, sqnr_db)]
        }
    }
}

fn transfers(batch: u32) -> TransferCount {
    let copies = (SAMPLES as u64).div_ceil(u64::from(batch));
    TransferCount { copies_in: copies, copies_out: copies, bytes_in: 256 * 12_288, bytes_out: 256 * 40 }
}

fn histogram(max_abs: f64) -> Histogram {
    let (from, step) = (-9.0, 0.5);
    let mut counts = vec![0u64; 20];
    if max_abs == 0.0 {
        counts[0] = 2560;
        return Histogram { from, step, counts };
    }
    // The bin of the largest error, found without a logarithm so that it is the same everywhere.
    let mut last = 0;
    let mut edge = 1e-9;
    while edge * 3.162_277_66 < max_abs {
        edge *= 3.162_277_66;
        last += 1;
    }
    for (place, share) in [(0, 31), (1, 402), (2, 1203), (3, 611), (4, 214), (5, 68), (6, 24), (7, 7)] {
        if let Some(count) = counts.get_mut((last as usize).saturating_sub(place)) {
            *count += share;
        }
    }
    Histogram { from, step, counts }
}

fn worst(max_abs: f64, variant: usize) -> Vec<WorstProbe> {
    if max_abs == 0.0 {
        return Vec::new();
    }
    let probe = |index: usize| {
        let first = index % 10;
        let top = vec![(first, 6.25), ((first + 3) % 10, 5.5), ((first + 7) % 10, 1.75)];
        let shift = (max_abs * (1.0 - 0.2 * (index % 4) as f64)) as f32;
        WorstProbe {
            probe: index,
            max_abs: f64::from(shift),
            actual_top3: vec![(top[0].0, top[0].1 - shift), (top[1].0, top[1].1 + shift / 2.0), (top[2].0, 1.5)],
            reference_top3: top,
        }
    };
    let mut probes = [12, 41, 98, 203].map(|index| probe(index + variant)).to_vec();
    probes.sort_by(|left, right| right.max_abs.total_cmp(&left.max_abs));
    probes
}

fn slow_down(cell: &mut CellReport, ratio: f64, verdict: &str, detail: &str) {
    let baseline = cell.baseline.as_mut().unwrap();
    let rate = baseline.baseline_samples_per_second.unwrap() * ratio;
    let on_gpu = cell.runtime.library == Library::Tensorrt;
    cell.timing = Some(timing(rate, cell.batch, on_gpu));
    (baseline.verdict, baseline.ratio, baseline.detail) = (verdict.into(), Some(ratio), detail.into());
}

fn fail(cell: &mut CellReport, stage: Stage, reason: &str) {
    (cell.status, cell.stage, cell.reason) = (Status::Fail, stage, Some(reason.into()));
    if stage != Stage::Measure {
        (cell.timing, cell.baseline) = (None, None);
    }
}

fn check(cell: &mut CellReport, name: &str, status: Status, detail: &str) {
    let check = cell.checks.iter_mut().find(|check| check.name == name).unwrap();
    (check.status, check.detail) = (status, detail.into());
}

fn rule(name: &str, status: Status, detail: &str) -> CheckResult {
    CheckResult { name: name.into(), status, gating: true, detail: detail.into() }
}

fn cell<'report>(report: &'report mut Report, prefix: &str, batch: u32) -> &'report mut CellReport {
    let id = format!("{prefix}/batch-{batch}");
    report.cells.iter_mut().find(|cell| cell.id().to_string() == id).unwrap()
}

fn report(cells: Vec<CellReport>, machine: Machine, command: &str) -> Report {
    let shown: std::collections::BTreeSet<usize> =
        cells.iter().flat_map(|cell| &cell.worst).map(|worst| worst.probe).collect();
    let model = ModelReport {
        name: "cifar10".into(),
        sha256: digest("model"),
        classes: CLASSES.map(str::to_owned).to_vec(),
        probes_sha256: digest("probes"),
    };
    Report {
        wall_seconds: 41.23,
        own_seconds: 0.38,
        command: command.into(),
        cells,
        tolerances_sha256: digest("tolerances"),
        golden_sha256: digest("golden"),
        golden: None,
        probe_images: shown.into_iter().map(|probe| (probe, image(probe))).collect(),
        ..Report::new(model, machine, "2026-03-01T12:00:00Z")
    }
}

/// A procedural image of 32 × 32 pixels: a disc before a gradient, in colours that depend on the probe.
fn image(probe: usize) -> ProbeImage {
    let mut pixels = Vec::with_capacity(32 * 32 * 3);
    let (center_x, center_y, radius) = (10 + probe % 13, 9 + probe % 11, 6 + probe % 5);
    for y in 0..32usize {
        for x in 0..32usize {
            let inside = x.abs_diff(center_x).pow(2) + y.abs_diff(center_y).pow(2) < radius * radius;
            let channel = |index: usize| {
                let base = (probe * (37 + 29 * index)) % 160;
                let value = if inside { 235 - base } else { base / 2 + (x * (index + 1) + y * (3 - index)) * 2 };
                u8::try_from(value.min(255)).unwrap()
            };
            pixels.extend([channel(0), channel(1), channel(2)]);
        }
    }
    ProbeImage::from_pixels(&pixels, 32, 32, 3).unwrap()
}

fn digest(text: &str) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(text.as_bytes()))
}

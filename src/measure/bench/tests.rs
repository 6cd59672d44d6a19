//! The whole way from measurements to verdicts, over a machine made of numbers.

#![allow(clippy::unwrap_used, clippy::panic)]
use rstest::rstest;

use std::collections::BTreeMap;

use super::*;
use crate::timing::device::DeviceMeasurement;
use crate::timing::nvml::{DeviceState, OtherProcess};
use crate::vocabulary::ArtifactKind;

mod device;
mod load;

/// A machine whose cells take a fixed time a batch, times a factor per call.
#[derive(Default)]
struct Fake {
    /// Slowdown of each call of a cell, in order; 1 afterwards.
    factors: BTreeMap<CellId, Vec<f64>>,
    calls: Vec<String>,
    /// Cells whose every second batch takes another time, by this factor, in a way that never settles.
    moving: Vec<CellId>,
    broken: Vec<CellId>,
    /// Share of every call that passes without a processor.
    waited_share: f64,
    /// Share that another thread passes without a processor.
    longest_waited_share: Option<f64>,
    throttled: Vec<String>,
    /// Who else computes on the card meanwhile.
    others: Vec<OtherProcess>,
    /// Device memory that the process takes.
    process_bytes: Option<u64>,
    context_bytes: Option<u64>,
    /// What really ran.
    artifact: Option<ArtifactRecord>,
}

impl CellMeasurer for Fake {
    fn measure(&mut self, cell: &CellId, contract: &TimingContract, fresh_process: bool) -> Result<Measurement> {
        assert!(fresh_process);
        self.calls.push(cell.to_string());
        if self.broken.contains(cell) {
            return Err(Error::failed("the worker died by signal 11"));
        }
        let factor = match self.factors.get_mut(cell) {
            Some(factors) if !factors.is_empty() => factors.remove(0),
            _ => 1.0,
        };
        let moving = self.moving.contains(cell);
        let time = |index: u32| factor * if moving { 1.0 + f64::from(index) } else { 1.0 };
        let host_milliseconds: Vec<f64> = (0..60).map(time).collect();
        Ok(Measurement {
            contract: contract.clone(),
            batch: cell.batch as usize,
            wall_seconds: host_milliseconds.iter().sum::<f64>() / 1e3,
            batches: 60,
            waited_milliseconds: host_milliseconds.iter().map(|time| time * self.waited_share).collect(),
            longest_waited_share: self.longest_waited_share,
            host_milliseconds,
            gpu_milliseconds: Vec::new(),
            enqueue_microseconds: None,
            device: Some(Box::new(DeviceMeasurement {
                after: Some(DeviceState { others: self.others.clone(), ..DeviceState::default() }),
                process_bytes: self.process_bytes,
                context_bytes: self.context_bytes,
                ..DeviceMeasurement::default()
            })),
            outputs: Vec::new(),
        })
    }

    fn throttle_reasons(&mut self, _cell: &CellId) -> Vec<String> {
        self.throttled.clone()
    }

    fn artifact(&mut self, _cell: &CellId) -> Option<ArtifactRecord> {
        self.artifact.clone()
    }
}

fn cell(name: &str) -> BenchCell {
    BenchCell {
        id: name.parse().unwrap(),
        runtime_version: "1.32.0".to_owned(),
        instruction_set: Some(InstructionSet::here()),
        artifact: Some(ArtifactRecord { kind: ArtifactKind::OnnxFp32, sha256: "abc".to_owned(), bytes: 1000 }),
        contract: TimingContract::host(),
    }
}

struct Site {
    _folder: tempfile::TempDir,
    store: BaselineStore,
    thresholds: Thresholds,
    machine: Machine,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let thresholds = Thresholds { repetitions: 3, ..Thresholds::embedded().unwrap() };
        let machine = Machine { cpu: "a cpu".to_owned(), cores: 2, ..Machine::default() };
        Self { store: BaselineStore::new(folder.path().join("baselines")), _folder: folder, thresholds, machine }
    }

    fn context(&self) -> BenchContext<'_> {
        BenchContext {
            machine: &self.machine,
            model: "cifar10",
            model_sha256: "abc",
            intra_threads: 1,
            inter_threads: 1,
            thresholds: &self.thresholds,
            store: &self.store,
        }
    }

    fn bench(&self, cells: &[BenchCell], fake: &mut Fake) -> Bench {
        run(cells, &self.context(), fake, &mut |_| ()).unwrap()
    }

    fn bless(&self, cells: &[BenchCell]) {
        let bench = self.bench(cells, &mut Fake::default());
        let blessing = plan_blessing(&bench, &self.context(), "2026-01-01T00:00:00Z", "first").unwrap();
        blessing.store(&self.context(), "first", false).unwrap();
    }
}

fn verdicts(bench: &Bench) -> Vec<&str> {
    bench.cells.iter().map(|cell| cell.baseline.as_ref().map_or("none", |b| b.verdict.as_str())).collect()
}

const FP32: &str = "onnxruntime/fp32/batch-32";
const INT8: &str = "onnxruntime/int8/batch-32";

#[test]
fn repetitions_of_cells_are_interleaved() {
    let mut fake = Fake::default();
    let bench = Site::new().bench(&[cell(FP32), cell(INT8)], &mut fake);
    assert_eq!(fake.calls, [FP32, INT8, FP32, INT8, FP32, INT8]);
    assert_eq!(verdicts(&bench), ["no-baseline", "no-baseline"]);
    let timing = bench.cells[0].timing.as_ref().unwrap();
    assert_eq!(timing.repetitions.len(), 3);
    assert!((timing.samples_per_second - 32e3).abs() < 1e-6);
}

#[rstest]
// The fastest of three decides.
#[case::clean(vec![1.0; 3], "ok", 3)]
#[case::one_disturbed(vec![1.5, 1.0, 1.0], "ok", 3)]
// Slower than the limit of a young series, then a second run.
#[case::confirmed(vec![1.2; 6], "fail", 6)]
#[case::not_confirmed(vec![1.2, 1.2, 1.2, 1.0, 1.0, 1.0], "ok", 6)]
#[case::faster(vec![0.8; 3], "improved", 3)]
fn verdicts_come_from_the_rule(#[case] factors: Vec<f64>, #[case] expected: &str, #[case] calls: usize) {
    let site = Site::new();
    site.bless(&[cell(FP32)]);
    let mut fake = Fake { factors: [(FP32.parse().unwrap(), factors)].into(), ..Fake::default() };
    let bench = site.bench(&[cell(FP32)], &mut fake);
    assert_eq!((verdicts(&bench), fake.calls.len()), (vec![expected], calls));
}

#[rstest]
#[case::engine(
    ArtifactKind::Engine,
    "def",
    "; this is another build of the engine (990 bytes, the baseline's 1000), and builds of one graph differ in speed: `[engine] candidates` keeps the fastest of several"
)]
#[case::model(ArtifactKind::OnnxFp32, "def", "; this is another `onnx-fp32` (990 bytes, the baseline's 1000)")]
#[case::the_same(ArtifactKind::Engine, "abc", "")]
fn a_slower_cell_says_when_its_artifact_is_another(
    #[case] kind: ArtifactKind,
    #[case] sha256: &str,
    #[case] expected: &str,
) {
    let site = Site::new();
    let cell = |sha256: &str, bytes| BenchCell {
        artifact: Some(ArtifactRecord { kind, sha256: sha256.to_owned(), bytes }),
        ..cell(FP32)
    };
    site.bless(&[cell("abc", 1000)]);
    let detail = |factor: f64| {
        let mut fake = Fake { factors: [(FP32.parse().unwrap(), vec![factor; 6])].into(), ..Fake::default() };
        let bench = site.bench(&[cell(sha256, 990)], &mut fake);
        bench.cells[0].baseline.as_ref().unwrap().detail.clone()
    };
    let slower = detail(1.2);
    assert!(slower.ends_with(&format!("assumed, 1 run){expected}")), "{slower}");
    assert!(!detail(1.0).contains("another"));
}

#[test]
fn what_was_measured_is_what_the_baseline_knows() {
    let site = Site::new();
    let artifact = |sha256: &str| ArtifactRecord { kind: ArtifactKind::Engine, sha256: sha256.to_owned(), bytes: 7 };
    let mut fake = Fake { artifact: Some(artifact("four profiles")), ..Fake::default() };
    let bench = site.bench(&[cell(FP32)], &mut fake);
    plan_blessing(&bench, &site.context(), "2026-01-01T00:00:00Z", "first")
        .unwrap()
        .store(&site.context(), "first", false)
        .unwrap();
    let detail = |sha256: &str| {
        let factors = [(FP32.parse().unwrap(), vec![1.2; 6])].into();
        let mut fake = Fake { factors, artifact: Some(artifact(sha256)), ..Fake::default() };
        site.bench(&[cell(FP32)], &mut fake).cells[0].baseline.as_ref().unwrap().detail.clone()
    };
    assert!(detail("others").contains("another build of the engine"));
    assert!(!detail("four profiles").contains("another build"));
}

#[test]
fn only_suspects_are_measured_again() {
    let site = Site::new();
    site.bless(&[cell(FP32), cell("litert/int8/batch-1")]);
    let mut fake = Fake { factors: [(FP32.parse().unwrap(), vec![1.2; 6])].into(), ..Fake::default() };
    let bench = site.bench(&[cell(FP32), cell("litert/int8/batch-1")], &mut fake);
    assert_eq!(verdicts(&bench), ["fail", "ok"]);
    assert_eq!(fake.calls.len(), 9);
    insta::assert_snapshot!(
        bench.cells[0].baseline.as_ref().unwrap().detail,
        @"26666.7 samples/s against 32000.0 (-16.67 %), 20.00 % more time; a second run 20.00 % more time; fails beyond 8.49 % (noise 2.83 %, assumed, 1 run)"
    );
}

#[test]
fn an_unstable_cell_is_retried_and_then_invalid() {
    let site = Site::new();
    site.bless(&[cell(FP32)]);
    let mut fake = Fake { moving: vec![FP32.parse().unwrap()], ..Fake::default() };
    let bench = site.bench(&[cell(FP32)], &mut fake);
    assert_eq!((verdicts(&bench), fake.calls.len()), (vec!["unstable"], 6));
    let mut report = report();
    bench.cells[0].write_to(&mut report);
    assert_eq!((report.status, report.stage), (Status::Invalid, Stage::Measure));
    // It does not become a baseline either, unless forced.
    let blessing = plan_blessing(&bench, &site.context(), "2026-01-02T00:00:00Z", "why").unwrap();
    assert_eq!(blessing.store(&site.context(), "why", false).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn a_series_that_is_too_noisy_gives_no_verdict() {
    let site = Site::new();
    let id: CellId = FP32.parse().unwrap();
    let noisy = || Fake { factors: [(id.clone(), vec![1.0, 1.3, 1.3])].into(), ..Fake::default() };
    let bench = site.bench(&[cell(FP32)], &mut noisy());
    let blessing = plan_blessing(&bench, &site.context(), "2026-01-01T00:00:00Z", "noisy").unwrap();
    blessing.store(&site.context(), "noisy", false).unwrap();
    let mut slow = Fake { factors: [(id, vec![5.0; 6])].into(), ..Fake::default() };
    let bench = site.bench(&[cell(FP32)], &mut slow);
    assert_eq!((verdicts(&bench), slow.calls.len()), (vec!["unstable"], 3));
    let mut report = report();
    bench.cells[0].write_to(&mut report);
    assert_eq!(report.status, Status::Invalid);
    insta::assert_snapshot!(
        report.reason.unwrap(),
        @"no verdict: the noise is 37.1 % (assumed, 1 run), and more than 5.0 % cannot be judged by"
    );
}

#[test]
fn an_assumed_noise_does_not_hold_on_a_busy_machine() {
    let site = Site::new();
    let slow = || Fake { waited_share: 0.75, ..Fake::default() };
    let bless = || {
        let bench = site.bench(&[cell(FP32)], &mut slow());
        let blessing = plan_blessing(&bench, &site.context(), "2026-01-01T00:00:00Z", "busy").unwrap();
        blessing.store(&site.context(), "busy", false).unwrap();
    };
    bless();
    let bench = site.bench(&[cell(FP32)], &mut slow());
    insta::assert_snapshot!(
        bench.cells[0].baseline.as_ref().unwrap().detail,
        @"no verdict: the noise is assumed, 1 run, which does not hold where 75 % of the time pass without a processor"
    );
    // Ten runs made under the same load say how noisy it is.
    (0..9).for_each(|_| bless());
    assert_eq!(verdicts(&site.bench(&[cell(FP32)], &mut slow())), ["ok"]);
}

#[rstest]
#[case::the_calling_thread(Fake { waited_share: 0.3, ..Fake::default() })]
#[case::another_thread(Fake { longest_waited_share: Some(0.3), ..Fake::default() })]
fn slower_on_a_crowded_machine_is_no_verdict(#[case] mut crowded: Fake) {
    let site = Site::new();
    let bench = site.bench(&[cell(FP32)], &mut Fake::default());
    let blessing = plan_blessing(&bench, &site.context(), "2026-01-01T00:00:00Z", "quiet").unwrap();
    (0..10).for_each(|_| blessing.store(&site.context(), "quiet", false).map(|_| ()).unwrap());
    let slow = |fake: &mut Fake| {
        fake.factors.insert(FP32.parse().unwrap(), vec![1.5; 20]);
        site.bench(&[cell(FP32)], fake)
    };
    assert_eq!(verdicts(&slow(&mut Fake::default())), ["fail"]);
    let bench = slow(&mut crowded);
    assert_eq!(verdicts(&bench), ["unstable"]);
    let detail = &bench.cells[0].baseline.as_ref().unwrap().detail;
    assert!(detail.contains("30 % of the time a thread had no processor"), "{detail}");
    let mut report = report();
    bench.cells[0].write_to(&mut report);
    assert_eq!(report.status, Status::Invalid);
}

#[test]
fn a_cell_that_dies_fails_and_the_others_go_on() {
    let mut fake = Fake { broken: vec![FP32.parse().unwrap()], ..Fake::default() };
    let bench = Site::new().bench(&[cell(FP32), cell(INT8)], &mut fake);
    assert_eq!(verdicts(&bench), ["none", "no-baseline"]);
    assert_eq!(fake.calls.len(), 4);
    let mut report = report();
    bench.cells[0].write_to(&mut report);
    assert_eq!(report.status, Status::Fail);
}

#[test]
fn ratios_inside_a_run_are_judged_too() {
    let site = Site::new();
    let cells = [cell(FP32), cell(INT8), cell("onnxruntime/fp32/batch-1")];
    site.bless(&cells);
    let mut fake = Fake { factors: [(INT8.parse().unwrap(), vec![1.3; 6])].into(), ..Fake::default() };
    let bench = site.bench(&cells, &mut fake);
    let ratios: Vec<(&str, &str)> =
        bench.ratios.iter().map(|ratio| (ratio.name.as_str(), ratio.baseline.verdict.as_str())).collect();
    let expected =
        [("onnxruntime fp32 batch 32 over batch 1", "ok"), ("onnxruntime int8 over fp32 at batch 32", "fail")];
    assert_eq!(ratios, expected);
    assert_eq!(bench.ratios[1].check().status, Status::Fail);
}

#[test]
fn another_environment_has_no_baseline() {
    let mut site = Site::new();
    site.bless(&[cell(FP32)]);
    site.machine.cores = 64;
    let mut fake = Fake { factors: [(FP32.parse().unwrap(), vec![9.0; 3])].into(), ..Fake::default() };
    let bench = site.bench(&[cell(FP32)], &mut fake);
    assert_eq!(verdicts(&bench), ["no-baseline"]);
    let detail = &bench.cells[0].baseline.as_ref().unwrap().detail;
    assert_eq!(detail, "no baseline: cores is `64`, the baseline's `2`");
}

#[test]
fn a_larger_artifact_fails_by_size() {
    let site = Site::new();
    site.bless(&[cell(FP32)]);
    let mut larger = cell(FP32);
    larger.artifact.as_mut().unwrap().bytes = 1100;
    let bench = site.bench(&[larger], &mut Fake::default());
    let mut report = report();
    bench.cells[0].write_to(&mut report);
    assert_eq!(report.status, Status::Fail);
    assert!(report.reason.unwrap().starts_with("size: 1100 bytes"));
}

#[test]
fn a_throttled_run_is_not_blessed() {
    let site = Site::new();
    let mut fake = Fake { throttled: vec!["power cap".to_owned()], ..Fake::default() };
    let bench = site.bench(&[cell(FP32)], &mut fake);
    let blessing = plan_blessing(&bench, &site.context(), "2026-01-01T00:00:00Z", "why").unwrap();
    let error = blessing.store(&site.context(), "why", false).unwrap_err();
    assert!(error.to_string().contains("power cap"), "{error}");
    blessing.store(&site.context(), "why", true).unwrap();
    let bench = site.bench(&[cell(FP32)], &mut Fake::default());
    assert_eq!(verdicts(&bench), ["ok"]);
}

#[test]
fn accepted_runs_make_the_noise_known() {
    let site = Site::new();
    for _ in 0..10 {
        site.bless(&[cell(FP32)]);
    }
    let bench = site.bench(&[cell(FP32)], &mut Fake::default());
    let baseline = bench.cells[0].baseline.as_ref().unwrap();
    assert!(baseline.noise.unwrap() < 1e-9);
    assert!((baseline.threshold.unwrap() - 1.0 / 1.02).abs() < 1e-12);
    assert_eq!(baseline.history.len(), 10);
}

fn report() -> CellReport {
    let id: CellId = FP32.parse().unwrap();
    serde_json::from_value(serde_json::json!({
        "runtime": id.runtime, "version": null, "precision": id.precision, "batch": id.batch, "status": "pass",
        "stage": "compare", "reason": null, "replay": "", "artifact": null, "agreement": null, "error": null,
        "timing": null, "baseline": null
    }))
    .unwrap()
}

#[test]
fn an_engine_that_cannot_run_is_held_to_its_size() {
    let site = Site::new();
    let id: CellId = "tensorrt-rtx@1.7.1/int8/batch-32".parse().unwrap();
    let built = |bytes: u64| {
        let artifact = ArtifactRecord { kind: ArtifactKind::Engine, sha256: bytes.to_string(), bytes };
        [BuiltArtifact { cells: vec![id.clone()], runtime_version: "1.7.1.116".to_owned(), artifact }]
    };
    let judge = |bytes: u64| sizes(&built(bytes), &site.context()).remove(0);
    let bless = |bytes: u64| {
        let bench = Bench { sizes: vec![judge(bytes)], ..Bench::default() };
        let blessing = plan_blessing(&bench, &site.context(), "2026-01-01T00:00:00Z", "why").unwrap();
        blessing.store(&site.context(), "why", false).unwrap();
        (blessing.lines[0].to_string(), blessing.lines[0].level)
    };
    assert!(judge(1000).check.is_none());
    assert_eq!(bless(1000), ("tensorrt-rtx@1.7.1/int8 size: none -> 1000 bytes".to_owned(), 1));

    let unavailable = || CellReport { status: Status::Unavailable, ..report() };
    let mut kept = unavailable();
    judge(1090).write_to(&mut kept);
    assert_eq!((kept.status, kept.checks.len()), (Status::Unavailable, 1));
    let mut grown = unavailable();
    judge(1110).write_to(&mut grown);
    assert_eq!((grown.status, grown.stage), (Status::Fail, Stage::Build));
    assert_eq!(grown.reason.unwrap(), "size: 1110 bytes, baseline 1000 bytes, +11.0 %, band ±10.0 %");

    let line = "tensorrt-rtx@1.7.1/int8 size: 1000 bytes -> 1050 bytes (x 1.0500, +5.00 %)";
    assert_eq!(bless(1050), (line.to_owned(), 1));
    assert_eq!(bless(2000).1, 2);
    assert_eq!(judge(2000).check.unwrap().status, Status::Pass);
}

/// A model that was trained anew is judged by what was accepted of the one before; only a blessing moves that.
#[test]
fn another_model_is_judged_by_the_baseline_of_the_one_before() {
    let site = Site::new();
    let cells = [cell(FP32)];
    site.bless(&cells);
    let other = "b2".repeat(32);
    let context = BenchContext { model_sha256: &other, ..site.context() };
    let mut slower = Fake { factors: [(FP32.parse().unwrap(), vec![30.0; 6])].into(), ..Fake::default() };
    let bench = run(&cells, &context, &mut slower, &mut |_| ()).unwrap();
    assert_eq!(verdicts(&bench), ["fail"]);
    let detail = &bench.cells[0].baseline.as_ref().unwrap().detail;
    assert!(detail.starts_with("30 × slower than the baseline of model abc: "), "{detail}");
    let mut report = crate::report::sample::cell_with_status("onnxruntime", "fp32", 32, Status::Pass);
    bench.cells[0].write_to(&mut report);
    assert_eq!(report.status, Status::Fail);
    assert!(report.hint.unwrap().contains("trtgate bless --baselines"));
    // The same speed is no failure, and is told to be another model's.
    let bench = run(&cells, &context, &mut Fake::default(), &mut |_| ()).unwrap();
    assert_eq!(verdicts(&bench), ["ok"]);
    assert!(bench.cells[0].baseline.as_ref().unwrap().detail.starts_with("against the baseline of model abc: "));
    // Accepted, the slower model is the baseline, and the level of the one before is over.
    let mut slower = Fake { factors: [(FP32.parse().unwrap(), vec![30.0; 6])].into(), ..Fake::default() };
    let bench = run(&cells, &context, &mut slower, &mut |_| ()).unwrap();
    let blessing = plan_blessing(&bench, &context, "2026-01-02T00:00:00Z", "wider").unwrap();
    assert!(blessing.lines[0].to_string().ends_with(", the old one of model abc"), "{}", blessing.lines[0]);
    blessing.store(&context, "wider", false).unwrap();
    let mut slower = Fake { factors: [(FP32.parse().unwrap(), vec![30.0; 6])].into(), ..Fake::default() };
    let bench = run(&cells, &context, &mut slower, &mut |_| ()).unwrap();
    assert_eq!(verdicts(&bench), ["ok"]);
}

#[test]
fn a_damaged_baseline_costs_its_own_verdict_only() {
    let site = Site::new();
    let cells = [cell(FP32), cell(INT8)];
    site.bless(&cells);
    let device = crate::measure::environment::device_name(&site.machine, crate::vocabulary::Library::Onnxruntime);
    let path = site.store.cell_path(&device, "cifar10", &cells[0].id, TimingContract::host().mode);
    std::fs::write(&path, "{").unwrap();
    let bench = site.bench(&cells, &mut Fake::default());
    assert_eq!(verdicts(&bench), ["damaged", "ok"]);
    assert!(bench.cells[0].timing.is_some());
    let mut report = crate::report::sample::cell_with_status("onnxruntime", "fp32", 32, Status::Pass);
    bench.cells[0].write_to(&mut report);
    assert_eq!(report.status, Status::Invalid);
    assert!(report.reason.unwrap().contains("is not a baseline of"));
    assert!(report.timing.is_some());
    // Nothing is accepted over it.
    assert!(plan_blessing(&bench, &site.context(), "2026-01-02T00:00:00Z", "r").is_err());
}

#![allow(clippy::unwrap_used, clippy::panic)]

use rstest::rstest;

use super::*;
use crate::check::leads::NaturalLeads;
use crate::gate::workshop::{CLASSES, OWN_PROBES, Project, answers, healthy, session, sound};
use crate::runtime::{OpenRequest, Session};
use crate::timing::device::DeviceMeasurement;
use crate::timing::nvml::DeviceState;
use crate::vocabulary::{ArtifactKind, Library, Precision};
use crate::worker::Reply;
use crate::worker::fake::{Fakes, Step, no_measurement};

const BOTH: &str = "onnxruntime = [\"fp32\", \"fp16\"]\ntensorrt = [\"fp32\", \"fp16\"]";
const OPTIONS: TimingOptions = TimingOptions {
    mode: TimingMode::Throughput,
    streams: Streams::Count(3),
    spin: false,
    duration_milliseconds: 700,
    repetitions: Some(2),
};

fn id(text: &str) -> CellId {
    text.parse().unwrap()
}

#[rstest]
#[case(TimingMode::Throughput, false, (true, 3, false))]
#[case(TimingMode::Throughput, true, (true, 3, true))]
#[case(TimingMode::Latency, false, (true, 1, true))]
#[case(TimingMode::Compute, false, (false, 3, false))]
fn a_gpus_contract_is_that_of_its_mode(
    #[case] mode: TimingMode,
    #[case] spin: bool,
    #[case] expected: (bool, usize, bool),
) {
    let options = TimingOptions { mode, spin, ..OPTIONS };
    for runtime in ["tensorrt@10.11.0", "tensorrt-rtx@1.4.0", "tensorrt-lean@10.11.0"] {
        let contract = options.contract(&id(&format!("{runtime}/fp32/batch-4")));
        assert_eq!((contract.transfers_in, contract.streams, contract.spin), expected, "{runtime}");
        assert_eq!((contract.mode, contract.graph, contract.transfers_out), (mode, true, expected.0));
        assert_eq!(contract.duration_milliseconds, 700);
    }
    for runtime in ["tensorflow", "onnxruntime", "litert"] {
        let contract = options.contract(&id(&format!("{runtime}/fp32/batch-4")));
        assert_eq!(contract, TimingContract { duration_milliseconds: 700, ..TimingContract::host() }, "{runtime}");
    }
}

/// What is known of the reference for the project's probes.
fn expected(workspace: &Workspace) -> Expected<'static> {
    let samples = workspace.probes().unwrap().samples().unwrap();
    let reference = answers(&samples.tensor(0..samples.len()).unwrap());
    let natural = NaturalLeads::of(
        &answers(&crate::gate::workshop::samples(512)).floats(),
        CLASSES,
        workspace.manifest.output.kind,
    );
    Expected::Scores(Scores { reference, natural: natural.unwrap() })
}

#[test]
fn batches_take_turns_and_few_probes_are_repeated() {
    let project = Project::new(BOTH, "");
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    let measurer = WorkspaceMeasurer::new(&workspace, &[], None).unwrap();
    let probes = measurer.probes.as_ref().unwrap().with_samples()[0].clone();
    let counts: Vec<usize> = [1, 4, 5, 6, 30, 40, 41, 100]
        .into_iter()
        .map(|batch| {
            let (taken, _) = measurer.samples(&id(&format!("onnxruntime/fp32/batch-{batch}"))).unwrap();
            let taken = taken.with_samples()[0].clone();
            assert_eq!(taken.values.len(), taken.batch() * taken.row_len());
            // Always the probes, in order and again from the first.
            let probes = probes.floats();
            let again = probes.iter().cycle();
            assert!(taken.floats().iter().zip(again).all(|(left, right)| left == right), "batch {batch}");
            assert!(taken.batch().is_multiple_of(batch));
            taken.batch()
        })
        .collect();
    assert_eq!(counts, [8, 32, 40, 36, 30, 40, 41, 100]);
    assert_eq!(probes.batch(), OWN_PROBES);
}

/// What is fast must be right, by the limits of the cell and of so few samples.
#[test]
fn timed_outputs_are_held_to_the_reference() {
    let project = Project::new(BOTH, "");
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    let cell = id("onnxruntime/fp32/batch-4");
    let measurer = WorkspaceMeasurer::new(&workspace, &[], Some(expected(&workspace))).unwrap();
    let Expected::Scores(scores) = expected(&workspace) else { panic!("a classifier has scores") };
    let right: Vec<Vec<f32>> = scores.reference.floats().chunks(4 * CLASSES).map(<[f32]>::to_vec).collect();
    let check = |name: &str, outputs: Vec<Vec<f32>>| {
        let named = |values: Vec<f32>| vec![Tensor::float32(name, vec![values.len()], values).unwrap()];
        let measurement = Measurement { outputs: outputs.into_iter().map(named).collect(), ..no_measurement() };
        measurer.check(&cell, &measurement).map_err(|error| error.to_string())
    };
    assert_eq!(check("y", right.clone()), Ok(()));
    // A whole number of rounds and a part of one.
    assert_eq!(check("y", [right.clone(), right[..2].to_vec()].concat()), Ok(()));
    let words = |outcome: std::result::Result<(), String>| outcome.unwrap_err();
    let other = words(check("z", right.clone()));
    assert!(other.contains("output `y` is missing: got `z`"), "{other}");
    for outputs in [vec![], vec![vec![]], vec![right[0][..CLASSES].to_vec()]] {
        let none = words(check("y", outputs));
        assert!(none.contains("the measurement gave no outputs to check"), "{none}");
    }
    let mut swapped = right.clone();
    swapped.swap(0, 1);
    for wrong in [
        swapped,
        right.iter().map(|batch| batch.iter().map(|value| value * 1.5).collect()).collect(),
        right.iter().map(|batch| batch.iter().map(|_| f32::NAN).collect()).collect(),
    ] {
        let told = words(check("y", wrong));
        assert!(told.contains("outputs made while the clock ran"), "{told}");
    }
    // Where nobody knows the answers, none are held to.
    let blind = WorkspaceMeasurer::new(&workspace, &[], None).unwrap();
    assert!(blind.check(&cell, &no_measurement()).is_ok());
}

/// An engine that was judged is timed; another one is judged first, by its answers and by its precision.
#[rstest]
#[case::sound("fp16", 0.0, None)]
#[case::wrong("fp16", 9.0, Some("its outputs are wrong"))]
#[case::in_fp32("fp32", 0.0, Some("fp16"))]
fn an_engine_that_was_not_judged_is_judged_before_it_is_timed(
    #[case] computes_in: &'static str,
    #[case] off: f32,
    #[case] words: Option<&str>,
) {
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"fp16\"]", "");
    let open = move |request: &OpenRequest| -> Result<Box<dyn Session>> {
        let mut request = request.clone();
        if request.precision == Precision::Fp16 && computes_in == "fp32" {
            request.precision = Precision::Fp32;
        }
        Ok(Box::new(session(&request, move |input| {
            let mut output = answers(input);
            output.values.as_mut::<f32>().unwrap().iter_mut().step_by(CLASSES).for_each(|value| *value += off);
            Ok(vec![output])
        })))
    };
    let fakes = Fakes::of(open, healthy);
    let workspace = project.workspace(&fakes);
    let cell = id("tensorrt@10.11.0/fp16/batch-4");
    let mut measurer = WorkspaceMeasurer::new(&workspace, &[], Some(expected(&workspace))).unwrap();
    let source = crate::gate::workshop::artifact(ArtifactKind::OnnxFp16, None);
    let options = crate::gate::execute::session_options(&workspace.manifest);
    let open_cell = || OpenCell::open_with(&workspace, &cell, Some(source.clone()), &options, 1).unwrap();
    let outcome = measurer.judge(&cell, &mut open_cell());
    match words {
        None => {
            outcome.unwrap();
            // It is judged once.
            let runs = || fakes.seen().iter().filter(|(_, name)| *name == "run").count();
            let before = runs();
            measurer.judge(&cell, &mut open_cell()).unwrap();
            assert_eq!(runs(), before);
        }
        Some(words) => {
            let told = outcome.unwrap_err().to_string();
            assert!(told.contains("the engine that is to be timed, not the one that was judged, is wrong"), "{told}");
            assert!(told.contains(words), "{told}");
        }
    }
}

#[test]
fn an_engine_that_was_judged_is_not_judged_again() {
    let project = Project::new(BOTH, "");
    let fakes = Fakes::of(sound, healthy);
    let workspace = project.workspace(&fakes);
    let cell = id("tensorrt@10.11.0/fp32/batch-4");
    let open = OpenCell::open(&workspace, &cell).unwrap();
    let artifact = ArtifactRecord { kind: open.artifact.kind, sha256: open.artifact.sha256.clone(), bytes: 1 };
    drop(open);
    let judged = BenchCell {
        id: cell.clone(),
        runtime_version: String::new(),
        instruction_set: None,
        artifact: Some(artifact),
        contract: OPTIONS.contract(&cell),
    };
    let mut measurer = WorkspaceMeasurer::new(&workspace, &[judged], Some(expected(&workspace))).unwrap();
    let contract = TimingContract { streams: 1, ..OPTIONS.contract(&cell) };
    let measurement = measurer.measure(&cell, &contract, true).unwrap();
    assert_eq!(measurement.outputs.len(), BATCHES_IN_TURN);
    let names: Vec<&str> = fakes.seen().iter().map(|(_, name)| *name).collect();
    assert_eq!(names, ["build", "open", "open", "measure"], "a process of its own, and no run before the clock");
    assert_eq!(measurer.artifact(&cell).unwrap().kind, ArtifactKind::Engine);
    assert!(measurer.throttle_reasons(&cell).is_empty());
    assert!(measurer.artifact(&id("tensorrt@10.11.0/fp16/batch-4")).is_none());
}

/// A device that was slowed by its own limits, before or after, makes no good measurement; one that idles does.
#[test]
fn what_throttled_the_device_is_kept_with_the_cell() {
    let project = Project::new(BOTH, "");
    let state = |reasons: &[&str]| {
        let throttle_reasons = Some(reasons.iter().map(|&reason| reason.to_owned()).collect());
        Some(DeviceState { throttle_reasons, ..DeviceState::default() })
    };
    let fakes = Fakes::of(sound, move |call| match call.name() {
        "measure" => Step::Spoil(Box::new(move |reply, _| {
            let Reply::Measured { measurement, .. } = reply else { panic!("not a measurement") };
            measurement.device = Some(Box::new(DeviceMeasurement {
                before: state(&["gpu-idle", "sw-power-cap"]),
                after: state(&["hw-thermal-slowdown"]),
                ..DeviceMeasurement::default()
            }));
        })),
        _ => healthy(call),
    });
    let workspace = project.workspace(&fakes);
    let cell = id("onnxruntime/fp32/batch-4");
    let mut measurer = WorkspaceMeasurer::new(&workspace, &[], Some(expected(&workspace))).unwrap();
    measurer.measure(&cell, &TimingContract::host(), true).unwrap();
    assert_eq!(measurer.throttle_reasons(&cell), ["sw-power-cap", "hw-thermal-slowdown"]);
    assert!(measurer.throttle_reasons(&id("onnxruntime/fp32/batch-1")).is_empty());
}

#[test]
fn outputs_that_are_wrong_while_the_clock_runs_are_no_measurement() {
    let project = Project::new(BOTH, "");
    let fakes = Fakes::of(sound, |call| match call.name() {
        "measure" => Step::Spoil(Box::new(|reply, tensors| {
            assert!(matches!(reply, Reply::Measured { .. }));
            let values = tensors.iter_mut().filter_map(|tensor| tensor.values.as_mut::<f32>()).flatten();
            values.for_each(|value| *value += 1.0 + value.abs());
        })),
        _ => healthy(call),
    });
    let workspace = project.workspace(&fakes);
    let cell = id("onnxruntime/fp32/batch-4");
    let mut measurer = WorkspaceMeasurer::new(&workspace, &[], Some(expected(&workspace))).unwrap();
    let told = measurer.measure(&cell, &TimingContract::host(), true).unwrap_err().to_string();
    assert!(told.contains("outputs made while the clock ran are wrong"), "{told}");
    assert!(measurer.artifact(&cell).is_none());
}

fn report(cell: &str, status: Status, digest: Option<&str>) -> CellReport {
    let artifact = digest.map(|digest| crate::findings::ArtifactReport {
        kind: ArtifactKind::Engine,
        sha256: digest.to_owned(),
        bytes: 7,
        build_seconds: 0.0,
        cached: true,
    });
    CellReport { status, artifact, version: Some("1.2".to_owned()), ..CellReport::new(&id(cell), "") }
}

#[test]
fn only_cells_that_passed_are_measured() {
    let project = Project::new(BOTH, "");
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    let timing = Timing::new(&workspace, &OPTIONS).unwrap();
    assert_eq!(timing.thresholds.repetitions, 2);
    let reports: Vec<CellReport> = Status::ALL
        .iter()
        .zip([1, 2, 4, 8, 16])
        .map(|(&status, batch)| report(&format!("onnxruntime/fp32/batch-{batch}"), status, Some("digest")))
        .collect();
    let cells = timing.cells(&reports, &OPTIONS);
    assert_eq!(cells.len(), 1);
    assert_eq!(
        (cells[0].id.to_string().as_str(), cells[0].runtime_version.as_str()),
        ("onnxruntime/fp32/batch-1", "1.2")
    );
    assert_eq!(cells[0].artifact.as_ref().unwrap().sha256, "digest");
    assert_eq!(cells[0].contract, OPTIONS.contract(&cells[0].id));
    // At least one process a cell.
    let none = TimingOptions { repetitions: Some(0), ..OPTIONS };
    assert_eq!(Timing::new(&workspace, &none).unwrap().thresholds.repetitions, 1);
    let default = TimingOptions { repetitions: None, ..OPTIONS };
    assert_eq!(Timing::new(&workspace, &default).unwrap().thresholds, Thresholds::embedded().unwrap());
}

#[test]
fn what_was_built_and_not_run_is_counted_once_a_file() {
    let reports = [
        report("tensorrt@10.11.0/fp32/batch-1", Status::Unavailable, Some("one")),
        report("tensorrt@10.11.0/fp32/batch-4", Status::Unavailable, Some("one")),
        report("tensorrt@10.11.0/int8/batch-1", Status::Unavailable, Some("one")),
        report("tensorrt@10.11.0/int8/batch-4", Status::Unavailable, Some("two")),
        report("tensorrt@8.5.3/fp32/batch-1", Status::Unavailable, Some("one")),
        report("tensorrt@8.5.3/fp32/batch-4", Status::Unavailable, None),
        report("litert/int8/batch-1", Status::Pass, Some("one")),
    ];
    let built: Vec<Vec<String>> =
        Timing::built(&reports).iter().map(|built| built.cells.iter().map(ToString::to_string).collect()).collect();
    assert_eq!(
        built,
        [
            vec!["tensorrt@10.11.0/fp32/batch-1", "tensorrt@10.11.0/fp32/batch-4"],
            vec!["tensorrt@10.11.0/int8/batch-1"],
            vec!["tensorrt@10.11.0/int8/batch-4"],
            vec!["tensorrt@8.5.3/fp32/batch-1"],
        ]
    );
}

#[test]
fn baselines_are_of_a_model_by_its_name() {
    let mut manifest = Project::new(BOTH, "").manifest;
    let folder = tempfile::tempdir().unwrap();
    manifest.baselines = folder.path().join("baselines");
    assert!(!has_baselines(&manifest));
    std::fs::create_dir_all(manifest.baselines.join("a-cpu/other")).unwrap();
    assert!(!has_baselines(&manifest));
    std::fs::create_dir_all(manifest.baselines.join("a-gpu/m")).unwrap();
    assert!(has_baselines(&manifest));
    assert_eq!(Library::Tensorrt.as_str(), "tensorrt");
}

/// An engine has a context a stream, and no fewer than its profiles; without a card there is one.
#[test]
fn an_engine_serves_its_streams_and_its_profiles() {
    let project = Project::new(BOTH, "");
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    let mut measurer = WorkspaceMeasurer::new(&workspace, &[], None).unwrap();
    measurer.profiles = 3;
    let streams =
        |cell: &str, streams: usize| measurer.streams(&id(cell), &TimingContract { streams, ..TimingContract::host() });
    assert_eq!((streams("tensorrt@10.11.0/fp32/batch-1", 2), streams("tensorrt@10.11.0/fp32/batch-1", 5)), (3, 5));
    assert_eq!((streams("onnxruntime/fp32/batch-1", 2), streams("onnxruntime/fp32/batch-1", 1)), (2, 1));
}

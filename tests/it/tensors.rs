//! Typed tensors through real runtimes, from the gate through a worker and back.

use std::path::{Path, PathBuf};
use std::process::Command;

use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;
use trtgate::internals::findings::{CellReport, Report};
use trtgate::internals::runtime::{OpenRequest, SessionOptions};
use trtgate::internals::tensor::{ElementType, Feeds, Tensor, Values};
use trtgate::internals::timing::contract::TimingContract;
use trtgate::internals::vocabulary::{ArtifactKind, Library, Precision, Status};
use trtgate::internals::worker::{Limits, Worker, WorkerProgram};

use crate::context::{Context, Run, program, report};
use crate::drivers::installation;

/// Writes the models into `folder`; with TensorFlow's where `forms` says so.
fn models(folder: &Path, forms: &[&str]) {
    let environment = find_in(&Store::open(None).unwrap(), EXPORT).expect("`trtgate export` installs the environment");
    let python = environment.python.expect("the export environment has no Python");
    let script = include_str!("tensors_models.py");
    let output = Command::new(python).args(["-c", script]).arg(folder).args(forms).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn worker(library: Library, artifact: PathBuf, kind: ArtifactKind, batch: usize) -> Worker {
    let program = WorkerProgram::of(program());
    let mut worker = Worker::start(&program, Limits::default()).unwrap();
    let precision = if kind == ArtifactKind::TfliteInt8 { Precision::Int8 } else { Precision::Fp32 };
    let options = SessionOptions { intra_threads: 1, ..SessionOptions::default() };
    let request = OpenRequest { installation: installation(library), artifact, kind, precision, batch, options };
    worker.open(&request).unwrap_or_else(|error| panic!("{library}: {error}"));
    worker
}

#[test]
fn integers_beyond_the_floats_stay_exact_from_end_to_end() {
    let folder = tempfile::tempdir().unwrap();
    models(folder.path(), &[]);
    let mut worker = worker(Library::Onnxruntime, folder.path().join("int64.onnx"), ArtifactKind::OnnxFp32, 2);
    // None of them is an `f32`, the later ones no `f64` either.
    let numbers = vec![(1 << 24) + 1, -(1 << 24) - 3, (1 << 53) + 1, i64::MAX - 1, i64::MIN, 0];
    let input = Tensor::new("x", vec![3, 2], Values::Int64(numbers.clone())).unwrap();
    let outputs = worker.run(&input, 2, false).unwrap().outputs;
    assert_eq!((outputs.len(), outputs[0].element_type()), (1, ElementType::Int64));
    let expected: Vec<i64> = numbers.iter().map(|number| number + 1).collect();
    assert_eq!(outputs[0].values.as_slice::<i64>().unwrap(), expected);

    let floats = Tensor::float32("x", vec![1, 2], vec![1.0, 2.0]).unwrap();
    let error = worker.run(&floats, 2, false).unwrap_err();
    assert_eq!(error.message, "`x` is float32, expected int64");
}

/// Two inputs of five samples, and what three outputs have to be.
fn several() -> (Feeds, [(&'static str, Values); 3]) {
    let ids: Vec<i64> = (0..15).map(|index| (1 << 53) + index).collect();
    let mask: Vec<bool> = (0..15).map(|index| index % 4 != 1).collect();
    let feeds = Feeds::new(
        vec![
            // Not in the model's order: names decide.
            Tensor::new("mask", vec![5, 3], Values::Bool(mask.clone())).unwrap(),
            Tensor::new("ids", vec![5, 3], Values::Int64(ids.clone())).unwrap(),
        ],
        vec![],
    );
    let expected = [
        ("next", Values::Int64(ids.iter().zip(&mask).map(|(id, &more)| id + i64::from(more)).collect())),
        ("share", Values::Float32(mask.iter().map(|&more| if more { 0.25 } else { 0.0 }).collect())),
        ("rest", Values::Bool(mask.iter().map(|more| !more).collect())),
    ];
    (feeds.unwrap(), expected)
}

/// Every runtime of a processor, with the batch that its model is made for; the fifth sample fills no batch alone.
#[test]
fn several_typed_inputs_and_outputs_go_by_name_through_every_runtime() {
    let folder = tempfile::tempdir().unwrap();
    models(folder.path(), &["tensorflow"]);
    for (library, name, kind, pad) in [
        (Library::Onnxruntime, "several.onnx", ArtifactKind::OnnxFp32, false),
        (Library::Tensorflow, "several", ArtifactKind::SavedModel, false),
        (Library::Litert, "several.tflite", ArtifactKind::TfliteInt8, true),
    ] {
        let mut worker = worker(library, folder.path().join(name), kind, 4);
        let (feeds, expected) = several();
        let outputs = worker.run(&feeds, 4, pad).unwrap().outputs;
        assert_eq!(outputs.len(), expected.len(), "{library}");
        for (name, values) in &expected {
            let found = outputs.iter().find(|output| output.name == *name);
            let found = found.unwrap_or_else(|| panic!("{library} gave no `{name}`"));
            assert_eq!((found.shape.as_slice(), &found.values), (&[5, 3][..], values), "{library}, `{name}`");
        }
        // What is measured is what was run, all of it, by name.
        let contract = TimingContract { warm_up_milliseconds: 1, duration_milliseconds: 2, ..TimingContract::host() };
        let measured = worker.measure(&feeds.first(4).unwrap(), 4, &contract).unwrap();
        let mut names: Vec<&str> = measured.outputs[0].iter().map(|output| output.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!((measured.outputs.len(), names.as_slice()), (1, &["next", "rest", "share"][..]), "{library}");
        for (name, values) in &expected {
            let found = measured.outputs[0].iter().find(|output| output.name == *name).unwrap();
            assert_eq!(found.values, values.part(0, 12).unwrap(), "{library}, `{name}`");
        }
        let alone = feeds.get("ids").unwrap();
        assert_eq!(worker.run(alone, 4, pad).unwrap_err().message, "input `mask` is not fed", "{library}");
    }
}

/// A stranger's model of three inputs and three outputs of three types: `init`, then a gate in FP32 and FP16.
#[test]
fn a_model_of_several_inputs_is_gated_by_what_init_writes() {
    let context = Context::new();
    models(context.folder.path(), &[]);
    let init = context.run(&["init", "--onnx", "matcher.onnx"]);
    assert_eq!(init.code, 0, "{}", init.shown());
    insta::assert_snapshot!(init.stderr);
    let run = context.run(&["gate", "--json", "report.json"]);
    assert_eq!(run.code, 0, "{}", run.shown());
    let sound = report(&context.path("report.json"));
    let statuses: Vec<(Precision, u32, Status, bool)> =
        sound.cells.iter().map(|cell| (cell.precision, cell.batch, cell.status, cell.is_reference)).collect();
    assert_eq!(
        statuses,
        [
            (Precision::Fp32, 1, Status::Pass, true),
            (Precision::Fp32, 8, Status::Pass, true),
            (Precision::Fp16, 1, Status::Pass, false),
            (Precision::Fp16, 8, Status::Pass, false)
        ]
    );
    // Whole numbers are looked at too, and halves are halves.
    let details: Vec<&str> = sound.cells[3].checks.iter().map(|check| check.detail.as_str()).collect();
    assert!(details.contains(&"output `next`: 512 values are equal"), "{details:?}");
    assert!(sound.cells[3].error.as_ref().is_some_and(|error| error.sqnr_db < 90.0), "{:?}", sound.cells[3].error);

    for (fault, words) in [
        (
            "scale=right@run/onnxruntime/fp16",
            "output `right`: the signal is 39.8 dB above the noise, 44 dB are asked; all of it is scaled by 1.01",
        ),
        ("swap-outputs@run/onnxruntime/fp16", "output `left`: outputs `left` and `right` hold each other's values"),
        ("swap-slots@run/onnxruntime/fp16", "values"),
        ("short@run/onnxruntime/fp16", "it has shape [63, 4], the reference has [64, 4]"),
        ("nan@run/onnxruntime/fp16", "values are numbers on one side only"),
    ] {
        let mut command = context.command(&["gate", "--batch", "8", "--json", "report.json"]);
        let run = Run::of(command.env("TRTGATE_TEST_FAULT", fault).output().unwrap(), context.folder.path());
        let found = report(&context.path("report.json"));
        let cells: Vec<Status> = found.cells.iter().map(|cell| cell.status).collect();
        assert_eq!((run.code, cells), (1, vec![Status::Pass, Status::Fail]), "{fault}: {}", run.shown());
        let reason = found.cells[1].reason.clone().unwrap_or_default();
        assert!(reason.contains(words), "{fault}: {reason}");
    }
    // It is measured too: its outputs are held to the reference while the clock runs.
    let timed = ["--batch", "8", "--duration", "0.2", "--repetitions", "2"];
    let run = context.run(&[&["bench", "--json", "report.json"][..], &timed].concat());
    let measured = report(&context.path("report.json"));
    assert!(measured.cells.iter().all(|cell| cell.timing.is_some()), "{}", run.shown());
    let run = context.run(&[&["bless", "--baselines", "--reason", "a test", "--force"][..], &timed].concat());
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(run.stderr.contains("stored 3 baselines"), "{}", run.shown());
    assert!(run.stderr.contains("added `[require] baselines = true`"), "{}", run.shown());
    // A later measurement is held to them, and there has to be one.
    let unheld = || {
        let run = context.run(&[&["gate", "--bench", "--json", "report.json"][..], &timed].concat());
        (run.stdout.contains("a baseline is required"), run)
    };
    let (unheld_now, run) = unheld();
    assert!(!unheld_now, "{}", run.shown());
    std::fs::rename(context.path("baselines"), context.path("elsewhere")).unwrap();
    let (unheld_now, run) = unheld();
    assert!(unheld_now && run.code != 0, "{}", run.shown());
    std::fs::rename(context.path("elsewhere"), context.path("baselines")).unwrap();

    // In 8 bits, where it is asked for by name: calibrated on whole numbers and booleans too.
    let manifest = context.path("gate.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let asked = text.replace("[\"fp32\", \"fp16\"]", "[\"fp32\", \"int8\"]");
    assert_ne!(asked, text);
    std::fs::write(&manifest, &asked).unwrap();
    let run = context.run(&["gate", "--json", "report.json"]);
    let quantised = report(&context.path("report.json"));
    let found: Vec<(Precision, Status)> = quantised.cells.iter().map(|cell| (cell.precision, cell.status)).collect();
    let expected = [(Precision::Fp32, Status::Pass); 2].into_iter().chain([(Precision::Int8, Status::Pass); 2]);
    assert_eq!(found, expected.collect::<Vec<_>>(), "{}", run.shown());
    let error = quantised.cells[3].error.as_ref().unwrap();
    assert!(error.sqnr_db < 50.0, "8 bits were looked at: {error:?}");

    // What is exported is gated as it was carried, its scales too, which are looked at where it lies.
    let run = context.run(&["export", "--output", "carried"]);
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(context.path("carried").join("matcher.calibration.npz").is_file(), "{}", run.shown());
    let run = context.run(&["gate", "--artifacts", "carried", "--json", "carried.json"]);
    let carried = report(&context.path("carried.json"));
    let cells = |report: &Report| {
        let of = |cell: &CellReport| (cell.id().to_string(), cell.status, cell.artifact.clone().map(|one| one.sha256));
        report.cells.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!((run.code, cells(&carried)), (0, cells(&quantised)), "{}", run.shown());
    std::fs::write(&manifest, &text).unwrap();
    // The others know it too, in FP32 and FP16: nothing is calibrated, and nothing carried for it.
    let run = context.run(&["export", "--output", "plain"]);
    assert!(run.code == 0 && !run.stdout.contains("int8"), "{}", run.shown());
    let run = context.run(&["compare", "--all", "--no-timing"]);
    assert!(run.code == 0 && run.stdout.contains("fp16"), "{}", run.shown());
    let run = context.run(&["doctor"]);
    assert!(run.code == 0 && run.stdout.contains("matcher (sha256"), "{}", run.shown());
    let run = context.run(&["build", "--runtime", "tensorrt@1", "--max-batch", "8"]);
    assert!(run.code == 2 && run.stderr.contains("are those of its manifest"), "{}", run.shown());
    let run = context.run(&["build", "--runtime", "onnxruntime"]);
    assert!(run.code == 2 && run.stderr.contains("builds no engines"), "{}", run.shown());
    // What reads and makes files of one input says so.
    let run = context.run(&["data", "probes", "--out", "probes.npz"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains("has `[[input]]`, and this command knows classifiers of one input"), "{}", run.stderr);
}

//! Models of several inputs and outputs whose source is not ONNX: through `init`, the gate, a golden, and a fault that is named.

use std::path::Path;
use std::process::Command;

use trtgate::internals::convert::environment::{EXPORT, ensure};
use trtgate::internals::findings::Report;
use trtgate::internals::progress::Quiet;
use trtgate::internals::vocabulary::{Library, Precision, Status};

use crate::context::{Context, Run, report, succeeded};

/// Writes the models into `folder`.
fn models(folder: &Path) {
    let python = ensure(EXPORT, &Quiet).unwrap().python.expect("the export environment's interpreter");
    let script = include_str!("several_sources_models.py");
    let output = Command::new(python).args(["-c", script]).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runtime, precision, batch and status of every cell, the reference's marked.
fn cells(report: &Report) -> Vec<(Library, Precision, u32, Status, bool)> {
    let of = |cell: &trtgate::internals::findings::CellReport| {
        (cell.runtime.library, cell.precision, cell.batch, cell.status, cell.is_reference)
    };
    report.cells.iter().map(of).collect()
}

/// A run of the gate with `fault` planted.
fn faulty(context: &Context, fault: &str) -> Run {
    let mut command = context.command(&["gate", "--json", "report.json"]);
    command.env("TRTGATE_TEST_FAULT", fault);
    Run::of(command.output().unwrap(), context.folder.path())
}

#[test]
fn a_saved_model_of_several_inputs_is_gated_against_tensorflow() {
    let context = Context::new();
    models(context.folder.path());
    let run = succeeded(context.run(&["init", "--saved-model", "several"]));
    assert!(run.stderr.contains("found by running: `ids-1 = [16]`"), "{}", run.shown());
    let written = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    // What the words are looked up in has 50 rows, which no SavedModel's border says.
    let ids = written.replace("integers = [0, 9]", "integers = [0, 49]").replace("ids-1 = [16]", "ids-1 = [4, 12]");
    assert_ne!(ids, written);
    std::fs::write(context.path("gate.toml"), ids).unwrap();
    succeeded(context.run(&["gate", "--shape", "ids-1=4", "--json", "report.json"]));
    let (tensorflow, onnxruntime) = (Library::Tensorflow, Library::Onnxruntime);
    let expected = |faulty: Status| {
        [
            (tensorflow, Precision::Fp32, 1, Status::Pass, true),
            (tensorflow, Precision::Fp32, 8, Status::Pass, true),
            (onnxruntime, Precision::Fp32, 1, faulty, false),
            (onnxruntime, Precision::Fp32, 8, faulty, false),
            (onnxruntime, Precision::Fp16, 1, Status::Pass, false),
            (onnxruntime, Precision::Fp16, 8, Status::Pass, false),
        ]
    };
    let sound = report(&context.path("report.json"));
    assert_eq!(cells(&sound), expected(Status::Pass));
    let names: Vec<&str> = sound.cells[2].outputs.iter().map(|found| found.output.as_str()).collect();
    assert_eq!(names, ["scores", "vector", "words"]);
    // Another library sums in another order: it is not the reference that answered here.
    assert!(sound.cells[2].outputs[0].error.max_abs > 0.0, "{:?}", sound.cells[2].outputs[0]);

    // A golden holds the reference itself from then on, at one shape.
    let one = std::fs::read_to_string(context.path("gate.toml")).unwrap().replace("[4, 12]", "[12]");
    std::fs::write(context.path("gate.toml"), one).unwrap();
    succeeded(context.run(&["bless", "--reason", "first"]));
    let run = faulty(&context, "scale=vector@run/onnxruntime/fp32");
    let found = report(&context.path("report.json"));
    assert_eq!(run.code, 1, "{}", run.shown());
    let statuses: Vec<Status> = found.cells.iter().map(|cell| cell.status).collect();
    assert_eq!(statuses, expected(Status::Fail).map(|(.., status, _)| status));
    let run = faulty(&context, "scale=vector@run/tensorflow/fp32");
    let found = report(&context.path("report.json"));
    assert_eq!((run.code, found.cells[0].status), (1, Status::Fail), "{}", run.shown());
}

#[test]
fn quantised_onnx_comes_of_a_saved_model_of_several_inputs() {
    let context = Context::new();
    models(context.folder.path());
    let manifest = r#"
schema = 1
[model]
name = "several"
saved-model = "several"
[[input]]
name = "ids"
shape = [12]
values = { integers = [0, 49] }
[[input]]
name = "picture"
values = { image = [0.0, 1.0] }
[[output]]
name = "scores"
task = "classification"
[[output]]
name = "words"
task = "tokens"
[probes]
count = 64
[matrix]
batches = [8]
[matrix.runtimes]
tensorflow = ["fp32"]
onnxruntime = ["int8"]
"#;
    context.write("gate.toml", manifest);
    let run = context.run(&["gate", "--json", "report.json"]);
    let found = report(&context.path("report.json"));
    assert_eq!(run.code, 0, "{}", run.shown());
    assert_eq!(
        cells(&found),
        [
            (Library::Tensorflow, Precision::Fp32, 8, Status::Pass, true),
            (Library::Onnxruntime, Precision::Int8, 8, Status::Pass, false)
        ]
    );
    // What is not made is refused in words, before anything runs.
    context.write("gate.toml", &manifest.replace("onnxruntime = [\"int8\"]", "litert = [\"int8\"]"));
    let run = context.run(&["gate"]);
    assert!(run.code == 2 && run.stderr.contains("is not made yet"), "{}", run.shown());
    // An input that the signature does not have is named, with those that it has.
    context.write("gate.toml", &manifest.replace("name = \"ids\"", "name = \"id\""));
    let run = context.run(&["gate"]);
    assert!(run.code == 2 && run.stderr.contains("the model has `ids`, `picture`"), "{}", run.shown());
}

#[test]
fn a_tflite_file_is_gated_against_litert() {
    let context = Context::new();
    models(context.folder.path());
    let run = succeeded(context.run(&["init", "--tflite", "floats.tflite"]));
    assert!(run.stderr.contains("of `ids`"), "{}", run.shown());
    succeeded(context.run(&["gate", "--json", "report.json"]));
    let (litert, onnxruntime) = (Library::Litert, Library::Onnxruntime);
    let expected = |fp16: Status| {
        [
            (onnxruntime, Precision::Fp32, 4, Status::Pass, false),
            (onnxruntime, Precision::Fp16, 4, fp16, false),
            (litert, Precision::Fp32, 4, Status::Pass, true),
        ]
    };
    let sound = report(&context.path("report.json"));
    assert_eq!(cells(&sound), expected(Status::Pass));
    assert!(sound.cells[0].outputs[0].error.max_abs > 0.0, "another library sums in another order");
    let run = faulty(&context, "scale=vector@run/onnxruntime/fp16");
    assert_eq!((run.code, cells(&report(&context.path("report.json")))), (1, expected(Status::Fail).to_vec()));

    // A file has one batch, and integers are no source.
    let written = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    std::fs::write(context.path("gate.toml"), written.replace("batches = [4]", "batches = [1, 4]")).unwrap();
    let run = context.run(&["gate"]);
    assert!(run.code == 2 && run.stderr.contains("the TFLite file is of batch 4"), "{}", run.shown());
    let run = context.run(&["init", "--tflite", "integers.tflite", "--force"]);
    assert!(run.code == 2 && run.stderr.contains("it computes in integers"), "{}", run.shown());
    let run = context.run(&["init", "--tflite", "gate.toml", "--force"]);
    assert!(run.code == 2 && run.stderr.contains("it is not a TFLite model"), "{}", run.shown());
}

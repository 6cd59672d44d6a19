//! Models of several inputs and outputs whose source is not ONNX: through `init`, the gate, a golden, and a fault that is named.

use std::path::Path;
use std::process::Command;

use prost::Message as _;
use trtgate::internals::convert::Artifact;
use trtgate::internals::convert::environment::{EXPORT, ensure};
use trtgate::internals::digest::digest_file;
use trtgate::internals::findings::Report;
use trtgate::internals::gate::{Options, Workspace, proofs_of_scales};
use trtgate::internals::onnx;
use trtgate::internals::progress::Quiet;
use trtgate::internals::vocabulary::{ArtifactKind, Library, Precision, Status};
use trtgate::internals::worker::WorkerProgram;

use crate::context::{Context, Run, program, report, succeeded};

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
    let manifest = of_a_saved_model(
        "[12]",
        r#"
[probes]
count = 64
[matrix]
batches = [8]
[matrix.runtimes]
tensorflow = ["fp32"]
onnxruntime = ["int8"]
"#,
    );
    context.write("gate.toml", &manifest);
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
    // Every pair and every stored tensor has the scale that its calibration gives.
    let scales = |found: &Report| {
        let checks = found.cells.iter().flat_map(|cell| &cell.checks);
        let found: Vec<_> = checks.filter(|check| check.name == "scales").cloned().collect();
        let [scales] = found.as_slice() else { panic!("{found:?}") };
        scales.clone()
    };
    let sound = scales(&found);
    assert_eq!((sound.status, sound.gating), (Status::Pass, true), "{}", sound.detail);
    assert!(sound.detail.ends_with("constants have the scales of their ranges"), "{}", sound.detail);
    let run = context.run(&["drill", "--no-scan", "--fault", "scale", "--fault", "fallback", "--json", "drill.json"]);
    assert_eq!(run.code, 0, "{}", run.shown());
    let drill: serde_json::Value = serde_json::from_slice(&std::fs::read(context.path("drill.json")).unwrap()).unwrap();
    let catches = drill["catches"].as_array().unwrap();
    assert_eq!(catches.len(), 2, "{}", run.shown());
    assert!(catches[0]["by"].to_string().contains("scales"), "{}", catches[0]);
    assert!(catches[0]["reason"].to_string().contains("a scale 2.00 times that of its range"), "{}", catches[0]);
    assert!(catches[1]["by"].to_string().contains("precision-proof"), "{}", catches[1]);
    a_doubled_scale_of_an_activation_is_named(&context);

    // An input that the signature does not have is named, with those that it has.
    context.write("gate.toml", &manifest.replace("name = \"ids\"", "name = \"id\""));
    let run = context.run(&["gate"]);
    assert!(run.code == 2 && run.stderr.contains("the model has `ids`, `picture`"), "{}", run.shown());
}

/// The scale of each Q/DQ pair on an activation doubled, one after the other, on both sides: no output shows it.
fn a_doubled_scale_of_an_activation_is_named(context: &Context) {
    let options = Options { several: true, ..Options::new(context.path("gate.toml"), WorkerProgram::of(program())) };
    let workspace = Workspace::open(&options).unwrap();
    let artifact = workspace.artifact(ArtifactKind::OnnxInt8Cpu, None).unwrap();
    let bytes = std::fs::read(&artifact.path).unwrap();
    let model = onnx::parse(&bytes).unwrap();
    let graph = model.graph.as_ref().unwrap();
    let scales = graph.node.iter().filter(|node| node.op_type == "QuantizeLinear").map(|node| node.input[1].clone());
    let mut planted = 0;
    for scale in scales {
        let mut changed = model.clone();
        let stored = changed.graph.as_mut().unwrap().initializer.iter_mut().find(|tensor| tensor.name == scale);
        let values = stored.unwrap();
        let doubled: Vec<u8> =
            onnx::numbers(values).unwrap().iter().flat_map(|value| (2.0 * *value as f32).to_le_bytes()).collect();
        values.raw_data = Some(doubled.into());
        values.float_data.clear();
        let path = context.path("doubled.onnx");
        std::fs::write(&path, changed.encode_to_vec()).unwrap();
        let file = Artifact { sha256: digest_file(&path).unwrap(), path, ..artifact.clone() };
        let found = proofs_of_scales(&workspace, std::iter::once(&file));
        let proof = found[0].1.as_ref().unwrap();
        let named = proof.faults.iter().any(|fault| fault.contains("times that of its calibration"));
        assert!(named, "{scale}: {:?}", proof);
        planted += 1;
    }
    assert!(planted > 0, "the graph quantises nothing");
}

/// A manifest of the SavedModel, whose `ids` have this shape; `rest` is what follows its first two outputs.
fn of_a_saved_model(ids: &str, rest: &str) -> String {
    format!(
        r#"
schema = 1
[model]
name = "several"
saved-model = "several"
[[input]]
name = "ids"
shape = {ids}
values = {{ integers = [0, 49] }}
[[input]]
name = "picture"
values = {{ image = [0.0, 1.0] }}
[[output]]
name = "scores"
task = "classification"
[[output]]
name = "words"
task = "tokens"
{rest}"#
    )
}

const OF_LITERT: &str = r#"[[output]]
name = "vector"
task = "embedding"
[shapes]
length = 12
[probes]
count = 64
[matrix]
batches = [1, 8]
[matrix.runtimes]
tensorflow = ["fp32"]
litert = ["int8"]
"#;

/// Pictures become integers, whole numbers stay what they are; what LiteRT cannot take is `unsupported`, in words.
#[test]
fn a_tflite_file_in_int8_comes_of_a_saved_model_of_several_inputs() {
    let context = Context::new();
    models(context.folder.path());
    let manifest = of_a_saved_model("[\"length\"]", OF_LITERT);
    context.write("gate.toml", &manifest);
    let run = context.run(&["gate", "--json", "report.json"]);
    let found = report(&context.path("report.json"));
    let litert = |status: Status| [1, 8].map(|batch| (Library::Litert, Precision::Int8, batch, status, false));
    let reference = [1, 8].map(|batch| (Library::Tensorflow, Precision::Fp32, batch, Status::Pass, true));
    assert_eq!(cells(&found), [reference, litert(Status::Pass)].concat(), "{}", run.shown());
    let cell = &found.cells[3];
    let of = |name: &str| cell.outputs.iter().find(|found| found.output == name).unwrap();
    assert!(of("vector").error.max_abs > 0.0, "8 bits were looked at: {:?}", of("vector"));
    assert_eq!(of("words").error.max_abs, 0.0, "whole numbers are what they are");
    let proof = cell.checks.iter().find(|check| check.name == "precision-proof").unwrap();
    assert_eq!(proof.status, Status::Pass, "{}", proof.detail);
    let run = faulty(&context, "swap-classes=scores@run/litert/int8");
    let found = report(&context.path("report.json"));
    assert_eq!((run.code, cells(&found)), (1, [reference, litert(Status::Fail)].concat()), "{}", run.shown());

    for (from, to, words) in [
        ("length = 12", "length = [12, 16]", "it has one shape, and `[shapes]` names several"),
        ("batches = [1, 8]", "batches = [8]\n", ""),
    ] {
        context.write("gate.toml", &manifest.replace(from, to));
        let run = context.run(&["gate", "--runtime", "litert", "--json", "report.json"]);
        let found = report(&context.path("report.json"));
        let expected = if words.is_empty() { Status::Pass } else { Status::Unsupported };
        assert!(found.cells.iter().all(|cell| cell.status == expected), "{}", run.shown());
        let reasons: Vec<String> = found.cells.iter().filter_map(|cell| cell.reason.clone()).collect();
        assert!(reasons.iter().all(|reason| reason.contains(words)), "{reasons:?}");
    }
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

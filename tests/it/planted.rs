//! Faults planted in artifacts of a model of several inputs, or in what runs them: each is caught by the gate and named.

use std::process::Command;

use rstest::rstest;
use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;
use trtgate::internals::digest::digest_file;
use trtgate::internals::findings::{CellReport, OutputFinding};
use trtgate::internals::vocabulary::Status;

use crate::context::{Context, Run, report};

const MANIFEST: &str = r#"
schema = 1
[model]
name = "planted"
onnx = "model.onnx"
[[input]]
name = "ids"
values = { integers = [0, 499] }
[[input]]
name = "mask"
values = "mask"
[[output]]
name = "vector"
task = "embedding"
[[output]]
name = "other"
task = "values"
[[output]]
name = "words"
task = "tokens"
[probes]
count = 64
[matrix]
batches = [8]
[matrix.runtimes]
onnxruntime = ["fp32", "fp16"]
"#;

/// The model and its artifacts, the copy `artifact` in half precision among them.
fn prepared(artifact: &str) -> Context {
    let context = Context::new();
    let environment = find_in(&Store::open(None).unwrap(), EXPORT).expect("`trtgate export` installs the environment");
    let python = environment.python.expect("the export environment has no Python");
    let script = include_str!("planted_models.py");
    let made = Command::new(python).args(["-c", script]).arg(context.folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let entry = |kind: &str, file: &str| {
        let path = context.path(file);
        let bytes = std::fs::metadata(&path).unwrap().len();
        serde_json::json!({ "kind": kind, "file": file, "sha256": digest_file(&path).unwrap(), "bytes": bytes })
    };
    let list = serde_json::json!({
        "schema": "trtgate.artifacts/v1",
        "model": "planted",
        "model_sha256": digest_file(&context.path("model.onnx")).unwrap(),
        "artifacts": [entry("onnx-fp32", "model.onnx"), entry("onnx-fp16", &format!("{artifact}.onnx"))],
    });
    context.write("artifacts.json", &list.to_string());
    context.write("gate.toml", MANIFEST);
    context
}

/// Gates the model with the copy `artifact` in half precision, and `fault` in its worker; what became of that cell.
fn gated(artifact: &str, fault: &str) -> (Run, CellReport) {
    let context = prepared(artifact);
    let mut command = context.command(&["gate", "--artifacts", ".", "--json", "report.json"]);
    if !fault.is_empty() {
        command.env("TRTGATE_TEST_FAULT", format!("{fault}@run/onnxruntime/fp16"));
    }
    let run = Run::of(command.output().unwrap(), context.folder.path());
    let path = context.path("report.json");
    assert!(path.is_file(), "no report: {}", run.shown());
    let cell = report(&path).cells.pop().unwrap();
    (run, cell)
}

fn finding<'a>(cell: &'a CellReport, output: &str) -> &'a OutputFinding {
    cell.outputs.iter().find(|found| found.output == output).unwrap()
}

#[test]
fn the_sound_copy_passes() {
    let (run, cell) = gated("sound", "");
    assert_eq!((run.code, cell.status), (0, Status::Pass), "{}", run.shown());
    assert!(finding(&cell, "vector").error.max_abs > 0.0, "halves are halves");
}

#[rstest]
#[case::mask(
    "mask",
    "",
    "output `vector`: padding changes the answer: `vector` is right for the ",
    "as if the mask `mask` were not read"
)]
#[case::order("order", "", "output `vector`: outputs `vector` and `other` hold each other's values", "")]
#[case::token("token", "", "output `words`: ", " instead of ")]
#[case::state(
    "sound",
    "state=vector",
    "output `vector`: what the first call answers is right, what later ones do depends on the samples before them",
    "(state that is not reset)"
)]
fn a_planted_fault_is_caught_and_named(
    #[case] artifact: &str,
    #[case] fault: &str,
    #[case] start: &str,
    #[case] words: &str,
) {
    let (run, cell) = gated(artifact, fault);
    assert_eq!((run.code, cell.status), (1, Status::Fail), "{}", run.shown());
    let reason = cell.reason.clone().unwrap_or_default();
    assert!(reason.starts_with(start) && reason.contains(words), "{reason}");
    // What is not touched is judged as before.
    let sound: &[&str] = match artifact {
        "mask" | "order" => &["words"],
        "token" => &["vector", "other"],
        _ => &["other", "words"],
    };
    assert!(sound.iter().all(|output| finding(&cell, output).status == Status::Pass), "{}", run.shown());
    if artifact == "token" {
        // One of 500 tokens, in 768.
        assert!((1..=4).contains(&finding(&cell, "words").confident), "{:?}", finding(&cell, "words"));
    }
}

#[test]
fn the_layer_that_is_off_is_named_for_the_output_that_fails() {
    let explained = |artifact: &str| {
        let context = prepared(artifact);
        let run =
            context.run(&["explain", "onnxruntime/fp16/batch-8", "--artifacts", ".", "--json", "explanation.json"]);
        let path = context.path("explanation.json");
        assert!(path.is_file(), "no explanation: {}", run.shown());
        (run, serde_json::from_slice::<serde_json::Value>(&std::fs::read(path).unwrap()).unwrap())
    };
    let (run, sound) = explained("sound");
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(sound["found"].is_null(), "{}", run.shown());
    let (run, broken) = explained("layer");
    assert_eq!(run.code, 1, "{}", run.shown());
    assert_eq!(broken["found"]["tensor"], "other/product", "{}", run.shown());
    assert_eq!(broken["found"]["fault"], "constant", "{}", run.shown());
    let outputs = broken["outputs"].as_array().unwrap();
    let of = |name: &str| outputs.iter().find(|output| output["output"] == name).unwrap();
    assert_eq!((&of("vector")["status"], of("vector")["found"].is_null()), (&"pass".into(), true));
    assert_eq!((&of("other")["status"], &of("other")["found"]["tensor"]), (&"fail".into(), &"other/product".into()));
    assert!(run.stdout.contains("it parts at `other/product`"), "{}", run.shown());
}

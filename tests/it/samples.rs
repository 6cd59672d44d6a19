//! Samples from anywhere: npz, ONNX's test data sets and Polygraphy's JSON are fed, and what their authors expect is held.

use trtgate::internals::findings::Report;
use trtgate::internals::vocabulary::{Precision, Status};

use crate::axes::gate;
use crate::context::Context;

const MANIFEST: &str = r#"schema = 1
[model]
name = "joined"
onnx = "joined.onnx"
[[input]]
name = "ids"
values = { integers = [0, 9] }
[[input]]
name = "mask"
values = { uniform = [0.0, 1.0] }
[[output]]
name = "y"
task = "values"
[[output]]
name = "n"
task = "values"
[probes]
data = "inputs.json"
expected = "outputs.json"
[matrix]
batches = [1, 8]
[matrix.runtimes]
onnxruntime = ["fp32", "fp16"]
"#;

/// A folder with what Polygraphy wrote, and its model.
fn context() -> Context {
    let context = Context::new();
    for file in ["joined.onnx", "inputs.json", "outputs.json"] {
        let kept = std::env::current_dir().unwrap().join("tests/fixtures/polygraphy").join(file);
        std::fs::copy(kept, context.path(file)).unwrap();
    }
    context
}

fn reference(report: &Report) -> Vec<(Status, bool)> {
    let cells = report.cells.iter().filter(|cell| cell.precision == Precision::Fp32);
    cells.map(|cell| (cell.status, cell.is_reference)).collect()
}

#[test]
fn what_polygraphy_saved_is_fed_and_the_reference_is_held_to_it() {
    let context = context();
    let (run, report) = gate(&context, MANIFEST, None);
    assert_eq!(run.code, 0, "{}", run.shown());
    assert_eq!(reference(&report), [(Status::Pass, false); 2]);
    let told = report.notes.join("\n");
    assert!(told.contains("4 samples of `inputs.json`, taken again until they fill a batch of 8"), "{told}");
    assert!(told.contains("held to the answers that its authors expect (`outputs.json`), as to a golden"), "{told}");
    assert_eq!(report.cells[0].checks[0].name, "expected-answers");
    assert!(
        report.cells.iter().skip(2).all(|cell| cell.checks[0].name != "expected-answers"),
        "conversions have the reference"
    );

    // Another model than the authors': the reference itself is wrong.
    let (run, found) = gate(&context, MANIFEST, Some("scale=y@run/onnxruntime/fp32"));
    assert_eq!((run.code, found.cells[0].status), (1, Status::Fail), "{}", run.shown());
    let reason = found.cells[0].reason.clone().unwrap_or_default();
    assert!(reason.starts_with("not what its authors expect (`outputs.json`): output `y`: "), "{reason}");

    // A golden of other samples: what is expected was not looked at, and that is no pass.
    let without = MANIFEST.replace("data = \"inputs.json\"\nexpected = \"outputs.json\"\n", "count = 16\n");
    std::fs::write(context.path("gate.toml"), without).unwrap();
    let bless = context.run(&["bless", "--reason", "first"]);
    assert_eq!(bless.code, 0, "{}", bless.shown());
    let (run, found) = gate(&context, MANIFEST, None);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(
        found.reasons.iter().any(|reason| reason.contains("are of other samples than the golden's")),
        "{:?}",
        found.reasons
    );
    let bless = context.run(&["bless", "--fresh-probes", "--reason", "the authors' samples"]);
    assert_eq!(bless.code, 0, "{}", bless.shown());
    let (run, _) = gate(&context, MANIFEST, None);
    assert_eq!(run.code, 0, "{}", run.shown());
}

#[test]
fn answers_are_written_as_polygraphy_has_them_and_compared() {
    let context = context();
    std::fs::write(context.path("gate.toml"), MANIFEST).unwrap();
    let infer = |more: &[&str]| {
        let words = [&["infer", "--runtime", "onnxruntime", "--batch", "2", "--data", "inputs.json"], more].concat();
        context.run(&words)
    };
    let run = infer(&["--out", "answers.json", "--save-inputs", "fed.json"]);
    assert_eq!(run.code, 0, "{}", run.shown());
    let same = context.run(&["compare", "outputs.json", "answers.json"]);
    assert_eq!(same.code, 0, "{}", same.shown());
    // Two calls of two samples, as Polygraphy made them.
    let read = |file: &str| trtgate::internals::data::polygraphy::read(&context.path(file)).unwrap();
    assert_eq!(read("inputs.json"), read("fed.json"));
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(infer(&["--out", "answers.npz"]).code, 0);
    let same = context.run(&["compare", "outputs.json", "answers.npz", "--json", "-"]);
    assert_eq!(same.code, 0, "{}", same.shown());
    assert_eq!(json(&same.stdout)["schema"], "trtgate.compare-outputs/v1");
    let half = infer(&["--out", "half.npz", "--precision", "fp16"]);
    assert_eq!(half.code, 0, "{}", half.shown());
    assert_eq!(context.run(&["compare", "outputs.json", "half.npz"]).code, 1);
    assert_eq!(context.run(&["compare", "outputs.json", "half.npz", "--precision", "fp16"]).code, 0);
    let one = infer(&["--out", "answers.csv"]);
    assert!(one.code == 2 && one.stderr.contains("holds one output"), "{}", one.shown());
}

/// Files of strangers: each is an error with its place (exit 2), and nothing is judged.
#[test]
fn hostile_samples_are_errors_with_their_place() {
    let context = context();
    let text = std::fs::read_to_string(context.path("inputs.json")).unwrap();
    let manifest = MANIFEST.replace("expected = \"outputs.json\"\n", "");
    for (what, bytes, words) in [
        ("truncated", text.as_bytes()[..text.len() / 2].to_vec(), "`inputs.json`: is no JSON of Polygraphy"),
        ("of another input", text.replace("\"ids\"", "\"idz\"").into_bytes(), "`inputs.json`, run 0: feeds `idz`"),
        ("outputs", std::fs::read(context.path("outputs.json")).unwrap(), "`inputs.json` holds outputs, not inputs"),
        ("nothing", b"[]".to_vec(), "`inputs.json`: holds no samples"),
    ] {
        std::fs::write(context.path("inputs.json"), bytes).unwrap();
        std::fs::write(context.path("gate.toml"), &manifest).unwrap();
        let run = context.run(&["gate", "--json", "report.json"]);
        assert_eq!(run.code, 2, "{what}: {}", run.shown());
        assert!(run.stderr.contains(words), "{what}: {}", run.shown());
    }
}

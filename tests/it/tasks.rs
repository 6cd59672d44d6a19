//! Outputs of every task through the gate: one model that has them all, and for each a fault that is caught and named.

use std::path::Path;
use std::process::Command;

use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;
use trtgate::internals::findings::OutputFinding;
use trtgate::internals::vocabulary::{Precision, Status, Task};

use crate::context::{Context, Run, report};

/// Writes the model into `folder`.
pub fn model(folder: &Path) {
    let environment = find_in(&Store::open(None).unwrap(), EXPORT).expect("`trtgate export` installs the environment");
    let python = environment.python.expect("the export environment has no Python");
    let script = include_str!("tasks_models.py");
    let output = Command::new(python).args(["-c", script]).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub const MANIFEST: &str = r#"
schema = 1
[model]
name = "tasks"
onnx = "tasks.onnx"
[[input]]
name = "x"
values = { normal = [0.0, 1.0] }
[[input]]
name = "rows"
values = { integers = [2, 8] }
[[input]]
name = "ids"
values = { integers = [0, 49] }
[[output]]
name = "class"
task = "classification"
[[output]]
name = "tags"
task = "scores"
[[output]]
name = "vector"
task = "embedding"
[[output]]
name = "mask"
task = "map"
[[output]]
name = "words"
task = "tokens"
[[output]]
name = "steps"
task = "tokens"
[[output]]
name = "boxes"
task = "boxes"
format = "xyxy"
scores = 4
labels = 5
count = "count"
[probes]
count = 64
[matrix]
batches = [8]
[matrix.runtimes]
onnxruntime = ["fp32", "fp16"]
"#;

#[test]
fn an_output_of_every_task_is_gated_and_its_faults_are_named() {
    let context = Context::new();
    model(context.folder.path());
    std::fs::write(context.path("gate.toml"), MANIFEST).unwrap();
    let run = context.run(&["gate", "--json", "report.json", "--markdown", "report.md", "--html", "report.html"]);
    assert_eq!(run.code, 0, "{}", run.shown());
    let sound = report(&context.path("report.json"));
    let statuses: Vec<(Precision, Status, bool)> =
        sound.cells.iter().map(|cell| (cell.precision, cell.status, cell.is_reference)).collect();
    assert_eq!(statuses, [(Precision::Fp32, Status::Pass, true), (Precision::Fp16, Status::Pass, false)]);
    let found: Vec<(&str, Task, Status)> =
        sound.cells[1].outputs.iter().map(|found| (found.output.as_str(), found.task, found.status)).collect();
    let expected = [
        ("class", Task::Classification),
        ("tags", Task::Scores),
        ("vector", Task::Embedding),
        ("mask", Task::Map),
        ("words", Task::Tokens),
        ("steps", Task::Tokens),
        ("boxes", Task::Boxes),
    ];
    assert_eq!(found, expected.map(|(name, task)| (name, task, Status::Pass)));
    // Halves are halves: each output of floats is off, within its limits.
    let of =
        |name: &str| -> &OutputFinding { sound.cells[1].outputs.iter().find(|found| found.output == name).unwrap() };
    for name in ["class", "tags", "vector", "mask", "steps", "boxes"] {
        assert!(of(name).error.max_abs > 0.0 && !of(name).figures.is_empty(), "{:?}", of(name));
    }
    assert!(of("boxes").detail.contains("boxes of 64 samples"), "{}", of("boxes").detail);
    // What is read beside the boxes is looked at.
    assert!(sound.notes.iter().all(|note| !note.contains("not looked at")), "{:?}", sound.notes);
    // Every rendered form says what was found of each output.
    for form in ["report.md", "report.html"] {
        let text = std::fs::read_to_string(context.path(form)).unwrap();
        for name in ["class", "vector", "mask", "boxes"] {
            assert!(text.contains(name), "{form} says nothing of `{name}`");
        }
    }

    for (fault, words) in [
        ("swap-classes=class", "output `class`: the outputs of classes 1 and 2 are swapped"),
        ("swap-classes=tags", "output `tags`: the outputs of classes 1 and 2 are swapped"),
        (
            "turn=vector",
            "output `vector`: all 64 vectors are turned by 2° together, their angles among themselves kept",
        ),
        ("swap-classes=mask", "output `mask`: classes 1 and 2 of the map are swapped"),
        ("token=words", "output `words`: 1 edit to 768 tokens, 1 sample differs, sample 32 first: step 0 is "),
        ("swap-classes=steps", "output `steps`: "),
        ("scale=vector", "output `vector`: every vector is 1.01"),
        ("shift=boxes", "output `boxes`: "),
        ("nan=mask", "output `mask`: 1 value is not finite: sample 32, element 0 is NaN"),
    ] {
        let mut command = context.command(&["gate", "--json", "report.json"]);
        command.env("TRTGATE_TEST_FAULT", format!("{fault}@run/onnxruntime/fp16"));
        let run = Run::of(command.output().unwrap(), context.folder.path());
        let found = report(&context.path("report.json"));
        let cells: Vec<Status> = found.cells.iter().map(|cell| cell.status).collect();
        assert_eq!((run.code, cells), (1, vec![Status::Pass, Status::Fail]), "{fault}: {}", run.shown());
        let reason = found.cells[1].reason.clone().unwrap_or_default();
        assert!(reason.starts_with(words), "{fault}: {reason}");
        // One output fails, the others are as they were.
        let failed = found.cells[1].outputs.iter().filter(|found| found.status != Status::Pass).count();
        assert_eq!(failed, 1, "{fault}");
    }
}

#[test]
fn named_limits_are_told_and_what_holds_nothing_is_no_pass() {
    let context = Context::new();
    model(context.folder.path());
    let wide = "count = \"count\"\ntolerance = { fp16 = { corner = 0.05, score = 0.01 } }";
    std::fs::write(context.path("gate.toml"), MANIFEST.replace("count = \"count\"", wide)).unwrap();
    let mut command = context.command(&["gate", "--json", "report.json"]);
    command.env("TRTGATE_TEST_FAULT", "shift=boxes@run/onnxruntime/fp16");
    let run = Run::of(command.output().unwrap(), context.folder.path());
    let found = report(&context.path("report.json"));
    // A shift by 3 of 540 is within what is named for corners; its overlap is still held.
    let told = "the manifest names for `boxes` in onnxruntime/fp16: `corner` 0.05, looser than the ladder's 0.0045; `score` 0.01, in place of the ladder's 0.02";
    assert!(found.notes.iter().any(|note| note == told), "{:?}", found.notes);
    let boxes = found.cells[1].outputs.iter().find(|found| found.output == "boxes").unwrap();
    let corner = boxes.figures.iter().find(|figure| figure.name == "corner").unwrap();
    assert!(corner.named && corner.limit == 0.05 && corner.value > 0.004, "{corner:?}: {}", run.shown());
    assert_eq!(boxes.status, Status::Pass, "{}", boxes.detail);

    // No box has such a score: nothing was compared, and that is no pass.
    let none = MANIFEST.replace("count = \"count\"", "count = \"count\"\nthreshold = 0.99");
    std::fs::write(context.path("gate.toml"), none).unwrap();
    let run = context.run(&["gate", "--json", "report.json"]);
    let found = report(&context.path("report.json"));
    assert_eq!((run.code, found.cells[1].status), (3, Status::Invalid), "{}", run.shown());
    let reason = found.cells[1].reason.clone().unwrap_or_default();
    assert!(reason.starts_with("output `boxes`: none of 64 samples has a box on either side"), "{reason}");
}

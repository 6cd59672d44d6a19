//! Models whose samples do not lie along the first dimension, and models without a batch, through real runtimes.

use std::process::Command;

use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;
use trtgate::internals::findings::{CellReport, Report};
use trtgate::internals::vocabulary::Status;

use crate::context::{Context, Run, report};

/// A folder with the models in it.
pub fn context_with(script: &str) -> Context {
    let context = Context::new();
    let environment = find_in(&Store::open(None).unwrap(), EXPORT).expect("`trtgate export` installs the environment");
    let python = environment.python.expect("the export environment has no Python");
    let output = Command::new(python).args(["-c", script]).arg(context.folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    context
}

pub fn models() -> Context {
    context_with(include_str!("axes_models.py"))
}

pub const RECURRENT: &str = r#"schema = 1
[model]
name = "recurrent"
onnx = "recurrent.onnx"
[[input]]
name = "x"
values = { uniform = [-1.0, 1.0] }
[[input]]
name = "state"
batch-axis = 1
values = { uniform = [-1.0, 1.0] }
[[output]]
name = "y"
task = "values"
[[output]]
name = "next"
task = "values"
batch-axis = 1
[probes]
count = 20
[matrix]
batches = [1, 8]
[matrix.runtimes]
onnxruntime = ["fp32", "fp16"]
"#;

pub const WHOLE: &str = r#"schema = 1
[model]
name = "whole"
onnx = "whole.onnx"
[[input]]
name = "x"
batch-axis = "none"
values = { uniform = [0.0, 1.0] }
[[output]]
name = "total"
task = "values"
batch-axis = "none"
[[output]]
name = "kept"
task = "values"
batch-axis = "none"
[probes]
count = 20
[matrix]
batches = [1]
[matrix.runtimes]
onnxruntime = ["fp32", "fp16"]
"#;

pub fn gate(context: &Context, manifest: &str, fault: Option<&str>) -> (Run, Report) {
    std::fs::write(context.path("gate.toml"), manifest).unwrap();
    let mut command = context.command(&["gate", "--json", "report.json"]);
    fault.map(|fault| command.env("TRTGATE_TEST_FAULT", fault));
    let run = Run::of(command.output().unwrap(), context.folder.path());
    (run, report(&context.path("report.json")))
}

pub fn statuses(report: &Report) -> Vec<Status> {
    report.cells.iter().map(|cell| cell.status).collect()
}

#[test]
fn a_state_has_its_batch_where_the_manifest_says() {
    let context = models();
    let (run, sound) = gate(&context, RECURRENT, None);
    assert_eq!((run.code, statuses(&sound)), (0, vec![Status::Pass; 4]), "{}", run.shown());
    let details: Vec<&str> = sound.cells[3].checks.iter().map(|check| check.detail.as_str()).collect();
    assert!(details[1].starts_with("output `next`: 120 values, "), "{details:?}");

    // Along the first dimension there are two layers and no samples.
    let wrong = RECURRENT.replacen("task = \"values\"\nbatch-axis = 1", "task = \"values\"", 1);
    let (run, found) = gate(&context, &wrong, None);
    assert_eq!(run.code, 1, "{}", run.shown());
    assert!(found.cells.iter().all(|cell| cell.status != Status::Pass), "{}", run.shown());

    let (run, found) = gate(&context, RECURRENT, Some("swap-slots@run/onnxruntime/fp16"));
    assert_eq!((run.code, found.cells[3].status), (1, Status::Fail), "{}", run.shown());
}

#[test]
fn a_model_without_a_batch_is_run_sample_by_sample() {
    let context = models();
    let (run, sound) = gate(&context, WHOLE, None);
    assert_eq!((run.code, statuses(&sound)), (0, vec![Status::Pass; 2]), "{}", run.shown());
    assert!(sound.notes.iter().any(|note| note.contains("sample by sample")), "{:?}", sound.notes);
    let details: Vec<&str> = sound.cells[1].checks.iter().map(|check| check.detail.as_str()).collect();
    assert!(details[0].starts_with("output `total`: 20 values, "), "{details:?}");
    // Every sample keeps another number of places.
    assert!(details[1].starts_with("output `kept`: "), "{details:?}");
    assert!(details[1].ends_with(" values are equal") && details[1] != "output `kept`: 400 values are equal");
    assert!(details.contains(&"20 samples are answered alike in any order"), "{details:?}");

    let (run, found) = gate(&context, WHOLE, Some("scale=total@run/onnxruntime/fp16"));
    assert_eq!((run.code, found.cells[1].status), (1, Status::Fail), "{}", run.shown());
    let reason = found.cells[1].reason.clone().unwrap_or_default();
    assert!(reason.starts_with("output `total`: "), "{reason}");

    for (before, after, words) in [
        ("batches = [1]", "batches = [1, 8]", "no batch but 1 can be gated"),
        (
            "task = \"values\"\nbatch-axis = \"none\"",
            "task = \"values\"",
            "is said to have a batch, and no input has one",
        ),
        ("batch-axis = \"none\"", "batch-axis = \"some\"", "expected a dimension counted from 0, or \"none\""),
        ("batch-axis = \"none\"", "batch-axis = 3", "`batch-axis` of `x` is 3, and it has shape [5, 4]"),
    ] {
        std::fs::write(context.path("gate.toml"), WHOLE.replacen(before, after, 1)).unwrap();
        let run = context.run(&["gate"]);
        assert_eq!(run.code, 2, "{words}: {}", run.shown());
        assert!(run.stderr.contains(words), "{words}: {}", run.shown());
    }
}

/// What `init` finds out by running is what the gate takes, and a list of sizes is an axis of the plan.
#[test]
fn open_sizes_are_found_by_init_and_gated_at_each() {
    let context = models();
    let init = context.run(&["init", "--onnx", "sequence.onnx"]);
    assert_eq!(init.code, 0, "{}", init.shown());
    assert!(init.stderr.contains("found by running: `steps = [16]`"), "{}", init.shown());
    let written = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    assert!(written.contains("shape = [\"steps\", 3]") && written.contains("[shapes]\nsteps = [16]"), "{written}");
    let (run, one) = gate(&context, &written, None);
    assert_eq!((run.code, statuses(&one)), (0, vec![Status::Pass; 4]), "{}", run.shown());
    assert!(one.cells.iter().all(|cell| cell.shape.is_none()));

    let several = written.replace("steps = [16]", "steps = [1, 7, 16]");
    let (run, found) = gate(&context, &several, None);
    // Ends, the preferred size and one step beside it, three in between, in two precisions and batches.
    assert_eq!((run.code, statuses(&found)), (0, vec![Status::Pass; 32]), "{}", run.shown());
    let cells: Vec<String> = found.cells.iter().map(|cell| cell.id().to_string()).collect();
    for steps in [1, 6, 7, 8, 16] {
        let cell = format!("onnxruntime/fp32/batch-1/steps={steps}");
        assert!(cells.contains(&cell), "{cell} of {cells:?}");
    }
    assert!(found.notes.iter().any(|note| note.starts_with("8 shapes: ")), "{:?}", found.notes);
    assert!(run.stdout.contains("fp16 at steps=7"), "{}", run.shown());
    let seven = found.cells.iter().find(|cell| cell.id().to_string() == "onnxruntime/fp16/batch-1/steps=7").unwrap();
    assert!(seven.replay.ends_with("--batch 1 --shape steps=7"), "{}", seven.replay);
    let values: Vec<&str> = seven.checks.iter().map(|check| check.detail.as_str()).collect();
    assert!(values[1].starts_with("output `z`: 1344 values"), "{values:?}");
    assert!(values.iter().any(|told| told.contains("bit for bit as before, after `steps=8`")), "{values:?}");

    let chosen = context.run(&["gate", "--shape", "steps=7", "--precision", "fp16", "--json", "report.json"]);
    assert_eq!((chosen.code, report(&context.path("report.json")).cells.len()), (0, 2), "{}", chosen.shown());
    let unknown = context.run(&["gate", "--shape", "steps=17"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("it has steps=1 steps="), "{}", unknown.shown());

    // Right at both ends and the preferred size, wrong in between; and a session that keeps something of another shape.
    let (run, found) = gate(&context, &several, Some("between=3+21+48@run/onnxruntime/fp16"));
    assert_eq!(
        (run.code, statuses(&found).iter().filter(|one| **one == Status::Fail).count()),
        (1, 10),
        "{}",
        run.shown()
    );
    let between = |cell: &&CellReport| cell.status == Status::Fail;
    for cell in found.cells.iter().filter(between) {
        let reason = cell.reason.clone().unwrap_or_default();
        assert!(reason.ends_with("(`steps=1`, `steps=7`, `steps=16`), wrong in between"), "{reason}");
    }
    let (run, found) = gate(&context, &several, Some("keeps-shape@run/onnxruntime/fp16"));
    assert_eq!(run.code, 1, "{}", run.shown());
    let failed: Vec<&CellReport> = found.cells.iter().filter(|cell| cell.status == Status::Fail).collect();
    assert_eq!(failed.len(), 16);
    for cell in failed {
        let reason = cell.reason.clone().unwrap_or_default();
        assert!(reason.starts_with("something of `steps=") && reason.contains("a fresh session"), "{reason}");
    }
}

#[test]
fn init_finds_where_samples_lie() {
    let context = models();
    for (model, words) in [
        ("recurrent", &["`batch-axis = 1` of `state`", "`batch-axis = 1` of `next`"][..]),
        ("whole", &["`batch-axis = \"none\"` of `total`", "`batch-axis = \"none\"` of `kept`", "run sample by sample"]),
    ] {
        let init = context.run(&["init", "--force", "--onnx", &format!("{model}.onnx")]);
        assert_eq!(init.code, 0, "{}", init.shown());
        assert!(words.iter().all(|word| init.stderr.contains(word)), "{}", init.shown());
        let run = context.run(&["gate"]);
        assert_eq!(run.code, 0, "{model}: {}", run.shown());
    }
}

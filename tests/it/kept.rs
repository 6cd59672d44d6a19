//! Goldens of models of several inputs: kept, held to, moved, and gone.

use trtgate::internals::vocabulary::{Precision, Status};

use crate::axes::{RECURRENT, WHOLE, gate, models, statuses};
use crate::context::Context;

fn bless(context: &Context) -> String {
    let run = context.run(&["bless", "--reason", "a test"]);
    assert_eq!(run.code, 0, "{}", run.shown());
    run.shown()
}

/// With a golden the reference is judged; what it answers otherwise than then is named, and does not hide a sound conversion.
#[test]
fn the_reference_is_held_to_the_golden_of_several_inputs() {
    let context = models();
    std::fs::write(context.path("gate.toml"), RECURRENT).unwrap();
    let first = bless(&context);
    assert!(first.contains("new golden: 20 samples of 2 inputs"), "{first}");
    let written = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    assert!(written.contains("[require]\ngolden = true"), "{written}");
    let (run, sound) = gate(&context, &written, None);
    assert_eq!((run.code, statuses(&sound)), (0, vec![Status::Pass; 4]), "{}", run.shown());
    assert!(sound.cells.iter().all(|cell| !cell.is_reference), "{}", run.shown());
    assert!(sound.notes.iter().any(|note| note.contains("on the samples of the golden")), "{:?}", sound.notes);
    assert!(bless(&context).contains("20 samples are answered as before"));

    let (run, moved) = gate(&context, &written, Some("scale=next@run/onnxruntime/fp32"));
    assert_eq!((run.code, moved.cells[0].status), (1, Status::Fail), "{}", run.shown());
    let reason = moved.cells[0].reason.clone().unwrap_or_default();
    assert!(reason.contains("`next`") && reason.contains("scaled by 1.01"), "{reason}");

    // Whatever is asked for: the reference's own cells may be in no report.
    let half = |fault: Option<&str>| {
        let mut command = context.command(&["gate", "--precision", "fp16", "--json", "half.json"]);
        fault.map(|fault| command.env("TRTGATE_TEST_FAULT", fault));
        let run = crate::context::Run::of(command.output().unwrap(), context.folder.path());
        (run, crate::context::report(&context.path("half.json")))
    };
    let (run, found) = half(None);
    assert_eq!((run.code, statuses(&found)), (0, vec![Status::Pass; 2]), "{}", run.shown());
    let (run, found) = half(Some("scale=next@run/onnxruntime/fp32"));
    assert_eq!(run.code, 1, "{}", run.shown());
    let of_model = |reason: &String| {
        reason.starts_with("golden: the reference: the model itself ") && reason.contains(": output `next`")
    };
    assert!(found.reasons.iter().any(of_model), "{found:?}");

    // Other samples are no golden's: it is held to those that it keeps, and what was asked for and not run is no pass.
    let (_, same) = gate(&context, &written.replace("count = 20", "count = 30"), None);
    assert!(same.notes[0].starts_with("20 samples"), "{:?}", same.notes);
    let other = written.replacen(
        "batch-axis = 1
values = { uniform = [-1.0, 1.0] }",
        "batch-axis = 1
values = { constant = 0 }",
        1,
    );
    let (run, _) = gate(&context, &other, None);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.shown().contains("`trtgate bless --fresh-probes"), "{}", run.shown());

    // A model that was renamed leaves its golden behind, whether the manifest requires one or not.
    let renamed = written.replace("name = \"recurrent\"", "name = \"renamed\"").replace("golden = true", "");
    let (run, orphaned) = gate(&context, &renamed, None);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(orphaned.requirements.unmet.iter().any(|unmet| unmet.contains("named by no manifest")), "{}", run.shown());

    std::fs::remove_file(context.path("snapshots/recurrent.golden")).unwrap();
    let (run, gone) = gate(&context, &written, None);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(gone.requirements.unmet.iter().any(|unmet| unmet.contains("a golden is required")), "{}", run.shown());
}

/// Answers of another size for each sample are kept too.
#[test]
fn a_golden_keeps_what_has_no_batch() {
    let context = models();
    std::fs::write(context.path("gate.toml"), WHOLE).unwrap();
    bless(&context);
    let written = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    let (run, sound) = gate(&context, &written, None);
    assert_eq!((run.code, statuses(&sound)), (0, vec![Status::Pass; 2]), "{}", run.shown());
    let damaged = std::fs::read(context.path("snapshots/whole.golden")).unwrap();
    std::fs::write(context.path("snapshots/whole.golden"), &damaged[..damaged.len() / 2]).unwrap();
    let (run, _) = gate(&context, &written, None);
    assert_eq!(run.code, 3, "{}", run.shown());
}

/// One golden keeps the samples and answers of every shape that is gated, and each is held to its own.
#[test]
fn a_golden_keeps_every_shape() {
    let context = models();
    let init = context.run(&["init", "--onnx", "sequence.onnx"]);
    assert_eq!(init.code, 0, "{}", init.shown());
    let guessed = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    std::fs::write(context.path("gate.toml"), guessed.replace("steps = [16]", "steps = [1, 7, 16]")).unwrap();
    let first = bless(&context);
    assert!(first.contains(" at each of 8 shapes"), "{first}");
    let written = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    assert!(written.contains("golden = true"), "{written}");
    let (run, sound) = gate(&context, &written, None);
    assert_eq!((run.code, statuses(&sound)), (0, vec![Status::Pass; 32]), "{}", run.shown());
    assert!(sound.cells.iter().all(|cell| !cell.is_reference), "{}", run.shown());
    assert!(bless(&context).contains("are answered as before"));

    let output = written.split_once("[[output]]").and_then(|(_, rest)| rest.split('"').nth(1)).unwrap();
    let (run, moved) = gate(&context, &written, Some(&format!("scale={output}@run/onnxruntime/fp32")));
    assert_eq!(run.code, 1, "{}", run.shown());
    let mut of_reference = moved.cells.iter().filter(|cell| cell.precision == Precision::Fp32);
    assert!(of_reference.all(|cell| cell.status == Status::Fail), "{}", run.shown());

    // Shapes that it does not keep are no pass, and the report says which.
    let (run, other) = gate(&context, &written.replace("[1, 7, 16]", "[1, 7, 32]"), None);
    assert_eq!(run.code, 3, "{}", run.shown());
    let unmet = other.requirements.unmet.join("\n");
    assert!(unmet.contains("a golden is required") && unmet.contains("no samples of input `x@steps="), "{unmet}");
}

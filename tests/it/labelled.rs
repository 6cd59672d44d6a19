//! Labels of a model of several inputs: each task's figure, what a cell may lose of it, and what is refused.

use std::path::Path;
use std::process::Command;

use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;
use trtgate::internals::findings::Report;
use trtgate::internals::vocabulary::Status;

use crate::context::{Context, Run, report, succeeded};
use crate::tasks;

fn label(folder: &Path) {
    let environment = find_in(&Store::open(None).unwrap(), EXPORT).expect("`trtgate export` installs the environment");
    let python = environment.python.expect("the export environment has no Python");
    let script = include_str!("labelled_samples.py");
    let output = Command::new(python).args(["-c", script]).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What a run said, its lines joined.
fn said(run: &Run) -> String {
    format!("{} {}", run.stdout, run.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Status and words of the accuracy of `output` in the FP16 cell.
fn found(report: &Report, output: &str) -> (Status, String) {
    let mut checks = report.cells[1].checks.iter().filter(|check| check.name == "accuracy");
    let check = checks.find(|check| check.detail.starts_with(&format!("output `{output}`: "))).unwrap();
    (check.status, check.detail.clone())
}

#[test]
fn answers_are_held_to_labels_by_the_figure_of_their_task() {
    let context = Context::new();
    tasks::model(context.folder.path());
    label(context.folder.path());
    context.write("gate.toml", tasks::MANIFEST);
    let run = succeeded(context.run(&["gate", "--data", "labelled.npz", "--json", "report.json"]));
    let sound = report(&context.path("report.json"));
    // A quarter has another label; of 768 tokens 16 are others.
    for (output, words) in [
        ("class", "top-1 0.7500 over 64 samples"),
        ("mask", "mIoU 1.0000 over "),
        ("words", "1 − CER 0.9792 over 768 tokens of 64 samples"),
        ("steps", "1 − CER 1.0000 over "),
        ("boxes", "mAP "),
    ] {
        let (status, detail) = found(&sound, output);
        assert!(status == Status::Pass && detail.contains(words), "{output}: {detail}");
        let rule =
            sound.cross.iter().find(|rule| rule.detail.starts_with(&format!("output `{output}`: the reference's")));
        assert!(rule.is_some_and(|rule| rule.status == Status::Pass), "{:?}", sound.cross);
    }
    // What people see says it too.
    assert!(said(&run).contains("by labels top-1 0.7500"), "{}", run.shown());
    // The objects that nobody sees cost their class some of its recall.
    let (_, boxes) = found(&sound, "boxes");
    let value: f64 = boxes.split("mAP ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((0.9..1.0).contains(&value), "{boxes}");

    let faulty = |fault: &str| {
        let mut command = context.command(&["gate", "--data", "labelled.npz", "--json", "report.json"]);
        command.env("TRTGATE_TEST_FAULT", format!("{fault}@run/onnxruntime/fp16"));
        let run = Run::of(command.output().unwrap(), context.folder.path());
        assert_eq!(run.code, 1, "{}", run.shown());
        report(&context.path("report.json"))
    };
    for (fault, output) in
        [("swap-classes=class", "class"), ("swap-classes=mask", "mask"), ("swap-classes=steps", "steps")]
    {
        let (status, detail) = found(&faulty(fault), output);
        assert!(status == Status::Fail && detail.contains(" points less, "), "{fault}: {detail}");
    }
}

#[test]
fn limits_of_labels_are_kept_in_a_gate_and_a_blessing() {
    let context = Context::new();
    tasks::model(context.folder.path());
    label(context.folder.path());
    let gate = |manifest: &str, data: &[&str]| {
        context.write("gate.toml", manifest);
        context.run(&[&["gate"], data].concat())
    };
    let data: &[&str] = &["--data", "labelled.npz"];
    // A floor for all outputs, and one for an output alone.
    let floor = format!("{}\n[accuracy]\nfloor = 0.8\n", tasks::MANIFEST);
    let run = gate(&floor, data);
    assert!(run.code == 1 && said(&run).contains("below the floor of 0.8000"), "{}", run.shown());
    let run = context.run(&["bless", "--data", "labelled.npz", "--reason", "first"]);
    assert!(run.code == 1 && said(&run).contains("below the floor of 0.8000"), "{}", run.shown());
    let own =
        tasks::MANIFEST.replace("task = \"classification\"", "task = \"classification\"\naccuracy = { floor = 0.7 }");
    succeeded(gate(&own, data));
    succeeded(context.run(&["bless", "--data", "labelled.npz", "--reason", "first"]));
    // What is asked for and not given is no pass.
    let run = gate(&own, &[]);
    assert!(run.code == 3 && said(&run).contains("no labelled data was given"), "{}", run.shown());
    // An output whose labels are not there, and a task that has none.
    let tags = tasks::MANIFEST.replace("task = \"scores\"", "task = \"scores\"\naccuracy = { floor = 0.7 }");
    let run = gate(&tags, data);
    assert!(run.code == 2 && said(&run).contains("has no `tags.labels`"), "{}", run.shown());
    let vector = tasks::MANIFEST.replace("task = \"embedding\"", "task = \"embedding\"\naccuracy = { floor = 0.7 }");
    let run = gate(&vector, data);
    assert!(run.code == 2 && said(&run).contains("labels say nothing of the task `embedding`"), "{}", run.shown());
}

//! Labels of a model of several inputs: each task's figure, what a cell may lose of it, and what is refused.

use std::path::Path;
use std::process::Command;

use prost::Message as _;
use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;
use trtgate::internals::findings::Report;
use trtgate::internals::onnx;
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

/// The golden keeps each output's figure: a model that loses more than `drop` is neither passed nor blessed, labels of other data judge
/// nothing, and without labels the figures of this very model stay.
#[test]
fn a_golden_keeps_the_figures_of_its_labels() {
    let context = Context::new();
    tasks::model(context.folder.path());
    label(context.folder.path());
    let manifest = format!("{}\n[accuracy]\ndrop = 0.02\n", tasks::MANIFEST);
    context.write("gate.toml", &manifest);
    let bless = |data: &[&str]| context.run(&[&["bless", "--reason", "a test"], data].concat());
    let data: &[&str] = &["--data", "labelled.npz"];
    succeeded(bless(data));
    let rule = |report: &Report, output: &str| {
        let mut rules = report.cross.iter().filter(|rule| rule.detail.starts_with(&format!("output `{output}`: ")));
        let rule = rules.find(|rule| rule.detail.contains("the reference's")).unwrap();
        (rule.status, rule.detail.clone())
    };
    let gate = |data: &str| {
        let run = context.run(&["gate", "--data", data, "--json", "report.json"]);
        (run, report(&context.path("report.json")))
    };
    let (run, sound) = gate("labelled.npz");
    assert_eq!(run.code, 0, "{}", run.shown());
    let (status, detail) = rule(&sound, "class");
    assert!(status == Status::Pass && detail.contains("the golden's was 0.7500: 0.00 points less"), "{detail}");

    // Without labels what is stored of this model stays, and is told.
    let run = succeeded(bless(&[]));
    assert!(said(&run).contains("as it is stored: no labelled data was given"), "{}", run.shown());
    assert!(run.stderr.contains("is up to date"), "{}", run.shown());
    // Other labels are other data.
    let labels = std::fs::read(context.path("labelled.npz")).unwrap();
    relabel(context.folder.path());
    let (run, other) = gate("other.npz");
    let (status, detail) = rule(&other, "class");
    assert!(run.code == 3 && status == Status::Invalid, "{}", run.shown());
    assert!(detail.contains("of other labelled data, and is not compared"), "{detail}");
    assert_eq!(rule(&other, "words").0, Status::Pass, "the labels of `words` are the same");
    assert_eq!(std::fs::read(context.path("labelled.npz")).unwrap(), labels);

    // A model whose classes are others.
    let golden = std::fs::read(context.path("snapshots/tasks.golden")).unwrap();
    let path = context.path("tasks.onnx");
    let mut model = onnx::parse(&std::fs::read(&path).unwrap()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let weights = graph.initializer.iter_mut().find(|tensor| tensor.name == "class/weights").unwrap();
    let mut bytes = weights.raw_data.take().unwrap().to_vec();
    bytes.rotate_left(4);
    weights.raw_data = Some(bytes.into());
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    let (run, worse) = gate("labelled.npz");
    let (status, detail) = rule(&worse, "class");
    assert!(run.code == 1 && status == Status::Fail, "{}", run.shown());
    assert!(detail.contains("the golden's was 0.7500: ") && detail.contains("points less, 1.56 allowed"), "{detail}");
    let run = bless(data);
    assert!(run.code == 1 && said(&run).contains("points less, 1.56 allowed"), "{}", run.shown());
    let run = bless(&[]);
    assert!(run.code == 3 && said(&run).contains("no labelled data was given for this model"), "{}", run.shown());
    assert_eq!(std::fs::read(context.path("snapshots/tasks.golden")).unwrap(), golden, "nothing was stored");
}

/// `labelled.npz` with another label of `class`, as `other.npz`.
fn relabel(folder: &Path) {
    let environment = find_in(&Store::open(None).unwrap(), EXPORT).expect("`trtgate export` installs the environment");
    let python = environment.python.expect("the export environment has no Python");
    let script = "import numpy, pathlib, sys\nfolder = pathlib.Path(sys.argv[1])\n\
         arrays = dict(numpy.load(folder / 'labelled.npz'))\narrays['class.labels'][0] = (arrays['class.labels'][0] + 1) % 6\n\
         numpy.savez(folder / 'other.npz', **arrays)\n";
    let output = Command::new(python).args(["-c", script]).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

//! Accuracy on labelled data as a gate of its own: shown on a pass, stored by a blessing, held to a floor and to the golden.
//! The model is a real one, run by ONNX Runtime; its labels are known by how the pictures are made.

use std::path::PathBuf;

use prost::Message as _;

use crate::context::{Context, Run, report, succeeded};
use crate::second_model::{Numbers, onnx};
use trtgate::internals::check::golden::Golden;
use trtgate::internals::findings::{ACCURACY_RULE, CellReport, Report};
use trtgate::internals::onnx::Model;
use trtgate::internals::vocabulary::Status;

/// Height and width of the model's pictures.
const SIZE: (usize, usize) = (20, 24);
/// Its classes: the bright one of seven regions.
const CLASSES: usize = 7;
/// Labelled pictures.
const PICTURES: usize = 210;

/// The model's files with the answers of classes 1 and 3 in each other's place.
fn swapped() -> Vec<u8> {
    let mut model = Model::decode(onnx().as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let weight = graph.initializer.iter_mut().find(|tensor| tensor.name == "dense.weight").unwrap();
    let mut bytes = weight.raw_data.as_ref().unwrap().to_vec();
    let row = bytes.len() / CLASSES;
    let (before, after) = bytes.split_at_mut(3 * row);
    before[row..2 * row].swap_with_slice(&mut after[..row]);
    weight.raw_data = Some(bytes.into());
    model.encode_to_vec()
}

/// Pictures with one bright region each, labelled by it, as lines of `label,values`; each `wrong`th label is another one.
fn labelled(wrong: usize) -> String {
    let mut numbers = Numbers(99);
    let mut text = String::from("label,values\n");
    for picture in 0..PICTURES {
        let class = picture % CLASSES;
        let label = if picture % wrong == wrong - 1 { (class + 1) % CLASSES } else { class };
        text.push_str(&label.to_string());
        for place in 0..SIZE.0 * SIZE.1 {
            // The network leaves a grid of 5 × 6 cells, one around every fourth pixel, whose rows are cut into the regions.
            let (row, column) = (place / SIZE.1, place % SIZE.1);
            let cell = ((row + 2) / 4).min(4) * 6 + ((column + 2) / 4).min(5);
            let bright = if cell * CLASSES / 30 == class { 0.9 } else { 0.0 };
            text.push_str(&format!(",{:.3}", 0.1 + bright + 0.05 * numbers.next()));
        }
        text.push('\n');
    }
    text
}

/// A repository with `gate.toml` as `init` writes it, these lines behind it, and labelled data of which 1 in 21 is wrong.
fn project(model: &[u8], more: &str) -> Context {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    std::fs::write(context.path("glyphs.onnx"), model).unwrap();
    succeeded(context.run(&["init", "--onnx", "glyphs.onnx"]));
    context.write("labelled.csv", &labelled(21));
    limits(&context, more);
    context
}

/// Puts `more` at the end of the manifest.
fn limits(context: &Context, more: &str) {
    let path = context.path("gate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n{more}\n")).unwrap();
}

fn bless(context: &Context, more: &[&str]) -> Run {
    context.run(&[&["bless", "--reason", "a test"][..], more].concat())
}

/// Gates ONNX Runtime's FP32 cells at two batches.
fn gate(context: &Context, more: &[&str]) -> (Run, Report) {
    let words = ["gate", "--runtime", "onnxruntime", "--precision", "fp32", "--batch", "1", "--batch", "8"];
    let run = context.run(&[&words[..], &["--json", "report.json"], more].concat());
    let path = context.path("report.json");
    assert!(path.is_file(), "{}", run.shown());
    (run, report(&path))
}

fn golden(context: &Context) -> PathBuf {
    context.path("snapshots/glyphs.golden")
}

fn check(cell: &CellReport) -> (Status, &str) {
    let check = cell.checks.iter().find(|check| check.name == "accuracy").unwrap();
    (check.status, check.detail.as_str())
}

/// Text without line breaks and repeated blanks.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const DATA: [&str; 2] = ["--data", "labelled.csv"];

#[test]
fn accuracy_is_kept_by_a_blessing_and_shown_on_a_pass() {
    let context = project(&onnx(), "[accuracy]\nfloor = 0.9\ndrop = 0.01");
    // Limits that were named and cannot be looked at are no pass.
    let run = bless(&context, &[]);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.stderr.contains("no labelled data was given"), "{}", run.shown());
    let dry = succeeded(bless(&context, &["--dry-run", DATA[0], DATA[1]]));
    let told =
        "the reference is right on 200 of 210 labelled samples (95.24 %, 95 % interval 91.46 to 97.39 %), floor 90 %";
    assert!(flat(&dry.stdout).contains(told), "{}", dry.shown());
    succeeded(bless(&context, &DATA));
    let kept = Golden::read(&golden(&context)).unwrap().accuracy.unwrap();
    assert_eq!((kept.samples, kept.correct), (210, 200));

    let files = ["--markdown", "report.md", "--html", "report.html", "--junit", "report.xml"];
    let (run, report) = gate(&context, &[&DATA[..], &files[..]].concat());
    assert_eq!(run.code, 0, "{}", run.shown());
    let rule = report.cross.iter().find(|rule| rule.name == ACCURACY_RULE).unwrap();
    assert_eq!((rule.status, rule.gating), (Status::Pass, true));
    assert!(rule.detail.starts_with(told) && rule.detail.ends_with("0 fewer, 2 allowed"), "{}", rule.detail);
    let found = report.accuracy.unwrap();
    assert_eq!((found.correct, found.floor, found.drop), (200, Some(0.9), Some(0.01)));
    assert!(found.golden.unwrap().same_data);
    let [small, large] = report.cells.as_slice() else { panic!("{}", run.shown()) };
    assert_eq!(check(small), (Status::Unavailable, "judged at batch 8"));
    let of_cell =
        "200 of 210 right (95.24 %), the reference 200 of 210 right (95.24 %): 0 fewer, 2 allowed; floor 90 %";
    assert_eq!(check(large), (Status::Pass, of_cell));
    assert!(flat(&run.stdout).contains(told) && flat(&run.stdout).contains(of_cell), "{}", run.stdout);
    for name in ["report.md", "report.html", "report.xml"] {
        let text = std::fs::read_to_string(context.path(name)).unwrap().replace("&#40;", "(").replace("&#41;", ")");
        assert!(text.contains("the reference is right on 200 of 210 labelled samples"), "{name}: {text}");
        assert!(text.contains("0 fewer, 2 allowed"), "{name}: {text}");
    }

    // A part of the plan is judged as the whole is: the reference answers beside it.
    let words = ["gate", "--runtime", "onnxruntime", "--precision", "int8", "--batch", "8"];
    let run = context.run(&[&words[..], &DATA[..]].concat());
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(flat(&run.stdout).contains("onnxruntime/int8 at batch 8: "), "{}", run.stdout);
    std::fs::rename(golden(&context), context.path("kept")).unwrap();
    let run = context.run(&[&words[..], &DATA[..]].concat());
    assert!(run.stdout.contains("a golden is required"), "{}", run.shown());
    assert!(!run.stdout.contains("the reference did not run"), "{}", run.shown());
    std::fs::rename(context.path("kept"), golden(&context)).unwrap();

    // Without the data, nothing was judged.
    let (run, _) = gate(&context, &[]);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(flat(&run.stdout).contains("`[accuracy]` names limits, and no cell was judged"), "{}", run.stdout);
    // Other data says nothing of a loss.
    context.write("other.csv", &labelled(30));
    let (run, _) = gate(&context, &["--data", "other.csv"]);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(flat(&run.stdout).contains("of other labelled data, and is not compared"), "{}", run.stdout);
    // An unchanged model keeps its accuracy without the data.
    succeeded(bless(&context, &[]));
    assert_eq!(Golden::read(&golden(&context)).unwrap().accuracy.unwrap(), kept);
}

#[test]
fn a_model_whose_labels_were_swapped_before_the_first_blessing_fails_by_the_floor() {
    let context = project(&swapped(), "[accuracy]\nfloor = 0.9");
    let run = bless(&context, &DATA);
    assert_eq!(run.code, 1, "{}", run.shown());
    assert!(flat(&run.stderr).contains("below the floor of 90 %"), "{}", run.shown());
    assert!(!golden(&context).exists());
    assert_eq!(bless(&context, &["--dry-run", DATA[0], DATA[1]]).code, 1);
    let (run, report) = gate(&context, &DATA);
    assert_eq!(run.code, 1, "{}", run.shown());
    assert!(report.cells.iter().any(|cell| check(cell).0 == Status::Fail), "{}", run.shown());
    // Blessed against all that, it fails all the same.
    succeeded(bless(&context, &["--force", DATA[0], DATA[1]]));
    let (run, _) = gate(&context, &DATA);
    assert_eq!(run.code, 1, "{}", run.shown());
    assert!(flat(&run.stdout).contains("accuracy: the reference is right on 1"), "{}", run.stdout);
}

#[test]
fn a_model_that_lost_accuracy_since_it_was_blessed_fails() {
    let context = project(&onnx(), "[accuracy]\ndrop = 0.01");
    succeeded(bless(&context, &DATA));
    let stored = std::fs::read(golden(&context)).unwrap();
    std::fs::write(context.path("glyphs.onnx"), swapped()).unwrap();
    let (run, report) = gate(&context, &DATA);
    assert_eq!(run.code, 1, "{}", run.shown());
    let rule = report.cross.iter().find(|rule| rule.name == ACCURACY_RULE).unwrap();
    assert_eq!(rule.status, Status::Fail);
    assert!(rule.detail.contains("the golden's was 200 of 210 right (95.24 %): "), "{}", rule.detail);
    // The conversion loses nothing: what fell is the reference.
    assert!(report.cells.iter().all(|cell| cell.status == Status::Pass), "{}", run.shown());
    let run = bless(&context, &DATA);
    assert_eq!(run.code, 1, "{}", run.shown());
    // Nor is what was measured forgotten by leaving the data out.
    let run = bless(&context, &[]);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(flat(&run.stderr).contains("the stored golden keeps an accuracy"), "{}", run.shown());
    assert_eq!(std::fs::read(golden(&context)).unwrap(), stored);
}

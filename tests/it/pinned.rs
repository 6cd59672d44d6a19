//! What is gated is what was pinned: weights beside an ONNX file are part of its digest wherever they hide, and a model whose
//! files change during a run is the old one or none.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rstest::rstest;
use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;
use trtgate::internals::findings::{GoldenStanding, Report};
use trtgate::internals::vocabulary::Status;

use crate::context::{Context, Run, report};
use crate::identity;

/// One cell of ONNX Runtime, which is an ONNX model's reference.
const CELL: [&str; 6] = ["--runtime", "onnxruntime", "--precision", "fp32", "--batch", "32"];

/// A folder with the model of `pinned_models.py` whose weights are in `place`, and its manifest, which names its digest.
fn project(place: &str) -> Context {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    let python = find_in(&Store::open(None).unwrap(), EXPORT).and_then(|environment| environment.python);
    let python = python.expect("the export environment is not here; `trtgate export` installs it");
    let script = include_str!("pinned_models.py");
    let output = Command::new(python).args(["-c", script]).arg(context.folder.path()).arg(place).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let init = context.run(&["init", "--no-probes", "--onnx", "model.onnx"]);
    assert_eq!(init.code, 0, "{}", init.shown());
    pin(&context);
    context
}

/// Puts the digest that `init` wrote as a comment into force; returns it.
fn pin(context: &Context) -> String {
    let path = context.path("gate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("# sha256 = ", "sha256 = ")).unwrap();
    let pinned = trtgate::internals::manifest::Manifest::load(&path).unwrap().model.sha256;
    pinned.expect("`init` writes the digest")
}

/// Turns the sign of every float32 of a file.
fn negate(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes.iter_mut().skip(3).step_by(4).for_each(|byte| *byte ^= 0x80);
    std::fs::write(path, bytes).unwrap();
}

#[rstest]
#[case("initializer")]
#[case("constant")]
#[case("branch")]
#[case("function")]
#[case("sparse")]
fn weights_beside_the_model_are_pinned_with_it(#[case] place: &str) {
    let context = project(place);
    let bless = context.run(&["bless", "--reason", "a test"]);
    assert_eq!(bless.code, 0, "{}", bless.shown());
    let words = [&["gate", "--json", "report.json"][..], &CELL].concat();
    let run = context.run(&words);
    assert_eq!(run.code, 0, "{}", run.shown());
    let first = report(&context.path("report.json"));
    assert!(!first.cells.is_empty() && first.cells.iter().all(|cell| cell.status == Status::Pass));
    negate(&context.path("w.bin"));
    let run = context.run(&words);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains("is not the one in the manifest"), "{}", run.shown());
    // Asked for by `--trust`, it is a model of another digest and of other answers.
    let run = context.run(&[&words[..], &["--trust"]].concat());
    assert_eq!(run.code, 1, "{}", run.shown());
    let other = report(&context.path("report.json"));
    assert_ne!(other.model.sha256, first.model.sha256);
    assert_eq!(other.golden.unwrap().standing, GoldenStanding::Moved);
    // The model without its weights is none.
    std::fs::remove_file(context.path("w.bin")).unwrap();
    let run = context.run(&words);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains("cannot read the values of tensor `w`"), "{}", run.shown());
}

#[test]
fn a_model_with_weights_beside_it_converts() {
    let context = project("function");
    let words = ["gate", "--runtime", "onnxruntime", "--precision", "fp32", "--precision", "fp16", "--batch", "32"];
    let run = context.run(&[&words[..], &["--json", "report.json"]].concat());
    assert_eq!(run.code, 0, "{}", run.shown());
    assert_eq!(report(&context.path("report.json")).cells.len(), 2);
}

/// When the model's files are swapped.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Milliseconds(u64),
    FirstLine,
}

const MOMENTS: [Moment; 5] = [
    Moment::Milliseconds(20),
    Moment::Milliseconds(50),
    Moment::Milliseconds(100),
    Moment::Milliseconds(300),
    Moment::FirstLine,
];

/// Runs `arguments`, with `swap` done in the middle; also whether the program ran on behind it.
fn run_and(context: &Context, arguments: &[&str], moment: Moment, swap: impl FnOnce()) -> (Run, bool) {
    let mut command = context.command(arguments);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    match moment {
        Moment::Milliseconds(time) => sleep(Duration::from_millis(time)),
        Moment::FirstLine => drop(errors.read_line(&mut first).unwrap()),
    }
    swap();
    let in_time = child.try_wait().unwrap().is_none();
    let rest = std::thread::spawn(move || {
        let mut text = Vec::new();
        errors.read_to_end(&mut text).unwrap();
        text
    });
    let mut output = child.wait_with_output().unwrap();
    output.stderr = [first.into_bytes(), rest.join().unwrap()].concat();
    (Run::of(output, context.folder.path()), in_time)
}

/// Holds a run during which the model was swapped to the golden: the old model and its digest, or a refusal.
fn assert_old_or_refused(run: &Run, report: Option<Report>, pinned: &str, moment: Moment) {
    assert!(matches!(run.code, 0 | 2), "{moment:?}: {}", run.shown());
    let Some(report) = report else { return };
    if run.code == 2 {
        assert!(report.cells.is_empty(), "{moment:?}: {}", run.shown());
        return;
    }
    assert_eq!(report.model.sha256, pinned, "{moment:?}");
    let golden = report.golden.unwrap();
    assert_eq!((golden.standing, golden.model_sha256), (GoldenStanding::Own, pinned.to_owned()), "{moment:?}");
    assert!(report.cells.iter().all(|cell| cell.status == Status::Pass), "{moment:?}: {}", run.shown());
}

fn read_report(context: &Context) -> Option<Report> {
    let path = context.path("report.json");
    path.is_file().then(|| report(&path))
}

#[test]
fn an_onnx_file_that_is_swapped_during_a_run_changes_nothing() {
    let context = project("alone");
    let pinned =
        trtgate::internals::manifest::Manifest::load(&context.path("gate.toml")).unwrap().model.sha256.unwrap();
    let bless = context.run(&["bless", "--reason", "a test"]);
    assert_eq!(bless.code, 0, "{}", bless.shown());
    let copy = |from: &str, to: &str| {
        std::fs::copy(context.path(from), context.path("staged")).unwrap();
        std::fs::rename(context.path("staged"), context.path(to)).unwrap();
    };
    copy("model.onnx", "own.onnx");
    let infer = ["infer", "--runtime", "onnxruntime", "--no-label", "--data", "x.npy", "--out", "answers.csv"];
    let run = context.run(&infer);
    assert_eq!(run.code, 0, "{}", run.shown());
    let expected = std::fs::read_to_string(context.path("answers.csv")).unwrap();
    let gate = [&["gate", "--json", "report.json"][..], &CELL].concat();
    let mut in_time = 0;
    for moment in MOMENTS {
        let _ = std::fs::remove_file(context.path("report.json"));
        let (run, early) = run_and(&context, &gate, moment, || copy("other.onnx", "model.onnx"));
        in_time += usize::from(early);
        assert_old_or_refused(&run, read_report(&context), &pinned, moment);
        copy("own.onnx", "model.onnx");
        let _ = std::fs::remove_file(context.path("answers.csv"));
        let (run, _) = run_and(&context, &infer, moment, || copy("other.onnx", "model.onnx"));
        assert!(matches!(run.code, 0 | 2), "{moment:?}: {}", run.shown());
        if run.code == 0 {
            let found = std::fs::read_to_string(context.path("answers.csv")).unwrap();
            assert!(found == expected, "{moment:?}: the answers are another model's");
        }
        copy("own.onnx", "model.onnx");
    }
    assert!(in_time > 0, "every run was over before the file was swapped");
    // The other model is one: seen when it is there from the start.
    copy("other.onnx", "model.onnx");
    let run = context.run(&[&gate[..], &["--trust"]].concat());
    assert_eq!(run.code, 1, "{}", run.shown());
}

#[test]
fn a_saved_model_whose_variables_are_swapped_during_a_run_stays_what_it_was() {
    let context = identity::project("one");
    let pinned = pin(&context);
    let bless = context.run(&["bless", "--reason", "a test"]);
    assert_eq!(bless.code, 0, "{}", bless.shown());
    let gate = ["gate", "--runtime", "tensorflow", "--batch", "8", "--json", "report.json"];
    for moment in [Moment::Milliseconds(20), Moment::Milliseconds(300), Moment::Milliseconds(900), Moment::FirstLine] {
        let _ = std::fs::remove_file(context.path("report.json"));
        let (run, _) = run_and(&context, &gate, moment, || {
            let variables = identity::models().join("swapped/variables");
            for entry in std::fs::read_dir(variables).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), context.path("staged")).unwrap();
                let target = context.path("letters/variables").join(entry.file_name());
                std::fs::rename(context.path("staged"), target).unwrap();
            }
        });
        assert_old_or_refused(&run, read_report(&context), &pinned, moment);
        identity::put(&context, "one");
    }
}

//! How runs end: exit codes as docs/troubleshooting.md says, and what is left behind when nothing could be judged.

use rstest::rstest;

use crate::context::{Context, Run, project, report};
use trtgate::internals::vocabulary::Verdict;

/// One cell that takes a second.
const CELL: [&str; 6] = ["--runtime", "onnxruntime", "--precision", "fp32", "--batch", "8"];

/// The four forms of a report.
const FORMS: [&str; 8] = ["--json", "r.json", "--junit", "r.xml", "--markdown", "r.md", "--html", "r.html"];

/// A context with a stored report, `r.json`.
fn with_report() -> Context {
    let context = Context::new();
    std::fs::copy(project().join("tests/fixtures/reports/passing.json"), context.path("r.json")).unwrap();
    context
}

/// Holds the four forms of the report to `reason`.
fn left_behind(context: &Context, run: &Run, reason: &str) {
    let left = report(&context.path("r.json"));
    assert_ne!(left.verdict, Verdict::Pass, "{}", run.shown());
    assert!(left.reasons.iter().any(|told| told.contains(reason)), "{:?}", left.reasons);
    // Markup splits a text at what it quotes.
    let words = reason.split('`').next().unwrap();
    for name in ["r.xml", "r.md", "r.html"] {
        let text = std::fs::read_to_string(context.path(name)).unwrap();
        assert!(text.contains(words), "`{name}` does not say `{words}`: {text}");
    }
}

#[rstest]
#[case(&["report", "r.json"])]
#[case(&["merge", "r.json"])]
#[case(&["doctor"])]
#[case(&["completions", "bash"])]
#[case(&["man"])]
#[case(&["--help"])]
#[case(&["--version"])]
#[case(&["gate", "--help"])]
fn a_full_disk_is_an_error(#[case] arguments: &[&str]) {
    let run = with_report().run_on_a_full_disk(arguments);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.stderr.contains("error: cannot write to standard output"), "{}", run.stderr);
    assert!(run.stderr.contains("No space left on device"), "{}", run.stderr);
}

#[rstest]
#[case(&["report", "r.json", "--html", "/dev/full"], "/dev/full")]
#[case(&["merge", "r.json", "--junit", "/dev/full"], "/dev/full")]
#[case(&["report", "r.json", "--markdown", "-"], "-")]
fn a_report_that_cannot_be_written_is_an_error(#[case] arguments: &[&str], #[case] target: &str) {
    let run = with_report().run_on_a_full_disk(arguments);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.stderr.contains(&format!("error: cannot write `{target}`")), "{}", run.stderr);
}

/// Whoever looks around on a machine may not have the model there.
#[test]
fn the_doctor_shows_the_machine_of_a_project_without_its_model() {
    let context = Context::new();
    let model = format!("{}/models/cifar10/saved_model", project().display());
    context.manifest(&[(&model, "nowhere")]);
    let run = context.run(&["doctor"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stdout.contains("machine") && run.stdout.contains("onnxruntime"), "{}", run.shown());
    assert!(run.stderr.contains("error: cannot read the model `"), "{}", run.shown());
}

#[test]
fn a_gate_that_cannot_be_read_is_incomplete() {
    let context = Context::new();
    context.manifest(&[]);
    let run = context.run_on_a_full_disk(&[&["gate"][..], &CELL, &["--json", "r.json"]].concat());
    assert_eq!(run.code, 3, "{}", run.shown());
    // What could be written is there, and says what was found.
    assert_eq!(report(&context.path("r.json")).verdict, Verdict::Pass);
    let run = context.run(&[&["gate"][..], &CELL, &["--json", "/dev/full", "--junit", "r.xml"]].concat());
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.stdout.contains("PASS") && context.path("r.xml").is_file(), "{}", run.shown());
}

#[rstest]
#[case::no_such_model("[PROJECT]/models/cifar10/saved_model", "nowhere", "cannot read the model `")]
#[case::no_such_probes("[PROJECT]/models/cifar10/probes.bin", "nowhere.bin", "cannot read the probes")]
#[case::another_model("sha256 = \"b", "sha256 = \"c", "the model `cifar10` is not the one in the manifest")]
#[case::wrong_signature("signature = \"serving_default\"", "signature = \"serve\"", "`[model] signature` in `")]
fn what_ends_a_run_early_is_in_the_report(#[case] from: &str, #[case] to: &str, #[case] reason: &str) {
    let context = Context::new();
    let from = from.replace("[PROJECT]", &project().display().to_string());
    context.manifest(&[(&from, to)]);
    let run = context.run(&[&["gate", "--offline"][..], &CELL, &FORMS].concat());
    assert_eq!(run.code, 2, "{}", run.shown());
    left_behind(&context, &run, reason);
    let bench = context.run(&[&["bench", "--offline", "--json", "bench.json"][..], &CELL].concat());
    assert_eq!(bench.code, 2, "{}", bench.shown());
    assert!(report(&context.path("bench.json")).reasons[0].contains(reason));
}

#[test]
fn a_mistake_on_the_command_line_leaves_nothing() {
    let context = Context::new();
    context.manifest(&[]);
    let run = context.run(&["gate", "--runtime", "tensorrt-lean", "--json", "r.json"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(!context.path("r.json").exists());
}

#[rstest]
#[case::folder(&["report", "."])]
#[case::loop_of_links(&["report", "loop.json"])]
#[case::file_as_folder(&["report", "r.json/x.json"])]
#[case::nothing(&["merge", "r.json", "nowhere.json"])]
#[case::manifest(&["gate", "--manifest", "."])]
fn a_wrong_name_is_a_wrong_input(#[case] arguments: &[&str]) {
    let context = with_report();
    std::os::unix::fs::symlink("loop.json", context.path("loop.json")).unwrap();
    let run = context.run(arguments);
    assert_eq!(run.code, 2, "{}", run.shown());
}

#[test]
fn a_golden_that_is_a_folder_judges_nothing() {
    let context = Context::new();
    let manifest = context.manifest(&[]);
    let text = std::fs::read_to_string(&manifest).unwrap();
    let snapshots = project().join("snapshots").display().to_string();
    std::fs::write(&manifest, text.replace(&snapshots, "snapshots")).unwrap();
    std::fs::create_dir_all(context.path("snapshots/cifar10.golden")).unwrap();
    let run = context.run(&[&["gate"][..], &CELL].concat());
    assert_eq!(run.code, 3, "{}", run.shown());
}

//! Environments that are not what was installed, and gates that judged less than is required: never a pass.

use std::path::{Path, PathBuf};
use std::process::Command;

use rstest::rstest;
use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;
use trtgate::internals::findings::Report;
use trtgate::internals::vocabulary::Status;

use crate::children::with_interpreter;
use crate::context::{Context, Run, program, report};

/// The cells that are gated here.
const GATE: [&str; 12] = [
    "gate",
    "--offline",
    "--runtime",
    "tensorflow",
    "--runtime",
    "onnxruntime",
    "--precision",
    "fp32",
    "--batch",
    "1",
    "--json",
    "report.json",
];

/// The folder of the installed export environment, and that of its packages below it.
fn installed() -> (PathBuf, PathBuf) {
    let found = find_in(&Store::open(None).unwrap(), EXPORT).expect("`trtgate export` installs the environment");
    let site = found.site_packages[0].clone();
    let root = site.ancestors().find(|folder| folder.join("complete.json").is_file()).unwrap().to_path_buf();
    let below = site.strip_prefix(&root).unwrap().to_path_buf();
    (root, below)
}

/// Links everything in `from` into `to`, but for `without`.
fn link_all(from: &Path, to: &Path, without: &[&str]) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        if !without.iter().any(|left_out| name == *left_out) {
            std::os::unix::fs::symlink(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// A project whose cache has the export environment: links into the installed one, and a real copy of ONNX Runtime's
/// library, which is returned. The lists hold the package `onnxruntime` alone, so that looking at all of it is quick.
fn with_environment() -> (Context, PathBuf) {
    let context = Context::new();
    context.manifest(&[]);
    let (root, below) = installed();
    let copy = context.path("cache/environments").join(root.file_name().unwrap());
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    link_all(&root, &copy, &[first, "complete.json", "files.json", "stamps.json"]);
    std::fs::copy(root.join("complete.json"), copy.join("complete.json")).unwrap();
    for name in ["files.json", "stamps.json"] {
        let text = std::fs::read(root.join(name)).unwrap();
        let mut list: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&text).unwrap();
        list.retain(|name, _| name.contains("/onnxruntime/"));
        assert!(list.len() > 1, "{name}");
        std::fs::write(copy.join(name), serde_json::to_vec(&list).unwrap()).unwrap();
    }
    let (site, site_copy) = (root.join(&below), copy.join(&below));
    link_all(&site, &site_copy, &["onnxruntime"]);
    link_all(&site.join("onnxruntime"), &site_copy.join("onnxruntime"), &["capi"]);
    let capi = site.join("onnxruntime/capi");
    let library = std::fs::read_dir(&capi)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.starts_with("libonnxruntime.so"))
        .unwrap();
    let capi_copy = site_copy.join("onnxruntime/capi");
    link_all(&capi, &capi_copy, &[&library]);
    let (from, to) = (capi.join(&library), capi_copy.join(&library));
    let copied = Command::new("cp").args(["-p", "--reflink=auto"]).args([&from, &to]).status().unwrap();
    assert!(copied.success());
    let cache = context.path("cache").display().to_string();
    let context = context.with("TRTGATE_CACHE", &cache).with("TRTGATE_PYTHON", "").with("TRTGATE_ARTIFACTS", "");
    (context, to)
}

fn incomplete(run: &Run) {
    assert_eq!(run.code, 3, "{}", run.shown());
}

/// The gate's report, whose cells must all be invalid.
fn invalid(context: &Context, run: &Run) -> Report {
    incomplete(run);
    let report = report(&context.path("report.json"));
    assert!(!report.cells.is_empty());
    for cell in &report.cells {
        assert_eq!(cell.status, Status::Invalid, "{}: {:?}\n{}", cell.id(), cell.reason, run.shown());
    }
    report
}

/// The program of the matrix of tests that is beside this one.
fn matrix() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let beside = std::fs::read_dir(own.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let programs = beside.filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("matrix-") && !name.contains('.')
    });
    let newest = programs.max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    newest.expect("the matrix is built with the tests: `cargo nextest run`")
}

/// Runs one trial of the matrix in the project of `context`; whether it passed or was ignored, and what it showed.
fn trial(context: &Context, name: &str) -> (bool, String) {
    let (passed, shown) = trials(context, &["--exact", name]);
    assert!(shown.contains("1 passed") || shown.contains("1 failed") || shown.contains("1 ignored"), "{shown}");
    (passed, shown)
}

/// Of two trials, that of the golden and that of TensorFlow at batch 1, one passes and the other does not: the run is red.
fn red_beside_what_passes(context: &Context) {
    let tests = ["what is required is here", "a cell can be judged here", "cells that cannot run here are reported"];
    let cells = ["onnxruntime", "litert", "tensorrt", "batch-8", "batch-16", "batch-32"];
    let others = [&cells[..], &tests].concat();
    let skips: Vec<&str> = others.iter().flat_map(|name| ["--skip", name]).collect();
    let (passed, shown) = trials(context, &skips);
    assert!(!passed && shown.contains("1 passed; 1 failed; 0 ignored"), "{shown}");
}

/// Runs the matrix in the project of `context`; whether nothing failed, and what it showed.
fn trials(context: &Context, arguments: &[&str]) -> (bool, String) {
    let trtgate = context.command(&[]);
    let mut command = Command::new(matrix());
    command.args(arguments).current_dir(context.folder.path()).env("NEXTEST_BIN_EXE_trtgate", program());
    command.env_remove("TRTGATE_REPORTS").env_remove("TRTGATE_REQUIRE").env_remove("NEXTEST");
    for (name, value) in trtgate.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().unwrap();
    let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), shown)
}

#[rstest]
#[case::emptied(|library: &Path| std::fs::write(library, "").unwrap(), "has 0 bytes, not ")]
#[case::truncated(|library: &Path| std::fs::File::options().write(true).open(library).unwrap().set_len(1 << 20).unwrap(),
    "has 1048576 bytes, not ")]
#[case::changed(|library: &Path| alter(library, 1_048_576..1_048_577, true), "has another content than was installed")]
#[case::gone(|library: &Path| std::fs::remove_file(library).unwrap(), "is gone")]
fn a_damaged_runtime_is_invalid_and_never_absent(#[case] damage: fn(&Path), #[case] words: &str) {
    let (context, library) = with_environment();
    let doctor = context.run(&["doctor", "--offline", "--verify"]);
    assert_eq!(doctor.code, 0, "{}", doctor.shown());
    assert!(doctor.stdout.contains("as installed"), "{}", doctor.stdout);
    damage(&library);
    let run = context.run(&GATE);
    let report = invalid(&context, &run);
    let reason = report.cells[0].reason.as_deref().unwrap();
    assert!(
        reason.contains("the environment `export` is damaged: `lib/python3.") && reason.contains(words),
        "{reason}"
    );
    assert!(report.cells[0].hint.as_deref().unwrap().contains("without `--offline`"), "{:?}", report.cells[0].hint);
    let merged = context.run(&["merge", "report.json"]);
    incomplete(&merged);
    let doctor = context.run(&["doctor", "--offline", "--verify"]);
    incomplete(&doctor);
    assert!(doctor.stdout.contains(words) && doctor.stdout.contains("mend it: "), "{}", doctor.stdout);
    let (passed, shown) = trial(&context, "onnxruntime/fp32/batch-1");
    assert!(!passed && shown.contains("is damaged"), "{shown}");
    red_beside_what_passes(&context);
}

/// Alters the bytes at `places`; the file gets a new time, or keeps the one that it had.
fn alter(library: &Path, places: std::ops::Range<usize>, new_time: bool) {
    let modified = library.metadata().unwrap().modified().unwrap();
    let mut bytes = std::fs::read(library).unwrap();
    bytes[places].iter_mut().for_each(|byte| *byte ^= 0xff);
    std::fs::write(library, bytes).unwrap();
    if !new_time {
        std::fs::File::options().append(true).open(library).unwrap().set_modified(modified).unwrap();
    }
}

/// Its head is broken, and neither size nor time tell: it is not found where it should be.
#[test]
fn a_library_that_is_no_library_any_more_is_looked_at_whole() {
    let (context, library) = with_environment();
    alter(&library, 0..4, false);
    let report = invalid(&context, &context.run(&GATE));
    assert!(report.cells[0].reason.as_deref().unwrap().contains("another content"), "{:?}", report.cells[0].reason);
}

/// It does not load, and neither size nor time tell.
#[test]
fn a_library_that_does_not_load_is_looked_at_whole() {
    let (context, library) = with_environment();
    // The table of what is mapped where (System V ABI: `e_phoff` is at byte 32, and tables start at 64).
    alter(&library, 64..512, false);
    // What was made before is at hand, so that nothing is converted, and the reference is not asked.
    let made = Context::new();
    made.manifest(&[]);
    let export = made.run(&["export", "--offline", "--only", "onnx-fp32", "--output", "artifacts"]);
    assert_eq!(export.code, 0, "{}", export.shown());
    for kind in ["onnx-fp32", "natural"] {
        std::os::unix::fs::symlink(Store::open(None).unwrap().root().join(kind), context.path("cache").join(kind))
            .unwrap();
    }
    let run = context.run(&GATE);
    incomplete(&run);
    let report = report(&context.path("report.json"));
    let of = |name: &str| report.cells.iter().find(|cell| cell.runtime.to_string() == name).unwrap();
    let cell = of("onnxruntime");
    assert_eq!(cell.status, Status::Invalid, "{}", run.shown());
    assert!(cell.reason.as_deref().unwrap().contains("another content"), "{:?}", cell.reason);
    assert_eq!(of("tensorflow").status, Status::Pass, "{}", run.shown());
    // From now on it is known.
    invalid(&context, &context.run(&GATE));
}

#[test]
fn an_emptied_environment_is_invalid() {
    let (context, _) = with_environment();
    let folder = context.path("cache/environments").join(installed().0.file_name().unwrap());
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let run = context.run(&GATE);
    invalid(&context, &run);
    assert!(run.stdout.contains("`complete.json`"), "{}", run.stdout);
    incomplete(&context.run(&["merge", "report.json"]));
    let (passed, shown) = trial(&context, "tensorflow/fp32/batch-1");
    assert!(!passed && shown.contains("is damaged"), "{shown}");
    red_beside_what_passes(&context);
}

#[test]
fn a_required_runtime_that_is_gone_is_no_pass_anywhere() {
    let context = Context::new();
    let cache = context.path("cache").display().to_string();
    let context = context.with("TRTGATE_CACHE", &cache).with("TRTGATE_PYTHON", "").with("TRTGATE_ARTIFACTS", "");
    let runtimes = "[require]\nruntimes = [\"litert\"]";
    // A cell that was asked for by its name and is ignored has shown nothing either.
    for (required, words) in [("[require]", "nothing was judged"), (runtimes, "1 failed; 0 ignored")] {
        context.manifest(&[("[require]", required)]);
        let (passed, shown) = trial(&context, "litert/int8/batch-1");
        assert!(!passed && shown.contains(words), "{shown}");
    }
    let run = context.run(&["gate", "--offline", "--json", "report.json"]);
    incomplete(&run);
    let words = "required runtime `litert` did not run: `litert` is not on this machine";
    let reasons = report(&context.path("report.json")).reasons;
    assert!(reasons.iter().any(|reason| reason == words), "{reasons:?}");
    // A part of the plan leaves it to the merge.
    let part = context.run(&GATE);
    incomplete(&part);
    assert!(!part.stdout.contains("required runtime"), "{}", part.stdout);
    let merged = context.run(&["merge", "report.json", "--json", "merged.json"]);
    incomplete(&merged);
    let reasons = report(&context.path("merged.json")).reasons;
    assert!(reasons.iter().any(|reason| reason.starts_with("required runtime `litert` did not run")), "{reasons:?}");
}

#[test]
fn a_golden_that_is_gone_fails_the_matrix_too() {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    context.manifest(&[]);
    let (passed, shown) = trial(&context, "the golden stands");
    assert!(passed, "{shown}");
    let project = crate::context::project().join("snapshots").display().to_string();
    context.manifest(&[(&project, "nowhere")]);
    let (passed, shown) = trial(&context, "the golden stands");
    assert!(!passed && shown.contains("a golden is required"), "{shown}");
    red_beside_what_passes(&context);
}

#[test]
fn a_renamed_model_fails_the_matrix_too() {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    let snapshots = crate::context::project().join("snapshots");
    std::fs::create_dir(context.path("snapshots")).unwrap();
    std::fs::copy(snapshots.join("cifar10.golden"), context.path("snapshots/cifar10.golden")).unwrap();
    let own = (snapshots.display().to_string(), context.path("snapshots").display().to_string());
    context.manifest(&[(&own.0, &own.1)]);
    let (passed, shown) = trial(&context, "the golden stands");
    assert!(passed, "{shown}");
    // Nothing is required of the new name by hand, and what the old one left behind is named.
    context.manifest(&[
        (&own.0, &own.1),
        ("name = \"cifar10\"", "name = \"renamed\""),
        ("golden = true", "golden = false"),
    ]);
    let (passed, shown) = trial(&context, "the golden stands");
    assert!(!passed && shown.contains("is named by no manifest here"), "{shown}");
    red_beside_what_passes(&context);
}

#[test]
fn a_damaged_environment_is_made_again() {
    let install = r#"[ ! -e "$folder/broken" ] || exit 1
    mkdir -p "$target"; echo library > "$target/libnet.so""#;
    let context = with_interpreter("", install);
    let plan = ["gate", "--plan-json", "plan.json"];
    context.manifest(&[
        ("[matrix]", "[matrix]\nfetch = [\"tensorrt-lean-10\"]"),
        ("[matrix.runtimes]", "[matrix.runtimes]\ntensorrt-lean = [\"fp32\"]"),
    ]);
    assert_eq!(context.run(&plan).code, 0);
    let environments = std::fs::read_dir(context.path("cache/environments")).unwrap().flatten();
    let library = environments.map(|entry| entry.path().join("site-packages/libnet.so")).find(|path| path.is_file());
    let library = library.unwrap();
    let damage = "the environment `tensorrt-lean-10` is damaged: `site-packages/libnet.so` has 0 bytes, not 8";
    // Not where nothing may be installed, and not where it cannot be.
    std::fs::write(&library, "").unwrap();
    context.write("broken", "");
    for more in [&["--offline"][..], &[]] {
        let run = context.run(&[&plan[..], more].concat());
        assert_eq!(run.code, 0, "{}", run.shown());
        let text = std::fs::read_to_string(context.path("plan.json")).unwrap();
        assert!(text.contains(damage) && text.contains("\"tensorrt-lean@10.16.1\""), "{text}");
        assert!(text.contains("\"invalid\""), "{text}");
    }
    std::fs::remove_file(context.path("broken")).unwrap();
    let run = context.run(&plan);
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(run.stderr.contains("making it again"), "{}", run.stderr);
    assert_eq!(std::fs::read_to_string(&library).unwrap(), "library\n");
    assert!(!std::fs::read_to_string(context.path("plan.json")).unwrap().contains("damaged"));
}

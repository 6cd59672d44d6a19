//! Reviews of repositories that are made for the test, by the real git.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use rstest::rstest;

use super::*;
use crate::check::golden::{Golden, Origin, Output, Probes};
use crate::error::ErrorKind;
use crate::manifest::OutputKind;
use crate::vocabulary::{Library, Precision, RuntimeId};

const MANIFEST: &str = "schema = 1\n[model]\nname = \"net\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [2]\nlayout = \"flat\"\n\
     [output]\nname = \"y\"\nclasses = 2\n[matrix]\nbatches = [1]\n[agreement]\nloss = { int8 = 0.01 }\n[accuracy]\nfloor = 0.9\n\
     [require]\ngolden = true\nruntimes = [\"onnxruntime\"]\n";

/// A repository of a project that is neither this one nor at its root, with one commit.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new(more: &str) -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        project.git(&["init", "--quiet", "--initial-branch=main"]);
        project.git(&["config", "user.email", "ann@example.org"]);
        project.git(&["config", "user.name", "Ann"]);
        project.write("nets/gate.toml", format!("{MANIFEST}{more}"));
        project.write("nets/snapshots/net.golden", golden("2026-01-01T00:00:00Z", "first", 0.5));
        project.write("nets/baselines/gpu/net/cell.json", series(&[("first", 100)]));
        project.write("nets/package.json", "{\"schema\": \"of something else\"}");
        project.commit();
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }

    fn git(&self, arguments: &[&str]) {
        let output = std::process::Command::new("git")
            .args(["-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "state"]);
    }

    /// What stands against the change since `base`, a line each.
    fn found(&self, base: &str) -> String {
        let reviewed = check(self.folder.path(), Some(base)).unwrap();
        let line = |finding: &Finding| format!("{} {}\n", finding.path, finding.problem);
        reviewed.findings.iter().map(line).collect()
    }

    fn notes(&self, base: &str) -> String {
        check(self.folder.path(), Some(base)).unwrap().notes.join("\n")
    }
}

/// A golden as `bless` writes it.
fn golden(created: &str, reason: &str, value: f32) -> Vec<u8> {
    let golden = Golden {
        origin: Origin {
            model: "net".to_owned(),
            model_sha256: "a1".repeat(32),
            manifest: None,
            runtime: RuntimeId::unversioned(Library::Tensorflow),
            version: "2.21.0".to_owned(),
            precision: Precision::Fp32,
            trtgate: None,
            created: created.to_owned(),
            reason: reason.to_owned(),
        },
        outputs: vec![Output::classification("y", OutputKind::Logits, [1, 2], &[value, 1.0]).unwrap()],
        probes: Probes {
            sha256: "b2".repeat(32),
            count: 1,
            asked: None,
            seed: None,
            made_from: Vec::new(),
            labels: None,
            inputs: Vec::new(),
        },
        accuracy: None,
        figures: Vec::new(),
        artifacts: Vec::new(),
    };
    golden.to_bytes().unwrap()
}

fn series(entries: &[(&str, u32)]) -> String {
    let entries: Vec<String> = entries
        .iter()
        .map(|(reason, speed)| format!(r#"{{"reason": "{reason}", "repetitions": [{speed}]}}"#))
        .collect();
    format!(r#"{{"schema": "trtgate.baseline/v1", "entries": [{}]}}"#, entries.join(", "))
}

const GOLDEN: &str = "nets/snapshots/net.golden";
const SERIES: &str = "nets/baselines/gpu/net/cell.json";

#[test]
fn what_did_not_change_is_not_judged() {
    let project = Project::new("");
    let reviewed = check(&project.path("nets"), Some("HEAD")).unwrap();
    assert_eq!((reviewed.judged, reviewed.findings.len(), reviewed.notes.len()), (0, 0, 0));
}

#[rstest]
#[case::blessed(golden("2026-02-01T00:00:00Z", "new head", 2.5), "")]
#[case::with_the_date_and_reason_of_before(
    golden("2026-01-01T00:00:00Z", "first", 2.5),
    "those of the earlier blessing"
)]
#[case::edited(String::from_utf8_lossy(&golden("2026-02-01T00:00:00Z", "new", 2.5)).replace("2.21", "2.22").into_bytes(), "cannot be read")]
#[case::of_a_newer_program(b"trtgate.golden/v9\nmodel: net\n".to_vec(), "upgrade trtgate")]
#[case::emptied(Vec::new(), "cannot be read")]
fn a_golden_changes_with_a_reason(#[case] now: Vec<u8>, #[case] says: &str) {
    let project = Project::new("");
    project.write(GOLDEN, now);
    let found = project.found("HEAD");
    assert!(found.contains(says) && found.is_empty() == says.is_empty(), "{found}");
    // The same once it is committed, against the commit before.
    project.commit();
    assert_eq!(project.found("HEAD~1"), found);
}

#[rstest]
#[case::appended(&[("first", 100), ("faster kernel", 120)], "")]
#[case::no_reason(&[("first", 100), (" ", 120)], "has no reason in entry 2")]
#[case::history_changed(&[("first", 90)], "changes or removes entries")]
#[case::history_removed(&[], "changes or removes entries")]
fn a_baseline_is_appended_to_with_a_reason(#[case] entries: &[(&str, u32)], #[case] says: &str) {
    let project = Project::new("");
    project.write(SERIES, series(entries));
    let found = project.found("HEAD");
    assert!(found.contains(says) && found.is_empty() == says.is_empty(), "{found}");
}

#[rstest]
#[case::removed(GOLDEN, None)]
#[case::baseline_removed(SERIES, None)]
#[case::overwritten(SERIES, Some("{\"schema\": \"of something else\"}"))]
#[case::no_json_any_more(SERIES, Some("{"))]
fn nothing_is_removed_unseen(#[case] name: &str, #[case] now: Option<&str>) {
    let project = Project::new("");
    match now {
        Some(text) => project.write(name, text),
        None => fs::remove_file(project.path(name)).unwrap(),
    }
    let found = project.found("HEAD");
    assert!(found.contains("is gone") || found.contains("is no series"), "{found}");
    project.commit();
    assert_eq!(project.found("HEAD~1"), found);
}

/// A folder of its own for what was there is no way out, and a link is no golden.
#[test]
fn a_golden_goes_along_with_its_models_name_alone() {
    let project = Project::new("");
    fs::rename(project.path(GOLDEN), project.path("nets/snapshots/other.golden")).unwrap();
    assert_eq!(project.found("HEAD"), "");
    project.write("nets/snapshots/other.golden", golden("2026-02-01T00:00:00Z", "another", 9.0));
    assert!(project.found("HEAD").contains("net.golden is gone"));
    fs::remove_file(project.path("nets/snapshots/other.golden")).unwrap();
    std::os::unix::fs::symlink("/dev/null", project.path(GOLDEN)).unwrap();
    assert!(project.found("HEAD").contains("is no file"));
}

#[rstest]
#[case::of_a_gpu(r#"{"gpu": "a GPU"}"#, true)]
#[case::of_an_instruction_set(r#"{"cpu": "a processor", "instruction-set": "avx2"}"#, true)]
#[case::of_any_processor_of_a_name(r#"{"cpu": "a processor"}"#, false)]
fn a_baseline_that_judges_no_run_may_go(#[case] environment: &str, #[case] found: bool) {
    let project = Project::new("");
    let name = "baselines/cpu/net/cell.json";
    let entry = format!(r#"{{"reason": "first", "environment": {environment}}}"#);
    project.write(name, format!(r#"{{"schema": "trtgate.baseline/v1", "entries": [{entry}]}}"#));
    project.commit();
    fs::remove_file(project.path(name)).unwrap();
    assert_eq!(project.found("HEAD").contains("is gone"), found);
}

/// A golden that only this work tree has is gone for everybody else.
#[test]
fn a_golden_that_git_ignores_is_gone() {
    let project = Project::new("");
    project.git(&["rm", "--quiet", "--cached", GOLDEN]);
    assert_eq!(project.found("HEAD"), "", "it lies there, and would be committed");
    project.write(".gitignore", "*.golden\n");
    assert!(project.found("HEAD").contains("net.golden is gone"));
}

/// Where a golden was removed elsewhere since, the change is not to blame.
#[test]
fn a_change_is_judged_from_where_it_left() {
    let project = Project::new("");
    project.git(&["checkout", "--quiet", "-b", "change"]);
    project.write("note", "x");
    project.commit();
    project.git(&["checkout", "--quiet", "main"]);
    project.write("nets/snapshots/later.golden", golden("2026-03-01T00:00:00Z", "later", 3.0));
    project.commit();
    project.git(&["checkout", "--quiet", "change"]);
    assert_eq!(project.found("main"), "");
}

#[test]
fn a_base_that_is_not_here_is_no_pass() {
    let project = Project::new("");
    let error = check(project.folder.path(), Some("no-such-revision")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Missing);
    assert!(error.hint.unwrap().contains("fetch-depth: 0"));
    let error = check(project.folder.path(), Some("--output=/tmp/x")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Missing);
    let outside = tempfile::tempdir().unwrap();
    assert_eq!(check(outside.path(), None).unwrap_err().kind, ErrorKind::Usage);
    // The zeros of a first push: everything is new, and judged.
    project.write("nets/snapshots/net.golden", "damaged");
    project.commit();
    project.git(&["branch", "--move", "first"]);
    assert!(project.found(&"0".repeat(40)).contains("cannot be read"));
}

#[test]
fn rules_of_a_manifest_tighten_and_hold_for_the_change_that_drops_them() {
    let project =
        Project::new("[review]\nby = [\"*@release.example.org\"]\nreason-length = 12\nreason-contains = [\"T-\"]\n");
    project.write(GOLDEN, golden("2026-02-01T00:00:00Z", "new head", 2.5));
    let found = project.found("HEAD");
    for says in ["its reason has 8 characters", "its reason contains none of `T-`", "is changed by `ann@example.org`"] {
        assert!(found.contains(says), "{found}");
    }
    // Without its rules the change is held to those of before.
    project.write("nets/gate.toml", MANIFEST);
    project.commit();
    assert_eq!(project.found("HEAD~1"), found);
    assert!(project.notes("HEAD~1").contains("changes its own `[review]`"));
    // A golden that no such manifest keeps is held to a reason alone.
    let other = Project::new("");
    other.write("elsewhere/x.golden", golden("2026-02-01T00:00:00Z", "new", 2.5));
    assert_eq!(other.found("HEAD"), "");
    let broken = Project::new("");
    broken.write("nets/gate.toml", format!("{MANIFEST}[review]\nbye = []\n"));
    assert!(broken.found("HEAD").contains("has rules that hold nobody"));
}

#[rstest]
#[case::wider("int8 = 0.01", "int8 = 0.02", "loss.int8 goes from 0.01 to 0.02")]
#[case::named("int8 = 0.01", "int8 = 0.01, fp16 = 0.1", "loss.fp16 = 0.1 is named")]
#[case::lower_floor("floor = 0.9", "floor = 0.8", "floor goes from 0.9 to 0.8")]
#[case::no_floor("floor = 0.9", "", "floor = 0.9 is gone")]
#[case::narrower("int8 = 0.01", "int8 = 0.005", "")]
#[case::higher_floor("floor = 0.9", "floor = 0.95", "")]
fn a_wider_limit_is_shown_and_comes_with_data_where_a_manifest_asks(
    #[case] from: &str,
    #[case] to: &str,
    #[case] says: &str,
) {
    let rules = "[review]\ntolerance-data = \"../docs/tolerances\"\n";
    let project = Project::new(rules);
    project.write("docs/tolerances/old.md", "what was measured");
    project.commit();
    project.write("nets/gate.toml", format!("{}{rules}", MANIFEST.replace(from, to)));
    let found = project.found("HEAD");
    assert!(found.contains(says) && found.is_empty() == says.is_empty(), "{found}");
    // What is removed there is no data.
    fs::remove_file(project.path("docs/tolerances/old.md")).unwrap();
    assert_eq!(project.found("HEAD"), found);
    project.write("docs/tolerances/int8.md", "what was measured");
    assert_eq!(project.found("HEAD"), "");
    assert!(project.notes("HEAD").contains(says));
    // Nobody asks: a reviewer sees it all the same.
    let free = Project::new("");
    free.write("nets/gate.toml", MANIFEST.replace(from, to));
    assert_eq!(free.found("HEAD"), "");
    assert_eq!(free.notes("HEAD").is_empty(), says.is_empty());
}

#[test]
fn limits_of_speed_come_with_data_too() {
    let project = Project::new("[review]\ntolerance-data = \"data\"\n");
    project.write("nets/thresholds.toml", "a = 1");
    assert_eq!(project.found("HEAD"), "", "the first are not wider than any");
    project.commit();
    project.write("nets/thresholds.toml", "a = 2");
    assert!(project.found("HEAD").contains("thresholds.toml changes without data"));
    project.write("nets/data/x.csv", "1");
    assert_eq!(project.found("HEAD"), "");
    assert!(project.notes("HEAD").contains("limits of speed and size changed"));
}

#[test]
fn limits_of_outputs_know_which_way_is_wider() {
    let output = |iou: f64, score: f64| {
        format!(
            "schema = 1\n[model]\nname = \"net\"\nonnx = \"m.onnx\"\n[[output]]\nname = \"boxes\"\ntask = \"boxes\"\n\
             tolerance = {{ fp16 = {{ iou = {iou}, score = {score} }} }}\n"
        )
    };
    let project = Project::new("");
    project.write("nets/gate.toml", output(0.9, 0.1));
    project.commit();
    project.write("nets/gate.toml", output(0.8, 0.05));
    let notes = project.notes("HEAD");
    assert!(notes.contains("fp16.iou goes from 0.9 to 0.8") && !notes.contains("score"), "{notes}");
}

#[test]
fn a_requirement_that_is_dropped_is_shown_and_refused_where_a_manifest_asks() {
    let dropped = MANIFEST.replace("golden = true\n", "").replace("\"onnxruntime\"", "");
    for (rules, refused) in [("", false), ("[review]\nrequirements = true\n", true)] {
        let project = Project::new(rules);
        project.write("nets/gate.toml", format!("{dropped}{rules}"));
        let told = if refused { project.found("HEAD") } else { project.notes("HEAD") };
        assert!(told.contains("[require] golden is not asked for any more"), "{told}");
        assert!(told.contains("[require] runtimes has no `onnxruntime` any more"), "{told}");
        assert_eq!(project.found("HEAD").is_empty(), !refused);
    }
}

#[test]
fn names_of_files_are_no_trap() {
    let project = Project::new("");
    project.write("nets/snapshots/schön; rm -rf $(x) *.golden", "damaged");
    assert!(project.found("HEAD").contains("schön; rm -rf $(x) *.golden cannot be read"));
    project.write("nets/snapshots/a\nb.golden", "damaged");
    let error = check(project.folder.path(), Some("HEAD")).unwrap_err();
    assert!(error.message.starts_with("a file has a name that cannot be reviewed"), "{error}");
}

//! The policy scripts, each in a repository made for the test. They are scripts of the source, so an archive of the tests
//! leaves them out.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rstest::rstest;

/// A repository with the scripts and one commit.
struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    fn new() -> Self {
        let repository = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(repository.path("ci")).unwrap();
        let scripts = ["check-blessing", "check_blessing.py", "check-pending", "check-size", "check-workflows"];
        for script in scripts.into_iter().chain(["check_workflows.py", "tools", "requirements/lint.txt"]) {
            let to = repository.path("ci").join(script);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(Path::new("ci").join(script), to).unwrap();
        }
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.write("snapshots/net.golden", &golden("2026-01-01T00:00:00Z", "first", "1.5"));
        repository.write("baselines/gpu/net/cell.json", &series(&[("first", 100)]));
        repository.commit();
        repository
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn git(&self, arguments: &[&str]) {
        let output = Command::new("git")
            .args(["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"])
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

    fn check(&self, script: &str, arguments: &[&str]) -> Output {
        Command::new(self.path("ci").join(script))
            .args(arguments)
            .env_remove("TRTGATE_BASE")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap()
    }

    /// Runs a check and returns what it says; its exit code must say the same.
    fn findings(&self, script: &str, arguments: &[&str]) -> String {
        let output = self.check(script, arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        // What a check says while it installs its tools, once a machine, is no finding.
        let text: String =
            text.split_inclusive('\n').filter(|line| !line.starts_with("installing the tools")).collect();
        assert_eq!(output.status.code(), Some(i32::from(!text.is_empty())), "{text}");
        text
    }
}

fn golden(created: &str, reason: &str, value: &str) -> String {
    format!("trtgate.golden/v1\nmodel: net\ncreated: {created}\nreason: {reason}\n\n0 0: {value}\nsha256: 00\n")
}

fn series(entries: &[(&str, u32)]) -> String {
    let entries: Vec<String> = entries
        .iter()
        .map(|(reason, speed)| format!(r#"{{"reason": "{reason}", "repetitions": [{speed}]}}"#))
        .collect();
    format!(r#"{{"schema": "trtgate.baseline/v1", "entries": [{}]}}"#, entries.join(", "))
}

#[test]
fn what_did_not_change_is_not_judged() {
    assert_eq!(Repository::new().findings("check-blessing", &["HEAD"]), "");
}

#[rstest]
#[case::blessed("2026-02-01T00:00:00Z", "new head", "2.5", "")]
#[case::no_reason("2026-02-01T00:00:00Z", "", "2.5", "states no `reason`")]
#[case::edited_by_hand("2026-01-01T00:00:00Z", "first", "2.5", "are those of the earlier blessing")]
fn a_golden_changes_with_a_reason(
    #[case] created: &str,
    #[case] reason: &str,
    #[case] value: &str,
    #[case] says: &str,
) {
    let repository = Repository::new();
    repository.write("snapshots/net.golden", &golden(created, reason, value));
    let found = repository.findings("check-blessing", &["HEAD"]);
    assert!(found.contains(says) && found.is_empty() == says.is_empty(), "{found}");
    // The same once it is committed, against the commit before.
    repository.commit();
    assert_eq!(repository.findings("check-blessing", &["HEAD~1"]), found);
}

/// A golden as `bless` writes it.
fn written(created: &str, reason: &str) -> Vec<u8> {
    use trtgate::internals::check::golden::{Golden, Origin, Output, Probes};
    use trtgate::internals::vocabulary::{Library, Precision, RuntimeId};
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
        outputs: vec![
            Output::classification("y", trtgate::internals::manifest::OutputKind::Logits, [1, 2], &[0.5, 1.0]).unwrap(),
        ],
        probes: Probes { sha256: "b2".repeat(32), count: 1, asked: None, seed: None, labels: None, inputs: Vec::new() },
        accuracy: None,
        figures: Vec::new(),
    };
    golden.to_bytes().unwrap()
}

#[test]
fn a_binary_golden_changes_with_a_reason() {
    let repository = Repository::new();
    let path = repository.path("snapshots/net.golden");
    // The text that stood there before is replaced.
    fs::write(&path, written("2026-02-01T00:00:00Z", "with its probes")).unwrap();
    assert_eq!(repository.findings("check-blessing", &["HEAD"]), "");
    repository.commit();
    let edited = String::from_utf8_lossy(&written("2026-02-01T00:00:00Z", "with its probes")).replace("2.21", "2.22");
    fs::write(&path, edited).unwrap();
    assert!(repository.findings("check-blessing", &["HEAD"]).contains("are those of the earlier blessing"));
    fs::write(&path, b"\x08\0\0\0\0\0\0\0{}      ").unwrap();
    assert!(repository.findings("check-blessing", &["HEAD"]).contains("is no golden"));
}

#[rstest]
#[case::appended(&[("first", 100), ("faster kernel", 120)], "")]
#[case::no_reason(&[("first", 100), (" ", 120)], "has no `reason` in entry 2")]
#[case::history_changed(&[("first", 90)], "changes or removes entries")]
#[case::history_removed(&[], "changes or removes entries")]
fn a_baseline_is_appended_to_with_a_reason(#[case] entries: &[(&str, u32)], #[case] says: &str) {
    let repository = Repository::new();
    repository.write("baselines/gpu/net/cell.json", &series(entries));
    let found = repository.findings("check-blessing", &["HEAD"]);
    assert!(found.contains(says) && found.is_empty() == says.is_empty(), "{found}");
}

#[rstest]
#[case("snapshots/net.golden")]
#[case("baselines/gpu/net/cell.json")]
fn nothing_is_removed_unseen(#[case] name: &str) {
    let repository = Repository::new();
    fs::remove_file(repository.path(name)).unwrap();
    assert!(repository.findings("check-blessing", &["HEAD"]).contains("is gone"));
}

#[rstest]
#[case::of_a_gpu(r#"{"gpu": "a GPU"}"#, true)]
#[case::of_an_instruction_set(r#"{"cpu": "a processor", "instruction-set": "avx2"}"#, true)]
#[case::of_any_processor_of_a_name(r#"{"cpu": "a processor"}"#, false)]
fn a_baseline_that_judges_no_run_may_go(#[case] environment: &str, #[case] found: bool) {
    let repository = Repository::new();
    let name = "baselines/cpu/net/cell.json";
    repository.write(name, &format!(r#"{{"entries": [{{"reason": "first", "environment": {environment}}}]}}"#));
    repository.commit();
    fs::remove_file(repository.path(name)).unwrap();
    assert_eq!(repository.findings("check-blessing", &["HEAD"]).contains("is gone"), found);
}

#[test]
fn a_new_file_is_judged_whether_tracked_or_not() {
    let repository = Repository::new();
    repository.write("baselines/cpu/net/cell.json", &series(&[("", 1)]));
    assert!(repository.findings("check-blessing", &["HEAD"]).contains("has no `reason` in entry 1"));
    repository.write("baselines/cpu/net/cell.json", "{");
    assert!(repository.findings("check-blessing", &["HEAD"]).contains("is no series"));
}

#[test]
fn without_a_base_everything_is_judged() {
    let repository = Repository::new();
    repository.write("snapshots/other.golden", &golden("2026-01-01T00:00:00Z", "", "1"));
    repository.commit();
    let zeros = "0".repeat(40);
    assert!(repository.findings("check-blessing", &[&zeros]).contains("other.golden"));
}

#[rstest]
#[case("src/snapshots/a.snap.new")]
#[case("src/.lib.rs.pending-snap")]
fn an_undecided_snapshot_is_found(#[case] name: &str) {
    let repository = Repository::new();
    assert_eq!(repository.findings("check-pending", &[]), "");
    repository.write(name, "");
    // Ignoring it hides nothing.
    repository.write(".gitignore", "*.snap.new\n*.pending-snap\n");
    assert!(repository.findings("check-pending", &[]).contains(name));
}

#[test]
fn a_large_file_is_found() {
    let repository = Repository::new();
    assert_eq!(repository.findings("check-size", &["1"]), "");
    repository.write("large.bin", &"x".repeat((1 << 20) + 1));
    repository.commit();
    assert!(repository.findings("check-size", &["1"]).contains("large.bin"));
}

#[rstest]
#[case::as_it_is("", "", "")]
#[case::by_tag("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7", "is not pinned by commit")]
#[case::forks_with_secrets("  pull_request:", "  pull_request_target:", "runs with secrets on what a fork sends")]
#[case::all_permissions("permissions: {}", "permissions: write-all", "does not state `permissions: {}`")]
#[case::fork_on_a_gpu(
    "github.event.pull_request.head.repo.full_name == github.repository",
    "true",
    "self-hosted runner"
)]
#[case::text_in_a_shell(
    "run: ci/archive",
    "run: ci/archive ${{ github.head_ref }}",
    "has an expression in a shell line"
)]
#[case::secret("run: ci/archive", "env: {TOKEN: '${{ secrets.TOKEN }}'}", "names a secret")]
#[case::credentials("persist-credentials: false", "persist-credentials: true", "`persist-credentials: false`")]
#[case::no_limit("timeout-minutes: 90", "continue-on-error: false", "has no time limit")]
fn a_workflow_lets_nobody_in(#[case] from: &str, #[case] to: &str, #[case] says: &str) {
    let workflow = fs::read_to_string(".github/workflows/gate.yml").unwrap();
    assert!(workflow.contains(from));
    let repository = Repository::new();
    repository.write("gate.yml", &workflow.replace(from, to));
    let found = repository.findings("check-workflows", &[repository.path("gate.yml").to_str().unwrap()]);
    assert!(found.contains(says) && found.is_empty() == says.is_empty(), "{found}");
}

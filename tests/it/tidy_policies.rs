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
        let scripts = ["check-pending", "check-size", "check-workflows"];
        for script in scripts.into_iter().chain(["check_workflows.py", "tools", "requirements/lint.txt"]) {
            let to = repository.path("ci").join(script);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(Path::new("ci").join(script), to).unwrap();
        }
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.write("README.md", "a project\n");
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

/// What a scratch project releases: where it got to.
enum Released {
    /// To the tools: nothing was refused.
    Begun,
    /// Refused before anything was done, in these words.
    Refused(&'static str),
}

#[rstest]
#[case::unset("", &[], Released::Refused("`repository` of Cargo.toml is not set"))]
#[case::no_address("repository = \"example.org/team/trtgate\"", &[], Released::Refused("is example.org/team/trtgate"))]
#[case::plain("repository = \"http://example.org/team/trtgate\"", &[], Released::Refused("the https address"))]
#[case::other_version("repository = \"https://example.org/team/trtgate\"", &["0.2.0"], Released::Refused("asked for 0.2.0"))]
#[case::set("repository = \"https://example.org/team/trtgate\"", &["0.1.0"], Released::Begun)]
#[case::trial("", &["--trial"], Released::Begun)]
fn nothing_is_released_before_its_address_is_known(
    #[case] key: &str,
    #[case] arguments: &[&str],
    #[case] expected: Released,
) {
    let repository = Repository::new();
    fs::copy("ci/release", repository.path("ci/release")).unwrap();
    fs::write(repository.path("ci/tools"), "#!/bin/sh\nexit 7\n").unwrap();
    repository.write(
        "Cargo.toml",
        &format!("[package]\nname = \"trtgate\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{key}\n"),
    );
    repository.write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"trtgate\"\nversion = \"0.1.0\"\n");
    repository.write("src/lib.rs", "");
    let output = repository.check("release", arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    match expected {
        Released::Begun => assert_eq!((output.status.code(), text.as_str()), (Some(7), "")),
        Released::Refused(words) => assert!(output.status.code() == Some(2) && text.contains(words), "{text}"),
    }
}

/// A trial is for a desk.
#[test]
fn the_workflow_of_a_release_is_no_trial() {
    let workflow = fs::read_to_string(".github/workflows/release.yml").unwrap();
    assert!(workflow.contains("run: ci/release \"${GITHUB_REF_NAME#v}\"\n") && !workflow.contains("--trial"));
}

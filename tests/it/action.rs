//! The steps of `action.yml`, each script as the runner starts it, in a repository that is not this one, and the pipelines that `init` writes. They are scripts of the
//! source, so an archive of the tests leaves them out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use crate::context::{Context, Run, program, project};

/// A job on a runner: what the steps write for each other.
struct Job {
    context: Context,
    variables: BTreeMap<&'static str, String>,
}

impl Job {
    fn new() -> Self {
        let context = Context::new();
        let mut variables = BTreeMap::new();
        for (name, file) in
            [("GITHUB_PATH", "path"), ("GITHUB_OUTPUT", "output"), ("GITHUB_STEP_SUMMARY", "summary.md")]
        {
            variables.insert(name, context.write(&format!("runner/{file}"), "").display().to_string());
        }
        let temporary = context.path("runner/temp");
        std::fs::create_dir_all(&temporary).unwrap();
        variables.insert("RUNNER_TEMP", temporary.display().to_string());
        for (name, value) in [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REPOSITORY", "team/project"),
            ("GITHUB_EVENT_NAME", "pull_request"),
            ("GITHUB_SHA", "0123"),
            ("GITHUB_REF", "refs/pull/7/merge"),
            ("NAME", "trtgate-report"),
        ] {
            variables.insert(name, value.to_owned());
        }
        Self { context, variables }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.insert(name, value.into());
        self
    }

    /// Runs a script of `ci/action/`.
    fn step(&self, script: &str) -> Run {
        let mut command = Command::new(project().join("ci/action").join(script));
        command.current_dir(self.context.folder.path()).envs(&self.variables);
        command.env_remove("TRTGATE_REQUIRE").env_remove("CIFAR10_DIR").env("NO_COLOR", "1");
        let added = std::fs::read_to_string(self.context.path("runner/path")).unwrap();
        let own = std::env::var("PATH").unwrap();
        // What a job put on its path comes first, and `gh` of the test before all.
        let path = [self.context.path("bin").display().to_string(), added.replace('\n', ":"), own].join(":");
        Run::of(command.env("PATH", path).output().unwrap(), self.context.folder.path())
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.context.path(name)).unwrap_or_default()
    }

    /// `gh` that writes down how it is called, and answers with `answer` where it is asked.
    fn with_gh(self, answer: &str) -> Self {
        let log = self.context.path("gh.log").display().to_string();
        let text =
            format!("#!/bin/sh\necho \"$*\" >> '{log}'\ncase \"$*\" in *--jq*) printf '%s' '{answer}' ;; esac\n");
        let gh = self.context.write("bin/gh", &text);
        let mut permissions = std::fs::metadata(&gh).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        std::fs::set_permissions(&gh, permissions).unwrap();
        self
    }

    fn outputs(&self) -> BTreeMap<String, String> {
        let text = self.read("runner/output");
        text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
    }
}

fn reports(job: &Job) -> PathBuf {
    job.context.path("runner/temp/trtgate-report-trtgate-report")
}

#[test]
fn the_program_is_fetched_by_its_digest_or_not_at_all() {
    let archive = |job: &Job| {
        let packed = job.context.path("release.tgz");
        let folder = program().parent().unwrap().to_owned();
        let mut tar = Command::new("tar");
        tar.args(["--create", "--gzip", "--file"]).arg(&packed).arg("-C").arg(folder).arg("trtgate");
        assert!(tar.status().unwrap().success());
        let digest = trtgate::internals::digest::digest_file(&packed).unwrap();
        (format!("file://{}", packed.display()), digest)
    };
    let job = Job::new();
    let (url, digest) = archive(&job);
    let job = job.with("PROGRAM_URL", url).with("PROGRAM_SHA256", digest);
    let run = job.step("program");
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(run.stdout.starts_with("trtgate "), "{}", run.shown());
    assert!(job.read("runner/path").contains("trtgate-program"));

    let job = Job::new();
    let (url, _) = archive(&job);
    let other = job.with("PROGRAM_URL", url).with("PROGRAM_SHA256", "0".repeat(64));
    let run = other.step("program");
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stdout.contains("::error::the archive has SHA-256") && other.read("runner/path").is_empty());

    for job in [Job::new(), Job::new().with("PROGRAM_URL", "file:///x").with("PROGRAM_SHA256", "latest")] {
        assert_eq!(job.step("program").code, 2);
    }
    let forked = Job::new().with("GITHUB_EVENT_NAME", "pull_request_target");
    assert!(forked.step("program").stdout.contains("use `pull_request`"));
}

/// Cold and warm by one cache, green and red: the gate's step ends well, so that the report is uploaded, and says how it ended.
#[test]
fn a_gate_leaves_annotations_a_summary_and_its_exit_code() {
    let arguments = "--runtime tensorflow --runtime onnxruntime --precision fp32 --batch 8 --offline";
    for broken in [false, true] {
        let job = Job::new().with("PROGRAM", program().display().to_string()).with("ARGUMENTS", arguments);
        job.context.manifest(&[]);
        assert_eq!(job.step("program").code, 0);
        if broken {
            // Another reading of the input than the golden's: the answers are not those that were blessed.
            let text = job.read("gate.toml").replace("range = [0.0, 1.0]", "range = [0.0, 2.0]");
            job.context.write("gate.toml", &text);
        }
        let run = job.step("gate");
        assert_eq!(run.code, 0, "{}", run.shown());
        let outputs = job.outputs();
        let summary = job.read("runner/summary.md");
        if !broken {
            assert_eq!(outputs["code"], "0", "{}", run.shown());
            assert!(summary.contains("PASS") || summary.contains("pass"), "{summary}");
            assert!(!run.stderr.contains("::error"), "{}", run.shown());
        } else {
            assert_ne!(outputs["code"], "0", "{}", run.shown());
            let annotation = run.stderr.lines().find(|line| line.starts_with("::error file=gate.toml,line="));
            assert!(annotation.is_some(), "{}", run.shown());
            assert!(!summary.is_empty(), "{}", run.shown());
        }
        for name in ["report.json", "report.md", "report.html", "report.sarif", "junit.xml"] {
            assert!(reports(&job).join(name).is_file(), "{name}: {}", run.shown());
        }
        // What the gate prints is no command; the mark that ends this is nobody's guess.
        let mark = run.stdout.lines().find_map(|line| line.strip_prefix("::stop-commands::")).unwrap();
        assert!(mark.len() == 32 && run.stdout.contains(&format!("\n::{mark}::\n")), "{}", run.shown());
    }
}

#[test]
fn one_comment_is_kept_up_to_date_and_never_a_forks() {
    let with_report = |job: Job| {
        let folder = job.context.path("reports");
        job.context.write("reports/report.md", "### gate\n");
        job.context.write("reports/report.sarif", "{}");
        job.with("REPORT", folder.display().to_string()).with("PULL_REQUEST", "7")
    };
    let first = with_report(Job::new().with_gh("")).with("HEAD_REPOSITORY", "team/project");
    assert_eq!(first.step("comment").code, 0);
    assert!(
        first.read("gh.log").contains("--method POST repos/team/project/issues/7/comments"),
        "{}",
        first.read("gh.log")
    );
    let again = with_report(Job::new().with_gh("4711")).with("HEAD_REPOSITORY", "team/project");
    assert_eq!(again.step("comment").code, 0);
    assert!(
        again.read("gh.log").contains("--method PATCH repos/team/project/issues/comments/4711"),
        "{}",
        again.read("gh.log")
    );
    let scanned = again.step("sarif");
    assert_eq!(scanned.code, 0, "{}", scanned.shown());
    assert!(again.read("gh.log").contains("repos/team/project/code-scanning/sarifs"));
    let fork = with_report(Job::new().with_gh("")).with("HEAD_REPOSITORY", "stranger/project");
    assert_eq!((fork.step("comment").code, fork.step("sarif").code), (0, 0));
    assert_eq!(fork.read("gh.log"), "");
}

#[test]
fn init_writes_pipelines_that_their_services_take() {
    let context = Context::new();
    std::fs::create_dir_all(context.path(".git")).unwrap();
    std::fs::create_dir_all(context.path("models/net")).unwrap();
    std::fs::copy(project().join("tests/fixtures/wheel/net.onnx"), context.path("models/net/net.onnx")).unwrap();
    let words = ["init", "--no-probes", "--onnx", "models/net/net.onnx", "--out", "models/net/gate.toml"];
    let run = context.run(&[&words[..], &["--github", "--gitlab"]].concat());
    assert_eq!(run.code, 0, "{}", run.shown());
    let (workflow, pipeline) = (context.path(".github/workflows/trtgate.yml"), context.path(".gitlab-ci.yml"));
    let named = "TRTGATE_MANIFEST: \"models/net/gate.toml\"";
    for file in [&workflow, &pipeline] {
        let text = std::fs::read_to_string(file).unwrap();
        assert_eq!(text.matches(named).count(), 1, "{text}");
    }
    let tools = Command::new(project().join("ci/tools")).arg("lint").output().unwrap();
    let tools = PathBuf::from(String::from_utf8(tools.stdout).unwrap().trim_end());
    let lint = |tool: &str, words: &[&str], file: &PathBuf| {
        let output = Command::new(tools.join(tool)).args(words).arg(file).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&said));
    };
    let shellcheck = tools.join("shellcheck");
    lint("actionlint", &["-no-color", "-pyflakes", "", "-shellcheck", shellcheck.to_str().unwrap()], &workflow);
    lint("check-jsonschema", &["--builtin-schema", "vendor.github-workflows"], &workflow);
    lint("check-jsonschema", &["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"], &pipeline);

    // What is there is somebody's, whatever else is forced; nothing was done before that was seen.
    std::fs::write(context.path("models/net/gate.toml"), "theirs").unwrap();
    for (option, theirs) in [("--github", ".github/workflows/trtgate.yml"), ("--gitlab", ".gitlab-ci.yml")] {
        std::fs::write(context.path(theirs), "theirs").unwrap();
        let run = context.run(&[&words[..], &["--force", option]].concat());
        assert_eq!(run.code, 2, "{}", run.shown());
        assert!(run.stderr.contains(theirs) && run.stderr.contains("is there already"), "{}", run.shown());
        assert_eq!(std::fs::read_to_string(context.path(theirs)).unwrap(), "theirs");
    }
    assert_eq!(std::fs::read_to_string(context.path("models/net/gate.toml")).unwrap(), "theirs");
    let run = context.run(&[&words[..], &["--force", "--gitlab=ci/gate.yml"]].concat());
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(std::fs::read_to_string(context.path("ci/gate.yml")).unwrap().starts_with("# Gates the model"));
}

//! One place that runs the program as users do, in a folder of its own, and shows what they would see.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program under test; an archive run elsewhere names it by variable.
pub fn program() -> PathBuf {
    std::env::var_os("NEXTEST_BIN_EXE_trtgate")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_trtgate")), PathBuf::from)
}

/// The project's folder: tests start in it, where they were built and where an archive of them was unpacked.
pub fn project() -> PathBuf {
    std::env::current_dir().unwrap()
}

/// A folder for one test, with the project's own model at hand.
pub struct Context {
    pub folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Context {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    /// Sets a variable for every run; an empty value unsets it.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes a manifest: the project's own with absolute paths, each `from` of `changes` replaced by its `to`.
    pub fn manifest(&self, changes: &[(&str, &str)]) -> PathBuf {
        let project = project();
        let mut text = std::fs::read_to_string(project.join("gate.toml")).unwrap();
        for name in ["models/cifar10/saved_model", "models/cifar10/probes.bin"] {
            text = text.replace(&format!("\"{name}\""), &format!("\"{}\"", project.join(name).display()));
        }
        text = text.replace("fetch = [\"tensorrt-rtx-1.7\", \"tensorrt-rtx-1.4\"]", "");
        text.push_str(&format!("\n[paths]\nsnapshots = \"{}\"\n", project.join("snapshots").display()));
        for (from, to) in changes {
            assert!(text.contains(from), "the manifest has no `{from}`");
            text = text.replace(from, to);
        }
        self.write("gate.toml", &text)
    }

    /// Exports the artifact `kind` into the folder `artifacts`.
    pub fn export(&self, kind: &str) {
        let export = self.run(&["export", "--only", kind, "--output", "artifacts"]);
        assert_eq!(export.code, 0, "{}", export.shown());
    }

    /// Runs `trtgate` with `arguments` in the folder.
    pub fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().unwrap(), self.folder.path())
    }

    /// As [`Context::run`], with standard output going to a full disk.
    pub fn run_on_a_full_disk(&self, arguments: &[&str]) -> Run {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = self.command(arguments);
        command.stdout(full).stderr(std::process::Stdio::piped());
        Run::of(command.spawn().unwrap().wait_with_output().unwrap(), self.folder.path())
    }

    /// The command that [`Context::run`] runs.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).current_dir(self.folder.path()).env("NO_COLOR", "1").env("COLUMNS", "80");
        // What starts the tests may number its processes itself.
        for name in [
            "GITHUB_ACTIONS",
            "TRTGATE_REQUIRE",
            "CIFAR10_DIR",
            "CI_NODE_INDEX",
            "CIRCLE_NODE_INDEX",
            "BUILDKITE_PARALLEL_JOB",
        ] {
            command.env_remove(name);
        }
        for (name, value) in &self.environment {
            if value.is_empty() {
                command.env_remove(name);
            } else {
                command.env(name, value);
            }
        }
        command
    }
}

/// What a run showed.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// What `output` shows of a run in `folder`.
    pub fn of(output: Output, folder: &Path) -> Self {
        let clean = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes)
                .replace(&folder.display().to_string(), "[FOLDER]")
                .replace(&format!("{}/", project().display()), "[PROJECT]/")
        };
        Self { code: output.status.code().unwrap_or(-1), stdout: clean(&output.stdout), stderr: clean(&output.stderr) }
    }

    /// Exit code and both streams, for a snapshot.
    pub fn shown(&self) -> String {
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// A run that ended with exit code 0.
pub fn succeeded(run: Run) -> Run {
    assert_eq!(run.code, 0, "{}", run.shown());
    run
}

/// The report that a run wrote.
pub fn report(path: &Path) -> trtgate::internals::findings::Report {
    trtgate::internals::report::file::read(path).unwrap()
}

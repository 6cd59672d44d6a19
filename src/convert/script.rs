//! The conversion scripts: embedded, written out when they run, and their errors read back.

use std::path::Path;

use serde::Deserialize;

use crate::convert::environment::{Environment, PYTHON_VARIABLE};
use crate::convert::tool::{self, Limit};
use crate::digest::digest_bytes;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Command, ProcessLimits};
use crate::progress::{Progress, Step};

/// What the scripts share.
const COMMON: &str = include_str!("python/common.py");

/// What they share about ONNX graphs.
const GRAPHS: &str = include_str!("python/graphs.py");

/// The quantiser's calibration, in a fraction of its time.
const HISTOGRAMS: &str = include_str!("python/histograms.py");

/// What they share about operator sets.
const OPERATORS: &str = include_str!("python/operators.py");

/// One script.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    /// File name.
    pub(super) name: &'static str,
    /// Text.
    pub(super) text: &'static str,
}

/// The last line that a failed script writes on standard error.
#[derive(Deserialize)]
struct Reported {
    kind: String,
    message: String,
    hint: Option<String>,
}

impl Script {
    /// Digest of the script and of what it shares: part of the key of what it makes.
    pub(super) fn digest(self) -> String {
        digest_bytes(format!("{}\0{COMMON}\0{GRAPHS}\0{OPERATORS}\0{HISTOGRAMS}", self.text).as_bytes())
    }

    /// Runs the script with `arguments` (`name`, `value`), as `--name value`; `scratch` is a folder for its text.
    pub(super) fn run(
        self,
        environment: &Environment,
        limits: &ProcessLimits,
        scratch: &Path,
        arguments: &[(&str, String)],
        progress: &dyn Progress,
        step: &dyn Step,
    ) -> Result<()> {
        let python = environment
            .python
            .as_ref()
            .ok_or_else(|| Error::missing("this environment has no interpreter to convert with"))?;
        let folder = tempfile::Builder::new()
            .prefix(".scripts")
            .tempdir_in(scratch)
            .map_err(|error| Error::io("write into", scratch, error))?;
        let shared =
            [("common.py", COMMON), ("graphs.py", GRAPHS), ("operators.py", OPERATORS), ("histograms.py", HISTOGRAMS)];
        for (name, text) in shared.into_iter().chain([(self.name, self.text)]) {
            let path = folder.path().join(name);
            std::fs::write(&path, text).map_err(|error| Error::io("write", &path, error))?;
        }
        let script = folder.path().join(self.name);
        // Not `-I`, which would ignore the seed: with the user's packages off, no other variable of Python's passed on, and the
        // script's own folder in front, it is as isolated.
        let mut command = Command::new(python)
            .arg("-s")
            .arg(script)
            .inside(folder.path())
            // The order of sets must not reach the bytes of an artifact.
            .env("PYTHONHASHSEED", "0")
            .env("TMPDIR", folder.path())
            .with_memory(limits.memory_mebibytes);
        for (name, value) in arguments {
            command = command.arg(format!("--{name}")).arg(value);
        }
        tool::run(&command, Limit::convert(limits), progress, step).map(|_| ()).map_err(|failure| explain(*failure))
    }
}

/// Turns the failure of a script into an error: its own words where it had some.
fn explain(failure: tool::Failure) -> Error {
    if failure.stopped {
        return failure.error;
    }
    // A library may still print something while the interpreter ends.
    let reported = failure.lines.iter().rev().find_map(|line| serde_json::from_str::<Reported>(line).ok());
    let Some(Reported { kind, message, hint }) = reported else { return failure.error };
    let error = match kind.as_str() {
        _ if failure.error.kind == ErrorKind::Machine => {
            Error { hint: failure.error.hint, ..Error::machine(format!("the converter failed: {message}")) }
        }
        "input" => Error::input(message),
        "unsupported" => Error::unsupported(message),
        "missing" => Error::missing(format!("the converter's Python: {message}"))
            .hint(format!("install the packages of `ci/requirements/export.in` there, or unset `{PYTHON_VARIABLE}`")),
        // Where it happened inside of a library helps few readers, and fills a screen.
        _ => Error::failed(format!("the converter failed: {message}"))
            .hint("`-v` shows all that the converter wrote; export the model again where it is at fault"),
    };
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::progress::Quiet;

    fn run(body: &str) -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let text: &'static str =
            Box::leak(format!("import common\ndef main():\n    {body}\ncommon.run(main)\n").into());
        let environment =
            Environment { python: Some("python3".into()), site_packages: Vec::new(), identity: String::new() };
        let script = Script { name: "test.py", text };
        let outcome =
            script.run(&environment, &ProcessLimits::default(), folder.path(), &[], &Quiet, &*Quiet.begin(""));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        outcome
    }

    #[test]
    fn the_words_of_a_script_become_the_error() {
        run("pass").unwrap();
        let error = run("raise common.InputError('the model has 2 inputs')").unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Input, "the model has 2 inputs"));
        let error = run("import no_such_module").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Missing);
        assert_eq!(error.message, "the converter's Python: No module named 'no_such_module'");
        let error = run("raise ValueError('shape')").unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::Failed, "the converter failed: ValueError: shape")
        );
        assert_eq!(error.causes, Vec::<String>::new());
        let error = run("raise common.Unsupported('nothing to quantise', 'take `int8` out')").unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unsupported, "nothing to quantise"));
        assert_eq!(error.hint.as_deref(), Some("take `int8` out"));
    }

    #[test]
    fn a_script_that_dies_without_words_keeps_its_last_lines() {
        let error = run("import os, sys; print('about to', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)");
        let error = error.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed);
        assert_eq!(error.causes, ["died by signal 9 (SIGKILL, by hand or out of memory)", "about to"]);
    }
}

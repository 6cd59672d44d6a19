//! Runs an external tool: echoed, its output streamed to the progress, the last lines of its errors kept.

use std::collections::VecDeque;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::process::{self, Command, ProcessLimits, Source};
use crate::progress::{Progress, Step};

/// Lines of standard error that are kept for the message of a failure.
const KEPT: usize = 12;

/// How long a tool may take, and what sets it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    time: Duration,
    hint: &'static str,
}

impl Limit {
    /// That of a conversion.
    pub(crate) const fn convert(limits: &ProcessLimits) -> Self {
        Self {
            time: limits.convert,
            hint: "`[limits] convert-seconds` in the manifest or `--convert-limit` sets the limit",
        }
    }

    /// That of a step of an installation.
    pub(crate) const fn install(limits: &ProcessLimits) -> Self {
        Self {
            time: limits.install,
            hint: "`[limits] install-seconds` in the manifest or `--install-limit` sets the limit",
        }
    }

    /// That of a question to an interpreter.
    pub(crate) const fn probe(limits: &ProcessLimits) -> Self {
        Self { time: limits.probe, hint: "`[limits] probe-seconds` in the manifest or `--probe-limit` sets the limit" }
    }
}

/// A tool that did not start or did not end well.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What failed, with the last lines of standard error as causes.
    pub(crate) error: Error,
    /// The last lines of standard error.
    pub(crate) lines: Vec<String>,
    /// Whether it was ended because of a limit.
    pub(crate) stopped: bool,
}

/// Runs `command` to its end; returns its standard output. `step` shows its lines as they come.
pub(crate) fn run(
    command: &Command,
    limit: Limit,
    progress: &dyn Progress,
    step: &dyn Step,
) -> Result<String, Box<Failure>> {
    progress.command(&command.to_string());
    let mut last = VecDeque::new();
    let outcome = process::run(command, limit.time, &mut |source, line| {
        step.detail(line.trim());
        progress.output(line);
        if source == Source::Errors {
            if last.len() == KEPT {
                last.pop_front();
            }
            last.push_back(line.to_owned());
        }
    });
    let outcome = outcome.map_err(|error| {
        let error = Error::missing(format!("cannot start `{command}`")).because(error);
        Box::new(Failure { error, lines: Vec::new(), stopped: false })
    })?;
    let stopped = outcome.stopped.is_some();
    let how = match outcome.answer() {
        Ok(printed) => return Ok(printed),
        Err(how) => how,
    };
    let lines: Vec<String> = last.into();
    let full = lines.iter().any(|line| line.contains("No space left on device") || line.contains("Errno 28"));
    let mut error =
        Error::new(if full { ErrorKind::Machine } else { ErrorKind::Failed }, format!("`{command}` failed")).cause(how);
    error.causes.extend(lines.iter().filter(|line| !line.trim().is_empty()).cloned());
    if full {
        error = error.hint("free space on that disk, or move the cache with `TRTGATE_CACHE`");
    } else if stopped {
        error = error.hint(limit.hint);
    }
    Err(Box::new(Failure { error, lines, stopped }))
}

/// Asks a program something: its standard output, or why there is none, with the last line of its errors.
pub(crate) fn ask(command: &Command, limits: &ProcessLimits) -> Result<String, Error> {
    let limit = Limit::probe(limits);
    let mut last = String::new();
    let outcome = process::run(command, limit.time, &mut |source, line| {
        if source == Source::Errors && !line.trim().is_empty() {
            line.clone_into(&mut last);
        }
    });
    let failed = |how: String| Error::missing(how);
    let outcome = outcome.map_err(|error| failed(error.to_string()))?;
    let stopped = outcome.stopped.is_some();
    outcome.answer().map_err(|how| match last {
        _ if stopped => failed(how).hint(limit.hint),
        last if last.is_empty() => failed(how),
        last => failed(last),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::progress::{Quiet, Recorded};

    fn shell(script: &str) -> (Recorded, Result<String, Box<Failure>>) {
        let progress = Recorded::default();
        let limit = Limit::convert(&ProcessLimits::default());
        let outcome = run(&Command::new("sh").args(["-c", script]), limit, &progress, &*Quiet.begin(""));
        (progress, outcome)
    }

    #[test]
    fn output_is_returned_and_the_command_told() {
        let (progress, outcome) = shell("echo one; echo two >&2; echo three");
        assert_eq!(outcome.unwrap(), "one\nthree\n");
        assert_eq!(progress.lines(), ["command: sh -c 'echo one; echo two >&2; echo three'"]);
    }

    #[test]
    fn a_failure_keeps_the_last_lines_of_standard_error() {
        let (_, outcome) = shell("for i in $(seq 40); do echo line $i >&2; done; exit 3");
        let failure = outcome.unwrap_err();
        assert_eq!(failure.lines.len(), KEPT);
        assert_eq!(failure.lines.last().unwrap(), "line 40");
        assert_eq!(failure.error.causes.first().unwrap(), "exited with code 3");
        assert_eq!(failure.error.kind, ErrorKind::Failed);
    }

    #[test]
    fn a_flood_on_both_pipes_does_not_block() {
        let (_, outcome) = shell("head -c 3000000 /dev/zero | tr '\\0' 'x' >&2; seq 20000");
        assert_eq!(outcome.unwrap().lines().count(), 20_000);
    }

    #[test]
    fn a_full_disk_and_a_missing_program_have_their_own_kinds() {
        let (_, outcome) = shell("echo 'OSError: [Errno 28] No space left on device' >&2; exit 1");
        assert_eq!(outcome.unwrap_err().error.kind, ErrorKind::Machine);
        let limit = Limit::convert(&ProcessLimits::default());
        let outcome = run(&Command::new("/nonexistent/tool"), limit, &Quiet, &*Quiet.begin(""));
        assert_eq!(outcome.unwrap_err().error.kind, ErrorKind::Missing);
    }

    #[test]
    fn a_signal_is_named() {
        let (_, outcome) = shell("kill -9 $$");
        let how = "died by signal 9 (SIGKILL, by hand or out of memory)";
        assert_eq!(outcome.unwrap_err().error.causes.first().unwrap(), how);
    }

    #[test]
    fn what_hangs_is_ended_at_its_limit_which_is_named() {
        let limits = ProcessLimits { convert: Duration::from_millis(200), ..ProcessLimits::default() };
        let command = Command::new("sh").args(["-c", "echo begun >&2; sleep 600"]);
        let failure = run(&command, Limit::convert(&limits), &Quiet, &*Quiet.begin("")).unwrap_err();
        assert!(failure.stopped);
        assert_eq!(failure.error.causes, ["timed out after 0.2 s, and was stopped", "begun"]);
        assert!(failure.error.hint.unwrap().contains("`--convert-limit`"));
        let limits = ProcessLimits { probe: Duration::from_millis(200), ..limits };
        let error = ask(&command, &limits).unwrap_err();
        assert_eq!(error.message, "timed out after 0.2 s, and was stopped");
        assert!(error.hint.unwrap().contains("`--probe-limit`"));
    }
}

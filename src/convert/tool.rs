//! Runs an external tool: echoed, its output streamed to the progress, the last lines of its errors kept.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::mpsc;

use xshell::Cmd;

use crate::convert::progress::{Progress, Step};
use crate::error::{Error, ErrorKind};

/// Lines of standard error that are kept for the message of a failure.
const KEPT: usize = 12;

/// A tool that did not start or did not end well.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What failed, with the last lines of standard error as causes.
    pub(crate) error: Error,
    /// The last lines of standard error.
    pub(crate) lines: Vec<String>,
}

/// Runs `command` to its end; returns its standard output. `step` shows its lines as they come.
pub(crate) fn run(command: &Cmd, progress: &dyn Progress, step: &dyn Step) -> Result<String, Box<Failure>> {
    progress.command(&command.to_string());
    let mut child =
        command.to_command().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(
            |error| {
                Box::new(Failure {
                    error: Error::missing(format!("cannot start `{command}`")).because(error),
                    lines: Vec::new(),
                })
            },
        )?;
    let (sender, receiver) = mpsc::channel();
    let mut printed = String::new();
    let mut last = VecDeque::new();
    let pipes = [child.stdout.take().map(Pipe::output), child.stderr.take().map(Pipe::errors)];
    std::thread::scope(|scope| {
        for pipe in pipes.into_iter().flatten() {
            let sender = sender.clone();
            scope.spawn(move || pipe.forward(&sender));
        }
        drop(sender);
        for (is_error, line) in receiver {
            step.detail(line.trim());
            progress.output(&line);
            if is_error {
                if last.len() == KEPT {
                    last.pop_front();
                }
                last.push_back(line);
            } else {
                printed.push_str(&line);
                printed.push('\n');
            }
        }
    });
    let status = child.wait();
    if status.as_ref().is_ok_and(std::process::ExitStatus::success) {
        return Ok(printed);
    }
    let lines: Vec<String> = last.into();
    let full = lines.iter().any(|line| line.contains("No space left on device") || line.contains("Errno 28"));
    let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    let mut error =
        Error::new(if full { ErrorKind::Machine } else { ErrorKind::Failed }, format!("`{command}` failed")).cause(how);
    error.causes.extend(lines.iter().filter(|line| !line.trim().is_empty()).cloned());
    if full {
        error = error.hint("free space on that disk, or move the cache with `TRTGATE_CACHE`");
    }
    Err(Box::new(Failure { error, lines }))
}

struct Pipe {
    reader: Box<dyn Read + Send>,
    is_error: bool,
}

impl Pipe {
    fn output(reader: impl Read + Send + 'static) -> Self {
        Self { reader: Box::new(reader), is_error: false }
    }

    fn errors(reader: impl Read + Send + 'static) -> Self {
        Self { reader: Box::new(reader), is_error: true }
    }

    /// Sends every line; bytes that are not UTF-8 are replaced.
    fn forward(self, sender: &mpsc::Sender<(bool, String)>) {
        let mut reader = BufReader::new(self.reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send((self.is_error, text)).is_err() {
                return;
            }
            line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use xshell::{Shell, cmd};

    use super::*;
    use crate::convert::progress::{Quiet, Recorded};

    fn shell(script: &str) -> (Recorded, Result<String, Box<Failure>>) {
        let shell = Shell::new().unwrap();
        let progress = Recorded::default();
        let outcome = run(&cmd!(shell, "sh -c {script}"), &progress, &*Quiet.begin(""));
        (progress, outcome)
    }

    #[test]
    fn output_is_returned_and_the_command_told() {
        let (progress, outcome) = shell("echo one; echo two >&2; echo three");
        assert_eq!(outcome.unwrap(), "one\nthree\n");
        assert_eq!(progress.lines(), ["command: sh -c \"echo one; echo two >&2; echo three\""]);
    }

    #[test]
    fn a_failure_keeps_the_last_lines_of_standard_error() {
        let (_, outcome) = shell("for i in $(seq 40); do echo line $i >&2; done; exit 3");
        let failure = outcome.unwrap_err();
        assert_eq!(failure.lines.len(), KEPT);
        assert_eq!(failure.lines.last().unwrap(), "line 40");
        assert_eq!(failure.error.causes.first().unwrap(), "exit status: 3");
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
        let shell = Shell::new().unwrap();
        let outcome = run(&cmd!(shell, "/nonexistent/tool"), &Quiet, &*Quiet.begin(""));
        assert_eq!(outcome.unwrap_err().error.kind, ErrorKind::Missing);
    }

    #[test]
    fn a_signal_is_named() {
        let (_, outcome) = shell("kill -9 $$");
        assert_eq!(outcome.unwrap_err().error.causes.first().unwrap(), "signal: 9 (SIGKILL)");
    }
}

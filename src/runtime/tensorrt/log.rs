//! TensorRT's log: captured for the process, attached to the errors that it explains.
//!
//! TensorRT keeps the first logger it is given for the rest of the process, so there is one log here too. A [`Mark`] is a
//! point in it; what was said after the mark belongs to the call that followed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::runtime::tensorrt::diagnosis;

/// How serious a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// TensorRT found itself in the wrong.
    InternalError,
    /// The application did something wrong.
    Error,
    /// Worth knowing, survived.
    Warning,
    /// Progress.
    Info,
    /// Details.
    Verbose,
}

impl Severity {
    /// From `ILogger::Severity`; unknown values count as errors, so that nothing serious is lost.
    pub const fn from_number(number: i32) -> Self {
        match number {
            0 => Self::InternalError,
            2 => Self::Warning,
            3 => Self::Info,
            4 => Self::Verbose,
            _ => Self::Error,
        }
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// How serious it is.
    pub severity: Severity,
    /// The text, as TensorRT wrote it.
    pub text: String,
}

/// A point in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// Lines kept; the oldest go first.
const CAPACITY: usize = 1024;
/// Log lines attached to one error.
const ATTACHED: usize = 8;

struct Log {
    lines: VecDeque<Line>,
    /// Lines ever taken in.
    written: u64,
    /// Lines at least this serious are also printed to standard error.
    echo: Option<Severity>,
}

static LOG: Mutex<Log> = Mutex::new(Log { lines: VecDeque::new(), written: 0, echo: None });

fn with_log<T>(work: impl FnOnce(&mut Log) -> T) -> T {
    // A panic elsewhere cannot leave the queue half-changed.
    work(&mut LOG.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Prints lines of at least this severity to standard error as they come, so that they survive a crash of the process.
pub fn echo(severity: Option<Severity>) {
    with_log(|log| log.echo = severity);
}

/// Takes in one line; informative lines are dropped unless they are echoed.
pub(super) fn write(severity: Severity, text: &str) {
    with_log(|log| {
        if log.echo.is_some_and(|least| severity <= least) {
            use std::io::Write as _;
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "tensorrt {severity:?}: {text}");
        }
        if severity > Severity::Warning {
            return;
        }
        if log.lines.len() == CAPACITY {
            log.lines.pop_front();
        }
        log.lines.push_back(Line { severity, text: text.trim().to_owned() });
        log.written += 1;
    });
}

/// The present point.
pub fn mark() -> Mark {
    with_log(|log| Mark(log.written))
}

/// Lines since `mark` that are still kept.
pub fn since(mark: Mark) -> Vec<Line> {
    with_log(|log| {
        let first_kept = log.written - log.lines.len() as u64;
        let skipped = usize::try_from(mark.0.saturating_sub(first_kept)).unwrap_or(usize::MAX);
        log.lines.iter().skip(skipped).cloned().collect()
    })
}

/// Warnings since `mark`, each text once.
pub fn warnings_since(mark: Mark) -> Vec<String> {
    let mut seen = Vec::new();
    for line in since(mark) {
        if line.severity == Severity::Warning && !seen.contains(&line.text) {
            seen.push(line.text);
        }
    }
    seen
}

/// Attaches the errors logged since `mark` to `error`, with a kind, a message and a hint of their own where the lines are
/// known.
pub fn explain(mark: Mark, error: Error) -> Error {
    let lines = since(mark);
    let mut errors: Vec<String> =
        lines.into_iter().filter(|line| line.severity <= Severity::Error).map(|line| line.text).collect();
    let error = diagnosis::diagnose(&errors, error);
    // The first error is the cause; what follows is often only its echo.
    errors.truncate(ATTACHED);
    errors.into_iter().fold(error, |error, line| error.cause(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test: the log belongs to the process.
    #[test]
    fn errors_since_the_mark_explain_a_failure() {
        write(Severity::Error, "before");
        let start = mark();
        write(Severity::Info, "progress");
        write(Severity::Warning, "odd");
        write(Severity::Warning, "odd");
        write(Severity::Error, " first \n");
        assert_eq!(warnings_since(start), ["odd"]);
        let error = explain(start, Error::failed("`build` failed"));
        assert_eq!(error.to_string(), "`build` failed: first");
        for number in 0..2 * CAPACITY {
            write(Severity::Warning, &number.to_string());
        }
        assert_eq!(since(start).len(), CAPACITY);
        assert!(since(mark()).is_empty());
        assert_eq!(Severity::from_number(17), Severity::Error);
    }
}

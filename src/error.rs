//! The one error type of the crate: what failed, why, and what to do next.
//!
//! An [`Error`] is plain data, so that it survives the way from a worker process to the report unchanged.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong; decides the exit code and the status of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The command line or the manifest is wrong: exit code 2.
    Usage,
    /// A file given as input cannot be read, is truncated or malformed: exit code 2.
    Input,
    /// A library, tool or device is not on this machine; cells become `unavailable`.
    Missing,
    /// The combination is known not to work; cells become `unsupported`.
    Unsupported,
    /// There is nothing valid to compare with (stale or foreign golden, samples missing); cells become `invalid`.
    Invalid,
    /// The model, artifact or runtime misbehaved: cells become `fail`.
    Failed,
    /// The machine refused (disk full, out of memory, permission): cells become `invalid`, nothing is stored.
    Machine,
}

/// What failed, its causes from the nearest to the deepest, and a hint with the next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Error {
    /// The kind, for exit codes and cell status.
    pub kind: ErrorKind,
    /// One sentence without a full stop; literals in backticks.
    pub message: String,
    /// Causes, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// The place in a file that the error is about, drawn as lines of text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
    /// The next step for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Error {
    /// A new error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new(), excerpt: None, hint: None }
    }

    /// A wrong command line or manifest.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// A malformed or unreadable input.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Input, message)
    }

    /// Something that is not on this machine.
    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Missing, message)
    }

    /// A combination that is known not to work.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Nothing valid to compare with.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// A model, artifact or runtime that misbehaved.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// A refusal by the machine.
    pub fn machine(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Machine, message)
    }

    /// Adds a hint: the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts the place that it is about before the message: a file, an array.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Adds the place in a file, drawn as lines of text.
    #[must_use]
    pub fn excerpt(mut self, excerpt: impl Into<String>) -> Self {
        self.excerpt = Some(excerpt.into());
        self
    }

    /// Adds `source` and its whole chain as causes.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error) -> Self {
        self.causes.push(source.to_string());
        let mut next = source.source();
        while let Some(cause) = next {
            self.causes.push(cause.to_string());
            next = cause.source();
        }
        self
    }

    /// Adds one cause in words.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds the last lines that a process wrote, as an excerpt.
    #[must_use]
    pub fn with_lines(self, lines: &[String]) -> Self {
        if lines.is_empty() { self } else { self.excerpt(format!("  last lines:\n    {}", lines.join("\n    "))) }
    }

    /// Wraps this error: `message` becomes what failed, the old message its first cause; the kind and hint stay.
    #[must_use]
    pub fn context(mut self, message: impl Into<String>) -> Self {
        self.causes.insert(0, std::mem::replace(&mut self.message, message.into()));
        self
    }

    /// An I/O error at `path`: `Input` where the name is wrong (nothing there, a folder, a device, a loop of links) or what
    /// it holds cannot be meant (not text, without end), `Machine` otherwise, with a hint for a full disk.
    pub fn io(action: &str, path: &std::path::Path, source: std::io::Error) -> Self {
        let full = matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
        let wrong_name = matches!(
            source.kind(),
            std::io::ErrorKind::NotFound
                | std::io::ErrorKind::IsADirectory
                | std::io::ErrorKind::NotADirectory
                | std::io::ErrorKind::InvalidData
                | std::io::ErrorKind::InvalidInput
                | std::io::ErrorKind::TimedOut
        ) || source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
        let kind = if wrong_name { ErrorKind::Input } else { ErrorKind::Machine };
        let error = Self::new(kind, format!("cannot {action} `{}`", path.display())).because(source);
        if full { error.hint("free space on that disk, or move the cache with `TRTGATE_CACHE`") } else { error }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        for cause in &self.causes {
            write!(formatter, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

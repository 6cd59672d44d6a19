//! What is to be run, and how.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::child::Child;
use super::{environment, spawn};
use crate::runtime::kernel;

/// A process to start. It gets no variable but those of the allowlist and those that are given here.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    fetches: bool,
    input: bool,
    shows_errors: bool,
    minds_its_parent: bool,
    memory_mebibytes: Option<u64>,
    leaves: Option<PathBuf>,
}

impl Command {
    /// `program`, a path or a name that `PATH` leads to.
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            folder: None,
            fetches: false,
            input: false,
            shows_errors: false,
            minds_its_parent: false,
            memory_mebibytes: None,
            leaves: None,
        }
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs it in `folder`.
    pub(crate) fn inside(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Passes on what says how to reach the network: proxies, certificates, settings of pip.
    pub(crate) fn fetching(mut self) -> Self {
        self.fetches = true;
        self
    }

    /// Its standard input is a pipe; otherwise it is empty.
    pub(crate) fn with_input(mut self) -> Self {
        self.input = true;
        self
    }

    /// Its standard error is this process's own.
    pub(crate) fn showing_errors(mut self) -> Self {
        self.shows_errors = true;
        self
    }

    /// It sees to it by itself that it dies with its parent, and is started the faster.
    pub(crate) fn minding_its_parent(mut self) -> Self {
        self.minds_its_parent = true;
        self
    }

    /// Most memory that it, and each process that it starts, may ask for.
    pub(crate) fn with_memory(mut self, mebibytes: Option<u64>) -> Self {
        self.memory_mebibytes = mebibytes;
        self
    }

    /// Files whose paths begin with `start` are its own: they are removed once it has ended, however it ended.
    pub(crate) fn sweeping(mut self, start: PathBuf) -> Self {
        self.leaves = Some(start);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// `NotFound` if there is no such program, others as the system gives them.
    pub(crate) fn start(&self) -> std::io::Result<Child> {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new(environment::resolve(&self.program)?);
        command.args(&self.arguments).env_clear().envs(environment::inherited(self.fetches));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(if self.input { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped());
        command.stderr(if self.shows_errors { Stdio::inherit() } else { Stdio::piped() }).process_group(0);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        if let Some(mebibytes) = self.memory_mebibytes {
            kernel::limit_memory(&mut command, mebibytes.saturating_mul(1 << 20));
        }
        if !self.minds_its_parent {
            kernel::die_with_parent(&mut command);
        }
        Child::of(spawn::spawn(command, !self.minds_its_parent, self.leaves.clone())?, self.leaves.clone())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&quoted(&self.program.to_string_lossy()))?;
        self.arguments.iter().try_for_each(|word| write!(formatter, " {}", quoted(&word.to_string_lossy())))
    }
}

/// `text` as one word of a shell line.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-@:+=".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

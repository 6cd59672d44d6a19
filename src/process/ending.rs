//! How a process ended, in words.

use std::fmt;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// Nobody can tell: the system forgot it, or it cannot be ended.
    Unknown,
}

impl Ending {
    /// Whether it ended as it should.
    pub(crate) const fn is_success(self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(formatter, "exited with code {code}"),
            Self::Signalled(signal) => write!(formatter, "died by signal {signal} ({})", name(*signal)),
            Self::Unknown => formatter.write_str("ended, nobody can tell how"),
        }
    }
}

/// The name of a signal, with what it means where that says more.
fn name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL, an instruction this processor does not have",
        6 => "SIGABRT, the library gave up",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL, by hand or out of memory",
        11 => "SIGSEGV, a bad memory access in the library",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        _ => "see signal(7)",
    }
}

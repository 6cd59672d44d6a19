//! One runner for every process that trtgate starts: workers, converters, pip, interpreters that are asked for their version,
//! downloads.
//!
//! | what | how |
//! |---|---|
//! | it does not outlive trtgate | its parent's death kills it ([`crate::runtime::kernel`]), and so does a signal that ends trtgate ([`stop`]) |
//! | nor does what it starts | a process group of its own, killed when the process ends, is ended or is dropped, and by [`guard`] where trtgate is killed |
//! | nor what they leave in shared memory | files by the start of their paths, removed by whoever ends the group |
//! | it gets what it needs | an environment by allowlist, absolute folders in `PATH` and `LD_LIBRARY_PATH`, no descriptors but its streams |
//! | it ends | limits on time and output; SIGTERM, a grace period, then SIGKILL; no wait without a limit, on a pipe neither |
//! | it says why | [`Ending`]: timed out after …, died by signal …, exited with code … |
//!
//! [`Command`] describes it, [`Child`] is one that runs, [`run`] takes one to its end.

mod child;
mod command;
mod ending;
mod environment;
mod guard;
mod limits;
mod lines;
pub(crate) mod loader_path;
mod run;
mod spawn;
pub(crate) mod stop;
mod streams;

pub(crate) use child::Child;
pub(crate) use command::{Command, quoted};
pub use limits::ProcessLimits;
pub(crate) use run::{Source, run};
pub(crate) use streams::{Interrupt, StreamReader, StreamWriter, timespec};

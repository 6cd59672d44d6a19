//! The gate as a test binary of anybody's crate: every cell of a manifest is a test.
//!
//! ```toml
//! # Cargo.toml
//! [[test]]
//! name = "gate"
//! harness = false
//! ```
//!
//! ```no_run
//! // tests/gate.rs
//! fn main() {
//!     trtgate::harness::main("gate.toml")
//! }
//! ```
//!
//! `cargo nextest run` and `cargo test` list and run it like any other test: by name, by filter, in partitions, out of an
//! archive, with JUnit. The names are the manifest's (`onnxruntime/fp16/batch-8`, `tensorrt/int8/batch-1`), so that they are
//! the same on every machine: what cannot run here is ignored, and the reason is told before the list and in the test itself.
//! A name stands for its cells of every version that is here.
//!
//! Beside the cells there is a test for each engine (`build::tensorrt/fp16`: it is built and nothing more), and three that
//! keep a green from meaning nothing: that the golden stands, that what the manifest requires is here, and that a cell
//! can be judged here at all.
//!
//! | variable | does |
//! |---|---|
//! | `TRTGATE_REQUIRE=onnxruntime,tensorrt@10` | the runtimes of this machine: where one is missing, its tests fail; without it, `[require] runtimes` of the manifest |
//! | `TRTGATE_ARTIFACTS=DIR` | uses what `trtgate export --output DIR` wrote; nothing is converted or installed |
//! | `TRTGATE_REPORTS=DIR` | each test leaves the report of its cells there, whichever process or shard runs it; `trtgate merge` joins them. A machine answers for every cell of the runtimes that are on it or that it is required to have, and for the others too where none is required |
//! | `TRTGATE_CACHE=DIR` | where environments, artifacts and engines are kept |

#![allow(clippy::needless_doctest_main, reason = "the examples are whole files")]

mod judging;
mod preparation;
mod trials;

use std::path::PathBuf;
use std::sync::Arc;

use libtest_mimic::Arguments;

use crate::error::Result;
use crate::facade;
use crate::gate::{Options, Workspace};
use crate::process::stop;
use crate::progress::{Lines, Quiet};
use crate::runtime::own;
use crate::worker::WorkerProgram;

/// The exit code of a test binary with a test that failed.
const FAILED: i32 = 101;

/// Runs the cells of `manifest`, a path from the package's folder, as tests, and ends the process with their outcome: the one
/// line of a test binary with `harness = false`.
///
/// The Python environment that converts models is installed on first use, as `trtgate gate` does it;
/// [`Harness::offline`] forbids it.
///
/// ```no_run
/// fn main() {
///     trtgate::harness::main("gate.toml")
/// }
/// ```
pub fn main(manifest: impl Into<PathBuf>) -> ! {
    Harness::new(manifest).main()
}

/// A test binary that is more than one line.
///
/// ```no_run
/// fn main() {
///     // The machines that run it bring what is needed.
///     trtgate::harness::Harness::new("gate.toml").offline().main()
/// }
/// ```
#[derive(Clone)]
pub struct Harness {
    manifest: PathBuf,
    install: bool,
    runtimes: Vec<&'static dyn own::Runtime>,
}

impl Harness {
    /// The tests of `manifest`, a path from the package's folder.
    pub fn new(manifest: impl Into<PathBuf>) -> Self {
        Self { manifest: manifest.into(), install: true, runtimes: Vec::new() }
    }

    /// Installs nothing: what is missing stays missing.
    #[must_use]
    pub fn offline(mut self) -> Self {
        self.install = false;
        self
    }

    /// Registers a runtime of one's own, whose cells `own = ["fp32"]` in `[matrix.runtimes]` asks for.
    #[must_use]
    pub fn runtime(mut self, runtime: &'static dyn own::Runtime) -> Self {
        self.runtimes.push(runtime);
        self
    }

    /// Takes the arguments that `cargo test` and `cargo nextest` give to a test binary, does what they say, and ends the
    /// process with the outcome: it must not be lost.
    ///
    /// Code that loads a vendor library runs in processes of this same binary, so that this call has to be the first thing
    /// that `main` does.
    pub fn main(self) -> ! {
        for runtime in &self.runtimes {
            if let Err(error) = own::register(*runtime) {
                crate::console::note(&format!("error: {error}"));
                std::process::exit(FAILED)
            }
        }
        facade::init();
        stop::on_signals(crate::console::note);
        let code = self.conclude(&Arguments::from_args());
        stop::hold_while_ending();
        std::process::exit(code)
    }

    /// Lists or runs the tests.
    fn conclude(self, arguments: &Arguments) -> i32 {
        let tests = trials::Tests::of(self, arguments);
        let conclusion = libtest_mimic::run(arguments, tests.trials);
        match tests.shared.nothing_judged(arguments) {
            Some(told) => {
                crate::console::note(&told);
                FAILED
            }
            None if conclusion.has_failed() => FAILED,
            None => 0,
        }
    }

    /// Opens the workspace; `list` installs nothing.
    fn open(&self, list: bool) -> Result<Workspace> {
        let install = self.install && !list && artifacts().is_none();
        let options = Options {
            install,
            several: true,
            artifacts: artifacts(),
            progress: if install { Arc::new(Lines::default()) } else { Arc::new(Quiet) },
            ..Options::new(self.manifest.clone(), WorkerProgram::this_program()?)
        };
        let mut workspace = Workspace::open(&options)?;
        workspace.progress = Arc::new(Quiet);
        Ok(workspace)
    }
}

/// Artifacts that were made elsewhere.
fn artifacts() -> Option<PathBuf> {
    folder("TRTGATE_ARTIFACTS")
}

/// Where reports go.
fn reports() -> Option<PathBuf> {
    folder("TRTGATE_REPORTS")
}

fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

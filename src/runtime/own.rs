//! Runtimes that a program registers itself, beside those that trtgate knows: `own@NAME` in a manifest and its reports.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::runtime::{Installation, Obstacle, OpenRequest, Probe, SearchPaths, Session};
use crate::vocabulary::{ArtifactKind, Library, Precision, RuntimeId, is_runtime_name};

/// What this process has registered.
static REGISTERED: Mutex<Vec<&'static dyn Runtime>> = Mutex::new(Vec::new());

/// A runtime that a third crate brings: whatever answers for a model's artifact, be it an engine's binding or the network
/// written by hand.
///
/// Its cells are asked for by `own = ["fp32"]` in `[matrix.runtimes]` (`fp16` and `int8` too) and are called
/// `own@NAME/fp32/batch-1`. They are held to the limits of ONNX Runtime on the same graph.
///
/// ```
/// use trtgate::driver::{Artifact, Feeds, Runtime, Session, Signature, Tensor};
/// use trtgate::{Error, Result};
///
/// struct Handwritten;
///
/// impl Runtime for Handwritten {
///     fn name(&self) -> &'static str {
///         "handwritten"
///     }
///     fn version(&self) -> Result<String> {
///         Err(Error::missing("the board is not connected")) // Its cells are unavailable, with this reason.
///     }
///     fn open(&self, artifact: &Artifact<'_>) -> Result<Box<dyn Session>> {
///         Err(Error::unsupported(format!("`{}` is no model of ours", artifact.path.display())))
///     }
/// }
///
/// trtgate::driver::register(&Handwritten)?;
/// assert!(trtgate::driver::register(&Handwritten).is_err(), "a name stands for one runtime");
/// # Ok::<(), Error>(())
/// ```
pub trait Runtime: Sync {
    /// Its name: lower-case letters, digits and hyphens.
    fn name(&self) -> &'static str;

    /// Its version, for reports. Called in the gate's own process, so that nothing that may crash belongs here.
    ///
    /// # Errors
    /// Why it cannot run on this machine: its cells are `unavailable`, or `unsupported` where the error is.
    fn version(&self) -> Result<String>;

    /// Loads an artifact. Called in a worker process: what crashes or hangs there fails its cell.
    ///
    /// # Errors
    /// Why it cannot be loaded: the cell fails with it.
    fn open(&self, artifact: &Artifact<'_>) -> Result<Box<dyn Session>>;
}

/// What a runtime is given to load.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Artifact<'a> {
    /// Its file.
    pub path: &'a Path,
    /// What it is: an ONNX file in FP32, FP16, or with Q/DQ pairs.
    pub kind: ArtifactKind,
    /// The precision that the cell asks for.
    pub precision: Precision,
    /// Largest batch that will be run; at least 1.
    pub batch: usize,
    /// Outputs that are asked for; empty means all.
    pub outputs: &'a [String],
    /// Threads inside one operator; 0 leaves it to the runtime.
    pub threads: usize,
}

/// Registers a runtime in this process: first thing in `main`, since the worker processes are this program too. A test
/// binary does it with [`Harness::runtime`](crate::harness::Harness::runtime).
///
/// # Errors
/// `Usage` for a name that is none or taken.
///
/// ```
/// # use trtgate::driver::{Artifact, Runtime, Session};
/// # struct Nameless;
/// # impl Runtime for Nameless {
/// #     fn name(&self) -> &'static str { "No Name" }
/// #     fn version(&self) -> trtgate::Result<String> { Ok("1.0".to_owned()) }
/// #     fn open(&self, _: &Artifact<'_>) -> trtgate::Result<Box<dyn Session>> { unreachable!() }
/// # }
/// assert!(trtgate::driver::register(&Nameless).is_err());
/// ```
pub fn register(runtime: &'static dyn Runtime) -> Result<()> {
    let name = runtime.name();
    if !is_runtime_name(name) {
        return Err(
            Error::usage(format!("`{name}` is no name of a runtime")).hint("lower-case letters, digits and hyphens")
        );
    }
    let mut known = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    if known.iter().any(|other| other.name() == name) {
        return Err(Error::usage(format!("the runtime `{name}` is registered already")));
    }
    known.push(runtime);
    Ok(())
}

/// The driver of all of them.
pub(super) struct Own;

impl super::Runtime for Own {
    fn library(&self) -> Library {
        Library::Own
    }

    fn probe(&self, _paths: &SearchPaths) -> Probe {
        let known = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let missing = known.is_empty().then(|| Obstacle {
            hint: Some("a program that brings a runtime of its own registers it: docs/library.md".to_owned()),
            ..Obstacle::unavailable("this program has registered no runtime of its own")
        });
        Probe { found: known.into_iter().map(installation).collect(), missing }
    }

    fn open(&self, request: &OpenRequest) -> Result<Box<dyn Session>> {
        let name = request.installation.id.version_text();
        let known = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let runtime = known.into_iter().find(|runtime| runtime.name() == name).ok_or_else(|| {
            Error::missing(format!("the worker has no runtime `{name}`"))
                .hint("register it first in `main`, before anything is asked of trtgate")
        })?;
        runtime.open(&Artifact {
            path: &request.artifact,
            kind: request.kind,
            precision: request.precision,
            batch: request.batch,
            outputs: &request.options.outputs,
            threads: request.options.intra_threads,
        })
    }
}

/// A registered runtime as one found on this machine: its library is this program.
fn installation(runtime: &'static dyn Runtime) -> Installation {
    let id = RuntimeId::versioned(Library::Own, runtime.name());
    let program = std::env::current_exe().unwrap_or_default();
    match runtime.version() {
        Ok(version) => Installation::plain(id, version, program),
        Err(error) => {
            let status = match error.kind {
                crate::error::ErrorKind::Unsupported => crate::vocabulary::Status::Unsupported,
                crate::error::ErrorKind::Missing => crate::vocabulary::Status::Unavailable,
                // What is there and does not know itself is damaged.
                _ => crate::vocabulary::Status::Invalid,
            };
            let obstacle = Obstacle { status, reason: error.to_string(), tried: Vec::new(), hint: error.hint.clone() };
            Installation { run_obstacle: Some(obstacle), ..Installation::plain(id, "unknown", program) }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::ErrorKind;
    use crate::runtime::Runtime as _;
    use crate::tensor::{Feeds, Signature, Tensor};
    use crate::vocabulary::Status;

    struct Echo(&'static str, Option<ErrorKind>);

    struct Echoed(Signature);

    impl Session for Echoed {
        fn signature(&self) -> &Signature {
            &self.0
        }

        fn run(&mut self, feeds: &Feeds) -> Result<Vec<Tensor>> {
            Ok(feeds.tensors().cloned().collect())
        }
    }

    impl Runtime for Echo {
        fn name(&self) -> &'static str {
            self.0
        }

        fn version(&self) -> Result<String> {
            self.1.map_or_else(|| Ok("1.2".to_owned()), |kind| Err(Error::new(kind, "the board is not here")))
        }

        fn open(&self, artifact: &Artifact<'_>) -> Result<Box<dyn Session>> {
            assert_eq!((artifact.batch, artifact.precision), (4, Precision::Fp16));
            Ok(Box::new(Echoed(Signature { inputs: Vec::new(), outputs: Vec::new() })))
        }
    }

    /// What is registered is found, and opened by its name; what cannot run says why. One test, as what is registered is the
    /// process's.
    #[test]
    fn what_is_registered_is_a_runtime_like_any_other() {
        let nothing = Own.probe(&SearchPaths::default());
        assert!(nothing.found.is_empty() && nothing.missing.is_some());
        for wrong in ["", "Echo", "a@b", "a/b", "-a", "8.5"] {
            let error = register(Box::leak(Box::new(Echo(wrong, None)))).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Usage, "{wrong}");
        }
        register(&Echo("echo", None)).unwrap();
        register(&Echo("absent", Some(ErrorKind::Missing))).unwrap();
        register(&Echo("never", Some(ErrorKind::Unsupported))).unwrap();
        register(&Echo("broken", Some(ErrorKind::Failed))).unwrap();
        assert!(register(&Echo("echo", None)).is_err());
        let found = Own.probe(&SearchPaths::default()).found;
        let told: Vec<(String, Option<Status>)> = found
            .iter()
            .map(|found| (found.id.to_string(), found.run_obstacle.as_ref().map(|obstacle| obstacle.status)))
            .collect();
        assert_eq!(
            told,
            [
                ("own@echo".to_owned(), None),
                ("own@absent".to_owned(), Some(Status::Unavailable)),
                ("own@never".to_owned(), Some(Status::Unsupported)),
                ("own@broken".to_owned(), Some(Status::Invalid)),
            ]
        );
        let mut request = OpenRequest {
            installation: found[0].clone(),
            artifact: "m.onnx".into(),
            kind: ArtifactKind::OnnxFp16,
            precision: Precision::Fp16,
            batch: 4,
            options: crate::runtime::SessionOptions::default(),
        };
        assert!(Own.open(&request).is_ok());
        request.installation.id = "own@elsewhere".parse().unwrap();
        assert_eq!(Own.open(&request).err().unwrap().kind, ErrorKind::Missing);
    }
}

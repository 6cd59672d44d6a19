//! ONNX Runtime through the `ort` crate, which holds the `sys` and `result` layers.
//!
//! The library is loaded once a process from the file that the search found; a second file is refused, because `ort`
//! would silently go on with the first. Only the CPU execution provider is used, and one that cannot be registered is
//! an error, never a silent fallback.
//!
//! Microsoft's Linux builds start telemetry while they load; `ORT_DISABLE_TELEMETRY=1` in the environment of the
//! process stops that, and is for the parent process to set.

#![cfg_attr(
    not(feature = "onnxruntime"),
    allow(dead_code, unused_imports, reason = "of a library that is left out, only graphs are read")
)]

#[cfg(feature = "onnxruntime")]
mod emulated;
mod graph;
#[cfg(feature = "onnxruntime")]
mod safe;

use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::runtime::locate::{self, UNKNOWN_VERSION, Wanted};
use crate::runtime::{Obstacle, OpenRequest, Probe, Runtime, SearchPaths, Session};
use crate::vocabulary::Library;

/// Where the library lies: in the wheel, or installed for the system.
const WANTED: Wanted<'static> = Wanted {
    library: Library::Onnxruntime,
    distributions: &["onnxruntime", "onnxruntime_gpu", "ort_nightly"],
    packaged: &["onnxruntime/capi/libonnxruntime.so*"],
    system: &["libonnxruntime.so*"],
    install_hint: "`trtgate export` installs it into its own environment; or name a Python that has `onnxruntime==1.32.0` in `TRTGATE_PYTHON`",
};

/// The oldest release whose API has everything that `ort` is built for (its feature `api-24`).
const OLDEST: (u32, u32) = (1, 24);

/// What each convolution and matrix product of the ONNX file `model` computes in by its own graph (`fp32`, `fp16`, `int8`), where
/// that can be told.
///
/// # Errors
/// `Input` where the file cannot be read, `Failed` where it is no ONNX model.
pub fn computed_in(model: &Path) -> Result<Vec<Option<&'static str>>> {
    graph::computed_in(files::read(model, files::GRAPH).map_err(|error| Error::io("read", model, error))?)
}

/// The driver.
pub struct Onnxruntime;

#[cfg(feature = "onnxruntime")]
impl Runtime for Onnxruntime {
    fn library(&self) -> Library {
        Library::Onnxruntime
    }

    fn probe(&self, paths: &SearchPaths) -> Probe {
        locate::probe_releases(&WANTED, paths, version_obstacle)
    }

    fn open(&self, request: &OpenRequest) -> Result<Box<dyn Session>> {
        if let Some(obstacle) = version_obstacle(&request.installation.version) {
            return Err(locate::refused(obstacle));
        }
        Ok(Box::new(safe::OnnxSession::open(request)?))
    }
}

/// Why a release cannot be used, if so; one that cannot be told is left to `ort`, which asks the library itself.
fn version_obstacle(version: &str) -> Option<Obstacle> {
    if version == UNKNOWN_VERSION || locate::major_minor(version).is_some_and(|found| found >= OLDEST) {
        return None;
    }
    let (major, minor) = OLDEST;
    Some(Obstacle {
        hint: Some(WANTED.install_hint.to_owned()),
        ..Obstacle::unsupported(format!("ONNX Runtime {version} is older than {major}.{minor}"))
    })
}

/// The layers of an encoded graph that was not optimised; for `fuzzing`.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_layers(model: &[u8]) -> Result<Vec<crate::vocabulary::Layer>> {
    graph::layers(model.to_vec(), model.to_vec())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1.32.0", false)]
    #[case("1.24.0", false)]
    #[case("1.23.2", true)]
    #[case("2.0.0", false)]
    #[case("unknown", false)]
    #[case("nightly", true)]
    fn old_releases_are_an_obstacle(#[case] version: &str, #[case] obstacle: bool) {
        assert_eq!(version_obstacle(version).is_some(), obstacle);
    }
}

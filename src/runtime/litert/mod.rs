//! LiteRT (TensorFlow Lite) through its C API.
//!
//! | layer          | holds                                                                    |
//! |----------------|--------------------------------------------------------------------------|
//! | `sys`          | structures and the table of C functions                                  |
//! | `result`       | owned objects whose calls return `Result`; the unsafe code ends here      |
//! | `safe`         | the [`Session`]: signature, checks, values in and out                     |
//! | `quantization` | values to 8-bit integers and back                                        |
//! | `operators`    | names of operators                                                       |
//!
//! The C API changes between minor releases, so only releases whose headers were compared are let through.
//! Models have one static batch size: resizing a dynamic one corrupts memory in the library.

mod operators;
mod quantization;
mod result;
mod safe;
mod sys;

use crate::error::Result;
use crate::runtime::locate::{self, Wanted};
use crate::runtime::{Obstacle, OpenRequest, Probe, Runtime, SearchPaths, Session};
use crate::vocabulary::Library;

/// Where the library lies: in the wheel.
const WANTED: Wanted<'static> = Wanted {
    library: Library::Litert,
    distributions: &["ai_edge_litert", "ai_edge_litert_nightly"],
    packaged: &["ai_edge_litert/libLiteRt.so"],
    system: &["libLiteRt.so"],
    install_hint: "`trtgate export` installs it into its own environment; or name a Python that has `ai-edge-litert==2.3.0` in `TRTGATE_PYTHON`",
};

/// Releases whose structures and functions are those of `sys`.
const KNOWN_RELEASES: [(u32, u32); 2] = [(2, 2), (2, 3)];

/// The driver.
pub struct Litert;

impl Runtime for Litert {
    fn library(&self) -> Library {
        Library::Litert
    }

    fn probe(&self, paths: &SearchPaths) -> Probe {
        locate::probe_releases(&WANTED, paths, version_obstacle)
    }

    fn open(&self, request: &OpenRequest) -> Result<Box<dyn Session>> {
        if let Some(obstacle) = version_obstacle(&request.installation.version) {
            return Err(locate::refused(obstacle));
        }
        Ok(Box::new(safe::LitertSession::open(request)?))
    }
}

/// Why a release cannot be used, if so. The library does not tell its own version, so one whose package is not known
/// is refused: calling it through the wrong structures would corrupt memory.
fn version_obstacle(version: &str) -> Option<Obstacle> {
    if locate::major_minor(version).is_some_and(|found| KNOWN_RELEASES.contains(&found)) {
        return None;
    }
    if version == locate::UNKNOWN_VERSION {
        let hint =
            "lay it out as in site-packages, `ai_edge_litert/libLiteRt.so` beside `ai_edge_litert-VERSION.dist-info`";
        return Some(Obstacle {
            hint: Some(hint.to_owned()),
            ..Obstacle::unsupported("LiteRT does not tell its version, and this file lies in no package that does")
        });
    }
    Some(Obstacle {
        hint: Some(WANTED.install_hint.to_owned()),
        ..Obstacle::unsupported(format!("the C API of LiteRT {version} is not known; those of 2.2 and 2.3 are"))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2.3.0", false)]
    #[case("2.2.0", false)]
    #[case("2.1.6", true)]
    #[case("2.4.0", true)]
    #[case("unknown", true)]
    fn unknown_releases_are_an_obstacle(#[case] version: &str, #[case] obstacle: bool) {
        assert_eq!(version_obstacle(version).is_some(), obstacle);
    }

    #[test]
    fn a_library_outside_a_package_is_told_apart_from_an_unknown_release() {
        let (outside, unknown) = (version_obstacle("unknown"), version_obstacle("2.4.0"));
        assert!(outside.is_some_and(|obstacle| obstacle.reason.contains("in no package")));
        assert!(unknown.is_some_and(|obstacle| obstacle.reason.contains("LiteRT 2.4.0")));
    }
}

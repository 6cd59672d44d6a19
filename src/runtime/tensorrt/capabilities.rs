//! What each family of TensorRT can be asked for: the one reviewed list of combinations that are known not to work.

use crate::runtime::tensorrt::sys::Family;
use crate::runtime::{Installation, Obstacle};
use crate::vocabulary::{Library, Precision};

/// Why `family` cannot build `precision`, or `None` if it can.
pub fn build_obstacle(family: Family, precision: Precision) -> Option<Obstacle> {
    match (family, precision) {
        (_, Precision::Fp32 | Precision::Tf32 | Precision::Fp16) => None,

        // Builder flags choose precisions in weakly typed networks only, which end with TensorRT 10.
        (Family::Eight | Family::Ten, Precision::Fp16Flag) => None,
        (Family::Eleven | Family::RtxOneThree, Precision::Fp16Flag) => Some(unsupported(
            "networks are strongly typed here: precision comes from the graph, not from a builder flag",
            "ask for `fp16`, which builds from the FP16 graph",
        )),

        // Calibrators are deprecated in 10 and gone in 11; TensorRT for RTX never had them.
        (Family::Eight | Family::Ten, Precision::Int8Calibrated) => None,
        (Family::Eleven | Family::RtxOneThree, Precision::Int8Calibrated) => Some(unsupported(
            "there are no INT8 calibrators here",
            "ask for `int8`, which builds from the graph with explicit Q/DQ pairs",
        )),

        (Family::Eight | Family::Ten | Family::Eleven, Precision::Int8) => None,

        // Strong typing, which takes the types of the graph, and 8-bit floats among them came with 10 (8.6 had the type alone).
        (Family::Ten | Family::Eleven, Precision::Fp8) => None,
        (Family::Eight | Family::RtxOneThree, Precision::Fp8) => {
            Some(unsupported("this release reads no Q/DQ pairs of 8-bit floats", "use TensorRT 10 or newer"))
        }
        // Seen with 1.4.0: its compiler's type check knows no INT8 convolution (`CHECK(dtype == myelinTypeFloat || …)`).
        (Family::RtxOneThree, Precision::Int8) => {
            Some(unsupported("TensorRT for RTX 1.3 and 1.4 compile no INT8 convolutions", "use TensorRT for RTX 1.7"))
        }
    }
}

/// Whether `installation` can build `precision`, whatever the machine.
///
/// # Errors
/// The reason, of status `unsupported`.
pub fn supports(installation: &Installation, precision: Precision) -> Result<(), Obstacle> {
    let family = installation.family.as_deref();
    let family = Family::ALL.into_iter().find(|known| Some(known.as_str()) == family);
    match family {
        Some(family) => build_obstacle(family, precision).map_or(Ok(()), Err),
        None => Err(unsupported(
            "the binary interface of this release is not known",
            "known are TensorRT 8.5, 8.6, 10 and 11, and TensorRT for RTX 1.3 to 1.7",
        )),
    }
}

/// Whether engines of `library` run on a GPU of this compute capability; the reason if not.
pub fn device_obstacle(library: Library, compute_capability: (u32, u32)) -> Option<Obstacle> {
    let supported = match library {
        // TensorRT for RTX compiles for the GPUs of GeForce RTX and their data-centre relatives only.
        Library::TensorrtRtx => matches!(compute_capability, (8, 0 | 6 | 9) | (12.., _)),
        _ => true,
    };
    let (major, minor) = compute_capability;
    (!supported).then(|| {
        unsupported(
            &format!("engines of TensorRT for RTX do not run on compute capability {major}.{minor}"),
            "they run on 8.0, 8.6, 8.9 and from 12.0 on",
        )
    })
}

/// Oldest CUDA version, (major, minor), that a driver must offer for a family when the package does not name one.
pub const fn needed_cuda(family: Family) -> (u32, u32) {
    match family {
        // Packages for CUDA 11 exist of both.
        Family::Eight | Family::Ten => (11, 0),
        Family::Eleven | Family::RtxOneThree => (12, 0),
    }
}

/// Whether several contexts can run at once on one optimization profile; family 8 takes a profile for each.
pub const fn contexts_share_profiles(family: Family) -> bool {
    !matches!(family, Family::Eight)
}

fn unsupported(reason: &str, hint: &str) -> Obstacle {
    Obstacle { hint: Some(hint.to_owned()), ..Obstacle::unsupported(reason) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn every_refusal_says_what_to_ask_for_instead() {
        for family in Family::ALL {
            for precision in Precision::ALL {
                let Some(obstacle) = build_obstacle(family, *precision) else { continue };
                assert!(obstacle.hint.is_some(), "{} {precision}", family.as_str());
            }
        }
    }

    #[rstest]
    #[case((7, 5), false)]
    #[case((8, 0), true)]
    #[case((8, 6), true)]
    #[case((8, 7), false)]
    #[case((8, 9), true)]
    #[case((9, 0), false)]
    #[case((10, 0), false)]
    #[case((12, 0), true)]
    #[case((12, 1), true)]
    fn rtx_engines_run_on_rtx_gpus(#[case] capability: (u32, u32), #[case] runs: bool) {
        assert_eq!(device_obstacle(Library::TensorrtRtx, capability).is_none(), runs);
        assert!(device_obstacle(Library::Tensorrt, capability).is_none());
    }
}

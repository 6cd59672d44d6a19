//! Choosing among several builds of one engine by their speed.
//!
//! A builder times tactics of a few microseconds each and takes what was fastest that once, so builds of one graph differ
//! in speed (INT8 on an H200: `docs/gpu/2026-11-24-h200-eight`). What decides in use is the speed of the whole engine, and
//! that can be measured.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::runtime::cuda::Device;
use crate::runtime::tensorrt::build::BuildRequest;
use crate::runtime::tensorrt::metadata::sha256;
use crate::runtime::tensorrt::result::{Library, Runtime};
use crate::runtime::tensorrt::session::EngineSession;
use crate::runtime::{OpenRequest, Session as _, SessionOptions};
use crate::tensor::{Feeds, TensorSpec};
use crate::timing::contract::{TimingContract, TimingMode};
use crate::vocabulary::ArtifactKind;

/// An engine that was built and measured, kept or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Digest of its bytes.
    pub sha256: String,
    /// Size, bytes.
    pub bytes: u64,
    /// Computation alone at the preferred batch, on as many contexts as the engine has profiles, samples per second.
    pub samples_per_second: u64,
}

/// How often every candidate is measured, in turns; noise only slows, so the fastest counts.
const ROUNDS: usize = 2;

/// What was built.
pub(super) trait Build {
    /// The engine's bytes.
    fn engine(&self) -> &[u8];

    /// Whether the timing cache needed nothing new, so that another build would choose the same tactics. (But for layers
    /// that the library cannot read back from its cache.)
    fn timed_nothing(&self) -> bool;
}

/// The fastest of `wanted` engines, and the speed of each; nothing is measured where there is no choice. `measure` tells
/// samples per second.
///
/// # Errors
///
/// Those of `build` and `measure`. The first engine is measured before the second is built: what keeps engines from being
/// compared is known early.
pub(super) fn fastest<B: Build>(
    wanted: u32,
    build: &mut dyn FnMut() -> Result<B>,
    measure: &mut dyn FnMut(&B) -> Result<u64>,
) -> Result<(B, Vec<Candidate>)> {
    let first = build()?;
    if wanted <= 1 || first.timed_nothing() {
        return Ok((first, Vec::new()));
    }
    let mut speed =
        |built: &B| measure(built).map_err(|error| error.context("the candidates for the engine cannot be compared"));
    speed(&first)?;
    let mut built = vec![(0, first)];
    for _ in 1..wanted {
        built.push((0, build()?));
    }
    for _ in 0..ROUNDS {
        for (best, built) in &mut built {
            *best = speed(built)?.max(*best);
        }
    }
    let candidate = |(samples_per_second, built): &(u64, B)| {
        let engine = built.engine();
        Candidate { sha256: sha256(engine), bytes: engine.len() as u64, samples_per_second: *samples_per_second }
    };
    let candidates: Vec<Candidate> = built.iter().map(candidate).collect();
    let fastest = built.into_iter().reduce(|kept, next| if next.0 > kept.0 { next } else { kept });
    let (_, kept) = fastest.ok_or_else(|| Error::failed("nothing was built"))?;
    Ok((kept, candidates))
}

/// What is timed: computation, on as many contexts at once as the engine was made for. What is fastest alone need not be
/// what leaves most room to others.
fn contract(profiles: u32) -> TimingContract {
    TimingContract {
        mode: TimingMode::Compute,
        graph: true,
        streams: usize::try_from(profiles).unwrap_or(1).max(1),
        spin: true,
        duration_milliseconds: 300,
        ..TimingContract::host()
    }
}

/// Opens `engine` and measures it.
///
/// # Errors
///
/// As opening and measuring a session.
pub(super) fn measure(
    request: &BuildRequest,
    library: &'static Library,
    device: Option<&Device>,
    engine: &[u8],
) -> Result<u64> {
    let device = device.ok_or_else(|| Error::missing("engines are compared by running them, which needs a GPU"))?;
    let engine = Runtime::new(library, Some(device))?.deserialize(engine)?;
    let open = OpenRequest {
        installation: request.installation.clone(),
        artifact: request.engine.clone(),
        kind: ArtifactKind::Engine,
        precision: request.precision,
        batch: 1,
        options: SessionOptions { device: request.device, ..SessionOptions::default() },
    };
    let mut session = EngineSession::with_engine(device.clone(), engine, &open)?;
    let feeds = made_up(&session.preferred()?)?;
    let measured = session.measure(&[feeds], &contract(request.options.profiles))?;
    Ok(measured.samples_per_second().round() as u64)
}

/// Any values of inputs whose sizes are all known: the time of a dense network does not depend on them.
fn made_up(inputs: &[TensorSpec]) -> Result<Feeds> {
    let first = |input: &TensorSpec| input.shape.first().copied().flatten().unwrap_or(1);
    let tensors = inputs.iter().map(|input| input.made_up(first(input))).collect::<Result<Vec<_>>>()?;
    let (shared, samples): (Vec<_>, Vec<_>) = tensors.iter().cloned().partition(|tensor| tensor.shape.is_empty());
    // Where first dimensions differ, there is no batch.
    Feeds::new(samples, shared).or_else(|_| Feeds::whole(tensors))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::RefCell;

    use rstest::rstest;

    use super::*;

    /// A build whose engine has that speed.
    struct Speed([u8; 1], bool);

    impl Build for Speed {
        fn engine(&self) -> &[u8] {
            &self.0
        }

        fn timed_nothing(&self) -> bool {
            self.1
        }
    }

    #[rstest]
    #[case::one_is_not_measured(1, &[5], 5, 0)]
    #[case::the_first(3, &[9, 5, 7], 9, 3)]
    #[case::the_last(3, &[5, 7, 9], 9, 3)]
    #[case::equals_keep_the_first(2, &[5, 5], 5, 2)]
    fn the_fastest_is_kept(#[case] wanted: u32, #[case] speeds: &[u8], #[case] expected: u8, #[case] measured: usize) {
        let mut builds = speeds.iter();
        let (kept, candidates) = fastest(
            wanted,
            &mut || builds.next().map(|speed| Speed([*speed], false)).ok_or_else(|| Error::failed("too many builds")),
            &mut |built| Ok(built.0[0].into()),
        )
        .unwrap();
        assert_eq!((kept.0, candidates.len(), builds.len()), ([expected], measured, 0));
        let fastest = candidates.iter().map(|candidate| candidate.samples_per_second).max();
        assert!(measured == 0 || fastest == Some(expected.into()));
    }

    #[test]
    fn candidates_are_measured_in_turns_and_their_best_counts() {
        let calls = RefCell::new(Vec::new());
        let mut name = 0;
        let (kept, candidates) = fastest(
            2,
            &mut || {
                name += 1;
                Ok(Speed([name], false))
            },
            &mut |built| {
                calls.borrow_mut().push(built.0[0]);
                // The second is disturbed in its first turn.
                Ok(if built.0[0] == 1 { 100 } else { 50 + 20 * calls.borrow().len() as u64 })
            },
        )
        .unwrap();
        // Once before the second build, to see whether it can be measured at all.
        assert_eq!(*calls.borrow(), [1, 1, 2, 1, 2]);
        let speeds: Vec<u64> = candidates.iter().map(|candidate| candidate.samples_per_second).collect();
        assert_eq!((kept.0, speeds), ([2], vec![100, 150]));
    }

    #[test]
    fn known_tactics_are_built_once() {
        let mut builds = 0;
        let (_, candidates) = fastest(
            4,
            &mut || {
                builds += 1;
                Ok(Speed([1], true))
            },
            &mut |_| Err(Error::failed("measured")),
        )
        .unwrap();
        assert_eq!((builds, candidates.len()), (1, 0));
    }

    #[test]
    fn an_engine_that_cannot_be_measured_is_an_error_before_the_second_build() {
        let mut builds = 0;
        let outcome = fastest(
            3,
            &mut || {
                builds += 1;
                Ok(Speed([1], false))
            },
            &mut |_| Err(Error::failed("no GPU")),
        );
        let error = outcome.err().unwrap();
        assert!(error.to_string().contains("cannot be compared") && error.to_string().contains("no GPU"), "{error}");
        assert_eq!(builds, 1);
    }

    #[test]
    fn inputs_are_made_up_of_known_sizes() {
        let spec = |name: &str, shape: &[Option<usize>]| TensorSpec {
            name: name.to_owned(),
            element_type: crate::tensor::ElementType::Float32,
            shape: shape.to_vec(),
        };
        let feeds = made_up(&[spec("x", &[Some(4), Some(3), Some(2)]), spec("rate", &[])]).unwrap();
        let input = feeds.get("x").unwrap();
        assert_eq!((input.shape.as_slice(), input.values.len(), feeds.batch()), ([4, 3, 2].as_slice(), 24, 4));
        assert_eq!(made_up(&[spec("x", &[Some(4)]), spec("y", &[Some(3)])]).unwrap().batch(), 1);
        assert!(made_up(&[spec("x", &[Some(4), None])]).is_err());
    }
}

//! Choosing among several builds of one engine by their speed.
//!
//! A builder times tactics of a few microseconds each and takes what was fastest that once, so two builds of one graph
//! can differ by a quarter in speed (INT8 on an H200: `docs/gpu/2026-11-24-h200-eight`). What decides in use is the speed
//! of the whole engine, and that can be measured.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::manifest::TimingCacheMode;
use crate::measure::contract::{TimingContract, TimingMode};
use crate::runtime::cuda::{Device, Driver};
use crate::runtime::tensorrt::build::BuildRequest;
use crate::runtime::tensorrt::result::{Library, Runtime};
use crate::runtime::tensorrt::session::EngineSession;
use crate::runtime::{OpenRequest, Session as _, SessionOptions};
use crate::tensor::Tensor;
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

/// How many engines `request` is to be chosen from. One, where another build would choose the same tactics: when they are
/// all in a verified timing cache, or the library times nothing; or where speed is not asked for: when inner tensors are
/// shown.
pub(super) fn wanted(request: &BuildRequest, library: &Library) -> u32 {
    let same = request.options.timing_cache == TimingCacheMode::Verified || library.works_without_driver();
    if same || !request.mark_outputs.is_empty() { 1 } else { request.options.candidates.max(1) }
}

/// What was built.
pub(super) trait Build {
    /// Whether every tactic was known, so that another build would choose the same ones.
    fn timed_nothing(&self) -> bool;
}

/// The fastest of `wanted` engines, and the speed of each; nothing is measured where there is no choice.
///
/// # Errors
///
/// Those of `build` and `measure`.
pub(super) fn fastest<B: Build>(
    wanted: u32,
    build: &mut dyn FnMut() -> Result<B>,
    measure: &mut dyn FnMut(&B) -> Result<Candidate>,
) -> Result<(B, Vec<Candidate>)> {
    let mut kept = build()?;
    if wanted <= 1 || kept.timed_nothing() {
        return Ok((kept, Vec::new()));
    }
    let mut measure =
        |built: &B| measure(built).map_err(|error| error.context("the candidates for the engine cannot be compared"));
    let mut candidates = vec![measure(&kept)?];
    for _ in 1..wanted {
        let built = build()?;
        let candidate = measure(&built)?;
        if candidates.iter().all(|other| other.samples_per_second < candidate.samples_per_second) {
            kept = built;
        }
        candidates.push(candidate);
    }
    Ok((kept, candidates))
}

/// What is timed: computation, on as many contexts at once as the engine was made for, long enough that builds which differ
/// by more than 1 % are told apart. What is fastest alone need not be what leaves most room to others.
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
    let engine = Runtime::new(library, Some(Driver::load()?))?.deserialize(engine)?;
    let preferred = usize::try_from(request.options.opt_batch).unwrap_or(1);
    let open = OpenRequest {
        installation: request.installation.clone(),
        artifact: request.engine.clone(),
        kind: ArtifactKind::Engine,
        precision: request.precision,
        batch: 1,
        options: SessionOptions { device: request.device, ..SessionOptions::default() },
    };
    let mut session = EngineSession::with_engine(device.clone(), engine, &open)?;
    let [least, most] = session.batches();
    let input = made_up(&session.signature().inputs, preferred.clamp(least, most))?;
    let measured = session.measure(&[input], &contract(request.options.profiles))?;
    Ok(measured.samples_per_second().round() as u64)
}

/// A batch of any values: the time of a dense network does not depend on them.
fn made_up(inputs: &[crate::tensor::TensorSpec], batch: usize) -> Result<Tensor> {
    let [input] = inputs else {
        return Err(Error::unsupported(format!("engines with {} inputs cannot be compared", inputs.len())));
    };
    let sample = input.shape.iter().skip(1).copied().collect::<Option<Vec<_>>>().ok_or_else(|| {
        Error::unsupported(format!(
            "input `{}` has more than one open dimension: engines cannot be compared",
            input.name
        ))
    })?;
    let shape = [&[batch], sample.as_slice()].concat();
    let count: usize = shape.iter().product();
    Tensor::float32(input.name.clone(), shape, (0..count).map(|index| (index % 251) as f32 / 250.0).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    /// A build whose engine has that speed.
    struct Speed(u64, bool);

    impl Build for Speed {
        fn timed_nothing(&self) -> bool {
            self.1
        }
    }

    fn candidate(speed: u64) -> Candidate {
        Candidate { sha256: format!("{speed:064}"), bytes: speed, samples_per_second: speed }
    }

    #[rstest]
    #[case::one_is_not_measured(1, &[5], 5, 0)]
    #[case::the_first(3, &[9, 5, 7], 9, 3)]
    #[case::the_last(3, &[5, 7, 9], 9, 3)]
    #[case::equals_keep_the_first(2, &[5, 5], 5, 2)]
    fn the_fastest_is_kept(
        #[case] wanted: u32,
        #[case] speeds: &[u64],
        #[case] expected: u64,
        #[case] measured: usize,
    ) {
        let mut builds = speeds.iter();
        let (kept, candidates) = fastest(
            wanted,
            &mut || builds.next().map(|speed| Speed(*speed, false)).ok_or_else(|| Error::failed("too many builds")),
            &mut |built| Ok(candidate(built.0)),
        )
        .unwrap();
        assert_eq!((kept.0, candidates.len(), builds.len()), (expected, measured, 0));
    }

    #[test]
    fn known_tactics_are_built_once() {
        let mut builds = 0;
        let (_, candidates) = fastest(
            4,
            &mut || {
                builds += 1;
                Ok(Speed(1, true))
            },
            &mut |_| Err(Error::failed("measured")),
        )
        .unwrap();
        assert_eq!((builds, candidates.len()), (1, 0));
    }

    #[test]
    fn an_engine_that_cannot_be_measured_is_an_error() {
        let outcome = fastest(2, &mut || Ok(Speed(1, false)), &mut |_| Err(Error::failed("no GPU")));
        let error = outcome.err().unwrap();
        assert!(error.to_string().contains("cannot be compared") && error.to_string().contains("no GPU"), "{error}");
    }

    #[test]
    fn inputs_are_made_up_for_one_open_dimension() {
        let spec = |shape: &[Option<usize>]| crate::tensor::TensorSpec {
            name: "x".to_owned(),
            element_type: crate::tensor::ElementType::Float32,
            shape: shape.to_vec(),
        };
        let input = made_up(&[spec(&[None, Some(3), Some(2)])], 4).unwrap();
        assert_eq!((input.shape.as_slice(), input.values.len()), ([4, 3, 2].as_slice(), 24));
        assert!(made_up(&[spec(&[None, None])], 4).is_err());
        assert!(made_up(&[], 4).is_err());
    }
}

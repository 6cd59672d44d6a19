//! Probe and calibration pictures, made from a seed and the reference alone.
//!
//! | file          | subject                                                              |
//! |---------------|----------------------------------------------------------------------|
//! | `random`      | integers from ChaCha8, the same everywhere                           |
//! | `picture`     | drawing with integer arithmetic                                      |
//! | `scene`       | things before backdrops                                              |
//! | `family`      | the families of pictures, and their bytes for a model's input        |
//! | `mutate`      | small changes of a picture                                           |
//! | `judge`       | the reference's answers, and every threshold that decides on them    |
//! | `plan`        | how many probes of which kind, at what cost                          |
//! | `search`      | explore, breed, bisect, choose                                       |
//! | `set`         | the probe set as a file                                              |
//! | `calibration` | the calibration set, which shares nothing with the probes            |
//! | `natural`     | pictures as they come, for the leads of ordinary inputs              |
//!
//! A probe's pixels are bytes, and the pictures come from integers only. The reference's outputs decide which pictures
//! are kept; they differ by some 1e-6 between machines, so each decision keeps clear of its threshold, and
//! [`ProbeSummary::slack`] tells by how much.

mod calibration;
mod family;
mod judge;
mod mutate;
mod natural;
mod picture;
mod plan;
mod random;
mod scene;
mod search;
mod set;
#[cfg(test)]
mod tests;

pub use calibration::{make_calibration, write_calibration};
pub use judge::Scorer;
pub use natural::{NATURAL_VERSION, NaturalSamples};
pub use plan::ProbeOptions;
pub use set::{ProbeSet, ProbeSummary};

use crate::error::{Error, Result};
use crate::manifest::Manifest;
use family::Generator;
use judge::Judge;
use plan::{Budget, MINIMUM_COUNT};
use search::Search;

/// Makes probes for a model: pictures to which the reference gives every answer, a quarter of them near a decision
/// boundary and a quarter far from every one, labelled with the reference's answers.
///
/// The same manifest, options and reference give the same bytes.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid) where the model cannot be brought to enough answers, with the counts of each
/// class; any error of the scorer; [`Failed`](crate::ErrorKind::Failed) where its outputs have another shape or are
/// not finite.
pub fn make_probes(
    manifest: &Manifest,
    options: &ProbeOptions,
    scorer: &mut Scorer<'_>,
) -> Result<(ProbeSet, ProbeSummary)> {
    if options.count < MINIMUM_COUNT {
        return Err(Error::usage(format!("{} probes are too few, at least {MINIMUM_COUNT} are needed", options.count)));
    }
    let mut set = ProbeSet::empty(manifest)?;
    let mut judge = Judge::new(manifest, scorer)?;
    let generator = Generator::new(&manifest.input, options.seed);
    let budget = Budget::of(set.layout().image_len(), options.count);
    let search = Search::new(&mut judge, generator, *options, budget, manifest.output.classes);
    let (picks, bounds) = search.run()?;
    for pick in picks {
        set.push(pick.label, &pick.planar)?;
    }
    let summary = set.measure_with(&mut judge, bounds)?;
    Ok((set, summary))
}

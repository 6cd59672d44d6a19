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
//! | `clock`       | the time that making them may take                                   |
//! | `search`      | explore, then breed, bisect and choose                               |
//! | `breed`       | offspring of rare classes                                            |
//! | `boundary`    | pictures near a decision boundary                                    |
//! | `choose`      | quotas, variety, order                                               |
//! | `summary`     | what the set holds, and what was not found                           |
//! | `set`, `file` | the probe set, in memory and as a file                               |
//! | `made_for`    | what a probe set was made for                                        |
//! | `own`         | probes from the team's own samples                                   |
//! | `calibration` | the calibration set, which shares nothing with the probes            |
//! | `natural`     | pictures as they come, for the leads of ordinary inputs              |
//!
//! A probe's pixels are bytes, and the pictures come from integers only. The reference's outputs decide which pictures
//! are kept; they differ by some 1e-6 between machines, so each decision keeps clear of its threshold, and
//! [`ProbeSummary::slack`] tells by how much.

mod boundary;
mod breed;
mod calibration;
mod choose;
mod clock;
mod family;
mod file;
mod judge;
mod made_for;
mod mutate;
mod natural;
mod own;
mod picture;
mod plan;
mod random;
mod scene;
mod search;
mod set;
mod summary;
#[cfg(test)]
mod tests;

pub use calibration::{make_calibration, write_calibration};
pub use clock::{ProbeProgress, Watch};
pub use judge::Scorer;
pub use made_for::MadeFor;
pub use natural::{NATURAL_VERSION, NaturalSamples};
pub use own::own_probes;
pub use plan::ProbeOptions;
pub use set::{ProbeSet, ValueRange};
pub use summary::ProbeSummary;

use crate::error::{Error, Result};
use crate::manifest::Manifest;
use clock::Clock;
use family::Generator;
use judge::Judge;
use plan::{Budget, MINIMUM_COUNT};
use random::Purpose;
use search::{Outcome, Search};

/// Makes probes for a model within `options.time`, drawing and packing them included: pictures to which the reference gives every answer, a quarter of them
/// near a decision boundary and a quarter far from every one, labelled with the reference's answers. What is not found is
/// noted, and never a reason to give none. A time that is too short to draw as many as are asked for gives fewer.
///
/// The same manifest, options and reference give the same bytes, unless the time was too short for the search;
/// [`ProbeSummary::cut_from`] says so. `watch` hears of the progress.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid) where the reference answers every picture alike or contradicts itself, or has
/// fewer probes of a class than the options demand; any error of the scorer; [`Failed`](crate::ErrorKind::Failed) where
/// its outputs have another shape or are not finite.
pub fn make_probes(
    manifest: &Manifest,
    options: &ProbeOptions,
    scorer: &mut Scorer<'_>,
    watch: &mut Watch<'_>,
) -> Result<(ProbeSet, ProbeSummary)> {
    make_by(Clock::new(options.time), manifest, options, scorer, watch)
}

/// [`make_probes`] by a clock that was started.
fn make_by(
    clock: Clock,
    manifest: &Manifest,
    options: &ProbeOptions,
    scorer: &mut Scorer<'_>,
    watch: &mut Watch<'_>,
) -> Result<(ProbeSet, ProbeSummary)> {
    if options.count < MINIMUM_COUNT {
        return Err(Error::usage(format!("{} probes are too few, at least {MINIMUM_COUNT} are needed", options.count)));
    }
    let empty = ProbeSet::of_pixels(manifest, Vec::new(), None)?;
    let mut judge = Judge::new(manifest, scorer, watch, clock)?;
    let generator = Generator::new(&manifest.input, options.seed, Purpose::Picture);
    let budget = Budget::of(empty.layout().image_len(), options.count);
    let pack = |pictures: &[Vec<u8>]| ProbeSet::of_pixels(manifest, pictures.concat(), None)?.archive().map(|_| ());
    let search = Search::new(&mut judge, (generator, &pack), *options, budget, manifest.output.classes);
    let Outcome { picks, bounds, cut_from } = search.run()?;
    let summary = summary::sum_up(&picks, manifest, options, (bounds, cut_from), &mut judge)?;
    options.check(&summary.per_class)?;
    let labels: Option<Vec<u32>> =
        picks.iter().map(|pick| pick.label.and_then(|label| u32::try_from(label).ok())).collect();
    let pixels = picks.into_iter().flat_map(|pick| pick.planar).collect();
    let set = ProbeSet::of_pixels(manifest, pixels, labels)?.noting(summary.notes.iter().cloned());
    let set = set.made_for(MadeFor::of(manifest, options));
    Ok((set, summary))
}

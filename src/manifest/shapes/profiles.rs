//! `[[engine.profile]]`: the ranges of sizes that engines are built for, each of which is gated.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::super::EngineOptions;
use super::super::interface::Interface;
use super::super::read::Source;
use crate::error::Result;
use crate::vocabulary::ShapePoint;

/// The key of the batch beside those of `[shapes]`.
const BATCH: &str = "batch";

/// One optimization profile: smallest, preferred and largest of the batch and of every size of `[shapes]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeProfile {
    /// Of the batch.
    pub batch: [u32; 3],
    /// Of each size, by its name.
    pub sizes: Vec<(String, [usize; 3])>,
}

impl ShapeProfile {
    /// Whether it holds samples of `point` in batches of `batch`.
    pub fn holds(&self, batch: u32, point: Option<&ShapePoint>) -> bool {
        let within = |(name, [least, _, most]): &(String, [usize; 3])| {
            point.and_then(|point| point.get(name)).is_none_or(|size| (*least..=*most).contains(&size))
        };
        (self.batch[0]..=self.batch[2]).contains(&batch) && self.sizes.iter().all(within)
    }

    /// All sizes smallest (0), preferred (1) or largest (2).
    pub fn end(&self, which: usize) -> ShapePoint {
        let size = |(name, range): &(String, [usize; 3])| Some((name.clone(), *range.get(which)?));
        ShapePoint::new(self.sizes.iter().filter_map(size).collect())
    }
}

/// Ranges by name: `batch`, or a size of `[shapes]`.
pub(in super::super) type RawProfile = BTreeMap<Spanned<String>, Spanned<[usize; 3]>>;

/// Puts the profiles into `interface`: those that are named, or one of everything. What a profile does not name has the range of
/// `[shapes]` and `[engine]`.
pub(in super::super) fn read(
    source: &Source<'_>,
    raw: Vec<Spanned<RawProfile>>,
    options: &EngineOptions,
    batches: &[u32],
    interface: Option<&mut Interface>,
) -> Result<()> {
    let Some(interface) = interface else {
        let Some(first) = raw.first() else { return Ok(()) };
        return Err(source
            .error(first.span(), "`[[engine.profile]]` is for models with `[[input]]`")
            .hint("`min-batch`, `opt-batch` and `max-batch` of `[engine]` say the profile of a classifier"));
    };
    let whole = ShapeProfile {
        batch: [options.min_batch, options.opt_batch, options.max_batch],
        sizes: interface.shapes.iter().map(|size| (size.name.clone(), size.range())).collect(),
    };
    let mut profiles: Vec<ShapeProfile> = Vec::new();
    for table in raw {
        let place = table.span();
        let mut profile = whole.clone();
        for (name, range) in table.into_inner() {
            let [least, opt, most] = *range.get_ref();
            if !(1 <= least && least <= opt && opt <= most) {
                return Err(source.error(range.span(), "a range is [min, opt, max], ascending, none 0"));
            }
            if name.get_ref() == BATCH {
                let batch = [least, opt, most].map(u32::try_from);
                let [Ok(least), Ok(opt), Ok(most)] = batch else {
                    return Err(source.error(range.span(), "no batch is so large"));
                };
                profile.batch = [least, opt, most];
                continue;
            }
            let known = profile.sizes.iter_mut().find(|(own, _)| own == name.get_ref());
            let Some((_, own)) = known else {
                let mut names = vec![BATCH.to_owned()];
                names.extend(interface.shapes.iter().map(|size| size.name.clone()));
                return Err(source
                    .error(name.span(), format!("`[shapes]` has no `{}`", name.get_ref()))
                    .hint(format!("a profile has ranges of {}", names.join(", "))));
            };
            if least < own[0] || most > own[2] {
                return Err(source.error(
                    range.span(),
                    format!("`[shapes]` has `{}` from {} to {}", name.get_ref(), own[0], own[2]),
                ));
            }
            *own = [least, opt, most];
        }
        // A profile that no batch reaches would be built, and never run.
        if !batches.iter().any(|batch| (profile.batch[0]..=profile.batch[2]).contains(batch)) {
            return Err(source.error(
                place,
                format!("no batch of `[matrix]` is within {} to {}", profile.batch[0], profile.batch[2]),
            ));
        }
        if profiles.contains(&profile) {
            return Err(source
                .error(place, "this profile is another one again")
                .hint("`profiles` of `[engine]` builds equal ones, a context each"));
        }
        profiles.push(profile);
    }
    if profiles.is_empty() {
        profiles.push(whole);
    } else if let Some(batch) = batches.iter().find(|batch| profiles.iter().all(|one| !one.holds(**batch, None))) {
        return Err(source.error(0..0, format!("no `[[engine.profile]]` holds batch {batch} of `[matrix]`")));
    }
    interface.profiles = profiles;
    Ok(())
}

impl Interface {
    /// The places of the profiles that hold samples of `point` in batches of `batch`.
    pub fn profiles_of(&self, batch: u32, point: Option<&ShapePoint>) -> Vec<usize> {
        let holding = self.profiles.iter().enumerate().filter(|(_, profile)| profile.holds(batch, point));
        holding.map(|(place, _)| place).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::super::tests::manifest;
    use super::*;

    const TWO: &str = "[shapes]\nh = [8, 16, 64]\n[matrix]\nbatches = [1, 8]\n[engine]\nopt-batch = 8\n\
                       [[engine.profile]]\nbatch = [1, 1, 1]\nh = [8, 8, 16]\n[[engine.profile]]\nh = [16, 32, 64]\n";

    #[test]
    fn profiles_are_named_or_one_of_everything() {
        let read = |more: &str| manifest("[\"h\", 3]", more).unwrap().interface.unwrap().profiles;
        let range = |h: [usize; 3]| vec![("h".to_owned(), h)];
        assert_eq!(read("[shapes]\nh = [8, 16, 64]"), [ShapeProfile { batch: [1, 16, 32], sizes: range([8, 16, 64]) }]);
        let first = ShapeProfile { batch: [1, 1, 1], sizes: range([8, 8, 16]) };
        let second = ShapeProfile { batch: [1, 8, 32], sizes: range([16, 32, 64]) };
        assert_eq!(read(TWO), [first, second]);
    }

    #[rstest]
    #[case(1, "h=8", &[0])]
    #[case(1, "h=16", &[0, 1])]
    #[case(8, "h=16", &[1])]
    #[case(8, "h=8", &[])]
    #[case(8, "h=65", &[])]
    fn points_lie_in_the_profiles_that_hold_batch_and_sizes(
        #[case] batch: u32,
        #[case] point: &str,
        #[case] expected: &[usize],
    ) {
        let interface = manifest("[\"h\", 3]", TWO).unwrap().interface.unwrap();
        assert_eq!(interface.profiles_of(batch, Some(&point.parse().unwrap())), expected);
    }

    #[rstest]
    #[case("[[engine.profile]]\nw = [1, 2, 3]", "`[shapes]` has no `w`")]
    #[case("[[engine.profile]]\nh = [3, 2, 4]", "a range is [min, opt, max]")]
    #[case("[[engine.profile]]\nh = [0, 2, 4]", "a range is [min, opt, max]")]
    #[case("[[engine.profile]]\nh = [8, 8, 128]", "has `h` from 8 to 64")]
    #[case("[[engine.profile]]\nbatch = [2, 4, 6]", "no batch of `[matrix]` is within 2 to 6")]
    #[case("[[engine.profile]]\nbatch = [1, 1, 1]", "no `[[engine.profile]]` holds batch 8")]
    #[case("[[engine.profile]]\nbatch = [1, 1, 5000000000]", "no batch is so large")]
    #[case("[[engine.profile]]\n[[engine.profile]]", "another one again")]
    fn what_is_no_profile_is_refused(#[case] profiles: &str, #[case] words: &str) {
        let more = format!("[shapes]\nh = [8, 16, 64]\n[matrix]\nbatches = [1, 8]\n{profiles}");
        let message = manifest("[\"h\", 3]", &more).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

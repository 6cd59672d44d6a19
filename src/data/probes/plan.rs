//! How many probes of which kind are wanted, and how much the search for them may cost.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::manifest::Manifest;

/// Most classes whose counts an error lists.
const LISTED: usize = 64;

/// What to make probes of, beside the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeOptions {
    /// Seed of the generator.
    pub seed: u64,
    /// Number of probes.
    pub count: usize,
    /// Fewest probes that a class must have, or there is no set; `None` looks for what `count` has room for (15 of 256
    /// for 10 classes) and takes what is found.
    pub minimum_per_class: Option<usize>,
    /// Time that the search may take.
    pub time: Duration,
}

impl ProbeOptions {
    /// The manifest's probes.
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            seed: manifest.probes.seed,
            count: manifest.probes.count,
            minimum_per_class: None,
            time: manifest.probes.time,
        }
    }

    /// Holds the probes of each class to the number that was demanded.
    ///
    /// # Errors
    /// If a class has fewer.
    pub(super) fn check(&self, per_class: &[usize]) -> Result<()> {
        let Some(minimum) = self.minimum_per_class else { return Ok(()) };
        let scarce = per_class.iter().filter(|count| **count < minimum).count();
        if scarce == 0 {
            return Ok(());
        }
        let lowest = per_class.iter().min().copied().unwrap_or(0);
        let counts: Vec<String> = per_class.iter().take(LISTED).map(usize::to_string).collect();
        let more = if per_class.len() > LISTED { " …" } else { "" };
        Err(Error::invalid(format!(
            "the reference answers {scarce} of {} classes to fewer than {minimum} probes",
            per_class.len()
        ))
        .cause(format!("probes of each class: {}{more}", counts.join(" ")))
        .hint(format!("ask for `--min-per-class {lowest}`, or leave it out and take what is found")))
    }

    /// Fewest probes of each class that are looked for: `count / (1.7 * classes)`, at most 15 and at least 1; 0 where `count` has no room
    /// for two of each class.
    pub fn minimum(&self, classes: usize) -> usize {
        let room = if classes.saturating_mul(2) > self.count { 0 } else { 1 };
        self.minimum_per_class.unwrap_or_else(|| (self.count * 10 / (classes.max(1) * 17)).min(15).max(room))
    }
}

/// The margins that make a probe near or far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    /// Largest margin near a decision boundary.
    pub(super) near: f64,
    /// Smallest margin far from one.
    pub(super) far: f64,
}

impl Bounds {
    /// Half a logit and three logits.
    pub(super) const DEFAULT: Self = Self { near: 0.5, far: 3.0 };

    /// The widest bounds, halved from the default, whose far side at least one in eight of `margins` reaches; `None`
    /// when even tiny margins are rare: the model answers everything alike.
    pub(super) fn for_margins(margins: &[f64]) -> Option<Self> {
        let wanted = (margins.len() / 8).max(1);
        let reached = |far: f64| margins.iter().filter(|margin| **margin >= far).count() >= wanted;
        let halved = (0..24).map(|halvings| 1.0 / f64::from(1u32 << halvings));
        halved.map(|scale| Self { near: 0.5 * scale, far: 3.0 * scale }).find(|bounds| reached(bounds.far))
    }

    /// Margins that the search for a boundary accepts: clear of the tie itself, where noise decides, and clear of the
    /// bound.
    pub(super) fn window(&self) -> (f64, f64) {
        (self.near * 0.04, self.near * 0.9)
    }
}

/// Probes wanted of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) all: usize,
    pub(super) near: usize,
    pub(super) far: usize,
}

/// Fewest probes that can be asked for.
pub(super) const MINIMUM_COUNT: usize = 16;
/// Probes that are drawn however long it takes: the errors of fewer do not stand for those of all.
pub(super) const FEWEST: usize = 64;

/// Quotas of `classes` classes that add up to `count`, three tenths of it near and three tenths far.
pub(super) fn quotas(count: usize, classes: usize) -> Vec<Quota> {
    // Each probe has its place in a cycle of ten, so that near and far ones are spread even where classes have one each.
    let quota = |index: usize| {
        let places = count * index / classes..count * (index + 1) / classes;
        let places_in = |cycle: [usize; 3]| places.clone().filter(|place| cycle.contains(&(place % 10))).count();
        Quota { all: places.len(), near: places_in([0, 4, 7]), far: places_in([1, 5, 8]) }
    };
    (0..classes).map(quota).collect()
}

/// Pictures that may be scored while making probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// Pictures from the generator.
    pub(super) explore: usize,
    /// Offspring, for classes that the generator hits too rarely.
    pub(super) search: usize,
    /// Pictures between two others, for decision boundaries.
    pub(super) bisect: usize,
}

impl Budget {
    /// 94 pictures a probe up to 32 x 32 x 3, fewer of larger ones (their scoring costs more), but 16 a probe at least.
    pub(super) fn of(sample_len: usize, count: usize) -> Self {
        let all = (count * 94 * 3072 / sample_len.max(1)).clamp(count * 16, count * 94);
        Self { explore: all / 2, search: all / 4, bisect: all / 4 }
    }

    /// The largest of this budget, its half, its quarter and so on that has at most `affordable` pictures. Halving keeps
    /// to a few sizes, so that a machine whose speed varies a little still makes the same probes.
    pub(super) fn within(self, affordable: usize) -> Self {
        let halved = |times: u32| Self {
            explore: (self.explore >> times).max(1),
            search: self.search >> times,
            bisect: self.bisect >> times,
        };
        (0..usize::BITS)
            .map(halved)
            .find(|budget| budget.all() <= affordable)
            .unwrap_or_else(|| halved(usize::BITS - 1))
    }

    /// Pictures of all three.
    pub(super) fn all(self) -> usize {
        self.explore + self.search + self.bisect
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(256, 10, 15)]
    #[case(256, 2, 15)]
    #[case(256, 100, 1)]
    #[case(256, 1000, 0)]
    #[case(2048, 1000, 1)]
    #[case(64, 10, 3)]
    fn minimum_follows_the_room(#[case] count: usize, #[case] classes: usize, #[case] expected: usize) {
        let options = ProbeOptions { seed: 1, count, minimum_per_class: None, time: Duration::from_secs(60) };
        assert_eq!(options.minimum(classes), expected);
        assert_eq!(ProbeOptions { minimum_per_class: Some(0), ..options }.minimum(classes), 0);
    }

    #[rstest]
    fn quotas_add_up(
        #[values(1, 2, 10, 100, 1000)] classes: usize,
        #[values(16, 17, 19, 22, 33, 256, 1000)] count: usize,
    ) {
        let quotas = quotas(count, classes);
        let sum = |part: fn(&Quota) -> usize| quotas.iter().map(part).sum::<usize>();
        assert_eq!(sum(|quota| quota.all), count);
        assert!(sum(|quota| quota.near) * 4 >= count && sum(|quota| quota.far) * 4 >= count);
        assert!(quotas.iter().all(|quota| quota.near + quota.far <= quota.all));
    }

    #[rstest]
    #[case(&[0.1, 4.0], 3.0)]
    #[case(&[0.1, 2.9], 1.5)]
    #[case(&[0.001, 0.02], 0.01171875)]
    fn bounds_follow_small_margins(#[case] margins: &[f64], #[case] far: f64) {
        let bounds = Bounds::for_margins(margins).unwrap();
        assert_eq!((bounds.far, bounds.near), (far, far / 6.0));
    }

    #[test]
    fn constant_models_have_no_bounds() {
        assert_eq!(Bounds::for_margins(&[0.0; 16]), None);
    }

    #[test]
    fn large_images_cost_less() {
        assert_eq!(Budget::of(3072, 256), Budget { explore: 12_032, search: 6_016, bisect: 6_016 });
        assert_eq!(Budget::of(224 * 224 * 3, 256).explore, 2048);
    }

    #[rstest]
    #[case(24_064, 24_064)]
    #[case(24_063, 12_032)]
    #[case(6_100, 6_016)]
    #[case(0, 1)]
    fn budgets_halve_until_they_fit(#[case] affordable: usize, #[case] all: usize) {
        assert_eq!(Budget::of(3072, 256).within(affordable).all(), all);
    }
}

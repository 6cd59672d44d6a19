//! The points of open shapes that are gated.
//!
//! Wrong answers of dynamic engines were reported at the ends, where one size is at its end and another is not, one step beside
//! the size that kernels were chosen for, and in between, at sizes that are odd or not square, while every end was right.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

use super::super::interface::Interface;
use super::{OpenSize, ShapeProfile};
use crate::vocabulary::ShapePoint;

/// Most points of a profile that nobody named.
const MOST: usize = 24;
/// Points in between.
const BETWEEN: usize = 3;
/// Seed of the points in between: they are the same in every run, so that cells keep their names.
const SEED: u64 = 1;
/// Draws of a point in between that is not there yet.
const DRAWS: usize = 64;

impl Interface {
    /// The points of open shapes that are gated, none of them where every size is one. Of each profile: all sizes smallest,
    /// preferred, largest; some in between; one step beside the preferred sizes; each size alone at its end; and the sizes that the
    /// manifest names, each beside the smallest of the others.
    pub fn points(&self) -> Vec<Option<ShapePoint>> {
        let (points, _) = self.chosen();
        if points.is_empty() { vec![None] } else { points.into_iter().map(Some).collect() }
    }

    /// What is gated of open shapes, and what was left out, in a sentence; nothing where every size is one.
    pub fn told(&self) -> Option<String> {
        let (points, left_out) = self.chosen();
        if points.is_empty() {
            return None;
        }
        let profiles = match self.profiles.len() {
            1 => String::new(),
            count => format!(" in {count} profiles"),
        };
        let without: Vec<String> = self
            .shapes
            .iter()
            .filter(|size| size.sizes.len() > 1 && self.profiles.iter().all(|profile| inner(size, profile).is_empty()))
            .map(|size| format!("`{}`, whose sizes are {} apart", size.name, size.step))
            .collect();
        let mut told = format!(
            "{} shapes{profiles}: ends, preferred sizes and one step beside them, each size alone at its end, some in between",
            points.len()
        );
        if !without.is_empty() {
            told.push_str(&format!("; nothing lies between the ends of {}", without.join(", ")));
        }
        if left_out > 0 {
            told.push_str(&format!("; left out of each profile beyond {MOST}: {left_out} in all"));
        }
        Some(told)
    }

    /// The points, and how many more there would be.
    fn chosen(&self) -> (Vec<ShapePoint>, usize) {
        let (mut points, mut left_out) = (Vec::new(), 0);
        let fixed = |profile: &ShapeProfile| profile.sizes.iter().all(|(_, [least, _, most])| least == most);
        let one = |size: &OpenSize| size.sizes.len() == 1;
        if self.shapes.iter().all(one) || (self.profiles.len() == 1 && self.profiles.iter().all(fixed)) {
            return (points, left_out);
        }
        for profile in &self.profiles {
            let mut own = of_profile(profile, &self.shapes);
            own.dedup_in_order();
            left_out += own.0.len().saturating_sub(MOST);
            own.0.truncate(MOST);
            own.0.extend(named(profile, &self.shapes));
            points.append(&mut own.0);
        }
        let key = |point: &ShapePoint| self.shapes.iter().map(|size| point.get(&size.name)).collect::<Vec<_>>();
        points.sort_by_key(key);
        points.dedup();
        (points, left_out)
    }
}

/// Points in the order of their worth.
struct Points(Vec<ShapePoint>);

impl Points {
    fn dedup_in_order(&mut self) {
        let mut seen: Vec<ShapePoint> = Vec::new();
        self.0.retain(|point| {
            let new = !seen.contains(point);
            if new {
                seen.push(point.clone());
            }
            new
        });
    }
}

/// A point of `profile` whose sizes are `chosen` by place, name and range.
fn point(profile: &ShapeProfile, chosen: &dyn Fn(usize, &str, [usize; 3]) -> usize) -> ShapePoint {
    let sizes = profile.sizes.iter().enumerate();
    ShapePoint::new(sizes.map(|(place, (name, range))| (name.clone(), chosen(place, name, *range))).collect())
}

/// The points of one profile that nobody named, the most telling first.
fn of_profile(profile: &ShapeProfile, shapes: &[OpenSize]) -> Points {
    let mut points: Vec<ShapePoint> = (0..3).map(|which| profile.end(which)).collect();
    points.extend(between(profile, shapes));
    let step = |name: &str| shapes.iter().find(|size| size.name == name).map_or(1, |size| size.step);
    // Where a step leads outside, the size stays.
    points.push(point(profile, &|_, name, [_, opt, most]| {
        Some(opt + step(name)).filter(|size| *size <= most).unwrap_or(opt)
    }));
    points.push(point(profile, &|_, name, [least, opt, _]| {
        opt.checked_sub(step(name)).filter(|size| *size >= least).unwrap_or(opt)
    }));
    for own in 0..profile.sizes.len() {
        points.push(point(profile, &|place, _, [least, _, most]| if place == own { most } else { least }));
        points.push(point(profile, &|place, _, [least, _, most]| if place == own { least } else { most }));
    }
    Points(points)
}

/// Each size that the manifest names, beside the smallest of the others.
fn named(profile: &ShapeProfile, shapes: &[OpenSize]) -> Vec<ShapePoint> {
    let mut points = Vec::new();
    for size in shapes {
        for &wanted in &size.sizes {
            let at = point(profile, &|_, name, [least, _, _]| if name == size.name { wanted } else { least });
            if profile.holds(profile.batch[0], Some(&at)) {
                points.push(at);
            }
        }
    }
    points
}

/// The sizes of `size` that lie between its ends in `profile`, as far apart as the model takes them.
fn inner(size: &OpenSize, profile: &ShapeProfile) -> Vec<usize> {
    let range = profile.sizes.iter().find(|(name, _)| *name == size.name);
    let Some((_, [least, _, most])) = range else { return Vec::new() };
    let first = size.range()[0];
    let sizes = (first..*most).step_by(size.step.max(1));
    sizes.filter(|inner| inner > least).take(1 << 16).collect()
}

/// Points between the ends: the first of sizes that are odd, as multiples of their step, and differ from each other.
fn between(profile: &ShapeProfile, shapes: &[OpenSize]) -> Vec<ShapePoint> {
    let sizes: Vec<(&str, Vec<usize>, usize)> = profile
        .sizes
        .iter()
        .filter_map(|(name, _)| shapes.iter().find(|size| size.name == *name))
        .map(|size| (size.name.as_str(), inner(size, profile), size.step.max(1)))
        .collect();
    if sizes.iter().all(|(_, inner, _)| inner.is_empty()) {
        return Vec::new();
    }
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut draw = |from: &[usize]| {
        let place = random.next_u64() % (from.len().max(1) as u64);
        from.get(usize::try_from(place).unwrap_or(0)).copied()
    };
    let mut points: Vec<ShapePoint> = Vec::new();
    for _ in 0..DRAWS {
        if points.len() == BETWEEN {
            break;
        }
        let mut drawn: Vec<(String, usize)> = Vec::new();
        for (name, inner, step) in &sizes {
            let odd: Vec<usize> = inner.iter().copied().filter(|size| size / step % 2 == 1).collect();
            let others: Vec<usize> = drawn.iter().map(|(_, size)| *size).collect();
            let apart = |from: &[usize]| from.iter().copied().filter(|size| !others.contains(size)).collect::<Vec<_>>();
            // The first: odd and not square, as far as there are such sizes.
            let from = match points.is_empty() {
                true => [apart(&odd), odd, apart(inner), inner.clone()].into_iter().find(|sizes| !sizes.is_empty()),
                false => Some(inner.clone()),
            };
            let preferred = || profile.sizes.iter().find(|(own, _)| own == name).map(|(_, range)| range[1]);
            if let Some(size) = from.as_deref().and_then(&mut draw).or_else(preferred) {
                drawn.push(((*name).to_owned(), size));
            }
        }
        let point = ShapePoint::new(drawn);
        if !points.contains(&point) && point != profile.end(1) {
            points.push(point);
        }
    }
    points
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::super::tests::manifest;
    use super::*;

    fn interface(shape: &str, more: &str) -> Interface {
        manifest(shape, more).unwrap().interface.unwrap()
    }

    fn told(interface: &Interface) -> Vec<String> {
        interface.points().iter().flatten().map(ToString::to_string).collect()
    }

    #[rstest]
    #[case("[3, 8]", "", &[])]
    #[case("[3, \"h\"]", "[shapes]\nh = 8", &[])]
    #[case("[3, \"h\"]", "[shapes]\nh = [8, 16]", &["h=8", "h=16"])]
    #[case("[3, \"h\"]", "[shapes]\nh = [8, 9, 16]", &["h=8", "h=9", "h=10", "h=11", "h=14", "h=16"])]
    #[case("[\"h\", \"w\"]", "[shapes]\nh = [2, 3]\nw = [5]", &["h=2,w=5", "h=3,w=5"])]
    fn points_are_ends_steps_and_some_in_between(#[case] shape: &str, #[case] shapes: &str, #[case] expected: &[&str]) {
        let interface = interface(shape, shapes);
        assert_eq!(told(&interface), expected);
        assert_eq!(interface.points().len(), expected.len().max(1));
        assert_eq!(interface.told().is_some(), !expected.is_empty());
    }

    /// Each kind of point is there, and nothing outside.
    #[test]
    fn two_sizes_have_every_kind_of_point() {
        let sizes = "{ min = 320, opt = 640, max = 1280, step = 32 }";
        let interface = interface("[3, \"h\", \"w\"]", &format!("[shapes]\nh = {sizes}\nw = {sizes}"));
        let points: Vec<[usize; 2]> =
            interface.points().iter().flatten().map(|at| [at.get("h").unwrap(), at.get("w").unwrap()]).collect();
        for wanted in [[320, 320], [640, 640], [1280, 1280], [672, 672], [608, 608], [320, 1280], [1280, 320]] {
            assert!(points.contains(&wanted), "{wanted:?} of {points:?}");
        }
        let inner = |size: usize| size > 320 && size < 1280 && size.is_multiple_of(32);
        let odd = |[h, w]: &[usize; 2]| h != w && inner(*h) && inner(*w) && h / 32 % 2 == 1 && w / 32 % 2 == 1;
        assert!(points.iter().any(odd), "{points:?}");
        assert!(points.iter().filter(|[h, w]| inner(*h) && inner(*w)).count() >= 5, "{points:?}");
        assert_eq!(points.len(), 10);
        // The same in every run.
        assert_eq!(interface.points(), interface.points());
    }

    #[test]
    fn many_sizes_are_bounded_and_said() {
        let names: Vec<String> = (0..20).map(|place| format!("s{place}")).collect();
        let shape = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let sizes: Vec<String> = names.iter().map(|name| format!("{name} = {{ min = 2, max = 9 }}")).collect();
        let many = interface(&format!("[{shape}]"), &format!("[shapes]\n{}", sizes.join("\n")));
        // Those that the manifest names are never left out: of each size both ends, beside the smallest of the others.
        assert!((MOST..=MOST + 21).contains(&many.points().len()), "{}", many.points().len());
        assert!(many.told().unwrap().ends_with(" in all"), "{:?}", many.told());
        let few = interface("[\"h\"]", "[shapes]\nh = [8, 16]");
        assert_eq!(
            few.told().unwrap(),
            "2 shapes: ends, preferred sizes and one step beside them, each size alone at its end, some in between; \
             nothing lies between the ends of `h`, whose sizes are 8 apart"
        );
    }

    /// A profile's ends are gated, whatever the others hold.
    #[test]
    fn each_profile_has_points_of_its_own() {
        let more = "[shapes]\nh = [1, 16, 64]\n[matrix]\nbatches = [1]\n[[engine.profile]]\nh = [1, 1, 1]\n\
                    [[engine.profile]]\nh = [16, 32, 64]\n";
        let interface = interface("[\"h\", 3]", more);
        let points = told(&interface);
        for wanted in ["h=1", "h=16", "h=31", "h=32", "h=33", "h=64"] {
            assert!(points.contains(&wanted.to_owned()), "{wanted} of {points:?}");
        }
        assert!(interface.points().iter().all(|point| !interface.profiles_of(1, point.as_ref()).is_empty()));
        assert!(interface.told().unwrap().contains(" in 2 profiles"), "{:?}", interface.told());
    }
}

//! The search for probes: explore, breed what is rare, bisect between different answers, choose.

use std::collections::HashSet;

use super::family::Generator;
use super::judge::Judge;
use super::mutate::{between, offspring};
use super::plan::{Bounds, Budget, ProbeOptions, Quota, quotas};
use super::random::{Purpose, Random};
use crate::error::{Error, Result};

/// Pictures scored before it is looked whether there are enough.
const ROUND: usize = 512;
/// Offspring scored before the next parent is chosen.
const LITTER: usize = 32;
/// Steps from one picture to another.
const STEPS: u32 = 1024;
/// Pictures of a class that boundaries are searched from.
const ANCHORS: usize = 24;
/// First picture number that is mixed into offspring: pictures numbered from here are never candidates themselves.
const FRESH: u64 = 1 << 40;

/// A chosen picture.
pub(super) struct Pick {
    pub(super) label: usize,
    pub(super) planar: Vec<u8>,
}

/// What exploring found of one class: numbers of pictures, in order.
#[derive(Clone, Debug, Default)]
struct Found {
    far: Vec<u64>,
    middle: Vec<u64>,
    near: usize,
    /// While nothing is found: the picture that comes closest, its lead, and the second best lead.
    closest: Option<(u64, f64, f64)>,
}

impl Found {
    fn all(&self) -> usize {
        self.far.len() + self.middle.len() + self.near
    }
}

/// The search's state.
pub(super) struct Search<'judge, 'run, 'scorer> {
    judge: &'judge mut Judge<'run, 'scorer>,
    generator: Generator,
    options: ProbeOptions,
    budget: Budget,
    found: Vec<Found>,
    bounds: Bounds,
}

impl<'judge, 'run, 'scorer> Search<'judge, 'run, 'scorer> {
    pub(super) fn new(
        judge: &'judge mut Judge<'run, 'scorer>,
        generator: Generator,
        options: ProbeOptions,
        budget: Budget,
        classes: usize,
    ) -> Self {
        let found = vec![Found::default(); classes];
        Self { judge, generator, options, budget, found, bounds: Bounds::DEFAULT }
    }

    /// Probes in their final order, and the bounds that were used.
    pub(super) fn run(mut self) -> Result<(Vec<Pick>, Bounds)> {
        self.explore()?;
        let minimum = self.options.minimum(self.found.len());
        // Without a minimum, classes that were not met are left out.
        let wanted: Vec<usize> = (0..self.found.len())
            .filter(|&class| minimum > 0 || self.found.get(class).is_some_and(|found| found.all() > 0))
            .collect();
        let mut plan = vec![Quota::default(); self.found.len()];
        for (class, quota) in wanted.iter().zip(quotas(self.options.count, wanted.len())) {
            if let Some(place) = plan.get_mut(*class) {
                *place = quota;
            }
        }
        let bred = self.breed(&plan)?;
        let near = self.bisect(&plan, &bred)?;
        let picks = self.choose(&plan, near, bred);
        self.check(&picks, minimum)?;
        Ok((picks.into_iter().map(|(pick, _)| pick).collect(), self.bounds))
    }

    /// Scores pictures of the generator until every class has what its quota needs, or the budget is spent.
    fn explore(&mut self) -> Result<()> {
        let plan = quotas(self.options.count, self.found.len());
        let minimum = self.options.minimum(self.found.len());
        let mut next = 0u64;
        while (next as usize) < self.budget.explore {
            let numbers: Vec<u64> = (next..next + ROUND as u64).collect();
            next += ROUND as u64;
            let pictures: Vec<Vec<u8>> = numbers.iter().map(|&number| self.generator.bytes(number)).collect();
            let answers = self.judge.answers(&pictures)?;
            if numbers.first() == Some(&0) {
                let margins: Vec<f64> = answers.iter().map(|answer| answer.margin).collect();
                self.bounds = Bounds::for_margins(&margins).ok_or_else(|| {
                    Error::invalid("the reference gives the same scores to all classes, whatever the picture")
                        .hint("check the input's range and layout in the manifest")
                })?;
            }
            for (number, answer) in numbers.into_iter().zip(answers) {
                let far = self.judge.reaches(answer.margin, self.bounds.far);
                let middle = !far && self.judge.reaches(answer.margin, self.bounds.near);
                for (class, found) in self.found.iter_mut().enumerate() {
                    if class == answer.label {
                        match (far, middle) {
                            (true, _) => found.far.push(number),
                            (_, true) => found.middle.push(number),
                            _ => found.near += 1,
                        }
                    } else if minimum > 0 && found.far.is_empty() && found.middle.is_empty() {
                        let lead = answer.behind(class);
                        found.closest = match found.closest {
                            Some((best, first, second)) if lead <= first => Some((best, first, second.max(lead))),
                            Some((_, first, _)) => Some((number, lead, first)),
                            None => Some((number, lead, f64::NEG_INFINITY)),
                        };
                    }
                }
            }
            let enough = |(found, quota): (&Found, &Quota)| {
                found.far.len() >= quota.far && found.far.len() + found.middle.len() >= quota.all - quota.near
            };
            if minimum > 0 && self.found.iter().zip(&plan).all(enough) {
                break;
            }
        }
        Ok(())
    }

    /// Offspring of the classes that exploring met too rarely.
    fn breed(&mut self, plan: &[Quota]) -> Result<Vec<Vec<Vec<u8>>>> {
        let missing: Vec<usize> = plan
            .iter()
            .zip(&self.found)
            .map(|(quota, found)| (quota.all - quota.near).saturating_sub(found.far.len() + found.middle.len()))
            .collect();
        let rare = missing.iter().filter(|missing| **missing > 0).count().max(1);
        let mut bred = vec![Vec::new(); plan.len()];
        for (class, (missing, litter)) in missing.into_iter().zip(&mut bred).enumerate() {
            if missing > 0 {
                *litter = self.breed_class(class, missing, self.budget.search / rare)?;
            }
        }
        Ok(bred)
    }

    fn breed_class(&mut self, class: usize, missing: usize, budget: usize) -> Result<Vec<Vec<u8>>> {
        let Some(found) = self.found.get(class) else { return Ok(Vec::new()) };
        let mut parents: Vec<Vec<u8>> =
            found.far.iter().chain(&found.middle).map(|&number| self.generator.bytes(number)).collect();
        let mut climbing = None;
        if parents.is_empty() {
            let Some((number, lead, second)) = found.closest else { return Ok(Vec::new()) };
            self.judge.reaches(lead, second);
            parents.push(self.generator.bytes(number));
            climbing = Some(lead);
        }
        let lowest = self.bounds.window().0;
        let mut random = Random::new(self.options.seed, Purpose::Search, 1 + class as u64);
        let (mut bred, mut spent) = (Vec::new(), 0);
        let mut fresh = FRESH + ((class as u64) << 24);
        while bred.len() < missing && spent < budget {
            let mut children = Vec::with_capacity(LITTER);
            for _ in 0..LITTER {
                let parent = parents.get(random.index(parents.len())).map_or(&[][..], Vec::as_slice);
                children.push(offspring(&mut random, &self.generator, parent, fresh));
                fresh += 1;
            }
            let answers = self.judge.answers(&children)?;
            spent += children.len();
            let mut best: Option<(Vec<u8>, f64)> = None;
            for (child, answer) in children.into_iter().zip(answers) {
                let lead = answer.lead_of(class);
                if let Some(before) = climbing {
                    // Still on the way to the class: only the best child counts.
                    let known = best.as_ref().map_or(before, |(_, lead)| *lead);
                    if self.judge.reaches(lead, known) && lead > known {
                        best = Some((child, lead));
                    }
                } else if self.judge.reaches(lead, lowest) && bred.len() < missing && !parents.contains(&child) {
                    parents.push(child.clone());
                    bred.push(child);
                }
            }
            if let Some((child, lead)) = best {
                parents = vec![child.clone()];
                climbing = Some(lead);
                if self.judge.reaches(lead, lowest) {
                    bred.push(child);
                    climbing = None;
                }
            }
        }
        Ok(bred)
    }

    /// Pictures close to a decision boundary, each found between two pictures of different answers.
    fn bisect(&mut self, plan: &[Quota], bred: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<Vec<u8>>>> {
        let anchors: Vec<Vec<Vec<u8>>> = self
            .found
            .iter()
            .zip(bred)
            .map(|(found, bred)| {
                let explored = found.far.iter().chain(&found.middle).take(ANCHORS);
                explored.map(|&number| self.generator.bytes(number)).chain(bred.iter().cloned()).collect()
            })
            .collect();
        let reached: Vec<usize> =
            (0..anchors.len()).filter(|&class| anchors.get(class).is_some_and(|list| !list.is_empty())).collect();
        let mut near: Vec<Vec<Vec<u8>>> = vec![Vec::new(); plan.len()];
        if reached.len() < 2 {
            return Ok(near);
        }
        let (lowest, highest) = self.bounds.window();
        let mut random = Random::new(self.options.seed, Purpose::Search, 0);
        let mut choose = |class: usize| {
            let list = anchors.get(class).map_or(&[][..], Vec::as_slice);
            list.get(random.index(list.len())).map_or(&[][..], Vec::as_slice)
        };
        let mut partner = Random::new(self.options.seed, Purpose::Search, u64::MAX);
        let mut spent = 0;
        while spent < self.budget.bisect {
            let mut brackets = Vec::new();
            for (class, (quota, near)) in plan.iter().zip(&near).enumerate() {
                for _ in near.len()..quota.near {
                    if reached.contains(&class) {
                        let others = reached.iter().filter(|other| **other != class);
                        let other = others.copied().nth(partner.index(reached.len() - 1)).unwrap_or(class);
                        brackets.push(Bracket {
                            first: choose(class),
                            second: choose(other),
                            label: class,
                            low: 0,
                            high: STEPS,
                        });
                    }
                }
            }
            if brackets.is_empty() {
                break;
            }
            while !brackets.is_empty() && spent < self.budget.bisect {
                let pictures: Vec<Vec<u8>> = brackets.iter().map(Bracket::middle).collect();
                let answers = self.judge.answers(&pictures)?;
                spent += pictures.len();
                let mut open = Vec::new();
                for ((mut bracket, picture), answer) in brackets.into_iter().zip(pictures).zip(answers) {
                    if self.judge.reaches(answer.margin, highest) {
                        if bracket.narrow(answer.label) {
                            open.push(bracket);
                        }
                    } else if self.judge.reaches(answer.margin, lowest)
                        && let (Some(list), Some(quota)) = (near.get_mut(answer.label), plan.get(answer.label))
                        && list.len() < quota.near
                        && !list.contains(&picture)
                    {
                        list.push(picture);
                    }
                }
                brackets = open;
            }
        }
        Ok(near)
    }

    /// Fills the quotas: near, far, then the middle; what a class lacks comes from the others.
    fn choose(&self, plan: &[Quota], near: Vec<Vec<Vec<u8>>>, bred: Vec<Vec<Vec<u8>>>) -> Vec<(Pick, Distance)> {
        let mut classes: Vec<Choice> = Vec::with_capacity(plan.len());
        for (((quota, found), near), bred) in plan.iter().zip(&self.found).zip(near).zip(bred) {
            let mut choice = Choice::default();
            choice.chosen.extend(near.into_iter().map(|planar| (planar, Distance::Near)));
            choice.far = spread(&found.far, quota.far);
            choice.middle = spread(&found.middle, quota.all - quota.near - quota.far);
            choice.bred = bred.into_iter().collect();
            for _ in 0..quota.far {
                choice.take_far(&self.generator);
            }
            classes.push(choice);
        }
        // What a class lacks of far probes comes from the others, before their middle ones.
        let generator = &self.generator;
        let far: usize = classes.iter().map(|choice| choice.taken_far).sum();
        let wanted: usize = plan.iter().map(|quota| quota.far).sum();
        share_out(&mut classes, wanted.saturating_sub(far), |choice| choice.take_far(generator));
        for (choice, quota) in classes.iter_mut().zip(plan) {
            while choice.chosen.len() < quota.all && choice.take_any(generator) {}
        }
        let all: usize = classes.iter().map(|choice| choice.chosen.len()).sum();
        share_out(&mut classes, self.options.count.saturating_sub(all), |choice| choice.take_any(generator));
        interleave(classes.into_iter().map(|choice| choice.chosen).collect(), self.options.count)
    }

    /// Refuses a set that is not what was asked for, and says what was found.
    fn check(&self, picks: &[(Pick, Distance)], minimum: usize) -> Result<()> {
        let mut counts = vec![0usize; self.found.len()];
        for (pick, _) in picks {
            if let Some(count) = counts.get_mut(pick.label) {
                *count += 1;
            }
        }
        let scarce = counts.iter().filter(|count| **count < minimum).count();
        if scarce > 0 {
            let list = |counts: &mut dyn Iterator<Item = usize>| {
                counts.map(|count| count.to_string()).collect::<Vec<_>>().join(" ")
            };
            let explored = list(&mut self.found.iter().map(Found::all));
            let lowest = counts.iter().min().copied().unwrap_or(0);
            return Err(Error::invalid(format!(
                "the reference answers {scarce} of {} classes to fewer than {minimum} probes",
                counts.len()
            ))
            .cause(format!("probes of each class: {}", list(&mut counts.iter().copied())))
            .cause(format!("procedural pictures of each class: {explored}"))
            .hint(format!(
                "accept fewer with `trtgate data probes --min-per-class {lowest} --out probes.bin`, and set \
                 `file = \"probes.bin\"` under `[probes]` in the manifest"
            )));
        }
        let quarter = self.options.count.div_ceil(4);
        for (distance, what) in
            [(Distance::Near, "near a decision boundary"), (Distance::Far, "far from every decision boundary")]
        {
            let found = picks.iter().filter(|(_, own)| *own == distance).count();
            if found < quarter || picks.len() < self.options.count {
                return Err(Error::invalid(format!(
                    "{found} of {} probes lie {what}, expected at least {quarter} of {}",
                    picks.len(),
                    self.options.count
                ))
                .hint("try another seed, or fewer probes"));
            }
        }
        Ok(())
    }
}

/// A stretch between two pictures of different answers.
struct Bracket<'picture> {
    first: &'picture [u8],
    second: &'picture [u8],
    /// The answer at `low`.
    label: usize,
    low: u32,
    high: u32,
}

impl Bracket<'_> {
    fn middle(&self) -> Vec<u8> {
        between(self.first, self.second, self.low.midpoint(self.high), STEPS)
    }

    /// Goes on in the half that holds the boundary; `false` when there is nothing between any more.
    fn narrow(&mut self, label: usize) -> bool {
        let middle = self.low.midpoint(self.high);
        if label == self.label {
            self.low = middle;
        } else {
            self.high = middle;
        }
        self.high - self.low > 1
    }
}

/// Where a probe lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distance {
    Near,
    Middle,
    Far,
}

/// Candidates of one class, the next one last, and what was chosen of them.
#[derive(Default)]
struct Choice {
    far: Vec<u64>,
    middle: Vec<u64>,
    bred: Vec<Vec<u8>>,
    chosen: Vec<(Vec<u8>, Distance)>,
    taken_far: usize,
}

impl Choice {
    fn take_far(&mut self, generator: &Generator) -> bool {
        let Some(number) = self.far.pop() else { return false };
        self.chosen.push((generator.bytes(number), Distance::Far));
        self.taken_far += 1;
        true
    }

    /// Takes a middle one, else an offspring, else a far one.
    fn take_any(&mut self, generator: &Generator) -> bool {
        if let Some(number) = self.middle.pop() {
            self.chosen.push((generator.bytes(number), Distance::Middle));
        } else if let Some(planar) = self.bred.pop() {
            self.chosen.push((planar, Distance::Middle));
        } else {
            return self.take_far(generator);
        }
        true
    }
}

/// Takes `missing` more, one at a time from the class with the fewest so far that still has one to `take`.
fn share_out(classes: &mut [Choice], missing: usize, take: impl Fn(&mut Choice) -> bool) {
    let mut empty = vec![false; classes.len()];
    let mut taken = 0;
    while taken < missing {
        let open = classes.iter_mut().zip(&mut empty).filter(|(_, empty)| !**empty);
        let Some((choice, empty)) = open.min_by_key(|(choice, _)| choice.chosen.len()) else { return };
        if take(choice) {
            taken += 1;
        } else {
            *empty = true;
        }
    }
}

/// The picture numbers in reverse order of choice: first few of each family, so that no family crowds out the others,
/// then the rest in order.
fn spread(numbers: &[u64], wanted: usize) -> Vec<u64> {
    let most = (wanted / 5).max(1);
    let mut taken = vec![0usize; Generator::round()];
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for &number in numbers {
        match taken.get_mut((number % Generator::round() as u64) as usize) {
            Some(count) if *count < most => {
                *count += 1;
                first.push(number);
            }
            _ => rest.push(number),
        }
    }
    first.extend(rest);
    first.reverse();
    first
}

/// One of each class in turn, and within a class one of each distance in turn, so that any stretch of probes is mixed;
/// pictures that are equal byte by byte are taken once.
fn interleave(classes: Vec<Vec<(Vec<u8>, Distance)>>, count: usize) -> Vec<(Pick, Distance)> {
    let mut queues: Vec<_> = classes
        .into_iter()
        .map(|chosen| {
            let mut kinds: [Vec<(Vec<u8>, Distance)>; 3] = Default::default();
            for (planar, distance) in chosen {
                let kind = match distance {
                    Distance::Far => &mut kinds[0],
                    Distance::Near => &mut kinds[1],
                    Distance::Middle => &mut kinds[2],
                };
                kind.push((planar, distance));
            }
            round_robin(kinds.map(Vec::into_iter)).into_iter()
        })
        .collect();
    let mut seen = HashSet::new();
    let (mut picks, mut any) = (Vec::with_capacity(count), true);
    while any {
        any = false;
        for (label, queue) in queues.iter_mut().enumerate() {
            if let Some((planar, distance)) = queue.next() {
                any = true;
                if picks.len() < count && seen.insert(planar.clone()) {
                    picks.push((Pick { label, planar }, distance));
                }
            }
        }
    }
    picks
}

fn round_robin<T, const N: usize>(mut queues: [std::vec::IntoIter<T>; N]) -> Vec<T> {
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(queues.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            return all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_takes_few_of_each_family_first() {
        // Family 0 three times, then family 1: the last element is chosen first.
        assert_eq!(spread(&[0, 16, 32, 1], 5), [32, 16, 1, 0]);
    }

    #[test]
    fn interleaving_mixes_classes_and_drops_equal_pictures() {
        let one = vec![(vec![1], Distance::Far), (vec![2], Distance::Middle), (vec![3], Distance::Near)];
        let two = vec![(vec![4], Distance::Near), (vec![1], Distance::Near)];
        let picks = interleave(vec![one, two], 10);
        let order: Vec<(usize, u8)> = picks.iter().map(|(pick, _)| (pick.label, pick.planar[0])).collect();
        assert_eq!(order, [(0, 1), (1, 4), (0, 3), (0, 2)]);
    }

    #[test]
    fn brackets_close_in_on_the_boundary() {
        let mut bracket = Bracket { first: &[0], second: &[255], label: 0, low: 0, high: STEPS };
        let mut steps = 0;
        while bracket.narrow(usize::from(bracket.middle() > vec![100])) {
            steps += 1;
        }
        assert!(steps <= 10 && bracket.middle()[0].abs_diff(100) <= 1);
    }
}

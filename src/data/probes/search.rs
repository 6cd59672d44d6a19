//! The search for probes: explore, breed what is rare, bisect between different answers, choose.

use std::cell::Cell;
use std::collections::HashSet;

use super::choose::{Choice, Distance, Pick, interleave, share_out, spread};
use super::family::Generator;
use super::judge::{Answer, Judge, LEAST};
use super::plan::{Bounds, Budget, FEWEST, ProbeOptions, Quota, quotas};
use crate::error::{Error, Result};

/// Pictures scored before it is looked whether there are enough.
const ROUND: usize = 512;
/// Pictures after which the speed is known well enough to say how many there is time for.
const TIMED: usize = 64;
/// Share of the time after which the speed is known well enough, however few pictures were scored.
const TIMED_SHARE: f64 = 0.1;
/// Share of the time that is planned for; the rest is for a machine that slows down.
const PLANNED_SHARE: f64 = 0.85;
/// Pictures that are packed to see how long it takes.
const PACKED: usize = 8;
/// Pictures drawn for one that is missing before the input is taken to have no more different ones.
const DRAWS: u64 = 64;

/// What exploring found of one class: numbers of pictures, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) far: Vec<u64>,
    pub(super) middle: Vec<u64>,
    pub(super) near: Vec<u64>,
    /// While nothing is found: the picture that comes closest, its lead, and the second best lead.
    pub(super) closest: Option<(u64, f64, f64)>,
}

impl Found {
    pub(super) fn all(&self) -> usize {
        self.far.len() + self.middle.len() + self.near.len()
    }
}

/// Packs pictures as the file of probes does, so that it is known how long that takes.
pub(super) type Pack<'judge> = dyn Fn(&[Vec<u8>]) -> Result<()> + 'judge;

/// The search's state.
pub(super) struct Search<'judge, 'run, 'scorer> {
    pub(super) judge: &'judge mut Judge<'run, 'scorer>,
    pub(super) generator: Generator,
    pack: &'judge Pack<'judge>,
    pub(super) options: ProbeOptions,
    pub(super) budget: Budget,
    pub(super) found: Vec<Found>,
    pub(super) bounds: Bounds,
    /// First picture number that was not looked at.
    next: u64,
    /// The budget of a model that is fast enough.
    whole: Budget,
    /// Whether the budget was held against the model's speed.
    timed: bool,
    /// Whether something was not found that a larger budget might have found.
    limited: bool,
}

/// What a search ended with.
pub(super) struct Outcome {
    /// In their final order.
    pub(super) picks: Vec<Pick>,
    pub(super) bounds: Bounds,
    /// Pictures of the whole budget, where the time had no room for them and something was not found.
    pub(super) cut_from: Option<usize>,
}

impl<'judge, 'run, 'scorer> Search<'judge, 'run, 'scorer> {
    pub(super) fn new(
        judge: &'judge mut Judge<'run, 'scorer>,
        (generator, pack): (Generator, &'judge Pack<'judge>),
        options: ProbeOptions,
        budget: Budget,
        classes: usize,
    ) -> Self {
        let found = vec![Found::default(); classes];
        let bounds = Bounds::DEFAULT;
        let whole = budget;
        Self { judge, generator, pack, options, budget, found, bounds, next: 0, whole, timed: false, limited: false }
    }

    /// The probes and the bounds that were used.
    pub(super) fn run(mut self) -> Result<Outcome> {
        self.explore()?;
        let minimum = self.options.minimum(self.found.len());
        // Without a minimum, classes that were not met are left out.
        let wanted: Vec<usize> = (0..self.found.len())
            .filter(|&class| minimum > 0 || self.found.get(class).is_some_and(|found| found.all() > 0))
            .collect();
        let mut plan = self.plan(&wanted);
        let bred = self.breed(&plan)?;
        // The quotas of classes that are out of reach go to the others.
        let met = |class: usize| self.found.get(class).is_some_and(|found| found.all() > 0);
        let is_bred = |class: usize| bred.get(class).is_some_and(|bred| !bred.is_empty());
        let reached: Vec<usize> = wanted.iter().copied().filter(|&class| met(class) || is_bred(class)).collect();
        if reached.len() < wanted.len() {
            plan = self.plan(&reached);
        }
        let near = self.bisect(&plan, &bred)?;
        let mut picks = self.choose(&plan, near, bred);
        self.fill_up(&mut picks)?;
        self.judge.clock.set_aside(0);
        let limited = self.limited || self.judge.cut || picks.len() < self.options.count;
        Ok(Outcome { picks, bounds: self.bounds, cut_from: limited.then(|| self.whole.all()) })
    }

    /// Draws picture `number`.
    pub(super) fn draw(&self, number: u64) -> Vec<u8> {
        self.judge.clock.draw(|| self.generator.bytes(number))
    }

    /// Quotas of these classes, by class.
    fn plan(&self, wanted: &[usize]) -> Vec<Quota> {
        let mut plan = vec![Quota::default(); self.found.len()];
        if !wanted.is_empty() {
            for (class, quota) in wanted.iter().zip(quotas(self.options.count, wanted.len())) {
                if let Some(place) = plan.get_mut(*class) {
                    *place = quota;
                }
            }
        }
        plan
    }

    /// Notes that a part of the search came to its end without having found everything.
    pub(super) fn note_end(&mut self) {
        self.limited |= self.budget != self.whole;
    }

    /// Whether another picture is to be drawn beside those that there are: a gate needs some, however long they take.
    fn has_room(&self, picks: usize) -> bool {
        picks < FEWEST || self.judge.clock.can_draw()
    }

    /// Scores pictures of the generator until every class has what its quota needs, or the budget is spent.
    fn explore(&mut self) -> Result<()> {
        let plan = quotas(self.options.count, self.found.len());
        let minimum = self.options.minimum(self.found.len());
        // Scores of all classes are looked at only to find the way to a class that is not met.
        self.judge.keep_scores = minimum > 0;
        while (self.next as usize) < self.budget.explore && !self.judge.cut {
            let first = self.next == 0;
            let round = self.explore_round()?;
            if first {
                let margins: Vec<f64> = round.iter().map(|(_, answer)| answer.margin).collect();
                if !self.judge.varied {
                    return Err(Error::invalid("the reference gives the same scores whatever the picture")
                        .cause(format!("{} pictures were tried", round.len()))
                        .hint("check the input's `range` and `layout` in the manifest"));
                }
                self.bounds = Bounds::for_margins(&margins).ok_or_else(|| {
                    Error::invalid("the reference gives the same scores to all classes, whatever the picture")
                        .hint("check the input's `range` and `layout` in the manifest")
                })?;
            }
            for (number, answer) in round {
                self.sort(number, &answer, minimum > 0);
            }
            let enough = |(found, quota): (&Found, &Quota)| {
                found.far.len() >= quota.far && found.far.len() + found.middle.len() >= quota.all - quota.near
            };
            if minimum > 0 && self.found.iter().zip(&plan).all(enough) {
                return Ok(());
            }
        }
        self.note_end();
        Ok(())
    }

    /// Scores the next pictures, at most [`ROUND`] and as many as the budget has; chooses the budget once the speed is
    /// known.
    fn explore_round(&mut self) -> Result<Vec<(u64, Answer)>> {
        let mut round = Vec::new();
        let mut end = self.next + ROUND as u64;
        while self.next < end && !self.judge.cut {
            self.judge.stage = ("exploring", self.budget.all());
            let step = (self.judge.step() as u64).min(end - self.next);
            let numbers: Vec<u64> = (self.next..self.next + step).collect();
            let pictures: Vec<Vec<u8>> = numbers.iter().map(|&number| self.draw(number)).collect();
            let answers = self.judge.answers(&pictures)?;
            self.next += answers.len() as u64;
            round.extend(numbers.into_iter().zip(answers));
            self.fit_budget(&pictures)?;
            if self.budget != self.whole {
                end = end.min(self.budget.explore as u64).max(self.next);
            }
        }
        Ok(round)
    }

    /// Halves the budget until it fits into the time, once the speed is known; `pictures` are some of those drawn.
    fn fit_budget(&mut self, pictures: &[Vec<u8>]) -> Result<()> {
        let spent = self.judge.clock.spent().as_secs_f64() / self.judge.clock.limit().as_secs_f64();
        if self.timed || (self.judge.evaluations < TIMED && spent < TIMED_SHARE) {
            return Ok(());
        }
        self.timed = true;
        // The probes are drawn once more and packed when nobody is asked any more.
        let some = pictures.get(..PACKED).unwrap_or(pictures);
        self.judge.clock.time_packing(some.len(), self.options.count, || (self.pack)(some))?;
        self.judge.clock.set_aside(self.options.count);
        // At the end every probe is asked again, where that is a small part of the whole.
        let all = (self.judge.affordable() as f64 * PLANNED_SHARE) as usize;
        let all = all.saturating_add(self.judge.evaluations);
        let affordable = all.saturating_sub(self.options.count.min(all / 4));
        self.budget = self.whole.within(affordable);
        // With hardly more pictures than probes, boundaries are not looked for.
        if self.budget != self.whole && self.budget.all() < self.options.count {
            self.budget = Budget { explore: affordable.min(self.options.count), search: 0, bisect: 0 };
        }
        self.budget.explore = self.budget.explore.max(LEAST);
        Ok(())
    }

    /// Puts picture `number` to those of its class, or notes how close it came to classes that are not met.
    fn sort(&mut self, number: u64, answer: &Answer, look_for_all: bool) {
        let far = self.judge.reaches(answer.margin, self.bounds.far);
        let middle = !far && self.judge.reaches(answer.margin, self.bounds.near);
        if let Some(found) = self.found.get_mut(answer.label) {
            match (far, middle) {
                (true, _) => found.far.push(number),
                (_, true) => found.middle.push(number),
                _ => found.near.push(number),
            }
        }
        if !look_for_all {
            return;
        }
        for (class, found) in self.found.iter_mut().enumerate() {
            if class != answer.label && found.far.is_empty() && found.middle.is_empty() {
                let lead = answer.behind(class);
                found.closest = match found.closest {
                    Some((best, first, second)) if lead <= first => Some((best, first, second.max(lead))),
                    Some((_, first, _)) => Some((number, lead, first)),
                    None => Some((number, lead, f64::NEG_INFINITY)),
                };
            }
        }
    }

    /// Fills the quotas, as far as there is time: near, far, then the middle; what a class lacks comes from the others.
    fn choose(&self, plan: &[Quota], near: Vec<Vec<Vec<u8>>>, bred: Vec<Vec<Vec<u8>>>) -> Vec<Pick> {
        let mut classes: Vec<Choice> = Vec::with_capacity(plan.len());
        let taken = Cell::new(0);
        let draw = |number: u64| {
            let (drawn, clock) = (taken.get(), &self.judge.clock);
            (drawn < FEWEST || clock.can_draw()).then(|| {
                taken.set(drawn + 1);
                self.draw(number)
            })
        };
        for (((quota, found), near), bred) in plan.iter().zip(&self.found).zip(near).zip(bred) {
            let mut choice = Choice::default();
            choice.chosen.extend(near.into_iter().map(|planar| (planar, Distance::Near)));
            choice.far = spread(&found.far, quota.far);
            choice.middle = spread(&found.middle, quota.all - quota.near - quota.far);
            choice.bred = bred.into_iter().collect();
            for _ in 0..quota.far {
                choice.take_far(&draw);
            }
            classes.push(choice);
        }
        // What a class lacks of far probes comes from the others, before their middle ones.
        let far: usize = classes.iter().map(|choice| choice.taken_far).sum();
        let wanted: usize = plan.iter().map(|quota| quota.far).sum();
        share_out(&mut classes, wanted.saturating_sub(far), |choice| choice.take_far(&draw));
        for (choice, quota) in classes.iter_mut().zip(plan) {
            while choice.chosen.len() < quota.all && choice.take_any(&draw) {}
        }
        let all: usize = classes.iter().map(|choice| choice.chosen.len()).sum();
        share_out(&mut classes, self.options.count.saturating_sub(all), |choice| choice.take_any(&draw));
        interleave(classes.into_iter().map(|choice| choice.chosen).collect(), self.options.count)
    }

    /// Adds pictures that were not looked at where there are too few different ones: asked where there is time, else
    /// as they are; none where there is no time to draw them either.
    fn fill_up(&mut self, picks: &mut Vec<Pick>) -> Result<()> {
        let count = self.options.count;
        let mut seen: HashSet<Vec<u8>> = picks.iter().map(|pick| pick.planar.clone()).collect();
        // First those that exploring met near a boundary.
        let near =
            self.found.iter().enumerate().flat_map(|(class, found)| found.near.iter().map(move |near| (*near, class)));
        let mut near: Vec<(u64, usize)> = near.collect();
        near.sort_unstable();
        for (number, class) in near {
            if picks.len() == count || !self.has_room(picks.len()) {
                break;
            }
            let planar = self.draw(number);
            if seen.insert(planar.clone()) {
                picks.push(Pick { label: Some(class), planar, distance: Distance::Near });
            }
        }
        self.judge.stage = ("filling up", self.judge.evaluations + count.saturating_sub(picks.len()));
        let mut left = DRAWS * count.saturating_sub(picks.len()) as u64;
        while picks.len() < count && left > 0 && self.has_room(picks.len()) {
            self.judge.clock.set_aside(count - picks.len());
            let mut pictures = Vec::new();
            while pictures.len() < self.judge.step().min(count - picks.len())
                && left > 0
                && self.has_room(picks.len() + pictures.len())
            {
                let picture = self.draw(self.next);
                (self.next, left) = (self.next + 1, left - 1);
                if seen.insert(picture.clone()) {
                    pictures.push(picture);
                }
            }
            let answers = if self.judge.cut { Vec::new() } else { self.judge.answers(&pictures)? };
            for (index, planar) in pictures.into_iter().enumerate() {
                let answer = answers.get(index);
                let distance = answer.map_or(Distance::Unknown, |answer| match answer.margin {
                    margin if margin >= self.bounds.far => Distance::Far,
                    margin if margin <= self.bounds.near => Distance::Near,
                    _ => Distance::Middle,
                });
                picks.push(Pick { label: answer.map(|answer| answer.label), planar, distance });
            }
        }
        if picks.len() < count && left == 0 {
            return Err(Error::invalid(format!("{} different pictures were found of {count}", picks.len()))
                .hint("an input of so few values has no more; ask for fewer with `count` under `[probes]`"));
        }
        Ok(())
    }
}

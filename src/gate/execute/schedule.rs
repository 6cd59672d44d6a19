//! The order in which the cells of a run get their turns: what is built, what runs, on which card, and what waits for what.
//!
//! A board knows no engine and no clock. It is asked for the next job whenever something is free, and told when one has ended;
//! [`super::execute`] does what it says. Nothing that may begin is left waiting while there is room for it, so that builds
//! end within what list scheduling allows: with room for m of them at once, no later than total / m + (1 − 1 / m) × the longest chain
//! of builds that exclude each other (R. L. Graham, 1969, where chains are single jobs).

use super::Builds;

#[cfg(test)]
mod tests;

/// How much happens at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Jobs at once.
    pub(super) jobs: usize,
    /// Builds at once on a card; on the machine, where there is none.
    pub(super) builds: usize,
    /// Cards.
    pub(super) cards: usize,
    /// Whether a card that builds does nothing else, and builds one engine at a time: what a builder times is then the card alone.
    pub(super) undisturbed: bool,
}

/// Builds at once on a card, where nobody says otherwise. Tactics are timed on the card: two builders take its time from each other, a
/// slice after the other, and neither times what it would time alone (8.5.3 and 10.6.0 one after another 182 s, beside each other 212 s;
/// three at once 337 s: `docs/measuring.md`).
const BUILDS_A_CARD: usize = 1;
/// Jobs beside the builds that are of use, at most.
const JOBS: usize = 4;
/// Memory that a builder without a card may take, bytes.
const BUILDER_BYTES: u64 = 4 << 30;

impl Room {
    /// The room of a machine of `cores` and so much memory that is free, with `cards`; `asked` is what a run wants.
    pub(super) fn of(cores: usize, free_bytes: u64, cards: usize, asked: Builds) -> Self {
        let (cores, jobs) = (cores.max(1), cores.clamp(1, JOBS));
        let by_memory = usize::try_from(free_bytes / BUILDER_BYTES).unwrap_or(usize::MAX).max(1);
        let builds = match (cards, asked.at_once) {
            (1.., _) if asked.undisturbed => 1,
            (_, Some(builds)) => builds.max(1),
            (0, None) => jobs.min(by_memory),
            (_, None) => BUILDS_A_CARD,
        };
        // What builds on a card waits for it most of the time.
        let jobs = (jobs + cards * builds).min(cores);
        Self { jobs, builds, cards: cards.max(1), undisturbed: asked.undisturbed }
    }
}

/// What a job is, the least urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The cells of what needs no engine, which are on no card.
    Plain,
    /// The cells of an engine run again, on another card than their own.
    Again,
    /// The cells of an engine run.
    Run,
    /// An engine is built.
    Build,
}

/// What is done in one piece.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) kind: Kind,
    /// Seconds that it is thought to take: the longest goes first.
    pub(super) seconds: f64,
    /// The job that has to end before, from whose card this one has its own.
    pub(super) after: Option<usize>,
    /// What it has for itself: a build its timing cache, wherever; cells the worker of their library on their card, or the server that
    /// they ask. No two with the same run at once.
    pub(super) alone: Option<String>,
    /// How many cards behind that of the job before it is.
    pub(super) shift: usize,
}

impl Job {
    /// Whether cells run on a card.
    fn runs(&self) -> bool {
        matches!(self.kind, Kind::Run | Kind::Again)
    }

    /// Whether it and `other` want the same for themselves.
    fn excludes(&self, other: &Self) -> bool {
        self.alone.is_some() && self.alone == other.alone && self.runs() == other.runs()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Ended,
}

/// The jobs of a run and how far they are.
#[derive(Debug)]
pub(super) struct Board {
    jobs: Vec<Job>,
    states: Vec<State>,
    /// The card of each job that has begun.
    cards: Vec<Option<usize>>,
    room: Room,
}

impl Board {
    pub(super) fn new(jobs: Vec<Job>, room: Room) -> Self {
        let count = jobs.len();
        Self { jobs, states: vec![State::Waiting; count], cards: vec![None; count], room }
    }

    /// The job to begin now, with its card, if there is one for which there is room. Builds go first, since cells wait for them: of
    /// those, the one with most work in its chain, then the longest. Then cells whose engine is there; then what needs none.
    pub(super) fn begin(&mut self) -> Option<(usize, Option<usize>)> {
        if self.running(|_| true) >= self.room.jobs {
            return None;
        }
        let best = (0..self.jobs.len()).filter_map(|index| Some((index, self.place(index)?))).max_by(
            |(one, _), (other, _)| {
                let (first, second) = (self.urgency(*one), self.urgency(*other));
                let by_work = first.1.total_cmp(&second.1).then(first.2.total_cmp(&second.2));
                // Of equals, the one that the plan names first.
                first.0.cmp(&second.0).then(by_work).then(other.cmp(one))
            },
        )?;
        let (index, card) = best;
        if let (Some(state), Some(place)) = (self.states.get_mut(index), self.cards.get_mut(index)) {
            *state = State::Running;
            *place = card;
        }
        Some((index, card))
    }

    /// A job has ended, well or not.
    pub(super) fn end(&mut self, index: usize) {
        if let Some(state) = self.states.get_mut(index) {
            *state = State::Ended;
        }
    }

    /// Whether every job has begun.
    pub(super) fn is_empty(&self) -> bool {
        !self.states.contains(&State::Waiting)
    }

    /// Builds that have not begun.
    pub(super) fn builds_waiting(&self) -> usize {
        self.of(State::Waiting).filter(|job| job.kind == Kind::Build).count()
    }

    fn of(&self, state: State) -> impl Iterator<Item = &Job> {
        self.jobs.iter().zip(&self.states).filter(move |(_, own)| **own == state).map(|(job, _)| job)
    }

    fn running(&self, which: impl Fn(&Job) -> bool) -> usize {
        self.of(State::Running).filter(|job| which(job)).count()
    }

    /// Jobs that run on a card.
    fn on(&self, card: usize, which: impl Fn(&Job) -> bool) -> usize {
        let all = self.jobs.iter().zip(&self.states).zip(&self.cards);
        all.filter(|((job, state), own)| **state == State::Running && **own == Some(card) && which(job)).count()
    }

    /// Where a job may begin now: `Some(None)` on no card; `None` where it has to wait.
    fn place(&self, index: usize) -> Option<Option<usize>> {
        let job = self.jobs.get(index).filter(|_| self.states.get(index) == Some(&State::Waiting))?;
        let before = job.after.map(|before| (self.states.get(before), self.cards.get(before).copied().flatten()));
        if before.is_some_and(|(state, _)| state != Some(&State::Ended)) {
            return None;
        }
        let same = |other: &Job| job.excludes(other);
        if !job.runs() && self.running(same) > 0 {
            return None;
        }
        let fits = |card: &usize| match job.kind {
            Kind::Plain => true,
            Kind::Build => {
                self.on(*card, |other| other.kind == Kind::Build) < self.room.builds
                    && !(self.room.undisturbed && self.on(*card, Job::runs) > 0)
            }
            Kind::Run | Kind::Again => {
                self.on(*card, same) == 0
                    && !(self.room.undisturbed && self.on(*card, |other| other.kind == Kind::Build) > 0)
            }
        };
        match (job.kind, before.and_then(|(_, card)| card)) {
            (Kind::Plain, _) => Some(None),
            (_, Some(card)) => {
                let card = (card + job.shift) % self.room.cards.max(1);
                fits(&card).then_some(Some(card))
            }
            // The card that has had least so far.
            _ => (0..self.room.cards)
                .filter(fits)
                .min_by(|one, other| {
                    let (one, other) = (self.load(*one), self.load(*other));
                    one.0.total_cmp(&other.0).then(one.1.cmp(&other.1))
                })
                .map(Some),
        }
    }

    /// What a card was given: seconds, and engines.
    fn load(&self, card: usize) -> (f64, usize) {
        let given = self.jobs.iter().zip(&self.cards).filter(|(_, own)| **own == Some(card));
        given.fold((0.0, 0), |(seconds, count), (job, _)| {
            (seconds + job.seconds, count + usize::from(job.after.is_none()))
        })
    }

    /// What goes first: by kind, by the work that is left in its chain, by its own length.
    fn urgency(&self, index: usize) -> (Kind, f64, f64) {
        let Some(job) = self.jobs.get(index) else { return (Kind::Plain, 0.0, 0.0) };
        let same = |other: &&Job| job.excludes(other);
        let chain = self.of(State::Waiting).filter(same).map(|other| other.seconds).sum::<f64>().max(job.seconds);
        (job.kind, chain, job.seconds)
    }
}

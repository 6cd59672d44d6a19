//! Boards on a clock that only the events move.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;

/// When and where a job was done.
#[derive(Clone, Copy, Debug)]
struct Done {
    begun: f64,
    ended: f64,
    card: Option<usize>,
}

/// Does all of `jobs`, each of which takes as long as `takes` says, whatever it is thought to take; `look` sees who runs whenever
/// nothing more may begin.
fn simulate(jobs: &[Job], room: Room, takes: &[f64], mut look: impl FnMut(&Board, &[usize])) -> Vec<Done> {
    let mut board = Board::new(jobs.to_vec(), room);
    let mut done: Vec<Option<Done>> = vec![None; jobs.len()];
    let (mut now, mut running) = (0.0, Vec::new());
    loop {
        while let Some((index, card)) = board.begin() {
            assert!(done[index].is_none(), "job {index} begins twice");
            done[index] = Some(Done { begun: now, ended: now + takes[index], card });
            running.push(index);
        }
        look(&board, &running);
        let ended = |index: &usize| done[*index].unwrap().ended;
        let Some(next) = running.iter().copied().min_by(|one, other| ended(one).total_cmp(&ended(other))) else {
            break;
        };
        now = ended(&next);
        running.retain(|index| *index != next);
        board.end(next);
    }
    assert!(board.is_empty(), "jobs wait for ever");
    done.into_iter().map(Option::unwrap).collect()
}

fn build(seconds: f64, cache: &str) -> Job {
    Job { kind: Kind::Build, seconds, after: None, alone: Some(cache.to_owned()), shift: 0 }
}

fn run(after: usize, library: &str) -> Job {
    Job { kind: Kind::Run, seconds: 0.4, after: Some(after), alone: Some(library.to_owned()), shift: 0 }
}

fn room(jobs: usize, builds: usize, cards: usize) -> Room {
    Room { jobs, builds, cards, undisturbed: false }
}

/// A build and its cells for each of so many seconds, of each version.
fn versions(seconds: &[&[f64]]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (version, seconds) in seconds.iter().enumerate() {
        for seconds in *seconds {
            jobs.push(build(*seconds, &format!("cache {version}")));
            jobs.push(run(jobs.len() - 1, &format!("version {version}")));
        }
    }
    jobs
}

fn thought(jobs: &[Job]) -> Vec<f64> {
    jobs.iter().map(|job| job.seconds).collect()
}

#[test]
fn a_machine_has_room_for_what_its_cards_cores_and_memory_allow() {
    let gibibytes = |count: u64| count << 30;
    let of = |cores, memory, cards, at_once, undisturbed| {
        let room = Room::of(cores, gibibytes(memory), cards, Builds { at_once, undisturbed });
        (room.jobs, room.builds, room.cards)
    };
    assert_eq!(of(16, 100, 1, None, false), (5, 1, 1));
    assert_eq!(of(16, 100, 2, None, false), (6, 1, 2));
    assert_eq!(of(16, 100, 1, Some(3), false), (7, 3, 1));
    assert_eq!(of(16, 100, 1, Some(3), true), (5, 1, 1), "what is timed is built alone");
    assert_eq!(of(16, 100, 0, Some(3), true), (4, 3, 1), "without a card nothing is timed");
    assert_eq!(of(2, 100, 0, None, false), (2, 2, 1));
    assert_eq!(of(16, 9, 0, None, false), (4, 2, 1));
    assert_eq!(of(16, 0, 0, None, false), (4, 1, 1), "a system that does not say");
    assert_eq!(of(1, 1, 1, None, false), (1, 1, 1));
    assert_eq!(of(0, 0, 0, Some(0), false), (1, 1, 1));
}

/// The builds of an H100 (`docs/gpu/2026-11-27-h100-title`), as long as they took beside each other.
#[test]
fn three_versions_keep_their_card_busy_and_two_cards_share_them() {
    let seconds: [&[f64]; 3] = [
        &[15.0, 14.0, 82.0, 29.0, 42.0, 69.0],
        &[25.0, 29.0, 79.0, 33.0, 69.0, 62.0],
        &[19.0, 33.0, 55.0, 58.0, 110.0, 55.0],
    ];
    let (total, longest) = (878.0, 330.0);
    let jobs = versions(&seconds);
    let last = |done: &[Done]| done.iter().map(|done| done.ended).fold(0.0, f64::max);
    let one = simulate(&jobs, room(5, 1, 1), &thought(&jobs), |_, _| {});
    assert!((last(&one) - total - 0.4).abs() < 1e-9, "{}", last(&one));
    // The cells of an engine run while the next is built.
    assert!(one.iter().skip(1).step_by(2).filter(|done| done.begun < total).count() >= 17);
    let two = simulate(&jobs, room(6, 1, 2), &thought(&jobs), |_, _| {});
    assert!(last(&two) < total / 2.0 + 30.0, "{}", last(&two));
    // With a card for each, the version with most to build is what takes longest.
    let three = simulate(&jobs, room(7, 1, 3), &thought(&jobs), |_, _| {});
    assert!((last(&three) - longest - 0.4).abs() < 1e-9, "{}", last(&three));
}

#[test]
fn the_longest_build_goes_first_and_cells_before_what_needs_no_engine() {
    let mut jobs = versions(&[&[1.0, 3.0, 2.0]]);
    jobs.push(Job { kind: Kind::Plain, seconds: 0.0, after: None, alone: None, shift: 0 });
    let done = simulate(&jobs, room(1, 1, 1), &thought(&jobs), |_, _| {});
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by(|one, other| done[*one].begun.total_cmp(&done[*other].begun).then(one.cmp(other)));
    assert_eq!(order, [2, 4, 0, 1, 3, 5, 6]);
}

/// What an engine answers on its own card is asked of it on every other.
#[test]
fn cells_run_again_on_the_other_cards() {
    let mut jobs = versions(&[&[3.0, 2.0]]);
    for (own, shift) in [(1, 1), (1, 2), (3, 1), (3, 2)] {
        jobs.push(Job { kind: Kind::Again, shift, ..run(own, "version 0") });
    }
    let done = simulate(&jobs, room(8, 1, 3), &thought(&jobs), |_, _| {});
    for (own, again) in [(1, [4, 5]), (3, [6, 7])] {
        let mut cards: Vec<_> = again.iter().chain([&own]).map(|job| done[*job].card.unwrap()).collect();
        cards.sort_unstable();
        assert_eq!(cards, [0, 1, 2]);
        assert!(again.iter().all(|job| done[*job].begun >= done[own].ended));
    }
    for (one, other) in (4..8).flat_map(|one| (4..one).map(move |other| (one, other))) {
        let apart = done[one].ended <= done[other].begun || done[other].ended <= done[one].begun;
        assert!(apart || done[one].card != done[other].card, "one worker of a library on a card");
    }
}

/// Where engines are to be timed, a card that builds one does nothing else.
#[test]
fn what_is_timed_is_built_undisturbed() {
    let jobs = versions(&[&[3.0, 2.0], &[4.0]]);
    let room = Room { undisturbed: true, ..room(8, 1, 2) };
    let done = simulate(&jobs, room, &thought(&jobs), |_, _| {});
    for (one, other) in (0..jobs.len()).flat_map(|one| (0..one).map(move |other| (one, other))) {
        let apart = done[one].ended <= done[other].begun || done[other].ended <= done[one].begun;
        let builds = jobs[one].kind == Kind::Build || jobs[other].kind == Kind::Build;
        assert!(apart || !builds || done[one].card != done[other].card, "{one} and {other}: {done:?}");
    }
}

/// Any jobs: versions of some engines each, with cells, some without a timing cache, and lanes that need none.
fn any_jobs() -> impl Strategy<Value = (Vec<Job>, Vec<f64>)> {
    let engine = (0..4_u8, any::<bool>(), 0.0..100.0_f64, 0.0..100.0_f64, 0.0..5.0_f64);
    let plain = proptest::collection::vec(0.0..30.0_f64, 0..4);
    (proptest::collection::vec(engine, 0..14), plain).prop_map(|(engines, plain)| {
        let (mut jobs, mut takes) = (Vec::new(), Vec::new());
        for (version, has_cache, thought, seconds, running) in engines {
            let alone = has_cache.then(|| format!("cache {version}"));
            jobs.push(Job { kind: Kind::Build, seconds: thought, after: None, alone, shift: 0 });
            jobs.push(run(jobs.len() - 1, &format!("version {version}")));
            takes.extend([seconds, running]);
        }
        for seconds in plain {
            jobs.push(Job { kind: Kind::Plain, seconds: 0.0, after: None, alone: None, shift: 0 });
            takes.push(seconds);
        }
        (jobs, takes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(11), ..ProptestConfig::default() })]

    #[test]
    fn every_job_is_done_once_within_all_limits_on_the_card_of_its_engine(
        (jobs, takes) in any_jobs(),
        (together, builds, cards, undisturbed) in (1..7_usize, 1..4_usize, 1..4_usize, any::<bool>()),
    ) {
        let builds = if undisturbed { 1 } else { builds };
        let room = Room { jobs: together, builds, cards, undisturbed };
        let done = simulate(&jobs, room, &takes, |board, running| {
            assert!(running.len() <= together);
            for card in 0..cards {
                assert!(board.on(card, |job| job.kind == Kind::Build) <= builds);
            }
        });
        let at_once = |one: usize, other: usize| {
            done[one].begun < done[other].ended && done[other].begun < done[one].ended
        };
        for (index, job) in jobs.iter().enumerate() {
            prop_assert_eq!(done[index].card.is_some(), job.kind != Kind::Plain);
            prop_assert!(done[index].card.is_none_or(|card| card < cards));
            if let Some(before) = job.after {
                prop_assert!(done[before].ended <= done[index].begun);
                prop_assert_eq!(done[before].card, done[index].card);
            }
            for other in 0..index {
                let same = job.alone.is_some() && jobs[other].kind == job.kind && jobs[other].alone == job.alone;
                let same_card = done[index].card == done[other].card;
                let kinds = [job.kind, jobs[other].kind];
                let disturbs = undisturbed && same_card && kinds.contains(&Kind::Build) && kinds.contains(&Kind::Run);
                let excludes = same && (job.kind == Kind::Build || same_card) || disturbs;
                prop_assert!(!excludes || !at_once(index, other), "{} and {}", index, other);
            }
        }
    }

    /// No room is left idle while a build could have it, whatever builds take in truth: one that dies at once, or takes far longer
    /// than was thought, delays no other beyond this.
    #[test]
    fn builds_end_within_the_bound_of_list_scheduling(
        (jobs, takes) in any_jobs(),
        (builds, cards) in (1..4_usize, 1..4_usize),
    ) {
        // Cells take no place of a builder.
        let room = room(jobs.len().max(1), builds, cards);
        let done = simulate(&jobs, room, &takes, |_, _| {});
        let builders = (builds * cards) as f64;
        let is_build = |index: &usize| jobs[*index].kind == Kind::Build;
        let of = |chain: &Option<String>| -> f64 {
            (0..jobs.len()).filter(is_build).filter(|index| jobs[*index].alone == *chain).map(|index| takes[index]).sum()
        };
        let total: f64 = (0..jobs.len()).filter(is_build).map(|index| takes[index]).sum();
        let chain = |index: usize| match &jobs[index].alone {
            Some(_) => of(&jobs[index].alone),
            None => takes[index],
        };
        let longest = (0..jobs.len()).filter(is_build).map(chain).fold(0.0, f64::max);
        let last = (0..jobs.len()).filter(is_build).map(|index| done[index].ended).fold(0.0, f64::max);
        prop_assert!(last <= total / builders + (1.0 - 1.0 / builders) * longest + 1e-6, "{last}: {jobs:?} {takes:?}");
        // The cells of an engine never wait for the builds of others, but for their own library's on their card.
        for index in (0..jobs.len()).filter(|index| jobs[*index].kind == Kind::Run) {
            let ready = done[jobs[index].after.unwrap()].ended;
            let busy = (0..jobs.len()).filter(|other| {
                *other != index && jobs[*other].kind == Kind::Run && jobs[*other].alone == jobs[index].alone
                    && done[*other].card == done[index].card && done[*other].ended > ready - 1e-9
                    && done[*other].begun <= done[index].begun
            });
            let waited = done[index].begun - ready;
            prop_assert!(waited <= busy.map(|other| takes[other]).sum::<f64>() + 1e-6);
        }
    }
}

/// Two protocols of one server, and what has nothing to do with it.
#[test]
fn what_asks_one_server_asks_it_alone() {
    let plain = |alone: Option<&str>| Job {
        kind: Kind::Plain,
        seconds: 0.0,
        after: None,
        alone: alone.map(str::to_owned),
        shift: 0,
    };
    let jobs = [plain(Some("triton")), plain(Some("triton")), plain(None)];
    let done = simulate(&jobs, room(4, 1, 0), &[2.0, 2.0, 2.0], |_, _| {});
    let begun: Vec<f64> = done.iter().map(|done| done.begun).collect();
    assert_eq!(begun, [0.0, 2.0, 0.0]);
}

/// What waits for its turn is told, and a card is given what takes least so far, by seconds and then by engines.
#[test]
fn builds_that_wait_are_counted() {
    let jobs = versions(&[&[5.0, 3.0], &[2.0]]);
    let mut board = Board::new(jobs, room(8, 1, 2));
    assert_eq!(board.builds_waiting(), 3);
    let (first, card) = board.begin().unwrap();
    assert_eq!((board.builds_waiting(), card), (2, Some(0)));
    let (_, other) = board.begin().unwrap();
    assert_eq!((board.builds_waiting(), other), (1, Some(1)));
    assert_eq!(board.load(0), (5.0, 1));
    board.end(first);
    assert_eq!((board.builds_waiting(), board.is_empty()), (1, false));
}

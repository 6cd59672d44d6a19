//! The loop over lanes: issues launches, waits for the oldest, keeps the times. Knows no device.

use std::time::Duration;

use crate::error::Result;

/// A source of launches that the loop can issue and wait for, one for each set of buffers.
pub(super) trait Launches {
    /// Issues the launch of set `set`, which is not on its way; returns at once.
    fn issue(&mut self, set: usize) -> Result<()>;

    /// Waits for the launch of set `set`, then gives its GPU time per batch, milliseconds.
    fn wait(&mut self, set: usize) -> Result<f64>;
}

/// When the loop may stop: all three must be reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    /// Shortest duration.
    pub(super) duration: Duration,
    /// Fewest batches over all lanes.
    pub(super) batches: u64,
    /// Fewest launches of each lane; the number of sets makes every set run, one more gives a time.
    pub(super) launches: u64,
}

/// How launches and sets are counted; see [`super::plan::Plan`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) sets: usize,
    pub(super) in_flight: usize,
    pub(super) batches_per_launch: usize,
}

/// What the loop saw.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Batches completed.
    pub(super) batches: u64,
    /// Host time per batch, milliseconds: the time between completions of a lane's launches, over the batches that all
    /// lanes complete in it. The first of each lane, which fills the pipeline, is left out, and so is the end.
    pub(super) host_milliseconds: Vec<f64>,
    /// GPU time per batch, milliseconds, one entry a launch.
    pub(super) gpu_milliseconds: Vec<f64>,
    /// From before the first issue to after the last completion.
    pub(super) wall: Duration,
    /// Time spent issuing.
    pub(super) issuing: Duration,
}

impl Tally {
    /// Room for `launches` entries, so that the timed loop allocates nothing.
    pub(super) fn with_room(launches: usize) -> Self {
        Self {
            host_milliseconds: Vec::with_capacity(launches),
            gpu_milliseconds: Vec::with_capacity(launches),
            ..Self::default()
        }
    }
}

/// A lane's place in the loop.
#[derive(Clone, Copy, Default)]
struct Place {
    issued: u64,
    completed: u64,
    last_completion: Duration,
}

/// Runs launches on `lanes` in turn until `goal` is reached, then waits for those on their way.
///
/// # Errors
///
/// Whatever a lane answers; launches may then still be on their way.
pub(super) fn run<L: Launches>(
    lanes: &mut [L],
    shape: Shape,
    goal: Goal,
    tally: &mut Tally,
    clock: &mut dyn FnMut() -> Duration,
) -> Result<()> {
    let Shape { sets, in_flight, batches_per_launch } = shape;
    let (sets, in_flight) = (sets.max(1) as u64, in_flight.clamp(1, sets.max(1)) as u64);
    let per_batch = 1e3 / (batches_per_launch.max(1) * lanes.len().max(1)) as f64;
    let mut places = vec![Place::default(); lanes.len()];
    let begin = clock();
    let mut now = begin;
    let mut issuing = true;
    loop {
        let mut busy = false;
        for (lane, place) in lanes.iter_mut().zip(&mut places) {
            let on_their_way = place.issued - place.completed;
            if on_their_way == in_flight || (!issuing && on_their_way > 0) {
                let milliseconds = lane.wait((place.completed % sets) as usize)?;
                now = clock();
                tally.gpu_milliseconds.push(milliseconds);
                if issuing && place.completed > 0 {
                    let interval = now.saturating_sub(place.last_completion).as_secs_f64();
                    tally.host_milliseconds.push(interval * per_batch);
                }
                place.completed += 1;
                place.last_completion = now;
                tally.batches += batches_per_launch as u64;
            }
            if issuing {
                let before = clock();
                lane.issue((place.issued % sets) as usize)?;
                tally.issuing += clock().saturating_sub(before);
                place.issued += 1;
            }
            busy |= place.issued > place.completed;
        }
        if issuing {
            let launches = places.iter().map(|place| place.completed).min().unwrap_or(0);
            issuing = now.saturating_sub(begin) < goal.duration
                || tally.batches < goal.batches
                || launches < goal.launches.max(2);
        } else if !busy {
            break;
        }
    }
    tally.wall = now.saturating_sub(begin);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::error::Error;

    /// A device that runs one launch after another, each for `cost` milliseconds, on a clock that only waiting and
    /// issuing advance.
    struct Lane<'a> {
        now: &'a Cell<Duration>,
        cost: u64,
        issue_cost: u64,
        queue: VecDeque<(usize, Duration)>,
        ran: Vec<u64>,
        deepest: usize,
        fail_at: Option<u64>,
    }

    impl<'a> Lane<'a> {
        fn new(now: &'a Cell<Duration>, sets: usize, cost: u64) -> Self {
            Self { now, cost, issue_cost: 0, queue: VecDeque::new(), ran: vec![0; sets], deepest: 0, fail_at: None }
        }
    }

    impl Launches for Lane<'_> {
        fn issue(&mut self, set: usize) -> Result<()> {
            assert!(self.queue.iter().all(|&(queued, _)| queued != set), "set {set} is on its way already");
            self.now.set(self.now.get() + Duration::from_millis(self.issue_cost));
            let free = self.queue.back().map_or(self.now.get(), |&(_, end)| end.max(self.now.get()));
            self.queue.push_back((set, free + Duration::from_millis(self.cost)));
            self.deepest = self.deepest.max(self.queue.len());
            Ok(())
        }

        fn wait(&mut self, set: usize) -> Result<f64> {
            let (oldest, end) = self.queue.pop_front().unwrap();
            assert_eq!(oldest, set, "waits must come in the order of issue");
            self.now.set(self.now.get().max(end));
            self.ran[set] += 1;
            if self.fail_at == Some(self.ran.iter().sum()) {
                return Err(Error::failed("the device is gone"));
            }
            Ok(self.cost as f64)
        }
    }

    fn goal(duration: u64, batches: u64, launches: u64) -> Goal {
        Goal { duration: Duration::from_millis(duration), batches, launches }
    }

    #[test]
    fn one_lane_is_busy_all_the_time() {
        let now = Cell::new(Duration::ZERO);
        let mut lanes = [Lane::new(&now, 3, 8)];
        let mut tally = Tally::default();
        let shape = Shape { sets: 3, in_flight: 3, batches_per_launch: 4 };
        run(&mut lanes, shape, goal(100, 10, 3), &mut tally, &mut || now.get()).unwrap();
        // 13 launches pass 100 ms; three more are on their way when that is seen.
        assert_eq!((tally.batches, tally.wall), (64, Duration::from_millis(128)));
        assert_eq!(tally.host_milliseconds, vec![2.0; 12]);
        assert_eq!((tally.gpu_milliseconds.len(), lanes[0].deepest, lanes[0].queue.len()), (16, 3, 0));
    }

    #[test]
    fn lanes_share_the_wall_clock() {
        let now = Cell::new(Duration::ZERO);
        let mut lanes = [Lane::new(&now, 3, 8), Lane::new(&now, 3, 8)];
        let mut tally = Tally::default();
        let shape = Shape { sets: 3, in_flight: 3, batches_per_launch: 1 };
        run(&mut lanes, shape, goal(800, 10, 3), &mut tally, &mut || now.get()).unwrap();
        // Two lanes that do not slow each other down: a batch every 4 ms.
        assert!(tally.host_milliseconds.iter().all(|&milliseconds| milliseconds == 4.0));
        let per_batch = tally.wall.as_secs_f64() * 1e3 / tally.batches as f64;
        assert!((per_batch - 4.0).abs() < 0.1, "{per_batch}");
    }

    #[test]
    fn issuing_is_counted_apart() {
        let now = Cell::new(Duration::ZERO);
        let mut lane = Lane::new(&now, 3, 8);
        lane.issue_cost = 2;
        let mut lanes = [lane];
        let mut tally = Tally::default();
        let shape = Shape { sets: 3, in_flight: 3, batches_per_launch: 2 };
        run(&mut lanes, shape, goal(80, 1, 3), &mut tally, &mut || now.get()).unwrap();
        assert_eq!(tally.issuing.as_millis() as u64, 2 * tally.batches / 2);
        assert!(tally.host_milliseconds.iter().all(|&milliseconds| milliseconds == 4.0), "{tally:?}");
    }

    #[test]
    fn a_failing_lane_ends_the_loop() {
        let now = Cell::new(Duration::ZERO);
        let mut lane = Lane::new(&now, 3, 8);
        lane.fail_at = Some(5);
        let shape = Shape { sets: 3, in_flight: 3, batches_per_launch: 1 };
        let outcome = run(&mut [lane], shape, goal(800, 1, 3), &mut Tally::default(), &mut || now.get());
        assert_eq!(outcome.unwrap_err().message, "the device is gone");
    }

    proptest! {
        #[test]
        fn every_set_runs_and_nothing_is_left(
            lanes in 1_usize..5, sets in 1_usize..12, in_flight in 1_usize..6, batches_per_launch in 1_usize..17,
            cost in 1_u64..20, duration in 0_u64..50, batches in 0_u64..200,
        ) {
            let now = Cell::new(Duration::ZERO);
            let mut lanes: Vec<_> = (0..lanes).map(|lane| Lane::new(&now, sets, cost + lane as u64)).collect();
            let mut tally = Tally::default();
            let shape = Shape { sets, in_flight, batches_per_launch };
            run(&mut lanes, shape, goal(duration, batches, sets as u64), &mut tally, &mut || now.get()).unwrap();
            prop_assert!(tally.batches >= batches && tally.wall >= Duration::from_millis(duration));
            prop_assert!(!tally.host_milliseconds.is_empty());
            let mut ran = 0;
            for lane in &lanes {
                prop_assert!(lane.queue.is_empty() && lane.deepest <= in_flight.min(sets));
                prop_assert!(lane.ran.iter().all(|&runs| runs > 0));
                ran += lane.ran.iter().sum::<u64>();
            }
            prop_assert_eq!(ran * batches_per_launch as u64, tally.batches);
            prop_assert_eq!(ran as usize, tally.gpu_milliseconds.len());
        }
    }
}

//! Any history of workers: replies, errors, deaths, hangs, floods, nonsense, refusals to start, in any order, in any request.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::error::Error;
use crate::gate::runs::Outcome;
use crate::gate::workshop::{CLASSES, PROBES, Workshop, answers, samples, sound};
use crate::worker::Reply;
use crate::worker::fake::{Fakes, Step};

/// What may happen to a request.
#[derive(Clone, Copy, Debug)]
pub(in crate::gate) enum Event {
    Served,
    Slow(u64),
    Failed(ErrorKind),
    Died,
    DiedAfter,
    Hung,
    Flooded,
    Garbled,
    Deaf,
    Other,
    NotANumber,
}

pub(in crate::gate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => Just(Event::Served),
        2 => (0..200_u64).prop_map(Event::Slow),
        2 => prop_oneof![
            Just(ErrorKind::Failed),
            Just(ErrorKind::Missing),
            Just(ErrorKind::Unsupported),
            Just(ErrorKind::Invalid),
            Just(ErrorKind::Machine),
            Just(ErrorKind::Usage),
        ].prop_map(Event::Failed),
        2 => Just(Event::Died),
        1 => Just(Event::DiedAfter),
        1 => Just(Event::Hung),
        1 => Just(Event::Flooded),
        1 => Just(Event::Garbled),
        1 => Just(Event::Deaf),
        1 => Just(Event::Other),
        1 => Just(Event::NotANumber),
    ]
}

pub(in crate::gate) fn step(event: Event, builds: bool) -> Step {
    let served = || if builds { Step::Build } else { Step::Serve };
    match event {
        Event::Served => served(),
        Event::Slow(seconds) if !builds => Step::After(Duration::from_secs(seconds)),
        Event::Slow(_) => Step::Build,
        Event::Failed(kind) => Step::Fail(Error::new(kind, "it is so")),
        Event::Died => Step::Die("died by signal 11"),
        Event::DiedAfter if !builds => Step::DieAfter("died by signal 9"),
        Event::Hung => Step::Hang,
        Event::Flooded => Step::Flood,
        Event::Garbled => Step::Garble,
        Event::Deaf => Step::Deaf,
        // What is built leaves no values to spoil.
        _ if builds => Step::Fail(Error::failed("it is so")),
        Event::Other => Step::Spoil(Box::new(|reply, _| {
            *reply =
                Reply::Measured { measurement: crate::worker::fake::no_measurement(), batches: 0, outputs: Vec::new() }
        })),
        Event::NotANumber => Step::Spoil(Box::new(|_, tensors| {
            let values = tensors.iter_mut().filter_map(|tensor| tensor.values.as_mut::<f32>()).flatten();
            values.for_each(|value| *value = f32::NAN);
        })),
        Event::DiedAfter => unreachable!("it is served above"),
    }
}

/// Requests of one cell at most, each with a limit of its own: engine, session, layers, probes, trials, ordinary samples.
const MOST_REQUESTS: usize = 40;

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn every_history_ends_with_each_cell_once_in_bounded_time_and_nothing_left(
        events in proptest::collection::vec(event(), 1..60),
        startable in prop_oneof![4 => Just(usize::MAX), 1 => 0..6_usize],
        fresh in any::<bool>(),
    ) {
        let mut workshop = Workshop::new("tensorflow = [\"fp32\"]\ntensorrt = [\"fp32\", \"int8\"]\nlitert = [\"int8\"]");
        workshop.fresh = fresh.then(|| samples(20));
        // Each worker goes through the events from another place on, so that lanes running side by side change nothing.
        let history = events.clone();
        let fakes = Fakes::of(sound, move |call| {
            let event = history[(call.worker * 17 + call.before) % history.len()];
            step(event, call.name() == "build")
        });
        fakes.startable.store(startable, Ordering::SeqCst);
        let raw = workshop.run(&fakes);

        let planned: Vec<_> = workshop.plan.iter().map(|cell| cell.id.clone()).collect();
        let found: Vec<_> = raw.iter().map(|cell| cell.planned.id.clone()).collect();
        prop_assert_eq!(found, planned, "no cell is lost or doubled");
        prop_assert_eq!(fakes.alive(), 0, "no worker is left");
        // Two deaths end a precision of a lane; then nobody is started for it.
        prop_assert!(fakes.started() <= 2 * 4 + raw.len(), "{} workers", fakes.started());
        let limit = workshop.limits.request.max(workshop.limits.build);
        prop_assert!(fakes.waited() <= limit * (MOST_REQUESTS * raw.len()) as u32, "{:?}", fakes.waited());
        let right = answers(&workshop.probes);
        for cell in &raw {
            match &cell.outcome {
                Outcome::Ran(ran) => {
                    let outputs = ran.outputs.tensors().unwrap();
                    prop_assert_eq!(outputs.len(), 1);
                    prop_assert_eq!(&outputs[0].shape, &vec![PROBES, CLASSES]);
                    // What came through whole is what was sent.
                    let spoilt = outputs[0].floats().iter().all(|value| value.is_nan());
                    prop_assert!(spoilt || outputs[0] == right);
                }
                Outcome::Stopped { status, stage, error } => {
                    prop_assert!(*status != Status::Pass);
                    prop_assert!(!error.message.is_empty());
                    prop_assert!(*stage != Stage::Compare && *stage != Stage::Measure);
                    // What its own runtime refuses is never excused.
                    let excused = matches!(status, Status::Unavailable | Status::Unsupported);
                    prop_assert!(!excused || matches!(stage, Stage::Convert | Stage::Build));
                }
                Outcome::Built { .. } => prop_assert!(false, "everything can run here"),
            }
        }
        // The store holds whole entries and nothing half made.
        let staging = workshop.store.root().join(".staging");
        let left = std::fs::read_dir(staging).map(|entries| entries.count()).unwrap_or(0);
        prop_assert_eq!(left, 0, "a folder of a build that failed is left");
    }
}

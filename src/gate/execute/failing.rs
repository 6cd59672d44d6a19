//! Workers that die, hang or talk nonsense: what each costs, and what it does not.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rstest::rstest;

use super::tests::{ran, told};
use crate::error::Error;
use crate::gate::runs::Outcome;
use crate::gate::workshop::{PROBES, Workshop, samples, sound};
use crate::vocabulary::Precision;
use crate::worker::fake::{Fakes, Step};
use crate::worker::{Reply, Request};

#[test]
fn a_worker_that_cannot_be_started_judges_nothing() {
    let workshop = Workshop::new("tensorflow = [\"fp32\"]");
    let fakes = Fakes::of(sound, |_| Step::Serve);
    fakes.startable.store(0, Ordering::SeqCst);
    let raw = workshop.run(&fakes);
    assert_eq!(raw.iter().map(told).collect::<Vec<_>>(), ["invalid at load: cannot start a worker, `fake worker`"; 2]);
}

#[rstest]
#[case::died(|| Step::Die("died by signal 11"), "the worker died by signal 11 after 0.0 s", 0)]
#[case::hung(|| Step::Hang, "no answer within 120 s, so the worker was stopped", 120)]
#[case::deaf(|| Step::Deaf, "no answer within 120 s, so the worker was stopped", 120)]
#[case::late(|| Step::After(Duration::from_secs(121)), "no answer within 120 s, so the worker was stopped", 120)]
#[case::flooded(|| Step::Flood, "the worker was stopped after writing 72 MiB to standard error", 1)]
#[case::garbled(|| Step::Garble, "the worker's answer is broken", 0)]
fn a_worker_that_fails_costs_its_cell_and_the_next_has_a_fresh_one(
    #[case] step: fn() -> Step,
    #[case] words: &str,
    #[case] seconds: u64,
) {
    let workshop = Workshop::new("tensorflow = [\"fp32\"]");
    let (raw, fakes) =
        workshop.scripted(move |call| if call.worker == 0 && call.name() == "run" { step() } else { Step::Serve });
    assert_eq!(told(&raw[0]), format!("fail at run: cannot run the samples: {words}"));
    assert_eq!(told(&raw[1]), "ran");
    assert_eq!((fakes.started(), fakes.alive()), (2, 0));
    assert_eq!(fakes.waited().as_secs_f64().round() as u64, seconds);
    // The next cell loads its artifact again.
    assert!(fakes.seen().contains(&(1, "open")));
}

#[test]
fn an_answer_within_the_limit_is_waited_for() {
    let workshop = Workshop::new("tensorflow = [\"fp32\"]");
    let (raw, fakes) = workshop.scripted(|call| match (call.before, call.name()) {
        (2, "run") => Step::After(Duration::from_secs(119)),
        _ => Step::Serve,
    });
    assert_eq!(ran(&raw[0]).seconds.run, 119.0);
    assert_eq!((fakes.started(), fakes.waited()), (1, Duration::from_secs(119)));
}

#[test]
fn two_deaths_end_a_precision_and_not_the_others() {
    let mut workshop = Workshop::new("tensorrt = [\"fp32\", \"int8\"]");
    let mut third = workshop.plan[1].clone();
    third.id.batch = 8;
    workshop.plan.insert(2, third);
    let (raw, fakes) = workshop.scripted(move |call| match call.request {
        Request::Build(_) => Step::Build,
        Request::Open(request) if request.precision == Precision::Fp32 => Step::Die("exited with code 3"),
        _ => Step::Serve,
    });
    let died = "fail at load: cannot load the artifact: the worker exited with code 3 after 0.0 s";
    let given_up = "fail at load: the worker died twice before this cell, so it was not started again";
    assert_eq!(raw.iter().map(told).collect::<Vec<_>>(), [died, died, given_up, "ran", "ran"]);
    // One builds, and cells that run meanwhile have another.
    assert!((3..=4).contains(&fakes.started()), "{}", fakes.started());
    assert_eq!(fakes.alive(), 0);
}

/// A builder that dies takes its own engine with it. The others are built, once each, and their cells run.
#[rstest]
#[case::shortest(Precision::Fp32)]
#[case::longest(Precision::Int8)]
#[case::between(Precision::Tf32)]
fn a_death_in_a_build_costs_no_other_engine(#[case] broken: Precision) {
    let workshop = Workshop::new("tensorrt = [\"fp32\", \"tf32\", \"int8\"]");
    let builds = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&builds);
    let (raw, fakes) = workshop.scripted(move |call| match call.request {
        Request::Build(request) => {
            seen.lock().unwrap().push(request.precision);
            if request.precision == broken { Step::Die("died by signal 11") } else { Step::Build }
        }
        _ => Step::Serve,
    });
    // The longest first; one that died is not tried again for its second batch.
    assert_eq!(*builds.lock().unwrap(), [Precision::Int8, Precision::Tf32, Precision::Fp32]);
    for cell in &raw {
        let expected = match cell.planned.id.precision == broken {
            true => "fail at build: cannot build the engine: the worker died by signal 11 after 0.0 s",
            false => "ran",
        };
        assert_eq!(told(cell), expected, "{}", cell.planned.id);
    }
    assert_eq!(fakes.alive(), 0);
}

#[test]
fn a_session_that_was_refused_is_not_taken_for_an_open_one() {
    let workshop = Workshop::new("tensorflow = [\"fp32\"]");
    let (raw, fakes) = workshop.scripted(|call| match call.before {
        0 => Step::Fail(Error::failed("not this one")),
        _ => Step::Serve,
    });
    assert_eq!(raw.iter().map(told).collect::<Vec<_>>(), ["fail at load: not this one", "ran"]);
    assert_eq!(fakes.started(), 1, "a worker that answers an error lives");
}

#[test]
fn a_session_whose_layers_cannot_be_listed_answers_all_the_same() {
    let workshop = Workshop::new("tensorflow = [\"fp32\"]");
    let (raw, fakes) = workshop.scripted(|call| match call.name() {
        "layers" => Step::Fail(Error::failed("no inspector")),
        _ => Step::Serve,
    });
    for cell in &raw {
        assert_eq!(ran(cell).layers.as_ref().unwrap_err().message, "no inspector");
    }
    assert_eq!(fakes.started(), 1);
}

/// What lists the layers dies (TensorRT 10.6 does, of engines of several profiles): the answers are another session's, which is not
/// asked for them, and no precision is proven. It is no death of the two that end a precision.
#[test]
fn a_death_of_what_lists_the_layers_costs_their_proof_and_no_answers() {
    let mut workshop = Workshop::new("tensorrt = [\"fp32\", \"int8\"]");
    for batch in [8, 16, 32] {
        let mut more = workshop.plan[1].clone();
        more.id.batch = batch;
        workshop.plan.insert(2, more);
    }
    let asked = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let seen = Arc::clone(&asked);
    let (raw, fakes) = workshop.scripted(move |call| match call.request {
        Request::Build(_) => Step::Build,
        Request::Layers => {
            seen[0].fetch_add(1, Ordering::Relaxed);
            Step::Die("died by signal 11")
        }
        // One more death, and cells of the same precision after it.
        Request::Run { batch: 32, .. } if seen[1].fetch_add(1, Ordering::Relaxed) == 0 => Step::Die("was lost"),
        _ => Step::Serve,
    });
    let stopped: Vec<String> = raw.iter().map(told).filter(|told| told != "ran").collect();
    assert_eq!(stopped, ["fail at run: cannot run the samples: the worker was lost after 0.0 s"]);
    for cell in &raw {
        let Outcome::Ran(ran) = &cell.outcome else { continue };
        let why = ran.layers.as_ref().unwrap_err().to_string();
        assert_eq!(why, "cannot list the layers: the worker died by signal 11 after 0.0 s", "{}", cell.planned.id);
    }
    assert_eq!(asked[0].load(Ordering::Relaxed), 2, "once an engine");
    assert_eq!(fakes.alive(), 0);
}

#[test]
fn an_answer_to_another_question_fails_its_cell() {
    let workshop = Workshop::new("tensorflow = [\"fp32\"]");
    let (raw, _) = workshop.scripted(|call| match (call.before, call.name()) {
        (2, "run") => Step::Spoil(Box::new(|reply, _| *reply = Reply::Layers { layers: None })),
        _ => Step::Serve,
    });
    assert_eq!(told(&raw[0]), "fail at run: the worker gave an answer to another question, `layers`");
    assert_eq!(told(&raw[1]), "ran");
}

/// What goes wrong when the same samples are run again is kept beside outputs that are right; a death is the cell's end.
#[test]
fn runs_after_the_first_count_too() {
    let workshop = Workshop::new("tensorflow = [\"fp32\"]");
    let again = |call: &crate::worker::fake::Call<'_>| call.before == 3 && call.name() == "run";
    let (raw, _) =
        workshop.scripted(move |call| if again(call) { Step::Fail(Error::failed("once")) } else { Step::Serve });
    assert_eq!(ran(&raw[0]).again.as_ref().err().unwrap().message, "once");
    assert!(ran(&raw[1]).again.is_ok());
    let (raw, _) = workshop.scripted(move |call| if again(call) { Step::Die("died") } else { Step::Serve });
    assert_eq!(told(&raw[0]), "fail at run: cannot run the samples: the worker died after 0.0 s");
}

#[test]
fn a_death_among_ordinary_samples_is_the_cells() {
    let mut workshop = Workshop::new("tensorflow = [\"fp32\"]");
    workshop.fresh = Some(samples(50));
    let script = |step: fn() -> Step| {
        move |call: &crate::worker::fake::Call<'_>| match call.request {
            crate::worker::Request::Run { feeds, batch: 4, .. } if feeds.tensors[0].shape[0] > PROBES => step(),
            _ => Step::Serve,
        }
    };
    let (raw, _) = workshop.scripted(script(|| Step::Die("died")));
    assert_eq!(told(&raw[1]), "fail at run: cannot run the samples: the worker died after 0.0 s");
    let (raw, _) = workshop.scripted(script(|| Step::Fail(Error::failed("too many"))));
    assert_eq!(ran(&raw[1]).fresh.as_ref().unwrap_err().message, "too many");
}

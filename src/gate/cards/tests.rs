//! Whole runs on two cards, in this process.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rstest::rstest;

use super::{Held, difference};
use crate::error::{Error, Result};
use crate::findings::Report;
use crate::gate::devices::tests::card;
use crate::gate::runs::shelf::Shelf;
use crate::gate::several;
use crate::gate::timing::Streams;
use crate::gate::workshop::{Project, answers, healthy, session, sound};
use crate::gate::{RunOptions, TimingOptions, run};
use crate::runtime::{OpenRequest, Session};
use crate::tensor::Tensor;
use crate::timing::contract::TimingMode;
use crate::vocabulary::{Library, Stage, Status, Verdict};
use crate::worker::Request;
use crate::worker::fake::{Call, Fakes, Step};

const MATRIX: &str = "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"tf32\"]";

/// A gate of [`MATRIX`] on so many cards.
fn gate(fakes: &Arc<Fakes>, cards: usize, options: &RunOptions) -> Report {
    let project = Project::new(MATRIX, "");
    let mut workspace = project.workspace(fakes);
    workspace.cards = (0..cards).map(|number| card(number, "NVIDIA H100 80GB HBM3")).collect();
    let report = run(&workspace, options).unwrap();
    assert_eq!(fakes.alive(), 0, "no worker is left");
    report
}

/// Workers whose engines answer by `change` on card 1, which is told how often it was asked there.
fn changed_on_one(change: impl Fn(&mut Tensor, usize) + Send + Sync + 'static) -> Arc<Fakes> {
    let (change, calls) = (Arc::new(change), Arc::new(AtomicUsize::new(0)));
    let open = move |request: &OpenRequest| -> Result<Box<dyn Session>> {
        let (change, calls, on_one) = (Arc::clone(&change), Arc::clone(&calls), request.options.device == 1);
        Ok(Box::new(session(request, move |input| {
            let mut output = answers(input);
            if on_one {
                change(&mut output, calls.fetch_add(1, Ordering::SeqCst));
            }
            Ok(vec![output])
        })))
    };
    Fakes::of(open, healthy)
}

fn check(report: &Report, cell: usize) -> (Status, bool, &str) {
    let check = report.cells[cell].checks.iter().find(|check| check.name == "cards").unwrap();
    (check.status, check.gating, check.detail.as_str())
}

/// The cells that are on the card `own`, by place.
fn on(report: &Report, own: usize) -> Vec<usize> {
    (0..report.cells.len()).filter(|place| report.cells[*place].gpu == Some(own)).collect()
}

#[test]
fn cells_are_spread_those_of_an_engine_stay_together_and_all_cards_answer_alike() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let fakes = Fakes::of(sound, move |call: &Call<'_>| {
        match call.request {
            Request::Build(request) => kept.lock().unwrap().push(("build", request.precision, request.device)),
            Request::Open(request) if request.installation.id.library == Library::Tensorrt => {
                kept.lock().unwrap().push(("open", request.precision, request.options.device));
            }
            _ => {}
        }
        healthy(call)
    });
    let report = gate(&fakes, 2, &RunOptions::default());
    assert_eq!((report.verdict, report.reasons.clone()), (Verdict::Pass, Vec::new()));
    // Of one engine all on one card, of two engines one each; processors are no cards.
    let gpus: Vec<_> = report.cells.iter().map(|cell| cell.gpu).collect();
    assert_eq!((gpus[0], gpus[1], gpus[2], gpus[4]), (None, None, gpus[3], gpus[5]));
    assert_eq!((on(&report, 0).len(), on(&report, 1).len()), (2, 2), "{gpus:?}");
    for (place, own) in gpus.iter().enumerate().filter_map(|(place, gpu)| Some((place, (*gpu)?))) {
        let expected = format!("the same bits on GPU {} as on GPU {own}", 1 - own);
        assert_eq!(check(&report, place), (Status::Pass, true, expected.as_str()));
        // Whoever replays it asks both.
        assert!(report.cells[place].replay.ends_with(&format!(" --devices {own},{}", 1 - own)));
    }
    let told = report.notes.iter().find(|note| note.starts_with("GPUs 0, 1")).unwrap();
    assert!(told.ends_with("the same engine answered the same bits on each in 4 of 4 cells"), "{told}");
    // Each engine is built once, where its cells run, and opened on both.
    let seen = seen.lock().unwrap();
    let mut of: BTreeMap<_, Vec<_>> = BTreeMap::new();
    seen.iter().for_each(|(what, precision, device)| of.entry((*what, *precision)).or_default().push(*device));
    for place in [2, 4] {
        let (precision, own) = (report.cells[place].precision, gpus[place].unwrap());
        assert_eq!(of[&("build", precision)], [own]);
        assert_eq!(of[&("open", precision)], [own, 1 - own]);
    }
}

#[test]
fn one_card_is_compared_with_none() {
    let report = gate(&Fakes::of(sound, healthy), 1, &RunOptions::default());
    assert_eq!(report.verdict, Verdict::Pass);
    assert!(report.cells.iter().flat_map(|cell| &cell.checks).all(|check| check.name != "cards"));
    assert_eq!((report.cells[0].gpu, report.cells[2].gpu), (None, Some(0)));
    assert!(!report.notes.iter().any(|note| note.contains("GPU")) && !report.cells[2].replay.contains("--devices"));
}

/// A card that answers one bit otherwise, and does so again, is found out, whichever card the cell itself is on.
#[test]
fn a_card_that_answers_otherwise_fails_the_cells() {
    let fakes = changed_on_one(|output, _| {
        let first = &mut output.values.as_mut::<f32>().unwrap()[0];
        *first = f32::from_bits(first.to_bits() ^ 1);
    });
    let report = gate(&fakes, 2, &RunOptions::default());
    assert_eq!(report.verdict, Verdict::Fail);
    for place in 2..6 {
        let cell = &report.cells[place];
        assert_eq!((cell.status, cell.stage), (Status::Fail, Stage::Compare), "{:?}", cell.reason);
        let reason = cell.reason.as_ref().unwrap();
        assert!(reason.starts_with("cards: GPU ") && reason.contains("repeats itself bit by bit"), "{reason}");
        assert!(reason.contains("values of `y`, by "), "{reason}");
        assert!(cell.hint.as_ref().unwrap().contains("nvidia-smi"));
    }
    assert!(report.notes.iter().any(|note| note.ends_with("in 0 of 4 cells")), "{:?}", report.notes);
}

/// What changes from run to run is told, and not laid to the card; determinism has a check of its own.
#[test]
fn a_card_whose_answers_change_from_run_to_run_is_named_alone() {
    let fakes = changed_on_one(|output, calls| {
        let first = &mut output.values.as_mut::<f32>().unwrap()[0];
        *first = f32::from_bits(first.to_bits() + (calls as u32 + 1) % 64);
    });
    let report = gate(&fakes, 2, &RunOptions::default());
    for place in on(&report, 0) {
        let (status, gating, detail) = check(&report, place);
        assert_eq!((status, gating), (Status::Fail, false), "{detail}");
        assert!(
            detail.starts_with("GPU 1 answers otherwise than GPU 0, but changes from run to run itself"),
            "{detail}"
        );
        assert_eq!(report.cells[place].status, Status::Pass, "{:?}", report.cells[place].reason);
    }
}

#[rstest]
#[case::refused(|| Step::Fail(Error::machine("no memory")), "no memory")]
#[case::died(|| Step::Die("died by signal 11"), "the worker died by signal 11")]
#[case::hung(|| Step::Hang, "no answer within")]
fn a_card_that_cannot_be_asked_is_no_pass(#[case] step: fn() -> Step, #[case] words: &str) {
    let own = Arc::new(Mutex::new(BTreeMap::new()));
    let fakes = Fakes::of(sound, move |call: &Call<'_>| match call.request {
        Request::Build(request) => {
            own.lock().unwrap().insert(request.precision, request.device);
            healthy(call)
        }
        // The reference has the same precision, and no card.
        Request::Open(request)
            if request.installation.id.library == Library::Tensorrt
                && own.lock().unwrap().get(&request.precision).is_some_and(|own| *own != request.options.device) =>
        {
            step()
        }
        _ => healthy(call),
    });
    let report = gate(&fakes, 2, &RunOptions::default());
    assert_eq!(report.verdict, Verdict::Incomplete, "{:?}", report.reasons);
    for place in 2..6 {
        let cell = &report.cells[place];
        assert_eq!(cell.status, Status::Invalid, "{:?}", cell.reason);
        let reason = cell.reason.as_ref().unwrap();
        assert!(reason.contains("the same engine could not be asked on GPU"), "{reason}");
        assert!(reason.contains(words) || reason.contains("died twice"), "{reason}");
    }
}

fn timed() -> RunOptions {
    let timing = TimingOptions {
        mode: TimingMode::Throughput,
        streams: Streams::Count(1),
        spin: false,
        duration_milliseconds: 100,
        repetitions: Some(1),
    };
    RunOptions { timing: Some(timing), ..RunOptions::default() }
}

/// Workers whose batches take `milliseconds` on card 1 where both are measured at once, and one millisecond otherwise.
fn slow_together(milliseconds: f64, seen: Arc<Mutex<Vec<usize>>>) -> Arc<Fakes> {
    slow_by_try(move |_| milliseconds, seen)
}

/// As [`slow_together`], each time that both are measured by its own.
fn slow_by_try(milliseconds: impl Fn(usize) -> f64 + Send + 'static, seen: Arc<Mutex<Vec<usize>>>) -> Arc<Fakes> {
    let devices = Mutex::new(BTreeMap::new());
    let measured = Mutex::new(BTreeMap::<_, usize>::new());
    Fakes::of(sound, move |call: &Call<'_>| match call.request {
        Request::Open(request) => {
            let engine = request.installation.id.library == Library::Tensorrt;
            let device = engine.then_some((request.options.device, request.precision, request.batch));
            devices.lock().unwrap().insert(call.worker, device);
            healthy(call)
        }
        Request::Measure { .. } => match devices.lock().unwrap().get(&call.worker).copied().flatten() {
            Some((device, precision, batch)) => {
                seen.lock().unwrap().push(device);
                let mut measured = measured.lock().unwrap();
                let times = measured.entry((precision, batch)).or_default();
                *times += 1;
                // Alone first, then two cards a try.
                let slow = if device == 1 && *times > 1 { milliseconds(*times / 2 - 1) } else { 1.0 };
                Step::Spoil(Box::new(move |reply, _| {
                    let crate::worker::Reply::Measured { measurement, .. } = reply else { panic!("it was measured") };
                    measurement.host_milliseconds.iter_mut().for_each(|time| *time = slow);
                }))
            }
            None => healthy(call),
        },
        _ => healthy(call),
    })
}

#[rstest]
#[case::alike(1.0, Status::Pass, 2.0)]
#[case::a_little_slower(1.05, Status::Pass, 1.952)]
#[case::in_each_others_way(1.5, Status::Fail, 1.667)]
fn replicas_on_all_cards_reach_as_many_times_one(#[case] slow: f64, #[case] expected: Status, #[case] times: f64) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let report = gate(&slow_together(slow, Arc::clone(&seen)), 2, &timed());
    for place in 2..6 {
        let cell = &report.cells[place];
        assert_eq!((cell.status, cell.stage), (expected, Stage::Measure), "{:?}", cell.reason);
        let replicas = cell.replicas.as_ref().unwrap();
        assert_eq!((replicas.gpus.as_slice(), replicas.each.len()), ([0, 1].as_slice(), 2));
        assert!((replicas.times_one() - times).abs() < 1e-3, "{replicas:?}");
        assert!(cell.notes.contains(&replicas.sentence()));
        if expected == Status::Fail {
            assert!(cell.reason.as_ref().unwrap().starts_with("replicas: 2 GPUs at once"), "{:?}", cell.reason);
        }
    }
    assert!(report.cells[0].replicas.is_none());
    // Alone each cell is measured on its own card, once; then on both, up to three times where that is too little.
    let tries = if expected == Status::Fail { 3 } else { 1 };
    let seen = seen.lock().unwrap();
    let each = |device| seen.iter().filter(|own| **own == device).count();
    assert_eq!((each(0), each(1)), (2 + 4 * tries, 2 + 4 * tries));
}

#[test]
fn replicas_that_cannot_be_measured_are_no_pass() {
    let opened = Mutex::new(BTreeMap::<_, usize>::new());
    let fakes = Fakes::of(sound, move |call: &Call<'_>| match call.request {
        Request::Open(request)
            if request.installation.id.library == Library::Tensorrt && !request.options.emulate_half =>
        {
            let mut opened = opened.lock().unwrap();
            let times = opened.entry((request.precision, request.batch)).or_default();
            *times += 1;
            if *times > 1 && request.options.device == 1 {
                Step::Fail(Error::machine("no memory"))
            } else {
                healthy(call)
            }
        }
        _ => healthy(call),
    });
    let report = gate(&fakes, 2, &timed());
    for place in 2..6 {
        let cell = &report.cells[place];
        assert_eq!(cell.status, Status::Invalid, "{:?}", cell.reason);
        assert!(cell.reason.as_ref().unwrap().contains("the replica on GPU 1"), "{:?}", cell.reason);
    }
}

/// Bits that make no difference of value are another answer too.
#[test]
fn answers_are_compared_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(folder.path().to_owned(), 1 << 20);
    let held = |name: &str, values: &[f32]| {
        shelf.hold(vec![Tensor::float32(name, vec![1, values.len()], values.to_vec()).unwrap()]).unwrap()
    };
    let found = |one: &Held, other: &Held| difference(one, other).unwrap();
    let own = held("y", &[0.0, 1.0, 2.0]);
    assert_eq!(found(&own, &own), None);
    let signed = found(&own, &held("y", &[-0.0, 1.0, 2.0]));
    assert_eq!(signed.as_deref(), Some("`y` in bits that make no difference of value"));
    let off = found(&own, &held("y", &[0.0, 1.5, 2.25]));
    assert_eq!(off.as_deref(), Some("2 of 3 values of `y`, by 5.00e-1 at most"));
    let lost = found(&own, &held("y", &[0.5, f32::NAN, 2.0]));
    assert_eq!(lost.as_deref(), Some("2 of 3 values of `y`, by NaN at most"));
    for other in [held("z", &[0.0, 1.0, 2.0]), held("y", &[0.0, 1.0])] {
        assert_eq!(found(&own, &other).as_deref(), Some("other outputs, or of other shapes"));
    }
}

/// A model of several inputs is asked on every card too.
#[test]
fn every_card_answers_for_a_model_of_several_inputs() {
    let project =
        several::tests::Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]", several::tests::ONE_SHAPE);
    let fakes = several::tests::sound();
    let mut workspace = project.workspace(&fakes);
    workspace.cards = (0..2).map(|number| card(number, "NVIDIA H100 80GB HBM3")).collect();
    let report = run(&workspace, &RunOptions::default()).unwrap();
    assert_eq!((report.verdict, report.reasons.clone(), fakes.alive()), (Verdict::Pass, Vec::new(), 0));
    for place in [2, 3] {
        let own = report.cells[place].gpu.unwrap();
        let expected = format!("the same bits on GPU {} as on GPU {own}", 1 - own);
        assert_eq!(check(&report, place), (Status::Pass, true, expected.as_str()));
    }
}

/// What disturbs all at once slows them down, so that the best of some tries counts.
#[test]
fn the_best_of_three_tries_counts() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let report = gate(&slow_by_try(|place| [1.8, 1.5, 1.9][place.min(2)], Arc::clone(&seen)), 2, &timed());
    for cell in &report.cells[2..] {
        let replicas = cell.replicas.as_ref().unwrap();
        assert!((replicas.times_one() - (1.0 + 1.0 / 1.5)).abs() < 1e-3, "{replicas:?}");
    }
}

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::check::agreement::answer;
use crate::check::determinism::Determinism;
use crate::check::invariance::Invariance;
use crate::error::Error;
use crate::gate::runs::{Again, Outcome, Ran};
use crate::gate::samples::LabelledData;
use crate::gate::workshop::{CLASSES, PROBES, Workshop, answers, samples, session};
use crate::manifest::artifacts::{OwnArtifact, OwnForm};
use crate::plan::Ability;
use crate::runtime::{Obstacle, Session};
use crate::worker::fake::{Fakes, Step};
use crate::worker::{Reply, Request};

/// Every kind of error at every stage a cell can stop at. Nothing passes; what an artifact's own runtime refuses is a
/// failure; what the machine refuses, and what there is nothing valid to hold to, judges nothing.
#[rstest]
#[case(ErrorKind::Usage, [Status::Fail, Status::Fail, Status::Fail, Status::Fail])]
#[case(ErrorKind::Input, [Status::Fail, Status::Fail, Status::Fail, Status::Fail])]
#[case(ErrorKind::Missing, [Status::Unavailable, Status::Unavailable, Status::Fail, Status::Fail])]
#[case(ErrorKind::Unsupported, [Status::Unsupported, Status::Unsupported, Status::Fail, Status::Fail])]
#[case(ErrorKind::Invalid, [Status::Invalid, Status::Invalid, Status::Invalid, Status::Invalid])]
#[case(ErrorKind::Failed, [Status::Fail, Status::Fail, Status::Fail, Status::Fail])]
#[case(ErrorKind::Machine, [Status::Invalid, Status::Invalid, Status::Invalid, Status::Invalid])]
fn where_a_cell_stops_and_why_decides_its_status(#[case] kind: ErrorKind, #[case] expected: [Status; 4]) {
    let stages = [Stage::Convert, Stage::Build, Stage::Load, Stage::Run];
    assert_eq!(stages.map(|stage| stopped_at(stage, kind)), expected);
    // The same through a whole lane: at each stage, by what is asked there.
    for (stage, expected) in stages.into_iter().zip(expected) {
        let mut workshop = Workshop::new("tensorrt = [\"fp32\"]");
        let error = Error::new(kind, "it is so");
        if stage == Stage::Convert {
            workshop.artifacts.values_mut().for_each(|made| *made = Err(error.clone()));
        }
        let name = match stage {
            Stage::Build => "build",
            Stage::Load => "open",
            _ => "run",
        };
        let (raw, _) = workshop.scripted(move |call| match call.name() {
            asked if asked == name => Step::Fail(error.clone()),
            "build" => Step::Build,
            _ => Step::Serve,
        });
        for cell in &raw {
            let Outcome::Stopped { status, stage: stopped, error } = &cell.outcome else { panic!("{kind:?} {stage}") };
            assert_eq!((*status, *stopped, error.message.as_str()), (expected, stage, "it is so"), "{kind:?}");
        }
    }
}

fn names(raw: &[RawCell]) -> Vec<String> {
    raw.iter().map(|cell| cell.planned.id.to_string()).collect()
}

/// `ran`, or the status, the stage and the message of what stopped it.
pub(super) fn told(cell: &RawCell) -> String {
    match &cell.outcome {
        Outcome::Ran(_) => "ran".to_owned(),
        Outcome::Built { error, status } => format!("built, {status}: {}", error.message),
        Outcome::Stopped { status, stage, error } => format!("{status} at {stage}: {}", error.message),
    }
}

pub(super) fn ran(cell: &RawCell) -> &Ran {
    match &cell.outcome {
        Outcome::Ran(ran) => ran,
        _ => panic!("{}: {}", cell.planned.id, told(cell)),
    }
}

/// Whether answers depend on neither the run nor the slot, beyond what rounding is.
fn held(ran: &Ran) -> (bool, bool) {
    let Ok(Again::Rows(trials)) = &ran.again else { panic!("it was asked again") };
    (Determinism::of(&trials.repeated, 1e-6).holds(), Invariance::of(trials, 1e-6).holds())
}

const EVERYTHING: &str = "tensorflow = [\"fp32\"]\nonnxruntime = [\"fp32\", \"fp16\", \"int8\"]\nlitert = [\"int8\"]\n\
    tensorrt = [\"fp32\", \"int8\"]";

#[test]
fn every_planned_cell_comes_back_once_in_the_plans_order_with_its_answers() {
    let workshop = Workshop::new(EVERYTHING);
    let (raw, fakes) = workshop.scripted(|call| if call.name() == "build" { Step::Build } else { Step::Serve });
    let planned: Vec<String> = workshop.plan.iter().map(|cell| cell.id.to_string()).collect();
    assert_eq!(names(&raw), planned);
    for cell in &raw {
        let ran = ran(cell);
        assert_eq!(*ran.outputs.tensors().unwrap(), [answers(&workshop.probes)], "{}", cell.planned.id);
        assert_eq!(ran.layers.as_ref().unwrap().len(), 1);
        assert_eq!(held(ran), (true, true), "{}", cell.planned.id);
        assert_eq!((ran.accuracy.as_ref(), ran.fresh.as_ref().unwrap()), (None, &None));
        assert!(ran.instruction_set.is_some() && ran.exact.is_none());
        let kind = if cell.planned.id.runtime.library == Library::Tensorrt {
            ArtifactKind::Engine
        } else {
            cell.planned.artifact
        };
        assert_eq!(cell.artifact.as_ref().unwrap().kind, kind);
    }
    // A worker for each runtime and each precision of ONNX Runtime; one more where cells run while another engine is built.
    assert!((6..=7).contains(&fakes.started()), "{}", fakes.started());
    assert_eq!((fakes.alive(), fakes.waited()), (0, Duration::ZERO));
}

/// The cells of an engine do not wait for the next one, which is built meanwhile.
#[test]
fn cells_run_while_another_engine_is_built() {
    if std::thread::available_parallelism().map_or(1, std::num::NonZero::get) < 2 {
        return;
    }
    let workshop = Workshop::new("tensorrt = [\"fp32\", \"int8\"]");
    let (ran, runs) = std::sync::mpsc::channel();
    let runs = std::sync::Arc::new(Mutex::new(runs));
    let (raw, _) = workshop.scripted(move |call| match call.request {
        Request::Build(request) if request.precision == Precision::Fp32 => {
            let (request, runs) = (request.clone(), std::sync::Arc::clone(&runs));
            Step::Spoil(Box::new(move |reply, _| {
                let waited = runs.lock().unwrap().recv_timeout(Duration::from_secs(60));
                assert!(waited.is_ok(), "no cell ran while this was built");
                *reply = Reply::Built(Box::new(crate::worker::fake::built(&request).unwrap()));
            }))
        }
        Request::Build(_) => Step::Build,
        Request::Run { .. } => {
            let _ = ran.send(());
            Step::Serve
        }
        _ => Step::Serve,
    });
    assert!(raw.iter().all(|cell| told(cell) == "ran"));
}

#[test]
fn cells_of_one_precision_share_a_session_and_those_of_one_file_a_batch_do_not() {
    let opened = |matrix: &str| {
        let (raw, fakes) = Workshop::new(matrix).scripted(|_| Step::Serve);
        assert!(raw.iter().all(|cell| matches!(cell.outcome, Outcome::Ran(_))));
        fakes.seen().iter().filter(|(_, name)| *name == "open").count()
    };
    assert_eq!(opened("tensorflow = [\"fp32\"]"), 1);
    assert_eq!(opened("onnxruntime = [\"fp32\", \"fp16\"]"), 2);
    assert_eq!(opened("litert = [\"int8\"]"), 2);
}

#[test]
fn an_engine_is_built_once_a_precision_and_kept_for_the_next_run() {
    let workshop = Workshop::new("tensorrt = [\"fp32\", \"tf32\", \"int8\"]");
    let builds = |fakes: &Fakes| fakes.seen().iter().filter(|(_, name)| *name == "build").count();
    let script = |call: &crate::worker::fake::Call<'_>| if call.name() == "build" { Step::Build } else { Step::Serve };
    let (raw, fakes) = workshop.scripted(script);
    assert_eq!(builds(&fakes), 3);
    let artifact = |index: usize| raw[index].artifact.clone().unwrap();
    assert!(!artifact(0).cached && artifact(1).cached, "the second batch builds nothing");
    assert_eq!(artifact(1).build_seconds, 0.0);
    // Precisions have engines of their own, also those that start from the same graph.
    let digests: std::collections::BTreeSet<String> = (0..6).map(|index| artifact(index).sha256).collect();
    assert_eq!(digests.len(), 3);
    let (again, fakes) = workshop.scripted(script);
    assert_eq!(builds(&fakes), 0);
    assert!(again.iter().all(|cell| cell.artifact.as_ref().unwrap().cached));
}

#[test]
fn an_engine_that_cannot_be_built_is_tried_once() {
    let workshop = Workshop::new("tensorrt = [\"fp32\"]");
    let (raw, fakes) = workshop.scripted(|_| Step::Fail(Error::failed("no kernel")));
    assert_eq!(fakes.seen().len(), 1);
    assert_eq!(raw.iter().map(told).collect::<Vec<_>>(), ["fail at build: no kernel"; 2]);
    // What it would have been built from is told.
    assert_eq!(raw[0].artifact.as_ref().unwrap().kind, ArtifactKind::OnnxFp32);
}

#[test]
fn what_cannot_run_here_is_built_and_what_can_do_nothing_is_not_asked() {
    let mut workshop = Workshop::new("tensorrt = [\"fp32\", \"int8\"]");
    let obstacle = Obstacle {
        tried: vec!["a driver".to_owned()],
        hint: Some("install one".to_owned()),
        ..Obstacle::unavailable("no driver")
    };
    for cell in &mut workshop.plan {
        let able = cell.id.precision == Precision::Fp32;
        cell.ability =
            if able { Ability::BuildOnly(obstacle.clone()) } else { Ability::Nothing(Obstacle::unsupported("never")) };
    }
    let (raw, fakes) = workshop.scripted(|_| Step::Build);
    let (built, not) = raw.split_at(2);
    for cell in built {
        let Outcome::Built { error, status } = &cell.outcome else { panic!("{}", told(cell)) };
        assert_eq!((*status, error.kind), (Status::Unavailable, ErrorKind::Missing));
        assert_eq!((&error.causes, error.hint.as_deref()), (&vec!["a driver".to_owned()], Some("install one")));
        assert_eq!(cell.artifact.as_ref().unwrap().kind, ArtifactKind::Engine);
    }
    assert_eq!(not.iter().map(told).collect::<Vec<_>>(), ["unsupported at load: never"; 2]);
    assert!(not.iter().all(|cell| cell.artifact.is_none()));
    assert_eq!(fakes.seen(), [(0, "build")]);
}

#[test]
fn a_cell_without_its_runtime_or_its_artifact_never_passes_for_absent() {
    let mut workshop = Workshop::new("onnxruntime = [\"fp32\", \"fp16\"]");
    workshop.plan[0].installation = None;
    workshop.artifacts.remove(&(ArtifactKind::OnnxFp16, None));
    let (raw, _) = workshop.scripted(|_| Step::Serve);
    assert_eq!(told(&raw[0]), "fail at load: the runtime is not on this machine");
    assert_eq!(told(&raw[1]), "ran");
    assert_eq!(told(&raw[2]), "fail at convert: the artifact was not planned");
}

/// A runtime whose answers depend on the slot of a sample: seen where a batch has slots.
#[test]
fn answers_that_depend_on_the_slot_are_seen() {
    let workshop = Workshop::new("tensorflow = [\"fp32\"]");
    let raw = workshop.answering(|_, input| {
        let mut output = answers(input);
        if let Some(value) = output.values.as_mut::<f32>().unwrap().get_mut(CLASSES) {
            *value += 0.5;
        }
        Ok(vec![output])
    });
    let holds = |cell: &RawCell| held(ran(cell));
    assert_eq!(raw.iter().map(holds).collect::<Vec<_>>(), [(true, true), (true, false)]);
}

#[test]
fn answers_that_change_from_run_to_run_are_seen() {
    let workshop = Workshop::new("tensorflow = [\"fp32\"]");
    let calls = AtomicUsize::new(0);
    let raw = workshop.answering(move |_, input| {
        let mut output = answers(input);
        let call = calls.fetch_add(1, Ordering::SeqCst) as f32;
        output.values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value += call);
        Ok(vec![output])
    });
    assert!(raw.iter().all(|cell| !held(ran(cell)).0));
}

/// A short last batch of a static model is padded, and nothing of the padding comes back.
#[test]
fn a_static_model_gets_whole_batches_only() {
    let workshop = Workshop::new("litert = [\"int8\"]");
    let raw = workshop.answering(|request, input| {
        assert_eq!(input.batch(), request.batch);
        Ok(vec![answers(input)])
    });
    const { assert!(!PROBES.is_multiple_of(4)) };
    for cell in &raw {
        assert_eq!(*ran(cell).outputs.tensors().unwrap(), [answers(&workshop.probes)]);
    }
    // A model of any batch gets the short one as it is.
    let workshop = Workshop::new("tensorflow = [\"fp32\"]");
    let shortest = std::sync::Arc::new(AtomicUsize::new(usize::MAX));
    let seen = std::sync::Arc::clone(&shortest);
    let raw = workshop.answering(move |request, input| {
        assert_eq!(request.batch, 4, "one session serves every batch");
        seen.fetch_min(input.batch(), Ordering::SeqCst);
        Ok(vec![answers(input)])
    });
    assert_eq!(*ran(&raw[1]).outputs.tensors().unwrap(), [answers(&workshop.probes)]);
    assert_eq!(shortest.load(Ordering::SeqCst), 1);
}

#[test]
fn ordinary_samples_are_answered_at_the_largest_batch() {
    let mut workshop = Workshop::new("tensorflow = [\"fp32\"]");
    let fresh = samples(50);
    workshop.fresh = Some(fresh.clone());
    let (raw, _) = workshop.scripted(|_| Step::Serve);
    assert_eq!(ran(&raw[0]).fresh, Ok(None));
    let right = answers(&fresh);
    let expected: Vec<usize> = (0..50).map(|sample| answer(right.row(sample).unwrap())).collect();
    assert!((0..CLASSES).all(|class| expected.contains(&class)));
    assert_eq!(ran(&raw[1]).fresh, Ok(Some(expected)));
    // Answers that are not whole are an error of the cell, not fewer answers.
    let raw = workshop.answering(|_, input| {
        let mut output = answers(input);
        if input.batch() == 2 {
            output.values.as_mut::<f32>().unwrap()[1] = f32::NAN;
        }
        Ok(vec![output])
    });
    // 50 samples in fours leave two.
    assert!(ran(&raw[1]).fresh.is_err(), "{:?}", ran(&raw[1]).fresh);
}

/// A server takes smaller batches than the manifest has: what is asked once is asked at the largest that it takes.
#[test]
fn the_largest_batch_is_that_of_a_cell_that_runs() {
    let mut workshop = Workshop::new("tensorflow = [\"fp32\"]");
    workshop.fresh = Some(samples(50));
    workshop.plan[1].ability = Ability::Nothing(Obstacle::unsupported("the server takes batches of up to 1"));
    let (raw, _) = workshop.scripted(|_| Step::Serve);
    assert!(matches!(&ran(&raw[0]).fresh, Ok(Some(answers)) if answers.len() == 50), "{:?}", ran(&raw[0]).fresh);
    assert_eq!(told(&raw[1]), "unsupported at load: the server takes batches of up to 1");
}

/// Labelled data is answered at the largest batch, and by each file of one batch.
#[test]
fn labelled_samples_are_answered_once_a_file() {
    let mut workshop = Workshop::new("tensorflow = [\"fp32\"]\nlitert = [\"int8\"]");
    let path = workshop.folder.path().join("data.csv");
    let input = samples(7);
    let right = answers(&input);
    let mut text = "label,a,b,c,d\n".to_owned();
    for sample in 0..7 {
        let label = (answer(right.row(sample).unwrap()) + usize::from(sample == 3)) % CLASSES;
        let values: Vec<String> = input.row(sample).unwrap().iter().map(f32::to_string).collect();
        text.push_str(&format!("{label},{}\n", values.join(",")));
    }
    std::fs::write(&path, text).unwrap();
    workshop.labelled = Some(LabelledData::check(path, &workshop.manifest).unwrap());
    let (raw, _) = workshop.scripted(|_| Step::Serve);
    let found: Vec<Option<(usize, usize)>> =
        raw.iter().map(|cell| ran(cell).accuracy.as_ref().map(|tally| (tally.samples(), tally.correct()))).collect();
    assert_eq!(found, [None, Some((7, 6)), Some((7, 6)), Some((7, 6))]);
}

#[test]
fn the_request_of_a_session_says_everything_of_the_cell() {
    let workshop = Workshop::new("onnxruntime = [\"fp16\"]\nlitert = [\"int8\"]");
    let of = |index: usize| {
        let cell: &PlannedCell = &workshop.plan[index];
        let made = crate::gate::workshop::artifact(cell.artifact, cell.artifact.static_batch(cell.id.batch));
        open_request(&workshop.manifest, cell, cell.installation.as_ref().unwrap(), &made, 3)
    };
    let half = of(0);
    assert_eq!((half.kind, half.precision, half.batch), (ArtifactKind::OnnxFp16, Precision::Fp16, 4));
    assert_eq!(half.artifact, PathBuf::from("onnx-fp16"));
    assert_eq!((half.installation.id.library, half.options.device), (Library::Onnxruntime, 3));
    assert_eq!((of(2).batch, of(3).batch), (1, 4));
    // What trtgate quantises has no halves to look for, a file of one's own may.
    assert!(half.options.emulate_half && !of(2).options.emulate_half);
    let mut own = Workshop::new("onnxruntime = [\"int8\"]");
    let rounded = |workshop: &Workshop| {
        let cell = &workshop.plan[0];
        let made = crate::gate::workshop::artifact(cell.artifact, None);
        let request = open_request(&workshop.manifest, cell, cell.installation.as_ref().unwrap(), &made, 0);
        request.options.emulate_half
    };
    assert!(!rounded(&own));
    own.manifest.artifacts = vec![OwnArtifact { form: OwnForm::Int8, path: PathBuf::from("own.onnx"), sha256: None }];
    assert!(rounded(&own));
    let mut manifest = workshop.manifest.clone();
    manifest.run.intra_threads = 3;
    manifest.run.inter_threads = 2;
    let options = session_options(&manifest);
    assert_eq!((options.intra_threads, options.inter_threads), (3, 2));
    assert_eq!((options.outputs, options.signature.as_str()), (vec!["y".to_owned()], "serving_default"));
    assert!(options.emulate_half && options.optimize && !options.exact_products);
}

#[test]
fn a_fixed_batch_fills_only_a_signature_that_leaves_it_open() {
    let mut manifest = Workshop::new("tensorflow = [\"fp32\"]").manifest;
    let request = open_request(
        &manifest,
        &Workshop::new("tensorflow = [\"fp32\"]").plan[0],
        &Installation::plain(RuntimeId::unversioned(Library::Tensorflow), "1", ""),
        &crate::gate::workshop::artifact(ArtifactKind::SavedModel, None),
        0,
    );
    let signature = |batch: Option<usize>| {
        let session = session(&request, |input| Ok(vec![answers(input)]));
        let session = match batch {
            Some(batch) => session.of_batch(batch),
            None => session,
        };
        session.signature().clone()
    };
    let held = |manifest: &Manifest, mut signature: Signature| {
        hold_batch(manifest, &mut signature);
        signature.inputs[0].shape[0]
    };
    assert_eq!(held(&manifest, signature(None)), None);
    assert!(!is_static(&signature(None)) && is_static(&signature(Some(2))));
    manifest.input.fixed_batch = Some(8);
    assert_eq!(held(&manifest, signature(None)), Some(8));
    assert_eq!(held(&manifest, signature(Some(2))), Some(2));
}

/// Whoever multiplies in 16 bits and is not proven to be safe from it is asked again with exact products; nobody else.
#[rstest]
#[case("avx2", "int8", true, 1)]
#[case("avx512+avx512-vnni", "int8", true, 0)]
#[case("avx2", "int8", false, 0)]
#[case("avx2", "fp32", true, 0)]
fn saturating_products_are_asked_for_again(
    #[case] processor: &'static str,
    #[case] precision: &str,
    #[case] may_saturate: bool,
    #[case] expected: usize,
) {
    let mut workshop = Workshop::new(&format!("onnxruntime = [\"{precision}\"]"));
    let kind = workshop.plan[0].artifact;
    if may_saturate && precision == "int8" {
        workshop.saturation.insert(kind, Saturation::unproven());
    } else {
        workshop.saturation.insert(kind, Saturation::default());
    }
    let exact = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&exact);
    let open = move |request: &OpenRequest| -> Result<Box<dyn Session>> {
        let exact = request.options.exact_products;
        seen.fetch_add(usize::from(exact), Ordering::SeqCst);
        Ok(Box::new(session(request, move |input| {
            let mut output = answers(input);
            output.values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value += if exact { 0.0 } else { 9.0 });
            Ok(vec![output])
        })))
    };
    let fakes = Fakes::of(open, move |call| match call.name() {
        "open" => Step::Spoil(Box::new(move |reply, _| {
            if let Reply::Opened { instruction_set, .. } = reply {
                *instruction_set = serde_json::from_value(processor.into()).unwrap();
            }
        })),
        _ => Step::Serve,
    });
    let raw = workshop.run(&fakes);
    assert_eq!(exact.load(Ordering::SeqCst), expected * raw.len());
    for cell in &raw {
        assert_eq!(ran(cell).instruction_set.as_ref().unwrap().as_str(), processor);
        let found = ran(cell).exact.as_ref().map(|held| held.tensors().unwrap()[0].values.clone());
        assert_eq!(found, (expected > 0).then(|| answers(&workshop.probes).values));
    }
    assert_eq!(fakes.alive(), 0);
}

/// A cell tells how long its session took to open, and its samples to run.
#[test]
fn a_cell_tells_its_seconds() {
    let workshop = Workshop::new("onnxruntime = [\"fp32\"]");
    let (raw, _) = workshop.scripted(|call| match call.name() {
        "open" => Step::Spoil(Box::new(|reply, _| {
            if let Reply::Opened { seconds, .. } = reply {
                *seconds = 7.0;
            }
        })),
        "run" => Step::After(Duration::from_secs(2)),
        _ => Step::Serve,
    });
    for cell in &raw {
        let seconds = ran(cell).seconds;
        assert!(seconds.load == 7.0 && seconds.run >= 2.0, "{seconds:?}");
    }
}

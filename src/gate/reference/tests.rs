#![allow(clippy::unwrap_used)]

use rstest::rstest;

use super::*;
use crate::gate::workshop::{Project, all_answering, answers, by_slot, found, healthy, samples, sound};
use crate::plan::Probes;
use crate::runtime::Probe;
use crate::vocabulary::{Library, Status};
use crate::worker::Request;
use crate::worker::fake::{Fakes, Step};

const MATRIX: &str = "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]";

fn with_reference(probe: impl Fn(&mut Probe)) -> Probes {
    let mut here = found();
    here.iter_mut().filter(|(library, _)| *library == Library::Onnxruntime).for_each(|(_, found)| probe(found));
    here
}

/// A reference that is not here is nobody's fault, and the hint says where to look; damage is told apart.
#[rstest]
#[case::gone(None, ErrorKind::Missing, Some("`trtgate doctor` lists what is here"))]
#[case::obstacle(Some(Status::Unavailable), ErrorKind::Missing, Some("do so"))]
#[case::impossible(Some(Status::Unsupported), ErrorKind::Missing, Some("do so"))]
#[case::damaged(Some(Status::Invalid), ErrorKind::Invalid, Some("do so"))]
fn a_reference_that_cannot_run_here_is_no_fault_of_the_model(
    #[case] status: Option<Status>,
    #[case] kind: ErrorKind,
    #[case] hint: Option<&str>,
) {
    let here = with_reference(|probe| match status {
        None => *probe = Probe::default(),
        Some(status) => {
            let obstacle = Obstacle { status, hint: Some("do so".to_owned()), ..Obstacle::unavailable("a reason") };
            probe.found[0].run_obstacle = Some(obstacle);
        }
    });
    let project = Project::new(MATRIX, "");
    let fakes = Fakes::of(sound, healthy);
    let workspace = project.workspace_of(here, &fakes);
    let error = open_reference(&workspace).err().unwrap();
    assert_eq!((error.kind, error.hint.as_deref()), (kind, hint), "{error}");
    assert!(error.message.starts_with("the reference runtime `onnxruntime` cannot run here: "), "{error}");
    assert!(workspace.reference_fault().is_none());
    assert_eq!(fakes.started(), 0);
}

#[test]
fn a_reference_without_a_hint_gets_one() {
    let here = with_reference(|probe| probe.found[0].run_obstacle = Some(Obstacle::unavailable("a reason")));
    let project = Project::new(MATRIX, "");
    let error = open_reference(&project.workspace_of(here, &Fakes::of(sound, healthy))).err().unwrap();
    assert_eq!(error.hint.as_deref(), Some("`trtgate doctor` says what was looked for and how to get it"));
}

/// A model that does not load, or answers with no numbers, or contradicts itself, is at fault, and the first finding stays.
#[test]
fn what_is_wrong_with_the_model_is_remembered() {
    let project = Project::new(MATRIX, "");
    let refused = project.workspace(&Fakes::of(sound, |call| match call.name() {
        "open" => Step::Fail(Error::failed("not this model")),
        _ => Step::Serve,
    }));
    assert!(open_reference(&refused).is_err());
    let fault = refused.reference_fault().unwrap();
    assert_eq!((fault.stage, fault.error.message.as_str()), (Stage::Load, "not this model"));

    type Change = fn(&mut Tensor);
    let changes: [(Change, &str); 2] = [
        (|output| output.values.as_mut::<f32>().unwrap()[0] = f32::NAN, "not finite"),
        (by_slot, "depend on the batch"),
    ];
    for (change, words) in changes {
        let workspace = project.workspace(&all_answering(change));
        let error = open_reference(&workspace).err().unwrap();
        let fault = workspace.reference_fault().unwrap();
        assert_eq!((fault.stage, &fault.error), (Stage::Run, &error));
        let told = error.to_string();
        assert!(told.contains(words) || words == "not finite", "{told}");
        // Whoever asks for it unexamined gets it.
        assert!(open_unexamined(&workspace).is_ok());
    }
}

#[test]
fn a_sound_reference_is_opened_and_examined_once() {
    let project = Project::new(MATRIX, "");
    let fakes = Fakes::of(sound, healthy);
    let workspace = project.workspace(&fakes);
    let mut open = open_reference(&workspace).unwrap();
    assert_eq!(open.id().to_string(), "onnxruntime/fp32/batch-4");
    assert!(fakes.seen().len() > 1 && workspace.reference_fault().is_none());
    assert_eq!(open.run(&samples(3)).unwrap().outputs, [answers(&samples(3))]);
    let before = fakes.seen().len();
    drop(open_unexamined(&workspace).unwrap());
    assert_eq!(fakes.seen().len(), before + 1, "it is only loaded");
}

/// A reference whose own cell stopped while it ran, because it takes one batch size, judges nothing and is told; what else stopped is
/// its own business.
#[rstest]
#[case::takes_four(4, Some(Stage::Run), 0, Some(4))]
#[case::takes_any(0, Some(Stage::Run), 0, None)]
#[case::did_not_load(4, Some(Stage::Load), 0, None)]
#[case::another_cell(4, Some(Stage::Run), 1, None)]
#[case::nothing_stopped(4, None, 0, None)]
fn a_reference_of_one_batch_is_told(
    #[case] takes: usize,
    #[case] stopped: Option<Stage>,
    #[case] stopped_at: usize,
    #[case] told: Option<usize>,
) {
    let project = Project::new(MATRIX, "");
    let workspace = project.workspace(&Fakes::of(sound, move |call| match call.request {
        Request::Run { batch, .. } if takes > 0 && *batch != takes => Step::Fail(Error::failed("cannot reshape")),
        _ => Step::Serve,
    }));
    let mut plan = workspace.plan(&crate::plan::Filter::default()).unwrap();
    plan.sort_by_key(|cell| !is_of_reference(&cell.id, &workspace.manifest));
    let cell = |(place, planned)| RawCell {
        planned,
        artifact: None,
        gpu: None,
        outcome: match stopped.filter(|_| place == stopped_at) {
            Some(stage) => Outcome::Stopped { status: Status::Fail, stage, error: Error::failed("cannot reshape") },
            None => Outcome::Built { status: Status::Unavailable, error: Error::missing("not here") },
        },
        elsewhere: Vec::new(),
    };
    // The first is of the reference, the last of another runtime.
    let raw: Vec<RawCell> = [plan.remove(0), plan.pop().unwrap()].into_iter().enumerate().map(cell).collect();
    let found = refuse_one_batch(&workspace, &raw);
    let expected = told.map(|size| format!("the reference answers batches of {size}, none of "));
    match (found, expected) {
        (Err(error), Some(words)) => assert!(error.message.starts_with(&words), "{error}"),
        (found, expected) => assert!(found.is_ok() && expected.is_none(), "{found:?}"),
    }
    assert_eq!(workspace.reference_fault().map(|fault| fault.stage), told.map(|_| Stage::Run));
}

/// The first sample and class that is no number is told, counted over all; a damaged environment is no fault of the model's.
#[test]
fn the_first_that_is_no_number_is_told() {
    let project = Project::new(MATRIX, "");
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    let mut output = answers(&samples(6));
    let values = output.values.as_mut::<f32>().unwrap();
    (values[2 * 3 + 1], values[2 * 3 + 2], values[5 * 3]) = (f32::INFINITY, f32::NAN, f32::NEG_INFINITY);
    let error = finite(&workspace, &samples(6), output).unwrap_err();
    let words = "the reference's output is not finite for 2 of 6 samples: inf in class 1 of sample 2";
    assert_eq!(error.message, words);
    let damaged = project.workspace(&Fakes::of(sound, |call| match call.name() {
        "open" => Step::Fail(Error::invalid("the environment is damaged")),
        _ => Step::Serve,
    }));
    let error = open_unexamined(&damaged).err().unwrap();
    assert_eq!((error.kind, damaged.reference_fault().is_none()), (ErrorKind::Invalid, true));
}

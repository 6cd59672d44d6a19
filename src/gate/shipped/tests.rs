#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use rstest::rstest;

use super::*;
use crate::digest::digest_file;
use crate::error::ErrorKind;
use crate::findings::Report;
use crate::gate::workshop::{CLASSES, Project, VALUES, answers, healthy, sound};
use crate::gate::{RunOptions, run};
use crate::runtime::{OpenRequest, Session};
use crate::vocabulary::{Status, Verdict};
use crate::worker::fake::{FakeSession, Fakes, Step};

/// A project whose FP16 engine ships; without a file where there are no `bytes`.
fn project(bytes: Option<&[u8]>, sha256: Option<&str>) -> Project {
    let pin = sha256.map(|sha256| format!(", sha256 = \"{sha256}\"")).unwrap_or_default();
    let more = format!("[artifacts]\nengine = {{ fp16 = {{ path = \"m.plan\"{pin} }} }}");
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"fp16\"]", &more);
    if let Some(bytes) = bytes {
        std::fs::write(project.folder.path().join("m.plan"), bytes).unwrap();
    }
    project
}

fn gate(project: &Project, fakes: &Arc<Fakes>) -> Report {
    run(&project.workspace(fakes), &RunOptions::default()).unwrap()
}

/// Status and reason of the cells of the engine, all the same.
fn of_engine(report: &Report) -> (Status, String) {
    let cells: Vec<_> = report.cells.iter().filter(|cell| cell.precision == Precision::Fp16).collect();
    assert_eq!(cells.len(), 2);
    assert_eq!((cells[0].status, &cells[0].reason), (cells[1].status, &cells[1].reason));
    (cells[0].status, cells[0].reason.clone().unwrap_or_default())
}

#[test]
fn an_engine_that_ships_is_gated_byte_for_byte_and_never_built() {
    let project = project(Some(b"an engine"), None);
    let fakes = Fakes::of(sound, healthy);
    let report = gate(&project, &fakes);
    assert_eq!((report.verdict, report.reasons.clone()), (Verdict::Pass, Vec::new()));
    // The FP32 engine alone is built.
    assert_eq!(fakes.seen().iter().filter(|(_, name)| *name == "build").count(), 1);
    let digest = digest_file(&project.folder.path().join("m.plan")).unwrap();
    for cell in report.cells.iter().filter(|cell| cell.precision == Precision::Fp16) {
        let artifact = cell.artifact.as_ref().unwrap();
        assert_eq!((artifact.kind, &artifact.sha256, artifact.bytes), (ArtifactKind::Engine, &digest, 9));
    }
    let note = report.notes.iter().find(|note| note.contains("is the engine shipped")).unwrap();
    assert!(note.starts_with("the fp16 engine under test") && note.contains(&digest[..12]), "{note}");
}

#[rstest]
#[case::absent(None, None, "cannot read")]
#[case::another(Some(&b"an engine"[..]), Some("12"), "it is not the file in the manifest")]
fn a_file_that_is_not_there_or_another_leaves_the_other_cells(
    #[case] bytes: Option<&[u8]>,
    #[case] sha256: Option<&str>,
    #[case] words: &str,
) {
    let pin = sha256.map(|digits| digits.repeat(32));
    let report = gate(&project(bytes, pin.as_deref()), &Fakes::of(sound, healthy));
    let (status, reason) = of_engine(&report);
    assert_ne!(status, Status::Pass);
    assert!(reason.contains("engine.fp16") && reason.contains(words), "{reason}");
    assert_ne!(report.verdict, Verdict::Pass);
    assert!(
        report.cells.iter().filter(|cell| cell.precision == Precision::Fp32).all(|cell| cell.status == Status::Pass)
    );
}

/// Whoever built it may have exported another graph.
#[rstest]
#[case::input("z", "y", CLASSES, "it takes `z`, and the FP32 source `x`")]
#[case::output("x", "z", CLASSES, "it has no output `y`, only `z`")]
#[case::classes("x", "y", CLASSES + 1, "its output `y` is float32")]
fn an_engine_of_another_model_is_refused_in_words(
    #[case] input: &'static str,
    #[case] output: &'static str,
    #[case] classes: usize,
    #[case] words: &str,
) {
    let open = move |request: &OpenRequest| -> Result<Box<dyn Session>> {
        let (input, output, classes) = match request.precision {
            Precision::Fp16 => (input, output, classes),
            _ => ("x", "y", CLASSES),
        };
        let answer = |fed: &crate::tensor::Tensor| Ok(vec![answers(fed)]);
        let precision = if request.precision == Precision::Fp16 { "fp16" } else { "fp32" };
        Ok(Box::new(FakeSession::new((input, &[VALUES]), (output, classes), Some(precision), answer)))
    };
    let report = gate(&project(Some(b"an engine"), None), &Fakes::of(open, healthy));
    let (status, reason) = of_engine(&report);
    assert_ne!(status, Status::Pass);
    assert!(reason.contains("the engine that ships is not of this model") && reason.contains(words), "{reason}");
    assert_eq!(report.cells[0].status, Status::Pass);
}

#[test]
fn what_its_library_refuses_names_the_file_and_not_its_copy() {
    let open = |request: &OpenRequest| -> Result<Box<dyn Session>> {
        match request.precision {
            Precision::Fp16 => Err(Error::invalid(format!("`{}` cannot be loaded", request.artifact.display()))),
            _ => sound(request),
        }
    };
    let report = gate(
        &project(Some(b"an engine"), None),
        &Fakes::of(open, |call| match call.name() {
            "build" => Step::Build,
            _ => Step::Serve,
        }),
    );
    let (status, reason) = of_engine(&report);
    assert_eq!(status, Status::Invalid);
    assert!(reason.contains("m.plan` cannot be loaded") && !reason.contains("carried"), "{reason}");
    assert_ne!(report.verdict, Verdict::Pass);
}

#[test]
fn a_library_that_builds_none_says_what_to_name() {
    let error = Shipped::default().engine(Precision::Int8).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.hint.unwrap().contains("engine = { int8 = "));
    assert_eq!(Shipped::default().hold(&Signature::default()), Ok(()));
}

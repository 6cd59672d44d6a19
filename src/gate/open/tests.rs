#![allow(clippy::unwrap_used, clippy::panic)]

use rstest::rstest;

use super::*;
use crate::gate::workshop::{Project, answers, found, healthy, samples, session, sound};
use crate::plan::Probes;
use crate::runtime::{Probe, Session};
use crate::vocabulary::Library;
use crate::worker::fake::{Fakes, Step};

const BOTH: &str = "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]";

fn id(text: &str) -> CellId {
    text.parse().unwrap()
}

#[test]
fn a_cell_is_opened_by_any_part_of_its_version_and_at_any_batch() {
    let project = Project::new(BOTH, "");
    let fakes = Fakes::of(sound, healthy);
    let workspace = project.workspace(&fakes);
    let mut open = OpenCell::open(&workspace, &id("tensorrt@10/fp32/batch-3")).unwrap();
    assert_eq!(open.id(), &id("tensorrt@10.11.0/fp32/batch-3"));
    assert_eq!((open.version(), open.artifact.kind), ("10.11.0", ArtifactKind::Engine));
    assert_eq!(open.signature().outputs[0].name, "y");
    assert_eq!(open.run(&samples(7)).unwrap().outputs, [answers(&samples(7))]);
    assert_eq!(open.layers().unwrap().unwrap().len(), 1);
    assert_eq!(fakes.seen().iter().map(|(_, name)| *name).collect::<Vec<_>>(), ["build", "open", "run", "layers"]);
    drop(open);
    assert_eq!((fakes.started(), fakes.alive()), (1, 0));
    // The engine is there by now.
    OpenCell::open(&workspace, &id("tensorrt/fp32/batch-1")).unwrap();
    assert_eq!(fakes.seen().iter().filter(|(_, name)| *name == "build").count(), 1);
    // A cell that starts from the model's own graph builds nothing.
    let plain = OpenCell::open(&workspace, &id("onnxruntime/fp32/batch-1")).unwrap();
    assert_eq!(plain.artifact.kind, ArtifactKind::OnnxFp32);
}

#[test]
fn only_whole_batches_are_measured() {
    let project = Project::new(BOTH, "");
    let sizes = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&sizes);
    let open = move |request: &OpenRequest| -> Result<Box<dyn Session>> {
        let (seen, emulated) = (std::sync::Arc::clone(&seen), request.options.emulate_half);
        Ok(Box::new(session(request, move |input| {
            seen.lock().unwrap().push((input.batch(), emulated));
            Ok(vec![answers(input)])
        })))
    };
    let workspace = project.workspace(&Fakes::of(open, healthy));
    let mut open = OpenCell::open_to_measure(&workspace, &id("onnxruntime/fp32/batch-4"), 1, None).unwrap();
    open.measure(&samples(10), &TimingContract::host()).unwrap();
    assert_eq!(*sizes.lock().unwrap(), [(4, false), (4, false)], "what is timed is not emulated");
    let error = open.measure(&samples(3), &TimingContract::host()).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Invalid, "3 samples fill no batch of 4"));
}

/// Several contexts at once may need an engine with more profiles; one never takes fewer than the manifest's.
#[test]
fn streams_have_profiles() {
    let project = Project::new(BOTH, "[engine]\nprofiles = 2");
    let profiles = |streams: usize| {
        let built = std::sync::Arc::new(std::sync::Mutex::new(None));
        let seen = std::sync::Arc::clone(&built);
        let fakes = Fakes::of(sound, move |call| {
            if let crate::worker::Request::Build(request) = call.request {
                *seen.lock().unwrap() = Some(request.options.profiles);
            }
            healthy(call)
        });
        OpenCell::open_to_measure(&project.workspace(&fakes), &id("tensorrt/fp32/batch-1"), streams, None).unwrap();
        *built.lock().unwrap()
    };
    assert_eq!(profiles(3), Some(3));
    assert_eq!(profiles(1), Some(2));
    // The same engine serves both.
    assert_eq!(profiles(2), None);
}

/// What the machine lacks is named with its kind; only damage is told apart.
#[rstest]
#[case(Obstacle::unavailable("no driver"), ErrorKind::Missing)]
#[case(Obstacle::unsupported("never"), ErrorKind::Missing)]
#[case(Obstacle { status: crate::vocabulary::Status::Invalid, ..Obstacle::unavailable("damaged") }, ErrorKind::Invalid)]
fn a_cell_that_cannot_run_here_is_not_opened(#[case] obstacle: Obstacle, #[case] kind: ErrorKind) {
    let project = Project::new(BOTH, "");
    let obstacle = Obstacle { tried: vec!["there".to_owned()], hint: Some("do so".to_owned()), ..obstacle };
    let mut here: Probes = found();
    for installation in here.iter_mut().flat_map(|(_, probe)| &mut probe.found) {
        installation.run_obstacle = Some(obstacle.clone());
        installation.build_obstacle = Some(obstacle.clone());
    }
    let fakes = Fakes::of(sound, healthy);
    let workspace = project.workspace_of(here, &fakes);
    let error = OpenCell::open(&workspace, &id("tensorrt/fp32/batch-1")).err().unwrap();
    assert_eq!(error.message, format!("`tensorrt@10.11.0` cannot run here: {}", obstacle.reason));
    assert_eq!((error.kind, error.causes, error.hint.as_deref()), (kind, vec!["there".to_owned()], Some("do so")));
    let error = build_engine(&workspace, &id("tensorrt/fp32/batch-1"), None).unwrap_err();
    assert_eq!(error.message, format!("`tensorrt` cannot build `fp32` here: {}", obstacle.reason));
    assert_eq!((error.kind, error.hint.as_deref()), (kind, Some("do so")));
    assert_eq!(fakes.started(), 0);
}

#[test]
fn an_engine_is_built_where_it_cannot_run() {
    let project = Project::new(BOTH, "");
    let mut here = found();
    for installation in here.iter_mut().flat_map(|(_, probe)| &mut probe.found) {
        installation.run_obstacle = Some(Obstacle::unavailable("no driver"));
    }
    let fakes = Fakes::of(sound, healthy);
    let workspace = project.workspace_of(here, &fakes);
    let (runtime, engine) = build_engine(&workspace, &id("tensorrt@10/fp32/batch-1"), None).unwrap();
    assert_eq!(
        (runtime.to_string().as_str(), engine.kind, engine.cached),
        ("tensorrt@10.11.0", ArtifactKind::Engine, false)
    );
    // Another graph is another engine.
    let source = crate::gate::workshop::artifact(ArtifactKind::OnnxPlain, None);
    let (_, other) = build_engine(&workspace, &id("tensorrt/fp32/batch-1"), Some(source)).unwrap();
    assert_ne!(other.sha256, engine.sha256);
    assert_eq!(fakes.alive(), 0);
    let error = build_engine(&workspace, &id("onnxruntime/fp32/batch-1"), None).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Usage, "`onnxruntime` builds no engines"));
}

#[test]
fn a_cell_of_what_is_not_here_or_not_planned_is_not_opened() {
    let project = Project::new(BOTH, "");
    let mut here = found();
    for (library, probe) in &mut here {
        if *library == Library::Tensorrt {
            *probe = Probe::default();
        }
    }
    let fakes = Fakes::of(sound, healthy);
    let workspace = project.workspace_of(here, &fakes);
    let error = OpenCell::open(&workspace, &id("tensorrt/fp32/batch-1")).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Missing, "{error}");
    let error = OpenCell::open(&workspace, &id("tensorrt/int8/batch-1")).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Usage, "{error}");
    assert_eq!(fakes.started(), 0);
}

#[test]
fn an_engine_or_session_that_is_refused_ends_its_worker() {
    let project = Project::new(BOTH, "");
    for request in ["build", "open"] {
        let fakes = Fakes::of(sound, move |call| match call.name() {
            name if name == request => Step::Fail(Error::failed("no kernel")),
            _ => healthy(call),
        });
        let error = OpenCell::open(&project.workspace(&fakes), &id("tensorrt/fp32/batch-1")).err().unwrap();
        assert_eq!((error.message.as_str(), fakes.alive()), ("no kernel", 0), "{request}");
    }
}

/// The engine that is built is of the precision that is asked for, whatever else the manifest names before it.
#[test]
fn an_engine_of_the_named_precision_is_built() {
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"tf32\"]", "");
    let built = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&built);
    let fakes = Fakes::of(sound, move |call| {
        if let crate::worker::Request::Build(request) = call.request {
            seen.lock().unwrap().push((request.precision, request.calibration.is_some()));
        }
        healthy(call)
    });
    let workspace = project.workspace(&fakes);
    let (runtime, artifact) = build_engine(&workspace, &id("tensorrt/tf32/batch-1"), None).unwrap();
    assert_eq!((runtime.to_string().as_str(), artifact.kind), ("tensorrt@10.11.0", ArtifactKind::Engine));
    build_engine(&workspace, &id("tensorrt/fp32/batch-1"), None).unwrap();
    OpenCell::open(&workspace, &id("tensorrt/tf32/batch-4")).unwrap();
    assert_eq!(*built.lock().unwrap(), [(Precision::Tf32, false), (Precision::Fp32, false)]);
}

/// The planned cell is the one of the batch that is asked for where it is planned, and another that runs where not.
#[test]
fn a_cell_is_planned_at_its_own_batch() {
    let project = Project::new(
        "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"fp16\"]",
        "[artifacts]\nengine = { fp16 = { path = \"m.plan\" } }",
    );
    std::fs::write(project.folder.path().join("m.plan"), "an engine").unwrap();
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    for batch in [1, 4, 7] {
        let id = id(&format!("tensorrt@10.11.0/fp32/batch-{batch}"));
        assert_eq!(planned(&workspace, &id).unwrap().id, id);
    }
    let error = planned(&workspace, &id("litert/fp32/batch-1")).unwrap_err();
    assert_eq!(error.message, "the manifest asks nothing of `litert`");
    // An engine that ships is not built anew.
    let error = build_engine(&workspace, &id("tensorrt/fp16/batch-1"), None).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Usage, "the manifest ships an engine of its own for `fp16`")
    );
    // It is held to what the manifest says of its inputs and outputs.
    let other = |request: &OpenRequest| -> Result<Box<dyn Session>> {
        let session =
            crate::worker::fake::FakeSession::new(("x", &[9]), ("y", 3), None, |input| Ok(vec![answers(input)]));
        match request.kind {
            ArtifactKind::Engine => Ok(Box::new(session)),
            _ => sound(request),
        }
    };
    let workspace = project.workspace(&Fakes::of(other, healthy));
    assert!(OpenCell::open(&workspace, &id("tensorrt/fp16/batch-1")).is_err());
    assert!(OpenCell::open(&workspace, &id("tensorrt/fp32/batch-1")).is_ok(), "what was built here is what it is");
}

/// An engine that is calibrated gets its samples, where it is built by itself and where it is opened.
#[test]
fn a_calibrated_engine_is_given_its_samples() {
    let mut project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"int8-calibrated\"]", "");
    let calibrated = crate::gate::workshop::calibrated(1.0);
    project.manifest.calibration = calibrated.manifest.calibration.clone();
    let built = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&built);
    let fakes = Fakes::of(sound, move |call| {
        if let crate::worker::Request::Build(request) = call.request {
            seen.lock().unwrap().push(request.calibration.is_some());
        }
        healthy(call)
    });
    let cell = id("tensorrt@10.11.0/int8-calibrated/batch-1");
    build_engine(&project.workspace(&fakes), &cell, None).unwrap();
    std::fs::remove_dir_all(project.folder.path().join("store")).unwrap();
    OpenCell::open(&project.workspace(&fakes), &cell).unwrap();
    assert_eq!(*built.lock().unwrap(), [true, true]);
}

/// An engine is built and opened on the card that is named, and on the first of the run otherwise.
#[test]
fn an_engine_is_built_and_opened_on_the_named_card() {
    let project = Project::new(BOTH, "");
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&asked);
    let fakes = Fakes::of(sound, move |call| {
        match call.request {
            crate::worker::Request::Build(request) => seen.lock().unwrap().push(("build", request.device)),
            crate::worker::Request::Open(request) => seen.lock().unwrap().push(("open", request.options.device)),
            _ => {}
        }
        healthy(call)
    });
    let cell = id("tensorrt/fp32/batch-1");
    OpenCell::open_to_measure(&project.workspace(&fakes), &cell, 1, Some(3)).unwrap();
    OpenCell::open(&project.workspace(&fakes), &cell).unwrap();
    let mut workspace = project.workspace(&fakes);
    workspace.cards = vec![crate::gate::devices::tests::card(2, "H100")];
    OpenCell::open(&workspace, &cell).unwrap();
    assert_eq!(*asked.lock().unwrap(), [("build", 3), ("open", 3), ("open", 0), ("open", 2)]);
}

//! Inner tensors of files and engines, with a runtime in this process.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use prost::Message as _;

use super::*;
use crate::gate::inside::evaluated::{WIDTH, evaluating, model};
use crate::gate::planned;
use crate::gate::workshop::{Project, found, samples};
use crate::plan::Probes;
use crate::runtime::{Obstacle, Probe, Session};
use crate::tensor::Signature;
use crate::vocabulary::ArtifactKind;
use crate::worker::fake::{Call, FakeSession, Fakes, Step, built};
use crate::worker::{Reply, Request};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn wanted(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// A project whose model doubles, and cuts at zero.
fn project() -> Project {
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]", "");
    let graph = model(&[("Mul", "x w", "a"), ("Relu", "a", "y")], &[("w", -2.0)]);
    std::fs::write(project.folder.path().join("m.onnx"), graph.encode_to_vec()).unwrap();
    project
}

fn times(tensor: &Tensor, factor: f32) -> Vec<f32> {
    tensor.floats().iter().map(|value| value * factor).collect()
}

/// Tensors of a file are outputs of a copy of it, in ONNX Runtime, of which each run asks for some.
#[test]
fn a_file_shows_its_tensors() {
    let project = project();
    let fakes = evaluating();
    let workspace = project.workspace(&fakes);
    let installation = onnxruntime(&workspace).unwrap();
    let artifact = workspace.artifact(ArtifactKind::OnnxFp32, None).unwrap();
    let mut side = Side::reference(&workspace, &installation, &artifact, 5, &names(&["a"])).unwrap();
    assert!(side.shows("a") && side.shows("y") && !side.shows("w"));
    assert_eq!((side.values_per_sample("a"), side.values_per_sample("w")), (Some(WIDTH), None));
    let input = samples(12);
    let found = side.run(&wanted(&["a", "w"]), &input).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(found["a"].floats().to_vec(), times(&input, -2.0));
    let found = side.run(&wanted(&["a", "y"]), &input).unwrap();
    assert_eq!((found.len(), found["y"].floats().to_vec()), (2, vec![0.0; 12 * WIDTH]));
    assert!(side.run(&wanted(&[]), &input).unwrap().is_empty());
    drop(side);
    assert_eq!((fakes.started(), fakes.alive()), (1, 0));
    // A cell that builds no engine is shown in the same way.
    let cell = planned(&workspace, &"onnxruntime/fp32/batch-4".parse().unwrap()).unwrap();
    let mut notes = Vec::new();
    let mut side = Side::of_cell(&workspace, &cell, &artifact, &names(&["a"]), &mut notes).unwrap();
    assert_eq!(side.run(&wanted(&["a"]), &input).unwrap()["a"].floats().to_vec(), times(&input, -2.0));
    assert_eq!(notes, [""; 0]);
}

#[test]
fn only_the_reference_s_own_precision_is_optimised() {
    assert!(optimised(Precision::Fp32));
    for other in [Precision::Tf32, Precision::Fp16, Precision::Fp16Flag, Precision::Int8, Precision::Int8Calibrated] {
        assert!(!optimised(other), "{other}");
    }
}

#[test]
fn without_onnx_runtime_nothing_can_be_compared() {
    let mut here: Probes = found();
    for (library, probe) in &mut here {
        if *library == Library::Onnxruntime {
            let missing = Obstacle {
                tried: vec!["`/there`: not there".to_owned()],
                hint: Some("install it".to_owned()),
                ..Obstacle::unavailable("nothing")
            };
            *probe = Probe { found: Vec::new(), missing: Some(missing) };
        }
    }
    let error = onnxruntime(&project().workspace_of(here, &evaluating())).unwrap_err();
    assert_eq!(error.message, "inner tensors are compared with ONNX Runtime's, which is not on this machine");
    assert_eq!((error.causes, error.hint.as_deref()), (vec!["`/there`: not there".to_owned()], Some("install it")));
}

/// Engines whose marked outputs are the input as many times as the digit at the end of their name says; at most `most` are shown by
/// one, which takes batches of `fixed` samples where that is said.
fn engines(most: usize, fixed: Option<usize>) -> Arc<Fakes> {
    let open = move |request: &OpenRequest| -> Result<Box<dyn Session>> {
        let text = std::fs::read_to_string(&request.artifact).unwrap();
        let marked = text.lines().map(str::to_owned).collect();
        let asked: Vec<String> =
            if request.options.outputs.is_empty() { marked } else { request.options.outputs.clone() };
        let spec = |name: &str, element_type, rows| TensorSpec {
            name: name.to_owned(),
            element_type,
            shape: vec![rows, Some(WIDTH)],
        };
        let output = |name: &String| match name.as_str() {
            "whole7" => spec(name, ElementType::Int64, fixed),
            "apart8" => spec(name, ElementType::Float32, Some(1)),
            _ => spec(name, ElementType::Float32, fixed),
        };
        let signature = Signature {
            inputs: vec![spec("x", ElementType::Float32, fixed)],
            outputs: asked.iter().map(output).collect(),
        };
        Ok(Box::new(FakeSession::of(signature, Some("fp32"), move |feeds| {
            let input = feeds.with_samples()[0].clone();
            assert!(fixed.is_none_or(|fixed| fixed == input.batch()), "whole batches alone");
            let value = |name: &String| {
                let factor: f32 = name[name.len() - 1..].parse().unwrap();
                Tensor::float32(name.clone(), input.shape.clone(), times(&input, factor))
            };
            asked.iter().map(value).collect()
        })))
    };
    Fakes::of(open, move |call: &Call<'_>| match call.request {
        Request::Build(request) if request.mark_outputs.len() > most => Step::Fail(Error::failed("too many outputs")),
        Request::Build(request) => {
            let request = request.clone();
            Step::Spoil(Box::new(move |reply, _| {
                let outcome = built(&request).unwrap();
                // What is marked is all that this engine is.
                std::fs::write(&request.engine, request.mark_outputs.join("\n")).unwrap();
                *reply = Reply::Built(Box::new(outcome));
            }))
        }
        _ => Step::Serve,
    })
}

/// What is looked at of a side, with what was told when it was made.
type Check<'a> = dyn Fn(&mut Side, &Workspace, &PlannedCell, &Artifact, &[String]) + 'a;

/// A side of an engine that shows these tensors, and what is told of it.
fn of_engine(fakes: &Arc<Fakes>, shown: &[&str], check: &Check<'_>) {
    let project = project();
    let workspace = project.workspace(fakes);
    let artifact = workspace.artifact(ArtifactKind::OnnxFp32, None).unwrap();
    let cell = planned(&workspace, &"tensorrt/fp32/batch-4".parse().unwrap()).unwrap();
    let mut notes = Vec::new();
    let mut side = Side::of_cell(&workspace, &cell, &artifact, &names(shown), &mut notes).unwrap();
    check(&mut side, &workspace, &cell, &artifact, &notes);
    drop(side);
    assert_eq!(fakes.alive(), 0, "no worker is left");
}

fn builds(fakes: &Arc<Fakes>) -> usize {
    fakes.seen().iter().filter(|(_, name)| *name == "build").count()
}

/// An engine is built with the tensors as outputs; those are shown that are floats and have a row a sample.
#[test]
fn an_engine_shows_what_it_was_built_with() {
    let fakes = engines(9, Some(4));
    of_engine(&fakes, &["a2", "whole7", "apart8", "b3"], &|side, workspace, cell, artifact, notes| {
        assert_eq!(notes, [""; 0]);
        let shown: Vec<bool> = ["a2", "whole7", "apart8", "b3", "c4"].map(|name| side.shows(name)).to_vec();
        assert_eq!(shown, [true, false, false, true, false]);
        let input = samples(10);
        // Short batches are filled up.
        let found = side.run(&wanted(&["a2", "b3"]), &input).unwrap();
        assert_eq!(found["a2"].floats().to_vec(), times(&input, 2.0));
        assert_eq!(found["b3"].floats().to_vec(), times(&input, 3.0));
        // More is shown by another engine beside it.
        let mut told = Vec::new();
        side.show(workspace, cell, artifact, &names(&["c4"]), &mut told).unwrap();
        assert!(side.shows("a2") && side.shows("c4") && told.is_empty());
        let found = side.run(&wanted(&["a2", "c4"]), &input).unwrap();
        assert_eq!((found.len(), found["c4"].floats().to_vec()), (2, times(&input, 4.0)));
    });
    assert_eq!(builds(&fakes), 2);
}

/// A builder that fails on many outputs is asked for some at a time, in a new worker after each failure, and so often at most.
#[test]
fn several_engines_show_what_one_cannot() {
    let all: Vec<String> = (0..4).map(|place| format!("t{place}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let fakes = engines(2, None);
    of_engine(&fakes, &all, &|side, _, _, _, notes| {
        let expected =
            "`tensorrt@10.11.0` builds no engine that shows all tensors (too many outputs); 2 show them in parts";
        assert_eq!(notes, [expected]);
        let input = samples(3);
        let found = side.run(&wanted(&all), &input).unwrap();
        assert_eq!(found.len(), 4);
        assert_eq!(found["t3"].floats().to_vec(), times(&input, 3.0));
    });
    assert_eq!((builds(&fakes), fakes.started()), (3, 2));
    // Twelve are tried at most, and one at least whenever more is asked for.
    let many: Vec<String> = (0..8).map(|place| format!("t{place}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let fakes = engines(1, None);
    of_engine(&fakes, &many, &|side, workspace, cell, artifact, notes| {
        assert!(notes[0].ends_with("; 5 show them in parts, these by none: `t5`, `t6`, `t7`"), "{notes:?}");
        assert_eq!(many.iter().filter(|name| side.shows(name)).count(), 5);
        let mut told = Vec::new();
        side.show(workspace, cell, artifact, &names(&["more5"]), &mut told).unwrap();
        assert!(side.shows("more5"));
    });
    assert_eq!(builds(&fakes), MOST_BUILDS + 1);
}

/// Sessions that show inner tensors run as the manifest says, and are optimised where nothing is lost by that.
#[test]
fn inner_tensors_are_shown_by_the_manifests_threads() {
    let mut project = project();
    (project.manifest.run.intra_threads, project.manifest.run.inter_threads) = (3, 2);
    let opened = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&opened);
    let open = move |request: &OpenRequest| -> Result<Box<dyn Session>> {
        let SessionOptions { intra_threads, inter_threads, optimize, .. } = request.options.clone();
        seen.lock().unwrap().push((intra_threads, inter_threads, optimize, request.batch));
        Ok(Box::new(FakeSession::new(("x", &[WIDTH]), ("y", WIDTH), None, |input| Ok(vec![input.clone()]))))
    };
    let workspace = project.workspace(&Fakes::of(open, crate::gate::workshop::healthy));
    let installation = onnxruntime(&workspace).unwrap();
    let artifact = workspace.artifact(ArtifactKind::OnnxFp32, None).unwrap();
    let (mut notes, names) = (Vec::new(), names(&["a"]));
    Side::reference(&workspace, &installation, &artifact, 5, &names).unwrap();
    for (cell, builds) in [("onnxruntime/fp32/batch-4", 0), ("tensorrt/fp32/batch-2", 1)] {
        let cell = planned(&workspace, &cell.parse().unwrap()).unwrap();
        let side = Side::of_cell(&workspace, &cell, &artifact, &names, &mut notes).unwrap();
        assert_eq!(side.builds, builds);
    }
    let opened = opened.lock().unwrap();
    assert!(opened.iter().all(|(intra, inter, ..)| (*intra, *inter) == (3, 2)), "{opened:?}");
    assert_eq!(opened.iter().map(|(.., optimize, _)| *optimize).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(opened.iter().map(|(.., batch)| *batch).collect::<Vec<_>>(), [5, 4, 2]);
}

/// A calibrated engine that shows its tensors is built with the calibration samples.
#[test]
fn a_calibrated_engine_shows_its_tensors() {
    let mut project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"int8-calibrated\"]", "");
    let calibrated = crate::gate::workshop::calibrated(1.0);
    project.manifest.calibration = calibrated.manifest.calibration.clone();
    let built = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&built);
    let fakes = Fakes::of(crate::gate::workshop::sound, move |call: &Call<'_>| {
        if let Request::Build(request) = call.request {
            seen.lock().unwrap().push((request.calibration.is_some(), request.mark_outputs.clone()));
        }
        crate::gate::workshop::healthy(call)
    });
    let workspace = project.workspace(&fakes);
    let artifact = workspace.artifact(ArtifactKind::OnnxFp32, None).unwrap();
    let cell = planned(&workspace, &"tensorrt@10.11.0/int8-calibrated/batch-1".parse().unwrap()).unwrap();
    Side::of_cell(&workspace, &cell, &artifact, &names(&["a"]), &mut Vec::new()).unwrap();
    assert_eq!(*built.lock().unwrap(), [(true, names(&["a"]))]);
}

//! What a model of several inputs is judged by, where the course of a run says more than its outputs.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use super::*;
use crate::gate::RunOptions;
use crate::gate::execute::execute;
use crate::gate::kit::{Kit, Subject};
use crate::gate::several::tests::{ONE_SHAPE, Project, sound};
use crate::gate::workshop::healthy;
use crate::plan::Filter;
use crate::progress::{Progress as _, Quiet};
use crate::vocabulary::Library;
use crate::worker::fake::Fakes;

/// What the manifest names for an output is said once for each precision that the plan has.
#[test]
fn limits_of_the_manifest_are_told_once() {
    let ladder = Ladder::built_in().unwrap();
    let project = Project::new("onnxruntime = [\"fp32\", \"fp16\"]", ONE_SHAPE);
    let plan =
        project.workspace(&Fakes::of(|_| Err(Error::failed("nobody")), healthy)).plan(&Filter::default()).unwrap();
    let interface = |limits: &str| {
        let text = std::fs::read_to_string(&project.manifest.path).unwrap();
        let text = text.replace("task = \"values\"\n", &format!("task = \"values\"\n{limits}\n"));
        Manifest::parse(&text, Path::new("gate.toml")).unwrap().interface.unwrap()
    };
    assert!(named_limits(&interface(""), &plan, &ladder).is_empty());
    let told = named_limits(&interface("tolerance = { fp16 = { sqnr-db = 12.0 } }"), &plan, &ladder);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("the manifest names for `y` in onnxruntime/fp16: "), "{told:?}");
}

/// Cells are held to the reference's largest batch that ran, wherever that stands; where none did, to the last reason.
#[test]
fn the_largest_batch_is_the_reference() {
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]", ONE_SHAPE);
    let workspace = project.workspace(&sound());
    let plan = workspace.plan(&Filter::default()).unwrap();
    let kit = Kit::prepare(&workspace, &plan, &RunOptions::default()).unwrap();
    let Subject::Several(several) = &kit.subject else { panic!("it has several inputs") };
    let mut runs = execute(&plan, &kit.inputs(&workspace, Quiet.begin(""), false));
    let shape = plan[0].id.shape.clone();
    let found = |runs: &Runs, order: &[usize]| {
        let cells = order.iter().map(|&place| &runs.cells[place]);
        let ran = reference(&workspace.manifest, several, shape.as_ref(), cells).map_err(|error| error.message)?;
        let is_it = |cell: &RawCell| matches!(&cell.outcome, Outcome::Ran(own) if std::ptr::eq(&**own, ran));
        let place = runs.cells.iter().position(is_it).unwrap();
        Ok((runs.cells[place].planned.id.runtime.library, runs.cells[place].planned.id.batch))
    };
    let largest = Ok((Library::Onnxruntime, 4));
    let all: Vec<usize> = (0..runs.cells.len()).collect();
    let back: Vec<usize> = all.iter().rev().copied().collect();
    assert_eq!((found(&runs, &all), found(&runs, &back)), (largest.clone(), largest));
    assert_eq!(found(&runs, &[]), Err("no cell of it was planned".to_owned()));
    for (place, cell) in runs.cells.iter_mut().enumerate() {
        let error = Error::failed(format!("stopped {place}"));
        cell.outcome = Outcome::Stopped { status: Status::Fail, stage: Stage::Run, error };
    }
    let of_reference: Vec<usize> = all
        .iter()
        .copied()
        .filter(|&place| runs.cells[place].planned.id.runtime.library == Library::Onnxruntime)
        .collect();
    let last = of_reference.last().unwrap();
    assert_eq!(found(&runs, &all), Err(format!("stopped {last}")));
}

/// An interface of three outputs that are compared by their values.
fn three() -> Interface {
    let output = |name: &str| format!("[[output]]\nname = \"{name}\"\ntask = \"values\"\n");
    let text = format!(
        "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"x\"\nvalues = {{ uniform = [0.0, 1.0] }}\n{}{}{}\
         [matrix]\nbatches = [2]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n",
        output("y"),
        output("z"),
        output("w")
    );
    Manifest::parse(&text, Path::new("gate.toml")).unwrap().interface.unwrap()
}

fn rows(name: &str, values: [f32; 4]) -> Answers {
    Answers::Rows(Tensor::float32(name, vec![2, 2], values.to_vec()).unwrap())
}

/// Outputs that hold each other's values are named, of those that fail; others keep what is said of them.
#[test]
fn outputs_that_changed_places_are_named() {
    let (interface, ladder) = (three(), Ladder::built_in().unwrap());
    let (one, other, third) = ([1.0, 2.0, 3.0, 4.0], [50.0, 20.0, 10.0, 40.0], [7.0, 9.0, 8.0, 6.0]);
    let reference = [rows("y", one), rows("z", other), rows("w", third)];
    let ran = Answered {
        outputs: vec![rows("y", other), rows("z", one), rows("w", one)],
        again: Vec::new(),
        shapes: ShapeTrials::default(),
        layers: Ok(Vec::new()),
    };
    let told = |statuses: [Status; 3]| {
        let mut findings: Vec<OutputFinding> = ["y", "z", "w"]
            .into_iter()
            .zip(statuses)
            .map(|(name, status)| OutputFinding {
                output: name.to_owned(),
                task: Task::Values,
                status,
                detail: "as it was".to_owned(),
                figures: Vec::new(),
                borderline: 0,
                confident: 0,
                error: crate::findings::ErrorMetrics::default(),
                shown: None,
            })
            .collect();
        let limits = ladder.values(crate::vocabulary::Precision::Fp32).unwrap();
        name_exchanged(&interface, &reference, &ran, 2, limits, &mut findings);
        findings.into_iter().map(|found| (found.status, found.detail)).collect::<Vec<_>>()
    };
    let kept = |status: Status| (status, "as it was".to_owned());
    let named = |name: &str| (Status::Fail, format!("output `{name}`: outputs `y` and `z` hold each other's values"));
    assert_eq!(told([Status::Fail; 3]), [named("y"), named("z"), kept(Status::Fail)]);
    assert_eq!(told([Status::Invalid, Status::Fail, Status::Pass]), [named("y"), named("z"), kept(Status::Pass)]);
    let passed = [Status::Pass, Status::Fail, Status::Fail];
    assert_eq!(told(passed), passed.map(kept));
}

/// How far answers are apart is the most of all outputs; one that is missing or beyond its limit is told.
#[test]
fn the_farthest_output_is_how_far_answers_are_apart() {
    let (interface, ladder) = (three(), Ladder::built_in().unwrap());
    let id: CellId = "onnxruntime/fp32/batch-2".parse().unwrap();
    let row = ladder.row(id.runtime.library, id.precision).unwrap();
    let values = [1.0, 2.0, 3.0, 4.0];
    let reference = [rows("y", values), rows("z", values), rows("w", values)];
    let apart = |far: [f32; 3]| {
        let moved = |by: f32| [1.0 + by, 2.0, 3.0, 4.0];
        let actual = [rows("y", moved(far[0])), rows("z", moved(far[1])), rows("w", moved(far[2]))];
        in_every_output(&interface, &reference, &actual, &ladder, &id, row)
    };
    assert_eq!(apart([0.0; 3]), Ok(0.0));
    let step = f32::EPSILON;
    assert_eq!(apart([step, 2.0 * step, 0.0]), Ok(2.0 * f64::from(step)));
    assert!(apart([0.0, 0.0, 1.0]).unwrap_err().starts_with("output `w`: "));
    let missing = in_every_output(&interface, &reference, &reference[..2], &ladder, &id, row).unwrap_err();
    assert_eq!(missing, "output `w` is missing");
}

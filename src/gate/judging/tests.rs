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

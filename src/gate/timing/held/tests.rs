#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::gate::kit::{Kit, Subject};
use crate::gate::several::tests::{ONE_SHAPE, Project, answers as right, sound};
use crate::gate::workshop::{self, CLASSES, Workshop, samples};
use crate::gate::{RunOptions, run};
use crate::plan::Filter;
use crate::tensor::Feeds;

const BATCH: usize = 4;

/// Outputs of a classifier in batches of four: those of the first samples in order, and from the first again.
fn batches(count: usize) -> Vec<Vec<Tensor>> {
    let all = workshop::answers(&samples(workshop::PROBES));
    let rows: Vec<usize> = (0..count * BATCH).map(|sample| sample % workshop::PROBES).collect();
    rows.chunks(BATCH).map(|rows| vec![all.samples(rows.iter().copied()).unwrap()]).collect()
}

#[test]
fn scores_under_the_clock_are_those_of_the_reference() {
    let workshop = Workshop::new("onnxruntime = [\"fp32\"]");
    let reference = workshop::answers(&samples(workshop::PROBES));
    let expected = Expected::Scores(Scores { reference, natural: workshop.natural() });
    let cell = workshop.plan.last().unwrap().id.clone();
    let hold = |made: &[Vec<Tensor>]| expected.hold(&workshop.manifest, &workshop.ladder, &cell, made, "outputs");
    hold(&batches(1)).unwrap();
    // More than there are probes.
    hold(&batches(5)).unwrap();
    let message = |made: &[Vec<Tensor>]| hold(made).unwrap_err().message;
    let mut off = batches(5);
    off[4][0].values.as_mut::<f32>().unwrap()[0] += 0.5;
    assert!(message(&off).starts_with("outputs are wrong: "), "{}", message(&off));
    let mut nan = batches(2);
    nan[1][0].values.as_mut::<f32>().unwrap()[0] = f32::NAN;
    assert!(message(&nan).starts_with("outputs cannot be compared"), "{}", message(&nan));
    let mut renamed = batches(1);
    renamed[0][0].name = "z".to_owned();
    assert!(message(&renamed).contains("`y`"), "{}", message(&renamed));
    assert!(message(&[]).contains("outputs cannot be compared"), "{}", message(&[]));

    let count = |outputs: &[Tensor]| expected.samples_in(&workshop.manifest, outputs).unwrap();
    let mut outputs = batches(1).remove(0);
    assert_eq!(count(&outputs), BATCH);
    outputs[0] = Tensor::float32("y", vec![BATCH * CLASSES - 1], vec![0.0; BATCH * CLASSES - 1]).unwrap();
    assert_eq!(count(&outputs), BATCH - 1);
    assert!(expected.samples_in(&workshop.manifest, &renamed[0]).is_err());
}

#[test]
fn outputs_of_several_inputs_are_those_of_the_reference_too() {
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]", ONE_SHAPE);
    let workspace = project.workspace(&sound());
    let plan = workspace.plan(&Filter::default()).unwrap();
    let kit = Kit::prepare(&workspace, &plan, &RunOptions::default()).unwrap();
    let Subject::Several(several) = &kit.subject else { panic!("it has several inputs") };
    let cell = plan.last().unwrap().id.clone();
    let feeds = several.fed.at(cell.shape.as_ref()).unwrap();
    let held = Held::Here(vec![right(feeds)]);
    let tasks = |reference: &[&'_ str]| {
        let known = reference.iter().map(|_| (cell.shape.clone(), &held)).collect();
        Expected::Tasks(Tasks { interface: several.interface, fed: &several.fed, reference: known })
    };
    let ladder = crate::check::ladder::Ladder::built_in().unwrap();
    let all = feeds.batch();
    let made = |count: usize| -> Vec<Vec<Tensor>> {
        let rows: Vec<usize> = (0..count * BATCH).map(|sample| sample % all).collect();
        let part = |rows: &[usize]| -> Feeds { feeds.samples(rows.iter().copied()).unwrap() };
        rows.chunks(BATCH).map(|rows| vec![right(&part(rows))]).collect()
    };
    let hold = |made: &[Vec<Tensor>]| tasks(&["here"]).hold(&project.manifest, &ladder, &cell, made, "outputs");
    hold(&made(1)).unwrap();
    hold(&made(all)).unwrap();
    let mut off = made(6);
    off[5][0].values.as_mut::<f32>().unwrap()[3] += 0.5;
    let error = hold(&off).unwrap_err();
    assert!(error.message.starts_with("outputs are wrong: "), "{error}");
    let error = hold(&[]).unwrap_err();
    assert!(error.message.contains("is missing") || error.message.contains("no outputs"), "{error}");
    let error = tasks(&[]).hold(&project.manifest, &ladder, &cell, &made(1), "outputs").unwrap_err();
    assert_eq!(error.message, "the reference did not answer");
    assert_eq!(tasks(&["here"]).samples_in(&project.manifest, &made(1)[0]).unwrap(), BATCH);
    // Batches of one name and another shape lie beside each other, not behind.
    let mut uneven = made(2);
    uneven[1][0] = Tensor::float32("y", vec![BATCH, 1], vec![0.0; BATCH]).unwrap();
    assert!(hold(&uneven).is_err());
    assert_eq!(joined(several.interface, &uneven).unwrap().len(), 2);
    assert_eq!(joined(several.interface, &made(3)).unwrap()[0].batch(), 3 * BATCH);
    // The gate that is sound by them passes.
    assert_eq!(run(&workspace, &RunOptions::default()).unwrap().verdict, crate::vocabulary::Verdict::Pass);
}

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::gate::several::tests::{ONE_SHAPE, Project, SHAPES, answers, sound};
use crate::gate::values::tests::interface;

fn rows(name: &str, samples: usize) -> Tensor {
    Tensor::float32(name, vec![samples, 2], (0..samples * 2).map(|value| value as f32).collect()).unwrap()
}

/// Five samples through a cell of this batch, each answered with two numbers.
fn inferred(batch: u32, answered: usize) -> Inferred {
    let id = CellId { runtime: "onnxruntime".parse().unwrap(), precision: "fp32".parse().unwrap(), batch, shape: None };
    Inferred { id, feeds: Feeds::from(rows("x", 5)), outputs: vec![Answers::Rows(rows("y", answered))], seconds: 0.0 }
}

fn of(input: &str, output: &str) -> Interface {
    interface(&format!(
        "[[input]]\nname = \"x\"\nvalues = {{ uniform = [0.0, 1.0] }}\n{input}\n[[output]]\nname = \"y\"\ntask = \"values\"\n{output}\n"
    ))
}

fn floats(tensors: &[Tensor]) -> (Vec<usize>, Vec<f32>) {
    assert_eq!(tensors.len(), 1);
    (tensors[0].shape.clone(), tensors[0].floats().to_vec())
}

#[test]
fn samples_are_told_call_by_call() {
    let runs = inferred(2, 5).runs(&of("", "")).unwrap();
    let expected =
        [(vec![2, 2], vec![0.0, 1.0, 2.0, 3.0]), (vec![2, 2], vec![4.0, 5.0, 6.0, 7.0]), (vec![1, 2], vec![8.0, 9.0])];
    assert_eq!(runs.iter().map(|(fed, _)| floats(fed)).collect::<Vec<_>>(), expected);
    assert_eq!(runs.iter().map(|(_, answered)| floats(answered)).collect::<Vec<_>>(), expected);
    // A batch of none is one of one.
    assert_eq!(inferred(0, 5).runs(&of("", "")).unwrap().len(), 5);
    assert_eq!(inferred(8, 5).runs(&of("", "")).unwrap().len(), 1);
}

#[test]
fn each_tensor_has_its_samples_where_the_model_has_them() {
    let runs = inferred(2, 5).runs(&of("batch-axis = 1", "batch-axis = 1")).unwrap();
    assert_eq!(floats(&runs[0].0), (vec![2, 2], vec![0.0, 2.0, 1.0, 3.0]));
    assert_eq!(floats(&runs[0].1), (vec![2, 2], vec![0.0, 2.0, 1.0, 3.0]));
    // What has no batch is run sample by sample.
    let runs = inferred(2, 5).runs(&of("batch-axis = \"none\"", "batch-axis = \"none\"")).unwrap();
    assert_eq!(runs.len(), 5);
    assert_eq!(floats(&runs[1].0), (vec![2], vec![2.0, 3.0]));
    assert_eq!(floats(&runs[1].1), (vec![2], vec![2.0, 3.0]));
}

#[test]
fn what_was_not_answered_is_no_run() {
    let error = inferred(2, 4).runs(&of("", "")).unwrap_err();
    assert_eq!(error.message, "not every sample was answered");
    let part = |count: usize| Tensor::float32("y", vec![count], vec![0.0; count]).unwrap();
    let apart = Inferred { outputs: vec![Answers::Apart([1, 2, 1, 1, 1].map(part).to_vec())], ..inferred(2, 5) };
    let error = apart.runs(&of("", "")).unwrap_err();
    assert_eq!(error.message, "the samples of a batch are answered in several shapes");
    let single = Inferred { outputs: vec![Answers::Apart([1, 2, 1, 1, 1].map(part).to_vec())], ..inferred(1, 5) };
    assert_eq!(single.runs(&of("", "")).unwrap().len(), 5);
}

/// Samples through one cell: those of the manifest or of a file, as many as are asked for, answered by the cell's own session.
#[test]
fn samples_go_through_one_cell() {
    let through = |more: &str, data: Option<&str>, limit: Option<usize>| {
        let project = Project::new("onnxruntime = [\"fp32\"]", more);
        let fakes = sound();
        let workspace = project.workspace(&fakes);
        let data = data.map(|text| {
            let path = project.folder.path().join("samples.json");
            std::fs::write(&path, text).unwrap();
            path
        });
        let interface = project.manifest.interface.as_ref().unwrap();
        let id = "onnxruntime/fp32/batch-4".parse().unwrap();
        let found = infer(&workspace, interface, &id, data.as_deref(), limit);
        assert_eq!(fakes.alive(), 0);
        found
    };
    let all = through(ONE_SHAPE, None, None).unwrap();
    assert_eq!((all.feeds.batch(), all.id.to_string().as_str()), (18, "onnxruntime/fp32/batch-4"));
    assert_eq!(all.outputs, [Answers::Rows(answers(&all.feeds))]);
    let some = through(ONE_SHAPE, None, Some(3)).unwrap();
    assert_eq!((some.feeds.clone(), some.outputs.len()), (all.feeds.first(3).unwrap(), 1));
    assert_eq!(some.outputs, [Answers::Rows(answers(&some.feeds))]);
    let several = through(SHAPES, None, None).err().unwrap();
    assert_eq!(several.message, "`[shapes]` names several sizes, and samples have one");
}

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::str::FromStr as _;

use super::*;
use crate::gate::RunOptions;
use crate::gate::kit::{Kit, Subject};
use crate::gate::several::tests::{ONE_SHAPE, Project, SHAPES, signature, sound};
use crate::manifest::shapes::ShapeProfile;
use crate::plan::Filter;
use crate::tensor::ElementType;

/// A short batch is filled up where the first input with samples has a fixed number of them; what is shared by all samples
/// says nothing, whatever its sizes.
#[test]
fn a_batch_is_filled_up_where_the_input_with_samples_has_a_fixed_number() {
    let signature = |shared: &[Option<usize>], x: &[Option<usize>]| {
        let spec = |name: &str, shape: &[Option<usize>]| TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Float32,
            shape: shape.to_vec(),
        };
        Signature { inputs: vec![spec("shared", shared), spec("x", x)], outputs: Vec::new() }
    };
    let tensor =
        |name: &str, shape: &[usize]| Tensor::float32(name, shape.to_vec(), vec![0.0; shape.iter().product()]).unwrap();
    let feeds = Feeds::new(vec![tensor("x", &[2, 3])], vec![tensor("shared", &[5])]).unwrap();
    let first = BatchAxes::default();
    assert!(pads(&signature(&[None], &[Some(4), Some(3)]), &feeds, &first));
    assert!(!pads(&signature(&[Some(5)], &[None, Some(3)]), &feeds, &first));
    // Its samples lie along another axis, or it has no axis for them.
    let axes = |axis| BatchAxes { inputs: [("x".to_owned(), axis)].into(), ..BatchAxes::default() };
    assert!(pads(&signature(&[Some(5)], &[None, Some(3)]), &feeds, &axes(BatchAxis::At(1))));
    assert!(!pads(&signature(&[Some(5)], &[Some(4), Some(3)]), &feeds, &axes(BatchAxis::None)));
}

/// A cell is filled up where its session says so, or an engine's profile; its samples are those of its shape, and the shape that comes
/// between is another one that its engine takes.
#[test]
fn what_a_cell_is_fed_depends_on_its_session_and_its_shape() {
    let fed = |more: &str, check: &dyn Fn(&Fed<'_>)| {
        let project = Project::new("onnxruntime = [\"fp32\"]", more);
        let workspace = project.workspace(&sound());
        let plan = workspace.plan(&Filter::default()).unwrap();
        let kit = Kit::prepare(&workspace, &plan, &RunOptions::default()).unwrap();
        let Subject::Several(several) = &kit.subject else { panic!("it has several inputs") };
        check(&several.fed);
    };
    fed(ONE_SHAPE, &|fed| {
        let (open, mut whole) = (signature(), signature());
        whole.inputs[0].shape[0] = Some(4);
        assert!(!fed.pads(&open, ArtifactKind::OnnxFp32) && fed.pads(&whole, ArtifactKind::OnnxFp32));
        assert!(!fed.pads(&open, ArtifactKind::Engine));
        let mut narrow = fed.interface.clone();
        narrow.profiles = vec![ShapeProfile { batch: [2, 4, 8], sizes: Vec::new() }];
        assert!(fills_up(&narrow, ArtifactKind::Engine) && !fills_up(&narrow, ArtifactKind::OnnxFp32));
        narrow.profiles[0].batch[0] = 1;
        assert!(!fills_up(&narrow, ArtifactKind::Engine));
        assert!(fed.shares_sessions());
        let id: CellId = "onnxruntime/fp32/batch-1".parse().unwrap();
        let id = CellId { shape: fed.points[0].0.clone(), ..id };
        assert!(fed.between(&id).is_none(), "there is no other shape");
    });
    fed(SHAPES, &|fed| {
        assert!(!fed.shares_sessions());
        let shapes: Vec<String> =
            fed.points.iter().map(|(point, _)| point.as_ref().map(ToString::to_string).unwrap_or_default()).collect();
        assert_eq!(shapes, ["length=3", "length=4"]);
        for (place, other) in [(0, 1), (1, 0)] {
            let shape = fed.points[place].0.clone();
            let id = CellId { shape, ..CellId::from_str("onnxruntime/fp32/batch-4").unwrap() };
            assert_eq!(fed.samples(&id).unwrap().get("x").unwrap().shape[1], 3 + place);
            let (between, feeds) = fed.between(&id).unwrap();
            assert_eq!((between, feeds), (fed.points[other].0.as_ref(), &fed.points[other].1));
        }
        let unknown: CellId = "onnxruntime/fp32/batch-4".parse().unwrap();
        assert_eq!(fed.samples(&unknown).unwrap_err().message, "no samples were made for this shape");
        assert!(fed.at(None).is_none() && fed.between(&unknown).is_none());
    });
}

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use rstest::rstest;

use super::*;
use crate::manifest::Manifest;
use crate::tensor::ElementType;

/// The interface of a manifest with these tables.
pub(in crate::gate) fn interface(tables: &str) -> Interface {
    let text = format!(
        "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n{tables}\n[matrix]\nbatches = [1]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n"
    );
    Manifest::parse(&text, Path::new("gate.toml")).unwrap().interface.unwrap()
}

pub(in crate::gate) fn spec(name: &str, element_type: ElementType, shape: &[Option<usize>]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), element_type, shape: shape.to_vec() }
}

const X: &str = "[[input]]\nname = \"x\"\nvalues = { uniform = [0.0, 1.0] }\n";
const Y: &str = "[[output]]\nname = \"y\"\ntask = \"values\"\n";

/// A model of input `x` and output `y`.
fn model(x: &[Option<usize>], y: &[Option<usize>]) -> Signature {
    Signature { inputs: vec![spec("x", ElementType::Float32, x)], outputs: vec![spec("y", ElementType::Float32, y)] }
}

#[rstest]
#[case::declared("", &[None, Some(3)], Ok(vec![3]))]
#[case::of_one_batch("", &[Some(8), Some(3)], Ok(vec![3]))]
#[case::said("shape = [5, 3]", &[None, None, Some(3)], Ok(vec![5, 3]))]
#[case::said_again("shape = [3]", &[None, Some(3)], Ok(vec![3]))]
#[case::batch_behind("batch-axis = 1", &[Some(3), None, Some(2)], Ok(vec![3, 2]))]
#[case::no_batch("batch-axis = \"none\"", &[Some(3), Some(2)], Ok(vec![3, 2]))]
#[case::shared("shared = true", &[Some(3), Some(2)], Ok(vec![3, 2]))]
#[case::open("", &[None, None], Err("input `x` leaves sizes open"))]
#[case::another("shape = [4]", &[None, Some(3)], Err("`shape` of `x` is [4], the model has [3] without the batch"))]
#[case::longer("shape = [3, 3]", &[None, Some(3)], Err("`shape` of `x` is [3, 3]"))]
#[case::shorter("shape = [3]", &[None, Some(3), Some(3)], Err("`shape` of `x` is [3]"))]
#[case::scalar("", &[], Err("input `x` has no dimensions, so that it has no batch"))]
#[case::axis_beyond("batch-axis = 2", &[None, Some(3)], Err("`batch-axis` of `x` is 2, and it has shape"))]
fn an_input_is_fed_what_manifest_and_model_say(
    #[case] key: &str,
    #[case] declared: &[Option<usize>],
    #[case] expected: Result<Vec<usize>, &str>,
) {
    let found = plans(&interface(&format!("{X}{key}\n{Y}")), &model(declared, &[None, Some(2)]), None);
    match (found, expected) {
        (Ok(found), Ok(sample)) => {
            assert_eq!((found.len(), found[0].name.as_str(), found[0].sample.clone()), (1, "x", sample));
            assert_eq!(found[0].shared, key.contains("shared"));
        }
        (Err(error), Err(start)) => assert!(error.message.starts_with(start), "{error}"),
        (found, expected) => panic!("{found:?}, expected {expected:?}"),
    }
}

#[test]
fn a_size_of_a_name_is_that_of_the_point() {
    let interface = interface(&format!("{X}shape = [\"length\"]\n{Y}[shapes]\nlength = [3, 5]\n"));
    let signature = model(&[None, None], &[None, Some(2)]);
    let sizes: Vec<_> = interface
        .points()
        .iter()
        .map(|point| plans(&interface, &signature, point.as_ref()).unwrap()[0].sample.clone())
        .collect();
    assert_eq!(sizes, [[3], [4], [5]]);
    // A size that the model fixes is no other.
    let fixed = model(&[None, Some(3)], &[None, Some(2)]);
    let points = interface.points();
    assert!(plans(&interface, &fixed, points[0].as_ref()).is_ok());
    assert!(plans(&interface, &fixed, points[1].as_ref()).is_err());
}

#[test]
fn manifest_and_model_name_the_same_inputs() {
    let interface = interface(&format!("{X}{Y}"));
    let mut other = model(&[None, Some(3)], &[None, Some(2)]);
    other.inputs.push(spec("z", ElementType::Int64, &[None]));
    let error = plans(&interface, &other, None).unwrap_err();
    assert_eq!(error.message, "input `z` of the model has no `[[input]]`");
    other.inputs.remove(0);
    let error = plans(&interface, &other, None).unwrap_err();
    assert_eq!(error.message, "`[[input]]` names `x`, and the model has `z`");
    other.inputs[0] = spec("x", ElementType::String, &[None]);
    let error = plans(&interface, &other, None).unwrap_err();
    assert!(error.message.starts_with("input `x` takes "), "{error}");
}

const BESIDE: &str = "shared = true";

#[rstest]
#[case::rows("", "", &[None, Some(2)], None)]
#[case::one_dimension("", "", &[None], None)]
#[case::scalar("", "", &[], Some("output `y` has shape [], and no dimension 0"))]
#[case::behind("", "batch-axis = 1", &[Some(2), None], None)]
#[case::beyond("", "batch-axis = 2", &[Some(2), None], Some("output `y` has shape [2, N], and no dimension 2"))]
#[case::none_beyond("", "batch-axis = \"none\"", &[], None)]
#[case::no_input_has_one(BESIDE, "", &[None, Some(2)], Some("output `y` is said to have a batch, and no input has one"))]
#[case::none_at_all("batch-axis = \"none\"", "", &[None, Some(2)], Some("output `y` is said to have a batch"))]
#[case::said("batch-axis = \"none\"", "batch-axis = \"none\"", &[None, Some(2)], None)]
fn outputs_have_their_samples_where_the_manifest_says(
    #[case] input: &str,
    #[case] output: &str,
    #[case] shape: &[Option<usize>],
    #[case] expected: Option<&str>,
) {
    let found = check_outputs(&interface(&format!("{X}{input}\n{Y}{output}\n")), &model(&[None, Some(3)], shape));
    match (found, expected) {
        (Ok(()), None) => {}
        (Err(error), Some(start)) => assert!(error.message.starts_with(start), "{error}"),
        (found, expected) => panic!("{found:?}, expected {expected:?}"),
    }
}

#[test]
fn outputs_that_are_not_there_or_not_compared_are_named() {
    let interface = interface(&format!("{X}{Y}"));
    let mut signature = model(&[None, Some(3)], &[None, Some(2)]);
    signature.outputs.push(spec("z", ElementType::String, &[None]));
    check_outputs(&interface, &signature).unwrap();
    signature.outputs.remove(0);
    let error = check_outputs(&interface, &signature).unwrap_err();
    assert_eq!(error.message, "`[[output]]` names `y`, and the model has `z`");
    signature.outputs[0].name = "y".to_owned();
    let error = check_outputs(&interface, &signature).unwrap_err();
    assert!(error.message.starts_with("output `y` is "), "{error}");
}

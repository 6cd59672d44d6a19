#![allow(clippy::unwrap_used)]

use super::*;
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

//! What every runtime does at the border of a model: checking the input, choosing outputs, turning bytes into values.

use half::{bf16, f16};

use crate::error::{Error, Result};
use crate::tensor::{ElementType, Signature, Tensor, TensorSpec};

/// The one input of a model.
///
/// # Errors
///
/// `Unsupported` when the model declares no input or several.
pub(crate) fn only_input(signature: &Signature) -> Result<&TensorSpec> {
    match signature.inputs.as_slice() {
        [input] => Ok(input),
        inputs => Err(Error::unsupported(format!(
            "the model has {} inputs ({}), trtgate feeds exactly one",
            inputs.len(),
            names(inputs)
        ))),
    }
}

/// The indices into `declared` of the outputs named in `requested`, in the order of `declared`; all of them when
/// `requested` is empty.
///
/// # Errors
///
/// `Failed` for a name that is not declared (the names that are stand in the hint), or when nothing is declared.
pub(crate) fn select_outputs(declared: &[TensorSpec], requested: &[String]) -> Result<Vec<usize>> {
    if let Some(unknown) = requested.iter().find(|name| declared.iter().all(|output| output.name != **name)) {
        return Err(Error::failed(format!("the model has no output `{unknown}`"))
            .hint(format!("its outputs are {}", names(declared))));
    }
    if declared.is_empty() {
        return Err(Error::failed("the model declares no outputs"));
    }
    let wanted = |output: &TensorSpec| requested.is_empty() || requested.contains(&output.name);
    Ok(declared.iter().enumerate().filter(|(_, output)| wanted(output)).map(|(index, _)| index).collect())
}

/// `` `a`, `b` ``.
fn names(specs: &[TensorSpec]) -> String {
    if specs.is_empty() {
        return "none".to_owned();
    }
    specs.iter().map(|spec| format!("`{}`", spec.name)).collect::<Vec<_>>().join(", ")
}

/// Checks `tensor` against `spec`, that it holds at least one value, and that its values fill its shape. Libraries
/// read as many bytes as the shape says, so nothing goes in unchecked.
pub(crate) fn check_tensor(spec: &TensorSpec, tensor: &Tensor) -> Result<()> {
    spec.accepts(tensor)?;
    match element_count(&tensor.shape) {
        Some(0) => Err(Error::failed(format!("`{}` of shape {:?} holds no values", tensor.name, tensor.shape))),
        Some(count) if count == tensor.values.len() => Ok(()),
        _ => Err(Error::failed(format!(
            "`{}` of shape {:?} comes with {} values",
            tensor.name,
            tensor.shape,
            tensor.values.len()
        ))),
    }
}

/// The product of `shape`, or `None` where it does not fit memory.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
        .filter(|&count| count <= isize::MAX as usize / 8)
}

/// Bytes of one element; `None` for types that do not cross the border.
pub(crate) const fn element_size(element_type: ElementType) -> Option<usize> {
    match element_type {
        ElementType::Bool | ElementType::Int8 | ElementType::Uint8 => Some(1),
        ElementType::Float16 | ElementType::Bfloat16 => Some(2),
        ElementType::Float32 | ElementType::Int32 => Some(4),
        ElementType::Float64 | ElementType::Int64 => Some(8),
        _ => None,
    }
}

/// Values of `bytes`, which hold elements of `element_type` in native order. Half floats widen exactly; 32-bit and
/// 64-bit integers and doubles round to the nearest `f32`.
///
/// # Errors
///
/// `Failed` for a type that does not cross the border, and when the bytes are not whole elements.
pub(crate) fn decode(element_type: ElementType, bytes: &[u8]) -> Result<Vec<f32>> {
    let Some(size) = element_size(element_type) else {
        return Err(Error::failed(format!("element type {element_type} cannot be read")));
    };
    if !bytes.len().is_multiple_of(size) {
        return Err(Error::failed(format!("{} bytes are not whole {element_type} elements", bytes.len())));
    }
    Ok(match element_type {
        ElementType::Float32 => elements(bytes, f32::from_ne_bytes),
        ElementType::Float16 => elements(bytes, |element| f16::from_ne_bytes(element).to_f32()),
        ElementType::Bfloat16 => elements(bytes, |element| bf16::from_ne_bytes(element).to_f32()),
        ElementType::Float64 => elements(bytes, |element| f64::from_ne_bytes(element) as f32),
        ElementType::Int8 => elements(bytes, |element| f32::from(i8::from_ne_bytes(element))),
        ElementType::Uint8 => elements(bytes, |element| f32::from(u8::from_ne_bytes(element))),
        ElementType::Int32 => elements(bytes, |element| i32::from_ne_bytes(element) as f32),
        ElementType::Int64 => elements(bytes, |element| i64::from_ne_bytes(element) as f32),
        _ => elements(bytes, |[element]: [u8; 1]| f32::from(u8::from(element != 0))),
    })
}

fn elements<const SIZE: usize>(bytes: &[u8], read: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<SIZE>().0.iter().map(|&element| read(element)).collect()
}

/// The bytes of `values` as elements of `element_type`, in native order; half floats round to nearest, ties to even.
///
/// # Errors
///
/// `Unsupported` for an input that is not floating point.
pub(crate) fn encode(element_type: ElementType, values: &[f32]) -> Result<Vec<u8>> {
    Ok(match element_type {
        ElementType::Float32 => values.iter().flat_map(|value| value.to_ne_bytes()).collect(),
        ElementType::Float16 => values.iter().flat_map(|&value| f16::from_f32(value).to_ne_bytes()).collect(),
        _ => return Err(Error::unsupported(format!("an input of element type {element_type} cannot be fed"))),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn spec(name: &str, shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), element_type: ElementType::Float32, shape: shape.to_vec() }
    }

    #[test]
    fn an_unknown_output_names_those_that_are_there() {
        let declared = [spec("logits", &[None, Some(10)]), spec("features", &[None])];
        let error = select_outputs(&declared, &["probabilities".to_owned()]).unwrap_err();
        assert_eq!(error.message, "the model has no output `probabilities`");
        assert_eq!(error.hint.as_deref(), Some("its outputs are `logits`, `features`"));
    }

    #[test]
    fn outputs_come_in_the_order_of_the_model() {
        let declared = [spec("a", &[]), spec("b", &[]), spec("c", &[])];
        let requested = ["c".to_owned(), "a".to_owned(), "c".to_owned()];
        assert_eq!(select_outputs(&declared, &requested).unwrap(), [0, 2]);
        assert_eq!(select_outputs(&declared, &[]).unwrap(), [0, 1, 2]);
        assert!(select_outputs(&[], &[]).is_err());
    }

    #[test]
    fn a_model_with_two_inputs_is_unsupported() {
        let signature = Signature { inputs: vec![spec("a", &[]), spec("b", &[])], outputs: Vec::new() };
        let error = only_input(&signature).unwrap_err();
        assert_eq!(error.message, "the model has 2 inputs (`a`, `b`), trtgate feeds exactly one");
    }

    #[rstest]
    #[case("x", vec![2, 3], 6, true)]
    #[case("y", vec![2, 3], 6, false)]
    #[case("x", vec![2, 4], 8, false)]
    #[case("x", vec![6], 6, false)]
    #[case("x", vec![2, 3], 5, false)]
    #[case("x", vec![0, 3], 0, false)]
    #[case("x", vec![usize::MAX, 3], 6, false)]
    fn inputs_are_checked_whole(
        #[case] name: &str,
        #[case] shape: Vec<usize>,
        #[case] values: usize,
        #[case] expected: bool,
    ) {
        let input =
            Tensor { name: name.to_owned(), element_type: ElementType::Float32, shape, values: vec![0.5; values] };
        assert_eq!(check_tensor(&spec("x", &[None, Some(3)]), &input).is_ok(), expected);
    }

    #[test]
    fn another_element_type_is_refused() {
        let mut input = Tensor::float32("x", vec![1, 3], vec![0.0; 3]).unwrap();
        input.element_type = ElementType::Float16;
        let error = check_tensor(&spec("x", &[None, Some(3)]), &input).unwrap_err();
        assert_eq!(error.message, "`x` is float16, expected float32");
    }

    #[rstest]
    #[case(ElementType::Float32, &[1.5_f32.to_ne_bytes(), (-2.0_f32).to_ne_bytes()].concat(), &[1.5, -2.0])]
    #[case(ElementType::Float16, &f16::from_f32(0.1).to_ne_bytes(), &[0.099_975_586])]
    #[case(ElementType::Bfloat16, &bf16::from_f32(3.0).to_ne_bytes(), &[3.0])]
    #[case(ElementType::Float64, &0.25_f64.to_ne_bytes(), &[0.25])]
    #[case(ElementType::Int8, &[0x80, 0x7f], &[-128.0, 127.0])]
    #[case(ElementType::Uint8, &[0, 255], &[0.0, 255.0])]
    #[case(ElementType::Int32, &(-7_i32).to_ne_bytes(), &[-7.0])]
    #[case(ElementType::Int64, &9_i64.to_ne_bytes(), &[9.0])]
    #[case(ElementType::Bool, &[0, 2], &[0.0, 1.0])]
    fn bytes_decode(#[case] element_type: ElementType, #[case] bytes: &[u8], #[case] expected: &[f32]) {
        assert_eq!(decode(element_type, bytes).unwrap(), expected);
    }

    #[rstest]
    #[case(ElementType::Float32, &[0_u8; 5])]
    #[case(ElementType::Other, &[0_u8; 4])]
    fn torn_or_foreign_elements_are_errors(#[case] element_type: ElementType, #[case] bytes: &[u8]) {
        assert!(decode(element_type, bytes).is_err());
    }

    #[test]
    fn what_is_encoded_decodes() {
        for element_type in [ElementType::Float32, ElementType::Float16] {
            let values = [0.0, -0.5, 1024.0, f32::INFINITY];
            let bytes = encode(element_type, &values).unwrap();
            assert_eq!(decode(element_type, &bytes).unwrap(), values);
        }
        assert!(encode(ElementType::Int32, &[1.0]).is_err());
    }
}

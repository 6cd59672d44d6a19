//! Tensors to the bytes of a binding and back; which of several outputs is the worst.

use half::{bf16, f16};

use crate::error::{Error, Result};
use crate::tensor::{ElementType, Tensor, TensorSpec, shape_text};

/// The byte of the poison pattern: as a float of any width it is NaN.
pub(super) const POISON: u8 = 0xff;

/// Checks name and shape of `tensor`; its values are converted to whatever element type the binding has.
pub(super) fn accepts(spec: &TensorSpec, tensor: &Tensor) -> Result<()> {
    let fits = spec.shape.len() == tensor.shape.len()
        && spec.shape.iter().zip(&tensor.shape).all(|(wanted, got)| wanted.is_none_or(|wanted| wanted == *got));
    if fits {
        return Ok(());
    }
    Err(Error::usage(format!("input `{}` takes {}, got {:?}", spec.name, shape_text(&spec.shape), tensor.shape)))
}

/// Bytes of one element.
pub(super) fn element_bytes(element_type: ElementType) -> Result<usize> {
    match element_type {
        ElementType::Float32 | ElementType::Int32 => Ok(4),
        ElementType::Float16 | ElementType::Bfloat16 => Ok(2),
        ElementType::Int8 | ElementType::Uint8 | ElementType::Bool => Ok(1),
        ElementType::Int64 | ElementType::Float64 => Ok(8),
        other => Err(Error::unsupported(format!("tensors of type {other} cannot cross the engine's border"))),
    }
}

/// `values` as the bytes of a binding.
///
/// # Errors
///
/// `Unsupported` for an element type that no classifier takes as input.
pub(super) fn encode(values: &[f32], element_type: ElementType) -> Result<Vec<u8>> {
    fn bytes<const N: usize>(values: &[f32], convert: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(|&value| convert(value)).collect()
    }
    match element_type {
        ElementType::Float32 => Ok(bytes(values, f32::to_ne_bytes)),
        ElementType::Float16 => Ok(bytes(values, |value| f16::from_f32(value).to_ne_bytes())),
        ElementType::Bfloat16 => Ok(bytes(values, |value| bf16::from_f32(value).to_ne_bytes())),
        ElementType::Int8 => Ok(bytes(values, |value| (value as i8).to_ne_bytes())),
        ElementType::Uint8 => Ok(bytes(values, |value| (value as u8).to_ne_bytes())),
        ElementType::Int32 => Ok(bytes(values, |value| (value as i32).to_ne_bytes())),
        other => Err(Error::unsupported(format!("an engine input of type {other} cannot be measured"))),
    }
}

/// The values that the bytes of a binding hold.
///
/// # Errors
///
/// `Unsupported` for an element type that no classifier gives.
pub(super) fn decode(bytes: &[u8], element_type: ElementType) -> Result<Vec<f32>> {
    fn values<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
    }
    match element_type {
        ElementType::Float32 => Ok(values(bytes, f32::from_ne_bytes)),
        ElementType::Float16 => Ok(values(bytes, |chunk| f16::from_ne_bytes(chunk).to_f32())),
        ElementType::Bfloat16 => Ok(values(bytes, |chunk| bf16::from_ne_bytes(chunk).to_f32())),
        ElementType::Int8 => Ok(values(bytes, |chunk| f32::from(i8::from_ne_bytes(chunk)))),
        ElementType::Uint8 => Ok(values(bytes, |chunk| f32::from(u8::from_ne_bytes(chunk)))),
        ElementType::Int32 => Ok(values(bytes, |chunk| i32::from_ne_bytes(chunk) as f32)),
        other => Err(Error::unsupported(format!("an engine output of type {other} cannot be compared"))),
    }
}

/// Whether the poison is still there, all of it.
pub(super) fn untouched(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| byte == POISON)
}

/// Keeps in `kept` whichever of `kept` and `candidate` is farther from `first`; a NaN is farthest of all. Sound buffers
/// agree, so the choice matters only when something is wrong, and then shows it.
pub(super) fn keep_worse(first: &[f32], kept: &mut Vec<f32>, candidate: Vec<f32>) {
    if distance(first, &candidate) > distance(first, kept) {
        *kept = candidate;
    }
}

/// Largest absolute difference; infinite for a NaN or a difference in length.
fn distance(left: &[f32], right: &[f32]) -> f32 {
    if left.len() != right.len() {
        return f32::INFINITY;
    }
    left.iter()
        .zip(right)
        .map(|(left, right)| (left - right).abs())
        .fold(0.0, |worst, next| if next.is_nan() { f32::INFINITY } else { worst.max(next) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(ElementType::Float32)]
    #[case(ElementType::Float16)]
    #[case(ElementType::Bfloat16)]
    #[case(ElementType::Int8)]
    #[case(ElementType::Uint8)]
    #[case(ElementType::Int32)]
    fn bytes_come_back(#[case] element_type: ElementType) {
        let values = [0.0, 1.0, 2.0, 100.0];
        let bytes = encode(&values, element_type).unwrap();
        assert_eq!(bytes.len(), values.len() * element_bytes(element_type).unwrap());
        assert_eq!(decode(&bytes, element_type).unwrap(), values);
    }

    #[rstest]
    #[case(ElementType::Float32)]
    #[case(ElementType::Float16)]
    #[case(ElementType::Bfloat16)]
    fn poison_is_nan(#[case] element_type: ElementType) {
        assert!(decode(&[POISON; 8], element_type).unwrap().iter().all(|value| value.is_nan()));
    }

    #[test]
    fn other_types_are_refused() {
        assert!(element_bytes(ElementType::Other).is_err());
        assert!(encode(&[1.0], ElementType::Other).is_err());
        assert!(decode(&[0; 8], ElementType::Other).is_err());
    }

    #[rstest]
    #[case::equal(vec![1.0, 2.0], vec![1.0, 2.0])]
    #[case::farther(vec![1.0, 3.0], vec![1.0, 3.0])]
    #[case::nan(vec![f32::NAN, 2.0], vec![f32::NAN, 2.0])]
    fn the_worst_output_is_kept(#[case] candidate: Vec<f32>, #[case] expected: Vec<f32>) {
        let first = [1.0, 2.0];
        let mut kept = first.to_vec();
        keep_worse(&first, &mut kept, candidate);
        keep_worse(&first, &mut kept, vec![1.0, 2.5]);
        let kept_bits: Vec<u32> = kept.iter().map(|value| value.to_bits()).collect();
        let expected = if expected == first { vec![1.0, 2.5] } else { expected };
        assert_eq!(kept_bits, expected.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
    }

    #[test]
    fn untouched_means_all_of_it() {
        assert!(untouched(&[POISON; 4]));
        assert!(!untouched(&[POISON, POISON, 0]));
        assert!(!untouched(&[]));
    }
}

//! Whether an output was written at all; which of several is the worst.

use crate::tensor::{ElementType, Values};

/// The byte of the poison pattern of `element_type`. As a float of any width it is NaN; of whole numbers, 0xff would be -1 or the
/// largest, which engines do answer, and this one is a number that nobody counts to, and no boolean.
pub(in crate::runtime::tensorrt) const fn poison(element_type: ElementType) -> u8 {
    if element_type.is_float() { 0xff } else { 0xa5 }
}

/// Whether the poison is still there, all of it.
pub(super) fn untouched(bytes: &[u8], element_type: ElementType) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| byte == poison(element_type))
}

/// Keeps in `kept` whichever of `kept` and `candidate` is farther from `first`; a NaN is farthest of all. Sound buffers
/// agree, so the choice matters only when something is wrong, and then shows it.
pub(super) fn keep_worse(first: &Values, kept: &mut Values, candidate: Values) {
    if distance(first, &candidate) > distance(first, kept) {
        *kept = candidate;
    }
}

/// Largest absolute difference; infinite for a NaN or a difference in length.
fn distance(left: &Values, right: &Values) -> f64 {
    if left.len() != right.len() {
        return f64::INFINITY;
    }
    left.to_f64()
        .into_iter()
        .zip(right.to_f64())
        .map(|(left, right)| (left - right).abs())
        .fold(0.0, |worst, next| if next.is_nan() { f64::INFINITY } else { worst.max(next) })
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
    fn poison_is_nan(#[case] element_type: ElementType) {
        let values = Values::decode(element_type, &[poison(element_type); 8]).unwrap();
        assert!(values.to_f32().iter().all(|value| value.is_nan()));
    }

    #[rstest]
    #[case::equal(vec![1.0, 2.0], vec![1.0, 2.0])]
    #[case::farther(vec![1.0, 3.0], vec![1.0, 3.0])]
    #[case::nan(vec![f32::NAN, 2.0], vec![f32::NAN, 2.0])]
    fn the_worst_output_is_kept(#[case] candidate: Vec<f32>, #[case] expected: Vec<f32>) {
        let first = Values::Float32(vec![1.0, 2.0]);
        let mut kept = first.clone();
        keep_worse(&first, &mut kept, candidate.into());
        keep_worse(&first, &mut kept, vec![1.0, 2.5].into());
        let expected = if expected == [1.0, 2.0] { vec![1.0, 2.5] } else { expected };
        assert!(kept.is_bit_equal(&expected.into()), "{kept:?}");
    }

    #[test]
    fn untouched_means_all_of_it() {
        for element_type in ElementType::HELD {
            let byte = poison(element_type);
            assert!(untouched(&[byte; 8], element_type));
            assert!(!untouched(&[byte, byte, 0], element_type));
            assert!(!untouched(&[], element_type));
        }
        // What engines answer in earnest: -1, and true as any library writes it.
        assert!(!untouched(&[0xff; 8], ElementType::Int64));
        assert!(!untouched(&[1; 8], ElementType::Bool));
    }
}

//! Whether an output was written at all; which of several is the worst.

/// The byte of the poison pattern: as a float of any width it is NaN.
pub(super) const POISON: u8 = 0xff;

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
    use crate::tensor::{ElementType, Values};

    #[rstest]
    #[case(ElementType::Float32)]
    #[case(ElementType::Float16)]
    #[case(ElementType::Bfloat16)]
    fn poison_is_nan(#[case] element_type: ElementType) {
        let values = Values::decode(element_type, &[POISON; 8]).unwrap();
        assert!(values.to_f32().iter().all(|value| value.is_nan()));
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

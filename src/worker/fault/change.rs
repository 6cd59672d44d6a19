//! Faults that change one output of several, by its name: `scale=NAME`, `shift=NAME` and so on.

use crate::tensor::Tensor;

/// What is done to an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Scales its floats by 1 %.
    Scale,
    /// Shifts the first box of the last dimension's rows by 3 to the right, in every sample.
    Shift,
    /// Turns its vectors by 2°, in the planes of each two neighbouring numbers.
    Turn,
    /// Exchanges classes 1 and 2 along the second dimension.
    SwapClasses,
    /// Replaces the first whole number of the sample in the middle.
    Token,
    /// Sets the first number of the sample in the middle to NaN.
    Nan,
}

impl Change {
    /// The change and the name of the output that `what` holds.
    pub(super) fn parse(what: &str) -> Option<(Self, String)> {
        let (change, name) = what.split_once('=')?;
        let change = match change {
            "scale" => Self::Scale,
            "shift" => Self::Shift,
            "turn" => Self::Turn,
            "swap-classes" => Self::SwapClasses,
            "token" => Self::Token,
            "nan" => Self::Nan,
            _ => return None,
        };
        Some((change, name.to_owned()))
    }

    /// Changes `output`, where it holds what the change is about.
    pub(super) fn apply(self, output: &mut Tensor) {
        let (row, width) = (output.row_len().max(1), output.shape.last().copied().unwrap_or(1).max(1));
        let classes = output.shape.get(1).copied().unwrap_or(1).max(1);
        let middle = output.batch() / 2 * row;
        if let Some(tokens) = output.values.as_mut::<i64>() {
            if self == Self::Token {
                tokens.iter_mut().skip(middle).take(1).for_each(|token| *token += 1000);
            }
            return;
        }
        let Some(values) = output.values.as_mut::<f32>() else { return };
        match self {
            Self::Scale => values.iter_mut().for_each(|value| *value *= 1.01),
            Self::Shift => {
                for sample in values.chunks_exact_mut(row) {
                    sample.iter_mut().take(width.min(4)).step_by(2).for_each(|value| *value += 3.0);
                }
            }
            Self::Turn => {
                let (sine, cosine) = 2_f32.to_radians().sin_cos();
                for pair in values.as_chunks_mut::<2>().0 {
                    let [x, y] = *pair;
                    *pair = [x * cosine - y * sine, x * sine + y * cosine];
                }
            }
            Self::SwapClasses if classes > 2 => {
                let each = row / classes;
                for sample in values.chunks_exact_mut(row) {
                    (0..each).for_each(|at| sample.swap(each + at, 2 * each + at));
                }
            }
            Self::Nan => values.iter_mut().skip(middle).take(1).for_each(|value| *value = f32::NAN),
            Self::SwapClasses | Self::Token => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::tensor::Values;

    fn changed(what: &str, shape: &[usize]) -> Vec<f32> {
        let count = shape.iter().product::<usize>();
        let values = (0..count).map(|value| value as f32).collect();
        let mut output = Tensor::float32("y", shape.to_vec(), values).unwrap();
        let (change, name) = Change::parse(what).unwrap();
        assert_eq!(name, "y");
        change.apply(&mut output);
        output.into_floats()
    }

    #[rstest]
    #[case("scale=y", &[1, 2], &[0.0, 1.01])]
    #[case("shift=y", &[2, 1, 6], &[3.0, 1.0, 5.0, 3.0, 4.0, 5.0, 9.0, 7.0, 11.0, 9.0, 10.0, 11.0])]
    #[case("swap-classes=y", &[1, 3, 2], &[0.0, 1.0, 4.0, 5.0, 2.0, 3.0])]
    #[case("swap-classes=y", &[1, 4, 3], &[0.0, 1.0, 2.0, 6.0, 7.0, 8.0, 3.0, 4.0, 5.0, 9.0, 10.0, 11.0])]
    #[case("swap-classes=y", &[1, 2], &[0.0, 1.0])]
    #[case("token=y", &[1, 2], &[0.0, 1.0])]
    fn outputs_change_as_asked(#[case] what: &str, #[case] shape: &[usize], #[case] expected: &[f32]) {
        assert_eq!(changed(what, shape), expected);
    }

    #[test]
    fn vectors_turn_and_one_number_of_the_sample_in_the_middle_is_lost() {
        let turned = changed("turn=y", &[1, 2]);
        assert!((turned[1].atan2(turned[0]).to_degrees() - 92.0).abs() < 1e-3);
        // Each pair for itself, and none becomes longer.
        let turned = changed("turn=y", &[1, 4]);
        let angle = (turned[3].atan2(turned[2]) - 3_f32.atan2(2.0)).to_degrees();
        assert!((angle - 2.0).abs() < 1e-3, "{angle}");
        assert!((turned[2].hypot(turned[3]) - 13_f32.sqrt()).abs() < 1e-5);
        let values = changed("nan=y", &[4, 2]);
        assert_eq!(values.iter().position(|value| value.is_nan()), Some(4));
        let mut ids = Tensor::new("y", vec![2, 2], Values::Int64(vec![1, 2, 3, 4])).unwrap();
        Change::Token.apply(&mut ids);
        assert_eq!(ids.values, Values::Int64(vec![1, 2, 1003, 4]));
        assert_eq!(Change::parse("stretch=y"), None);
    }
}

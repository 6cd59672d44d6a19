//! Values to 8-bit integers and back, as TFLite defines them: `value = scale * (integer - zero_point)`.
//!
//! Source: "TensorFlow Lite 8-bit quantization specification".

use crate::error::{Error, Result};
use crate::tensor::ElementType;

/// Scale and zero point of one tensor, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantization {
    scale: f32,
    zero_point: i32,
    smallest: i32,
    largest: i32,
}

impl Quantization {
    /// The quantisation of a tensor of 8-bit integers.
    ///
    /// # Errors
    ///
    /// `Failed` for a scale that is not finite and positive or a zero point outside the integers' range;
    /// `Unsupported` for integers other than `int8` and `uint8`.
    pub(super) fn new(element_type: ElementType, scale: f32, zero_point: i64) -> Result<Self> {
        let (smallest, largest) = match element_type {
            ElementType::Int8 => (-128, 127),
            ElementType::Uint8 => (0, 255),
            other => return Err(Error::unsupported(format!("quantised tensors of {other} are not understood"))),
        };
        let zero_point = i32::try_from(zero_point).ok().filter(|point| (smallest..=largest).contains(point));
        match zero_point {
            Some(zero_point) if scale.is_finite() && scale > 0.0 => Ok(Self { scale, zero_point, smallest, largest }),
            _ => {
                Err(Error::failed(format!("a scale of {scale} or a zero point outside {element_type} makes no sense")))
            }
        }
    }

    /// The nearest integers, ties to even, saturated, as bytes.
    ///
    /// # Errors
    ///
    /// `Input` for a value that is not finite: saturation would hide it.
    pub(super) fn quantize(self, values: &[f32]) -> Result<Vec<u8>> {
        values
            .iter()
            .map(|&value| {
                if !value.is_finite() {
                    return Err(Error::input(format!("{value} cannot be quantised")));
                }
                // The sum is exact in `f64`, and the conversion saturates; the clamp then fits 8 bits.
                let integer = f64::from((value / self.scale).round_ties_even()) + f64::from(self.zero_point);
                let integer = (integer as i32).clamp(self.smallest, self.largest);
                // Two's complement: the low byte is the 8-bit integer, signed or not.
                Ok(integer.to_le_bytes()[0])
            })
            .collect()
    }

    /// The values of `integers`, which floats hold exactly.
    pub(super) fn dequantize(self, mut integers: Vec<f32>) -> Vec<f32> {
        for value in &mut integers {
            *value = (*value - self.zero_point as f32) * self.scale;
        }
        integers
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::tensor::Values;

    #[rstest]
    #[case(0.5, 0, &[0.25, 0.75, -0.25, 1.0], &[0, 2, 0, 2])]
    #[case(1.0, -128, &[0.0, 255.0, 300.0, -1.0], &[-128, 127, 127, -128])]
    #[case(1e-30, 0, &[1e30, -1e30], &[127, -128])]
    fn integers_round_to_even_and_saturate(
        #[case] scale: f32,
        #[case] zero_point: i64,
        #[case] values: &[f32],
        #[case] expected: &[i8],
    ) {
        let bytes = Quantization::new(ElementType::Int8, scale, zero_point).unwrap().quantize(values).unwrap();
        let integers: Vec<i8> = bytes.into_iter().map(|byte| i8::from_ne_bytes([byte])).collect();
        assert_eq!(integers, expected);
    }

    #[test]
    fn unsigned_integers_use_the_whole_byte() {
        let quantization = Quantization::new(ElementType::Uint8, 1.0, 0).unwrap();
        assert_eq!(quantization.quantize(&[-3.0, 128.0, 255.0, 900.0]).unwrap(), [0, 128, 255, 255]);
    }

    #[rstest]
    #[case(ElementType::Int8, 0.0, 0)]
    #[case(ElementType::Int8, -1.0, 0)]
    #[case(ElementType::Int8, f32::NAN, 0)]
    #[case(ElementType::Int8, f32::INFINITY, 0)]
    #[case(ElementType::Int8, 1.0, 128)]
    #[case(ElementType::Uint8, 1.0, -1)]
    #[case(ElementType::Int8, 1.0, i64::MAX)]
    #[case(ElementType::Int32, 1.0, 0)]
    fn senseless_parameters_are_refused(#[case] kind: ElementType, #[case] scale: f32, #[case] zero_point: i64) {
        assert!(Quantization::new(kind, scale, zero_point).is_err());
    }

    #[rstest]
    #[case(f32::NAN)]
    #[case(f32::INFINITY)]
    fn values_that_are_not_finite_are_refused(#[case] value: f32) {
        let quantization = Quantization::new(ElementType::Int8, 1.0, 0).unwrap();
        assert!(quantization.quantize(&[0.0, value]).is_err());
    }

    proptest! {
        #[test]
        fn values_in_range_come_back_within_half_a_step(
            scale in 1e-4_f32..10.0,
            zero_point in -128_i64..=127,
            step in -128_i32..=127,
            offset in -0.49_f32..0.49,
        ) {
            let quantization = Quantization::new(ElementType::Int8, scale, zero_point).unwrap();
            let value = (step - zero_point as i32) as f32 * scale + offset * scale;
            let bytes = quantization.quantize(&[value]).unwrap();
            let integers = Values::decode(ElementType::Int8, &bytes).unwrap().to_f32().into_owned();
            let back = quantization.dequantize(integers)[0];
            prop_assert!((back - value).abs() <= 0.501 * scale, "{} came back as {}", value, back);
        }
    }
}

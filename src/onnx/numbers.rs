//! The numbers of a stored tensor, in whichever field and type they are stored.

use half::f16;

use super::TensorData;

/// The values of a stored tensor; `None` for types that hold no numbers, or bytes that do not fill the shape.
pub fn numbers(tensor: &TensorData) -> Option<Vec<f64>> {
    let count = tensor.dims.iter().try_fold(1_usize, |count, &size| count.checked_mul(usize::try_from(size).ok()?))?;
    let values: Vec<f64> = match (&tensor.raw_data, tensor.data_type) {
        (Some(raw), 1) => raw.as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect(),
        (Some(raw), 2) => raw.iter().map(|&byte| f64::from(byte)).collect(),
        (Some(raw), 3) => raw.iter().map(|&byte| f64::from(byte.cast_signed())).collect(),
        (Some(raw), 6) => raw.as_chunks::<4>().0.iter().map(|bytes| f64::from(i32::from_le_bytes(*bytes))).collect(),
        (Some(raw), 10) => raw.as_chunks::<2>().0.iter().map(|bytes| f64::from(f16::from_le_bytes(*bytes))).collect(),
        (Some(raw), 11) => raw.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
        (None, 1) => tensor.float_data.iter().map(|&value| f64::from(value)).collect(),
        (None, 2 | 3 | 6) => tensor.int32_data.iter().map(|&value| f64::from(value)).collect(),
        // Halves are stored by their bits.
        (None, 10) => tensor
            .int32_data
            .iter()
            .map(|&bits| u16::try_from(bits).ok().map(|bits| f64::from(f16::from_bits(bits))))
            .collect::<Option<_>>()?,
        _ => return None,
    };
    (values.len() == count).then_some(values)
}

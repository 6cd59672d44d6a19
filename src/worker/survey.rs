//! What values a tensor takes, without sending them all.

use crate::findings::ranges::{BEYOND, NEAR};
use crate::tensor::Tensor;

/// Numbers of an [`Extent`] on the way to the gate.
const NUMBERS: usize = 5;

/// What values one sample's part of a tensor takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Extent {
    /// The finite value of the largest magnitude.
    pub(crate) largest: f32,
    /// Finite values that half precision rounds to infinity.
    pub(crate) beyond: f32,
    /// Finite values within one bit of that, or beyond it.
    pub(crate) near: f32,
    /// Values that are not finite.
    pub(crate) not_finite: f32,
    /// Values.
    pub(crate) values: f32,
}

impl Extent {
    fn of(values: &[f32]) -> Self {
        let mut extent = Self { values: values.len() as f32, ..Self::default() };
        let (mut beyond, mut near, mut not_finite) = (0_usize, 0_usize, 0_usize);
        for &value in values {
            if !value.is_finite() {
                not_finite += 1;
                continue;
            }
            beyond += usize::from(value.abs() >= BEYOND);
            near += usize::from(value.abs() >= NEAR);
            if value.abs() > extent.largest.abs() {
                extent.largest = value;
            }
        }
        (extent.beyond, extent.near, extent.not_finite) = (beyond as f32, near as f32, not_finite as f32);
        extent
    }

    const fn numbers(self) -> [f32; NUMBERS] {
        [self.largest, self.beyond, self.near, self.not_finite, self.values]
    }

    /// Those of a tensor that [`extents`] made.
    pub(super) fn read(values: &[f32]) -> Vec<Self> {
        let read = |&[largest, beyond, near, not_finite, values]: &[f32; NUMBERS]| Self {
            largest,
            beyond,
            near,
            not_finite,
            values,
        };
        values.as_chunks().0.iter().map(read).collect()
    }
}

/// The extents of an output of a run of `batch` samples, one row a sample. A tensor that has not one row a sample goes whole
/// into the first.
pub(super) fn extents(output: &Tensor, batch: usize) -> Tensor {
    let floats = output.floats();
    let row = floats.len() / batch.max(1);
    let by_sample = output.shape.first() == Some(&batch) && row > 0;
    let values = (0..batch).flat_map(|sample| {
        let part = match (by_sample, sample) {
            (true, _) => floats.get(sample * row..(sample + 1) * row),
            (false, 0) => Some(floats.as_ref()),
            (false, _) => None,
        };
        Extent::of(part.unwrap_or_default()).numbers()
    });
    let values: Vec<f32> = values.collect();
    Tensor { name: output.name.clone(), shape: vec![batch, NUMBERS], values: values.into() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn extents_of(shape: &[usize], values: &[f32], batch: usize) -> Vec<Extent> {
        let tensor = Tensor::float32("t", shape.to_vec(), values.to_vec()).unwrap();
        Extent::read(&extents(&tensor, batch).floats())
    }

    #[test]
    fn each_samples_values_are_counted() {
        let values = [1.0, -70000.0, f32::NAN, 65519.0, f32::NEG_INFINITY, -40000.0];
        let found = extents_of(&[2, 3], &values, 2);
        assert_eq!(found[0], Extent { largest: -70000.0, beyond: 1.0, near: 1.0, not_finite: 1.0, values: 3.0 });
        assert_eq!(found[1], Extent { largest: 65519.0, beyond: 0.0, near: 2.0, not_finite: 1.0, values: 3.0 });
    }

    #[test]
    fn what_has_no_row_a_sample_goes_whole_into_the_first() {
        for shape in [&[4][..], &[1, 4], &[4, 1]] {
            let found = extents_of(shape, &[0.0, 65520.0, 3.0, -1.0], 3);
            assert_eq!(found.len(), 3);
            assert_eq!(found[0], Extent { largest: 65520.0, beyond: 1.0, near: 1.0, not_finite: 0.0, values: 4.0 });
            assert_eq!(found[1], Extent::default());
        }
    }

    #[test]
    fn an_empty_tensor_has_no_values() {
        let empty = Tensor::float32("t", vec![2, 0], Vec::new()).unwrap();
        assert_eq!(Extent::read(&extents(&empty, 2).floats()), [Extent::default(); 2]);
    }
}

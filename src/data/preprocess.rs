//! Bytes to model values and back.
//!
//! A byte `b` of channel `c` becomes `(low + b / 255 * (high - low) - mean[c]) / std[c]`, computed in double precision
//! and rounded once. Nothing else in the crate knows this formula.

use crate::error::{Error, Result};
use crate::manifest::{Input, Layout};

/// How the bytes of a sample become the values that the model wants, for one input.
#[derive(Clone, Debug)]
pub struct Preprocess {
    height: usize,
    width: usize,
    channels: usize,
    layout: Layout,
    range: [f64; 2],
    /// One entry for all channels, or one a channel (a feature, for flat vectors).
    mean: Vec<f64>,
    std: Vec<f64>,
    /// Value of each byte, per entry of `mean`.
    tables: Vec<[f32; 256]>,
}

impl Preprocess {
    /// Checks the input's numbers: `mean` and `std` must be empty, of one entry, or of one a channel (a feature, for a
    /// flat vector), everything finite, `std` positive and the range not empty.
    pub fn new(input: &Input) -> Result<Self> {
        let (height, width, channels) = input.image_size();
        let wrong = |what: String| Err(Error::usage(format!("input `{}`: {what}", input.name)));
        if input.shape.is_empty() || height == 0 || width == 0 || channels == 0 {
            return wrong(format!("shape {:?} holds no values", input.shape));
        }
        if input.layout != Layout::Flat && input.shape.len() != 3 {
            return wrong(format!("shape {:?} is not an image's; layout `flat` takes any shape", input.shape));
        }
        let entries = if input.layout == Layout::Flat { width } else { channels };
        for (name, list) in [("mean", &input.mean), ("std", &input.std)] {
            if !matches!(list.len(), 0 | 1) && list.len() != entries {
                return wrong(format!("`{name}` has {} entries, expected {entries}, 1 or none", list.len()));
            }
            if !list.iter().all(|value| value.is_finite()) {
                return wrong(format!("`{name}` is not finite"));
            }
        }
        if input.std.iter().any(|&value| value <= 0.0) {
            return wrong("`std` must be positive".to_owned());
        }
        let range = input.range.map(f64::from);
        let [low, high] = range;
        if !low.is_finite() || !high.is_finite() || low == high {
            return wrong(format!("range {low} to {high} is empty or not finite"));
        }
        let count = input.mean.len().max(input.std.len()).max(1);
        let spread = |list: &[f32], default: f64| -> Vec<f64> {
            (0..count)
                .map(|index| match list {
                    [] => default,
                    [one] => f64::from(*one),
                    list => list.get(index).copied().map_or(default, f64::from),
                })
                .collect()
        };
        let (mean, std) = (spread(&input.mean, 0.0), spread(&input.std, 1.0));
        let tables = mean
            .iter()
            .zip(&std)
            .map(|(mean, std)| {
                std::array::from_fn(|byte| ((low + byte as f64 / 255.0 * (high - low) - mean) / std) as f32)
            })
            .collect();
        Ok(Self { height, width, channels, layout: input.layout, range, mean, std, tables })
    }

    /// Values (and bytes) of one sample.
    pub fn sample_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Planar bytes (channel, row, column: the order of CIFAR-10 records) to values in the model's order, appended to
    /// `values`. `planar` must hold one sample.
    pub fn planar_to_values(&self, planar: &[u8], values: &mut Vec<f32>) {
        match self.layout {
            Layout::Nhwc => {
                let pixels = self.height * self.width;
                let start = values.len();
                values.resize(start + planar.len(), 0.0);
                let Some(target) = values.get_mut(start..) else { return };
                for (channel, plane) in planar.chunks_exact(pixels).enumerate() {
                    let table = self.table(channel);
                    let places = target.iter_mut().skip(channel).step_by(self.channels);
                    for (value, &byte) in places.zip(plane) {
                        *value = lookup(table, byte);
                    }
                }
            }
            Layout::Nchw | Layout::Flat => self.ordered_to_values(planar, values),
        }
    }

    /// Bytes that are already in the model's order to values, appended to `values`.
    pub fn ordered_to_values(&self, bytes: &[u8], values: &mut Vec<f32>) {
        values.extend(bytes.iter().enumerate().map(|(index, &byte)| lookup(self.table(self.entry_of(index)), byte)));
    }

    /// Values in the model's order to the nearest planar bytes: the inverse of
    /// [`planar_to_values`](Self::planar_to_values). A value more than half a step outside the range is an error.
    pub fn values_to_planar(&self, values: &[f32]) -> Result<Vec<u8>> {
        Ok(self.ordered_to_planar(&self.values_to_ordered(values)?))
    }

    /// Bytes in the model's order to planar ones.
    pub fn ordered_to_planar(&self, ordered: &[u8]) -> Vec<u8> {
        if self.layout != Layout::Nhwc {
            return ordered.to_vec();
        }
        (0..self.channels).flat_map(|channel| ordered.iter().skip(channel).step_by(self.channels).copied()).collect()
    }

    /// Planar bytes to those in the model's order.
    pub fn planar_to_ordered(&self, planar: &[u8]) -> Vec<u8> {
        if self.layout != Layout::Nhwc {
            return planar.to_vec();
        }
        let pixels = self.height * self.width;
        (0..pixels).flat_map(|pixel| planar.iter().skip(pixel).step_by(pixels).copied()).collect()
    }

    /// Values to the nearest bytes, both in the model's order.
    fn values_to_ordered(&self, values: &[f32]) -> Result<Vec<u8>> {
        if values.len() != self.sample_len() {
            return Err(Error::input(format!("a sample has {} values, got {}", self.sample_len(), values.len())));
        }
        let [low, high] = self.range;
        let bytes = values.iter().enumerate().map(|(index, &value)| {
            let entry = self.entry_of(index).min(self.mean.len() - 1);
            let (Some(mean), Some(std)) = (self.mean.get(entry), self.std.get(entry)) else {
                return Err(Error::input("a sample without channels"));
            };
            let step = (f64::from(value) * std + mean - low) / (high - low) * 255.0;
            if (-0.5..=255.5).contains(&step) {
                Ok(step.round().clamp(0.0, 255.0) as u8)
            } else {
                Err(Error::input(format!("value {value} at position {index} is outside the input's range"))
                    .hint("check `range`, `mean` and `std` of the manifest's input"))
            }
        });
        bytes.collect()
    }

    /// The entry of `mean` and `std` that value `index` (in the model's order) uses.
    fn entry_of(&self, index: usize) -> usize {
        match self.layout {
            Layout::Nhwc => index % self.channels,
            Layout::Nchw => index / (self.height * self.width),
            Layout::Flat => index,
        }
    }

    fn table(&self, entry: usize) -> Option<&[f32; 256]> {
        self.tables.get(entry).or_else(|| self.tables.first())
    }
}

fn lookup(table: Option<&[f32; 256]>, byte: u8) -> f32 {
    table.and_then(|table| table.get(usize::from(byte))).copied().unwrap_or(f32::NAN)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::data::reader::tests::input;

    #[rstest]
    #[case([0.0, 1.0], &[], &[], [0.0, 128.0 / 255.0, 1.0])]
    #[case([0.0, 255.0], &[], &[], [0.0, 128.0, 255.0])]
    #[case([-1.0, 1.0], &[], &[], [-1.0, 1.0 / 255.0, 1.0])]
    #[case([0.0, 1.0], &[0.5], &[0.25], [-2.0, 2.0 / 255.0, 2.0])]
    fn bytes_map_to_the_range(
        #[case] range: [f32; 2],
        #[case] mean: &[f32],
        #[case] std: &[f32],
        #[case] expected: [f32; 3],
    ) {
        let mut input = input(&[1, 3, 1], Layout::Nhwc);
        (input.range, input.mean, input.std) = (range, mean.to_vec(), std.to_vec());
        let preprocess = Preprocess::new(&input).unwrap();
        let mut values = Vec::new();
        preprocess.planar_to_values(&[0, 128, 255], &mut values);
        approx::assert_relative_eq!(values.as_slice(), expected.as_slice(), max_relative = 1e-5);
    }

    #[test]
    fn nhwc_interleaves_planes_and_nchw_keeps_them() {
        let planar = [1, 2, 3, 4, 11, 12, 13, 14];
        let as_bytes = |input: &Input| {
            let mut values = Vec::new();
            Preprocess::new(input).unwrap().planar_to_values(&planar, &mut values);
            values.iter().map(|value| (value * 255.0).round() as u8).collect::<Vec<_>>()
        };
        assert_eq!(as_bytes(&input(&[2, 2, 2], Layout::Nhwc)), [1, 11, 2, 12, 3, 13, 4, 14]);
        assert_eq!(as_bytes(&input(&[2, 2, 2], Layout::Nchw)), planar);
        assert_eq!(as_bytes(&input(&[8], Layout::Flat)), planar);
    }

    #[rstest]
    #[case::mean_length(|input: &mut Input| input.mean = vec![0.0; 2], "`mean` has 2 entries, expected 3, 1 or none")]
    #[case::zero_std(|input: &mut Input| input.std = vec![0.0], "`std` must be positive")]
    #[case::nan_std(|input: &mut Input| input.std = vec![f32::NAN], "`std` is not finite")]
    #[case::empty_range(|input: &mut Input| input.range = [1.0, 1.0], "range 1 to 1 is empty or not finite")]
    #[case::no_values(|input: &mut Input| input.shape = vec![4, 0, 3], "shape [4, 0, 3] holds no values")]
    #[case::not_an_image(|input: &mut Input| input.shape = vec![4, 4], "shape [4, 4] is not an image's")]
    fn wrong_inputs_are_refused(#[case] spoil: fn(&mut Input), #[case] expected: &str) {
        let mut input = input(&[2, 2, 3], Layout::Nhwc);
        spoil(&mut input);
        let error = Preprocess::new(&input).unwrap_err();
        assert!(error.message.contains(expected), "{error}");
    }

    #[test]
    fn value_outside_the_range_has_no_byte() {
        let preprocess = Preprocess::new(&input(&[1, 1, 1], Layout::Nhwc)).unwrap();
        assert_eq!(preprocess.values_to_planar(&[1.001]).unwrap(), [255]);
        for value in [1.01, -0.01, f32::NAN] {
            assert!(preprocess.values_to_planar(&[value]).is_err());
        }
    }

    proptest! {
        #[test]
        fn bytes_survive_the_way_there_and_back(
            planar in proptest::collection::vec(any::<u8>(), 12),
            layout in prop_oneof![Just(Layout::Nhwc), Just(Layout::Nchw), Just(Layout::Flat)],
            low in -2.0f32..1.0, span in 0.5f32..300.0, mean in -1.0f32..1.0, std in 0.1f32..5.0,
        ) {
            let shape: &[usize] = match layout {
                Layout::Nhwc => &[2, 2, 3],
                Layout::Nchw => &[3, 2, 2],
                Layout::Flat => &[12],
            };
            let mut input = input(shape, layout);
            (input.range, input.mean, input.std) = ([low, low + span], vec![mean], vec![std]);
            let preprocess = Preprocess::new(&input).unwrap();
            let mut values = Vec::new();
            preprocess.planar_to_values(&planar, &mut values);
            prop_assert_eq!(&preprocess.values_to_planar(&values).unwrap(), &planar);
            prop_assert_eq!(preprocess.ordered_to_planar(&preprocess.planar_to_ordered(&planar)), planar);
        }
    }
}

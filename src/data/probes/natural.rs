//! Natural samples: pictures as they come from the generator, none searched, bred or placed at a decision boundary.
//!
//! They say how far ahead the reference's answers usually are, which samples chosen for their margins cannot say.

use std::ops::Range;

use super::family::Generator;
use crate::data::preprocess::Preprocess;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::tensor::Tensor;

/// Rises when the same numbers give other pictures: whatever was stored of them is made again.
pub const NATURAL_VERSION: u32 = 1;

/// Natural samples by number, in a stream that neither probes nor calibration samples are drawn from, whatever their seeds.
#[derive(Debug)]
pub struct NaturalSamples {
    generator: Generator,
    preprocess: Preprocess,
    name: String,
    shape: Vec<usize>,
}

impl NaturalSamples {
    /// The natural samples of the manifest's input.
    ///
    /// # Errors
    /// If the manifest's input cannot be filled from bytes.
    pub fn new(manifest: &Manifest) -> Result<Self> {
        Ok(Self {
            generator: Generator::natural(&manifest.input),
            preprocess: Preprocess::new(&manifest.input)?,
            name: manifest.input.name.clone(),
            shape: manifest.input.shape.clone(),
        })
    }

    /// Values of one sample.
    pub fn sample_len(&self) -> usize {
        self.preprocess.sample_len()
    }

    /// The samples of these numbers as a batch of the model's input.
    ///
    /// # Errors
    /// If there are none.
    pub fn tensor(&self, numbers: Range<u64>) -> Result<Tensor> {
        let count = usize::try_from(numbers.end.saturating_sub(numbers.start)).unwrap_or(0);
        let mut values = Vec::with_capacity(count * self.sample_len());
        for number in numbers {
            self.preprocess.planar_to_values(&self.generator.bytes(number), &mut values);
        }
        Tensor::float32(&self.name, [&[count], self.shape.as_slice()].concat(), values)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::probes::random::Purpose;
    use crate::data::probes::tests::manifest;

    #[test]
    fn natural_samples_are_the_same_however_they_are_cut() {
        let samples = NaturalSamples::new(&manifest(&[8, 8, 3], 10)).unwrap();
        let whole = samples.tensor(0..48).unwrap();
        assert_eq!(whole.shape, [48, 8, 8, 3]);
        assert_eq!(whole.row(17).unwrap(), samples.tensor(17..18).unwrap().row(0).unwrap());
    }

    #[test]
    fn they_share_nothing_with_probes_or_calibration() {
        let manifest = manifest(&[8, 8, 3], 10);
        let natural = Generator::natural(&manifest.input);
        let known: std::collections::HashSet<Vec<u8>> = (0..64).map(|number| natural.bytes(number)).collect();
        for seed in [0, 1, 2, 7] {
            for purpose in [Purpose::Picture, Purpose::Calibration] {
                let other = Generator::new(&manifest.input, seed, purpose);
                assert!((0..256).all(|number| !known.contains(&other.bytes(number))), "seed {seed}");
            }
        }
    }
}

//! The optimization profile: which batch sizes an engine accepts.

use crate::error::{Error, Result};
use crate::manifest::EngineOptions;
use crate::runtime::tensorrt::capabilities;
use crate::runtime::tensorrt::result::{Builder, Config, Network, NetworkTensor};

/// The batch sizes of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchRange {
    /// The model was exported with this batch.
    Fixed(u32),
    /// Smallest, preferred, largest.
    Dynamic([u32; 3]),
}

impl BatchRange {
    /// What `network` and `options` say together.
    ///
    /// # Errors
    ///
    /// When a dimension other than the first is dynamic, when inputs disagree, and when the options' range is empty.
    pub fn of(network: &Network, options: &EngineOptions) -> Result<Self> {
        Self::from_inputs(&network.inputs()?, options)
    }

    fn from_inputs(inputs: &[NetworkTensor], options: &EngineOptions) -> Result<Self> {
        let mut batches = Vec::new();
        for input in inputs {
            let mut extents = input.shape.iter();
            let first = extents.next().copied();
            if let Some(position) = extents.position(|extent| *extent < 0) {
                return Err(Error::input(format!(
                    "input `{}` has a dynamic dimension {}: only the batch may be dynamic",
                    input.name,
                    position + 1
                ))
                .hint("fix the other sizes in the file; `trtgate export --only onnx-plain` writes it with those of the manifest"));
            }
            batches.extend(first);
        }
        let dynamic = batches.iter().any(|batch| *batch < 0);
        match (dynamic, batches.first().copied()) {
            (true, _) if batches.iter().any(|batch| *batch >= 0) => {
                Err(Error::input("some inputs have a dynamic batch, others a fixed one")
                    .hint("export the model with one batch dimension for all inputs"))
            }
            (true, _) => {
                let range = [options.min_batch, options.opt_batch, options.max_batch];
                if range[0] == 0 || range[0] > range[1] || range[1] > range[2] {
                    return Err(Error::input(format!(
                        "the network has a dynamic batch, but the profile {} ≤ {} ≤ {} is empty",
                        range[0], range[1], range[2]
                    ))
                    .hint("give `[engine] min-batch` ≥ 1, `[engine] opt-batch` and `[engine] max-batch` in this order, or export a fixed batch"));
                }
                Ok(Self::Dynamic(range))
            }
            (false, first) => Ok(Self::Fixed(first.and_then(|batch| u32::try_from(batch).ok()).unwrap_or(1))),
        }
    }

    /// The batch that tactics are chosen for.
    pub fn preferred(self) -> u32 {
        match self {
            Self::Fixed(batch) | Self::Dynamic([_, batch, _]) => batch,
        }
    }
}

/// Adds the profiles to `config`: one, or `options.profiles` equal ones where every context takes its own. Returns them.
pub fn add(
    builder: &Builder,
    config: &mut Config,
    network: &Network,
    range: BatchRange,
    options: &EngineOptions,
) -> Result<Vec<[u32; 3]>> {
    let BatchRange::Dynamic(range) = range else { return Ok(Vec::new()) };
    let shared = capabilities::contexts_share_profiles(builder.library().family());
    let count = if shared { 1 } else { options.profiles.max(1) };
    for _ in 0..count {
        let profile = builder.profile()?;
        for input in network.inputs()? {
            let shapes = range.map(|batch| with_batch(&input.shape, batch));
            profile.set_range(&input.name, [&shapes[0], &shapes[1], &shapes[2]])?;
        }
        config.add_profile(profile)?;
    }
    Ok(vec![range; count as usize])
}

/// `shape` with its first extent replaced.
pub fn with_batch(shape: &[i64], batch: u32) -> Vec<i64> {
    std::iter::once(i64::from(batch)).chain(shape.iter().skip(1).copied()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::tensor::ElementType;

    fn input(shape: &[i64]) -> NetworkTensor {
        NetworkTensor { name: "x".to_owned(), element_type: ElementType::Float32, shape: shape.to_vec() }
    }

    #[test]
    fn a_dynamic_batch_takes_the_options_range() {
        let range = BatchRange::from_inputs(&[input(&[-1, 32, 32, 3])], &EngineOptions::default()).unwrap();
        assert_eq!(range, BatchRange::Dynamic([1, 16, 32]));
        assert_eq!(with_batch(&[-1, 32, 32, 3], 16), [16, 32, 32, 3]);
    }

    #[test]
    fn a_fixed_batch_needs_no_profile() {
        let options = EngineOptions { min_batch: 0, opt_batch: 0, max_batch: 0, ..EngineOptions::default() };
        assert_eq!(BatchRange::from_inputs(&[input(&[8, 3])], &options).unwrap(), BatchRange::Fixed(8));
    }

    #[rstest]
    #[case::inner(&[-1, -1, 32, 3], EngineOptions::default(), "dynamic dimension 1")]
    #[case::no_profile(&[-1, 3], EngineOptions { min_batch: 0, opt_batch: 0, max_batch: 0, ..EngineOptions::default() }, "is empty")]
    #[case::disordered(&[-1, 3], EngineOptions { min_batch: 4, opt_batch: 2, ..EngineOptions::default() }, "is empty")]
    fn what_no_profile_can_describe_is_refused(
        #[case] shape: &[i64],
        #[case] options: EngineOptions,
        #[case] words: &str,
    ) {
        let error = BatchRange::from_inputs(&[input(shape)], &options).unwrap_err();
        assert!(error.message.contains(words), "{error}");
        assert!(error.hint.is_some());
    }

    #[test]
    fn inputs_must_agree_about_the_batch() {
        assert!(BatchRange::from_inputs(&[input(&[-1, 3]), input(&[2, 3])], &EngineOptions::default()).is_err());
    }
}

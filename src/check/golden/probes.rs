//! The probes of a golden: the samples themselves, and how they become what the model is fed with.

use serde::{Deserialize, Serialize};

use super::Typed;
use crate::manifest::{Input, Layout};

/// How stored samples become what the model is fed with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "encoding", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reading {
    /// Bytes, planes of channels, row by row: scaled to `range`, less `mean`, over `std`, in the order of `layout`.
    Bytes {
        /// Shape of one sample as the model takes it.
        shape: Vec<usize>,
        /// Order of its dimensions.
        layout: Layout,
        /// Values that bytes 0 and 255 stand for.
        range: [f32; 2],
        /// Subtracted; empty means 0.
        mean: Vec<f32>,
        /// Divides; empty means 1.
        std: Vec<f32>,
    },
    /// The values themselves.
    Values,
}

impl Reading {
    /// How the manifest's input reads bytes.
    pub fn of(input: &Input) -> Self {
        Self::Bytes {
            shape: input.shape.clone(),
            layout: input.layout,
            range: input.range,
            mean: input.mean.clone(),
            std: input.std.clone(),
        }
    }

    /// In what `now` reads bytes otherwise, in the manifest's words; `None` where it does not, or where one of the two are values,
    /// which are not read in any way.
    pub fn difference(&self, now: &Self) -> Option<String> {
        let (
            Self::Bytes { shape, layout, range, mean, std },
            Self::Bytes {
                shape: other_shape,
                layout: other_layout,
                range: other_range,
                mean: other_mean,
                std: other_std,
            },
        ) = (self, now)
        else {
            return None;
        };
        let mut parts = Vec::new();
        let mut part = |name: &str, before: String, after: String| {
            if before != after {
                parts.push(format!("`{name}` {before} → {after}"));
            }
        };
        part("shape", format!("{shape:?}"), format!("{other_shape:?}"));
        part("layout", format!("{layout:?}").to_lowercase(), format!("{other_layout:?}").to_lowercase());
        part("range", format!("{range:?}"), format!("{other_range:?}"));
        part("mean", format!("{mean:?}"), format!("{other_mean:?}"));
        part("std", format!("{std:?}"), format!("{other_std:?}"));
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// The samples of one input.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeInput {
    /// The input's name.
    pub name: String,
    /// How its samples are read.
    pub reading: Reading,
    /// Dimension along which samples are stacked; `None` for an input without one.
    pub batch_axis: Option<usize>,
    /// The samples: one tensor with all, or one a sample where their shapes differ.
    pub tensors: Vec<Typed>,
}

/// The probes that a golden was made with.
#[derive(Clone, Debug, PartialEq)]
pub struct Probes {
    /// Digest of the probe set.
    pub sha256: String,
    /// Number of probes.
    pub count: usize,
    /// Number that was asked for, where there was time to make fewer.
    pub asked: Option<usize>,
    /// The seed that they were made from, where they were not a file.
    pub seed: Option<u64>,
    /// What the samples of a model of several inputs were made from, a line each in the same order: what each input is fed, their number and
    /// seed, or the digest of the team's own. Empty where that is not known, as in older files.
    pub made_from: Vec<String>,
    /// The reference's answers, where they are kept with the samples.
    pub labels: Option<Vec<u32>>,
    /// The samples; empty in older files, which name the probe set only.
    pub inputs: Vec<ProbeInput>,
}

//! What probes were made for: a file of them is of use to a manifest that reads samples in the same way.

use serde::{Deserialize, Serialize};

use super::ProbeOptions;
use crate::manifest::{Layout, Manifest, OutputKind};

/// Everything of a manifest that decides which pictures a search finds, but for the model: a changed model answers the
/// same probes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MadeFor {
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Order of its dimensions.
    pub layout: Layout,
    /// Values that bytes 0 and 255 stand for.
    pub range: [f32; 2],
    /// Subtracted; empty means 0.
    pub mean: Vec<f32>,
    /// Divides; empty means 1.
    pub std: Vec<f32>,
    /// Classes.
    pub classes: usize,
    /// What the outputs' values are.
    pub kind: OutputKind,
    /// Seed of the generator.
    pub seed: u64,
    /// Number of probes that were asked for.
    pub count: usize,
    /// Number of probes that there was time for, where these are fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<usize>,
}

impl MadeFor {
    /// What a search for `manifest` with `options` makes probes for.
    pub fn of(manifest: &Manifest, options: &ProbeOptions) -> Self {
        let (input, output) = (&manifest.input, &manifest.output);
        Self {
            shape: input.shape.clone(),
            layout: input.layout,
            range: input.range,
            mean: input.mean.clone(),
            std: input.std.clone(),
            classes: output.classes,
            kind: output.kind,
            seed: options.seed,
            count: options.count,
            drawn: None,
        }
    }

    /// In what `manifest` asks for other probes, in its words. The seed is no reason: it says how a file is made, and
    /// another may have been given when it was.
    pub fn difference(&self, manifest: &Manifest) -> Option<String> {
        let (input, output) = (&manifest.input, &manifest.output);
        let mut parts = Vec::new();
        let mut part = |name: &str, before: String, now: String| {
            if before != now {
                parts.push(format!("`{name}` {before} → {now}"));
            }
        };
        part("shape", format!("{:?}", self.shape), format!("{:?}", input.shape));
        part("layout", format!("{:?}", self.layout).to_lowercase(), format!("{:?}", input.layout).to_lowercase());
        part("range", format!("{:?}", self.range), format!("{:?}", input.range));
        part("mean", format!("{:?}", self.mean), format!("{:?}", input.mean));
        part("std", format!("{:?}", self.std), format!("{:?}", input.std));
        part("classes", self.classes.to_string(), output.classes.to_string());
        part("kind", format!("{:?}", self.kind).to_lowercase(), format!("{:?}", output.kind).to_lowercase());
        if manifest.probes.exact {
            part("count", self.count.to_string(), manifest.probes.count.to_string());
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

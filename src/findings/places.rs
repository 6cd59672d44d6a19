//! Where the manifest names what was gated, for the forms that stand beside its lines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Lines of a manifest, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPlaces {
    /// The manifest, from the uppermost folder of its repository, where it lies in one.
    pub file: String,
    /// Line of `[model]`.
    pub model: usize,
    /// Line of `[require]`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<usize>,
    /// Line that names a library in a precision, `onnxruntime/fp16`, or the library alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cells: BTreeMap<String, usize>,
}

impl ManifestPlaces {
    /// The line that `library` in `precision` stands for: the precision's, the library's, or that of `[model]`.
    pub fn of(&self, library: &str, precision: &str) -> usize {
        let named = self.cells.get(&format!("{library}/{precision}")).or_else(|| self.cells.get(library));
        named.copied().unwrap_or(self.model).max(1)
    }
}

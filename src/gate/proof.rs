//! The proof of precision beside what the model itself holds.

use std::sync::OnceLock;

use crate::check::precision::{self, PrecisionProof};
use crate::manifest::ModelSource;
use crate::runtime::onnxruntime;
use crate::vocabulary::{Layer, Precision};

/// The model itself: what each of its own compute layers runs in, read once, when the layers of a cell alone do not prove its
/// precision.
pub(super) struct Itself<'a> {
    source: &'a ModelSource,
    /// `None` where it cannot be read.
    computed_in: OnceLock<Option<Vec<Option<&'static str>>>>,
}

impl<'a> Itself<'a> {
    pub(super) const fn of(source: &'a ModelSource) -> Self {
        Self { source, computed_in: OnceLock::new() }
    }

    /// As [`precision::prove`]; where the layers alone do not prove the precision, the model is asked what its own compute in: one
    /// may come quantised, in halves or in doubles, or have no convolution and no product at all. One that cannot be read is as FP32.
    pub(super) fn prove(&self, asked: Precision, layers: &[Layer], floor: f64) -> PrecisionProof {
        let proof = precision::prove(asked, layers, floor, None);
        let ModelSource::Onnx { path } = self.source else { return proof };
        if proof.holds() {
            return proof;
        }
        match self.computed_in.get_or_init(|| onnxruntime::computed_in(path).ok()) {
            None => proof,
            Some(own) => precision::prove(asked, layers, floor, Some(own)),
        }
    }
}

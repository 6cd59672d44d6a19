//! The proof of precision beside what the model itself holds.

use crate::check::precision::{self, PrecisionProof};
use crate::manifest::ModelSource;
use crate::runtime::onnxruntime;
use crate::vocabulary::{Layer, Precision};

/// As [`precision::prove`]; where the layers alone do not prove the precision, a model that comes quantised is asked how many of
/// its own compute in integers. One that cannot be read has none.
pub(super) fn prove(source: &ModelSource, asked: Precision, layers: &[Layer], floor: f64) -> PrecisionProof {
    let proof = precision::prove(asked, layers, floor, 0);
    let ModelSource::Onnx { path } = source else { return proof };
    if proof.holds() {
        return proof;
    }
    match onnxruntime::integers(path) {
        Ok(0) | Err(_) => proof,
        Ok(own) => precision::prove(asked, layers, floor, own),
    }
}

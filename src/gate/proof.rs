//! The proof of precision beside what the model itself holds.

use crate::check::precision::{self, PrecisionProof};
use crate::manifest::ModelSource;
use crate::runtime::onnxruntime;
use crate::vocabulary::{Layer, Precision};

/// As [`precision::prove`]; where the layers alone do not prove the precision, the model is asked what its own compute in: one may
/// come quantised, in halves or in doubles, or have no convolution and no product at all. One that cannot be read is as FP32.
pub(super) fn prove(source: &ModelSource, asked: Precision, layers: &[Layer], floor: f64) -> PrecisionProof {
    let proof = precision::prove(asked, layers, floor, None);
    let ModelSource::Onnx { path } = source else { return proof };
    if proof.holds() {
        return proof;
    }
    match onnxruntime::computed_in(path) {
        Err(_) => proof,
        Ok(own) => precision::prove(asked, layers, floor, Some(&own)),
    }
}

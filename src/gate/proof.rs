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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prost::Message as _;

    use super::*;
    use crate::onnx::samples::{graph, model, node, value};

    fn layer(precision: &str) -> Layer {
        Layer { outputs: vec!["y".to_owned()], ..Layer::heavy("conv", "Conv", precision.parse().unwrap()) }
    }

    /// Layers that prove a precision alone need no model; where they do not, one without a product at all has nothing to prove.
    #[test]
    fn the_model_is_read_where_its_layers_do_not_prove_the_precision() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let source = ModelSource::Onnx { path: path.clone() };
        let write = |operator: &str| {
            let (input, output) = (vec![value("x", Some(1))], vec![value("y", Some(1))]);
            let made = model(graph(input, vec![node(operator, "x x", "y")], output));
            std::fs::write(&path, made.encode_to_vec()).unwrap();
        };
        let prove = |source: &ModelSource, layers: &[Layer]| Itself::of(source).prove(Precision::Fp16, layers, 0.5);
        assert!(prove(&source, &[layer("fp16")]).holds(), "there is no file to be read");
        assert!(!prove(&source, &[layer("fp32")]).holds() && !prove(&source, &[]).none);
        write("Add");
        assert!(prove(&source, &[]).none && !prove(&source, &[layer("fp16")]).none, "nothing computes in it");
        write("MatMul");
        assert!(!prove(&source, &[]).none && !prove(&source, &[layer("fp32")]).holds());
        // Of a model that is no graph nothing more is known; and it is read once.
        write("Add");
        assert!(!prove(&ModelSource::Tflite { path: path.clone() }, &[]).none);
        let itself = Itself::of(&source);
        assert!(itself.prove(Precision::Fp16, &[], 0.5).none);
        write("MatMul");
        assert!(itself.prove(Precision::Fp16, &[], 0.5).none);
    }
}

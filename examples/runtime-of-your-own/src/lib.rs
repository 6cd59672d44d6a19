//! A network as a board runs it: written by hand, its weights in a file. The gate holds it to the model that it came from.

use std::collections::BTreeMap;

use trtgate::driver::{Artifact, ElementType, Feeds, Layer, Runtime, Session, Signature, Tensor, TensorSpec};
use trtgate::{Error, Precision, Result};

/// The runtime, `own@handwritten` in the gate.
pub struct Handwritten;

impl Runtime for Handwritten {
    fn name(&self) -> &'static str {
        "handwritten"
    }

    fn version(&self) -> Result<String> {
        Ok(env!("CARGO_PKG_VERSION").to_owned())
    }

    // A binding of an engine would load `artifact.path`; this network has its own file, which tests find beside `Cargo.toml`.
    fn open(&self, _artifact: &Artifact<'_>) -> Result<Box<dyn Session>> {
        let wrong = |what: String| Error::input(format!("cannot read `weights.toml`: {what}"));
        let text = std::fs::read_to_string("weights.toml").map_err(|error| wrong(error.to_string()))?;
        let mut arrays: BTreeMap<String, Vec<Vec<f32>>> =
            toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let mut take = |name: &str| arrays.remove(name).ok_or_else(|| wrong(format!("it has no `{name}`")));
        let (weights, bias) = (take("weights")?, take("bias")?.concat());
        let spec = |name: &str, values: usize| TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Float32,
            shape: vec![None, Some(values)],
        };
        let signature = Signature { inputs: vec![spec("x", weights.len())], outputs: vec![spec("scores", bias.len())] };
        Ok(Box::new(Network { weights, bias, signature }))
    }
}

struct Network {
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
    signature: Signature,
}

impl Session for Network {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, feeds: &Feeds) -> Result<Vec<Tensor>> {
        let input = feeds.tensors().find(|input| input.name == "x").ok_or_else(|| Error::input("`x` is not fed"))?;
        let mut scores = Vec::with_capacity(input.batch() * self.bias.len());
        for sample in input.floats().chunks(self.weights.len()) {
            scores.extend(self.bias.iter().enumerate().map(|(class, bias)| {
                let products = sample.iter().zip(&self.weights).map(|(value, row)| value * row[class]);
                products.sum::<f32>() + bias
            }));
        }
        Ok(vec![Tensor::float32("scores", vec![input.batch(), self.bias.len()], scores)?])
    }

    // What proves that the cell computes in the precision that it claims.
    fn layers(&mut self) -> Result<Option<Vec<Layer>>> {
        Ok(Some(vec![Layer::heavy("scores", "Gemm", Precision::Fp32)]))
    }
}

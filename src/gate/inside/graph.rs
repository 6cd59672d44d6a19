//! The two graphs that are walked: what FP32 computes in order, and where the artifact of the cell holds the same tensors.

use std::collections::{BTreeMap, BTreeSet};

use crate::gate::inside::constants;
use crate::onnx::{Graph, Model, Node, TensorData};

/// One tensor that depends on the samples, in the order of the FP32 graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The tensor.
    pub(crate) tensor: String,
    /// The layer that makes it; the tensor's own name where the node has none.
    pub(crate) layer: String,
    /// Its operator, `Input` for the model's input.
    pub(crate) operator: String,
    /// Tensors it reads that depend on the samples.
    pub(crate) inputs: Vec<String>,
    /// Stored tensors that it reads: weights, biases.
    pub(crate) constants: Vec<String>,
    /// Layers that read it.
    pub(crate) readers: Vec<String>,
}

/// The steps of `model`: its input first, then every output of a node that depends on it.
pub(crate) fn steps(model: &Model, input: &str) -> Vec<Step> {
    steps_from(model, &[input])
}

/// The steps of `model`: its inputs first, in this order, then every output of a node that depends on one.
pub(crate) fn steps_from(model: &Model, inputs: &[&str]) -> Vec<Step> {
    let empty = Graph::default();
    let graph = model.graph.as_ref().unwrap_or(&empty);
    let stored: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut readers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for node in &graph.node {
        for name in &node.input {
            readers.entry(name).or_default().push(layer_name(node));
        }
    }
    let read_by = |name: &str| readers.get(name).cloned().unwrap_or_default();
    let input = |name: &&str| Step {
        tensor: (*name).to_owned(),
        layer: (*name).to_owned(),
        operator: "Input".to_owned(),
        inputs: Vec::new(),
        constants: Vec::new(),
        readers: read_by(name),
    };
    let mut steps: Vec<Step> = inputs.iter().map(input).collect();
    let mut depends: BTreeSet<&str> = inputs.iter().copied().collect();
    for node in &graph.node {
        let inputs: Vec<String> = node.input.iter().filter(|name| depends.contains(name.as_str())).cloned().collect();
        if inputs.is_empty() {
            continue;
        }
        depends.extend(node.output.iter().map(String::as_str));
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            steps.push(Step {
                tensor: output.clone(),
                layer: layer_name(node),
                operator: node.op_type.clone(),
                inputs: inputs.clone(),
                constants: node.input.iter().filter(|name| stored.contains(name.as_str())).cloned().collect(),
                readers: read_by(output),
            });
        }
    }
    steps
}

fn layer_name(node: &Node) -> String {
    if node.name.is_empty() { node.output.first().cloned().unwrap_or_default() } else { node.name.clone() }
}

/// A `QuantizeLinear` and the `DequantizeLinear` that reads it, on a tensor that depends on the samples.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair {
    /// Name of the quantising node.
    pub(crate) name: String,
    /// What is quantised.
    pub(crate) before: String,
    /// What comes out.
    pub(crate) after: String,
    /// The quantised tensors in between.
    pub(crate) between: Vec<String>,
    /// Scale of the quantising node, where it is stored and one number.
    pub(crate) scale: Option<f64>,
    /// Scale of the dequantising node, likewise.
    pub(crate) scale_after: Option<f64>,
    /// Largest multiple of the scale that is told apart, on the side that the calibration reckons with.
    pub(crate) levels: f64,
}

/// Where an artifact's graph holds the tensors of the FP32 graph.
#[derive(Debug, Default)]
pub(crate) struct Counterparts {
    /// Names that the artifact makes itself.
    pub(crate) made: BTreeSet<String>,
    /// Pairs by the FP32 tensor that they stand on.
    pub(crate) pairs: BTreeMap<String, Pair>,
    /// What pairs quantise that is no tensor of the FP32 graph.
    pub(crate) strangers: BTreeSet<String>,
}

impl Counterparts {
    /// Finds them in `model` for the FP32 tensors of `steps`.
    pub(crate) fn of(model: &Model, steps: &[Step]) -> Self {
        let empty = Graph::default();
        let graph = model.graph.as_ref().unwrap_or(&empty);
        let known: BTreeSet<&str> = steps.iter().map(|step| step.tensor.as_str()).collect();
        let stored: BTreeMap<&str, &TensorData> =
            graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let makers: BTreeMap<&str, &Node> =
            graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect();
        let mut found =
            Self { made: graph.node.iter().flat_map(|node| node.output.iter().cloned()).collect(), ..Self::default() };
        for node in graph.node.iter().filter(|node| node.op_type == "DequantizeLinear") {
            let Some((quantize, between)) = quantizer(node, &makers) else { continue };
            let (Some(before), Some(after)) = (quantize.input.first(), node.output.first()) else { continue };
            if stored.contains_key(before.as_str()) {
                continue;
            }
            let Some(base) = base_name(quantize, after, &known) else {
                found.strangers.insert(before.clone());
                continue;
            };
            let scalar = |node: &Node| node.input.get(1).and_then(|name| constants::scalar(stored.get(name.as_str())?));
            let pair = Pair {
                name: layer_name(quantize),
                before: before.clone(),
                after: after.clone(),
                between,
                scale: scalar(quantize),
                scale_after: scalar(node),
                levels: levels(quantize, &stored),
            };
            found.pairs.entry(base.to_owned()).or_insert(pair);
        }
        found
    }
}

/// The quantising node in front of a dequantising one, and the tensors between the two; a clip may stand there.
fn quantizer<'a>(node: &'a Node, makers: &BTreeMap<&str, &'a Node>) -> Option<(&'a Node, Vec<String>)> {
    let mut between = vec![node.input.first()?.clone()];
    let mut maker = makers.get(node.input.first()?.as_str()).copied()?;
    while maker.op_type == "Clip" {
        between.push(maker.input.first()?.clone());
        maker = makers.get(maker.input.first()?.as_str()).copied()?;
    }
    (maker.op_type == "QuantizeLinear").then_some((maker, between))
}

/// The FP32 tensor that a pair stands on. Quantisers name a pair after its tensor; one that clips at zero may read the
/// tensor in front of a ReLU and stand for the ReLU's own.
fn base_name<'a>(quantize: &'a Node, after: &'a str, known: &BTreeSet<&str>) -> Option<&'a str> {
    let named = quantize.output.first().and_then(|name| name.strip_suffix("_QuantizeLinear_Output"));
    let candidates =
        [named, after.strip_suffix("_DequantizeLinear_Output"), quantize.input.first().map(String::as_str)];
    candidates.into_iter().flatten().find(|name| known.contains(name))
}

/// Multiples of the scale that a symmetric calibration spreads the range over: 127 for 8 bits, also where unsigned ones
/// are shifted by their middle or clipped there; 32767 for 16 bits.
fn levels(quantize: &Node, stored: &BTreeMap<&str, &TensorData>) -> f64 {
    match quantize.input.get(2).and_then(|name| stored.get(name.as_str())).map(|tensor| tensor.data_type) {
        Some(4 | 5) => 32767.0,
        _ => 127.0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::float_cmp)]
    use super::*;
    use crate::gate::inside::samples_of_graphs::{fp32, quantised, quantised_for_cpus};

    #[test]
    fn steps_follow_the_graph_and_leave_constants_out() {
        let steps = steps(&fp32(), "x");
        let names: Vec<&str> = steps.iter().map(|step| step.tensor.as_str()).collect();
        assert_eq!(names, ["x", "conv:0", "relu:0", "logits"]);
        assert_eq!(steps[1].constants, ["w", "b"]);
        assert_eq!(steps[1].inputs, ["x"]);
        assert_eq!(steps[2].readers, ["dense"]);
        assert_eq!(steps[3].operator, "MatMul");
    }

    #[test]
    fn a_pair_is_found_by_the_tensor_it_stands_on() {
        let steps = steps(&fp32(), "x");
        let found = Counterparts::of(&quantised(0.5), &steps);
        assert_eq!(found.pairs.keys().collect::<Vec<_>>(), ["relu:0", "x"]);
        let pair = &found.pairs["relu:0"];
        assert_eq!((pair.before.as_str(), pair.after.as_str()), ("relu:0", "relu:0_DequantizeLinear_Output"));
        assert_eq!((pair.scale, pair.scale_after, pair.levels), (Some(0.5), Some(0.5), 127.0));
        assert!(found.made.contains("conv:0"));
    }

    /// A symmetric calibration spreads over 127 steps of eight bits, and 32767 of sixteen.
    #[test]
    fn the_steps_of_a_pair_are_those_of_its_type() {
        let of = |data_type: Option<i32>| {
            let zero =
                TensorData { name: "zero".to_owned(), data_type: data_type.unwrap_or(0), ..TensorData::default() };
            let stored = data_type.iter().map(|_| ("zero", &zero)).collect();
            let node = Node { input: ["x", "scale", "zero"].map(str::to_owned).to_vec(), ..Node::default() };
            levels(&node, &stored)
        };
        // Unsigned and signed: 2 and 3 are of eight bits, 4 and 5 of sixteen.
        assert_eq!([2, 3, 4, 5].map(|kind| of(Some(kind))), [127.0, 127.0, 32767.0, 32767.0]);
        assert_eq!(of(None), 127.0);
    }

    #[test]
    fn a_pair_on_an_unknown_tensor_is_a_stranger() {
        let steps: Vec<Step> = steps(&fp32(), "x").into_iter().filter(|step| step.tensor != "relu:0").collect();
        let found = Counterparts::of(&quantised(0.5), &steps);
        assert_eq!(found.pairs.keys().collect::<Vec<_>>(), ["x"]);
        assert_eq!(found.strangers.iter().collect::<Vec<_>>(), ["relu:0"]);
    }

    #[test]
    fn a_pair_that_is_the_relu_stands_on_the_relus_tensor() {
        let steps = steps(&fp32(), "x");
        let found = Counterparts::of(&quantised_for_cpus(0.5), &steps);
        assert_eq!(found.pairs["relu:0"].before, "conv:0");
        assert!(!found.made.contains("relu:0"));
    }
}

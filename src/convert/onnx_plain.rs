//! ONNX FP32 → ONNX FP32 as the other converters and the checks want it: functions inlined, operator set 13 or newer, weights stored
//! and none among the inputs, batch normalisations folded into the products in front of them, and the manifest's sizes in place of
//! open ones. A file that is so already is taken as it is.
//!
//! The model itself is what answers for the reference and what runs in FP32: a fault of this step shows in every FP16 and
//! INT8 cell.
//!
//! Folding before halving was decided by measurement: 24 random networks of each kind with four or eight convolutions, each
//! with a batch normalisation of its own statistics, every tensor rounded to a half; signal over noise of the logits, dB:
//!
//! | batch normalisation | not folded: median, worst | folded: median, worst | folded is better | largest loss |
//! |---|---|---|---|---|
//! | means below one deviation | 46.7, 42.3 | 48.0, 45.3 | 17 of 24 | 1.6 |
//! | means of ten deviations | 29.4, 25.3 | 48.4, 44.6 | 24 of 24 | |
//! | means of a hundred deviations | 10.4, 2.4 | 48.6, 44.2 | 24 of 24 | |
//! | variances down to 1e-8 | −4.8, −9.8 | 47.6, 42.2 | 24 of 24 | |
//! | variances up to 1e5 | 39.3, 3.6 | 48.1, 42.4 | 20 of 24 | 2.2 |
//! | scales of 1e-6 in four of ten channels | 45.4, 39.2 | 46.7, 40.9 | 17 of 24 | 4.4 |

use std::collections::BTreeSet;

use crate::convert::artifact::{Artifact, Conversion, Work, text_of};
use crate::convert::script::Script;
use crate::error::Result;
use crate::manifest::Input;
use crate::onnx::{self, Dimension, Graph, Model, OperatorSet};
use crate::vocabulary::ArtifactKind;

const SCRIPT: Script = Script { name: "onnx_plain.py", text: include_str!("python/onnx_plain.py") };

/// The oldest operator set whose pairs have an axis.
const OLDEST: i64 = 13;

/// Products that a batch normalisation behind them can be folded into.
const FOLDS: [&str; 3] = ["Conv", "ConvTranspose", "Gemm"];

pub(super) fn convert(work: &Work<'_>, source: Artifact) -> Result<Artifact> {
    let input = &work.manifest.input;
    if is_plain(&onnx::read(&source.path)?, input) {
        return Ok(source);
    }
    let sizes: Vec<String> = input.shape.iter().map(usize::to_string).collect();
    let conversion = Conversion {
        name: "onnx-plain",
        script: SCRIPT,
        source: &source,
        options: vec![("batch", input.fixed_batch.unwrap_or(0).to_string()), ("sizes", sizes.join(","))],
        digests: Vec::new(),
        paths: vec![("source", text_of(&source.path)?)],
    };
    work.convert(&conversion, ArtifactKind::OnnxPlain, "model.onnx", |folder| {
        onnx::read(&folder.join("model.onnx")).map(|_| ())
    })
}

/// Whether nothing is to be done for `model`.
fn is_plain(model: &Model, input: &Input) -> bool {
    let Some(graph) = &model.graph else { return true };
    let stored: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let version = model.opset_import.iter().find(|set| set.is_standard()).map_or(0, |set: &OperatorSet| set.version);
    version >= OLDEST
        && model.functions.is_empty()
        && !graph.input.iter().any(|value| stored.contains(value.name.as_str()))
        && !has_foldable(graph)
        && !has_constant_nodes_for_weights(graph)
        && graph.input.iter().all(|value| value.name != input.name || is_pinned(&dimensions(value), input))
        && graph.input.iter().chain(&graph.output).all(|value| !dimensions(value).iter().any(is_negative))
}

fn dimensions(value: &onnx::ValueInfo) -> Vec<Dimension> {
    let tensor = value.kind.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    tensor.and_then(|tensor| tensor.shape.as_ref()).map(|shape| shape.dim.clone()).unwrap_or_default()
}

/// Whether a size is written as -1, which stands for an open one.
fn is_negative(size: &Dimension) -> bool {
    size.dim_value.is_some_and(|size| size < 0)
}

/// Whether the input's sizes are open only where the manifest leaves them open: the batch, unless it is fixed.
fn is_pinned(dimensions: &[Dimension], input: &Input) -> bool {
    let [batch, sizes @ ..] = dimensions else { return true };
    let rank_fits = sizes.len() == input.shape.len();
    (input.fixed_batch.is_none() || batch.size().is_some())
        && (!rank_fits || sizes.iter().all(|size| size.size().is_some()))
}

/// Whether a product reads weights out of a `Constant` node.
fn has_constant_nodes_for_weights(graph: &Graph) -> bool {
    let made = |node: &onnx::Node| node.output.first().cloned();
    let constants: BTreeSet<String> =
        graph.node.iter().filter(|node| node.op_type == "Constant").filter_map(made).collect();
    let mut products = graph.node.iter().filter(|node| onnx::COMPUTE.contains(&node.op_type.as_str()));
    products.any(|node| node.input.iter().any(|name| constants.contains(name)))
}

/// Whether a batch normalisation stands behind a product.
fn has_foldable(graph: &Graph) -> bool {
    let products: BTreeSet<&str> = graph
        .node
        .iter()
        .filter(|node| FOLDS.contains(&node.op_type.as_str()))
        .flat_map(|node| node.output.iter().map(String::as_str))
        .collect();
    let mut normalisations = graph.node.iter().filter(|node| node.op_type == "BatchNormalization");
    normalisations.any(|node| node.input.first().is_some_and(|name| products.contains(name.as_str())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::manifest::Layout;
    use crate::onnx::{Function, Node, TensorData, TensorType, Type, ValueInfo};

    fn border(name: &str, sizes: &[Option<i64>]) -> ValueInfo {
        let dim = sizes.iter().map(|&dim_value| Dimension { dim_value, dim_param: None }).collect();
        let shape = Some(onnx::Shape { dim });
        let kind = Type { tensor_type: Some(TensorType { elem_type: 1, shape }), ..Type::default() };
        ValueInfo { name: name.to_owned(), kind: Some(kind) }
    }

    fn node(operator: &str, input: &str, output: &str) -> Node {
        let (input, output) = (vec![input.to_owned()], vec![output.to_owned()]);
        Node { op_type: operator.to_owned(), input, output, ..Node::default() }
    }

    fn model() -> Model {
        Model {
            opset_import: vec![OperatorSet { domain: String::new(), version: 17 }],
            graph: Some(Graph {
                node: vec![node("Conv", "x", "c"), node("Relu", "c", "y")],
                input: vec![border("x", &[None, Some(3), Some(8), Some(8)])],
                output: vec![border("y", &[None, Some(6)])],
                initializer: vec![TensorData { name: "w".to_owned(), ..TensorData::default() }],
                ..Graph::default()
            }),
            ..Model::default()
        }
    }

    fn input(fixed_batch: Option<u32>) -> Input {
        Input { fixed_batch, ..crate::data::reader::tests::input(&[3, 8, 8], Layout::Nchw) }
    }

    #[test]
    fn a_plain_model_is_left_alone() {
        let mut named = input(None);
        named.name = "x".to_owned();
        assert!(is_plain(&model(), &named));
        named.fixed_batch = Some(8);
        assert!(!is_plain(&model(), &named));
    }

    #[rstest]
    #[case::old(|model: &mut Model| model.opset_import[0].version = 12)]
    #[case::functions(|model: &mut Model| model.functions.push(Function::default()))]
    #[case::listed(|model: &mut Model| model.graph.as_mut().unwrap().input.push(border("w", &[Some(8)])))]
    #[case::negative(|model: &mut Model| model.graph.as_mut().unwrap().output[0] = border("y", &[Some(-1), Some(6)]))]
    #[case::open(|model: &mut Model| model.graph.as_mut().unwrap().input[0] = border("x", &[None, Some(3), None, None]))]
    #[case::constant(|model: &mut Model| {
        let graph = model.graph.as_mut().unwrap();
        graph.node[0].input.push("k".to_owned());
        graph.node.insert(0, node("Constant", "", "k"));
    })]
    #[case::foldable(|model: &mut Model| model.graph.as_mut().unwrap().node[1].op_type = "BatchNormalization".to_owned())]
    fn what_converters_stumble_over_is_seen(#[case] change: fn(&mut Model)) {
        let mut model = model();
        change(&mut model);
        assert!(!is_plain(&model, &Input { name: "x".to_owned(), ..input(None) }));
    }
}

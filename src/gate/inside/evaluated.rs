//! A runtime in this process that computes small graphs, for tests: what stands inside a network, in a worker.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::gate::inside::samples_of_graphs::stored_floats;
use crate::gate::workshop::healthy;
use crate::onnx::{self, Dimension, Graph, Model, Node, OperatorSet, Shape, TensorType, Type, ValueInfo, numbers};
use crate::runtime::OpenRequest;
use crate::tensor::{ElementType, Signature, Tensor, TensorSpec};
use crate::worker::fake::{FakeSession, Fakes};

/// Values of a sample of every tensor that depends on the samples.
pub(crate) const WIDTH: usize = 4;

/// Workers that compute what the file says that they open: the outputs that are asked for, or those of the graph.
pub(crate) fn evaluating() -> Arc<Fakes> {
    Fakes::of(|request| Ok(Box::new(session(request)?)), healthy)
}

fn session(request: &OpenRequest) -> Result<FakeSession> {
    let model = onnx::read(&request.artifact)?;
    let graph = model.graph.ok_or_else(|| Error::input("no graph"))?;
    let names: Vec<String> = match request.options.outputs.as_slice() {
        [] => graph.output.iter().map(|output| output.name.clone()).collect(),
        asked => asked.to_vec(),
    };
    let spec = |name: &str| TensorSpec {
        name: name.to_owned(),
        element_type: ElementType::Float32,
        shape: vec![None, Some(WIDTH)],
    };
    let signature =
        Signature { inputs: vec![spec(&graph.input[0].name)], outputs: names.iter().map(|name| spec(name)).collect() };
    Ok(FakeSession::of(signature, Some("fp32"), move |feeds| {
        let input = feeds.with_samples().first().ok_or_else(|| Error::failed("nothing is fed"))?;
        let values = run(&graph, input);
        let output = |name: &String| {
            let found = values.get(name).ok_or_else(|| Error::failed(format!("no tensor `{name}`")))?;
            let count = input.batch() * WIDTH;
            let spread = found.iter().copied().cycle().take(count).collect();
            Tensor::float32(name.clone(), vec![input.batch(), WIDTH], spread)
        };
        names.iter().map(output).collect()
    }))
}

/// The values of every tensor: as many as the samples have, a sample's, or one.
fn run(graph: &Graph, input: &Tensor) -> BTreeMap<String, Vec<f32>> {
    let float = |tensor: &onnx::TensorData| match tensor.data_type {
        // 64-bit integers, which count.
        7 => {
            tensor.raw_data.as_deref().unwrap().as_chunks().0.iter().map(|&it| i64::from_le_bytes(it) as f32).collect()
        }
        _ => numbers(tensor).unwrap().iter().map(|&value| value as f32).collect(),
    };
    let mut known: BTreeMap<String, Vec<f32>> =
        graph.initializer.iter().map(|tensor| (tensor.name.clone(), float(tensor))).collect();
    known.insert(graph.input[0].name.clone(), input.floats().to_vec());
    for node in &graph.node {
        let value = match node.op_type.as_str() {
            "Constant" => float(node.attribute[0].t.as_ref().unwrap()),
            _ => computed(node, &node.input.iter().map(|name| known[name].as_slice()).collect::<Vec<_>>()),
        };
        known.insert(node.output[0].clone(), value);
    }
    known
}

fn computed(node: &Node, inputs: &[&[f32]]) -> Vec<f32> {
    match node.op_type.as_str() {
        "Size" => return vec![inputs[0].len() as f32],
        "TopK" => {
            let mut sorted = inputs[0].to_vec();
            sorted.sort_by(|one, other| other.total_cmp(one));
            sorted.truncate(inputs[1][0] as usize);
            return sorted;
        }
        _ => {}
    }
    let count = inputs.iter().map(|values| values.len()).max().unwrap_or(0);
    let at = |input: usize, place: usize| inputs[input][place % inputs[input].len()];
    let value = |place: usize| match node.op_type.as_str() {
        "Identity" | "Cast" | "Reshape" => at(0, place),
        "Abs" => at(0, place).abs(),
        "Relu" => at(0, place).max(0.0),
        "Add" => at(0, place) + at(1, place),
        "Mul" => at(0, place) * at(1, place),
        "Div" => at(0, place) / at(1, place),
        "Min" => at(0, place).min(at(1, place)),
        "Less" => f32::from(u8::from(at(0, place) < at(1, place))),
        "Where" => {
            if at(0, place) == 0.0 {
                at(2, place)
            } else {
                at(1, place)
            }
        }
        other => panic!("`{other}` is not computed"),
    };
    (0..count).map(value).collect()
}

/// `y` of `x`, all floats of the width of a sample.
pub(crate) fn model(nodes: &[(&str, &str, &str)], constants: &[(&str, f32)]) -> Model {
    let value = |name: &str| {
        let dim = [None, Some(WIDTH as i64)]
            .map(|dim_value| Dimension { dim_value, dim_param: dim_value.is_none().then(|| "N".to_owned()) });
        let tensor = TensorType { elem_type: 1, shape: Some(Shape { dim: dim.to_vec() }) };
        ValueInfo { name: name.to_owned(), kind: Some(Type { tensor_type: Some(tensor), ..Type::default() }) }
    };
    let node = nodes.iter().map(|(operator, input, output)| Node {
        op_type: (*operator).to_owned(),
        name: format!("{output}-node"),
        input: input.split(' ').map(str::to_owned).collect(),
        output: vec![(*output).to_owned()],
        ..Node::default()
    });
    let graph = Graph {
        node: node.collect(),
        initializer: constants.iter().map(|(name, value)| stored_floats(name, &[1], &[*value])).collect(),
        input: vec![value("x")],
        output: vec![value("y")],
        value_info: nodes.iter().map(|(_, _, output)| value(output)).filter(|value| value.name != "y").collect(),
        ..Graph::default()
    };
    let opset_import = vec![OperatorSet { version: 17, ..OperatorSet::default() }];
    Model { ir_version: 8, opset_import, graph: Some(graph), ..Model::default() }
}

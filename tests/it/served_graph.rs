//! Small ONNX graphs with inputs and outputs of any type, the batch first.

use prost::Message as _;
use trtgate::internals::onnx::{Dimension, Graph, Model, Node, OperatorSet, Shape, TensorType, Type, ValueInfo};

/// A tensor at the border: its name, ONNX's number of its type, and the names of its sizes behind the batch.
pub type Border<'a> = (&'a str, i32, &'a [&'a str]);

pub fn graph(nodes: Vec<Node>, inputs: &[Border<'_>], outputs: &[Border<'_>]) -> Vec<u8> {
    let border = |&(name, kind, sizes): &Border<'_>| {
        let open = |name: &str| Dimension { dim_value: None, dim_param: Some(name.to_owned()) };
        let dim = std::iter::once("batch").chain(sizes.iter().copied()).map(open).collect();
        let kind = TensorType { elem_type: kind, shape: Some(Shape { dim }) };
        ValueInfo { name: name.to_owned(), kind: Some(Type { tensor_type: Some(kind), ..Type::default() }) }
    };
    let model = Model {
        ir_version: 8,
        opset_import: vec![OperatorSet { domain: String::new(), version: 17 }],
        graph: Some(Graph {
            name: "served".to_owned(),
            node: nodes,
            input: inputs.iter().map(border).collect(),
            output: outputs.iter().map(border).collect(),
            ..Graph::default()
        }),
        ..Model::default()
    };
    model.encode_to_vec()
}

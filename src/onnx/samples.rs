//! Small graphs for the tests of this folder and its users.

use prost::bytes::Bytes;

use super::{Attribute, Graph, Model, Node, OperatorSet, TensorData, Type, ValueInfo};

/// A node without a name; `outputs` and `inputs` are separated by blanks, `_` stands for one that is absent.
pub(crate) fn node(operator: &str, inputs: &str, outputs: &str) -> Node {
    let names = |text: &str| {
        text.split_whitespace().map(|name| if name == "_" { String::new() } else { name.to_owned() }).collect()
    };
    Node { op_type: operator.to_owned(), input: names(inputs), output: names(outputs), ..Node::default() }
}

/// The node with an attribute that is an integer.
pub(crate) fn with(mut node: Node, name: &str, value: i64) -> Node {
    node.attribute.push(Attribute { name: name.to_owned(), i: value, kind: 2, ..Attribute::default() });
    node
}

/// The node with an attribute that is a graph.
pub(crate) fn around(mut node: Node, name: &str, graph: Graph) -> Node {
    node.attribute.push(Attribute { name: name.to_owned(), g: Some(Box::new(graph)), kind: 5, ..Attribute::default() });
    node
}

/// The node with an attribute that is a tensor.
pub(crate) fn holding(mut node: Node, name: &str, tensor: TensorData) -> Node {
    node.attribute.push(Attribute {
        name: name.to_owned(),
        t: Some(Box::new(tensor)),
        kind: 4,
        ..Attribute::default()
    });
    node
}

/// A value of that element type, or one that does not declare any.
pub(crate) fn value(name: &str, element: Option<i32>) -> ValueInfo {
    ValueInfo { name: name.to_owned(), kind: element.map(Type::tensor) }
}

/// A stored tensor of halves, of shape `[values]`.
pub(crate) fn halves(name: &str, values: &[f32]) -> TensorData {
    let raw: Vec<u8> = values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect();
    TensorData {
        name: name.to_owned(),
        dims: vec![values.len() as i64],
        data_type: super::types::data_type::FLOAT16,
        raw_data: Some(Bytes::from(raw)),
        ..TensorData::default()
    }
}

/// A graph of these nodes.
pub(crate) fn graph(inputs: Vec<ValueInfo>, nodes: Vec<Node>, outputs: Vec<ValueInfo>) -> Graph {
    Graph { name: "graph".to_owned(), input: inputs, node: nodes, output: outputs, ..Graph::default() }
}

/// A model of operator set 17.
pub(crate) fn model(graph: Graph) -> Model {
    Model {
        ir_version: 8,
        opset_import: vec![OperatorSet { domain: String::new(), version: 17 }],
        graph: Some(graph),
        ..Model::default()
    }
}

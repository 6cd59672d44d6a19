//! What the values of an output are, told by the operators behind which it stands; and what the model does to its input first.

use std::collections::BTreeMap;

use super::{Attribute, Graph, Model, Node, numbers};

/// Operators that change neither values nor, for an output `[N, classes]`, what lies side by side in its last axis.
const KEEPS: [&str; 7] = ["Identity", "Cast", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze"];

/// Operators behind which values are sums without a limit of their own.
const OPEN: [&str; 6] = ["Gemm", "MatMul", "Conv", "Add", "Sub", "BatchNormalization"];

/// What an output's values are, as far as its graph tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Each row is a softmax; of this tensor.
    Softmax(String),
    /// Sums without a limit; the operator that makes them.
    Open(String),
    /// The graph does not tell: it ends in this operator.
    Other(String),
}

/// What the output `name` ends in, looking through operators that keep its values; `None` where no node makes it.
pub fn ending(model: &Model, name: &str) -> Option<Ending> {
    let graph = model.graph.as_ref()?;
    let version = model.opset_import.iter().find(|set| set.is_standard()).map_or(0, |set| set.version);
    let makers = makers(graph);
    let mut node = *makers.get(name)?;
    while KEEPS.contains(&node.op_type.as_str()) {
        match node.input.first().and_then(|input| makers.get(input.as_str())) {
            Some(maker) => node = maker,
            None => break,
        }
    }
    let operator = node.op_type.clone();
    Some(match operator.as_str() {
        "Softmax" if is_over_classes(node, version) => {
            Ending::Softmax(kept_source(node.input.first().map_or("", String::as_str), &makers).to_owned())
        }
        open if OPEN.contains(&open) => Ending::Open(operator),
        _ => Ending::Other(operator),
    })
}

/// The tensor whose values `name` has, looking through operators that keep them.
pub fn source_of(model: &Model, name: &str) -> String {
    model.graph.as_ref().map_or(name, |graph| kept_source(name, &makers(graph))).to_owned()
}

fn kept_source<'a>(mut name: &'a str, makers: &BTreeMap<&str, &'a Node>) -> &'a str {
    while let Some(node) = makers.get(name).filter(|node| KEEPS.contains(&node.op_type.as_str())) {
        match node.input.first() {
            Some(input) => name = input,
            None => break,
        }
    }
    name
}

fn makers(graph: &Graph) -> BTreeMap<&str, &Node> {
    graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect()
}

/// Whether a softmax is over the classes: the last axis, or the one behind the batch, behind which a classifier has none of more
/// than one value.
fn is_over_classes(node: &Node, version: i64) -> bool {
    let given =
        node.attribute.iter().find(|attribute| attribute.name == "axis").map(|attribute: &Attribute| attribute.i);
    matches!(given.unwrap_or(if version < 13 { 1 } else { -1 }), -1 | 1)
}

/// Whether the graph itself brings bytes of pictures down to small values: the first number that its input meets divides by
/// more than 16, or takes away more than 2.
pub fn scales_bytes(model: &Model, input: &str) -> bool {
    let Some(graph) = &model.graph else { return false };
    let mut name = input;
    // Further than this no preprocessing stands.
    for _ in 0..16 {
        let mut readers = graph.node.iter().filter(|node| node.input.iter().any(|read| read == name));
        let (Some(node), None) = (readers.next(), readers.next()) else { return false };
        let other = node.input.iter().find(|read| *read != name).map(String::as_str);
        let number = other.and_then(|other| largest_magnitude(graph, other));
        let reads_first = node.input.first().is_some_and(|read| read == name);
        match (node.op_type.as_str(), number) {
            ("Mul", Some(number)) => return number < 1.0 / 16.0,
            ("Div", Some(number)) if reads_first => return number > 16.0,
            ("Sub" | "Add", Some(number)) => return number > 2.0,
            ("Identity" | "Cast" | "Transpose" | "Reshape", _) => {}
            _ => return false,
        }
        let Some(output) = node.output.first() else { return false };
        name = output;
    }
    false
}

/// The largest magnitude of a stored tensor, or of a `Constant`.
fn largest_magnitude(graph: &Graph, name: &str) -> Option<f64> {
    let stored = graph.initializer.iter().find(|tensor| tensor.name == name);
    let constant = || {
        let node =
            graph.node.iter().find(|node| node.op_type == "Constant" && node.output.iter().any(|made| made == name))?;
        node.attribute.iter().find_map(|attribute| attribute.t.as_deref())
    };
    numbers(stored.or_else(constant)?)?.iter().map(|value| value.abs()).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::onnx::{OperatorSet, TensorData};

    fn node(operator: &str, inputs: &str, output: &str, axis: Option<i64>) -> Node {
        Node {
            op_type: operator.to_owned(),
            input: inputs.split(' ').map(str::to_owned).collect(),
            output: vec![output.to_owned()],
            attribute: axis
                .map(|i| Attribute { name: "axis".to_owned(), i, kind: 2, ..Attribute::default() })
                .into_iter()
                .collect(),
            ..Node::default()
        }
    }

    fn model(nodes: Vec<Node>, version: i64) -> Model {
        let tensor = |name: &str, value: f32| TensorData {
            name: name.to_owned(),
            data_type: 1,
            float_data: vec![value],
            ..TensorData::default()
        };
        let initializer = vec![tensor("small", 1.0 / 255.0), tensor("large", 127.5), tensor("one", 1.0)];
        Model {
            opset_import: vec![OperatorSet { domain: String::new(), version }],
            graph: Some(Graph { node: nodes, initializer, ..Graph::default() }),
            ..Model::default()
        }
    }

    #[rstest]
    #[case(&["Softmax"], Some(-1), 17, Ending::Softmax("z".to_owned()))]
    #[case(&["Softmax", "Identity"], Some(1), 17, Ending::Softmax("z".to_owned()))]
    #[case(&["Softmax", "Reshape", "Cast"], None, 17, Ending::Softmax("z".to_owned()))]
    #[case(&["Squeeze", "Softmax"], None, 11, Ending::Softmax("z".to_owned()))]
    #[case(&["Softmax"], Some(0), 17, Ending::Other("Softmax".to_owned()))]
    #[case(&["Softmax", "Mul"], Some(-1), 17, Ending::Other("Mul".to_owned()))]
    #[case(&["Identity"], None, 17, Ending::Open("Gemm".to_owned()))]
    #[case(&["Sigmoid"], None, 17, Ending::Other("Sigmoid".to_owned()))]
    #[case(&["LogSoftmax"], None, 17, Ending::Other("LogSoftmax".to_owned()))]
    fn an_output_is_what_its_last_operator_of_weight_makes(
        #[case] tail: &[&str],
        #[case] axis: Option<i64>,
        #[case] version: i64,
        #[case] expected: Ending,
    ) {
        let mut nodes = vec![node("Gemm", "x w", "z", None)];
        for (index, operator) in tail.iter().enumerate() {
            let input = if index == 0 { "z".to_owned() } else { format!("t{}", index - 1) };
            nodes.push(node(operator, &input, &format!("t{index}"), axis.filter(|_| *operator == "Softmax")));
        }
        let model = model(nodes, version);
        assert_eq!(ending(&model, &format!("t{}", tail.len() - 1)), Some(expected));
        assert_eq!(ending(&model, "nobody"), None);
    }

    #[rstest]
    #[case(&[("Mul", "x small")], true)]
    #[case(&[("Transpose", "x"), ("Div", "t0 large")], true)]
    #[case(&[("Cast", "x"), ("Sub", "t0 large"), ("Mul", "t1 small")], true)]
    #[case(&[("Sub", "x one")], false)]
    #[case(&[("Mul", "x one")], false)]
    #[case(&[("Div", "large x")], false)]
    #[case(&[("Conv", "x small")], false)]
    fn a_model_that_scales_bytes_itself_is_seen(#[case] head: &[(&str, &str)], #[case] expected: bool) {
        let nodes = head
            .iter()
            .enumerate()
            .map(|(index, (operator, inputs))| node(operator, inputs, &format!("t{index}"), None));
        assert_eq!(scales_bytes(&model(nodes.collect(), 17), "x"), expected);
    }
}

//! Whether a SavedModel brings bytes of pictures down to small values itself, as Keras's `Rescaling` and `Normalization` do: told by
//! the first number that its input meets, inside of the functions that the signature calls.

use std::collections::BTreeMap;

use prost::Message;

/// How far behind the input is looked, in operators and calls.
const FURTHEST: usize = 64;

/// `SavedModel` down to its functions.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, repeated, tag = "2")]
    meta_graphs: Vec<MetaGraph>,
}

/// `MetaGraphDef`.
#[derive(Clone, PartialEq, Message)]
struct MetaGraph {
    #[prost(message, optional, tag = "2")]
    graph: Option<Graph>,
}

/// `GraphDef`.
#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(message, optional, tag = "2")]
    library: Option<Functions>,
}

/// `FunctionDefLibrary`.
#[derive(Clone, PartialEq, Message)]
struct Functions {
    #[prost(message, repeated, tag = "1")]
    functions: Vec<Function>,
}

/// `FunctionDef`.
#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(message, optional, tag = "1")]
    signature: Option<Border>,
    #[prost(message, repeated, tag = "3")]
    nodes: Vec<Node>,
}

/// `OpDef`, and its arguments: `OpDef.ArgDef` has its name in the same place.
#[derive(Clone, PartialEq, Message)]
struct Border {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    arguments: Vec<Named>,
}

/// What is looked at for its name alone: `OpDef.ArgDef`, `NameAttrList`.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// `NodeDef`.
#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    operator: String,
    #[prost(string, repeated, tag = "3")]
    inputs: Vec<String>,
    #[prost(btree_map = "string, message", tag = "5")]
    attributes: BTreeMap<String, Value>,
}

/// `AttrValue`: a tensor, or the name of a function.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(message, optional, tag = "8")]
    tensor: Option<Tensor>,
    #[prost(message, optional, tag = "10")]
    function: Option<Named>,
}

/// `TensorProto`, of floats.
#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int32, tag = "1")]
    data_type: i32,
    #[prost(bytes = "vec", tag = "4")]
    content: Vec<u8>,
    #[prost(float, repeated, tag = "5")]
    floats: Vec<f32>,
}

/// The name of the node, or argument, that makes the tensor `name`.
fn maker(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// The body that is looked at, with the calls that led into it.
#[derive(Clone)]
struct Place<'model> {
    nodes: &'model [Node],
    arguments: &'model [Named],
    /// Where it was called from, and the calling node's inputs.
    caller: Option<(Box<Place<'model>>, &'model [String])>,
}

impl<'model> Place<'model> {
    fn node(&self, name: &str) -> Option<&'model Node> {
        self.nodes.iter().find(|node| node.name == maker(name))
    }

    /// The largest magnitude of a constant, which may be an argument of the function.
    fn largest(&self, name: &str, left: usize) -> Option<f32> {
        if left == 0 {
            return None;
        }
        let Some(node) = self.node(name) else {
            let index = self.arguments.iter().position(|argument| argument.name == maker(name))?;
            let (place, inputs) = self.caller.as_ref()?;
            return place.largest(inputs.get(index)?, left - 1);
        };
        match node.operator.as_str() {
            "Const" => {
                let tensor = node.attributes.get("value")?.tensor.as_ref().filter(|tensor| tensor.data_type == 1)?;
                let stored = tensor.content.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
                tensor.floats.iter().copied().chain(stored).map(f32::abs).reduce(f32::max)
            }
            "Identity" | "Cast" | "Reshape" => self.largest(node.inputs.first()?, left - 1),
            _ => None,
        }
    }
}

/// Whether the first number that the tensor `input` of the graph meets divides by more than 16 or takes away more than 2;
/// `None` where the files do not tell.
pub(super) fn scales_bytes(saved_model: &[u8], input: &str) -> Option<bool> {
    let model = Model::decode(saved_model).ok()?;
    let graph = model.meta_graphs.first()?.graph.as_ref()?;
    let functions: BTreeMap<&str, &Function> = graph
        .library
        .iter()
        .flat_map(|library| &library.functions)
        .filter_map(|function| Some((function.signature.as_ref()?.name.as_str(), function)))
        .collect();
    let mut place = Place { nodes: &graph.nodes, arguments: &[], caller: None };
    let mut name = maker(input).to_owned();
    for _ in 0..FURTHEST {
        let reads = |node: &&Node| node.inputs.iter().any(|read| maker(read) == name);
        let mut readers = place.nodes.iter().filter(|node| node.operator != "Shape").filter(reads);
        let (node, None) = (readers.next()?, readers.next()) else { return None };
        let index = node.inputs.iter().position(|read| maker(read) == name)?;
        let number =
            node.inputs.iter().find(|read| maker(read) != name).and_then(|other| place.largest(other, FURTHEST));
        match (node.operator.as_str(), number) {
            ("PartitionedCall" | "StatefulPartitionedCall", _) => {
                let called = node.attributes.get("f")?.function.as_ref()?;
                let function = functions.get(called.name.as_str())?;
                let arguments = &function.signature.as_ref()?.arguments;
                arguments.get(index)?.name.clone_into(&mut name);
                place = Place { nodes: &function.nodes, arguments, caller: Some((Box::new(place), &node.inputs)) };
                continue;
            }
            ("Mul", Some(number)) => return Some(number < 1.0 / 16.0),
            ("RealDiv" | "Div", Some(number)) if index == 0 => return Some(number > 16.0),
            ("Sub" | "AddV2" | "Add", Some(number)) => return Some(number > 2.0),
            ("Identity" | "Cast" | "Transpose" | "Reshape", _) => {}
            _ => return Some(false),
        }
        node.name.clone_into(&mut name);
    }
    None
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn node(operator: &str, name: &str, inputs: &[&str]) -> Node {
        let inputs = inputs.iter().map(|&input| input.to_owned()).collect();
        Node { name: name.to_owned(), operator: operator.to_owned(), inputs, ..Node::default() }
    }

    fn constant(name: &str, value: f32) -> Node {
        let tensor = Some(Tensor { data_type: 1, content: Vec::new(), floats: vec![value] });
        let value = Value { tensor, function: None };
        Node { attributes: BTreeMap::from([("value".to_owned(), value)]), ..node("Const", name, &[]) }
    }

    /// A signature that calls a function with its input and a constant `k`.
    fn calling(nodes: Vec<Node>, k: f32) -> Vec<u8> {
        let named = |name: &str| Named { name: name.to_owned() };
        let call = Value { tensor: None, function: Some(named("serve")) };
        let call = Node {
            attributes: BTreeMap::from([("f".to_owned(), call)]),
            ..node("StatefulPartitionedCall", "call", &["serving_default_x", "k"])
        };
        let border = Border { name: "serve".to_owned(), arguments: vec![named("image"), named("unknown")] };
        let graph = Graph {
            nodes: vec![node("Placeholder", "serving_default_x", &[]), constant("k", k), call],
            library: Some(Functions { functions: vec![Function { signature: Some(border), nodes }] }),
        };
        Model { meta_graphs: vec![MetaGraph { graph: Some(graph) }] }.encode_to_vec()
    }

    #[rstest]
    #[case::rescaling(vec![constant("s", 1.0 / 255.0), node("Mul", "m", &["image", "s:output:0"])], Some(true))]
    #[case::centring(vec![node("Cast", "c", &["image"]), node("Sub", "s", &["c:y:0", "unknown"])], Some(true))]
    #[case::dividing(vec![node("RealDiv", "d", &["image", "unknown"])], Some(true))]
    #[case::small(vec![constant("s", 0.5), node("Sub", "m", &["image", "s:output:0"])], Some(false))]
    #[case::network(vec![node("Shape", "n", &["image"]), node("Conv2D", "c", &["image", "unknown"])], Some(false))]
    #[case::two_ways(vec![node("Relu", "a", &["image"]), node("Neg", "b", &["image"])], None)]
    #[case::unread(vec![], None)]
    fn the_first_number_decides(#[case] nodes: Vec<Node>, #[case] expected: Option<bool>) {
        assert_eq!(scales_bytes(&calling(nodes, 127.5), "serving_default_x:0"), expected);
    }

    #[test]
    fn a_file_that_is_none_tells_nothing() {
        assert_eq!(scales_bytes(b"not a protobuf at all", "x:0"), None);
        assert_eq!(scales_bytes(b"", "x:0"), None);
    }
}

//! The float tensors of a graph in its order: what is stored and what is made, who makes and who reads it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::findings::ranges::{BEYOND, NEAR};
use crate::onnx::types::{Kind, Types, data_type, graphs};
use crate::onnx::{Graph, Node, TensorData, numbers};

/// What values a tensor takes, on all samples that were run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Span {
    /// The finite value of the largest magnitude.
    pub(super) largest: f64,
    /// Its sample; none for a tensor that does not depend on the samples.
    pub(super) sample: Option<usize>,
    /// Finite values beyond the range.
    pub(super) beyond: f64,
    /// Finite values at its end, or beyond.
    pub(super) near: f64,
    /// Values.
    pub(super) values: f64,
    /// The samples with values beyond the range, the largest first.
    pub(super) samples_beyond: Vec<usize>,
}

/// A float tensor.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    /// Its name.
    pub(super) tensor: &'a str,
    /// The node that makes it, or reads it first.
    pub(super) node: &'a Node,
    /// Its values, where it is stored.
    pub(super) stored: Option<&'a TensorData>,
}

impl Item<'_> {
    /// The values that a stored tensor takes.
    pub(super) fn span(&self) -> Option<Span> {
        let values = numbers(self.stored?)?;
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let largest =
            finite().fold(0.0, |largest: f64, value| if value.abs() > largest.abs() { value } else { largest });
        let count = |limit: f32| finite().filter(|value| value.abs() >= f64::from(limit)).count() as f64;
        Some(Span { largest, beyond: count(BEYOND), near: count(NEAR), values: values.len() as f64, ..Span::default() })
    }
}

/// The name of a node; of one that has none, what it makes.
pub(super) fn label(node: &Node) -> &str {
    if node.name.is_empty() { node.output.first().map_or("", String::as_str) } else { &node.name }
}

/// The graph as it is walked.
pub(super) struct Network<'a> {
    /// Its float tensors in order; a stored one stands before the node that reads it first.
    pub(super) items: Vec<Item<'a>>,
    stored: BTreeMap<&'a str, &'a TensorData>,
    readers: BTreeMap<&'a str, Vec<&'a Node>>,
    inside: usize,
}

impl<'a> Network<'a> {
    /// That of a graph without functions.
    pub(super) fn of(graph: &'a Graph) -> Self {
        let types = Types::of(graph);
        let view = types.view();
        let stored = stored(graph);
        let float = |name: &str| view.get(name) == Some(Kind::tensor(data_type::FLOAT));
        let (mut items, mut seen) = (Vec::new(), BTreeSet::new());
        let mut readers: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
        let mut inside = 0;
        for node in &graph.node {
            for name in node.input.iter().filter(|name| !name.is_empty()) {
                readers.entry(name).or_default().push(node);
                let kept = stored.get(name.as_str()).copied();
                if let Some(stored) = kept.filter(|_| float(name) && seen.insert(name.as_str())) {
                    items.push(Item { tensor: name, node, stored: Some(stored) });
                }
            }
            for name in &node.output {
                if float(name) && !stored.contains_key(name.as_str()) {
                    items.push(Item { tensor: name, node, stored: None });
                }
            }
            inside += node.attribute.iter().flat_map(graphs).map(|graph| graph.node.len()).sum::<usize>();
        }
        Self { items, stored, readers, inside }
    }

    /// A stored tensor.
    pub(super) fn stored(&self, tensor: &str) -> Option<&'a TensorData> {
        self.stored.get(tensor).copied()
    }

    /// The nodes that read a tensor, directly or behind operators that hand it on.
    pub(super) fn readers(&self, tensor: &str) -> Vec<&'a Node> {
        let direct = |tensor: &str| self.readers.get(tensor).into_iter().flatten().rev().copied();
        let (mut found, mut open) = (Vec::new(), direct(tensor).collect::<Vec<_>>());
        // A node that reads one tensor twice is listed twice; what is behind it is followed once.
        let mut seen = HashSet::new();
        while let Some(node) = open.pop() {
            match node.output.first() {
                Some(output)
                    if matches!(node.op_type.as_str(), "Identity" | "Cast" | "Reshape" | "Unsqueeze" | "Squeeze") =>
                {
                    if seen.insert(output) {
                        open.extend(direct(output));
                    }
                }
                _ => found.push(node),
            }
        }
        found
    }

    /// What cannot be looked at, in words.
    pub(super) fn unseen(&self) -> Vec<String> {
        let words = || format!("{} nodes inside of branches and loops show only what they hand out", self.inside);
        (self.inside > 0).then(words).into_iter().collect()
    }
}

/// The stored tensors of a graph by name: its initialisers, and what its `Constant` nodes make.
pub(super) fn stored(graph: &Graph) -> BTreeMap<&str, &TensorData> {
    let constants = graph.node.iter().filter(|node| node.op_type == "Constant").filter_map(|node| {
        let value = node.attribute.iter().find(|attribute| attribute.name == "value")?;
        Some((node.output.first()?.as_str(), &**value.t.as_ref()?))
    });
    graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).chain(constants).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is stored is an initialiser or the value of a constant, and nothing else that a constant has.
    #[test]
    fn constants_and_initialisers_are_stored() {
        use crate::onnx::samples::{graph, halves, holding, node};
        let constant = holding(node("Constant", "", "c"), "beside", halves("no", &[9.0]));
        let constant = holding(constant, "value", halves("inner", &[1.0, 2.0]));
        let mut made = graph(Vec::new(), vec![constant, node("Constant", "", "empty")], Vec::new());
        made.initializer = vec![halves("w", &[3.0])];
        let found: Vec<(&str, Vec<f64>)> =
            stored(&made).into_iter().filter_map(|(name, tensor)| Some((name, numbers(tensor)?))).collect();
        assert_eq!(found, [("c", vec![1.0, 2.0]), ("w", vec![3.0])]);
    }

    /// What is computed inside of branches and loops is counted, in all nodes that have some.
    #[test]
    fn nodes_inside_of_branches_are_counted() {
        use crate::onnx::samples::{around, graph, node};
        let inner = |nodes: usize| graph(Vec::new(), vec![node("Relu", "x", "y"); nodes], Vec::new());
        let branch = |then: usize, otherwise: usize| {
            around(around(node("If", "x", "y"), "then_branch", inner(then)), "else_branch", inner(otherwise))
        };
        let unseen = |nodes: Vec<Node>| Network::of(&graph(Vec::new(), nodes, Vec::new())).unseen();
        assert_eq!(unseen(vec![node("Relu", "x", "y")]), [""; 0]);
        let told = unseen(vec![branch(1, 2), node("Relu", "x", "z"), branch(3, 0)]);
        assert_eq!(told, ["6 nodes inside of branches and loops show only what they hand out"]);
    }

    /// A node that reads one tensor twice doubles the ways to what is behind it, and not the work.
    #[test]
    fn what_is_read_twice_is_followed_once() {
        let node = |operator: &str, input: [&str; 2], output: String| Node {
            op_type: operator.to_owned(),
            input: input.map(str::to_owned).to_vec(),
            output: vec![output],
            ..Node::default()
        };
        let chain = (0..64).map(|step| {
            let from = format!("t{step}");
            node("Reshape", [&from, &from], format!("t{}", step + 1))
        });
        let graph =
            Graph { node: chain.chain([node("Mul", ["t64", "t64"], "y".to_owned())]).collect(), ..Graph::default() };
        let readers = Network::of(&graph).readers("t0");
        assert!(!readers.is_empty() && readers.iter().all(|reader| reader.op_type == "Mul"));
    }
}

//! Nodes in the order in which they can be computed: some converters append what comes first, and runtimes sort it themselves.

use std::collections::{BTreeMap, BTreeSet};

use super::types::graphs;
use super::{Graph, Node};

/// Brings the nodes of `graph` behind those that make what they read, and changes nothing else. A graph with a circle stays as it
/// is, for whoever checks it.
pub(super) fn sort(graph: &mut Graph) {
    let makers: BTreeMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(index, node)| node.output.iter().map(move |name| (name.as_str(), index)))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    let needs: Vec<BTreeSet<usize>> = graph
        .node
        .iter()
        .map(|node| {
            let mut names = Vec::new();
            read(node, &mut names);
            names.into_iter().filter_map(|name| makers.get(name).copied()).collect()
        })
        .collect();
    if needs.iter().enumerate().all(|(index, needs)| needs.iter().all(|&need| need < index)) {
        return;
    }
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    let mut left: Vec<usize> = needs.iter().map(BTreeSet::len).collect();
    for (index, needs) in needs.iter().enumerate() {
        for &need in needs {
            readers.get_mut(need).into_iter().for_each(|readers| readers.push(index));
        }
    }
    let mut ready: BTreeSet<usize> = (0..left.len()).filter(|&index| left.get(index) == Some(&0)).collect();
    let mut order = Vec::with_capacity(left.len());
    while let Some(index) = ready.pop_first() {
        order.push(index);
        for &reader in readers.get(index).into_iter().flatten() {
            if let Some(left) = left.get_mut(reader) {
                *left -= 1;
                if *left == 0 {
                    ready.insert(reader);
                }
            }
        }
    }
    if order.len() < needs.len() {
        return;
    }
    let mut nodes: Vec<Option<Node>> = std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    graph.node = order.into_iter().filter_map(|index| nodes.get_mut(index)?.take()).collect();
}

/// The names that a node reads, those that the graphs inside of it read from outside among them.
fn read<'node>(node: &'node Node, names: &mut Vec<&'node str>) {
    names.extend(node.input.iter().map(String::as_str).filter(|name| !name.is_empty()));
    for node in node.attribute.iter().flat_map(graphs).flat_map(|graph| &graph.node) {
        read(node, names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::samples::{around, graph, node, value};

    fn sorted(nodes: Vec<Node>) -> Vec<String> {
        let mut graph = graph(vec![value("x", Some(1))], nodes, vec![value("y", None)]);
        sort(&mut graph);
        graph.node.into_iter().map(|node| node.op_type).collect()
    }

    #[test]
    fn what_was_appended_comes_first_where_it_is_read() {
        assert_eq!(sorted(vec![node("Conv", "h", "y"), node("Cast", "x", "h")]), ["Cast", "Conv"]);
        let order = [node("Relu", "x", "a"), node("Abs", "x", "b"), node("Add", "a b", "y")];
        assert_eq!(sorted(order.to_vec()), ["Relu", "Abs", "Add"], "what is sorted stays");
    }

    #[test]
    fn what_a_branch_reads_from_outside_comes_before_it() {
        let branch = graph(vec![], vec![node("Neg", "h", "t")], vec![value("t", None)]);
        let order = sorted(vec![around(node("If", "flag", "y"), "then_branch", branch), node("Cast", "x", "h")]);
        assert_eq!(order, ["Cast", "If"]);
    }

    #[test]
    fn a_circle_stays_for_whoever_checks() {
        let order = sorted(vec![node("Add", "x b", "a"), node("Neg", "a", "b"), node("Abs", "x", "y")]);
        assert_eq!(order, ["Add", "Neg", "Abs"]);
    }
}

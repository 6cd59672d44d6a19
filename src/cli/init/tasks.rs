//! The task of an output, out of the operator that makes it.

use crate::onnx::Graph;
use crate::tensor::{BatchAxis, TensorSpec};
use crate::vocabulary::Task;

/// Operators that hand values on as they are.
const THROUGH: [&str; 7] = ["Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast", "Transpose"];

/// What an output is taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guess<'graph> {
    /// The operator that makes it, behind those that hand values on; none where it is not known.
    pub(super) made: &'graph str,
    /// Its task.
    pub(super) task: Task,
    /// Further keys of its `[[output]]`, a line each.
    pub(super) keys: &'static str,
    /// Why, in the manifest.
    pub(super) why: &'static str,
    /// What else it may be.
    pub(super) hint: Option<&'static str>,
}

/// What `output` is taken for: a classifier's where a softmax makes rows of it, else values.
pub(super) fn guess<'graph>(output: &TensorSpec, axis: BatchAxis, graph: Option<&'graph Graph>) -> Guess<'graph> {
    let made = graph.and_then(|graph| maker(graph, &output.name)).unwrap_or_default();
    let values = |hint| Guess { made, task: Task::Values, keys: "", why: "compared element by element", hint };
    let row = matches!(output.shape.as_slice(), [_, Some(classes)] if *classes >= 2) && axis == BatchAxis::At(0);
    match made {
        "Softmax" if row && output.element_type.is_float() => Guess {
            made,
            task: Task::Classification,
            keys: "kind = \"probabilities\"\n",
            why: "GUESSED: a softmax makes its rows",
            hint: None,
        },
        "Softmax" | "LogSoftmax" if output.element_type.is_float() => values(Some(
            "a softmax makes it: `task = \"tokens\"` or `\"map\"` would judge its steps or places by their answers",
        )),
        "Sigmoid" | "HardSigmoid" if output.element_type.is_float() => {
            values(Some("a sigmoid makes it: `task = \"scores\"` or `\"map\"` would judge it by its answers"))
        }
        "ArgMax" => {
            values(Some("it holds answers: `task = \"tokens\"` or `\"map\"` would allow for a few that change"))
        }
        "NonMaxSuppression" => {
            values(Some("it comes of a suppression of boxes: `task = \"boxes\"` would compare sets"))
        }
        _ => values(None),
    }
}

/// The operator that makes `name`, behind those that hand values on.
fn maker<'graph>(graph: &'graph Graph, name: &str) -> Option<&'graph str> {
    let mut name = name;
    // A graph with a circle in it is refused elsewhere.
    for _ in 0..=graph.node.len() {
        let node = graph.node.iter().find(|node| node.output.iter().any(|output| output == name))?;
        if !THROUGH.contains(&node.op_type.as_str()) {
            return Some(&node.op_type);
        }
        name = node.input.first()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::onnx::Node;
    use crate::tensor::ElementType;

    fn graph(operators: &[&str]) -> Graph {
        let node = |(index, operator): (usize, &&str)| Node {
            op_type: (*operator).to_owned(),
            input: vec![format!("t{index}")],
            output: vec![format!("t{}", index + 1)],
            ..Node::default()
        };
        Graph { node: operators.iter().enumerate().map(node).collect(), ..Graph::default() }
    }

    #[rstest]
    #[case(&["MatMul", "Softmax"], &[None, Some(6)], Task::Classification, false)]
    #[case(&["Softmax", "Reshape", "Cast"], &[None, Some(6)], Task::Classification, false)]
    #[case(&["MatMul", "Softmax"], &[None, Some(1)], Task::Values, true)]
    #[case(&["MatMul", "Softmax"], &[None, Some(8), Some(6)], Task::Values, true)]
    #[case(&["MatMul", "Sigmoid"], &[None, Some(6)], Task::Values, true)]
    #[case(&["Softmax", "MatMul"], &[None, Some(6)], Task::Values, false)]
    #[case(&[], &[None, Some(6)], Task::Values, false)]
    fn outputs_are_guessed_by_what_makes_them(
        #[case] operators: &[&str],
        #[case] shape: &[Option<usize>],
        #[case] task: Task,
        #[case] hinted: bool,
    ) {
        let output = TensorSpec {
            name: format!("t{}", operators.len()),
            element_type: ElementType::Float32,
            shape: shape.to_vec(),
        };
        let graph = graph(operators);
        let found = guess(&output, BatchAxis::At(0), Some(&graph));
        assert_eq!((found.task, found.hint.is_some()), (task, hinted));
        // Without rows a sample nothing is a class a sample.
        assert_eq!(guess(&output, BatchAxis::None, Some(&graph)).task, Task::Values);
        assert_eq!(guess(&output, BatchAxis::At(0), None).task, Task::Values);
    }
}

//! What to change where a tensor leaves the range of half precision, for patterns that are known.

use super::network::{Item, Network, label};
use crate::onnx::{Node, numbers};

/// The change that mends a tensor beyond the range, as a sentence without an end.
pub(super) fn of(item: &Item<'_>, network: &Network<'_>) -> Option<String> {
    let readers = network.readers(item.tensor);
    let reader = |operators: &[&str]| readers.iter().find(|node| operators.contains(&node.op_type.as_str())).copied();
    let node = item.node;
    if item.stored.is_some() {
        return Some(match node.op_type.as_str() {
            "Add" | "Where" => {
                format!("a mask of -1e4 hides as much: half precision ends at 65504, and `{}` has no more", label(node))
            }
            operator => format!("keep {operator} `{}` in FP32, or scale its stored `{}`", label(node), item.tensor),
        });
    }
    let read = node.input.first().map_or("", String::as_str);
    Some(match node.op_type.as_str() {
        "Mul" | "Pow" if is_square(node, network) => match reader(&["ReduceMean", "ReduceSum", "GlobalAveragePool"]) {
            Some(mean) => {
                format!(
                    "keep {} and {} `{}` in FP32, or scale `{read}` before squaring it",
                    node.op_type,
                    mean.op_type,
                    label(mean)
                )
            }
            None => format!("keep {} `{}` in FP32, or scale `{read}` before squaring it", node.op_type, label(node)),
        },
        "ReduceSumSquare" | "ReduceL2" => format!("keep {} in FP32, or scale `{read}` before", node.op_type),
        "ReduceSum" => match reader(&["Div", "Mul"]) {
            Some(quotient) => format!(
                "take the mean in one step: `ReduceMean` in the place of ReduceSum and {} `{}` keeps the sum inside of the kernel",
                quotient.op_type,
                label(quotient)
            ),
            None => format!("keep ReduceSum `{}` in FP32, or scale `{read}` before", label(node)),
        },
        "Exp" => format!("take the row's largest value off `{read}` before Exp, as `Softmax` does"),
        "Div" | "Reciprocal" => format!("keep the divisor of `{}` away from zero, with a larger epsilon", label(node)),
        "Conv" | "ConvTranspose" | "Gemm" | "MatMul" => {
            format!("keep {} `{}` in FP32, or scale its weights down and what follows it up", node.op_type, label(node))
        }
        operator => format!("keep {operator} `{}` in FP32, or scale what it reads", label(node)),
    })
}

/// Whether a node multiplies a tensor by itself, or raises one to the power of two.
fn is_square(node: &Node, network: &Network<'_>) -> bool {
    match (node.op_type.as_str(), node.input.as_slice()) {
        ("Mul", [one, other]) => one == other,
        ("Pow", [_, exponent]) => network.stored(exponent).and_then(numbers).is_some_and(|values| values == [2.0]),
        _ => false,
    }
}

#[cfg(test)]
mod tests;

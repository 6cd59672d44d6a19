//! The integer products of a graph, and whether a processor without VNNI sums them right. Nothing is run.
//!
//! ONNX Runtime's kernels for AVX2, and for AVX-512 without VNNI, multiply unsigned by signed 8-bit integers with
//! `VPMADDUBSW`: it adds the products of two neighbours of the reduction, and the sum saturates at 16 bits. With VNNI, AVX-VNNI
//! or AMX it does not. Two operands of one signedness are widened before they are multiplied, everywhere
//! (`onnxruntime/core/mlas/lib/platform.cpp` has the dispatch; each row below was run under `qemu-x86_64 -cpu Haswell`).
//!
//! | form | pairs of 16 bits |
//! |---|---|
//! | `Conv`, `Gemm`, `MatMul` between Q/DQ pairs | where the weights are signed; signed activations become unsigned ones |
//! | `QLinearConv`, `QLinearMatMul`, `QGemm`, `MatMulInteger…`, `DynamicQuantizeMatMul` | unsigned × signed |
//! | `ConvInteger` | signed data × unsigned weights: the kernel swaps the two |
//! | one channel a group (depthwise) | never |
//!
//! A pair fits if `largest activation × |w_k + w_k+1| ≤ 32,767`, for weights of one sign; those of two signs always do. The order
//! of a reduction is that in which the kernels pack it: along K of a matrix; of a convolution position by position with the
//! channels innermost (`QLinearConv` works channels-last), or channel by channel (`ConvInteger`). Both orders must fit, and
//! every neighbour counts, whatever K is padded to.

use std::collections::{HashMap, HashSet};

use super::numbers::numbers;
use super::{Attribute, Graph, Model, Node, TensorData};

/// The largest sum that 16 bits hold.
pub const LARGEST_SUM: i64 = 32_767;

/// A convolution or matrix product over 8-bit integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The node; what it makes, where it has no name.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// How its pairs are summed.
    pub sum: PairSum,
}

/// How a product sums pairs on a processor without VNNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairSum {
    /// In 32 bits, as everywhere.
    Wide,
    /// In 16 bits; of all pairs this is the one with the largest sum.
    Narrow {
        /// Largest magnitude of the factor that is not stored.
        factor: i64,
        /// The two neighbours among the stored integers.
        weights: (i64, i64),
    },
    /// In 16 bits, of what nothing bounds: why.
    Unbounded(&'static str),
}

impl PairSum {
    /// Whether no input can make it saturate.
    pub fn fits(&self) -> bool {
        match self {
            Self::Wide => true,
            Self::Narrow { factor, weights: (one, other) } => factor * magnitude(*one, *other) <= LARGEST_SUM,
            Self::Unbounded(_) => false,
        }
    }
}

/// Largest magnitude that a sum of the two reaches when each may also be left out.
fn magnitude(one: i64, other: i64) -> i64 {
    (one.max(0) + other.max(0)).max(-(one.min(0) + other.min(0)))
}

/// Every integer product of the model, in the order of its nodes; branches, loops and functions too.
pub fn products(model: &Model) -> Vec<Product> {
    let mut found = Vec::new();
    if let Some(graph) = &model.graph {
        let mut scope = Scope::default();
        scope.enter(graph);
        found.extend(scope.nodes.iter().filter_map(|node| scope.product(node)));
    }
    for function in &model.functions {
        let mut scope = Scope::default();
        scope.add(&function.node);
        found.extend(scope.nodes.iter().filter_map(|node| scope.product(node)));
    }
    found
}

/// Operators that hand integers on as they are, or a selection of them.
const MOVES: [&str; 14] = [
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "GlobalMaxPool",
    "Identity",
    "MaxPool",
    "ReduceMax",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Squeeze",
    "Tile",
    "Unsqueeze",
];

/// Contributed operators with integer products whose operands are not looked at.
const UNKNOWN: [&str; 4] = ["DynamicQuantizeLSTM", "QAttention", "QEmbedLayerNormalization", "QMoE"];

const UNSIGNED: i32 = 2;
const SIGNED: i32 = 3;

/// 8-bit integers that a product reads.
struct Operand {
    signed: bool,
    /// Largest magnitude.
    largest: i64,
    stored: Option<Stored>,
}

/// Integers that stand in the file.
struct Stored {
    values: Vec<i64>,
    /// Empty where the order was lost on the way to the product.
    dims: Vec<usize>,
}

/// Names of a graph and of the graphs inside it; ONNX lets no inner name hide an outer one.
#[derive(Default)]
struct Scope<'a> {
    nodes: Vec<&'a Node>,
    makers: HashMap<&'a str, &'a Node>,
    readers: HashMap<&'a str, Vec<&'a Node>>,
    stored: HashMap<&'a str, &'a TensorData>,
    declared: HashMap<&'a str, i32>,
}

impl<'a> Scope<'a> {
    fn enter(&mut self, graph: &'a Graph) {
        self.stored.extend(graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)));
        let declared = graph.input.iter().chain(&graph.value_info).chain(&graph.output);
        self.declared.extend(
            declared
                .filter_map(|value| Some((value.name.as_str(), value.kind.as_ref()?.tensor_type.as_ref()?.elem_type))),
        );
        self.add(&graph.node);
    }

    fn add(&mut self, nodes: &'a [Node]) {
        for node in nodes {
            self.nodes.push(node);
            self.makers.extend(node.output.iter().map(|name| (name.as_str(), node)));
            for name in &node.input {
                self.readers.entry(name).or_default().push(node);
            }
            if let (Some(name), Some(value)) = (node.output.first(), constant(node)) {
                self.stored.insert(name, value);
            }
            for attribute in &node.attribute {
                attribute.g.iter().for_each(|graph| self.enter(graph));
                attribute.graphs.iter().for_each(|graph| self.enter(graph));
            }
        }
    }

    fn product(&self, node: &'a Node) -> Option<Product> {
        let sum = match node.op_type.as_str() {
            "Conv" if self.is_quantised_again(node) => self.between_pairs(node),
            "Gemm" | "MatMul" => self.between_pairs(node),
            "QLinearConv" | "QLinearMatMul" | "QGemm" => self.of_integers(node, (0, 3)),
            "MatMulInteger" | "MatMulIntegerToFloat" | "ConvInteger" => self.of_integers(node, (0, 1)),
            "DynamicQuantizeMatMul" => Some(match self.integers(node.input.get(1)?) {
                Some(weights) if !weights.signed => PairSum::Wide,
                Some(weights) => narrow(node, 255, &weights),
                None => PairSum::Unbounded("the type of its weights is not declared"),
            }),
            name if UNKNOWN.contains(&name) => Some(PairSum::Unbounded("its operands are not looked at")),
            _ => None,
        }?;
        let name =
            if node.name.is_empty() { node.output.first().cloned().unwrap_or_default() } else { node.name.clone() };
        Some(Product { name, operator: node.op_type.clone(), sum })
    }

    /// Whether a convolution's result is quantised again; one whose result is not is computed in floats.
    fn is_quantised_again(&self, node: &Node) -> bool {
        let mut made: Vec<&str> = node.output.iter().map(String::as_str).collect();
        let mut seen = HashSet::new();
        while let Some(name) = made.pop() {
            // Inside of branches two tensors may have one name.
            if !seen.insert(name) {
                continue;
            }
            for reader in self.readers.get(name).into_iter().flatten() {
                match reader.op_type.as_str() {
                    "QuantizeLinear" => return true,
                    "Relu" | "Clip" => made.extend(reader.output.iter().map(String::as_str)),
                    _ => {}
                }
            }
        }
        false
    }

    /// A product that stands between Q/DQ pairs; `None` where one of its factors does not.
    fn between_pairs(&self, node: &'a Node) -> Option<PairSum> {
        let data = self.dequantised(node.input.first()?)?;
        let weights = self.dequantised(node.input.get(1)?)?;
        Some(match (&weights.stored, data.signed, weights.signed) {
            (_, _, false) | (None, true, true) => PairSum::Wide,
            // Only the right factor's signedness counts: a signed left one is shifted by 128.
            (Some(_), true, true) => narrow(node, 255, &weights),
            (Some(_), false, true) => narrow(node, data.largest, &weights),
            (None, false, true) => PairSum::Unbounded("both of its factors are computed"),
        })
    }

    /// A product of an operator that takes integers, at these places.
    fn of_integers(&self, node: &'a Node, (left, right): (usize, usize)) -> Option<PairSum> {
        let (left, right) = (self.integers(node.input.get(left)?), self.integers(node.input.get(right)?));
        let (Some(left), Some(right)) = (left, right) else {
            return Some(PairSum::Unbounded("the types of its factors are not declared"));
        };
        // The convolution's kernel multiplies weights by data.
        let (left, right) = if node.op_type == "ConvInteger" { (right, left) } else { (left, right) };
        Some(match (left.signed, right.signed) {
            (false, true) if right.stored.is_some() => narrow(node, left.largest, &right),
            (false, true) if left.stored.is_some() => narrow(node, right.largest, &left),
            (false, true) => PairSum::Unbounded("both of its factors are computed"),
            _ => PairSum::Wide,
        })
    }

    /// What a `DequantizeLinear` reads that hands its result to `name`, if it is of 8 bits.
    fn dequantised(&self, name: &str) -> Option<Operand> {
        let mut node = *self.makers.get(name)?;
        let (mut moved, mut left) = (false, self.nodes.len());
        while node.op_type != "DequantizeLinear" {
            left = left.checked_sub(1)?;
            if node.op_type != "Transpose" && !MOVES.contains(&node.op_type.as_str()) {
                return None;
            }
            moved = true;
            node = *self.makers.get(node.input.first()?.as_str())?;
        }
        let mut operand = self.integers(node.input.first()?)?;
        if moved && let Some(stored) = &mut operand.stored {
            stored.dims.clear();
        }
        Some(operand)
    }

    /// The 8-bit integers called `name`; `None` for others, and where the type is not known.
    fn integers(&self, name: &str) -> Option<Operand> {
        let (mut name, mut limit, mut moved) = (name, i64::MAX, false);
        // No way is longer than all nodes; one that comes to no end is that of names which are made twice.
        for _ in 0..=self.nodes.len() {
            let operand = |signed: bool| {
                let largest = if signed { 128 } else { limit.min(255) };
                Operand { signed, largest, stored: None }
            };
            if let Some(tensor) = self.stored.get(name) {
                let values = numbers(tensor)?.into_iter().map(|value| value as i64).collect();
                let dims = if moved { Vec::new() } else { dims(tensor)? };
                let signed = signedness(tensor.data_type)?;
                return Some(Operand { stored: Some(Stored { values, dims }), ..operand(signed) });
            }
            let declared = || self.declared.get(name).copied().and_then(signedness);
            let Some(node) = self.makers.get(name) else { return declared().map(operand) };
            let stored = |index: usize| node.input.get(index).and_then(|name| self.stored.get(name.as_str()).copied());
            let type_of = |index: usize| stored(index).and_then(|tensor| signedness(tensor.data_type));
            match node.op_type.as_str() {
                "Clip" => {
                    let most = stored(2).and_then(numbers).and_then(|values| values.first().copied());
                    limit = most.map_or(limit, |most| limit.min(most as i64));
                    name = node.input.first()?;
                }
                "QuantizeLinear" => {
                    let asked = attribute(node, "output_dtype").and_then(|kind| i32::try_from(kind.i).ok());
                    let signed = match node.input.get(2).filter(|name| !name.is_empty()) {
                        Some(_) => type_of(2)?,
                        None => asked.filter(|&kind| kind != 0).map_or(Some(false), signedness)?,
                    };
                    let stored = self.quantised(node, signed, moved);
                    return Some(Operand { stored, ..operand(signed) });
                }
                "DynamicQuantizeLinear" => return Some(operand(false)),
                "QLinearConv" | "QLinearMatMul" | "QLinearAdd" | "QLinearMul" => return type_of(7).map(operand),
                "Transpose" => {
                    moved = true;
                    name = node.input.first()?;
                }
                operator if MOVES.contains(&operator) => {
                    moved = true;
                    name = node.input.first()?;
                }
                _ => return declared().map(operand),
            }
        }
        None
    }

    /// The integers of a `QuantizeLinear` on stored floats, which are quantised when the graph is loaded.
    fn quantised(&self, node: &Node, signed: bool, moved: bool) -> Option<Stored> {
        let stored = |index: usize| self.stored.get(node.input.get(index)?.as_str()).copied();
        let (tensor, scale) = (stored(0)?, numbers(stored(1)?)?);
        let zero = stored(2).and_then(numbers).unwrap_or_default();
        let dims = dims(tensor)?;
        let axis = attribute(node, "axis").map_or(1, |attribute| attribute.i);
        let axis = usize::try_from(if axis < 0 { axis + dims.len() as i64 } else { axis }).ok()?;
        let behind = dims.get(axis.checked_add(1)?..).unwrap_or_default();
        let stride = behind.iter().try_fold(1_usize, |stride, &size| stride.checked_mul(size))?;
        let stride = if scale.len() == 1 { 1 } else { stride };
        let (least, most) = if signed { (-128.0, 127.0) } else { (0.0, 255.0) };
        let quantise = |(index, value): (usize, f64)| {
            let channel = index / stride.max(1) % scale.len().max(1);
            let zero = zero.get(channel).or(zero.first()).copied().unwrap_or(0.0);
            let step = scale.get(channel).copied().unwrap_or(1.0);
            ((value / step).round_ties_even() + zero).clamp(least, most) as i64
        };
        let values = numbers(tensor)?.into_iter().enumerate().map(quantise).collect();
        Some(Stored { values, dims: if moved { Vec::new() } else { dims } })
    }
}

fn constant(node: &Node) -> Option<&TensorData> {
    if node.op_type == "Constant" { attribute(node, "value")?.t.as_deref() } else { None }
}

fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a Attribute> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// Whether integers of this element type are signed; `None` for what is no 8-bit integer.
const fn signedness(data_type: i32) -> Option<bool> {
    match data_type {
        UNSIGNED => Some(false),
        SIGNED => Some(true),
        _ => None,
    }
}

fn dims(tensor: &TensorData) -> Option<Vec<usize>> {
    tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect()
}

/// The largest pair of `stored`, times `factor`.
fn narrow(node: &Node, factor: i64, weights: &Operand) -> PairSum {
    let Some(stored) = &weights.stored else { return PairSum::Unbounded("its weights are computed") };
    let is_convolution = node.op_type.contains("Conv");
    let transposed = attribute(node, "transB").is_some_and(|attribute| attribute.i != 0);
    let mut worst = Worst { stored: &stored.values, pair: (0, 0) };
    // Without any, the sizes beside a zero may be whatever they like.
    if stored.values.is_empty() {
        return PairSum::Narrow { factor, weights: worst.pair };
    }
    match stored.dims.as_slice() {
        [count, channels, rest @ ..] if is_convolution => {
            let groups = attribute(node, "group").map_or(1, |attribute| attribute.i.max(1)) as usize;
            if *channels == 1 && *count == groups {
                return PairSum::Wide;
            }
            let positions: usize = rest.iter().product();
            for filter in (0..*count).map(|index| index * channels * positions) {
                worst.along((0..channels * positions).map(|place| filter + place));
                let innermost = |position| (0..*channels).map(move |channel| filter + channel * positions + position);
                worst.along((0..positions).flat_map(innermost));
            }
        }
        [rows, columns] if transposed => {
            (0..*rows).for_each(|row| worst.along(row * columns..(row + 1) * columns));
        }
        [outer @ .., rows, columns] => {
            for matrix in (0..outer.iter().product::<usize>()).map(|index| index * rows * columns) {
                (0..*columns).for_each(|column| worst.along((0..*rows).map(|row| matrix + row * columns + column)));
            }
        }
        // A vector is reduced along its length; where the order is lost, any two may meet.
        [_] => worst.along(0..stored.values.len()),
        [] => worst.of_any_two(),
    }
    PairSum::Narrow { factor, weights: worst.pair }
}

/// The pair with the largest sum so far.
struct Worst<'a> {
    stored: &'a [i64],
    pair: (i64, i64),
}

impl Worst<'_> {
    fn offer(&mut self, one: i64, other: i64) {
        if magnitude(one, other) > magnitude(self.pair.0, self.pair.1) {
            self.pair = (one, other);
        }
    }

    /// Every two neighbours among these places, and the last beside padding.
    fn along(&mut self, places: impl Iterator<Item = usize>) {
        let mut before = 0;
        for value in places.filter_map(|place| self.stored.get(place).copied()) {
            self.offer(before, value);
            before = value;
        }
    }

    fn of_any_two(&mut self) {
        let mut sorted = self.stored.to_vec();
        sorted.sort_unstable();
        if let [least, rest @ ..] = sorted.as_slice() {
            self.offer(*least, rest.first().copied().unwrap_or(0));
        }
        if let [rest @ .., most] = sorted.as_slice() {
            self.offer(rest.last().copied().unwrap_or(0), *most);
        }
    }
}

#[cfg(test)]
mod tests;

//! Integer products in exact arithmetic, beside what a runtime made of them.

use std::collections::BTreeMap;

use trtgate::internals::onnx::{Graph, Model, Node, TensorData, numbers};
use trtgate::internals::tensor::Tensor;

/// Results of each product that are computed anew.
const PLACES: u64 = 96;

/// How far from the middle between two integers a result may be rounded to either: single precision scales sums of 2^20.
const MIDDLE: f64 = 1e-3;

/// A product between Q/DQ pairs.
struct Product<'a> {
    node: &'a Node,
    data: Pair<'a>,
    weights: Pair<'a>,
    /// The pair behind it; without one, its result is read in floats.
    result: Option<Pair<'a>>,
    /// Limits of a ReLU or clip before that pair.
    limits: (f64, f64),
}

/// Integers with the scale and the zero point that they are read by.
struct Pair<'a> {
    integers: &'a str,
    scale: Vec<f64>,
    zero: f64,
}

struct Names<'a> {
    graph: &'a Graph,
    makers: BTreeMap<&'a str, &'a Node>,
    stored: BTreeMap<&'a str, &'a TensorData>,
}

impl<'a> Names<'a> {
    fn of(graph: &'a Graph) -> Self {
        let makers = graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node)));
        let stored = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor));
        Self { graph, makers: makers.collect(), stored: stored.collect() }
    }

    fn pair(&self, node: &'a Node, integers: &'a str) -> Pair<'a> {
        let parameter = |index: usize| numbers(self.stored[node.input[index].as_str()]).unwrap();
        Pair { integers, scale: parameter(1), zero: parameter(2)[0] }
    }

    fn dequantised(&self, name: &str) -> Option<Pair<'a>> {
        let node = self.makers.get(name).filter(|node| node.op_type == "DequantizeLinear")?;
        Some(self.pair(node, &node.input[0]))
    }

    fn products(&self) -> Vec<Product<'a>> {
        let wanted = self.graph.node.iter().filter(|node| ["Conv", "Gemm", "MatMul"].contains(&node.op_type.as_str()));
        let product = |node: &'a Node| {
            let (data, weights) = (self.dequantised(&node.input[0])?, self.dequantised(&node.input[1])?);
            let mut result = node.output[0].as_str();
            let mut limits = (f64::NEG_INFINITY, f64::INFINITY);
            loop {
                let readers: Vec<&Node> =
                    self.graph.node.iter().filter(|reader| reader.input.iter().any(|name| name == result)).collect();
                match readers.as_slice() {
                    [relu] if relu.op_type == "Relu" => {
                        limits.0 = 0.0;
                        result = &relu.output[0];
                    }
                    [pair, ..] if pair.op_type == "QuantizeLinear" => {
                        let result = Some(self.pair(pair, &pair.output[0]));
                        return Some(Product { node, data, weights, result, limits });
                    }
                    // What is computed in floats on both sides says nothing of integers, and what is moved may be quantised
                    // before it is.
                    [moved, ..] if moved.op_type == "Transpose" => return None,
                    _ if node.op_type == "Conv" => return None,
                    _ => return Some(Product { node, data, weights, result: None, limits }),
                }
            }
        };
        wanted.filter_map(product).collect()
    }

    /// The bias of a channel.
    fn bias(&self, node: &Node, channel: usize) -> f64 {
        let Some(name) = node.input.get(2).filter(|name| !name.is_empty()) else { return 0.0 };
        let at = |values: &[f64]| values[if values.len() == 1 { 0 } else { channel }];
        match self.dequantised(name) {
            Some(pair) => {
                let integers = numbers(self.stored[pair.integers]).unwrap();
                at(&integers) * at(&pair.scale)
            }
            None => at(&numbers(self.stored[name.as_str()]).unwrap()),
        }
    }
}

/// Tensors that the check reads beside the model's own outputs.
pub(super) fn wanted(model: &Model) -> Vec<String> {
    let names = Names::of(model.graph.as_ref().unwrap());
    let mut wanted = Vec::new();
    for product in names.products() {
        let result = product.result.as_ref().map_or(product.node.output[0].as_str(), |pair| pair.integers);
        for name in [product.data.integers, product.weights.integers, result] {
            if !names.stored.contains_key(name) && !wanted.iter().any(|known| known == name) {
                wanted.push(name.to_owned());
            }
        }
    }
    wanted
}

/// What a check of all products found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Products whose results were computed anew.
    pub(super) products: usize,
    /// Results that are not those of exact arithmetic.
    pub(super) wrong: usize,
}

/// Holds the results of every integer product of `model` to exact arithmetic on the integers that it read.
pub(super) fn check(model: &Model, tensors: &[Tensor]) -> Found {
    let names = Names::of(model.graph.as_ref().unwrap());
    let seen: BTreeMap<&str, &Tensor> = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let integers = |name: &str| -> (Vec<usize>, Vec<f64>) {
        match names.stored.get(name) {
            Some(stored) => (stored.dims.iter().map(|&size| size as usize).collect(), numbers(stored).unwrap()),
            None => (seen[name].shape.clone(), seen[name].values.to_f64()),
        }
    };
    let mut found = Found::default();
    for product in names.products() {
        let (data, weights) = (integers(product.data.integers), integers(product.weights.integers));
        let result = seen[product.result.as_ref().map_or(product.node.output[0].as_str(), |pair| pair.integers)];
        let results = result.floats();
        let largest = results.iter().fold(0.0_f64, |largest, value| largest.max(f64::from(value.abs())));
        let mut state = 1_u64;
        for _ in 0..PLACES {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = (state >> 33) as usize % results.len();
            let index = unravel(place, &result.shape);
            let (sum, channel) = exact(&product, &data, &weights, &index);
            let scale = &product.weights.scale;
            let step = product.data.scale[0] * scale[if scale.len() == 1 { 0 } else { channel }];
            let value = (sum * step + names.bias(product.node, channel)).clamp(product.limits.0, product.limits.1);
            let actual = f64::from(results[place]);
            let right = match &product.result {
                Some(pair) => {
                    let steps = value / pair.scale[0];
                    let near = |shift: f64| ((steps + shift).round_ties_even() + pair.zero).clamp(0.0, 255.0);
                    (near(-MIDDLE)..=near(MIDDLE)).contains(&actual)
                }
                None => (actual - value).abs() <= 1e-6 * largest,
            };
            found.wrong += usize::from(!right);
        }
        found.products += 1;
    }
    found
}

fn unravel(mut place: usize, shape: &[usize]) -> Vec<usize> {
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let at = place % size;
            place /= size;
            at
        })
        .collect();
    index.reverse();
    index
}

/// The sum of products behind one result, and the channel that it belongs to.
fn exact(
    product: &Product<'_>,
    data: &(Vec<usize>, Vec<f64>),
    weights: &(Vec<usize>, Vec<f64>),
    at: &[usize],
) -> (f64, usize) {
    let ((shape, data), (sizes, weights)) = (data, weights);
    let (zero, weights_zero) = (product.data.zero, product.weights.zero);
    let attribute = |name: &str| product.node.attribute.iter().find(|attribute| attribute.name == name);
    let mut sum = 0.0;
    if product.node.op_type == "Conv" {
        let list = |name: &str, size: usize, absent: i64| -> Vec<i64> {
            attribute(name).map_or_else(
                || vec![absent; size],
                |attribute| match attribute.ints.as_slice() {
                    // A list of one may stand in the field of one.
                    [] => vec![attribute.i],
                    ints => ints.to_vec(),
                },
            )
        };
        let (mut pads, strides, steps) = (list("pads", 4, 0), list("strides", 2, 1), list("dilations", 2, 1));
        let groups = attribute("group").map_or(1, |attribute| attribute.i as usize);
        let (&[sample, filter, y, x], &[_, channels, height, width]) = (&at, &shape.as_slice()) else {
            panic!("a convolution of pictures")
        };
        if let Some(automatic) = attribute("auto_pad").filter(|automatic| &*automatic.s != b"NOTSET") {
            assert_eq!(&*automatic.s, b"SAME_UPPER");
            pads = [(*height, 0), (*width, 1)]
                .map(|(size, axis)| {
                    let reach = (size as i64 - 1) / strides[axis] * strides[axis];
                    (reach + (sizes[2 + axis] as i64 - 1) * steps[axis] + 1 - size as i64).max(0) / 2
                })
                .to_vec();
        }
        let group = filter / (sizes[0] / groups);
        for channel in 0..sizes[1] {
            for row in 0..sizes[2] {
                for column in 0..sizes[3] {
                    let place = |at: usize, axis: usize, inner: usize| {
                        at as i64 * strides[axis] + inner as i64 * steps[axis] - pads[axis]
                    };
                    let (from_y, from_x) = (place(*y, 0, row), place(*x, 1, column));
                    if from_y < 0 || from_y >= *height as i64 || from_x < 0 || from_x >= *width as i64 {
                        continue;
                    }
                    let source = ((sample * channels + group * sizes[1] + channel) * height + from_y as usize) * width
                        + from_x as usize;
                    let weight = ((filter * sizes[1] + channel) * sizes[2] + row) * sizes[3] + column;
                    sum += (data[source] - zero) * (weights[weight] - weights_zero);
                }
            }
        }
        return (sum, *filter);
    }
    let transposed = attribute("transB").is_some_and(|attribute| attribute.i != 0);
    let column = *at.last().unwrap();
    let depth = *shape.last().unwrap();
    let columns = if transposed { sizes[sizes.len() - 2] } else { *sizes.last().unwrap() };
    // Rows of all matrices in one count; a second factor of two dimensions serves every matrix.
    let row = at[..at.len() - 1].iter().zip(shape).fold(0, |row, (at, size)| row * size + at);
    let matrix = if sizes.len() == 2 { 0 } else { row / shape[shape.len() - 2] };
    for inner in 0..depth {
        let weight =
            matrix * depth * columns + if transposed { column * depth + inner } else { inner * columns + column };
        sum += (data[row * depth + inner] - zero) * (weights[weight] - weights_zero);
    }
    (sum, column)
}

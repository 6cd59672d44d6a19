//! A small network in FP32 and quantised in both ways, for tests.

use prost::bytes::Bytes;

use crate::onnx::{Attribute, Graph, Model, Node, OperatorSet, TensorData, ValueInfo};

pub(crate) fn stored_floats(name: &str, dims: &[i64], values: &[f32]) -> TensorData {
    stored(name, 1, dims, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn stored(name: &str, data_type: i32, dims: &[i64], bytes: Vec<u8>) -> TensorData {
    let raw_data = Some(Bytes::from(bytes));
    TensorData { name: name.to_owned(), data_type, dims: dims.to_vec(), raw_data, ..TensorData::default() }
}

fn node(name: &str, operator: &str, input: &[&str], output: &str) -> Node {
    Node {
        op_type: operator.to_owned(),
        name: name.to_owned(),
        input: input.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Node::default()
    }
}

fn along(mut node: Node, axis: i64) -> Node {
    node.attribute.push(Attribute { name: "axis".to_owned(), i: axis, kind: 2, ..Attribute::default() });
    node
}

fn model(node: Vec<Node>, initializer: Vec<TensorData>) -> Model {
    let value = |name: &str| ValueInfo { name: name.to_owned(), kind: None };
    Model {
        ir_version: 8,
        producer_name: String::new(),
        opset_import: vec![OperatorSet { domain: String::new(), version: 17 }],
        graph: Some(Graph {
            node,
            initializer,
            input: vec![value("x")],
            output: vec![value("logits")],
            ..Graph::default()
        }),
        ..Model::default()
    }
}

/// Weights `[2, 1, 3, 3]`, the second channel ten times the first.
fn weights() -> Vec<f32> {
    (0..18).map(|index| ((index * 7 % 9) as f32 - 4.0) * if index < 9 { 0.1 } else { 1.0 }).collect()
}

const SCALES: [f32; 2] = [0.4 / 127.0, 4.0 / 127.0];
const BIAS: [f32; 2] = [0.25, -1.5];

fn constants() -> Vec<TensorData> {
    vec![
        stored_floats("w", &[2, 1, 3, 3], &weights()),
        stored_floats("b", &[2], &BIAS),
        stored_floats("kernel", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
    ]
}

/// `Conv`, `Relu`, `MatMul`.
pub(crate) fn fp32() -> Model {
    let nodes = vec![
        node("conv", "Conv", &["x", "w", "b"], "conv:0"),
        node("relu", "Relu", &["conv:0"], "relu:0"),
        node("dense", "MatMul", &["relu:0", "kernel"], "logits"),
    ];
    model(nodes, constants())
}

fn scales(activation: f32) -> Vec<TensorData> {
    vec![
        stored_floats("x_scale", &[], &[activation]),
        stored_floats("relu:0_scale", &[], &[activation]),
        stored_floats("w_scale", &[2], &SCALES),
        stored("zero", 3, &[], vec![0]),
        stored("zeros", 3, &[2], vec![0, 0]),
    ]
}

/// With pairs as TensorRT takes them; `activation` is the scale of both activations.
pub(crate) fn quantised(activation: f32) -> Model {
    let pair = |name: &str, source: &str, zero: &str| {
        let (scale, between) = (format!("{name}_scale"), format!("{name}_QuantizeLinear_Output"));
        [
            node(&format!("{name}_QuantizeLinear"), "QuantizeLinear", &[source, &scale, zero], &between),
            node(
                &format!("{name}_DequantizeLinear"),
                "DequantizeLinear",
                &[&between, &scale, zero],
                &format!("{name}_DequantizeLinear_Output"),
            ),
        ]
    };
    let mut nodes = Vec::new();
    nodes.extend(pair("w", "w", "zeros").map(|node| along(node, 0)));
    nodes.extend(pair("x", "x", "zero"));
    nodes.push(node("conv", "Conv", &["x_DequantizeLinear_Output", "w_DequantizeLinear_Output", "b"], "conv:0"));
    nodes.push(node("relu", "Relu", &["conv:0"], "relu:0"));
    nodes.extend(pair("relu:0", "relu:0", "zero"));
    nodes.push(node("dense", "MatMul", &["relu:0_DequantizeLinear_Output", "kernel"], "logits"));
    model(nodes, constants().into_iter().chain(scales(activation)).collect())
}

/// With stored integers and the ReLU in the pair, as CPUs take it.
pub(crate) fn quantised_for_cpus(activation: f32) -> Model {
    let integers: Vec<u8> = weights()
        .iter()
        .enumerate()
        .map(|(index, value)| ((value / SCALES[index / 9]).round() as i8).cast_unsigned())
        .collect();
    let grid: Vec<f32> = SCALES.iter().map(|scale| scale * activation).collect();
    let bias: Vec<u8> =
        BIAS.iter().zip(&grid).flat_map(|(value, scale)| ((value / scale).round() as i32).to_le_bytes()).collect();
    let nodes = vec![
        along(
            node(
                "w_DequantizeLinear",
                "DequantizeLinear",
                &["w_QuantizeLinear_Output", "w_scale", "zeros"],
                "w_DequantizeLinear_Output",
            ),
            0,
        ),
        along(node("b_dequantize", "DequantizeLinear", &["b_quantized", "b_scale"], "b_dequantized"), 0),
        node("x_QuantizeLinear", "QuantizeLinear", &["x", "x_scale", "middle"], "x_QuantizeLinear_Output"),
        node(
            "x_DequantizeLinear",
            "DequantizeLinear",
            &["x_QuantizeLinear_Output", "x_scale", "middle"],
            "x_DequantizeLinear_Output",
        ),
        node("conv", "Conv", &["x_DequantizeLinear_Output", "w_DequantizeLinear_Output", "b_dequantized"], "conv:0"),
        node(
            "relu:0_QuantizeLinear",
            "QuantizeLinear",
            &["conv:0", "relu:0_scale", "zero_8"],
            "relu:0_QuantizeLinear_Output",
        ),
        node("clip", "Clip", &["relu:0_QuantizeLinear_Output", "", "limit"], "clipped"),
        node(
            "relu:0_DequantizeLinear",
            "DequantizeLinear",
            &["clipped", "relu:0_scale", "zero_8"],
            "relu:0_DequantizeLinear_Output",
        ),
        node("dense", "MatMul", &["relu:0_DequantizeLinear_Output", "kernel"], "logits"),
    ];
    let stored_integers = vec![
        stored("w_QuantizeLinear_Output", 3, &[2, 1, 3, 3], integers),
        stored("b_quantized", 6, &[2], bias),
        stored_floats("b_scale", &[2], &grid),
        stored("middle", 2, &[], vec![128]),
        stored("zero_8", 2, &[], vec![0]),
        stored("limit", 2, &[], vec![127]),
        stored_floats("kernel", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
    ];
    model(nodes, stored_integers.into_iter().chain(scales(activation)).collect())
}

//! Small ONNX models for tests, encoded by hand: the few protobuf messages that a convolutional classifier needs.
//!
//! Field numbers are those of `onnx.proto` (ONNX IR version 8).

/// A length-delimited field.
fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    let mut out = varint(field << 3 | 2);
    out.extend(varint(content.len() as u64));
    out.extend(content);
    out
}

/// An integer field.
fn number(field: u64, value: u64) -> Vec<u8> {
    let mut out = varint(field << 3);
    out.extend(varint(value));
    out
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// ONNX element types.
const FLOAT: u64 = 1;
const INT8: u64 = 3;
const INT64: u64 = 7;
const FLOAT16: u64 = 10;

fn value_info(name: &str, batch: Option<u64>, rest: &[u64]) -> Vec<u8> {
    let first = batch.map_or_else(|| bytes(2, b"N"), |batch| number(1, batch));
    let mut dims = bytes(1, &first);
    for extent in rest {
        dims.extend(bytes(1, &number(1, *extent)));
    }
    let tensor = [number(1, FLOAT), bytes(2, &dims)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}

/// An input or output with open sizes by name.
fn open_info(name: &str, data_type: u64, sizes: &[Result<u64, &str>]) -> Vec<u8> {
    let size = |size: &Result<u64, &str>| match size {
        Ok(size) => bytes(1, &number(1, *size)),
        Err(symbol) => bytes(1, &bytes(2, symbol.as_bytes())),
    };
    let dims: Vec<u8> = sizes.iter().flat_map(size).collect();
    let tensor = [number(1, data_type), bytes(2, &dims)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}

fn initializer(name: &str, data_type: u64, shape: &[u64], raw: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|extent| number(1, *extent)).collect();
    bytes(5, &[dims, number(2, data_type), bytes(8, name.as_bytes()), bytes(9, raw)].concat())
}

fn integers(name: &str, values: &[u64]) -> Vec<u8> {
    let list: Vec<u8> = values.iter().flat_map(|value| number(8, *value)).collect();
    bytes(5, &[bytes(1, name.as_bytes()), list, number(20, 7)].concat())
}

fn integer(name: &str, value: u64) -> Vec<u8> {
    bytes(5, &[bytes(1, name.as_bytes()), number(3, value), number(20, 2)].concat())
}

fn node(operator: &str, name: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut out: Vec<u8> = inputs.iter().flat_map(|input| bytes(1, input.as_bytes())).collect();
    out.extend(bytes(2, output.as_bytes()));
    out.extend(bytes(3, name.as_bytes()));
    out.extend(bytes(4, operator.as_bytes()));
    out.extend(attributes.concat());
    bytes(1, &out)
}

/// How the weights and activations are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 32-bit floats.
    Float,
    /// 16-bit floats between casts, 32-bit floats at the border.
    Half,
    /// 32-bit floats with explicit Q/DQ pairs around the convolutions.
    Quantized,
}

/// Weights that depend on their position only; small enough that activations stay near 1.
fn weights(count: usize, scale: f32, seed: usize) -> Vec<f32> {
    (0..count).map(|index| (((index * 37 + seed * 101) % 197) as f32 / 98.0 - 1.0) * scale).collect()
}

/// Channels of the two convolutions, and classes.
const CHANNELS: [u64; 3] = [3, 32, 64];
const CLASSES: u64 = 10;
/// Height and width.
const SIDE: usize = 8;
const PIXELS: usize = SIDE * SIDE;
/// Values of one sample.
pub const ROW: usize = 3 * PIXELS;

/// `input_1 [N, 3, 8, 8]` → two 3 × 3 convolutions with ReLU → global average → dense → `logits [N, 10]`.
pub fn classifier(form: Form, batch: Option<u64>) -> Vec<u8> {
    let data_type = if form == Form::Half { FLOAT16 } else { FLOAT };
    let encode = |values: &[f32]| -> Vec<u8> {
        match form {
            Form::Half => values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    };
    let (mut nodes, mut constants) = (Vec::new(), Vec::new());
    let mut current = "input_1".to_owned();
    if form == Form::Half {
        nodes.extend(node("Cast", "to_half", &["input_1"], "half_in", &[integer("to", FLOAT16)]));
        current = "half_in".to_owned();
    }
    let quantize = |nodes: &mut Vec<u8>, constants: &mut Vec<u8>, tensor: &str, scale: f32| -> String {
        let (scale_name, zero) = (format!("{tensor}_scale"), format!("{tensor}_zero"));
        constants.extend(initializer(&scale_name, FLOAT, &[], &scale.to_le_bytes()));
        constants.extend(initializer(&zero, INT8, &[], &[0]));
        let (q, dq) = (format!("{tensor}_q"), format!("{tensor}_dq"));
        nodes.extend(node("QuantizeLinear", &q, &[tensor, &scale_name, &zero], &q, &[]));
        nodes.extend(node("DequantizeLinear", &dq, &[&q, &scale_name, &zero], &dq, &[]));
        dq
    };
    for (index, pair) in CHANNELS.windows(2).enumerate() {
        let (from, to) = (pair[0], pair[1]);
        let (w, b, c, r) = (format!("w{index}"), format!("b{index}"), format!("conv{index}"), format!("relu{index}"));
        let scale = 1.0 / (from as f32 * 9.0).sqrt();
        constants.extend(initializer(
            &w,
            data_type,
            &[to, from, 3, 3],
            &encode(&weights((to * from * 9) as usize, scale, index)),
        ));
        constants.extend(initializer(&b, data_type, &[to], &encode(&weights(to as usize, 0.1, index + 7))));
        let mut weight = w.clone();
        if form == Form::Quantized {
            current = quantize(&mut nodes, &mut constants, &current, 2.0 / 127.0);
            weight = quantize(&mut nodes, &mut constants, &w, scale / 127.0);
        }
        let attributes = [integers("kernel_shape", &[3, 3]), integers("pads", &[1, 1, 1, 1])];
        nodes.extend(node("Conv", &c, &[&current, &weight, &b], &c, &attributes));
        nodes.extend(node("Relu", &r, &[&c], &r, &[]));
        current = r;
    }
    nodes.extend(node("GlobalAveragePool", "pool", &[&current], "pool", &[]));
    nodes.extend(node("Flatten", "flat", &["pool"], "flat", &[integer("axis", 1)]));
    let features = CHANNELS[2];
    constants.extend(initializer(
        "wd",
        data_type,
        &[CLASSES, features],
        &encode(&weights((CLASSES * features) as usize, 1.0, 5)),
    ));
    constants.extend(initializer("bd", data_type, &[CLASSES], &encode(&weights(CLASSES as usize, 0.5, 6))));
    let dense = if form == Form::Half { "dense" } else { "logits" };
    nodes.extend(node("Gemm", "dense", &["flat", "wd", "bd"], dense, &[integer("transB", 1)]));
    if form == Form::Half {
        nodes.extend(node("Cast", "to_float", &["dense"], "logits", &[integer("to", FLOAT)]));
    }
    model(
        &nodes,
        &constants,
        &value_info("input_1", batch, &[3, SIDE as u64, SIDE as u64]),
        &value_info("logits", batch, &[CLASSES]),
    )
}

/// `input_1 [N, 3, 8, 8]` → one 8 × 8 convolution → `logits [N, 10]`: built in a moment.
pub fn smallest() -> Vec<u8> {
    let raw = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
    let side = SIDE as u64;
    let constants = [
        initializer("w", FLOAT, &[CLASSES, 3, side, side], &raw(&weights(CLASSES as usize * ROW, 0.05, 3))),
        initializer("b", FLOAT, &[CLASSES], &raw(&weights(CLASSES as usize, 0.5, 6))),
    ]
    .concat();
    let nodes = [
        node("Conv", "conv", &["input_1", "w", "b"], "conv", &[integers("kernel_shape", &[side, side])]),
        node("Flatten", "flat", &["conv"], "logits", &[integer("axis", 1)]),
    ]
    .concat();
    model(&nodes, &constants, &value_info("input_1", None, &[3, side, side]), &value_info("logits", None, &[CLASSES]))
}

/// A model of one operator that no runtime knows.
pub fn unknown_operator() -> Vec<u8> {
    let nodes = node("Frobnicate", "the_node", &["input_1"], "logits", &[]);
    model(&nodes, &[], &value_info("input_1", None, &[3]), &value_info("logits", None, &[3]))
}

/// Channels of [`open_sizes`], in and out.
pub const PLANES: [usize; 2] = [2, 4];

/// `x [N, 2, height, width]` → 3 × 3 convolution with ReLU → `y [N, 4, height, width]`.
pub fn open_sizes() -> Vec<u8> {
    let raw = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
    let [from, to] = PLANES.map(|planes| planes as u64);
    let constants = [
        initializer("w", FLOAT, &[to, from, 3, 3], &raw(&weights(PLANES[0] * PLANES[1] * 9, 0.2, 1))),
        initializer("b", FLOAT, &[to], &raw(&weights(PLANES[1], 0.1, 2))),
    ]
    .concat();
    let attributes = [integers("kernel_shape", &[3, 3]), integers("pads", &[1, 1, 1, 1])];
    let nodes =
        [node("Conv", "conv", &["x", "w", "b"], "conv", &attributes), node("Relu", "relu", &["conv"], "y", &[])]
            .concat();
    let sizes = |planes: u64| [Err("N"), Ok(planes), Err("height"), Err("width")];
    model(&nodes, &constants, &open_info("x", FLOAT, &sizes(from)), &open_info("y", FLOAT, &sizes(to)))
}

/// What [`open_sizes`] answers to one sample of `height` × `width`, planes first.
pub fn open_sizes_reference(sample: &[f32], height: usize, width: usize) -> Vec<f32> {
    let (w, b) = (weights(PLANES[0] * PLANES[1] * 9, 0.2, 1), weights(PLANES[1], 0.1, 2));
    let mut answer = Vec::with_capacity(PLANES[1] * height * width);
    for (plane, bias) in b.iter().enumerate() {
        for place in 0..height * width {
            let (y, x) = (place / width, place % width);
            let mut sum = f64::from(*bias);
            for source in 0..PLANES[0] {
                for kernel in 0..9 {
                    let (at_y, at_x) = (y + kernel / 3, x + kernel % 3);
                    if (1..=height).contains(&at_y) && (1..=width).contains(&at_x) {
                        let weight = w[(plane * PLANES[0] + source) * 9 + kernel];
                        let value = sample[(source * height + at_y - 1) * width + at_x - 1];
                        sum += f64::from(weight) * f64::from(value);
                    }
                }
            }
            answer.push(sum.max(0.0) as f32);
        }
    }
    answer
}

/// Numbers of a row of the table of [`sequence`], and rows.
pub const TABLE: [usize; 2] = [4, 16];

/// `ids [N, length]` and `mask [N, length]`, whole numbers → rows of a table, times the mask → `y [N, length, 4]`.
pub fn sequence() -> Vec<u8> {
    let [width, rows] = TABLE.map(|size| size as u64);
    let table: Vec<u8> = weights(TABLE[0] * TABLE[1], 1.0, 3).iter().flat_map(|value| value.to_le_bytes()).collect();
    let constants =
        [initializer("table", FLOAT, &[rows, width], &table), initializer("last", INT64, &[1], &2_i64.to_le_bytes())]
            .concat();
    let nodes = [
        node("Gather", "gather", &["table", "ids"], "rows", &[]),
        node("Cast", "cast", &["mask"], "there", &[integer("to", FLOAT)]),
        node("Unsqueeze", "unsqueeze", &["there", "last"], "beside", &[]),
        node("Mul", "mul", &["rows", "beside"], "y", &[]),
    ]
    .concat();
    let whole = |name: &str| bytes(11, &open_info(name, INT64, &[Err("N"), Err("length")]));
    let inputs = [whole("ids"), whole("mask")].concat();
    let output = bytes(12, &open_info("y", FLOAT, &[Err("N"), Err("length"), Ok(width)]));
    graph(&nodes, &constants, &inputs, &output)
}

/// What [`sequence`] answers to one place.
pub fn sequence_reference(id: i64, mask: i64) -> Vec<f32> {
    let table = weights(TABLE[0] * TABLE[1], 1.0, 3);
    table.chunks(TABLE[0]).nth(id as usize).unwrap_or_default().iter().map(|value| value * mask as f32).collect()
}

/// `x [1, 6]` and `shape [2]`, whole numbers that say the shape of the answer → `x` as often as they say, `y`.
pub fn repeated() -> Vec<u8> {
    let nodes = node("Expand", "expand", &["x", "shape"], "y", &[]);
    let inputs = [("x", FLOAT, vec![Ok(1), Ok(6)]), ("shape", INT64, vec![Ok(2)])];
    let inputs = inputs.map(|(name, data_type, sizes)| bytes(11, &open_info(name, data_type, &sizes))).concat();
    graph(&nodes, &[], &inputs, &bytes(12, &open_info("y", FLOAT, &[Err("rows"), Ok(6)])))
}

/// `x [n]`, of `length` where there is one → where it is above 0.5, `places [1, found]`, and what stands there, `y [found]`: as many as the values say.
pub fn found(length: Option<u64>) -> Vec<u8> {
    let constants = [
        initializer("limit", FLOAT, &[], &0.5_f32.to_le_bytes()),
        initializer("first", INT64, &[1], &0_i64.to_le_bytes()),
    ]
    .concat();
    let nodes = [
        node("Greater", "greater", &["x", "limit"], "above", &[]),
        node("NonZero", "non_zero", &["above"], "places", &[]),
        node("Squeeze", "squeeze", &["places", "first"], "row", &[]),
        node("Gather", "gather", &["x", "row"], "y", &[]),
    ]
    .concat();
    let outputs = [("places", INT64, vec![Ok(1), Err("found")]), ("y", FLOAT, vec![Err("found")])];
    let outputs = outputs.map(|(name, data_type, sizes)| bytes(12, &open_info(name, data_type, &sizes))).concat();
    graph(&nodes, &constants, &bytes(11, &open_info("x", FLOAT, &[length.ok_or("n")])), &outputs)
}

fn model(nodes: &[u8], constants: &[u8], input: &[u8], output: &[u8]) -> Vec<u8> {
    graph(nodes, constants, &bytes(11, input), &bytes(12, output))
}

fn graph(nodes: &[u8], constants: &[u8], inputs: &[u8], outputs: &[u8]) -> Vec<u8> {
    let graph = [nodes, &bytes(2, b"classifier"), constants, inputs, outputs].concat();
    let opset = [bytes(1, b""), number(2, 13)].concat();
    [number(1, 8), bytes(7, &graph), bytes(8, &opset)].concat()
}

/// Values for `samples` inputs of the classifier, in 0 … 1, each sample different.
pub fn inputs(samples: usize) -> Vec<f32> {
    (0..samples * ROW).map(|index| ((index * 31 + index / ROW * 57) % 251) as f32 / 250.0).collect()
}

/// The classifier in plain arithmetic: `[samples, 10]`.
pub fn reference(samples: usize) -> Vec<f32> {
    let all = inputs(samples);
    let mut logits = Vec::new();
    for sample in all.chunks(ROW) {
        let mut current: Vec<f64> = sample.iter().map(|value| f64::from(*value)).collect();
        for (index, pair) in CHANNELS.windows(2).enumerate() {
            let (from, to) = (pair[0] as usize, pair[1] as usize);
            let w = weights(to * from * 9, 1.0 / (from as f32 * 9.0).sqrt(), index);
            let b = weights(to, 0.1, index + 7);
            let mut next = vec![0.0; to * PIXELS];
            for (channel, bias) in b.iter().enumerate() {
                for y in 0..SIDE {
                    for x in 0..SIDE {
                        let mut sum = f64::from(*bias);
                        for source in 0..from {
                            for ky in 0..3 {
                                for kx in 0..3 {
                                    let (sy, sx) = (y + ky, x + kx);
                                    if (1..=SIDE).contains(&sy) && (1..=SIDE).contains(&sx) {
                                        sum += f64::from(w[((channel * from + source) * 3 + ky) * 3 + kx])
                                            * current[source * PIXELS + (sy - 1) * SIDE + sx - 1];
                                    }
                                }
                            }
                        }
                        next[channel * PIXELS + y * SIDE + x] = sum.max(0.0);
                    }
                }
            }
            current = next;
        }
        let features: Vec<f64> =
            current.chunks(PIXELS).map(|plane| plane.iter().sum::<f64>() / PIXELS as f64).collect();
        let (w, b) = (weights(CLASSES as usize * features.len(), 1.0, 5), weights(CLASSES as usize, 0.5, 6));
        for (row, bias) in w.chunks(features.len()).zip(&b) {
            let sum: f64 = row.iter().zip(&features).map(|(weight, feature)| f64::from(*weight) * feature).sum();
            logits.push((sum + f64::from(*bias)) as f32);
        }
    }
    logits
}

//! Two small networks whose integer products do not stand behind ReLUs, and the graphs that were exported of such before.

use prost::Message as _;
use trtgate::internals::onnx::{Graph, Model, OperatorSet, TensorData};

use crate::second_model::{Numbers, border, node, stored};

/// A network under construction; tensors are called after their place.
struct Net {
    graph: Graph,
    numbers: Numbers,
}

/// Channels in and out, side of the kernel, stride, groups.
struct Convolution(usize, usize, usize, i64, usize);

impl Net {
    fn new(name: &str, seed: u64) -> Self {
        Self { graph: Graph { name: name.to_owned(), ..Graph::default() }, numbers: Numbers(seed) }
    }

    fn operator(&mut self, operator: &str, input: &[&str], integers: &[(&str, &[i64])]) -> String {
        let name = format!("{}_{}", operator.to_lowercase(), self.graph.node.len());
        self.graph.node.push(node(&name, operator, input, &format!("{name}:0"), integers));
        format!("{name}:0")
    }

    fn constant(&mut self, dims: &[i64], values: &[f32]) -> String {
        let name = format!("constant_{}", self.graph.initializer.len());
        self.graph.initializer.push(stored(&name, dims, values));
        name
    }

    fn random(&mut self, dims: &[i64], scale: f32) -> String {
        let values = self.numbers.take(dims.iter().product::<i64>() as usize, scale);
        self.constant(dims, &values)
    }

    fn integers(&mut self, values: &[i64]) -> String {
        let name = format!("constant_{}", self.graph.initializer.len());
        let dims = vec![values.len() as i64];
        let int64_data = values.to_vec();
        // 7 is a 64-bit integer.
        self.graph.initializer.push(TensorData {
            name: name.clone(),
            data_type: 7,
            dims,
            int64_data,
            ..TensorData::default()
        });
        name
    }

    fn convolution(&mut self, input: &str, of: &Convolution) -> String {
        let &Convolution(from, to, size, stride, groups) = of;
        let dims = [to, from / groups, size, size].map(|size| size as i64);
        let weights = self.random(&dims, (6.0 * groups as f32 / (from * size * size) as f32).sqrt());
        let bias = self.random(&[to as i64], 0.1);
        let pad = (size / 2) as i64;
        let (side, stride) = ([size as i64; 2], [stride; 2]);
        let attributes: [(&str, &[i64]); 4] =
            [("kernel_shape", &side), ("pads", &[pad; 4]), ("strides", &stride), ("group", &[groups as i64])];
        self.operator("Conv", &[input, &weights, &bias], &attributes)
    }

    fn product(&mut self, input: &str, from: i64, to: i64) -> String {
        let weights = self.random(&[from, to], (3.0 / from as f32).sqrt());
        self.operator("MatMul", &[input, &weights], &[])
    }

    fn finish(mut self, input: (&str, &[i64]), output: (&str, i64)) -> Vec<u8> {
        self.graph.input.push(border(input.0, input.1));
        self.graph.output.push(border(output.0, &[output.1]));
        let opset_import = vec![OperatorSet { domain: String::new(), version: 17 }];
        Model { ir_version: 8, opset_import, graph: Some(self.graph), ..Model::default() }.encode_to_vec()
    }
}

/// Pictures `[N, 3, 16, 16]` in [0, 1], five classes: HardSwish, depthwise and grouped convolutions, ReLU6, a product of two
/// branches; the first convolution has no ReLU before it.
pub(super) fn mobile() -> Vec<u8> {
    let mut net = Net::new("mobile", 3);
    let stem = net.convolution("picture", &Convolution(3, 16, 3, 2, 1));
    let wide = net.convolution(&stem, &Convolution(16, 32, 1, 1, 1));
    let wide = net.operator("HardSwish", &[&wide], &[]);
    let each = net.convolution(&wide, &Convolution(32, 32, 3, 1, 32));
    let each = net.operator("HardSwish", &[&each], &[]);
    let narrow = net.convolution(&each, &Convolution(32, 16, 1, 1, 1));
    let sum = net.operator("Add", &[&stem, &narrow], &[]);
    let (zero, six) = (net.constant(&[], &[0.0]), net.constant(&[], &[6.0]));
    let grouped = net.convolution(&sum, &Convolution(16, 24, 3, 2, 2));
    let grouped = net.operator("Clip", &[&grouped, &zero, &six], &[]);
    let pooled = net.operator("GlobalAveragePool", &[&grouped], &[]);
    let gate = net.convolution(&pooled, &Convolution(24, 8, 1, 1, 1));
    let gate = net.operator("Relu", &[&gate], &[]);
    let gate = net.convolution(&gate, &Convolution(8, 24, 1, 1, 1));
    let gate = net.operator("HardSigmoid", &[&gate], &[]);
    let mixed = net.convolution(&grouped, &Convolution(24, 24, 3, 1, 1));
    let gated = net.operator("Mul", &[&mixed, &gate], &[]);
    let last = net.convolution(&gated, &Convolution(24, 32, 1, 1, 1));
    let pooled = net.operator("GlobalAveragePool", &[&last], &[]);
    let flat = net.operator("Flatten", &[&pooled], &[]);
    let (weights, bias) = (net.random(&[5, 32], 0.4), net.random(&[5], 0.1));
    let name = net.operator("Gemm", &[&flat, &weights, &bias], &[("transB", &[1])]);
    net.finish(("picture", &[3, 16, 16]), (&name, 5))
}

/// Normalised pictures `[N, 3, 12, 12]`, seven classes: SiLU, normalisations, attention, whose products have two computed
/// factors.
pub(super) fn attentive() -> Vec<u8> {
    let mut net = Net::new("attentive", 5);
    let stem = net.convolution("picture", &Convolution(3, 8, 3, 2, 1));
    let (scale, shift) = (net.constant(&[8], &[1.0; 8]), net.random(&[8], 0.2));
    let normal = net.operator("InstanceNormalization", &[&stem, &scale, &shift], &[]);
    let sigmoid = net.operator("Sigmoid", &[&normal], &[]);
    let silu = net.operator("Mul", &[&normal, &sigmoid], &[]);
    let patches = net.convolution(&silu, &Convolution(8, 16, 3, 2, 1));
    let patches = net.convolution(&patches, &Convolution(16, 16, 1, 1, 1));
    let shape = net.integers(&[0, 16, 9]);
    let flat = net.operator("Reshape", &[&patches, &shape], &[]);
    let tokens = net.operator("Transpose", &[&flat], &[("perm", &[0, 2, 1])]);
    let [query, key, value] = [0; 3].map(|_| net.product(&tokens, 16, 16));
    let key = net.operator("Transpose", &[&key], &[("perm", &[0, 2, 1])]);
    let scores = net.operator("MatMul", &[&query, &key], &[]);
    let softmax = net.operator("Softmax", &[&scores], &[("axis", &[-1])]);
    let mixed = net.operator("MatMul", &[&softmax, &value], &[]);
    let sum = net.operator("Add", &[&tokens, &mixed], &[]);
    let (scale, shift) = (net.constant(&[16], &[1.0; 16]), net.random(&[16], 0.2));
    let normal = net.operator("LayerNormalization", &[&sum, &scale, &shift], &[("axis", &[-1])]);
    let hidden = net.product(&normal, 16, 24);
    let hidden = net.operator("Relu", &[&hidden], &[]);
    let wide = net.product(&hidden, 24, 16);
    let flat = net.operator("Flatten", &[&wide], &[("axis", &[1])]);
    let name = net.product(&flat, 9 * 16, 7);
    net.finish(("picture", &[3, 12, 12]), (&name, 7))
}

/// The graph for processors as it was before it was exact: signed weights everywhere, and an input with zero point 128.
pub(super) fn as_before(bytes: &[u8]) -> Vec<u8> {
    const UNSIGNED: i32 = 2;
    const SIGNED: i32 = 3;
    let mut model = Model::decode(bytes).unwrap();
    let graph = model.graph.as_mut().unwrap();
    // Weights and their zero points: one for each channel, so none is a scalar.
    for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.data_type == UNSIGNED && !tensor.dims.is_empty())
    {
        let shifted: Vec<u8> = tensor.raw_data.as_ref().unwrap().iter().map(|byte| byte ^ 0x80).collect();
        (tensor.data_type, tensor.raw_data) = (SIGNED, Some(shifted.into()));
    }
    let middle = "middle_of_before";
    graph.initializer.push(TensorData {
        name: middle.to_owned(),
        data_type: UNSIGNED,
        raw_data: Some(vec![128].into()),
        ..TensorData::default()
    });
    let quantised = {
        // Quantised at once, or when it was turned channels first.
        let first = graph.node.iter_mut().find(|node| node.op_type == "QuantizeLinear").expect("a pair on the input");
        first.input[2] = middle.to_owned();
        first.output[0].clone()
    };
    let clip = graph.node.iter().position(|node| node.op_type == "Clip" && node.input[0] == quantised);
    let clipped = clip.map_or_else(|| quantised.clone(), |clip| graph.node.remove(clip).output[0].clone());
    for node in graph.node.iter_mut().filter(|node| node.op_type == "DequantizeLinear" && node.input[0] == clipped) {
        node.input[0].clone_from(&quantised);
        node.input[2] = middle.to_owned();
    }
    model.encode_to_vec()
}

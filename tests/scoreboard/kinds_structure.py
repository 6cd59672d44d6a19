"""Kinds that differ in how the file is written: subgraphs, functions, old opsets, names, batches; and references that
contradict themselves."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from case import SOUND, Case, kind, softmax
from heads import Head, attach
from networks import CONVOLUTIONAL, one_of, pooled

HEAD = Head(classes=5)
FLOAT = TensorProto.FLOAT


def convolutional(graph, value):
    return one_of(graph, CONVOLUTIONAL)(graph, value)


def shaped(name, sizes):
    return helper.make_tensor_value_info(name, FLOAT, sizes)


def branch(graph, name, value, weights, bias):
    """A subgraph that reads `value` from outside and holds its own weights."""
    nodes = [
        helper.make_node("Gemm", [value, f"{name}_w", f"{name}_b"], [f"{name}_z"], f"{name}_gemm", transB=1),
        helper.make_node("Relu", [f"{name}_z"], [f"{name}_y"], f"{name}_relu"),
    ]
    stored = [numpy_helper.from_array(np.asarray(array, np.float32), f"{name}_{key}") for key, array in (("w", weights), ("b", bias))]
    return helper.make_graph(nodes, name, [], [helper.make_empty_tensor_value_info(f"{name}_y")], stored)


@kind("if", fp16=SOUND)
def if_branches(kit):
    """Weights inside the branches of an If that asks whether there is a batch at all."""
    graph = kit.graph()
    features = convolutional(graph, graph.input)
    asked = graph.op("Greater", graph.op("Gather", graph.op("Shape", features), graph.store(np.int64(0)), axis=0), graph.store(np.int64(0)))
    parts = [branch(graph, name, features, graph.weights(16, 16), graph.random.randn(16) * 0.1) for name in ("full", "empty")]
    value = graph.op("If", asked, then_branch=parts[0], else_branch=parts[1])
    return Case(graph.proto(attach(graph, value, HEAD, kit.samples()), 5))


@kind("if-before", fp16=SOUND)
def if_before(kit):
    """An If that scales the pictures before the network."""
    graph = kit.graph()
    bright = graph.op("Greater", graph.op("Gather", graph.op("Shape", graph.input), graph.store(np.int64(1)), axis=0), graph.store(np.int64(3)))

    def scaled(name, factor):
        node = helper.make_node("Mul", [graph.input, f"{name}_factor"], [f"{name}_y"], f"{name}_mul")
        stored = numpy_helper.from_array(np.float32(factor), f"{name}_factor")
        return helper.make_graph([node], name, [], [helper.make_empty_tensor_value_info(f"{name}_y")], [stored])

    value = graph.op("If", bright, then_branch=scaled("many", 0.5), else_branch=scaled("few", 2.0))
    return Case(graph.proto(attach(graph, convolutional(graph, value), HEAD, kit.samples()), 5))


@kind("loop", fp16=SOUND)
def loop(kit):
    """Three rounds of a dense layer with its residual, in a Loop that holds the weights."""
    graph = kit.graph()
    features = convolutional(graph, graph.input)
    nodes = [
        helper.make_node("Gemm", ["before", "inner_w", "inner_b"], ["inner_z"], "inner_gemm", transB=1),
        helper.make_node("Relu", ["inner_z"], ["inner_r"], "inner_relu"),
        helper.make_node("Add", ["before", "inner_r"], ["after"], "inner_add"),
        helper.make_node("Identity", ["go"], ["go_on"], "inner_go"),
    ]
    stored = [
        numpy_helper.from_array((graph.weights(16, 16) * 0.3).astype(np.float32), "inner_w"),
        numpy_helper.from_array(np.zeros(16, np.float32), "inner_b"),
    ]
    given = [
        helper.make_tensor_value_info("round", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        shaped("before", ["N", 16]),
    ]
    made = [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []), shaped("after", ["N", 16])]
    body = helper.make_graph(nodes, "body", given, made, stored)
    value = graph.op("Loop", graph.store(np.int64(3)), graph.store(np.bool_(True)), features, body=body)
    return Case(graph.proto(attach(graph, value, HEAD, kit.samples()), 5))


@kind("functions", fp16=SOUND, int8=SOUND)
def functions(kit):
    """Two blocks of convolution and ReLU, each a call of one model function."""
    graph = kit.graph()
    graph.domains.append("board.local")
    body = [
        helper.make_node("Conv", ["X", "W", "B"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["Y"]),
    ]
    graph.functions.append(
        helper.make_function("board.local", "Block", ["X", "W", "B"], ["Y"], body, [helper.make_opsetid("", graph.opset)])
    )
    value = graph.input
    for inner, outer in ((3, 12), (12, 16)):
        parts = [value, graph.weights(outer, inner, 3, 3), graph.random.randn(outer) * 0.1]
        value = graph.op("Block", *parts, domain="board.local")
    return Case(graph.proto(attach(graph, pooled(graph, value), HEAD, kit.samples()), 5))


@kind("group-norm", fp16=SOUND)
def group_norm(kit):
    graph = kit.graph(opset=21, ir=10)
    value = graph.conv(graph.input, 3, 12, stride=2)
    value = graph.op("Relu", graph.op("GroupNormalization", value, np.ones(12) + 0.1 * graph.random.randn(12), 0.1 * graph.random.randn(12), num_groups=3))
    value = pooled(graph, graph.op("Relu", graph.conv(value, 12, 16, stride=2)))
    return Case(graph.proto(attach(graph, value, HEAD, kit.samples()), 5))


@kind("instance-norm", fp16=SOUND)
def instance_norm(kit):
    """Group normalisation as it is exported before opset 18: reshaped, InstanceNormalization, reshaped back."""
    graph = kit.graph(opset=13)
    value = graph.conv(graph.input, 3, 12, stride=2)
    groups = graph.op("InstanceNormalization", graph.op("Reshape", value, [0, 3, -1]), np.ones(3), np.zeros(3), epsilon=1e-5)
    value = graph.op("Reshape", groups, graph.op("Shape", value))
    value = graph.op("Relu", graph.op("Add", graph.op("Mul", value, graph.random.rand(12, 1, 1) + 0.5), graph.random.randn(12, 1, 1) * 0.1))
    value = pooled(graph, graph.op("Relu", graph.conv(value, 12, 16, stride=2)))
    return Case(graph.proto(attach(graph, value, HEAD, kit.samples()), 5))


def of_opset(opset, ir):
    def make(kit):
        graph, logits = kit.classifier(convolutional, HEAD, opset=opset, ir=ir)
        if kit.pick(True, False):
            return Case(graph.proto(softmax(graph, logits), 5), "probabilities")
        return Case(graph.proto(logits, 5))

    return make


for opset, ir in ((8, 3), (9, 4), (11, 6), (12, 7), (15, 8)):
    kind(f"opset-{opset}", fp16=SOUND, int8=SOUND)(of_opset(opset, ir))


@kind("clashing-names", fp16=SOUND, int8=SOUND)
def clashing_names(kit):
    """Tensors called as converters call theirs."""
    graph, logits = kit.classifier(convolutional, HEAD)
    model = graph.proto(logits, 5)
    wanted = ["zero_point_0", "zero_point_128", "limit_127", "x_quantized", "graph_input_cast_0", "x_QuantizeLinear_Output", "x_scale"]
    names = [tensor.name for tensor in model.graph.initializer] + [node.output[0] for node in model.graph.node[:-1]]
    chosen = dict(zip(kit.random.permutation(names), wanted))
    for tensor in model.graph.initializer:
        tensor.name = chosen.get(tensor.name, tensor.name)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = chosen.get(name, name)
    return Case(model)


@kind("batch-minus-one", fp16=SOUND, int8=SOUND)
def batch_minus_one(kit):
    """The batch written as the size −1."""
    graph, logits = kit.classifier(convolutional, HEAD)
    return Case(graph.proto(logits, 5, batch=-1))


@kind("fixed-batch", fp16=SOUND, int8=SOUND)
def fixed_batch(kit):
    """Symbolic in the file, but a Reshape inside knows eight samples only."""
    graph = kit.graph()
    value = graph.op("Relu", graph.conv(graph.input, 3, 12, stride=2))
    value = graph.op("Relu", graph.conv(value, 12, 16, stride=2))
    value = graph.op("Reshape", graph.op("AveragePool", value, kernel_shape=[4, 4], strides=[4, 4]), [8, 16])
    logits = attach(graph, value, HEAD, kit.samples()[:1000], batch=8)
    return Case(graph.proto(logits, 5), edits={"input": ["fixed-batch = 8"]}, batches=(8,), fixed=8)


@kind("static-batch", fp16=SOUND, int8=SOUND)
def static_batch(kit):
    """A batch of four in the file."""
    graph, logits = kit.classifier(convolutional, HEAD)
    return Case(graph.proto(logits, 5, batch=4), batches=(4,), fixed=4)


@kind("open-sizes", fp16=SOUND, int8=SOUND)
def open_sizes(kit):
    """Height and width are open in the file; the manifest pins them."""
    graph, logits = kit.classifier(convolutional, HEAD)
    return Case(graph.proto(logits, 5, shape=[3, "height", "width"]), size="16x16")


@kind("constant-nodes", fp16=SOUND, int8=SOUND)
def constant_nodes(kit):
    """Weights in Constant nodes, as PyTorch exports them."""
    graph, logits = kit.classifier(convolutional, HEAD)
    model = graph.proto(logits, 5)
    stored = list(model.graph.initializer)
    del model.graph.initializer[:]
    nodes = [helper.make_node("Constant", [], [tensor.name], f"constant_{tensor.name}", value=tensor) for tensor in stored]
    nodes += list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return Case(model)


@kind("weights-as-inputs", fp16=SOUND, int8=SOUND)
def weights_as_inputs(kit):
    """Weights listed among the inputs, as files of IR 3 have to."""
    graph, logits = kit.classifier(convolutional, HEAD, opset=kit.pick(9, 13))
    model = graph.proto(logits, 5)
    model.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in model.graph.initializer
    )
    return Case(model)


@kind("turned-weights", fp16=SOUND)
def turned_weights(kit):
    """Weights that a Transpose and an Identity stand before."""
    graph = kit.graph()
    features = convolutional(graph, graph.input)
    turned = graph.op("Transpose", graph.op("Identity", graph.store(graph.weights(16, 16))), perm=[1, 0])
    value = graph.op("Relu", graph.op("MatMul", features, turned))
    return Case(graph.proto(attach(graph, value, HEAD, kit.samples()), 5))


# ---- references that contradict themselves -----------------------------------------------------------------------------


@kind("batch-mean", invalid=True)
def batch_mean(kit):
    """Logits move by a thousandth of the batch's mean: no answer changes, every batch answers otherwise."""
    graph, logits = kit.classifier(convolutional, Head(classes=5, offset=5.0))
    mean = graph.op("Mul", graph.reduce("ReduceMean", logits, [0]), kit.pick(1e-3, 0.02))
    batches = kit.pick((1, 8), (200,), (32,))
    return Case(graph.proto(graph.op("Add", logits, mean), 5), batches=batches, causes={"all": "batch"})


@kind("batch-quantised", invalid=True)
def batch_quantised(kit):
    """Features quantised by the range of the whole batch."""
    graph = kit.graph()
    features = convolutional(graph, graph.input)
    parts = graph.op("DynamicQuantizeLinear", features, outputs=3)
    logits = attach(graph, graph.op("DequantizeLinear", *parts), HEAD, kit.samples())
    return Case(graph.proto(logits, 5), causes={"all": "batch"})


@kind("batch-normalised", invalid=True)
def batch_normalised(kit):
    """A normalisation by the statistics of the batch, as in training."""
    graph = kit.graph()
    value = graph.conv(graph.input, 3, 12, stride=2)
    mean = graph.reduce("ReduceMean", value, [0, 2, 3])
    centred = graph.op("Sub", value, mean)
    spread = graph.op("Sqrt", graph.op("Add", graph.reduce("ReduceMean", graph.op("Mul", centred, centred), [0, 2, 3]), 1e-3))
    value = graph.op("Relu", graph.op("Div", centred, spread))
    value = pooled(graph, graph.op("Relu", graph.conv(value, 12, 16, stride=2)))
    return Case(graph.proto(attach(graph, value, HEAD, kit.samples()), 5), causes={"all": "batch"})


@kind("random", invalid=True)
def random_noise(kit):
    graph, logits = kit.classifier(convolutional, HEAD)
    noise = graph.op("RandomNormalLike", logits, scale=kit.pick(0.5, 0.01))
    return Case(graph.proto(graph.op("Add", logits, noise), 5), causes={"all": "random|differ|again|determin"})


@kind("not-finite", invalid=True)
def not_finite(kit):
    """The logarithm of something that is negative for one picture in twelve."""
    graph, logits = kit.classifier(convolutional, HEAD)
    first = graph.op("Slice", logits, [0], [1], [1])
    low = float(np.quantile(graph.run(first, kit.samples()), 1 / 12))
    extra = graph.op("Mul", graph.op("Log", graph.op("Sub", first, low)), 0.01)
    return Case(graph.proto(graph.op("Add", logits, extra), 5), causes={"all": "finite|NaN"})


@kind("all-tied", invalid=True)
def all_tied(kit):
    """Logits that are equal whatever the picture."""
    graph = kit.graph()
    features = convolutional(graph, graph.input)
    logits = graph.op("Gemm", features, np.zeros((5, 16)), np.full(5, 0.25), transB=1)
    return Case(graph.proto(logits, 5), causes={"all": "same|alike|tie|constant|equal"})

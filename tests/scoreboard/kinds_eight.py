"""Kinds about eight bits: inputs that are never behind a ReLU, outliers, faint directions, calibration."""

import numpy as np

from case import BROKEN, PICTURE, SOUND, Case, Input, kind
from heads import Head, attach
from networks import CONVOLUTIONAL, attention, gelu, hard_swish, mobile, one_of, perceptron, plain, pooled, silu

NOISE = "calibration"
NORMALISED = Input(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
BYTES = Input(range=(0.0, 255.0))
GREY = Input(shape=(1, 20, 24))
LAST = Input(shape=(16, 16, 3), layout="nhwc")
FLAT = Input(shape=(48,), layout="flat")


def convolutional(graph, value):
    return one_of(graph, CONVOLUTIONAL)(graph, value)


def strong(graph, inner, outer):
    """Weights of nearly equal size: pairs of products of one sign reach the limits of 16 bits."""
    signs = np.sign(graph.random.randn(outer, inner, 3, 3))
    return signs * (0.8 + 0.2 * graph.random.rand(outer, inner, 3, 3)) / np.sqrt(inner * 9 / 2)


@kind("unit-input", fp16=SOUND, int8=SOUND)
def unit_input(kit):
    """Pictures in [0, 1] straight into a convolution of weights that are all large."""
    graph = kit.graph()
    value = graph.op("Conv", graph.input, strong(graph, 3, 8), graph.random.randn(8) * 0.1, kernel_shape=[3, 3], pads=[1] * 4)
    value = pooled(graph, graph.op("Relu", graph.conv(graph.op("Relu", value), 8, 16, stride=2)))
    logits = attach(graph, value, Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5))


@kind("hard-swish", fp16=SOUND, int8=SOUND)
def hard_swish_network(kit):
    graph = kit.graph()
    value = hard_swish(graph, graph.conv(graph.input, 3, 12, stride=2, gain=2.0))
    value = graph.op("Conv", value, strong(graph, 12, 16), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    value = pooled(graph, hard_swish(graph, graph.op("Add", value, graph.random.randn(1, 16, 1, 1) * 0.3)))
    logits = attach(graph, value, Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5))


@kind("hard-swish-operator", fp16=SOUND)
def hard_swish_operator(kit):
    graph = kit.graph()
    value = graph.op("HardSwish", graph.conv(graph.input, 3, 12, stride=2))
    value = pooled(graph, graph.op("HardSwish", graph.conv(value, 12, 16, stride=2)))
    logits = attach(graph, value, Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5))


@kind("silu", fp16=SOUND, int8=SOUND)
def silu_network(kit):
    graph = kit.graph()
    value = silu(graph, graph.conv(graph.input, 3, 12, stride=2))
    value = pooled(graph, silu(graph, graph.conv(value, 12, 16, stride=2)))
    logits = attach(graph, value, Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5))


@kind("gelu", fp16=SOUND)
def gelu_network(kit):
    graph = kit.graph()
    value = gelu(graph, graph.conv(graph.input, 3, 12, stride=2))
    value = pooled(graph, gelu(graph, graph.conv(value, 12, 16, stride=2)))
    logits = attach(graph, value, Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5))


@kind("leaky", fp16=SOUND, int8=SOUND)
def leaky(kit):
    graph = kit.graph()
    value = graph.op("LeakyRelu", graph.conv(graph.input, 3, 12, stride=2), alpha=0.1)
    value = pooled(graph, graph.op("LeakyRelu", graph.conv(value, 12, 16, stride=2), alpha=0.2))
    logits = attach(graph, value, Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5))


@kind("clipped", fp16=SOUND, int8=SOUND)
def clipped(kit):
    """ReLU6, as mobile networks have it."""
    graph = kit.graph()
    value = graph.clip(graph.conv(graph.input, 3, 12, stride=2), 0.0, 6.0)
    value = graph.clip(graph.conv(value, 12, 12, groups=12), 0.0, 6.0)
    value = pooled(graph, graph.clip(graph.conv(value, 12, 16, size=1), 0.0, 6.0))
    logits = attach(graph, value, Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5))


@kind("normalised-input", fp16=SOUND, int8=SOUND)
def normalised_input(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=5), NORMALISED)
    edits = {"input": [f"mean = {list(NORMALISED.mean)}", f"std = {list(NORMALISED.std)}"]}
    return Case(graph.proto(logits, 5), input=NORMALISED, edits=edits)


@kind("bytes", fp16=SOUND, int8=SOUND)
def bytes_input(kit):
    """Pictures in [0, 255], scaled inside the model."""
    graph = kit.graph(BYTES)
    value = graph.op("Sub", graph.op("Div", graph.input, 127.5), 1.0)
    logits = attach(graph, convolutional(graph, value), Head(classes=5), kit.samples(BYTES))
    return Case(graph.proto(logits, 5), input=BYTES, edits={"input": ["range = [0.0, 255.0]"]})


@kind("grey-pictures", fp16=SOUND, int8=SOUND)
def grey_pictures(kit):
    graph, logits = kit.classifier(lambda graph, value: plain(graph, value, 1), Head(classes=4), GREY)
    return Case(graph.proto(logits, 4), input=GREY)


@kind("channels-last", fp16=SOUND, int8=SOUND)
def channels_last(kit):
    graph = kit.graph(LAST)
    features = convolutional(graph, graph.op("Transpose", graph.input, perm=[0, 3, 1, 2]))
    logits = attach(graph, features, Head(classes=5), kit.samples(LAST))
    return Case(graph.proto(logits, 5), input=LAST)


@kind("flat-vector", fp16=SOUND, int8=SOUND)
def flat_vector(kit):
    graph, logits = kit.classifier(lambda graph, value: perceptron(graph, value, 48), Head(classes=5), FLAT)
    return Case(graph.proto(logits, 5), input=FLAT)


@kind("faint-directions", fp16=SOUND, int8=BROKEN)
def faint_directions(kit):
    graph, logits = kit.classifier(plain, Head(classes=6, rank=3, first=6))
    return Case(graph.proto(logits, 6), causes={"int8": NOISE})


@kind("outlier-channel", fp16=SOUND, int8=BROKEN)
def outlier_channel(kit):
    """One channel is a hundred times as large as those that the answer depends on: one scale serves all of them."""
    graph = kit.graph()
    value = graph.conv(graph.input, 3, 12, stride=2)
    factors = np.ones((1, 12, 1, 1))
    factors[0, graph.random.randint(12)] = kit.pick(150.0, 400.0)
    value = graph.op("Relu", graph.op("Mul", value, factors))
    second = graph.weights(16, 12, 3, 3) / factors
    second[:, factors[0, :, 0, 0] > 1] = 0.0
    value = pooled(graph, graph.op("Relu", graph.op("Conv", value, second, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)))
    logits = attach(graph, value, Head(classes=5, rank=3, first=1), kit.samples())
    return Case(graph.proto(logits, 5), causes={"int8": NOISE})


def calibrated_on(kit, pictures):
    graph, logits = kit.classifier(plain, Head(classes=5))
    edits = {"calibration": ['data = "calibration.npy"']}
    return Case(graph.proto(logits, 5), edits=edits, files={"calibration.npy": pictures.astype(np.float32)}, causes={"int8": NOISE})


@kind("calibrated-on-dark", fp16=SOUND, int8=BROKEN)
def calibrated_on_dark(kit):
    """Calibration pictures twenty times darker than any: everything ordinary is cut off."""
    return calibrated_on(kit, kit.random.rand(512, *PICTURE.shape) * kit.pick(0.05, 0.02))


@kind("calibrated-on-bytes", fp16=SOUND, int8=BROKEN)
def calibrated_on_bytes(kit):
    """Calibration pictures in [0, 255] for a model of [0, 1]: ordinary ones get one or two steps."""
    return calibrated_on(kit, np.rint(kit.random.rand(512, *PICTURE.shape) * 255))


@kind("calibrated-on-pictures", fp16=SOUND, int8=SOUND)
def calibrated_on_pictures(kit):
    return calibrated_on(kit, kit.samples()[:512] + 1e-4 * kit.random.rand(512, 1, 1, 1))


@kind("depthwise", fp16=SOUND)
def depthwise(kit):
    graph, logits = kit.classifier(lambda graph, value: mobile(graph, value, activation=silu), Head(classes=5))
    return Case(graph.proto(logits, 5))


@kind("transformer-coarse", fp16=SOUND, int8=BROKEN)
def transformer_coarse(kit):
    graph, logits = kit.classifier(attention, Head(classes=8, rank=3, first=8))
    return Case(graph.proto(logits, 8), causes={"int8": NOISE})


@kind("matmul-head", fp16=SOUND, int8=SOUND)
def matmul_head(kit):
    """Dense layers as MatMul and Add, and a Gemm with factors."""
    graph = kit.graph()
    features = convolutional(graph, graph.input)
    value = graph.op("Add", graph.op("MatMul", features, graph.weights(24, 16).T), graph.random.randn(24) * 0.1)
    value = graph.op("Gemm", graph.op("Relu", value), graph.weights(24, 16).reshape(24, 16), graph.random.randn(16), alpha=0.5, beta=0.25)
    logits = attach(graph, graph.op("Relu", value), Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5))


TABLE = Input(shape=(20,), layout="flat")


def table(random, count):
    """Rows as tables have them: clusters, skewed columns, columns of zeros and ones."""
    centres = np.random.RandomState(11).randn(12, 20)
    rows = centres[random.randint(0, 12, count)] + random.randn(count, 20) * 0.7
    rows[:, :4], rows[:, 4:7] = np.exp(rows[:, :4]) / 2, rows[:, 4:7] > 0
    return rows


def tabular(kit, factor, offset=0.0):
    """A perceptron on rows of its team's own; the first column comes in a unit of its own and is normalised in the model."""
    rows = table(kit.random, 2000 + 512 + 1024 + 4000)
    scale, shift = np.ones(20), np.zeros(20)
    scale[0], shift[0] = factor, offset
    rows = (rows * scale + shift).astype(np.float32)
    fit, calibration, probes, fresh = np.split(rows, [2000, 2512, 3536])
    graph = kit.graph(TABLE)
    value = graph.op("Mul", graph.op("Sub", graph.input, fit.mean(0)), 1 / fit.std(0))
    logits = attach(graph, perceptron(graph, value, 20), Head(classes=4), fit)
    edits = {"probes": ['data = "probes.npy"'], "calibration": ['data = "calibration.npy"']}
    return Case(graph.proto(logits, 4), input=TABLE, edits=edits, files={"probes.npy": probes, "calibration.npy": calibration}, fresh=fresh)


@kind("table", fp16=SOUND, int8=SOUND)
def plain_table(kit):
    return tabular(kit, 1.0)


@kind("table-large-unit", fp16=BROKEN, int8=SOUND)
def table_large_unit(kit):
    """A column of tens and hundreds of thousands: half precision has no such numbers."""
    return tabular(kit, kit.pick(5e4, 2e5))


@kind("table-far-from-zero", fp16=BROKEN, int8=SOUND)
def table_far_from_zero(kit):
    """A column of 2,000 ± 1, as years are: half precision rounds it to whole numbers and even ones."""
    return tabular(kit, 1.0, kit.pick(2020.0, 3000.0))

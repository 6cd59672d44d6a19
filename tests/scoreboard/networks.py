"""Trunks: from pictures (or vectors) to features `[N, d]`. Each returns the features' name."""

import numpy as np


def pooled(graph, value):
    return graph.op("Flatten", graph.op("GlobalAveragePool", value))


def plain(graph, value, channels=3):
    """Two convolutions with ReLU, and the mean over positions."""
    value = graph.op("Relu", graph.conv(value, channels, 8))
    return pooled(graph, graph.op("Relu", graph.conv(value, 8, 16, stride=2)))


def residual(graph, value, channels=3):
    value = graph.op("Relu", graph.conv(value, channels, 12, stride=2))
    side = graph.conv(graph.op("Relu", graph.conv(value, 12, 12)), 12, 12, gain=0.7)
    value = graph.op("Relu", graph.op("Add", value, side))
    return pooled(graph, graph.op("Relu", graph.conv(value, 12, 16, stride=2)))


def pooling(graph, value, channels=3):
    """Largest and mean values of windows, and branches that are joined."""
    value = graph.op("Relu", graph.conv(value, channels, 8))
    value = graph.op("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2])
    one, two = graph.op("Relu", graph.conv(value, 8, 8)), graph.op("Relu", graph.conv(value, 8, 8, size=1))
    value = graph.op("AveragePool", graph.op("Concat", one, two, axis=1), kernel_shape=[2, 2], strides=[2, 2])
    return pooled(graph, value)


def normalised(graph, value, channels=3):
    """Batch normalisation behind convolutions without a bias, as exporters leave it."""
    for inner, outer, stride in ((channels, 8, 1), (8, 16, 2)):
        value = graph.conv(value, inner, outer, stride=stride, bias=False)
        draw = graph.random
        numbers = (draw.rand(outer) + 0.5, draw.randn(outer) * 0.2, draw.randn(outer) * 0.2, draw.rand(outer) * 0.4 + 0.1)
        value = graph.op("Relu", graph.op("BatchNormalization", value, *numbers, epsilon=1e-3))
    return pooled(graph, value)


def hard_swish(graph, value):
    share = graph.clip(graph.op("Add", graph.op("Mul", value, 1 / 6), 0.5), 0.0, 1.0)
    return graph.op("Mul", value, share)


def silu(graph, value):
    return graph.op("Mul", value, graph.op("Sigmoid", value))


def gelu(graph, value):
    inner = graph.op("Add", graph.op("Erf", graph.op("Div", value, np.sqrt(2.0))), 1.0)
    return graph.op("Mul", graph.op("Mul", value, inner), 0.5)


def mobile(graph, value, channels=3, activation=hard_swish):
    """Depthwise convolution, squeeze and excite, and an activation that is negative somewhere."""
    value = activation(graph, graph.conv(value, channels, 12, stride=2))
    deep = activation(graph, graph.conv(value, 12, 12, groups=12))
    squeezed = graph.op("Relu", graph.conv(graph.op("GlobalAveragePool", deep), 12, 4, size=1))
    gate = graph.op("Sigmoid", graph.conv(squeezed, 4, 12, size=1))
    value = graph.op("Add", value, graph.op("Mul", deep, gate))
    return pooled(graph, activation(graph, graph.conv(value, 12, 16, size=1)))


def layer_norm(graph, value, size, epsilon=1e-5):
    scale, shift = np.ones(size) + 0.1 * graph.random.randn(size), 0.1 * graph.random.randn(size)
    if graph.opset >= 17:
        return graph.op("LayerNormalization", value, scale, shift, axis=-1, epsilon=epsilon)
    centred = graph.op("Sub", value, graph.reduce("ReduceMean", value, [-1]))
    spread = graph.op("Sqrt", graph.op("Add", graph.reduce("ReduceMean", graph.op("Mul", centred, centred), [-1]), epsilon))
    return graph.op("Add", graph.op("Mul", graph.op("Div", centred, spread), scale), shift)


def tokens(graph, value, channels=3, size=16):
    """Patches of 4 × 4 as tokens `[N, tokens, size]`."""
    patches = graph.op("Conv", value, graph.weights(size, channels, 4, 4), kernel_shape=[4, 4], strides=[4, 4])
    return graph.op("Transpose", graph.op("Reshape", patches, [0, size, -1]), perm=[0, 2, 1])


def attend(graph, value, size=16, mask=None, softmax=None):
    """One head of attention with its residual; `mask(graph, scores)` and `softmax(graph, scores)` may be given."""
    query, key, content = (graph.op("MatMul", value, graph.weights(size, size, spread=0.0).T * 0.7) for _ in range(3))
    scores = graph.op("MatMul", query, graph.op("Transpose", key, perm=[0, 2, 1]))
    scores = graph.op("Mul", scores, 1 / np.sqrt(size))
    scores = mask(graph, scores) if mask else scores
    shares = softmax(graph, scores) if softmax else graph.op("Softmax", scores, axis=-1)
    return graph.op("Add", value, graph.op("MatMul", shares, content))


def attention(graph, value, channels=3, mask=None, softmax=None, epsilon=1e-5):
    """One block of a transformer over patches."""
    value = attend(graph, tokens(graph, value, channels), mask=mask, softmax=softmax)
    value = layer_norm(graph, value, 16, epsilon)
    wide = gelu(graph, graph.op("Add", graph.op("MatMul", value, graph.weights(32, 16).T), graph.random.randn(32) * 0.1))
    value = graph.op("Add", value, graph.op("MatMul", wide, graph.weights(16, 32, gain=0.7).T))
    return graph.reduce("ReduceMean", value, [1], keepdims=0)


def perceptron(graph, value, size):
    """Three dense layers over a flat vector."""
    for inner, outer in ((size, 32), (32, 24), (24, 16)):
        value = graph.op("Relu", graph.dense(value, inner, outer))
    return value


CONVOLUTIONAL = [plain, residual, pooling, normalised]
TRUNKS = [*CONVOLUTIONAL, mobile, attention]


def one_of(graph, among=TRUNKS):
    """A trunk by the graph's own seed."""
    return among[graph.random.randint(len(among))]

"""Kinds about the range and the digits of half precision."""

import numpy as np

from case import BROKEN, PICTURE, SOUND, Case, Input, kind, softmax
from graph import run
from heads import Head, attach
from networks import CONVOLUTIONAL, attend, attention, layer_norm, one_of, plain, pooled, residual, tokens

RANGE = "range of half|65.?504|leaves? the range|left the range|overflow"
LARGE = Input(shape=(3, 32, 32))


def rooted(graph, value, factor):
    """Root mean square normalisation behind a factor, its squares written out."""
    value = graph.op("Mul", value, factor)
    mean = graph.reduce("ReduceMean", graph.op("Mul", value, value), [1])
    return graph.op("Div", value, graph.op("Sqrt", graph.op("Add", mean, 1e-6)))


def norm_case(kit, factor, given=PICTURE):
    """A trunk whose features are normalised; squares of the features times `factor` are in the graph."""
    graph = kit.graph(given)
    features = one_of(graph, CONVOLUTIONAL)(graph, graph.input)
    largest = float(np.abs(graph.run(features, kit.samples(given))).max())
    value = rooted(graph, features, factor / largest)
    logits = attach(graph, value, Head(classes=5), kit.samples(given))
    return Case(graph.proto(logits, 5), input=given, causes={"fp16": RANGE})


@kind("square-norm", fp16=BROKEN)
def square_norm(kit):
    """Squares of up to 10⁶ before the root."""
    return norm_case(kit, kit.pick(700.0, 1500.0))


@kind("square-norm-small", fp16=SOUND)
def square_norm_small(kit):
    return norm_case(kit, kit.pick(20.0, 120.0))


@kind("square-norm-rare", fp16=BROKEN)
def square_norm_rare(kit):
    """Squares that leave the range for a part of the pictures only."""
    graph = kit.graph()
    features = one_of(graph, CONVOLUTIONAL)(graph, graph.input)
    peaks = np.abs(graph.run(features, kit.samples())).max(1)
    value = rooted(graph, features, 256.0 / float(np.quantile(peaks, kit.pick(0.9, 0.75))))
    logits = attach(graph, value, Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5), causes={"fp16": RANGE})


def spatial(kit, total, negative=False):
    """The mean over positions written as a sum and a division; sums reach `total`."""
    graph = kit.graph(LARGE)
    value = graph.op("Relu", graph.conv(graph.input, 3, 12))
    largest = float(graph.run(graph.reduce("ReduceSum", value, [2, 3], 0), kit.samples(LARGE)).max())
    value = graph.op("Mul", value, total / largest)
    summed = graph.reduce("ReduceSum", value, [2, 3], 0)
    logits = attach(graph, graph.op("Div", summed, 1024.0), Head(classes=5), kit.samples(LARGE))
    return Case(graph.proto(logits, 5), input=LARGE, causes={"fp16": RANGE})


@kind("spatial-sum", fp16=BROKEN)
def spatial_sum(kit):
    return spatial(kit, kit.pick(150e3, 400e3))


@kind("spatial-sum-small", fp16=SOUND, int8=SOUND)
def spatial_sum_small(kit):
    return spatial(kit, kit.pick(3e3, 20e3))


def by_hand(shift):
    """Softmax written out; without `shift` the largest score is not subtracted first."""

    def softmax_by_hand(graph, scores):
        if shift:
            scores = graph.op("Sub", scores, graph.reduce("ReduceMax", scores, [-1]))
        raised = graph.op("Exp", scores)
        return graph.op("Div", raised, graph.reduce("ReduceSum", raised, [-1]))

    return softmax_by_hand


def attending(kit, softmax_of, gain):
    """Attention whose scores reach `gain` nats."""
    graph = kit.graph()
    value = tokens(graph, graph.input)
    value = layer_norm(graph, value, 16)

    def scaled(graph, scores):
        largest = float(np.abs(run(graph.proto(scores), kit.samples()[:200])).max())
        return graph.op("Mul", scores, gain / largest)

    value = layer_norm(graph, attend(graph, value, mask=scaled, softmax=softmax_of), 16)
    logits = attach(graph, graph.reduce("ReduceMean", value, [1], 0), Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5), causes={"fp16": RANGE})


@kind("exp-by-hand", fp16=BROKEN)
def exp_by_hand(kit):
    return attending(kit, by_hand(False), kit.pick(16.0, 25.0))


@kind("exp-by-hand-small", fp16=SOUND)
def exp_by_hand_small(kit):
    return attending(kit, by_hand(False), 6.0)


@kind("exp-shifted", fp16=SOUND)
def exp_shifted(kit):
    return attending(kit, by_hand(True), kit.pick(16.0, 25.0))


@kind("exp-head", fp16=BROKEN)
def exp_head(kit):
    """A classifier's own softmax without the shift, its logits beyond ln 65504 = 11.1."""
    graph, logits = kit.classifier(plain, Head(classes=5, gain=7.0, offset=6.0))
    return Case(graph.proto(by_hand(False)(graph, logits), 5), "probabilities", causes={"fp16": RANGE})


@kind("huge-weight", fp16=BROKEN, int8=None)
def huge_weight(kit):
    """Weights of 10⁵ and more whose factor is taken back later."""
    graph = kit.graph()
    factor = kit.pick(3e5, 1e6)
    features = plain(graph, graph.input)
    value = graph.op("Gemm", features, graph.weights(16, 16) * factor, transB=1)
    value = graph.op("Mul", value, 1 / factor)
    logits = attach(graph, graph.op("Relu", value), Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5), causes={"fp16": RANGE + "|altered|clamp"})


@kind("near-the-range", fp16=SOUND)
def near_the_range(kit):
    """Activations of up to 30,000."""
    graph = kit.graph()
    features = residual(graph, graph.input)
    largest = float(graph.run(features, kit.samples()).max())
    value = graph.op("Relu", graph.op("Mul", features, 30e3 / largest / 1.6))
    logits = attach(graph, graph.op("Mul", value, 1e-3), Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5))


@kind("underflow", fp16=BROKEN)
def underflow(kit):
    """Activations of 10⁻⁷ and less, made large again before the head."""
    graph = kit.graph()
    features = plain(graph, graph.input)
    largest = float(graph.run(features, kit.samples()).max())
    small = graph.op("Mul", features, kit.pick(1e-3, 2e-3) / largest)
    value = graph.op("Mul", graph.op("Mul", small, kit.pick(3e-4, 1e-3)), 2e4)
    logits = attach(graph, graph.op("Mul", value, 100.0), Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5))


@kind("variance-underflow", fp16=BROKEN)
def variance_underflow(kit):
    """A normalisation of values of 10⁻⁴ with an epsilon of 10⁻¹²: half precision stores the squares as zero."""
    graph = kit.graph(opset=13)
    value = tokens(graph, graph.input)
    largest = float(np.abs(graph.run(value, kit.samples()[:200])).max())
    value = graph.op("Mul", value, kit.pick(2e-4, 4e-4) / largest)
    centred = graph.op("Sub", value, graph.reduce("ReduceMean", value, [-1]))
    variance = graph.reduce("ReduceMean", graph.op("Mul", centred, centred), [-1])
    value = graph.op("Div", centred, graph.op("Sqrt", graph.op("Add", variance, 1e-12)))
    value = graph.op("Relu", graph.op("MatMul", value, graph.weights(16, 16).T))
    logits = attach(graph, graph.reduce("ReduceMean", value, [1], 0), Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5))


@kind("tiny-epsilon", fp16=SOUND)
def tiny_epsilon(kit):
    """An epsilon that half precision stores as zero, beside variances of the order of one."""
    graph, logits = kit.classifier(lambda graph, value: attention(graph, value, epsilon=1e-12), Head(classes=5), opset=kit.pick(13, 17))
    return Case(graph.proto(logits, 5))


@kind("variance-by-difference", fp16=BROKEN)
def variance_by_difference(kit):
    """E[x²] − E[x]² of values of about 30 ± 0.3: nothing of it is left in half precision."""
    graph = kit.graph()
    value = graph.op("Relu", graph.conv(graph.input, 3, 12, stride=2))
    spread = float(graph.run(value, kit.samples()).std())
    value = graph.op("Add", graph.op("Mul", value, 0.3 / spread), 30.0)
    mean = graph.reduce("ReduceMean", value, [2, 3])
    square = graph.reduce("ReduceMean", graph.op("Mul", value, value), [2, 3])
    variance = graph.op("Sub", square, graph.op("Mul", mean, mean))
    logits = attach(graph, graph.op("Flatten", variance), Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5))


def adding(value):
    """Masks every fourth token by adding a large negative number to its scores."""

    def mask(graph, scores):
        row = np.zeros((1, 1, 16), np.float32)
        row[..., ::4] = value
        return graph.op("Add", scores, row)

    return mask


def choosing(value):
    def mask(graph, scores):
        keep = graph.op("Cast", graph.store((np.arange(16) % 4 != 0).astype(np.float32)[None, None]), to=9)
        return graph.op("Where", keep, scores, value)

    return mask


def masked(kit, mask):
    graph, logits = kit.classifier(lambda graph, value: attention(graph, value, mask=mask), Head(classes=5))
    return Case(graph.proto(logits, 5))


@kind("mask-added", fp16=SOUND)
def mask_added(kit):
    return masked(kit, adding(kit.pick(-1e9, float(np.finfo(np.float32).min))))


@kind("mask-at-the-limit", fp16=SOUND)
def mask_at_the_limit(kit):
    return masked(kit, adding(kit.pick(-65504.0, -1e4)))


@kind("mask-infinite", fp16=SOUND)
def mask_infinite(kit):
    return masked(kit, kit.pick(adding, choosing)(-np.inf))


@kind("mask-chosen", fp16=SOUND)
def mask_chosen(kit):
    return masked(kit, choosing(kit.pick(-1e9, float(np.finfo(np.float32).min))))


@kind("discarded-reciprocal", fp16=SOUND)
def discarded_reciprocal(kit):
    """1 / x of values down to 10⁻⁹ in a branch that Where discards."""
    graph = kit.graph()
    features = one_of(graph, CONVOLUTIONAL)(graph, graph.input)
    small = graph.op("Less", features, 1e-2)
    inverse = graph.op("Reciprocal", graph.op("Add", features, 1e-9))
    value = graph.op("Where", small, features, graph.op("Mul", graph.op("Reciprocal", inverse), 1.0))
    logits = attach(graph, value, Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5))


@kind("wide-clip", fp16=SOUND)
def wide_clip(kit):
    """Clip at bounds that half precision has not, which never act."""
    graph = kit.graph()
    value = graph.op("Relu", graph.conv(graph.input, 3, 8))
    bound = kit.pick(1e38, 6.5e4)
    value = graph.clip(value, -bound, bound)
    value = pooled(graph, graph.op("Relu", graph.conv(value, 8, 16, stride=2)))
    logits = attach(graph, value, Head(classes=5), kit.samples())
    return Case(graph.proto(logits, 5))


@kind("softmax-tail", fp16=SOUND)
def softmax_tail(kit):
    """Probabilities below what half precision can store, right answers none the less."""
    graph, logits = kit.classifier(one_of_convolutional, Head(classes=6, gain=12.0))
    return Case(graph.proto(softmax(graph, logits), 6), "probabilities")


def one_of_convolutional(graph, value):
    return one_of(graph, CONVOLUTIONAL)(graph, value)

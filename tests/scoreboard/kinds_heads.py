"""Kinds that differ in how they answer: numbers of classes, masks, offsets, temperatures, softmax."""

from case import BROKEN, SOUND, Case, kind, softmax
from heads import Head
from networks import CONVOLUTIONAL, attention, mobile, one_of, plain

FAINT = dict(rank=3, first=5, gain=4.0)
"""A head on directions in which the features hardly vary: too fine for eight bits."""


def trunk(graph, value):
    return one_of(graph)(graph, value)


def convolutional(graph, value):
    return one_of(graph, CONVOLUTIONAL)(graph, value)


@kind("ten-classes", fp16=SOUND, int8=SOUND)
def ten_classes(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=10, gain=kit.pick(1.0, 4.0, 8.0)))
    return Case(graph.proto(logits, 10))


@kind("clusters", fp16=SOUND, int8=SOUND)
def clusters(kit):
    graph, logits = kit.classifier(trunk, Head(classes=6, clusters=True, gain=2.0))
    return Case(graph.proto(logits, 6))


@kind("binary", fp16=SOUND, int8=SOUND)
def binary(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=2, rank=1, gain=kit.pick(1.0, 3.0)))
    return Case(graph.proto(logits, 2))


@kind("binary-softmax", fp16=SOUND, int8=SOUND)
def binary_softmax(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=2, rank=2, gain=1.5))
    return Case(graph.proto(softmax(graph, logits), 2), "probabilities")


@kind("binary-coarse", fp16=SOUND, int8=BROKEN)
def binary_coarse(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=2, rank=1, first=10, gain=4.0))
    return Case(graph.proto(logits, 2))


@kind("classes-152", fp16=SOUND)
def classes_152(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=152, clusters=True, rank=4, gain=3.0))
    return Case(graph.proto(logits, 152))


@kind("classes-152-coarse", fp16=SOUND, int8=BROKEN)
def classes_152_coarse(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=152, clusters=True, rank=6, first=3, gain=3.0))
    return Case(graph.proto(logits, 152))


@kind("classes-1000", fp16=SOUND)
def classes_1000(kit):
    graph, logits = kit.classifier(plain, Head(classes=1000, rank=6, gain=6.0))
    return Case(graph.proto(logits, 1000))


@kind("padded-classes", fp16=SOUND, int8=SOUND)
def padded_classes(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=6, padded=kit.pick(2, 10), pad=kit.pick(-1e4, -3000.0)))
    return Case(graph.proto(logits, graph_outputs(graph)))


@kind("padded-classes-coarse", fp16=SOUND, int8=BROKEN)
def padded_classes_coarse(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=12, padded=8, pad=kit.pick(-1e4, -5000.0), **FAINT))
    return Case(graph.proto(logits, graph_outputs(graph)))


@kind("common-offset", fp16=SOUND, int8=SOUND)
def common_offset(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=5, offset=kit.pick(24.0, -18.0)))
    return Case(graph.proto(logits, 5))


@kind("common-offset-coarse", fp16=SOUND, int8=BROKEN)
def common_offset_coarse(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=8, offset=kit.pick(40.0, -30.0), **FAINT))
    return Case(graph.proto(logits, 8))


@kind("huge-offset", fp16=BROKEN, int8=SOUND)
def huge_offset(kit):
    """Half precision has no digits left for leads of a few nats beside an offset of thousands."""
    graph, logits = kit.classifier(convolutional, Head(classes=5, offset=kit.pick(9000.0, -6000.0)))
    return Case(graph.proto(logits, 5))


@kind("softmax", fp16=SOUND, int8=SOUND)
def plain_softmax(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=7, gain=kit.pick(1.0, 2.0)))
    return Case(graph.proto(softmax(graph, logits), 7), "probabilities")


@kind("softmax-coarse", fp16=SOUND, int8=BROKEN)
def softmax_coarse(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=8, **FAINT))
    return Case(graph.proto(softmax(graph, logits), 8), "probabilities")


@kind("softmax-identity", fp16=SOUND, int8=SOUND)
def softmax_identity(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=5, gain=2.0))
    return Case(graph.proto(graph.op("Identity", softmax(graph, logits)), 5), "probabilities")


@kind("softmax-reshape", fp16=SOUND, int8=SOUND)
def softmax_reshape(kit):
    """A head that is a convolution, its softmax over maps of one position, then flattened."""
    graph, logits = kit.classifier(convolutional, Head(classes=5, gain=2.0))
    maps = graph.op("Unsqueeze", logits, [2, 3])
    shares = graph.op("Softmax", maps, axis=1)
    made = graph.op("Squeeze", shares, [2, 3]) if kit.pick(True, False) else graph.op("Reshape", shares, [-1, 5])
    return Case(graph.proto(made, 5), "probabilities")


@kind("log-softmax", fp16=SOUND, int8=SOUND)
def log_softmax(kit):
    graph, logits = kit.classifier(convolutional, Head(classes=6, gain=2.0))
    return Case(graph.proto(graph.op("LogSoftmax", logits, axis=1), 6))


@kind("cold", fp16=SOUND, int8=SOUND)
def cold(kit):
    """Logits of hundredths of a nat."""
    graph, logits = kit.classifier(convolutional, Head(classes=5, gain=0.03))
    return Case(graph.proto(logits, 5))


@kind("hot", fp16=SOUND, int8=SOUND)
def hot(kit):
    """Logits of hundreds of nats."""
    graph, logits = kit.classifier(convolutional, Head(classes=5, gain=300.0))
    return Case(graph.proto(logits, 5))


@kind("dead-class", fp16=SOUND, int8=SOUND)
def dead_class(kit):
    """One class that no picture reaches, without being masked."""
    graph, logits = kit.classifier(convolutional, Head(classes=5, padded=1, pad=-kit.pick(20.0, 60.0)))
    return Case(graph.proto(logits, 6))


@kind("rare-class", fp16=SOUND, int8=SOUND)
def rare_class(kit):
    """Two classes, one of which answers one picture in twenty."""
    graph, logits = kit.classifier(convolutional, Head(classes=2, rank=1, gain=2.0))
    return Case(graph.proto(graph.op("Add", logits, [[3.2, -3.2]]), 2))


@kind("transformer", fp16=SOUND)
def transformer(kit):
    graph, logits = kit.classifier(attention, Head(classes=6))
    return Case(graph.proto(logits, 6))


@kind("mobile", fp16=SOUND)
def mobile_network(kit):
    graph, logits = kit.classifier(mobile, Head(classes=6))
    return Case(graph.proto(logits, 6))


def graph_outputs(graph):
    """Outputs of the last dense layer."""
    return graph.stored[-1].dims[0]

"""Heads: weights that make a trunk's features into a classifier whose answers are balanced, without training."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Head:
    """What a head shall be.

    classes: how many compete. rank, first: it looks at `rank` principal directions of the features from number `first` on;
    the later, the fainter, and the coarser they are for eight bits. gain: spread of the logits in nats. clusters: classes are
    regions of the features, as a trained head has them, and not random directions. offset: added to all logits.
    padded: further classes with a logit of `pad`.
    """

    classes: int = 5
    rank: int = 2
    first: int = 0
    gain: float = 4.0
    clusters: bool = False
    offset: float = 0.0
    padded: int = 0
    pad: float = -1e4

    @property
    def outputs(self):
        return self.classes + self.padded


def weights(head, features, random):
    """Matrix `[d, outputs]` and bias `[outputs]` over `features` `[n, d]`."""
    features = features.astype(np.float64)
    mean = features.mean(0)
    _, scales, directions = np.linalg.svd(features - mean, full_matrices=False)
    rank = max(1, min(head.rank, int((scales > 1e-4 * scales[0]).sum()) - head.first))
    chosen = slice(head.first, head.first + rank)
    white = directions[chosen].T / scales[chosen] * np.sqrt(len(features))
    # A direction's sign is the library's choice; the largest weight is made positive.
    white *= np.sign(white[np.abs(white).argmax(0), np.arange(rank)])
    if head.clusters:
        points = (features - mean) @ white
        centres = points[random.choice(len(points), head.classes, replace=False)]
        for _ in range(8):
            nearest = (points @ centres.T - (centres**2).sum(1) / 2).argmax(1)
            members = [points[nearest == index] for index in range(head.classes)]
            centres = np.stack([own.mean(0) if len(own) else centre for own, centre in zip(members, centres)])
        inner, bias = centres.T, -(centres**2).sum(1) / 2
    else:
        inner = random.randn(rank, head.classes)
        if head.classes == 2:
            inner[:, 1] = -inner[:, 0]
        elif rank == 1:
            # Along one direction only the two ends would ever answer: tangents of a parabola, ordered as quantiles.
            points = np.quantile((features - mean) @ white, (np.arange(head.classes) + 0.5) / head.classes, axis=0)[:, 0]
            inner = points[None, :]
        inner = inner / (np.linalg.norm(inner, axis=0) if rank > 1 or head.classes == 2 else 1.0)
        bias = -(inner[0] ** 2) / 2 if rank == 1 and head.classes > 2 else np.zeros(head.classes)
    matrix = head.gain * white @ inner
    offset = head.gain * bias - mean @ matrix + head.offset
    matrix = np.concatenate([matrix, np.zeros((len(matrix), head.padded))], 1)
    return matrix, np.concatenate([offset, np.full(head.padded, head.pad)])


def attach(graph, value, head, samples, batch=None):
    """Fits a head on `samples` and appends it; returns the logits' name."""
    matrix, bias = weights(head, graph.run(value, samples, batch), graph.random)
    return graph.op("Gemm", value, matrix.T, bias, transB=1)

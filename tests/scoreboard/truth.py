"""The truth about a cell: what an evaluator that the gate does not use answers on samples that the gate never saw.

FP16 is evaluated by `onnx.reference`, every tensor in half precision; and once more with the sums inside of an operator in
single precision, as kernels make them: the evaluator adds up a mean over an inner axis in half, one element after another,
which no kernel does (ONNX Runtime's and PyTorch's accumulate half in float). A cell is sound or broken if both say so. INT8 is the exported graph with its quantisers and
without fusion, so that products are exact on every processor. Figures and limits are those of published practice: a
converted classifier keeps 99 % of its accuracy in INT8 and 99.9 % in FP16 (MLPerf Inference); five times as much loss in
INT8, three times in FP16, is nobody's; between the two limits a cell is grey and is not counted.
"""

import numpy as np
from onnx import TensorProto, helper, version_converter
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.shape_inference import infer_shapes

from graph import run

LIMITS = {
    # figure: {precision: (sound up to, broken above)}
    "loss": {"fp32": (1e-5, 1e-4), "fp16": (0.001, 0.003), "int8": (0.01, 0.05)},
    "divergence": {"fp32": (1e-8, 1e-7), "fp16": (0.003, 0.01), "int8": (0.05, 0.15)},
    "slope": {"fp32": (1e-4, 1e-3), "fp16": (0.01, 0.03), "int8": (0.08, 0.25)},
    "worst class": {"fp32": (0.1, 0.3), "fp16": (0.1, 0.3), "int8": (0.1, 0.3)},
}
# A difference between two batchings of one sample, over the spread of the outputs: what sums in another order make of it,
# and what is planted.
BATCH = (1e-5, 3e-5)


class LogSoftmax(OpRun):
    """In half precision, as kernels compute it: the evaluator's own takes the logarithm of a softmax, whose tail is zero."""

    op_domain = ""

    def _run(self, x, axis=None):
        axis = -1 if axis is None else axis
        shifted = x - x.max(axis=axis, keepdims=True)
        return ((shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))).astype(x.dtype),)


# Operators that add up, and how many of their inputs hold values.
SUMS = {"ReduceMean": 1, "ReduceSum": 1, "ReduceSumSquare": 1, "ReduceL1": 1, "ReduceL2": 1, "ReduceLogSumExp": 1, "Softmax": 1}
SUMS |= {"LayerNormalization": 3, "InstanceNormalization": 3, "GlobalAveragePool": 1, "AveragePool": 1}


def summed_in_single(model):
    """The model with casts around what adds up in half precision; nothing where there is no such operator."""
    changed = type(model)()
    changed.CopyFrom(model)
    known = {value.name: value.type.tensor_type.elem_type for value in infer_shapes(model).graph.value_info}
    nodes, found = [], False
    for node in changed.graph.node:
        if node.op_type not in SUMS or known.get(node.output[0]) != TensorProto.FLOAT16:
            nodes.append(node)
            continue
        found = True
        for place, name in enumerate(node.input[: SUMS[node.op_type]]):
            node.input[place] = f"{node.output[0]}/single/{place}"
            nodes.append(helper.make_node("Cast", [name], [node.input[place]], to=TensorProto.FLOAT))
        outputs = list(node.output)
        for place, name in enumerate(outputs):
            node.output[place] = f"{name}/single"
        nodes.append(node)
        nodes += [helper.make_node("Cast", [f"{name}/single"], [name], to=TensorProto.FLOAT16) for name in outputs[:1]]
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
    return changed if found else None


def evaluate(model, samples, precision, batch=None):
    """Outputs of an artifact."""
    if precision != "fp16":
        return run(model, samples, batch, optimise=False, exact=True)
    if next(opset.version for opset in model.opset_import if opset.domain == "") < 9:
        # The evaluator cannot run the BatchNormalization of opset 8.
        model = version_converter.convert_version(model, 9)
    evaluator = ReferenceEvaluator(model, new_ops=[LogSoftmax])
    given = model.graph.input[0]
    fixed = given.type.tensor_type.shape.dim[0].dim_value
    batch = batch or (fixed if fixed > 0 else 500)
    with np.errstate(all="ignore"):
        parts = [evaluator.run(None, {given.name: samples[at : at + batch]})[0] for at in range(0, len(samples), batch)]
    return np.concatenate(parts)


def odds(values, output):
    """Log-odds in nats. What half precision cannot hold of a probability is cut off."""
    values = values.astype(np.float64)
    return np.log(np.maximum(values, 1e-4)) if output == "probabilities" else values


def shares(logits):
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def figures(reference, actual, output):
    """What the conversion costs.

    agreement: share of equal answers. loss: expected fall of accuracy; a changed answer costs tanh(lead / typical lead),
    what the odds say that it costs at the temperature where the typical lead is 2 nats. worst class: the largest loss of a
    class that is met at least 25 times. divergence: Kullback-Leibler, nats, at that temperature. slope: distance from 1 of
    the factor by which leads are stretched.
    """
    finite = np.isfinite(actual).all(1)
    if not finite.all():
        return dict(agreement=float(finite.mean()), loss=1.0, divergence=1e9, slope=1.0, finite=float(finite.mean()), **{"worst class": 1.0})
    before, after = odds(reference, output), odds(actual, output)
    rows, answer = np.arange(len(before)), before.argmax(1)
    ranked = np.sort(before, 1)
    leads, rival = ranked[:, -1] - ranked[:, -2], np.argsort(before, 1)[:, -2]
    typical = np.median(leads)
    if not typical > 0:
        return None
    same = answer == after.argmax(1)
    costs = np.where(same, 0.0, np.tanh(leads / typical))
    counts = np.bincount(answer)
    by_class = np.bincount(answer, costs) / np.maximum(counts, 1)
    p, q = shares(before * 2 / typical), shares(after * 2 / typical)
    divergence = (p * (np.log(np.maximum(p, 1e-300)) - np.log(np.maximum(q, 1e-300)))).sum(1).mean()
    stretched = after[rows, answer] - after[rows, rival]
    return {
        "agreement": float(same.mean()),
        "loss": float(costs.mean()),
        "worst class": float(by_class[counts >= 25].max(initial=0.0)),
        "divergence": float(max(divergence, 0.0)),
        "slope": float(abs((leads * stretched).sum() / (leads**2).sum() - 1)),
        "finite": 1.0,
    }


def verdict(figures, precision):
    """`sound`, `broken` or `grey`; a figure that is no number is broken. Where two evaluators were asked, `grey` if they differ."""
    if figures is not None and figures.get("sums in single"):
        own = {name: value for name, value in figures.items() if name != "sums in single"}
        found = {verdict(own, precision), verdict(figures["sums in single"], precision)}
        return found.pop() if len(found) == 1 else "grey"
    if figures is None:
        return "invalid"
    limits = [(figures[name], *limit[precision]) for name, limit in LIMITS.items()]
    if any(not value <= broken for value, _, broken in limits):
        return "broken"
    return "sound" if all(value <= sound for value, sound, _ in limits) else "grey"


def batch_difference(model, samples, precision):
    """Largest difference between the answers in calls of 8 and one by one (64 samples), over the outputs' spread."""
    part = samples[:64]
    together = evaluate(model, part, precision, 8).astype(np.float64)
    alone = evaluate(model, part, precision, 1).astype(np.float64)
    if not (np.isfinite(together).all() and np.isfinite(alone).all()):
        return float("nan")
    centred = together - together.mean(1, keepdims=True)
    centred -= centred.mean(0, keepdims=True)
    return float(np.abs(together - alone).max() / max(np.sqrt((centred**2).mean()), 1e-30))


def repeat_difference(model, samples, batch=None):
    """Largest difference between two runs of the same samples."""
    part = samples[:64]
    first, second = run(model, part, batch), run(model, part, batch)
    return float(np.abs(first - second).max()) if np.isfinite(first).all() and np.isfinite(second).all() else float("nan")

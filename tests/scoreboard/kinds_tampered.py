"""Kinds whose model is sound and whose artifact is not the model's: exported from a changed file, or changed itself."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from case import BROKEN, SOUND, Case, kind, softmax
from graph import arrays, copied, replace
from heads import Head
from networks import CONVOLUTIONAL, one_of, plain

WEIGHTS = "weight|filter|channel order"
BIAS = "bias|shifted by a constant|weights"


def convolutional(graph, value):
    return one_of(graph, CONVOLUTIONAL)(graph, value)


def layers(model):
    """Names of (weights, bias or None) of convolutions and dense layers, in order."""
    stored = arrays(model)
    found = []
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm") and node.input[1] in stored:
            found.append((node.input[1], node.input[2] if len(node.input) > 2 else None))
    return found


def swapped(kit, change, precisions=("fp16", "int8"), head=None, cause=WEIGHTS, bless=False, probabilities=False):
    """A plain classifier, and the artifacts of its copy that `change(model, values)` altered."""
    graph, logits = kit.classifier(convolutional, head or Head(classes=5))
    if probabilities:
        logits = softmax(graph, logits)
    model = graph.proto(logits, (head or Head(classes=5)).outputs)
    other = copied(model)
    change(other, arrays(other))
    output = "probabilities" if probabilities else "logits"
    return Case(model, output, swaps={p: other for p in precisions}, causes={p: cause for p in precisions}, bless=bless)


def exchanged(kit, model, values):
    """Two classes change places in the head."""
    weights, bias = layers(model)[-1]
    order = np.arange(len(values[bias]))
    first, second = kit.random.permutation(len(order))[:2]
    order[[first, second]] = order[[second, first]]
    replace(model, weights, values[weights][order])
    replace(model, bias, values[bias][order])


@kind("classes-swapped", fp16=BROKEN, int8=BROKEN)
def classes_swapped(kit):
    return swapped(kit, lambda model, values: exchanged(kit, model, values), cause="swap|hold each other|permut")


@kind("classes-swapped-softmax", fp16=BROKEN, int8=BROKEN)
def classes_swapped_softmax(kit):
    change = lambda model, values: exchanged(kit, model, values)
    return swapped(kit, change, head=Head(classes=7, gain=2.0), cause="swap|hold each other|permut", probabilities=True)


@kind("binary-swapped", fp16=BROKEN, int8=BROKEN)
def binary_swapped(kit):
    change = lambda model, values: exchanged(kit, model, values)
    return swapped(kit, change, head=Head(classes=2, rank=2), cause="swap|hold each other|permut|opposite")


@kind("channels-swapped", fp16=BROKEN, int8=BROKEN)
def channels_swapped(kit):
    """Blue for red."""

    def change(model, values):
        weights, _ = layers(model)[0]
        replace(model, weights, values[weights][:, ::-1])

    return swapped(kit, change)


def noisy(kit, size):
    def change(model, values):
        weights, _ = layers(model)[kit.pick(0, 1)]
        array = values[weights]
        replace(model, weights, array + kit.random.randn(*array.shape) * array.std() * size)

    return change


@kind("weights-perturbed", fp16=BROKEN, int8=BROKEN)
def weights_perturbed(kit):
    return swapped(kit, noisy(kit, kit.pick(0.3, 0.6)))


@kind("weights-perturbed-little", fp16=SOUND, int8=SOUND)
def weights_perturbed_little(kit):
    return swapped(kit, noisy(kit, 1e-4))


@kind("weights-perturbed-fp32", fp32=BROKEN)
def weights_perturbed_fp32(kit):
    """A change of 1 % in the FP32 artifact, seen beside a golden."""
    return swapped(kit, noisy(kit, kit.pick(0.01, 0.05)), ("fp32",), bless=True)


@kind("bias-dropped", fp16=BROKEN, int8=BROKEN)
def bias_dropped(kit):
    def change(model, values):
        _, bias = layers(model)[-1]
        replace(model, bias, np.zeros_like(values[bias]))

    return swapped(kit, change, cause=BIAS)


@kind("filter-zeroed", fp16=BROKEN, int8=BROKEN)
def filter_zeroed(kit):
    """The strongest filters of the last convolution are gone."""

    def change(model, values):
        weights, _ = [names for names in layers(model) if values[names[0]].ndim == 4][-1]
        array = values[weights].copy()
        array[np.argsort(np.abs(array).reshape(len(array), -1).sum(1))[-3:]] = 0
        replace(model, weights, array)

    return swapped(kit, change, cause=BIAS + "|filter")


@kind("logits-scaled", fp16=BROKEN, int8=BROKEN)
def logits_scaled(kit):
    """No answer changes, every probability does."""
    factor = kit.pick(0.6, 1.7)

    def change(model, values):
        for name in layers(model)[-1]:
            replace(model, name, values[name] * factor)

    return swapped(kit, change, cause="times the reference|scaled|factor|temperature")


@kind("logits-shifted", fp16=SOUND, int8=SOUND)
def logits_shifted(kit):
    """A constant added to all logits changes nothing that a softmax says."""
    shift = kit.pick(2.0, -3.0)

    def change(model, values):
        _, bias = layers(model)[-1]
        replace(model, bias, values[bias] + shift)

    return swapped(kit, change)


@kind("stale-artifact", fp16=BROKEN, int8=BROKEN)
def stale_artifact(kit):
    """The artifact of the last training run: the same network with another head."""

    def change(model, values):
        weights, bias = layers(model)[-1]
        random = np.random.RandomState(kit.number + 1)
        turned = np.linalg.qr(random.randn(5, 5))[0]
        replace(model, weights, 0.8 * values[weights] + 0.6 * turned @ values[weights])
        replace(model, bias, 0.8 * values[bias] + 0.6 * turned @ values[bias])

    return swapped(kit, change)


# ---- artifacts that are changed themselves -----------------------------------------------------------------------------


def changed(kit, precision, tamper, cause, trunk=convolutional, **options):
    graph, logits = kit.classifier(trunk, Head(classes=5))
    return Case(graph.proto(logits, 5), tamper={precision: tamper}, causes={precision: cause}, **options)


def rescaled(kit, factor):
    """One activation's scale is off, in all its quantisers alike."""

    def tamper(artifact, model):
        stored = arrays(artifact)
        scales = {node.input[1] for node in artifact.graph.node if node.op_type == "QuantizeLinear" and node.input[0] not in stored}
        name = sorted(name for name in scales if name in stored)[kit.random.randint(len(scales))]
        replace(artifact, name, stored[name] * factor)
        return artifact

    return tamper


@kind("scale-too-large", int8=BROKEN)
def scale_too_large(kit):
    return changed(kit, "int8", rescaled(kit, kit.pick(24.0, 48.0)), "scale|calibration", plain)


@kind("scale-too-small", int8=BROKEN)
def scale_too_small(kit):
    return changed(kit, "int8", rescaled(kit, kit.pick(0.05, 0.1)), "scale|calibration", plain)


@kind("weight-not-a-number", fp16=BROKEN)
def weight_not_a_number(kit):
    def tamper(artifact, model):
        weights, _ = layers(artifact)[0]
        array = arrays(artifact)[weights].copy()
        array.flat[kit.random.randint(array.size)] = np.nan
        replace(artifact, weights, array)
        return artifact

    return changed(kit, "fp16", tamper, "finite|NaN")


@kind("not-half", fp16=BROKEN)
def not_half(kit):
    """The FP32 file under the name of the FP16 one: every answer is right, the precision is not."""
    return changed(kit, "fp16", lambda artifact, model: copied(model), "precision|FP32|float32", unlike=True)


@kind("not-eight-bits", int8=BROKEN)
def not_eight_bits(kit):
    return changed(kit, "int8", lambda artifact, model: copied(model), "precision|FP32|float32", unlike=True)


@kind("slots-rolled", fp16=BROKEN)
def slots_rolled(kit):
    """Each sample of a batch gets its neighbour's answer; alone it gets its own."""

    def tamper(artifact, model):
        output = artifact.graph.output[0].name
        for node in artifact.graph.node:
            for index, name in enumerate(node.output):
                if name == output:
                    node.output[index] = f"{output}_unrolled"
        for name, value in (("one", [1]), ("zero", [0]), ("end", [2**31])):
            artifact.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), f"roll_{name}"))
        cut = lambda start, stop, made: helper.make_node("Slice", [f"{output}_unrolled", start, stop, "roll_zero"], [made])
        artifact.graph.node.extend(
            [
                cut("roll_one", "roll_end", "roll_tail"),
                cut("roll_zero", "roll_one", "roll_head"),
                helper.make_node("Concat", ["roll_tail", "roll_head"], [output], axis=0),
            ]
        )
        onnx.checker.check_model(artifact)
        return artifact

    return changed(kit, "fp16", tamper, "batch|permut|slot", batches=(8, 16))

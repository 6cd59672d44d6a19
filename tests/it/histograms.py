"""Compares `histograms.py` (in the folder of argument 1) with the quantiser's own percentile calibration, on tensors and on a model."""

import contextlib
import io
import os
import sys
import tempfile

sys.path.insert(0, sys.argv[1])

import histograms
import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import HistogramCollector

SIZE = 1 << 18
random = numpy.random.default_rng(5)


def normal(scale, batch):
    return random.normal(0, scale, SIZE)


# A tensor's values, batch by batch.
TENSORS = {
    "normal": normal,
    "relu": lambda scale, batch: numpy.maximum(normal(scale, batch), 0),
    "mostly zero": lambda scale, batch: normal(scale, batch) * (random.random(SIZE) < 1e-4),
    "growing": lambda scale, batch: normal(scale, batch) * (1 + batch),
    "shrinking": lambda scale, batch: normal(scale, batch) / (1 + batch / 8),
    "outliers": lambda scale, batch: normal(scale, batch) * numpy.where(random.random(SIZE) < 1e-5, 1e3, 1),
    "shifted": lambda scale, batch: normal(scale, batch) - 40 * scale,
    "constant": lambda scale, batch: numpy.full(SIZE, scale),
    "zero": lambda scale, batch: numpy.zeros(SIZE),
    "two values": lambda scale, batch: random.integers(0, 2, SIZE) * scale,
    "small": lambda scale, batch: normal(scale, batch)[:1000],
    "halves": lambda scale, batch: random.laplace(0, scale, SIZE).astype(numpy.float16),
}


def collected(batches, less, percentile=99.999):
    def ranges():
        collector = HistogramCollector("percentile", True, 2048, 128, percentile, "same")
        for batch in batches:
            collector.collect({name: [values] for name, values in batch.items()})
        found = collector.compute_collection_result()
        return {name: tuple(map(float, found[name][:2])) for name in found}

    with contextlib.redirect_stdout(io.StringIO()):
        return histograms.quantize(ranges) if less else ranges()


equal = 0
for name, make in TENSORS.items():
    batches = [{name: make(0.7, batch).astype(numpy.float32)} for batch in range(6)]
    with contextlib.redirect_stdout(io.StringIO()), histograms.counting():
        kept = HistogramCollector("percentile", True, 2048, 128, 99.999, "same")
        kept.collect({name: [batches[0][name]]})
    one, other = collected(batches, True), collected(batches, False)
    assert one == other, (name, one, other)
    if name == "normal":
        assert kept.first_bins[name] > 0, "nothing was left out"
    equal += 1

# Where the kept values turn out not to hold the percentile, all are sorted.
again = 0
fading = [{"fading": random.normal(0, 1e-3 if batch else 1, SIZE).astype(numpy.float32)} for batch in range(6)]
try:
    with contextlib.redirect_stdout(io.StringIO()), histograms.counting():
        collector = HistogramCollector("percentile", True, 2048, 128, 99.9, "same")
        for batch in fading:
            collector.collect({name: [values] for name, values in batch.items()})
        collector.compute_collection_result()
except histograms.TooFew:
    again += 1
assert collected(fading, True, 99.9) == collected(fading, False, 99.9)


# What the quantiser loses where the range grows is kept: the largest of so few values is the range.
lost = 0
for seed in range(60):
    draw = numpy.random.default_rng(seed)
    batches = [{"grown": draw.laplace(0, 1 + batch, 1280).astype(numpy.float32)} for batch in range(4)]
    largest = max(float(numpy.absolute(batch["grown"]).max()) for batch in batches)
    one, other = (max(map(abs, collected(batches, less)["grown"])) for less in (True, False))
    assert one > 0.995 * largest, (seed, one, largest)
    lost += other < 0.995 * largest
    assert one == other or other < one, (seed, one, other)
assert lost > 0, "the quantiser has been mended: so may this be"


def model():
    def stored(name, shape):
        return numpy_helper.from_array(random.normal(0, 0.3, shape).astype(numpy.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "v"], ["d"], "conv_2", strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["d"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "m"], ["y"], "gemm"),
    ]
    stored_tensors = [stored("w", (8, 3, 3, 3)), stored("v", (16, 8, 3, 3)), stored("m", (16, 5))]
    border = [helper.make_tensor_value_info(*value) for value in (("x", 1, ["N", 3, 48, 48]), ("y", TensorProto.FLOAT, ["N", 5]))]
    graph = helper.make_graph(nodes, "graph", border[:1], border[1:], stored_tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Reader:
    """Batches of 16, of samples."""

    def __init__(self, samples):
        self.batches = iter([{"x": samples[start : start + 16]} for start in range(0, len(samples), 16)])

    def get_next(self):
        return next(self.batches, None)


models = 0
with tempfile.TemporaryDirectory() as folder:
    for seed in range(2):
        samples = random.random((64, 3, 48, 48), numpy.float32) * numpy.linspace(0.1, 1 + seed, 64, dtype=numpy.float32)[:, None, None, None]
        source = os.path.join(folder, "source.onnx")
        onnx.save(model(), source)
        made = []
        for less in (True, False):
            path = os.path.join(folder, "quantised.onnx")

            def quantise():
                quantize_static(
                    source, path, Reader(samples), quant_format=QuantFormat.QDQ, activation_type=QuantType.QInt8,
                    weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.Percentile,
                    extra_options={"ActivationSymmetric": True},
                )  # fmt: skip

            with contextlib.redirect_stdout(io.StringIO()):
                histograms.quantize(quantise) if less else quantise()
            made.append([numpy_helper.to_array(tensor).tolist() for tensor in onnx.load(path).graph.initializer])
        assert made[0] == made[1]
        models += 1
print(f"{equal} tensors and {models} models equal, {again} calibrated again")

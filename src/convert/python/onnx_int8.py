"""ONNX FP32 -> ONNX INT8 with explicit Q/DQ pairs: symmetric, per-channel weights, FP32 input and output.

Two files, with the same scales and the same integers at every pair that both have:

- for TensorRT, everything is INT8 with zero point 0, weights are FP32 constants with a pair of their own, and no pair
  parts operators that it would fuse: a convolution, the sum that closes a residual block, and the ReLU behind;
- for CPUs, weights are stored (INT8, biases INT32) and activations are UINT8, so that every convolution runs as an integer
  kernel. What cannot be negative has zero point 0 and is clipped at 127, as INT8 would be: quantising then is the ReLU, and
  sums of two products stay within 16 bits, where kernels for CPUs without VNNI would saturate. The rest is shifted by 128.
  Only biases are rounded once more, to the grid of the sums.
"""

import argparse
import copy
import logging
import os
import tempfile

import common

# Operators whose inputs are quantised. ReLU is not among them: the pair stands behind it, where the next one reads.
QUANTISED = ["Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "MaxPool", "AveragePool", "GlobalAveragePool"]


def reader(name, samples, batch):
    """Hands the samples to the calibrator, `batch` at a time."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        """One range of batches after another, so that only one batch of inner tensors is in memory at once."""

        def __init__(self):
            self.starts = list(range(0, len(samples), batch))
            self.pending = iter(())

        def __len__(self):
            return len(self.starts)

        def set_range(self, start_index, end_index):
            self.pending = iter(self.starts[start_index:end_index])

        def get_next(self):
            start = next(self.pending, None)
            return None if start is None else {name: samples[start : start + batch]}

    return Reader()


# Operators that TensorRT fuses with a sum of their result and something else.
FUSED_WITH_SUM = {"Conv", "ConvTranspose"}


def for_tensorrt(model):
    """Frees one side of every sum whose side is a convolution read by nothing else.

    TensorRT computes convolution, sum and ReLU in one INT8 kernel, with the other side read as INT8, unless a pair makes it
    round the convolution's result first. The result is also more exact: one rounding less.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    readers = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in graph.output}

    def unshared(name):
        return len(readers.get(name, [])) == 1 and name not in outputs

    def free(node, index):
        pair = [makers.get(node.input[index])]
        pair.append(pair[0] and makers.get(pair[0].input[0]))
        if [part and part.op_type for part in pair] != ["DequantizeLinear", "QuantizeLinear"]:
            return None
        maker = makers.get(pair[1].input[0])
        names = [pair[1].input[0], pair[1].output[0], pair[0].output[0]]
        if maker is None or maker.op_type not in FUSED_WITH_SUM or not all(map(unshared, names)):
            return None
        node.input[index] = names[0]
        return pair

    gone = []
    for node in graph.node:
        if node.op_type == "Add" and len(node.input) == 2:
            gone.extend(free(node, 1) or free(node, 0) or [])
    for node in gone:
        graph.node.remove(node)
    # Only what the pairs alone read: a branch or loop may read other constants from within.
    left = {name for node in gone for name in node.input} - {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name in left]:
        graph.initializer.remove(tensor)


# Operators that never make a negative value out of none.
KEEPS_SIGN = {"MaxPool", "AveragePool", "GlobalAveragePool", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"}


def for_processors(model):
    """Turns the quantiser's graph into that for CPUs; see above."""
    import numpy
    from onnx import helper, numpy_helper

    graph = model.graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    readers = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def store(name, value):
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def never_negative(name):
        node = makers.get(name)
        while node is not None and node.op_type in KEEPS_SIGN | {"QuantizeLinear", "DequantizeLinear"}:
            node = makers.get(node.input[0])
        return node is not None and node.op_type == "Relu"

    def store_bias(node):
        data, weight = (makers.get(name) for name in node.input[:2])
        scaled = all(maker is not None and maker.op_type == "DequantizeLinear" for maker in (data, weight))
        factors = [attribute.f for attribute in node.attribute if attribute.name in ("alpha", "beta")]
        if len(node.input) < 3 or node.input[2] not in stored or not scaled or any(factor != 1 for factor in factors):
            return
        name = node.input[2]
        scale = stored[data.input[1]] * stored[weight.input[1]]
        integers = numpy.rint(stored[name] / scale)
        # A channel of vanishing weights can make the grid too fine for 32 bits; the bias stays as it is then.
        if not (numpy.abs(integers) < 2**31).all():
            return
        inputs = [
            store(f"{name}_quantized", integers.astype(numpy.int32)),
            store(f"{name}_scale", scale.astype(numpy.float32)),
            store(f"{name}_zero_point", numpy.zeros(scale.shape, numpy.int32)),
        ]
        node.input[2] = f"{name}_dequantized"
        pair = helper.make_node("DequantizeLinear", inputs, [node.input[2]], f"{name}_dequantize", axis=0)
        graph.node.append(pair)

    nodes = list(graph.node)
    positive = {node.output[0] for node in nodes if node.op_type == "QuantizeLinear" and never_negative(node.input[0])}
    for node in nodes:
        if node.op_type in ("Conv", "Gemm"):
            store_bias(node)
    zero, middle = store("zero_point_0", numpy.uint8(0)), store("zero_point_128", numpy.uint8(128))
    limit = store("limit_127", numpy.uint8(127))
    gone = set()
    for node in nodes:
        if node.op_type != "QuantizeLinear":
            continue
        source, scale, _ = node.input
        result = node.output[0]
        pairs = readers[result]
        if source in stored:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
            shape = [-1 if index == axis else 1 for index in range(stored[source].ndim)] if stored[scale].ndim else []
            store(result, numpy.clip(numpy.rint(stored[source] / stored[scale].reshape(shape)), -128, 127).astype(numpy.int8))
            gone.add(result)
        elif result in positive:
            relu = makers[source]
            if relu.op_type == "Relu":
                node.input[0] = relu.input[0]
            node.input[2] = zero
            clipped = f"{result}_clipped"
            graph.node.append(helper.make_node("Clip", [result, "", limit], [clipped], f"{result}_clip"))
            for pair in pairs:
                pair.input[0], pair.input[2] = clipped, zero
        else:
            for part in [node, *pairs]:
                part.input[2] = middle

    # What nothing reads any more goes: stored weights in FP32 and their pairs, ReLUs.
    outputs = {value.name for value in graph.output}
    kept = [node for node in graph.node if node.output[0] not in gone]
    while True:
        read = outputs | {name for node in kept for name in node.input}
        left = [node for node in kept if not read.isdisjoint(node.output)]
        if len(left) == len(kept):
            break
        kept = left
    initializers = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(initializers)


def main():
    parser = argparse.ArgumentParser()
    for name in ("source", "calibration", "method", "percentile", "fewest", "destination"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()

    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.disable(logging.WARNING)
    methods = {
        "entropy": CalibrationMethod.Entropy,
        "min-max": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
    }
    name, shape = common.only_input(common.load_onnx(arguments.source))
    samples = common.load_samples(arguments.calibration, shape, int(arguments.fewest))
    batch = shape[0] or 64
    samples = samples[: len(samples) // batch * batch] if shape[0] else samples

    with tempfile.TemporaryDirectory() as folder:
        prepared = os.path.join(folder, "prepared.onnx")
        quantised = os.path.join(folder, "quantised.onnx")
        quant_pre_process(arguments.source, prepared, skip_symbolic_shape=True)
        options = {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            # TensorRT takes weights as FP32 constants with a Q/DQ pair, and no quantised bias.
            "AddQDQPairToWeight": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": QUANTISED,
            "CalibStridedMinMax": 1,
        }
        if arguments.method == "percentile":
            options["CalibPercentile"] = float(arguments.percentile)
        quantize_static(
            prepared,
            quantised,
            reader(name, samples, batch),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTISED,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=methods[arguments.method],
            extra_options=options,
        )
        model = onnx.load(quantised)
    del model.graph.value_info[:]
    for change, file in ((for_tensorrt, "model.onnx"), (for_processors, "model-cpu.onnx")):
        changed = copy.deepcopy(model)
        change(changed)
        common.sort_nodes(changed)
        common.save_onnx(changed, os.path.join(arguments.destination, file))


common.run(main)

"""ONNX FP32 -> ONNX INT8 with explicit Q/DQ pairs: symmetric, per-channel weights, FP32 input and output.

Two files, with the same scales and the same integers at every pair that both have:

- for TensorRT, everything is INT8 with zero point 0, weights are FP32 constants with a pair of their own, and no pair
  parts operators that it would fuse: a convolution, the sum that closes a residual block, and the ReLU behind;
- for CPUs, weights are stored (8 bits, biases INT32) and activations are UINT8, so that every convolution runs as an integer
  kernel. Kernels for CPUs without VNNI sum the products of unsigned activations and signed weights in pairs, to 16 bits that
  saturate. So what cannot be negative has zero point 0 and is clipped at 127, as INT8 would be: quantising then is the ReLU,
  and 127 * (127 + 127) fits. The rest is shifted by 128, and the weights that it is multiplied with are shifted too: kernels
  for two unsigned operands widen before they multiply, so that every CPU computes the same integers.
  Only biases are rounded once more, to the grid of the sums.
"""

import argparse
import copy
import json
import logging
import os
import tempfile

import common
import graphs
import histograms
import operators

# Operators whose inputs are quantised. ReLU is not among them: the pair stands behind it, where the next one reads.
QUANTISED = ["Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "MaxPool", "AveragePool", "GlobalAveragePool"]


def reader(count, batch, part):
    """Hands `count` samples to the calibrator, `batch` at a time: what `part` makes of the first and the last of them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        """One range of batches after another, so that only one batch of inner tensors is in memory at once."""

        def __init__(self):
            self.starts = list(range(0, count, batch))
            self.pending = iter(())

        def __len__(self):
            return len(self.starts)

        def set_range(self, start_index, end_index):
            self.pending = iter(self.starts[start_index:end_index])

        def get_next(self):
            start = next(self.pending, None)
            return None if start is None else part(start, start + batch)

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
    left = {name for node in gone for name in node.input}
    left -= {name for node in graph.node for name in graphs.reads(node)}
    for tensor in [tensor for tensor in graph.initializer if tensor.name in left]:
        graph.initializer.remove(tensor)


# Operators whose result is never negative, whatever they read.
NEVER_NEGATIVE = {
    "Abs", "Exp", "HardSigmoid", "ReduceL1", "ReduceL2", "ReduceSumSquare", "Relu", "Sigmoid", "Softmax",
    "Softplus", "Sqrt",
}  # fmt: skip

# Operators that never make a negative value out of a first input without one.
KEEPS_SIGN = {
    "AveragePool", "DepthToSpace", "DequantizeLinear", "Dropout", "Expand", "Flatten", "Gather", "GlobalAveragePool",
    "GlobalMaxPool", "Identity", "MaxPool", "QuantizeLinear", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Reshape",
    "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip

# Operators that never make a negative value out of inputs without one.
KEEPS_SIGNS = {"Add", "Concat", "Div", "Mean", "Min", "Mul", "Sum"}

# Operators that sum products.
PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


class Signs:
    """Which tensors of a graph are proven never to be negative."""

    def __init__(self, graph, stored, positive_inputs):
        self.stored = stored
        self.known = {name: True for name in positive_inputs}
        # In topological order, so that no recursion is as deep as the network.
        for node in graph.node:
            found = self.of_node(node)
            self.known.update((name, found) for name in node.output)

    def never_negative(self, name):
        if name in self.stored:
            return bool((self.stored[name] >= 0).all())
        return self.known.get(name, False)

    def of_node(self, node):
        if node.op_type in NEVER_NEGATIVE:
            return True
        if node.op_type in KEEPS_SIGN:
            return self.never_negative(node.input[0])
        if node.op_type in KEEPS_SIGNS:
            square = node.op_type == "Mul" and node.input[0] == node.input[1]
            return square or all(map(self.never_negative, node.input))
        if node.op_type == "Max":
            return any(map(self.never_negative, node.input))
        if node.op_type == "Pad":
            border = self.never_negative(node.input[2]) if len(node.input) > 2 and node.input[2] else True
            return border and self.never_negative(node.input[0])
        if node.op_type == "Clip":
            least, most = self.limits(node)
            return least >= 0 or (self.never_negative(node.input[0]) and most >= 0)
        return False

    def limits(self, node):
        """Both limits of a `Clip`; those that are computed are unknown, and NaN, which is on neither side of a number."""
        limits = []
        for index, absent in ((1, float("-inf")), (2, float("inf"))):
            name = node.input[index] if index < len(node.input) else ""
            stored = self.stored.get(name)
            limits.append(absent if not name else float("nan") if stored is None else float(stored.reshape(-1)[0]))
        return limits


def for_processors(model, positive_inputs):
    """Turns the quantiser's graph into that for CPUs; see above. `positive_inputs` are never negative in the calibration."""
    import numpy
    from onnx import helper, numpy_helper

    common.sort_nodes(model)
    graph = model.graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    readers = {}
    for node in graph.node:
        for name in graphs.reads(node):
            readers.setdefault(name, []).append(node)
    signs = Signs(graph, stored, positive_inputs)

    taken = {name for node in graph.node for name in (*node.input, *node.output)} | set(stored)

    def fresh(name):
        """`name`, or what comes next where the model has a tensor of that name."""
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    def store(name, value):
        name = fresh(name)
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def is_relu(node, scale):
        """Whether a pair of this scale, cut off at zero and at 127 steps, does all that `node` does."""
        if node is None or node.op_type not in ("Relu", "Clip"):
            return False
        least, most = signs.limits(node) if node.op_type == "Clip" else (0, float("inf"))
        return least == 0 and most >= 127 * scale * (1 - 1e-6)

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
        node.input[2] = fresh(f"{name}_dequantized")
        pair = helper.make_node("DequantizeLinear", inputs, [node.input[2]], f"{name}_dequantize", axis=0)
        graph.node.append(pair)

    def is_symmetric(node):
        """Whether a quantising node is as our quantiser writes them: INT8 with zero point 0, read by pairs alone. A model that
        comes with pairs of its own may have others, which stay."""
        zero_point = stored.get(node.input[2]) if len(node.input) > 2 else None
        paired = all(reader.op_type == "DequantizeLinear" for reader in readers.get(node.output[0], []))
        return zero_point is not None and zero_point.dtype == numpy.int8 and not zero_point.any() and paired

    nodes = list(graph.node)
    quantisers = [node for node in nodes if node.op_type == "QuantizeLinear" and is_symmetric(node)]
    positive = {node.output[0] for node in quantisers if signs.never_negative(node.input[0])}

    def is_clipped(name):
        """Whether what a product reads is of unsigned integers up to 127."""
        node = makers.get(name)
        while node is not None and node.op_type != "QuantizeLinear" and node.op_type in KEEPS_SIGN:
            node = makers.get(node.input[0])
        return node is not None and node.output[0] in positive

    def is_unsigned(weights):
        """Whether integer weights are to be unsigned: see above."""
        for dequantised in (pair.output[0] for pair in readers[weights]):
            for node in readers.get(dequantised, []):
                if node.op_type in PRODUCTS and not (node.input[1] == dequantised and is_clipped(node.input[0])):
                    return True
        return False

    # Asked before anything is changed.
    paired = {node.input[0] for node in nodes if node.op_type == "DequantizeLinear"}
    weights = [node.output[0] for node in quantisers if node.input[0] in stored]
    weights += [name for name, value in stored.items() if value.dtype == numpy.int8 and name in paired]
    unsigned = set(filter(is_unsigned, weights))

    for node in nodes:
        if node.op_type in ("Conv", "Gemm"):
            store_bias(node)
    zero, middle = store("zero_point_0", numpy.uint8(0)), store("zero_point_128", numpy.uint8(128))
    limit = store("limit_127", numpy.uint8(127))
    gone = set()
    for node in quantisers:
        source, scale, zero_point = node.input
        result = node.output[0]
        pairs = readers[result]
        if source in stored:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
            shape = [-1 if index == axis else 1 for index in range(stored[source].ndim)] if stored[scale].ndim else []
            integers = numpy.clip(numpy.rint(stored[source] / stored[scale].reshape(shape)), -128, 127)
            if result in unsigned:
                graph.initializer.append(numpy_helper.from_array((integers + 128).astype(numpy.uint8), result))
                shifted = store(f"{result}_zero_point", numpy.full(stored[zero_point].shape, 128, numpy.uint8))
                for pair in pairs:
                    pair.input[2] = shifted
            else:
                graph.initializer.append(numpy_helper.from_array(integers.astype(numpy.int8), result))
            gone.add(result)
        elif result in positive:
            if is_relu(makers.get(source), stored[scale]):
                node.input[0] = makers[source].input[0]
            node.input[2] = zero
            clipped = fresh(f"{result}_clipped")
            graph.node.append(helper.make_node("Clip", [result, "", limit], [clipped], f"{result}_clip"))
            for pair in pairs:
                pair.input[0], pair.input[2] = clipped, zero
        else:
            for part in [node, *pairs]:
                part.input[2] = middle

    # Weights that the model brought as integers.
    for tensor in [tensor for tensor in graph.initializer if tensor.name in unsigned and tensor.name in stored]:
        if any(pair.op_type != "DequantizeLinear" for pair in readers[tensor.name]):
            continue
        for pair in readers[tensor.name]:
            zero_point = stored[pair.input[2]] if len(pair.input) > 2 else numpy.zeros_like(stored[pair.input[1]], numpy.int8)
            shifted = store(f"{pair.output[0]}_zero_point", (zero_point.astype(numpy.int16) + 128).astype(numpy.uint8))
            pair.input[:] = [*pair.input[:2], shifted]
        tensor.CopyFrom(numpy_helper.from_array((stored[tensor.name].astype(numpy.int16) + 128).astype(numpy.uint8), tensor.name))

    # What nothing reads any more goes: stored weights in FP32 and their pairs, ReLUs.
    outputs = {value.name for value in graph.output}
    kept = [node for node in graph.node if node.output[0] not in gone]
    while True:
        read = outputs | {name for node in kept for name in graphs.reads(node)}
        left = [node for node in kept if not read.isdisjoint(node.output)]
        if len(left) == len(kept):
            break
        kept = left
    initializers = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(initializers)


class Samples:
    """What the graph is calibrated on: of one input, the array of a file; of several, an archive of arrays.

    `inputs` describes several: name, the axis along which the samples lie (None where there is no batch), and whether the array is
    the same for every sample. Arrays are called by their places, and have their samples first.
    """

    def __init__(self, model, arguments):
        if arguments.inputs:
            self.of_several(model, arguments)
        else:
            self.of_one(model, arguments)

    def of_one(self, model, arguments):
        name, self.shape = common.only_input(model)
        samples = common.load_samples(arguments.calibration, self.shape, int(arguments.fewest))
        self.batch = self.shape[0] or 64
        self.count = len(samples) // self.batch * self.batch if self.shape[0] else len(samples)
        self.inputs = [(name, samples[: self.count], 0, False)]

    def of_several(self, model, arguments):
        import numpy

        self.shape = None
        archive = numpy.load(arguments.calibration, allow_pickle=False)
        self.inputs = [
            (given["name"], archive[str(place)], given["axis"], given["shared"])
            for place, given in enumerate(json.loads(arguments.inputs))
        ]
        self.count = min(len(values) for _, values, _, shared in self.inputs if not shared)
        declared = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}
        fixed = set()
        for name, _, axis, shared in self.inputs:
            if not shared and axis is not None and declared[name][axis].dim_value > 0:
                fixed.add(declared[name][axis].dim_value)
        whole = any(axis is None and not shared for _, _, axis, shared in self.inputs)
        # A batch of large samples would fill the memory with what stands between the layers.
        bytes_each = sum(values[0].nbytes for _, values, _, shared in self.inputs if not shared)
        self.batch = 1 if whole else min(fixed) if fixed else max(1, min(64, (1 << 24) // max(1, bytes_each)))
        self.count = self.count // self.batch * self.batch if fixed else self.count

    def part(self, hidden, start, end):
        """The samples from `start` to before `end`, as the model takes them."""
        import numpy

        def of_input(values, axis, shared):
            if shared:
                return values
            part = values[start : min(end, self.count)]
            return part[0] if axis is None else numpy.ascontiguousarray(numpy.moveaxis(part, 0, axis))

        return {hidden[name]: of_input(values, axis, shared) for name, values, axis, shared in self.inputs}

    def never_negative(self, hidden):
        """Names of the inputs of floats that hold no negative number."""
        return [hidden[name] for name, values, *_ in self.inputs if values.dtype.kind == "f" and (values >= 0).all()]


def check_operator_set(model, shape):
    """Pairs have an axis since operator set 13; older files that could be raised are by now."""
    version = common.operator_set(model)
    if shape is None:
        why = None if version >= operators.OLDEST else "models of several inputs are not compared with their old form"
    else:
        _, why = operators.raised(model, [size or 2 for size in shape])
    if why:
        raise common.Unsupported(
            f"INT8 needs operator set {operators.OLDEST}, the model has {version} and cannot be raised: {why}",
            f"export the model again with operator set {operators.OLDEST} or newer",
        )


def prepare(source, folder):
    """The file that is quantised, optimised by ONNX Runtime where it can, and the nodes that are left in FP32."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    plain, prepared = os.path.join(folder, "plain.onnx"), os.path.join(folder, "prepared.onnx")
    onnx.save(source, plain)
    quant_pre_process(plain, prepared, skip_symbolic_shape=True)
    graph = onnx.load(prepared).graph
    constants = {tensor.name for tensor in graph.initializer}
    known = graphs.made_in(source.graph)
    excluded = graphs.exact_nodes(graph) | graphs.fragile_nodes(graph)
    quantised = []
    for node in graph.node:
        computed = [name for name in node.input if name and name not in constants]
        if node.op_type not in QUANTISED or node.domain not in ("", "ai.onnx"):
            continue
        # What the optimiser made of an operator's inside has no range in the FP32 graph that it could be held to.
        if not known.issuperset(computed):
            excluded.add(node.name)
        if node.name not in excluded and computed:
            quantised.append(node)
    if not quantised:
        operators = ", ".join(sorted({node.op_type for node in graph.node}))
        raise common.Unsupported(
            f"nothing in the model can be quantised: its operators are {operators}",
            "take `int8` out of `[matrix.runtimes]`; INT8 is for convolutions, matrix products, sums and pools",
        )
    return prepared, sorted(excluded)


def main():
    parser = argparse.ArgumentParser()
    for name in ("source", "calibration", "inputs", "method", "percentile", "fewest", "destination"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()

    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    logging.disable(logging.WARNING)
    methods = {
        "entropy": CalibrationMethod.Entropy,
        "min-max": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
    }
    source = common.load_onnx(arguments.source)
    samples = Samples(source, arguments)
    check_operator_set(source, samples.shape)
    graphs.part_names(source)
    graphs.name_nodes(source.graph)
    hidden = graphs.Hidden(source)

    with tempfile.TemporaryDirectory() as folder:
        quantised = os.path.join(folder, "quantised.onnx")
        prepared, excluded = prepare(source, folder)
        options = {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            # TensorRT takes weights as FP32 constants with a Q/DQ pair, and no quantised bias.
            "AddQDQPairToWeight": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": QUANTISED,
            "CalibStridedMinMax": 1,
        }

        def quantise():
            quantize_static(
                prepared,
                quantised,
                reader(samples.count, samples.batch, lambda start, end: samples.part(hidden, start, end)),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=QUANTISED,
                nodes_to_exclude=excluded,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=methods[arguments.method],
                extra_options=options,
            )

        if arguments.method == "percentile":
            options["CalibPercentile"] = float(arguments.percentile)
            histograms.quantize(quantise)
        else:
            quantise()
        model = onnx.load(quantised)
    del model.graph.value_info[:]
    positive_inputs = samples.never_negative(hidden)
    changes = (
        (for_tensorrt, "model.onnx"),
        (lambda changed: for_processors(changed, positive_inputs), "model-cpu.onnx"),
    )
    for change, file in changes:
        changed = copy.deepcopy(model)
        change(changed)
        hidden.put_back(changed)
        common.sort_nodes(changed)
        graphs.name_nodes(changed.graph)
        common.save_onnx(changed, os.path.join(arguments.destination, file))


common.run(main)

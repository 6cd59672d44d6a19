"""Plants one fault in an ONNX file, for `trtgate drill`: what a broken converter, exporter or export script leaves behind.

Each fault says in `Unsupported` why it cannot be planted, so that nothing is counted as caught that was never there.
"""

import argparse
import os

import common
import numpy

PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def load(path):
    import onnx

    return onnx.load(path)


def initializers(model):
    return {tensor.name: tensor for tensor in model.graph.initializer}


def replace(tensor, values):
    from onnx import numpy_helper

    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def array(tensor):
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor).copy()


def read_by(node):
    """Names that a node reads, in its branches too."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            for inner in graph.node:
                names += read_by(inner)
    return names


def nodes(model, arguments):
    """Nodes that the gated output is made by, in the graph's order: what is planted elsewhere is no fault of it."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    output = arguments.output if arguments.output in made_by else model.graph.output[0].name
    names, found = [output], set()
    while names:
        name = names.pop()
        if name in made_by and name not in found:
            found.add(name)
            names += read_by(made_by[name])
    return [node for node in model.graph.node if found.intersection(node.output)]


def weights(model, arguments):
    """Stored weights of products, in the graph's order: (node, tensor)."""
    stored = initializers(model)
    found = []
    for node in nodes(model, arguments):
        if node.op_type not in PRODUCTS:
            continue
        for name in node.input[:2]:
            tensor = stored.get(name)
            if tensor is not None and len(tensor.dims) >= 2:
                found.append((node, tensor))
    return found


def dequantised_weights(model, arguments):
    """Scales of stored integers, in the graph's order: (node, tensor of the scale)."""
    stored = initializers(model)
    return [
        (node, stored[node.input[1]])
        for node in nodes(model, arguments)
        if node.op_type == "DequantizeLinear"
        and node.input[0] in stored
        and node.input[1] in stored
        and len(stored[node.input[0]].dims) >= 2
    ]


def middle(found, what):
    if not found:
        raise common.Unsupported(f"the graph stores no {what}")
    return found[len(found) // 2]


def plant_weight(model, arguments):
    """Every other number of one weight tensor off by `amount`; of a quantised one, every other scale."""
    scales = dequantised_weights(model, arguments)
    node, tensor = middle(scales, "weights") if scales else middle(weights(model, arguments), "weights")
    values = array(tensor)
    flat = values.reshape(-1)
    flat[::2] = flat[::2] * (1 + arguments.amount)
    replace(tensor, values)
    return f"`{tensor.name}` ({node.op_type})"


def plant_not_a_number(model, arguments):
    """One weight is not a number; of a quantised tensor, one scale."""
    scales = dequantised_weights(model, arguments)
    node, tensor = middle(scales, "weights") if scales else middle(weights(model, arguments), "weights")
    values = array(tensor)
    values.reshape(-1)[0] = numpy.nan
    replace(tensor, values)
    return f"`{tensor.name}` ({node.op_type})"


def plant_channel(model, arguments):
    """Two output channels of one layer change places, and its reader does not know."""
    for node, tensor in weights(model, arguments)[:-1]:
        axis = 0
        if node.op_type == "MatMul":
            axis = len(tensor.dims) - 1
        elif node.op_type == "Gemm":
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            axis = 0 if transposed else 1
        elif node.op_type == "ConvTranspose":
            continue
        if tensor.dims[axis] < 2 or list(node.input).index(tensor.name) != 1:
            continue
        values = array(tensor)
        # Two that differ much: some layers hold channels that are nearly alike, or hardly used.
        channels = numpy.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).astype(numpy.float64)
        first = int((channels**2).sum(1).argmax())
        second = int(((channels - channels[first]) ** 2).sum(1).argmax())
        order = list(range(values.shape[axis]))
        order[first], order[second] = second, first
        replace(tensor, numpy.take(values, order, axis))
        return f"`{tensor.name}` ({node.op_type}), channels {first} and {second}"
    raise common.Unsupported("the graph has no inner layer with two channels")


def plant_bias(model, arguments):
    """The last bias is lost."""
    stored = initializers(model)
    for node in reversed(nodes(model, arguments)):
        bias = None
        if node.op_type in PRODUCTS - {"MatMul"} and len(node.input) > 2:
            bias = stored.get(node.input[2])
        elif node.op_type == "Add":
            bias = next((stored[name] for name in node.input if name in stored), None)
        if bias is not None and numpy.any(array(bias)):
            replace(bias, numpy.zeros_like(array(bias)))
            return f"`{bias.name}` ({node.op_type})"
    raise common.Unsupported("the graph stores no bias")


def plant_scale(model, arguments):
    """The scale of one stored weight tensor is doubled."""
    node, tensor = middle(dequantised_weights(model, arguments), "quantised weights")
    replace(tensor, array(tensor) * numpy.float32(2))
    return f"`{tensor.name}` ({node.op_type})"


def free_name(model, wanted):
    used = {name for node in model.graph.node for name in [*node.input, *node.output, node.name]}
    used.update(initializers(model))
    used.update(value.name for value in [*model.graph.input, *model.graph.output])
    while wanted in used:
        wanted += "_"
    return wanted


def behind_output(model, name, build):
    """Puts what `build` makes of the inner tensor's name between the tensor and the graph's output `name`."""
    inner = free_name(model, f"{name}_before_drill")
    found = False
    for node in model.graph.node:
        for index, output in enumerate(node.output):
            if output == name:
                node.output[index] = inner
                found = True
        for index, read in enumerate(node.input):
            if read == name:
                node.input[index] = inner
    if not found:
        raise common.Unsupported(f"no node makes the output `{name}`")
    model.graph.node.extend(build(inner))


def plant_classes(model, arguments):
    """Two classes change places."""
    from onnx import helper, numpy_helper

    output = next((value for value in model.graph.output if value.name == arguments.output), model.graph.output[0])
    order = numpy.arange(arguments.classes)
    order[[arguments.first, arguments.second]] = order[[arguments.second, arguments.first]]
    indices = free_name(model, "drill_order")
    model.graph.initializer.append(numpy_helper.from_array(order.astype(numpy.int64), indices))
    behind_output(
        model,
        output.name,
        lambda inner: [helper.make_node("Gather", [inner, indices], [output.name], axis=arguments.along)],
    )
    return f"output `{output.name}`, classes {arguments.first} and {arguments.second}"


def constant(model, wanted, values):
    """Stores `values` under a free name like `wanted`, which is returned."""
    from onnx import numpy_helper

    name = free_name(model, wanted)
    model.graph.initializer.append(numpy_helper.from_array(values, name))
    return name


def output_of(model, name):
    """The graph's output and the type of its elements."""
    from onnx import helper

    output = next((value for value in model.graph.output if value.name == name), None)
    if output is None:
        raise common.Unsupported(f"the graph has no output `{name}`")
    return output, helper.tensor_dtype_to_np_dtype(output.type.tensor_type.elem_type)


def plant_outputs(model, arguments):
    """Two outputs change places."""
    from onnx import helper

    one, other = arguments.output, arguments.other
    inner = {}
    for name in (one, other):
        behind_output(model, name, lambda made, name=name: inner.setdefault(name, made) and [])
    model.graph.node.extend(
        [helper.make_node("Identity", [inner[other]], [one]), helper.make_node("Identity", [inner[one]], [other])]
    )
    return f"outputs `{one}` and `{other}`"


def plant_turn(model, arguments):
    """Vectors are turned by 2 degrees, in the planes of each two neighbouring numbers."""
    from onnx import helper

    output, kind = output_of(model, arguments.output)
    turned = numpy.eye(arguments.classes, dtype=numpy.float64)
    sine, cosine = numpy.sin(numpy.radians(2)), numpy.cos(numpy.radians(2))
    for place in range(0, arguments.classes - 1, 2):
        turned[place : place + 2, place : place + 2] = [[cosine, sine], [-sine, cosine]]
    matrix = constant(model, "drill_turn", turned.astype(kind))
    behind_output(model, output.name, lambda inner: [helper.make_node("MatMul", [inner, matrix], [output.name])])
    return f"output `{output.name}`"


def plant_shift(model, arguments):
    """Boxes are shifted to the right by `amount`."""
    from onnx import helper

    output, kind = output_of(model, arguments.output)
    shift = numpy.zeros(arguments.classes, numpy.float64)
    shift[[int(column) for column in arguments.columns.split(",")]] = arguments.amount
    added = constant(model, "drill_shift", shift.astype(kind))
    behind_output(model, output.name, lambda inner: [helper.make_node("Add", [inner, added], [output.name])])
    return f"output `{output.name}`, by {arguments.amount:.4g}"


def plant_scaled(model, arguments):
    """Values are 5 % too large."""
    from onnx import helper

    output, kind = output_of(model, arguments.output)
    factor = constant(model, "drill_factor", numpy.array(1.05, kind))
    behind_output(model, output.name, lambda inner: [helper.make_node("Mul", [inner, factor], [output.name])])
    return f"output `{output.name}`"


def plant_token(model, arguments):
    """The first token of every sample is the next one."""
    from onnx import helper

    output, kind = output_of(model, arguments.output)
    first = numpy.zeros(arguments.classes, kind)
    first[0] = 1
    added = constant(model, "drill_token", first)
    behind_output(model, output.name, lambda inner: [helper.make_node("Add", [inner, added], [output.name])])
    return f"output `{output.name}`"


def plant_mask(model, arguments):
    """A mask is not read: ones stand in its place."""
    from onnx import TensorProto, helper

    def build(value, fed):
        if value.type.tensor_type.elem_type == TensorProto.BOOL:
            other = free_name(model, "drill_other")
            return [helper.make_node("Not", [value.name], [other]), helper.make_node("Or", [value.name, other], [fed])]
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        zero, one = constant(model, "drill_zero", numpy.array(0, kind)), constant(model, "drill_one", numpy.array(1, kind))
        nothing = free_name(model, "drill_nothing")
        return [helper.make_node("Mul", [value.name, zero], [nothing]), helper.make_node("Add", [nothing, one], [fed])]

    return f"input `{at_input(model, build, arguments.input)}`"


def at_input(model, build, name=""):
    """Puts what `build` makes behind the input called `name`, or the first; returns the input's name."""
    constants = set(initializers(model))
    inputs = [value for value in model.graph.input if value.name not in constants]
    value = next((value for value in inputs if value.name == name), inputs[0])
    fed = free_name(model, f"{value.name}_after_drill")
    for node in model.graph.node:
        for index, read in enumerate(node.input):
            if read == value.name:
                node.input[index] = fed
    nodes = build(value, fed)
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    return value.name


def plant_preprocessing(model, arguments):
    """The input is read twice as large as it is."""
    from onnx import helper, numpy_helper

    def build(value, fed):
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        factor = free_name(model, "drill_factor")
        model.graph.initializer.append(numpy_helper.from_array(numpy.array(2, kind), factor))
        return [helper.make_node("Mul", [value.name, factor], [fed])]

    return f"input `{at_input(model, build, arguments.input)}`"


def plant_channel_order(model, arguments):
    """Red and blue change places in the picture."""
    from onnx import helper, numpy_helper

    def build(value, fed):
        dims = value.type.tensor_type.shape.dim
        if arguments.axis < 0 or len(dims) <= arguments.axis or dims[arguments.axis].dim_value != 3:
            raise common.Unsupported("the input has no three colours")
        indices = free_name(model, "drill_colours")
        model.graph.initializer.append(numpy_helper.from_array(numpy.array([2, 1, 0], numpy.int64), indices))
        return [helper.make_node("Gather", [value.name, indices], [fed], axis=arguments.axis)]

    return f"input `{at_input(model, build, arguments.input)}`"


def plant_overflow(model, arguments):
    """One half tensor is multiplied beyond the range of half precision and divided again, as a normalisation does."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    inferred = onnx.shape_inference.infer_shapes(model)
    halves = {
        value.name
        for value in inferred.graph.value_info
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16
    }
    reaching = {name for node in nodes(model, arguments) for name in node.output}
    made = [
        (place, node)
        for place, node in enumerate(model.graph.node)
        if node.output[0] in halves and node.output[0] in reaching
    ]
    place, node = middle(made, "half-precision tensors")
    name = node.output[0]
    inner = free_name(model, f"{name}_before_drill")
    node.output[0] = inner
    up, down = free_name(model, "drill_up"), free_name(model, "drill_down")
    for constant, value in ((up, 2.0**15), (down, 2.0**-15)):
        model.graph.initializer.append(numpy_helper.from_array(numpy.array(value, numpy.float16), constant))
    steps = [inner, *(free_name(model, f"{name}_drill_{step}") for step in range(3)), name]
    for step, constant in enumerate((up, up, down, down)):
        added = helper.make_node("Mul", [steps[step], constant], [steps[step + 1]])
        model.graph.node.insert(place + 1 + step, added)
    return f"`{name}` ({node.op_type})"


FAULTS = {
    "weight": plant_weight,
    "not-a-number": plant_not_a_number,
    "channel": plant_channel,
    "bias": plant_bias,
    "scale": plant_scale,
    "classes": plant_classes,
    "preprocessing": plant_preprocessing,
    "colours": plant_channel_order,
    "overflow": plant_overflow,
    "outputs": plant_outputs,
    "turn": plant_turn,
    "shift": plant_shift,
    "scaled": plant_scaled,
    "token": plant_token,
    "mask": plant_mask,
}


def noise(arguments):
    """Calibration samples that look like nothing the model will see: a thousandth of the real ones' range."""
    samples = numpy.load(arguments.source, allow_pickle=False)
    generator = numpy.random.default_rng(1)
    amplitude = numpy.float32(1e-3) * (numpy.abs(samples).max() or 1)
    made = (generator.random(samples.shape, dtype=numpy.float32) * amplitude).astype(numpy.float32)
    numpy.save(os.path.join(arguments.destination, "noise.npy"), made)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--destination", required=True)
    parser.add_argument("--output", default="")
    parser.add_argument("--amount", type=float, default=0.0)
    parser.add_argument("--classes", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--second", type=int, default=1)
    parser.add_argument("--axis", type=int, default=-1)
    parser.add_argument("--along", type=int, default=-1)
    parser.add_argument("--input", default="")
    parser.add_argument("--other", default="")
    parser.add_argument("--columns", default="")
    arguments = parser.parse_args()
    if arguments.fault == "noise":
        noise(arguments)
        return
    model = load(arguments.source)
    place = FAULTS[arguments.fault](model, arguments)
    with open(os.path.join(arguments.destination, "model.onnx"), "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    with open(os.path.join(arguments.destination, "place.txt"), "w", encoding="utf-8") as file:
        file.write(place)


common.run(main)

"""ONNX FP32 -> ONNX FP32 as the other converters and the checks want it: no functions, operator set 13 or newer, weights that
are stored and no inputs, batch normalisations folded into the products in front of them, and the sizes that the manifest names in place
of open ones. What it computes stays the same."""

import argparse
import os

import common
import graphs
import operators

def without_functions(model):
    """The model with its functions' bodies in the place of the calls."""
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model) if model.functions else model
    except Exception as error:
        raise common.Unsupported(f"the model's functions cannot be inlined: {common.first_line(error)}") from error


def with_plain_inputs(model):
    """Takes the weights out of the inputs, where files before IR 4 list them."""
    weights = {tensor.name for tensor in model.graph.initializer}
    weights.update(tensor.values.name for tensor in model.graph.sparse_initializer)
    for value in [value for value in model.graph.input if value.name in weights]:
        model.graph.input.remove(value)
    model.ir_version = max(model.ir_version, 4)


def store_constants(model):
    """Stores what `Constant` nodes hold, so that weights are found in one place."""
    from onnx import numpy_helper

    outputs = {value.name for value in model.graph.output}
    for node in [node for node in model.graph.node if node.op_type == "Constant" and node.output[0] not in outputs]:
        value = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
        if value is not None:
            model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(value), node.output[0]))
            model.graph.node.remove(node)


def attribute(node, name, default):
    """A number among a node's attributes."""
    found = next((attribute for attribute in node.attribute if attribute.name == name), None)
    return default if found is None else found.f if found.type == found.FLOAT else found.i


def channel_axis(node):
    """The axis of a product's weights along which its channels lie; None where that is not one axis."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose" and attribute(node, "group", 1) == 1:
        return 1
    if node.op_type == "Gemm" and attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0:
        return 0 if attribute(node, "transB", 0) else 1
    return None


def fold_normalisations(model):
    """Folds every batch normalisation behind a product that nothing else reads into its weights and bias, in double precision."""
    import numpy
    from onnx import numpy_helper

    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    readers = {value.name: 1 for value in graph.output}
    for node in graph.node:
        for name in [*node.input, *(graphs.reads(node) - set(node.input))]:
            readers[name] = readers.get(name, 0) + 1
    makers = {name: node for node in graph.node for name in node.output}
    taken = graphs.all_names(graph)

    def values(name):
        return numpy_helper.to_array(stored[name]).astype(numpy.float64)

    def store(name, array):
        name = name if readers.get(name, 0) == 1 else graphs.free_name(f"{name}_folded", taken)
        tensor = numpy_helper.from_array(array.astype(numpy.float32), name)
        if name in stored:
            stored[name].CopyFrom(tensor)
        else:
            graph.initializer.append(tensor)
        return name

    for node in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        product = makers.get(node.input[0])
        axis = None if product is None else channel_axis(product)
        constants = [*node.input[1:5], *(product.input[1:3] if axis is not None else [])]
        in_use = attribute(node, "training_mode", 0) or any(node.output[1:])
        if axis is None or in_use or readers[node.input[0]] != 1 or not all(name in stored for name in constants):
            continue
        scale, shift, mean, variance = map(values, node.input[1:5])
        weights = values(product.input[1])
        bias = values(product.input[2]) if len(product.input) > 2 else numpy.zeros(scale.shape)
        fits = scale.shape == bias.shape == (weights.shape[axis],)
        if not fits or any(stored[name].data_type != 1 for name in constants):
            continue
        factor = scale / numpy.sqrt(variance + attribute(node, "epsilon", 1e-5))
        folded = weights * factor.reshape([-1 if index == axis else 1 for index in range(weights.ndim)])
        moved = (bias - mean) * factor + shift
        # Halves end at 65504: what the product alone holds must not be lost.
        if not all(numpy.abs(array).max() < 65504 for array in (folded, moved)):
            continue
        inputs = [product.input[0], store(product.input[1], folded), ""]
        inputs[2] = store(product.input[2], moved) if len(product.input) > 2 else graphs.free_name(f"{node.output[0]}_bias", taken)
        if len(product.input) <= 2:
            graph.initializer.append(numpy_helper.from_array(moved.astype(numpy.float32), inputs[2]))
        product.input[:] = inputs
        product.output[0] = node.output[0]
        makers[node.output[0]] = product
        graph.node.remove(node)
    read = {value.name for value in graph.output} | {name for node in graph.node for name in graphs.reads(node)}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)


def pin(model, batch, sizes):
    """Puts the manifest's sizes in the place of open ones: that of the batch where it is fixed, those of a sample."""
    if not sizes:
        # Several inputs: their sizes are those of the samples.
        return
    name, _ = common.only_input(model)
    value = next(value for value in model.graph.input if value.name == name)
    dimensions = value.type.tensor_type.shape.dim
    if len(dimensions) != len(sizes) + 1:
        return
    batch_names = {dimensions[0].dim_param} - {""}
    for dimension, size in zip(dimensions, [batch, *sizes]):
        if size and dimension.dim_value <= 0:
            dimension.dim_value = size
    for output in model.graph.output:
        shape = output.type.tensor_type.shape.dim
        if batch and shape and (shape[0].dim_param in batch_names or shape[0].dim_value < 0):
            shape[0].dim_value = batch
    # Some exporters write -1 for a size that is open.
    for border in [*model.graph.input, *model.graph.output]:
        for index, dimension in enumerate(border.type.tensor_type.shape.dim):
            if dimension.dim_value < 0:
                dimension.Clear()
                dimension.dim_param = "N" if index == 0 else ""
    # Shapes in between were those of open sizes.
    del model.graph.value_info[:]


def main():
    parser = argparse.ArgumentParser()
    for name in ("source", "batch", "sizes", "destination"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()

    model = without_functions(common.load_onnx(arguments.source))
    with_plain_inputs(model)
    batch, sizes = int(arguments.batch), [int(size) for size in arguments.sizes.split(",") if size]
    # FP16 needs no newer operator set; what does says why it cannot be had.
    model, _ = operators.raised(model, [batch or 2, *sizes])
    store_constants(model)
    fold_normalisations(model)
    pin(model, batch, sizes)
    graphs.sort_nodes(model.graph)
    common.save_onnx(model, os.path.join(arguments.destination, "model.onnx"))


common.run(main)

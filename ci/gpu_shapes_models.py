#!/usr/bin/env python3
"""Writes models of open sizes with their manifests, for `ci/gpu-shapes`: `gpu_shapes_models.py OUT_DIR`. Needs onnx and numpy.

segment   pictures of any height and width -> a class for each place; its last step upsamples to the size of the input
encode    token numbers and a mask of any length -> one attention layer -> a vector a sample
resize    pictures of any size and two numbers, the same for all samples -> pictures of that size: a shape from values
detect    one picture -> the boxes that suppression inside of the model keeps: as many as the values say
"""
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

RANDOM = np.random.default_rng(7)


def weights(*shape):
    return (RANDOM.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)


class Graph:
    """Nodes and constants as they are written down."""

    def __init__(self):
        self.nodes, self.constants, self.count = [], [], 0

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def __call__(self, operator, *inputs, output=None, **attributes):
        self.count += 1
        output = output or f"t{self.count}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], f"n{self.count}_{operator}", **attributes))
        return output

    def model(self, inputs, outputs):
        graph = helper.make_graph(self.nodes, "graph", inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        checker.check_model(model)
        return model


def convolution(graph, data, channels, stride=1):
    kernel, bias = graph.constant(weights(channels[1], channels[0], 3, 3)), graph.constant(weights(channels[1], 1)[:, 0])
    return graph("Conv", data, kernel, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[stride, stride])


def segment():
    graph = Graph()
    data = graph("Relu", convolution(graph, "image", (3, 16)))
    data = graph("Relu", convolution(graph, data, (16, 32), stride=2))
    data = graph("Relu", convolution(graph, data, (32, 32), stride=2))
    data = convolution(graph, data, (32, 5))
    whole, own = graph("Shape", "image"), graph("Shape", data)
    pick = lambda shape, low, high: graph("Slice", shape, graph.constant(np.array([low])), graph.constant(np.array([high])))
    sizes = graph("Concat", pick(own, 0, 2), pick(whole, 2, 4), axis=0)
    empty = graph.constant(np.array([], np.float32))
    graph("Resize", data, empty, empty, sizes, output="scores", mode="linear", coordinate_transformation_mode="half_pixel")
    picture = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "height", "width"])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 5, "height", "width"])
    return graph.model([picture], [scores])


def encode(width=32, rows=500):
    graph = Graph()
    data = graph("Gather", graph.constant(weights(rows, width) * 5), "ids")
    there = graph("Cast", "mask", to=TensorProto.FLOAT)
    dense = lambda data, size: graph("MatMul", data, graph.constant(weights(size, width).T.copy() * 2))
    query, key, value = dense(data, width), dense(data, width), dense(data, width)
    scores = graph("MatMul", query, graph("Transpose", key, perm=[0, 2, 1]))
    scores = graph("Mul", scores, graph.constant(np.float32(width**-0.5)))
    absent = graph("Mul", graph("Sub", there, graph.constant(np.float32(1))), graph.constant(np.float32(1e4)))
    scores = graph("Add", scores, graph("Unsqueeze", absent, graph.constant(np.array([1]))))
    data = graph("Add", data, graph("MatMul", graph("Softmax", scores, axis=-1), value))
    beside = graph("Unsqueeze", there, graph.constant(np.array([2])))
    total = graph("ReduceSum", graph("Mul", data, beside), graph.constant(np.array([1])), keepdims=0)
    count = graph("ReduceSum", beside, graph.constant(np.array([1])), keepdims=0)
    graph("Div", total, count, output="vector")
    whole = lambda name: helper.make_tensor_value_info(name, TensorProto.INT64, ["N", "length"])
    return graph.model([whole("ids"), whole("mask")], [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["N", width])])


def resize():
    graph = Graph()
    data = convolution(graph, "image", (3, 4))
    own = graph("Slice", graph("Shape", data), graph.constant(np.array([0])), graph.constant(np.array([2])))
    empty = graph.constant(np.array([], np.float32))
    graph("Resize", data, empty, empty, graph("Concat", own, "size", axis=0), output="resized", mode="linear")
    picture = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "height", "width"])
    size = helper.make_tensor_value_info("size", TensorProto.INT64, [2])
    output = helper.make_tensor_value_info("resized", TensorProto.FLOAT, ["N", 4, "rows", "columns"])
    return graph.model([picture, size], [output])


def detect(side=16, classes=3):
    graph = Graph()
    data = graph("Relu", convolution(graph, "image", (3, 16), stride=2))
    data = graph("Relu", convolution(graph, data, (16, 32), stride=2))
    rows = lambda data: graph("Reshape", data, graph.constant(np.array([1, -1, side * side])))
    scores = rows(graph("Sigmoid", convolution(graph, graph("Mul", data, graph.constant(np.float32(0.3))), (32, classes))))
    offsets = graph("Transpose", rows(graph("Tanh", convolution(graph, data, (32, 4)))), perm=[0, 2, 1])
    middle = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(1, -1, 2) * 4 + 2
    anchors = np.concatenate([middle - 6, middle + 6], -1).astype(np.float32)
    boxes = graph("Add", graph("Mul", offsets, graph.constant(np.float32(3))), graph.constant(anchors))
    limits = [graph.constant(np.array([value])) for value in (256, np.float32(0.5), np.float32(0.55))]
    # Sample, class and box of each that is kept.
    kept = graph("NonMaxSuppression", boxes, scores, *limits)
    of = lambda place: graph("Gather", kept, graph.constant(np.array(place)), axis=1)
    alone = graph.constant(np.array([1]))
    columns = [
        graph("Gather", graph("Squeeze", boxes, graph.constant(np.array([0]))), of(2), axis=0),
        graph("Unsqueeze", graph("GatherND", scores, kept), alone),
        graph("Unsqueeze", graph("Cast", of(1), to=TensorProto.FLOAT), alone),
    ]
    graph("Unsqueeze", graph("Concat", *columns, axis=1), graph.constant(np.array([0])), output="found")
    picture = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4 * side, 4 * side])
    return graph.model([picture], [helper.make_tensor_value_info("found", TensorProto.FLOAT, [1, "kept", 6])])


HEAD = 'schema = 1\n[model]\nname = "{name}"\nonnx = "model.onnx"\n'
TAIL = '[probes]\ncount = 16\n[matrix]\nbatches = [2]\n[matrix.runtimes]\nonnxruntime = ["fp32"]\ntensorrt = ["fp32", "fp16-flag"]\ntensorrt-rtx = ["fp32"]\n'
PICTURES = '[[input]]\nname = "image"\nshape = [3, "height", "width"]\nvalues = { image = [0.0, 1.0] }\n'
SIDE = "{ min = 32, opt = 64, max = 160, step = 8 }"
ENGINE = "[engine]\nmin-batch = 1\nopt-batch = 2\nmax-batch = 4\n"

MODELS = {
    "segment": (
        segment,
        PICTURES + '[[output]]\nname = "scores"\ntask = "map"\n[shapes]\nheight = ' + SIDE + "\nwidth = " + SIDE + "\n",
        ENGINE + "[[engine.profile]]\n[[engine.profile]]\nbatch = [2, 2, 2]\nheight = [32, 32, 64]\nwidth = [32, 32, 64]\n",
    ),
    "encode": (
        encode,
        '[[input]]\nname = "ids"\nshape = ["length"]\nvalues = { integers = [0, 499] }\n[[input]]\nname = "mask"\n'
        'shape = ["length"]\nvalues = "mask"\n[[output]]\nname = "vector"\ntask = "embedding"\n[shapes]\n'
        "length = { min = 1, opt = 32, max = 128 }\n",
        ENGINE + "[[engine.profile]]\nlength = [1, 1, 8]\n[[engine.profile]]\nlength = [8, 32, 128]\n",
    ),
    "resize": (
        resize,
        PICTURES + '[[input]]\nname = "size"\nshared = true\nvalues = { constant = 24 }\n[[output]]\nname = "resized"\n'
        'task = "values"\n[shapes]\nheight = ' + SIDE + "\nwidth = 48\n",
        ENGINE,
    ),
    "detect": (
        detect,
        '[[input]]\nname = "image"\nshape = [3, 64, 64]\nvalues = { image = [0.0, 1.0] }\n[[output]]\nname = "found"\ntask = "boxes"\n'
        'format = "yxyx"\nscores = 4\nlabels = 5\nthreshold = 0.55\nnms = 0.5\n',
        "",
    ),
}

if __name__ == "__main__":
    for name, (make, border, engine) in MODELS.items():
        folder = Path(sys.argv[1]) / name
        folder.mkdir(parents=True, exist_ok=True)
        save(make(), folder / "model.onnx")
        batches = TAIL if engine else TAIL.replace("[2]", "[1]")
        text = HEAD.format(name=name) + border + batches + engine
        (folder / "gate.toml").write_text(text)
        (folder / "witness.toml").write_text(text.replace("[engine]\n", "[engine]\nwitness = true\n", 1))

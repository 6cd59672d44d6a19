"""One model with an output of every task: python tasks_models.py FOLDER

    x [N, 16] float32, rows [N, 1] int64, ids [N, 12] int64  →
        class [N, 6] logits            tags [N, 5] sigmoids          vector [N, 32]
        mask [N, 3, 8, 8] logits       words [N, 12] int64           steps [N, 12, 20] logits
        boxes [N, 8, 6] left, top, right, bottom, score, class       count [N, 1] int64
"""

import pathlib
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

folder = pathlib.Path(sys.argv[1])
random = numpy.random.default_rng(11)
constants, nodes = [], []


def constant(name, values):
    constants.append(numpy_helper.from_array(numpy.asarray(values), name))
    return name


def product(source, name, width, gain=1.0):
    """`source` [N, 32] times weights, called `name`."""
    weights = (gain * random.standard_normal((32, width)) / 32**0.5).astype(numpy.float32)
    nodes.append(helper.make_node("MatMul", [source, constant(f"{name}/weights", weights)], [name], name=name))
    return name


def node(kind, inputs, output, **attributes):
    nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}/{kind}", **attributes))
    return output


def reshaped(source, output, shape):
    return node("Reshape", [source, constant(f"{output}/shape", numpy.array(shape, numpy.int64))], output)


first = (random.standard_normal((16, 32)) / 2).astype(numpy.float32)
node("MatMul", ["x", constant("first", first)], "product")
node("Tanh", ["product"], "hidden")
product("hidden", "class", 6, 4.0)
node("Sigmoid", [product("hidden", "tag-logits", 5, 4.0)], "tags")
product("hidden", "vector", 32)
reshaped(product("hidden", "flat-mask", 3 * 64, 4.0), "mask", [0, 3, 8, 8])
reshaped(product("hidden", "flat-steps", 12 * 20, 4.0), "steps", [0, 12, 20])
node("Gather", [constant("next", random.permutation(50).astype(numpy.int64)), "ids"], "words")

# Boxes of 60 to 120 in a picture of 640, their scores away from the threshold, their classes by row.
unit = node("Sigmoid", [reshaped(product("hidden", "flat-boxes", 32), "raw-boxes", [0, 8, 4])], "unit-boxes")
nodes.append(helper.make_node("Split", [unit], ["place", "size"], name="split", axis=2, num_outputs=2))
node("Add", [node("Mul", ["place", constant("reach", numpy.float32(450))], "far"), constant("edge", numpy.float32(30))], "near-corner")
node("Add", [node("Mul", ["size", constant("growth", numpy.float32(60))], "grown"), constant("least", numpy.float32(60))], "extent")
node("Add", ["near-corner", "extent"], "far-corner")
shares = node("Sigmoid", [reshaped(product("hidden", "flat-scores", 8), "raw-scores", [0, 8, 1])], "shares")
node("Add", [node("Mul", [shares, constant("half", numpy.float32(0.5))], "halves"), constant("sure", numpy.float32(0.4))], "scores")
nothing = node("Mul", [shares, constant("zero", numpy.float32(0))], "nothing")
labels = numpy.array([index % 3 for index in range(8)], numpy.float32).reshape(1, 8, 1)
node("Add", [nothing, constant("labels-by-row", labels)], "labels")
node("Concat", ["near-corner", "far-corner", "scores", "labels"], "boxes", axis=2)
node("Add", ["rows", constant("none", numpy.int64(0))], "count")


def value(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, ["batch", *shape])


real, whole = TensorProto.FLOAT, TensorProto.INT64
graph = helper.make_graph(
    nodes,
    "tasks",
    [value("x", real, 16), value("rows", whole, 1), value("ids", whole, 12)],
    [
        value("class", real, 6),
        value("tags", real, 5),
        value("vector", real, 32),
        value("mask", real, 3, 8, 8),
        value("words", whole, 12),
        value("steps", real, 12, 20),
        value("boxes", real, 8, 6),
        value("count", whole, 1),
    ],
    constants,
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
onnx.checker.check_model(model, full_check=True)
onnx.save(model, folder / "tasks.onnx")

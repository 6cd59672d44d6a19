"""Models whose samples do not lie along the first dimension: python axes_models.py FOLDER

recurrent   x [N, 3], state [2, N, 3]  →  y [N, 3], next [2, N, 3]
sequence    x [N, steps, 3]            →  y [N, 1, 3], z [N, steps, 3]
whole       x [5, 4]                   →  total [] , kept [2, K] int64 (places above 0.5)
"""

import pathlib
import sys

import onnx
from onnx import TensorProto, helper

FOLDER = pathlib.Path(sys.argv[1])
FLOAT = TensorProto.FLOAT


def save(name, nodes, inputs, outputs, constants):
    def values(borders):
        return [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in borders]

    graph = helper.make_graph(nodes, name, values(inputs), values(outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, FOLDER / f"{name}.onnx")


weights = helper.make_tensor("w", FLOAT, [3, 3], [0.5, -0.25, 0.125, 0.75, 0.3, -0.6, -0.1, 0.2, 0.9])
half = helper.make_tensor("half", FLOAT, [], [0.5])
first = helper.make_tensor("first", TensorProto.INT64, [1], [0])
save(
    "recurrent",
    [
        helper.make_node("MatMul", ["x", "w"], ["product"], name="product"),
        helper.make_node("Add", ["state", "product"], ["sum"], name="sum"),
        helper.make_node("Tanh", ["sum"], ["next"], name="active"),
        helper.make_node("ReduceSum", ["next", "first"], ["y"], name="total", keepdims=0),
    ],
    [("x", FLOAT, ["batch", 3]), ("state", FLOAT, [2, "batch", 3])],
    [("y", FLOAT, ["batch", 3]), ("next", FLOAT, [2, "batch", 3])],
    [weights, first],
)
save(
    "sequence",
    [
        helper.make_node("MatMul", ["x", "w"], ["z"], name="product"),
        helper.make_node("ReduceMean", ["z"], ["y"], name="mean", axes=[1], keepdims=1),
    ],
    [("x", FLOAT, ["batch", "steps", 3])],
    [("y", FLOAT, ["batch", 1, 3]), ("z", FLOAT, ["batch", "steps", 3])],
    [weights],
)
save(
    "whole",
    [
        helper.make_node("MatMul", ["x", "v"], ["product"], name="product"),
        helper.make_node("ReduceSum", ["product"], ["total"], name="total", keepdims=0),
        helper.make_node("Greater", ["x", "half"], ["above"], name="above"),
        helper.make_node("NonZero", ["above"], ["kept"], name="kept"),
    ],
    [("x", FLOAT, [5, 4])],
    [("total", FLOAT, []), ("kept", TensorProto.INT64, [2, "K"])],
    [half, helper.make_tensor("v", FLOAT, [4, 2], [1.0, 2.0, -1.0, 0.5, 0.25, 3.0, -2.0, 1.0])],
)

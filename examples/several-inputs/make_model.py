"""Writes the network of this folder: python make_model.py

A row of a table to one of three offers: six measurements and three codes, each of which chooses a row of its own table of vectors. Needs `onnx`
and `numpy` (made by 1.23 and 2.4); the weights come from a seed, and the same versions write the same bytes.
"""

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

RANDOM = numpy.random.default_rng(7)
MEASURES, CODES, WORDS, WIDTH, HIDDEN, OFFERS = 6, 3, 20, 8, 32, 3


def weights(name, *shape, gain=1.0):
    values = gain * RANDOM.standard_normal(shape) / shape[0] ** 0.5
    return numpy_helper.from_array(values.astype("float32"), name)


shape = numpy_helper.from_array(numpy.array([0, CODES * WIDTH], "int64"), "flat")
constants = [
    weights("vectors", WORDS, WIDTH, gain=WORDS**0.5),
    weights("hidden", MEASURES + CODES * WIDTH, HIDDEN, gain=1.5),
    weights("offers", HIDDEN, OFFERS, gain=3.0),
    weights("worth", HIDDEN, 1, gain=2.0),
    shape,
]
nodes = [
    helper.make_node("Gather", ["vectors", "codes"], ["looked_up"], axis=0),
    helper.make_node("Reshape", ["looked_up", "flat"], ["coded"]),
    helper.make_node("Concat", ["measures", "coded"], ["row"], axis=1),
    helper.make_node("MatMul", ["row", "hidden"], ["sums"]),
    helper.make_node("Relu", ["sums"], ["seen"]),
    helper.make_node("MatMul", ["seen", "offers"], ["scores"]),
    helper.make_node("MatMul", ["seen", "worth"], ["value"]),
]
graph = helper.make_graph(
    nodes,
    "offers",
    [
        helper.make_tensor_value_info("measures", TensorProto.FLOAT, ["N", MEASURES]),
        helper.make_tensor_value_info("codes", TensorProto.INT64, ["N", CODES]),
    ],
    [
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", OFFERS]),
        helper.make_tensor_value_info("value", TensorProto.FLOAT, ["N", 1]),
    ],
    constants,
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="make_model.py")
onnx.checker.check_model(model, full_check=True)
onnx.save(model, "model.onnx")

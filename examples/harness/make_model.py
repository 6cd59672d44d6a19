"""Writes the network of this crate: python make_model.py

Sixteen values to one of four classes, through one hidden layer. Needs `onnx` and `numpy` (made by 1.23 and 2.4); the weights come from a seed, and
the same versions write the same bytes.
"""

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

RANDOM = numpy.random.default_rng(11)


def weights(name, *shape, gain):
    return numpy_helper.from_array((gain * RANDOM.standard_normal(shape) / shape[0] ** 0.5).astype("float32"), name)


graph = helper.make_graph(
    [
        helper.make_node("Gemm", ["x", "first", "bias"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["seen"]),
        helper.make_node("MatMul", ["seen", "second"], ["scores"]),
    ],
    "harness",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16])],
    [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 4])],
    [weights("first", 16, 24, gain=1.5), weights("bias", 24, gain=0.2), weights("second", 24, 4, gain=3.0)],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="make_model.py")
onnx.checker.check_model(model, full_check=True)
onnx.save(model, "model.onnx")

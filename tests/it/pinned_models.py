"""Classifiers of 16 values: argument 1 is a folder, argument 2 where the weights are. "alone" makes model.onnx, other.onnx (the
same with its weights negated) and x.npy; another place makes model.onnx with its weights in w.bin beside it."""

import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

folder, place = sys.argv[1:]
random = np.random.default_rng(23)
weights = random.normal(0, 1, (16, 5)).astype(np.float32)
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name, size in (("x", 16), ("y", 5)))


def node(operator, inputs, output, **more):
    return helper.make_node(operator, inputs.split(), [output], f"{operator} {output}", **more)


def model(nodes, initializers, weights=weights, functions=()):
    """`nodes` make `z` of `x`; samples in the middle of the range are no class's."""
    centre = numpy_helper.from_array(-0.5 * weights.sum(0), "centre")
    graph = helper.make_graph([*nodes, node("Add", "z centre", "y")], "net", [x], [y], [centre, *initializers])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    made = helper.make_model(graph, opset_imports=opsets, functions=functions)
    made.ir_version = 8
    return made


def away(dims):
    """The weights, which are in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", str(weights.nbytes))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def save(made, name):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(made.SerializeToString())


product = node("MatMul", "x w", "z")
if place == "alone":
    for name, sign in (("model.onnx", 1), ("other.onnx", -1)):
        own = sign * weights
        save(model([product], [numpy_helper.from_array(own, "w")], own), name)
    np.save(os.path.join(folder, "x.npy"), random.random((64, 16), np.float32))
    sys.exit()
if place == "initializer":
    made = model([product], [away([16, 5])])
elif place == "constant":
    made = model([node("Constant", "", "w", value=away([16, 5])), product], [])
elif place == "branch":
    result = [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)]
    own = numpy_helper.from_array(np.zeros_like(weights), "w")
    inner = [node("MatMul", "x w", "t")]
    branches = [helper.make_graph(inner, name, [], result, [w]) for name, w in (("then", away([16, 5])), ("else", own))]
    choice = node("If", "yes", "z", then_branch=branches[0], else_branch=branches[1])
    made = model([choice], [numpy_helper.from_array(np.array(True), "yes")])
elif place == "function":
    body = [node("Constant", "", "w", value=away([16, 5])), node("MatMul", "v w", "u")]
    function = helper.make_function("local", "Dense", ["v"], ["u"], body, [helper.make_opsetid("", 17)])
    made = model([node("Dense", "x", "z", domain="local")], [], functions=[function])
elif place == "sparse":
    indices = numpy_helper.from_array(np.arange(weights.size, dtype=np.int64), "places")
    sparse = onnx.SparseTensorProto(values=away([weights.size]), indices=indices, dims=weights.shape)
    made = model([node("Constant", "", "w", sparse_value=sparse), product], [])
else:
    raise SystemExit(f"no place {place}")
save(made, "model.onnx")
weights.tofile(os.path.join(folder, "w.bin"))

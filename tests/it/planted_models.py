"""A model of token ids and a mask, and copies in half precision with one fault each: python planted_models.py FOLDER

    ids [N, 12] int64 of 0 to 499, mask [N, 12] int64  →
        vector [N, 16], other [N, 16]: products of the mean over what the mask leaves        words [N, 12] int64

model.onnx is the model, sound.onnx its copy in halves; in mask.onnx the mask is not read, in order.onnx `vector` and `other` have
each other's names, in token.onnx one of 500 tokens is another, in layer.onnx the columns of one layer's weights are scaled.
"""

import pathlib
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

folder = pathlib.Path(sys.argv[1])
random = numpy.random.default_rng(7)
table = random.standard_normal((500, 16)).astype(numpy.float32)
weights = {name: (random.standard_normal((16, 16)) / 4).astype(numpy.float32) for name in ("vector", "other")}
following = random.permutation(500).astype(numpy.int64)


def save(name, half, read_mask=True, swapped=False, tokens=following, weights=weights):
    kind = numpy.float16 if half else numpy.float32
    onnx_kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    stored, nodes = [], []

    def constant(label, values):
        stored.append(numpy_helper.from_array(values, label))
        return label

    def node(operator, inputs, output, **more):
        nodes.append(helper.make_node(operator, inputs, [output], name=f"{output}/{operator}", **more))
        return output

    node("Gather", [constant("table", table.astype(kind)), "ids"], "embedded")
    there = node("Cast", ["mask"], "there", to=onnx_kind)
    if not read_mask:
        there = node("Add", [node("Mul", [there, constant("zero", numpy.zeros(1, kind))], "nothing"), constant("one", numpy.ones(1, kind))], "everywhere")
    axes = constant("axes", numpy.array([2], numpy.int64))
    steps = constant("steps", numpy.array([1], numpy.int64))
    node("Mul", ["embedded", node("Unsqueeze", [there, axes], "column")], "kept")
    total = node("ReduceSum", ["kept", steps], "total", keepdims=0)
    mean = node("Div", [total, node("ReduceSum", [there, steps], "length", keepdims=1)], "mean")
    for output in ("vector", "other"):
        product = node("MatMul", [mean, constant(f"{output}/weights", weights[output].astype(kind))], f"{output}/product")
        target = {"vector": "other", "other": "vector"}[output] if swapped else output
        node("Cast", [product], target, to=TensorProto.FLOAT)
    node("Gather", [constant("following", tokens), "ids"], "words")
    value = lambda label, element, width: helper.make_tensor_value_info(label, element, ["batch", width])
    graph = helper.make_graph(
        nodes,
        "planted",
        [value("ids", TensorProto.INT64, 12), value("mask", TensorProto.INT64, 12)],
        [value("vector", TensorProto.FLOAT, 16), value("other", TensorProto.FLOAT, 16), value("words", TensorProto.INT64, 12)],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / f"{name}.onnx")


save("model", half=False)
save("sound", half=True)
save("mask", half=True, read_mask=False)
save("order", half=True, swapped=True)
another = following.copy()
another[[42]] = (another[[42]] + 1) % 500
save("token", half=True, tokens=another)
save("layer", half=True, weights={**weights, "other": weights["other"] * numpy.linspace(0.8, 1.2, 16, dtype=numpy.float32)})

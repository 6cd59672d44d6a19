"""Models of several typed inputs and outputs, each in the forms that the runtimes take: python tensors_models.py FOLDER

    ids [N, 3] int64, mask [N, 3] bool  →  next [N, 3] int64 (ids + 1 where mask, else ids)
                                           share [N, 3] float32 (0.25 where mask, else 0)
                                           rest [N, 3] bool (not mask)
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
BATCH, WIDTH = 4, 3


def onnx_models(folder):
    import onnx
    from onnx import TensorProto, helper

    def value(name, kind, width=WIDTH):
        return helper.make_tensor_value_info(name, kind, ["batch", width])

    def save(name, nodes, inputs, outputs, constants):
        graph = helper.make_graph(nodes, name, inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, folder / f"{name}.onnx")

    one = helper.make_tensor("one", TensorProto.INT64, [], [1])
    quarter = helper.make_tensor("quarter", TensorProto.FLOAT, [], [0.25])
    save(
        "int64",
        [helper.make_node("Add", ["x", "one"], ["y"])],
        [value("x", TensorProto.INT64, 2)],
        [value("y", TensorProto.INT64, 2)],
        [one],
    )
    save(
        "several",
        [
            helper.make_node("Add", ["ids", "one"], ["more"]),
            helper.make_node("Where", ["mask", "more", "ids"], ["next"]),
            helper.make_node("Cast", ["mask"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["number", "quarter"], ["share"]),
            helper.make_node("Not", ["mask"], ["rest"]),
        ],
        [value("ids", TensorProto.INT64), value("mask", TensorProto.BOOL)],
        [value("next", TensorProto.INT64), value("share", TensorProto.FLOAT), value("rest", TensorProto.BOOL)],
        [one, quarter],
    )

    matcher(folder)


def matcher(folder):
    """ids [N, 8] int64 into a table of 50 rows, x [N, 16] and mask [N, 16] → left [N, 4], right [N, 4], next [N, 8] int64."""
    import numpy
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = numpy.random.default_rng(7)

    def stored(name, *shape):
        return numpy_helper.from_array((random.standard_normal(shape) / shape[0] ** 0.5).astype(numpy.float32), name)

    def value(name, kind, width):
        return helper.make_tensor_value_info(name, kind, ["batch", width])

    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], name="look-up"),
        helper.make_node("ReduceMean", ["rows"], ["mean"], name="mean", axes=[1], keepdims=0),
        helper.make_node("Cast", ["mask"], ["kept"], name="kept", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "kept"], ["masked"], name="masked"),
        helper.make_node("Add", ["mean", "masked"], ["sum"], name="sum"),
        helper.make_node("MatMul", ["sum", "first"], ["hidden"], name="first-product"),
        helper.make_node("Tanh", ["hidden"], ["active"], name="active"),
        helper.make_node("MatMul", ["active", "second"], ["left"], name="left-product"),
        helper.make_node("MatMul", ["active", "third"], ["right"], name="right-product"),
        helper.make_node("Add", ["ids", "one"], ["next"], name="next"),
    ]
    constants = [stored("table", 50, 16), stored("first", 16, 32), stored("second", 32, 4), stored("third", 32, 4)]
    constants.append(helper.make_tensor("one", TensorProto.INT64, [], [1]))
    inputs = [value("ids", TensorProto.INT64, 8), value("x", TensorProto.FLOAT, 16), value("mask", TensorProto.BOOL, 16)]
    outputs = [value("left", TensorProto.FLOAT, 4), value("right", TensorProto.FLOAT, 4), value("next", TensorProto.INT64, 8)]
    graph = helper.make_graph(nodes, "matcher", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "matcher.onnx")


def tensorflow_models(folder):
    import tensorflow as tf

    class Several(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, WIDTH], tf.int64, name="ids"),
                tf.TensorSpec([None, WIDTH], tf.bool, name="mask"),
            ]
        )
        def serve(self, ids, mask):
            return {
                "next": tf.where(mask, ids + 1, ids),
                "share": tf.cast(mask, tf.float32) * 0.25,
                "rest": tf.logical_not(mask),
            }

    model = Several()
    tf.saved_model.save(model, str(folder / "several"), signatures={"serving_default": model.serve})

    @tf.function(
        input_signature=[
            tf.TensorSpec([BATCH, WIDTH], tf.int64, name="ids"),
            tf.TensorSpec([BATCH, WIDTH], tf.bool, name="mask"),
        ]
    )
    def static(ids, mask):
        return model.serve(ids, mask)

    tf.saved_model.save(model, str(folder / "static"), signatures={"serving_default": static})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "static"))
    (folder / "several.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    FOLDER = pathlib.Path(sys.argv[1])
    onnx_models(FOLDER)
    if "tensorflow" in sys.argv[2:]:
        tensorflow_models(FOLDER)

"""TFLite -> ONNX, FP32: names of the signature, the same bytes every time."""

import argparse
import json
import os

import common
import graphs


def rename(model, names):
    """Calls the tensors of the border as the signature does."""
    for graph in graphs.all_graphs(model.graph):
        for node in graph.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
    for value in [*model.graph.input, *model.graph.output]:
        value.name = names.get(value.name, value.name)


def main():
    parser = argparse.ArgumentParser()
    for name in ("tflite", "names", "opset", "destination"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    pairs = json.loads(arguments.names)
    names = dict(pairs)
    if len(names) < len(pairs):
        raise common.Unsupported(
            "two inputs or outputs of the TFLite file are one tensor, and tf2onnx gives it one name",
            "convert the model with a tensor of its own for each",
        )

    import tensorflow
    import tf2onnx.convert
    from onnx import defs

    with tensorflow.device("/cpu:0"):
        model, _ = tf2onnx.convert.from_tflite(arguments.tflite, opset=int(arguments.opset))
    known = {schema.name for schema in defs.get_all_schemas_with_history()}
    nodes = [node for graph in graphs.all_graphs(model.graph) for node in graph.node]
    unknown = sorted({node.op_type for node in nodes if node.domain not in ("", "ai.onnx") or node.op_type not in known})
    if unknown:
        raise common.Unsupported(
            "tf2onnx, the converter of TFLite files that is kept, has nothing in ONNX for " + ", ".join(f"`{name}`" for name in unknown),
            "gate `litert` alone, or name the SavedModel that the file was made of under `[model]`",
        )
    rename(model, names)
    # Shapes in between are called by names that are gone; whoever needs them infers them again.
    del model.graph.value_info[:]
    common.save_onnx(model, os.path.join(arguments.destination, "model.onnx"))


common.run(main)

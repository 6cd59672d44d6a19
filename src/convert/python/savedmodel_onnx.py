"""SavedModel -> ONNX, FP32: names, layout and batch as the signature has them, the same bytes every time."""

import argparse
import os

import common


def main():
    parser = argparse.ArgumentParser()
    for name in ("saved-model", "signature", "input", "output", "opset", "destination"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()

    import tensorflow
    import tf2onnx.convert

    common.load_signature(arguments)
    graph, inputs, outputs, tables, renames = tf2onnx.tf_loader.from_saved_model(
        arguments.saved_model,
        None,
        None,
        tag=["serve"],
        signatures=[arguments.signature],
        return_initialized_tables=True,
        return_tensors_to_rename=True,
    )
    with tensorflow.device("/cpu:0"):
        model, _ = tf2onnx.convert._convert_common(
            graph,
            opset=int(arguments.opset),
            input_names=inputs,
            output_names=outputs,
            tensors_to_rename=renames,
            initialized_tables=tables,
        )

    for value in [*model.graph.input, *model.graph.output]:
        shape = value.type.tensor_type.shape.dim
        if shape and not shape[0].HasField("dim_value"):
            shape[0].dim_param = "N"
    # Shapes in between carry generated symbol names; whoever needs them infers them again.
    del model.graph.value_info[:]
    common.save_onnx(model, os.path.join(arguments.destination, "model.onnx"))


common.run(main)

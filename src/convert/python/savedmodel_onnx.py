"""SavedModel -> ONNX, FP32: names, layout and batch as the signature has them, the same bytes every time."""

import argparse
import json
import os

import common
import graphs


def check_operators(model):
    """tf2onnx leaves what it cannot convert in the graph, under TensorFlow's name."""
    from onnx import defs

    known = {schema.name for schema in defs.get_all_schemas_with_history()}
    nodes = [node for graph in graphs.all_graphs(model.graph) for node in graph.node]
    unknown = {node.op_type: node.name for node in nodes if node.domain in ("", "ai.onnx") and node.op_type not in known}
    if unknown:
        named = ", ".join(f"`{operator}` (node `{name}`)" for operator, name in sorted(unknown.items()))
        raise common.InputError(
            f"ONNX has no operator for TensorFlow's {named}",
            "compute it from other operators in the model, or gate `tensorflow` and `litert` alone",
        )


def name_sizes(value, axis, sizes):
    """Names the open sizes of `value`: the batch `N` along `axis`, the others as `sizes` has them (the batch left out), or by itself."""
    dimensions = value.type.tensor_type.shape.dim
    names = list(sizes)
    if axis is not None:
        names.insert(axis, "N")
    names += [None] * (len(dimensions) - len(names))
    for place, (size, name) in enumerate(zip(dimensions, names)):
        if not size.HasField("dim_value"):
            size.dim_param = name or f"{value.name}_{place}"


def main():
    parser = argparse.ArgumentParser()
    for name in ("saved-model", "signature", "inputs", "outputs", "others", "opset", "destination"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    inputs_named, outputs_named = json.loads(arguments.inputs), json.loads(arguments.outputs)
    border = {value["name"]: value for value in [*inputs_named, *outputs_named]}

    import tensorflow
    import tf2onnx.convert

    common.load_signature(arguments, *([value["name"] for value in side] for side in (inputs_named, outputs_named)))
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

    check_operators(model)
    for value in [*model.graph.input, *model.graph.output]:
        named = border.get(value.name, {"axis": 0 if arguments.others == "batched" else None, "sizes": []})
        name_sizes(value, named["axis"], named["sizes"])
    # Shapes in between carry generated symbol names; whoever needs them infers them again.
    del model.graph.value_info[:]
    common.save_onnx(model, os.path.join(arguments.destination, "model.onnx"))


common.run(main)

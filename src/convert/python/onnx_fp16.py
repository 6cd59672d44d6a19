"""ONNX FP32 -> ONNX FP16: weights and activations in FP16, input and output in FP32."""

import argparse
import os

import common
import graphs

FLOAT, HALF = 1, 10

# Operators that round to integers: what is computed between them is not computed in halves, whatever the graph's type is.
QUANTISING = {"DynamicQuantizeLinear", "QuantizeLinear"}

# Operators between floats and integers that take no halves before operator set 19, and whose scales may be below the least half:
# stored weights of 8 bits stay as they are, with a cast behind them.
WITH_SCALES = {"DequantizeLinear", "QuantizeLinear"}


def refuse_quantised(model):
    """Refuses a model that rounds what it computes to integers."""
    for graph in graphs.all_graphs(model.graph):
        constants = {tensor.name for tensor in graph.initializer}
        rounded = [node.input[0] for node in graph.node if node.op_type in QUANTISING and node.input[0] not in constants]
        if rounded:
            raise common.Unsupported(
                f"the model comes quantised: it rounds {len(rounded)} tensors to integers, the first `{rounded[0]}`, so there is no FP16 of it",
                "take `fp16` out of `[matrix.runtimes]`, or gate the model from before it was quantised",
            )


def cast_to(node):
    """The type that a node casts to; None for other nodes."""
    if node.op_type != "Cast":
        return None
    return next((attribute.i for attribute in node.attribute if attribute.name == "to"), None)


def settle(model, known):
    """Puts the converter's casts where they belong: nodes that are not `known` are its own.

    - It puts every cast into the outer graph, also those of what a branch or loop makes within.
    - Between two nodes that stay in FP32, and between the input and one, it rounds to halves and widens again: the second
      reads what the first made.
    """
    outer = model.graph
    inner = [graph for graph in graphs.all_graphs(outer) if graph is not outer]
    homes = {name: graph for graph in inner for name in graphs.made_in(graph)}
    casts = [node for node in outer.node if node.name not in known and cast_to(node) in (FLOAT, HALF)]
    rounded = {node.output[0]: node.input[0] for node in casts if cast_to(node) == HALF}
    widened = {
        node.output[0]: rounded[node.input[0]]
        for node in casts
        if cast_to(node) == FLOAT and node.input[0] in rounded
    }
    for graph in graphs.all_graphs(outer):
        for node in graph.node:
            for index, name in enumerate(node.input):
                node.input[index] = widened.get(name, name)
    outputs = {value.name for value in outer.output}
    inputs = {value.name for value in outer.input}
    for node in casts:
        home = homes.get(node.input[0]) or homes.get(node.output[0])
        if home is not None:
            home.node.append(node)
        if home is not None or (node.output[0] in widened and node.output[0] not in outputs):
            outer.node.remove(node)
    read = outputs | {name for node in outer.node for name in graphs.reads(node)}
    own_again = {}
    for node in casts:
        if node in outer.node and node.output[0] not in read:
            outer.node.remove(node)
            # What stays in FP32 keeps its own name where no half has it.
            if cast_to(node) == HALF and node.input[0] not in inputs:
                own_again[node.input[0]] = node.output[0]
    graphs.rename(outer, own_again)


def main():
    parser = argparse.ArgumentParser()
    for name in ("source", "destination"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()

    from onnxruntime.transformers import float16

    model = common.load_onnx(arguments.source)
    refuse_quantised(model)
    graphs.part_names(model)
    graphs.name_nodes(model.graph)
    hidden = graphs.Hidden(model)
    every = [node for graph in graphs.all_graphs(model.graph) for node in graph.node]
    exact = set().union(*(graphs.exact_nodes(graph) for graph in graphs.all_graphs(model.graph)))
    exact.update(node.name for node in every if node.op_type in WITH_SCALES)
    known = {node.name for node in every}
    model = float16.convert_float_to_float16(model, keep_io_types=True, node_block_list=sorted(exact))
    settle(model, known)
    hidden.put_back(model)
    for graph in graphs.all_graphs(model.graph):
        del graph.value_info[:]
    # The casts at the border are appended behind the nodes that read them.
    common.sort_nodes(model)
    graphs.name_nodes(model.graph)
    common.save_onnx(model, os.path.join(arguments.destination, "model.onnx"))


common.run(main)

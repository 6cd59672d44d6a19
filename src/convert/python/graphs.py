"""Changes of ONNX graphs that the conversion scripts share: order, names, and what must keep its exact values."""

import re


def inner_graphs(node):
    """The graphs inside a node: branches of `If`, bodies of `Loop` and `Scan`."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_graphs(graph):
    """`graph` and every graph inside it, outer ones first."""
    yield graph
    for node in graph.node:
        for inner in inner_graphs(node):
            yield from all_graphs(inner)


def made_in(graph):
    """Names that a graph itself makes or holds."""
    names = {value.name for value in graph.input}
    names.update(tensor.name for tensor in graph.initializer)
    names.update(tensor.values.name for tensor in graph.sparse_initializer)
    for node in graph.node:
        names.update(node.output)
    return names


def reads(node):
    """Names that a node reads, also from within its graphs."""
    names = {name for name in node.input if name}
    for graph in inner_graphs(node):
        names |= read_from_outside(graph)
    return names


def read_from_outside(graph):
    """Names that a graph reads and does not make."""
    names = {value.name for value in graph.output}
    for node in graph.node:
        names |= reads(node)
    return names - made_in(graph)


def sort_nodes(graph):
    """Puts every node of `graph`, and of the graphs inside it, behind those whose outputs it reads; the order stays otherwise."""
    for node in graph.node:
        for inner in inner_graphs(node):
            sort_nodes(inner)
    nodes = list(graph.node)
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    behind = [{makers[name] for name in reads(node) if name in makers} - {index} for index, node in enumerate(nodes)]
    placed, order = set(), []
    for start in range(len(nodes)):
        open_nodes = [start]
        while open_nodes:
            index = open_nodes[-1]
            missing = sorted(behind[index] - placed) if index not in placed else []
            # A circle cannot be sorted; the checker names it.
            missing = [other for other in missing if other not in open_nodes]
            if missing:
                open_nodes.extend(reversed(missing))
                continue
            open_nodes.pop()
            if index not in placed:
                placed.add(index)
                order.append(nodes[index])
    # Copies, because clearing the field invalidates what it held.
    order = [type(node).FromString(node.SerializeToString()) for node in order]
    del graph.node[:]
    graph.node.extend(order)


def rename(graph, names):
    """Renames tensors everywhere in `graph` and the graphs inside it."""
    for inner in all_graphs(graph):
        for value in [*inner.input, *inner.output, *inner.value_info]:
            value.name = names.get(value.name, value.name)
        for tensor in inner.initializer:
            tensor.name = names.get(tensor.name, tensor.name)
        for tensor in inner.sparse_initializer:
            tensor.values.name = names.get(tensor.values.name, tensor.values.name)
        for annotation in inner.quantization_annotation:
            annotation.tensor_name = names.get(annotation.tensor_name, annotation.tensor_name)
        for node in inner.node:
            for list_of_names in (node.input, node.output):
                for index, name in enumerate(list_of_names):
                    list_of_names[index] = names.get(name, name)


def all_names(graph):
    """Every tensor's name in `graph` and the graphs inside it."""
    names = set()
    for inner in all_graphs(graph):
        names |= made_in(inner)
        names.update(value.name for value in [*inner.output, *inner.value_info])
        for node in inner.node:
            names.update(node.input)
    return names


def free_name(wanted, taken):
    """`wanted`, or the first of `wanted_1`, `wanted_2`, ... that is not taken; it is taken from then on."""
    name, count = wanted, 0
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    taken.add(name)
    return name


# Names that the converters give to tensors of their own.
OWN_NAMES = re.compile(
    r"(zero_point_\d+|limit_\d+|graph_(in|out)put_cast_\d+|.*_(scale|zero_point|quantized|dequantized|clipped|"
    r"(De)?[Qq]uantizeLinear(_(In|Out)put)?|cast_to_(fp16|fp32)))(_\d+)?"
)


class Hidden:
    """Takes names out of a model that the converters would use for tensors of their own, and puts them back behind them."""

    def __init__(self, model):
        taken = all_names(model.graph)
        self.names = {name: "" for name in sorted(taken) if OWN_NAMES.fullmatch(name)}
        for count, name in enumerate(self.names):
            self.names[name] = free_name(f"hidden{count}", taken)
        rename(model.graph, self.names)

    def __getitem__(self, name):
        return self.names.get(name, name)

    def put_back(self, model):
        """Gives the tensors their names again, also as the beginning of names made from them; the converters' own make way."""
        present = all_names(model.graph)
        taken = present | set(self.names)
        back = {name: free_name(name, taken) for name in sorted(present & set(self.names))}
        for name, hidden in self.names.items():
            back[hidden] = name
            for made in sorted(name for name in present if name.startswith(f"{hidden}_")):
                back[made] = free_name(name + made.removeprefix(hidden), taken)
        rename(model.graph, back)
        names = {hidden: name for name, hidden in self.names.items()}
        for inner in all_graphs(model.graph):
            for node in inner.node:
                hidden, rest = node.name.partition("_")[::2]
                if hidden in names and rest:
                    node.name = f"{names[hidden]}_{rest}"


def name_nodes(graph):
    """Gives every node of `graph` and the graphs inside it a name, and no name twice."""
    taken = set()
    for inner in all_graphs(graph):
        for node in inner.node:
            node.name = free_name(node.name or node.op_type.lower(), taken)


def part_names(model):
    """Gives what inner graphs make names of their own, so that no two tensors of a model share one."""
    taken = made_in(model.graph)

    def part(graph):
        for node in graph.node:
            for inner in inner_graphs(node):
                own = made_in(inner) - {""}
                names = {name: free_name(name, taken) for name in sorted(own) if name in taken}
                taken.update(own - set(names))
                rename_inside(inner, names)
                part(inner)

    part(model.graph)


def rename_inside(graph, names):
    """Renames what `graph` makes; graphs inside it that make the same name anew are left to themselves."""
    for node in graph.node:
        for inner in inner_graphs(node):
            made = made_in(inner)
            rename_inside(inner, {name: new for name, new in names.items() if name not in made})
    for value in [*graph.input, *graph.output, *graph.value_info]:
        value.name = names.get(value.name, value.name)
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        for list_of_names in (node.input, node.output):
            for index, name in enumerate(list_of_names):
                list_of_names[index] = names.get(name, name)


# Operators that do the heavy work, whose inputs are not looked behind.
HEAVY = {"Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"}

# Numbers of the integer types.
INTEGERS = {2, 3, 4, 5, 6, 7, 12, 13}


def exact_nodes(graph):
    """Names of the nodes that make whole numbers out of floats, and of those on the way to them.

    A half holds whole numbers up to 2048 and a quantised value 256 of them: rounded before the cast, an index is another.
    """
    makers = {name: node for node in graph.node for name in node.output}
    exact, waiting = set(), []
    for node in graph.node:
        to = next((attribute.i for attribute in node.attribute if attribute.name == "to"), 0)
        if node.op_type == "Cast" and to in INTEGERS:
            waiting.append(node)
    while waiting:
        node = waiting.pop()
        if node.name not in exact and node.op_type not in HEAVY:
            exact.add(node.name)
            waiting.extend(makers[name] for name in reads(node) if name in makers)
    return exact


# Operators in whose input a small absolute error is a large one.
SENSITIVE = {"Exp", "Log", "Pow", "Reciprocal", "Sqrt"}

# Operators that hand an error on to those, as in the variance of a normalisation.
HANDS_ON = {
    "Add", "AveragePool", "Cast", "Clip", "Expand", "GlobalAveragePool", "Identity", "Max", "Mul", "Pow", "ReduceMean",
    "Reshape", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip


def fragile_nodes(graph):
    """Names of the nodes that must not read 8 bits: those between a sum of squares and the root of it.

    On a grid of 256 steps over the range of a variance, its small values and its epsilon are zero.
    """
    makers = {name: node for node in graph.node for name in node.output}
    fragile, waiting = set(), []
    for node in graph.node:
        denominator = node.op_type == "Div" and len(node.input) > 1
        if node.op_type in SENSITIVE or denominator:
            waiting.append(node.input[1] if denominator else node.input[0])
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in fragile or node.op_type not in HANDS_ON:
            continue
        fragile.add(node.name)
        computed = [name for name in dict.fromkeys(node.input) if name in makers]
        # A sum or product of two is looked behind no further: what it sums is not made for the root alone.
        if len(computed) == 1:
            waiting.extend(computed)
    return fragile

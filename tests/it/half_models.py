"""Half-precision models small enough for onnx's own evaluator, with what it answers: argument 1 is a folder.

For each model NAME.onnx (FP16), NAME.x.npy (samples), NAME.fp32.npy (answers of the FP32 graph in ONNX Runtime, by which an
answer is right) and NAME.true.npy (answers of `onnx.reference`, which computes every operator in half precision)."""

import os
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

warnings.filterwarnings("ignore")
FOLDER = sys.argv[1]
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
SAMPLES = 64


def stored(name, values, kind=np.float32):
    return numpy_helper.from_array(np.asarray(values, kind), name)


def node(operator, inputs, outputs, name=None, **attributes):
    outputs = outputs.split()
    return helper.make_node(operator, inputs.split(), outputs, name or f"{operator}_{outputs[0]}", **attributes)


def value(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, initializers, inputs, outputs, functions=(), domains=()):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = helper.make_model(graph, opset_imports=opsets, functions=list(functions))
    made.ir_version = 8
    onnx.checker.check_model(made)
    return made


def answer(made, samples):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: samples})[0]


def centred(nodes, initializers, samples, inputs, outputs):
    """The model whose last node makes `raw`, less the mean of that: no class is the answer everywhere."""
    raw = model(nodes, initializers, inputs, [value("raw", ["N", 6])])
    initializers = [*initializers, stored("centre", answer(raw, samples).mean(0))]
    return model([*nodes, node("Sub", "raw centre", "y")], initializers, inputs, outputs)


def keep(name, fp32, samples, half=None):
    """Writes the files of one model; `half` is its FP16 graph, converted where there is none."""
    if half is None:
        half = convert_float_to_float16(fp32, keep_io_types=True)
        OnnxModel.graph_topological_sort(half.graph, is_deterministic=True)
    fed = samples.astype(np.float16) if half.graph.input[0].type.tensor_type.elem_type == HALF else samples
    true = ReferenceEvaluator(half).run(None, {half.graph.input[0].name: fed})[0]
    path = os.path.join(FOLDER, name)
    onnx.save(half, f"{path}.onnx")
    for ending, values in (("x", samples), ("fp32", answer(fp32, samples)), ("true", true)):
        np.save(f"{path}.{ending}.npy", values.astype(np.float32))


random = np.random.default_rng(5)
PICTURES = random.random((SAMPLES, 3, 12, 12), np.float32) ** np.linspace(0.3, 3, SAMPLES, dtype=np.float32)[:, None, None, None]
ROWS = random.normal(size=(SAMPLES, 24)).astype(np.float32)
TOKENS = random.normal(size=(SAMPLES, 10, 16)).astype(np.float32)


def weights(*shape, gain=1.0):
    fan_in = np.prod(shape[1:]) if len(shape) > 2 else shape[0]
    return random.normal(0, gain * np.sqrt(2 / fan_in), shape)


def border(shape, classes=6):
    return [value("x", ["N", *shape])], [value("y", ["N", classes])]


# Convolutions, normalisation, pooling.
keep(
    "convolutions",
    centred(
        [
            node("Conv", "x k1 c1", "a", pads=[1, 1, 1, 1]),
            node("BatchNormalization", "a s b m v", "n"),
            node("Relu", "n", "r"),
            node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", "p k2 c2", "d", pads=[1, 1, 1, 1]),
            node("Add", "d p", "e"),
            node("GlobalAveragePool", "e", "g"),
            node("Flatten", "g", "f"),
            node("Gemm", "f w o", "raw", transB=1),
        ],
        [
            stored("k1", weights(16, 3, 3, 3)),
            stored("c1", random.normal(size=16)),
            stored("s", 1 + random.random(16)),
            stored("b", random.normal(size=16)),
            stored("m", random.normal(size=16)),
            stored("v", 0.5 + random.random(16)),
            stored("k2", weights(16, 16, 3, 3)),
            stored("c2", random.normal(size=16)),
            stored("w", weights(6, 16)),
            stored("o", random.normal(size=6)),
        ],
        PICTURES,
        *border([3, 12, 12]),
    ),
    PICTURES,
)


# A mean that sums first: brighter pictures leave the range.
def summed(name, gain):
    keep(
        name,
        centred(
            [
                node("Conv", "x k", "a", pads=[1, 1, 1, 1]),
                node("Relu", "a", "r"),
                node("ReduceSum", "r axes", "s", keepdims=0),
                node("Div", "s area", "f"),
                node("MatMul", "f w", "raw"),
            ],
            [
                stored("k", weights(8, 3, 3, 3, gain=gain)),
                stored("axes", [2, 3], np.int64),
                stored("area", 144.0),
                stored("w", weights(8, 6)),
            ],
            PICTURES,
            *border([3, 12, 12]),
        ),
        PICTURES,
    )


summed("sum_within_range", 4.0)
summed("sum_beyond_range", 250.0)


# Root mean square: the squares leave the range, and the output stays finite.
def normalised(name, gain):
    keep(
        name,
        model(
            [
                node("MatMul", "x w1", "a"),
                node("Mul", "a a", "q"),
                node("ReduceMean", "q", "m", axes=[-1]),
                node("Add", "m epsilon", "e"),
                node("Sqrt", "e", "t"),
                node("Div", "a t", "n"),
                node("MatMul", "n w2", "y"),
            ],
            [stored("w1", weights(24, 32, gain=gain)), stored("epsilon", 1e-5), stored("w2", weights(32, 6))],
            *border([24]),
        ),
        ROWS,
    )


normalised("squares_within_range", 3.0)
normalised("squares_beyond_range", 150.0)

# A softmax written out, without taking the maximum off.
keep(
    "exponentials_beyond_range",
    model(
        [
            node("MatMul", "x w1", "a"),
            node("Exp", "a", "e"),
            node("ReduceSum", "e axes", "s"),
            node("Div", "e s", "p"),
            node("MatMul", "p w2", "y"),
        ],
        [stored("w1", weights(24, 12, gain=6.0)), stored("axes", [-1], np.int64), stored("w2", weights(12, 6))],
        *border([24]),
    ),
    ROWS,
)

# Logits whose common offset takes their leads' last bits.
keep(
    "offset",
    model(
        [node("MatMul", "x w", "a"), node("Add", "a o", "y")],
        [stored("w", weights(24, 6, gain=0.1)), stored("o", np.full(6, 3000.0))],
        *border([24]),
    ),
    ROWS,
)


# Attention with a mask that half precision cannot hold, added or chosen by `Where`.
def attention(name, masking, masks):
    projections = [stored(f"w{which}", weights(16, 16)) for which in "qkvo"]
    keep(
        name,
        model(
            [
                node("LayerNormalization", "x scale bias", "n", axis=-1),
                *(node("MatMul", f"n w{which}", which) for which in "qkv"),
                node("Transpose", "k", "kt", perm=[0, 2, 1]),
                node("MatMul", "q kt", "raw"),
                node("Mul", "raw factor", "scores"),
                masking,
                node("Softmax", "masked", "p", axis=-1),
                node("MatMul", "p v", "mixed"),
                node("MatMul", "mixed wo", "projected"),
                node("Add", "projected x", "sum"),
                node("ReduceMean", "sum", "mean", axes=[1], keepdims=0),
                node("MatMul", "mean w", "y"),
            ],
            [
                *projections,
                stored("scale", np.ones(16)),
                stored("bias", np.zeros(16)),
                stored("factor", 0.25),
                *masks,
                stored("w", weights(16, 6)),
            ],
            *border([10, 16]),
        ),
        TOKENS,
    )


attention("mask_added", node("Add", "scores mask", "masked"), [stored("mask", np.triu(np.full((10, 10), -1e9), 1))])
attention(
    "mask_chosen",
    node("Where", "hidden low scores", "masked"),
    [stored("hidden", np.triu(np.ones((10, 10), bool), 1), bool), stored("low", -1e9)],
)

# A quotient that is infinite in half precision, where nobody looks at it.
keep(
    "discarded_branch",
    model(
        [
            node("MatMul", "x w1", "a"),
            node("Abs", "a", "b"),
            node("Clip", "b least", "c"),
            node("Div", "one c", "d"),
            node("Less", "b limit", "small"),
            node("Where", "small a d", "e"),
            node("MatMul", "e w2", "y"),
        ],
        [
            stored("w1", weights(24, 32, gain=2.0)),
            stored("least", 1e-6),
            stored("one", 1.0),
            stored("limit", 0.5),
            stored("w2", weights(32, 6)),
        ],
        *border([24]),
    ),
    ROWS,
)


def in_half(made):
    """The same graph with every float in half precision: floats inside of branches, loops and functions too."""

    def tensor(stored_tensor):
        if stored_tensor.data_type == FLOAT:
            name = stored_tensor.name
            stored_tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(stored_tensor).astype(np.float16), name))

    def nodes(all_nodes):
        for one in all_nodes:
            for attribute in one.attribute:
                if attribute.HasField("t"):
                    tensor(attribute.t)
                if attribute.HasField("g"):
                    graph(attribute.g)
                if attribute.name == "to" and attribute.i == FLOAT:
                    attribute.i = HALF

    def graph(one):
        for stored_tensor in one.initializer:
            tensor(stored_tensor)
        for known in [*one.input, *one.output, *one.value_info]:
            if known.type.tensor_type.elem_type == FLOAT:
                known.type.tensor_type.elem_type = HALF
        nodes(one.node)

    half = onnx.ModelProto()
    half.CopyFrom(made)
    graph(half.graph)
    for function in half.functions:
        nodes(function.node)
    return half


def wrapped(half):
    """A graph in half precision behind casts, as converters leave it."""
    source, result = half.graph.input[0], half.graph.output[0]
    for one in half.graph.node:
        one.input[:] = ["x_half" if name == source.name else name for name in one.input]
        one.output[:] = ["y_half" if name == result.name else name for name in one.output]
        for attribute in one.attribute:
            if attribute.HasField("g"):
                for inner in attribute.g.node:
                    inner.input[:] = ["x_half" if name == source.name else name for name in inner.input]
    for known in (source, result):
        known.type.tensor_type.elem_type = FLOAT
    half.graph.node.insert(0, node("Cast", source.name, "x_half", to=HALF))
    half.graph.node.append(node("Cast", "y_half", result.name, to=FLOAT))
    onnx.checker.check_model(half)
    return half


def control_flow(name, gain):
    """A branch with weights of its own, a loop that squares, and a scan that sums."""
    dense = lambda which: helper.make_graph(
        [node("Gemm", f"a w_{which} b_{which}", f"z_{which}", f"dense_{which}")],
        which,
        [],
        [value(f"z_{which}", ["N", 6])],
        [stored(f"w_{which}", weights(24, 6)), stored(f"b_{which}", random.normal(size=6))],
    )
    body = helper.make_graph(
        [
            node("Mul", "carried carried", "squared"),
            node("Mul", "squared shrink", "next"),
            node("Identity", "again", "goes_on"),
        ],
        "body",
        [value("turn", [], TensorProto.INT64), value("again", [], TensorProto.BOOL), value("carried", ["N", 24])],
        [value("goes_on", [], TensorProto.BOOL), value("next", ["N", 24])],
        [stored("shrink", 0.5)],
    )
    step = helper.make_graph(
        [node("Add", "total row", "sum"), node("Identity", "sum", "seen")],
        "step",
        [value("total", ["N"]), value("row", ["N"])],
        [value("sum", ["N"]), value("seen", ["N"])],
    )
    made = model(
        [
            node("Mul", "x gain", "scaled"),
            node("Loop", "turns yes scaled", "a", body=body),
            node("ReduceMax", "x", "most", keepdims=0),
            node("Greater", "most limit", "bright"),
            node("If", "bright", "z", then_branch=dense("then"), else_branch=dense("else")),
            node("ReduceSum", "z one_axis", "start", keepdims=0),
            node("Mul", "start nothing", "zero"),
            node("Transpose", "z", "columns", perm=[1, 0]),
            node("Scan", "zero columns", "sums running", body=step, num_scan_inputs=1),
            node("Transpose", "running", "rows", perm=[1, 0]),
            node("Sub", "z rows", "y"),
        ],
        [
            stored("gain", gain),
            stored("turns", 2, np.int64),
            stored("yes", True, bool),
            stored("limit", 1.0),
            stored("one_axis", [1], np.int64),
            stored("nothing", 0.0),
        ],
        *border([24]),
    )
    keep(name, made, ROWS, wrapped(in_half(made)))


control_flow("control_flow_within_range", 1.0)
control_flow("control_flow_beyond_range", 8.0)


def functions(name, gain):
    """A block that is a function, called twice, with a function inside of it; and a border in half precision."""
    power = helper.make_function(
        "local",
        "Power",
        ["v"],
        ["w"],
        [
            helper.make_node("Constant", [], ["exponent"], value=stored("", 2.0)),
            node("Pow", "v exponent", "w"),
        ],
        [helper.make_opsetid("", 17)],
    )
    block = helper.make_function(
        "local",
        "Block",
        ["v", "w", "b"],
        ["o"],
        [
            node("MatMul", "v w", "t"),
            node("Add", "t b", "u"),
            helper.make_node("Power", ["u"], ["p"], domain="local"),
            node("Sqrt", "p", "s"),
            node("Softmax", "s", "m"),
            node("Mul", "m u", "o"),
        ],
        [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
    )
    made = model(
        [
            helper.make_node("Block", ["x", "w1", "b1"], ["h"], "first", domain="local"),
            helper.make_node("Block", ["h", "w2", "b2"], ["y"], "second", domain="local"),
        ],
        [
            stored("w1", weights(24, 12, gain=gain)),
            stored("b1", random.normal(size=12)),
            stored("w2", weights(12, 6, gain=2.0)),
            stored("b2", random.normal(size=6)),
        ],
        *border([24]),
        functions=[power, block],
        domains=["local"],
    )
    keep(name, made, ROWS, in_half(made))


functions("functions_within_range", 2.0)
functions("functions_beyond_range", 60.0)

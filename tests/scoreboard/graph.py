"""ONNX graphs under construction, and sessions that run them."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float16): TensorProto.FLOAT16}


class Graph:
    """A graph with one input `[N, …]`. Values are names; numbers, lists of integers and arrays become initialisers."""

    def __init__(self, shape, seed, opset=17, ir=8, name="x"):
        self.shape, self.opset, self.ir, self.input = list(shape), opset, ir, name
        self.random = np.random.RandomState(seed)
        self.nodes, self.stored, self.functions, self.domains = [], [], [], []
        self.count = 0

    def fresh(self, stem):
        self.count += 1
        return f"{stem.lower()}_{self.count}"

    def store(self, value, name=None):
        """An initialiser: floats in FP32, lists of integers in INT64."""
        if isinstance(value, str):
            return value
        array = np.asarray(value)
        if array.dtype.kind == "i" and isinstance(value, (list, tuple)):
            array = array.astype(np.int64)
        elif array.dtype.kind in "if" and array.dtype != np.int64:
            array = array.astype(np.float32)
        name = name or self.fresh("constant")
        self.stored.append(numpy_helper.from_array(array, name))
        return name

    def op(self, kind, *inputs, outputs=1, name=None, **attributes):
        """Appends a node; returns the name of its result, or a list of names."""
        made = [self.fresh(kind) for _ in range(outputs)] if name is None else [name]
        self.nodes.append(
            helper.make_node(kind, [self.store(value) for value in inputs], made, f"{kind}_{made[0]}", **attributes)
        )
        return made[0] if outputs == 1 else made

    def reduce(self, kind, value, axes, keepdims=1):
        """A reduction; the axes are an attribute before opset 13 (ReduceSum) or 18 (the others)."""
        if self.opset >= (13 if kind == "ReduceSum" else 18):
            return self.op(kind, value, list(axes), keepdims=keepdims)
        return self.op(kind, value, axes=list(axes), keepdims=keepdims)

    def clip(self, value, low, high):
        if self.opset >= 11:
            return self.op("Clip", value, low, high)
        return self.op("Clip", value, min=float(low), max=float(high))

    def weights(self, *shape, gain=1.0, spread=0.3):
        """He's weights for `[out, in, …]`; output channels differ in scale by a factor of exp(`spread`)."""
        inner = int(np.prod(shape[1:]))
        scales = np.exp(spread * self.random.randn(shape[0])).reshape(-1, *[1] * (len(shape) - 1))
        return self.random.randn(*shape) * np.sqrt(2 / inner) * scales * gain

    def conv(self, value, inner, outer, size=3, stride=1, groups=1, gain=1.0, bias=True):
        parts = [value, self.weights(outer, inner // groups, size, size, gain=gain)]
        if bias:
            parts.append(self.random.randn(outer) * 0.1)
        pad = size // 2
        return self.op("Conv", *parts, kernel_shape=[size, size], strides=[stride, stride], pads=[pad] * 4, group=groups)

    def dense(self, value, inner, outer, gain=1.0):
        return self.op("Gemm", value, self.weights(outer, inner, gain=gain), self.random.randn(outer) * 0.1, transB=1)

    def proto(self, output, size=None, batch="N", shape=None):
        """The model with `output` as its one output: `[N, size]`, or of a shape that is not told."""
        shape = self.shape if shape is None else shape
        given = helper.make_tensor_value_info(self.input, TensorProto.FLOAT, [batch, *shape])
        if size is None:
            made = helper.make_empty_tensor_value_info(output)
        else:
            made = helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, size])
        inputs = [given]
        if self.ir < 4:
            inputs += [helper.make_tensor_value_info(part.name, part.data_type, list(part.dims)) for part in self.stored]
        graph = helper.make_graph(list(self.nodes), "network", inputs, [made], list(self.stored))
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(domain, 1) for domain in self.domains)]
        model = helper.make_model(graph, opset_imports=opsets, functions=list(self.functions))
        model.ir_version = self.ir
        return model

    def run(self, output, samples, batch=None):
        """The value `output` for `samples`, in FP32."""
        return run(self.proto(output), samples, batch)


def session(model, optimise=True, exact=False):
    """A session of ONNX Runtime on one thread; `exact` asks for 8-bit products that do not saturate."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    data = model if isinstance(model, (str, bytes)) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(model, samples, batch=None, **options):
    """The first output for all samples, in calls of `batch` (all at once if not given, or the model's own batch)."""
    opened = session(model, **options)
    given = opened.get_inputs()[0]
    if batch is None:
        batch = given.shape[0] if isinstance(given.shape[0], int) and given.shape[0] > 0 else 500
    whole = len(samples) // batch * batch or len(samples)
    parts = [opened.run(None, {given.name: samples[at : at + batch]})[0] for at in range(0, whole, batch)]
    return np.concatenate(parts)


def arrays(model):
    """The initialisers of a model by name, as arrays."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def replace(model, name, array):
    """Replaces an initialiser, keeping its type."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            before = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(array).astype(before.dtype), name))
            return
    raise KeyError(name)


def copied(model):
    clone = onnx.ModelProto()
    clone.CopyFrom(model)
    return clone

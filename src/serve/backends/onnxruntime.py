"""Stands in for Triton's ONNX Runtime backend where there is only its Python backend: an unchanged repository is served by the
real core. It repeats what the real backend checks when it loads a model, and computes as trtgate's own cells do."""

import json
import os

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}


def refuse(text):
    raise pb_utils.TritonModelException(text)


def dims_of(tensor):
    """A model's own sizes, -1 where they are open."""
    return [size if isinstance(size, int) and size >= 0 else -1 for size in tensor.shape]


def check(name, what, configured, offered, largest):
    """Holds the configured inputs or outputs to the model's, in the real backend's words."""
    known = {tensor.name: tensor for tensor in offered}
    if what == "input" and len(configured) != len(offered):
        refuse(f"unable to load model '{name}', configuration expects {len(configured)} inputs, model provides {len(offered)}")
    for tensor in configured:
        if tensor["name"] not in known:
            allowed = ", ".join(sorted(known))
            refuse(f"unexpected inference {what} '{tensor['name']}', allowed {what}s are: {allowed}")
        own = known[tensor["name"]]
        expected = TYPES.get(own.type, own.type)
        if tensor["data_type"] != expected:
            refuse(
                f"unable to load model '{name}', unexpected datatype {tensor['data_type']} for {what} "
                f"'{tensor['name']}', expecting {expected}"
            )
        sizes = dims_of(own)
        dims = (tensor.get("reshape") or {}).get("shape", tensor["dims"])
        dims = [int(size) for size in dims]
        start = f"model '{name}', tensor '{tensor['name']}': "
        if largest > 0 and (not sizes or sizes[0] != -1):
            refuse(
                start + "for the model to support batching the shape should have at least 1 dimension and the first "
                f"dimension must be -1; but shape expected by the model is {sizes}"
            )
        whole = ([-1] if largest > 0 else []) + dims
        if len(whole) != len(sizes):
            added = " (an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape)"
            refuse(
                start + f"the model expects {len(sizes)} dimensions (shape {sizes}) but the model configuration specifies "
                f"{len(whole)} dimensions{added if largest > 0 else ''}: complete shape {whole}"
            )
        if any(own != -1 and given not in (-1, own) for own, given in zip(sizes, whole)):
            refuse(start + f"the model expects shape {sizes} but the model configuration specifies shape {whole}")


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        return config

    def initialize(self, arguments):
        config = json.loads(arguments["model_config"])
        file = config.get("default_model_filename") or "model.onnx"
        path = os.path.join(arguments["model_repository"], arguments["model_version"], file)
        if not os.path.exists(path):
            refuse(f"unable to find '{path}' for model instance '{arguments['model_name']}'")
        self.load(arguments["model_name"], config, path)

    def load(self, name, config, graph):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.largest = config["max_batch_size"]
        check(name, "input", config["input"], self.session.get_inputs(), self.largest)
        check(name, "output", config["output"], self.session.get_outputs(), self.largest)
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]

    def feeds(self, request):
        # The core has applied what the configuration reshapes.
        return {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}

    def run(self, feeds):
        return self.session.run(self.outputs, feeds)

    def execute(self, requests):
        fed = [self.feeds(request) for request in requests]
        if self.largest == 0:
            return [self.answer(self.run(feeds)) for feeds in fed]
        rows = [len(next(iter(feeds.values()))) for feeds in fed]
        merged = {name: np.concatenate([feeds[name] for feeds in fed]) for name in self.inputs}
        outputs = self.run(merged)
        ends = np.cumsum(rows)
        return [self.answer([output[end - count : end] for output in outputs]) for count, end in zip(rows, ends)]

    def answer(self, outputs):
        tensors = [pb_utils.Tensor(name, np.ascontiguousarray(output)) for name, output in zip(self.outputs, outputs)]
        return pb_utils.InferenceResponse(tensors)

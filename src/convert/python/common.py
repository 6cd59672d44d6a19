"""What the conversion scripts share: errors as one JSON line, tidy models, reproducible bytes."""

import json
import os
import re
import sys
import traceback

import graphs

# Set before any library is loaded: no accelerator, no log lines, no telemetry, one order of summation.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


class Told(Exception):
    """An error whose message is for the user, with the next step if there is one."""

    def __init__(self, message, hint=None):
        super().__init__(message)
        self.hint = hint


class InputError(Told):
    """What was given cannot be converted."""


class Unsupported(Told):
    """What was given is sound, and known not to convert."""


def run(main):
    """Calls `main`; an exception becomes one JSON line, the last on standard error, and exit code 1."""
    try:
        main()
    except Exception as error:
        if not isinstance(error, Told):
            traceback.print_exc()
        kinds = {InputError: "input", Unsupported: "unsupported", ModuleNotFoundError: "missing"}
        kind = next((name for base, name in kinds.items() if isinstance(error, base)), "failed")
        message = in_words(error) if kind == "failed" else str(error).strip()
        print(json.dumps({"kind": kind, "message": message, "hint": getattr(error, "hint", None)}), file=sys.stderr)
        sys.exit(1)


def load_signature(arguments, inputs, outputs):
    """The SavedModel and its function, checked to have the inputs and outputs of these names."""
    import tensorflow

    where = f"signature `{arguments.signature}` of `{arguments.saved_model}`"
    try:
        loaded = tensorflow.saved_model.load(arguments.saved_model, tags=["serve"])
        function = loaded.signatures[arguments.signature]
    except Exception as error:
        raise InputError(f"cannot load {where}: {first_line(error)}") from error
    for role, wanted, found in (
        ("input", inputs, function.structured_input_signature[1]),
        ("output", outputs, function.structured_outputs),
    ):
        for name in wanted:
            if name not in found:
                names = ", ".join(f"`{name}`" for name in sorted(found))
                raise InputError(f"{where} has no {role} `{name}`, it has {names}")
    return loaded, function


def load_onnx(path):
    """Reads and checks an ONNX file."""
    import onnx

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:
        raise InputError(f"`{path}` is not a valid ONNX model: {first_line(error)}") from error
    return model


def save_onnx(model, path):
    """Strips what differs between two runs (paths, versions, unused domains), checks and writes `model`."""
    import onnx

    model.doc_string = ""
    model.graph.doc_string = ""
    model.producer_name, model.producer_version = "trtgate", ""
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    used = {node.domain for node in model.graph.node}
    opsets = {entry.domain: entry.version for entry in model.opset_import if entry.domain in used}
    del model.opset_import[:]
    for domain, version in sorted(opsets.items()):
        model.opset_import.append(onnx.helper.make_opsetid(domain, version))
    # The oldest parser in the field (TensorRT 8.5) reads IR 8, which is that of opset 17.
    model.ir_version = min(model.ir_version, 8)
    onnx.checker.check_model(model, full_check=True)
    with open(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


def sort_nodes(model):
    """Puts every node behind those whose outputs it reads."""
    graphs.sort_nodes(model.graph)


def operator_set(model):
    """Version of the standard operators; 0 where the model uses none."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def load_samples(path, shape, fewest):
    """The calibration samples, float32 [N, ...], finite, of the input's shape."""
    import numpy

    try:
        samples = numpy.load(path, allow_pickle=False)
    except Exception as error:
        raise InputError(f"cannot read calibration samples `{path}`: {first_line(error)}") from error
    if samples.dtype != numpy.float32:
        raise InputError(f"calibration samples are {samples.dtype}, expected float32")
    if len(samples) < fewest:
        raise InputError(f"{len(samples)} calibration samples, at least {fewest} are needed")
    wanted = [size for size in shape[1:]]
    fits = samples.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(wanted, samples.shape[1:])
    )
    if not fits:
        raise InputError(f"calibration samples have shape {list(samples.shape[1:])}, the input {wanted}")
    if not numpy.isfinite(samples).all():
        raise InputError("calibration samples hold a value that is not finite")
    return samples


def only_input(model):
    """Name and shape (None where dynamic) of the one input that is not an initialiser."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise InputError(f"the model has {len(inputs)} inputs, only one is supported")
    shape = [
        dimension.dim_value if dimension.HasField("dim_value") else None
        for dimension in inputs[0].type.tensor_type.shape.dim
    ]
    return inputs[0].name, shape


def first_line(error):
    """The first line of an exception's message."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def in_words(error):
    """A library's error in one line: its type where that tells something, and what it says, without places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("==>")]
    said = re.sub(r"\S+\.(h|cc|cpp|py):\d+:? ?(\S+\(.*?\):? )?(Assertion `[^`]*` failed: )?", "", " ".join(lines))
    kind = [] if type(error) in (RuntimeError, Exception) and said else [type(error).__name__]
    text = ": ".join([*kind, *([said] if said else [])])
    return text if len(text) <= 400 else text[:397] + "..."

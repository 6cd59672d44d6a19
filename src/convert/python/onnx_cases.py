"""ONNX's own backend cases as files: a folder a case with `model.onnx` and `test_data_set_N`, and `cases.json`, their list."""

import argparse
import json
import os
import pathlib
import shutil
import warnings

import common


def write_data(folder, inputs, outputs):
    """One data set; values that are no tensors (sequences, optionals, texts in lists) are left out: the model's signature tells them."""
    import numpy
    import onnx.numpy_helper

    folder.mkdir(parents=True)
    for role, values in (("input", inputs), ("output", outputs)):
        for index, value in enumerate(values):
            if isinstance(value, onnx.TensorProto):
                tensor = value
            elif value is None or isinstance(value, (list, tuple, dict)):
                continue
            else:
                tensor = onnx.numpy_helper.from_array(numpy.asarray(value))
            (folder / f"{role}_{index}.pb").write_bytes(tensor.SerializeToString())


def light(case, folder, base):
    """A case whose model is without weights of its own, on the input that ONNX's runner makes for it."""
    import onnx
    from onnx.backend.test.runner import Runner

    source = pathlib.Path(base) / "data" / "light" / os.path.basename(case.url)
    shutil.copy(source, folder / "model.onnx")
    model = onnx.load(str(source))
    stored = {tensor.name for tensor in model.graph.initializer}
    asked = [value for value in model.graph.input if value.name not in stored]
    inputs = [Runner.generate_dummy_data(value, seed=0, name=case.model_name, random=False) for value in asked]
    outputs = []
    for index in range(len(model.graph.output)):
        tensor = onnx.TensorProto()
        tensor.ParseFromString(source.with_name(f"{source.stem}_output_{index}.pb").read_bytes())
        outputs.append(tensor)
    write_data(folder / "test_data_set_0", inputs, outputs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", required=True)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    import onnx
    import onnx.backend.test
    from onnx.backend.test.loader import load_model_tests

    base = os.path.dirname(onnx.backend.test.__file__)
    root = pathlib.Path(arguments.output)
    listed = []
    for kind in ("node", "simple", "pytorch-converted", "pytorch-operator", "real"):
        for case in load_model_tests(kind=kind):
            if arguments.only not in case.name:
                continue
            folder = root / kind / case.name
            folder.mkdir(parents=True)
            if case.model is not None:
                (folder / "model.onnx").write_bytes(case.model.SerializeToString())
                for index, (inputs, outputs) in enumerate(case.data_sets):
                    write_data(folder / f"test_data_set_{index}", inputs, outputs)
            elif case.model_dir is not None:
                shutil.copytree(case.model_dir, folder, dirs_exist_ok=True)
            else:
                light(case, folder, base)
            rtol, atol = float(case.rtol or 1e-3), float(case.atol or 1e-7)
            listed.append({"name": case.name, "kind": kind, "rtol": rtol, "atol": atol})
    text = json.dumps({"onnx": onnx.__version__, "cases": listed})
    (root / "cases.json").write_text(text, encoding="utf-8")


common.run(main)

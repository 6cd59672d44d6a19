"""The program under test, run as users run it, in a cache of its own so that nothing made by another build is used."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KINDS = {"fp32": "onnx-fp32", "fp16": "onnx-fp16", "int8": "onnx-int8-cpu"}


def user_cache():
    given = os.environ.get("TRTGATE_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(given or os.path.join(home, "trtgate"))


class Program:
    def __init__(self, binary, folder):
        self.binary, self.folder = pathlib.Path(binary).resolve(), pathlib.Path(folder).resolve()
        self.cache = self.folder / "cache"
        self.cache.mkdir(parents=True, exist_ok=True)
        # Only the installed packages are shared.
        link = self.cache / "environments"
        # Models are gated side by side: whoever comes second finds the link.
        with contextlib.suppress(FileExistsError):
            link.symlink_to(user_cache() / "environments")

    def run(self, folder, *arguments, limit=600):
        """Exit code, standard output and standard error of a command in `folder`."""
        # An interpreter of the user's own stays: where nothing can be installed, the models' is the converters' too.
        kept = {
            key: value
            for key, value in os.environ.items()
            if key == "TRTGATE_PYTHON" or not key.startswith(("TRTGATE_", "CIFAR10"))
        }
        kept.update(TRTGATE_CACHE=str(self.cache), NO_COLOR="1", COLUMNS="200")
        try:
            done = subprocess.run(
                [str(self.binary), *arguments], cwd=folder, env=kept, capture_output=True, text=True, timeout=limit, check=False
            )
        except subprocess.TimeoutExpired:
            return 124, "", f"no answer within {limit} s"
        return done.returncode, done.stdout, done.stderr

    def version(self):
        return self.run(self.folder, "--version")[1].strip()


def set_keys(text, edits):
    """A manifest with `key = value` lines set in their sections, whether they are there or not."""
    lines = text.splitlines()
    for section, wanted in edits.items():
        header = f"[{section}]"
        at = next((index for index, line in enumerate(lines) if line.split("#")[0].strip() == header), None)
        if at is None:
            lines += ["", header]
            at = len(lines) - 1
        for line in wanted:
            key = line.split("=")[0].strip()
            end = next((index for index in range(at + 1, len(lines)) if lines[index].startswith("[")), len(lines))
            own = next((index for index in range(at + 1, end) if re.match(rf"{re.escape(key)}\s*=", lines[index])), None)
            if own is None:
                lines.insert(at + 1, line)
            else:
                lines[own] = line
    return "\n".join(lines) + "\n"


def only_onnxruntime(text):
    """The manifest with ONNX Runtime as the one runtime."""
    lines, inside, kept = text.splitlines(), False, []
    for line in lines:
        if line.startswith("["):
            inside = line.split("#")[0].strip() == "[matrix.runtimes]"
        if not inside or line.startswith("["):
            kept.append(line)
    return set_keys("\n".join(kept), {"matrix.runtimes": ['onnxruntime = ["fp32", "fp16", "int8"]']})


def prepare(program, case, folder, model=None):
    """Writes the model and its manifest, by `init` and the case's edits; returns what `init` said if it refused."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    onnx.save(model or case.proto, folder / "model.onnx")
    for name, array in case.files.items():
        np.save(folder / name, array)
    # What `init` asks for where the file leaves it open.
    sizes = [] if case.size is None else ["--size", case.size]
    code, _, errors = program.run(folder, "init", "--no-probes", "--onnx", "model.onnx", *sizes)
    if code:
        return errors
    text = only_onnxruntime((folder / "gate.toml").read_text())
    edits = {"matrix": [f"batches = {list(case.batches)}"], **case.edits}
    (folder / "gate.toml").write_text(set_keys(text, edits))
    return None


def export(program, folder, name):
    """Artifacts in `folder/name`, by precision; those that could not be made are left out, with what was said."""
    program.run(folder, "export", "--output", name)
    said = ""
    if not (folder / name / "artifacts.json").exists():
        for kind in ("onnx-fp32", "onnx-fp16", "onnx-int8-cpu"):
            code, _, errors = program.run(folder, "export", "--only", kind, "--output", f"{name}-{kind}")
            said += errors if code else ""
    found = {}
    for precision, kind in KINDS.items():
        paths = [*folder.glob(f"{name}/*.{kind}.onnx"), *folder.glob(f"{name}-{kind}/*.{kind}.onnx")]
        if paths:
            found[precision] = paths[0]
    return found, said


def put(bundle, artifact, model):
    """Writes `model` in the place of an artifact of a bundle, and its digest and size into the list."""
    onnx.save(model, artifact)
    data = artifact.read_bytes()
    path = bundle / "artifacts.json"
    listed = json.loads(path.read_text())
    entry = next(entry for entry in listed["artifacts"] if entry["file"] == artifact.name)
    entry.update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    path.write_text(json.dumps(listed, indent=2) + "\n")


def natural(program, given, seed, count):
    """A file of `count` samples of the input `given`, as the program's own generator draws them under a seed of its own."""
    label = hashlib.sha256(repr((given, seed, count)).encode()).hexdigest()[:16]
    path = program.folder / "samples" / f"{label}.npy"
    if not path.exists():
        folder = program.folder / "samples" / f"{label}-{os.getpid()}"
        folder.mkdir(parents=True, exist_ok=True)
        size, scale = int(np.prod(given.shape)), (given.range[1] - given.range[0]) / (min(given.std) if given.std else 1.0)
        # The model decides nothing of the samples; it tells one half of the input from the other.
        weights = np.where(np.arange(size) % 2, -8.0, 8.0)[None] / np.sqrt(size) / scale * np.array([[1.0], [-1.0]])
        parts = [numpy_helper.from_array(weights.astype(np.float32), "w")]
        nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"], transB=1)]
        tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *sizes]) for name, sizes in (("x", given.shape), ("y", [2]))]
        graph = helper.make_graph(nodes, "halves", tensors[:1], tensors[1:], parts)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")
        said = program.run(folder, "init", "--no-probes", "--onnx", "model.onnx", "--force")
        edits = {"input": [f"range = {list(given.range)}", f'layout = "{given.layout}"'], "calibration": [f"seed = {seed}", f"count = {count}"]}
        if given.mean:
            edits["input"] += [f"mean = {list(given.mean)}", f"std = {list(given.std)}"]
        if (folder / "gate.toml").exists():
            (folder / "gate.toml").write_text(set_keys((folder / "gate.toml").read_text(), edits))
            said = program.run(folder, "data", "calibration", "--out", "samples.npy")
        if not (folder / "samples.npy").exists():
            raise RuntimeError(f"no samples of {given}: {said[2]}")
        (folder / "samples.npy").rename(path)
    return path

"""Stands in for Triton's TensorRT backend where there is no GPU. It runs no engine: what stands for one is a line of JSON with
the TensorRT that built it and its profiles, and the ONNX graph that it was built of:

    {"tensorrt": "10.6.0", "profiles": [{"input_1": {"min": [1, 4], "opt": [8, 4], "max": [32, 4]}}]}

What it checks is what the real backend checks: the version, the profiles that instances name, and the sizes of each request
against the nearest of these. As in the real one, `max_batch_size` beyond a profile is not noticed while a model loads without
auto-completion, and fails the requests."""

import importlib.util
import json
import os

import triton_python_backend_utils as pb_utils

HERE = os.path.dirname(os.path.abspath(__file__))
SPEC = importlib.util.spec_from_file_location("graphs", os.path.join(HERE, "..", "onnxruntime", "model.py"))
graphs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(graphs)

# The TensorRT of the release that the server stands for.
TENSORRT = os.environ.get("TRTGATE_STAND_IN_TENSORRT", "10.6.0")


class TritonPythonModel(graphs.TritonPythonModel):
    def initialize(self, arguments):
        config = json.loads(arguments["model_config"])
        name = arguments["model_name"]
        file = config.get("default_model_filename") or "model.plan"
        path = os.path.join(arguments["model_repository"], arguments["model_version"], file)
        if not os.path.exists(path):
            graphs.refuse(f"unable to find '{path}' for model instance '{name}'")
        with open(path, "rb") as plan:
            head, graph = plan.readline(), plan.read()
        try:
            head = json.loads(head)
            built, profiles = head["tensorrt"], head["profiles"]
        except (ValueError, KeyError, TypeError):
            graphs.refuse(f"unable to load plan file '{path}': this stand-in runs no TensorRT engine")
        if built != TENSORRT:
            graphs.refuse(
                f"unable to create TensorRT engine: Version tag does not match (built by {built}, this server has {TENSORRT})"
            )
        named = {int(one) for group in config.get("instance_group", []) for one in group.get("profile", [])}
        wrong = sorted(one for one in named if one >= len(profiles))
        if wrong:
            graphs.refuse(f"model '{name}' has no optimization profile {wrong[0]}: the engine has {len(profiles)}")
        self.profiles = [profiles[one] for one in sorted(named) or [0]]
        self.load(name, config, graph)

    def run(self, feeds):
        distances = []
        for profile in self.profiles:
            wrong = self.outside(profile, feeds)
            distances.append((wrong is not None, self.distance(profile, feeds), wrong))
        wrong = min(distances, key=lambda found: found[:2])[2]
        if wrong is not None:
            raise pb_utils.TritonModelException(wrong)
        return super().run(feeds)

    @staticmethod
    def distance(profile, feeds):
        return sum(
            abs(size - best) for name, tensor in feeds.items() for size, best in zip(tensor.shape, profile[name]["opt"])
        )

    @staticmethod
    def outside(profile, feeds):
        for name, tensor in feeds.items():
            bounds = zip(tensor.shape, profile[name]["min"], profile[name]["max"])
            for axis, (size, low, high) in enumerate(bounds):
                if not low <= size <= high:
                    return (
                        f"request specifies invalid shape for input '{name}': model expected the shape of dimension {axis} "
                        f"to be between {low} and {high} but received {size}"
                    )
        return None

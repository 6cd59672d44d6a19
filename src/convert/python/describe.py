"""Prints, as one line of JSON, where this interpreter keeps packages and which versions of the converters it has."""

import importlib.metadata
import json
import os
import sys

folders = [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]
versions = {"python": "%d.%d" % sys.version_info[:2]}
for name in ("tensorflow", "tensorflow-cpu", "tf2onnx", "onnx", "onnxruntime", "ai-edge-litert", "numpy"):
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        versions[name] = None
print(json.dumps({"site_packages": [path for path in folders if os.path.isdir(path)], "versions": versions}))

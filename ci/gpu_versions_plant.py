"""Doubles one scale of the INT8 graph in a copy of exported artifacts, and makes their list agree.

    python3 ci/gpu_versions_plant.py ARTIFACTS COPY TENSOR

Needs nothing but Python: the scale is one 32-bit float that stands in front of its name or behind it.
"""

import hashlib
import pathlib
import shutil
import struct
import sys


def doubled(graph: bytes, tensor: str) -> bytes:
    """`graph` with the stored float of `tensor` doubled."""
    named = b"\x42" + bytes([len(tensor)]) + tensor.encode()
    place = graph.index(named)
    behind = place + len(named)
    if graph[behind : behind + 2] == b"\x4a\x04":
        at = behind + 2
    elif graph[place - 6 : place - 4] == b"\x22\x04":
        at = place - 4
    else:
        raise SystemExit(f"`{tensor}` holds no single float")
    (value,) = struct.unpack_from("<f", graph, at)
    return graph[:at] + struct.pack("<f", 2 * value) + graph[at + 4 :]


def main() -> None:
    source, copy = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    shutil.copytree(source, copy)
    file = next(copy.glob("*.onnx-int8.onnx"))
    before = file.read_bytes()
    after = doubled(before, sys.argv[3])
    file.write_bytes(after)
    catalogue = copy / "artifacts.json"
    digest = lambda content: hashlib.sha256(content).hexdigest()
    catalogue.write_text(catalogue.read_text().replace(digest(before), digest(after)))


main()

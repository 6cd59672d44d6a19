"""ONNX FP32 -> ONNX FP16: weights and activations in FP16, input and output in FP32."""

import argparse
import os

import common


def main():
    parser = argparse.ArgumentParser()
    for name in ("source", "destination"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()

    from onnxruntime.transformers import float16

    model = common.load_onnx(arguments.source)
    common.only_input(model)
    model = float16.convert_float_to_float16(model, keep_io_types=True)
    # The casts at the border are appended behind the nodes that read them.
    common.sort_nodes(model)
    del model.graph.value_info[:]
    common.save_onnx(model, os.path.join(arguments.destination, "model.onnx"))


common.run(main)

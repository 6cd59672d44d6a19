"""SavedModel -> TFLite, full integer: INT8 weights, activations, input and output; one model a batch size."""

import argparse
import os
import re

import common


def is_static(model):
    """Whether every output has a shape: behind a branch or a loop, the converter knows none."""
    from ai_edge_litert.interpreter import Interpreter

    outputs = Interpreter(model_content=model).get_output_details()
    return all(size > 0 for output in outputs for size in output["shape_signature"])


def convert(loaded, function, arguments, samples, batch, shaped=False):
    """The model for batches of `batch` samples; `shaped` says its output's shape in the graph."""
    import numpy
    import tensorflow

    # LiteRT runs a static shape as it is; resizing a dynamic one at run time is not safe.
    specification = tensorflow.TensorSpec([batch, *samples.shape[1:]], tensorflow.float32, name=arguments.input)

    @tensorflow.function(input_signature=[specification])
    def static(values):
        output = function(**{arguments.input: values})[arguments.output]
        if shaped:
            output = tensorflow.reshape(output, [batch, *output.shape[1:]])
        return {arguments.output: output}

    def representative():
        for start in range(0, len(samples), batch):
            # A short last batch is filled up from the front.
            yield {arguments.input: numpy.take(samples, range(start, start + batch), axis=0, mode="wrap")}

    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([static.get_concrete_function()], loaded)
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tensorflow.int8
    converter.inference_output_type = tensorflow.int8
    try:
        return converter.convert()
    except Exception as error:
        unknown = sorted(set(re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", str(error))))
        if not unknown:
            raise
        raise common.InputError(
            "TFLite has no operator for TensorFlow's " + ", ".join(f"`{name}`" for name in unknown),
            "compute it from other operators in the model, or take `litert` out of `[matrix.runtimes]`",
        ) from error


def main():
    parser = argparse.ArgumentParser()
    for name in ("saved-model", "signature", "input", "output", "batches", "calibration", "fewest", "destination"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    batches = [int(batch) for batch in arguments.batches.split(",")]

    loaded, function = common.load_signature(arguments, [arguments.input], [arguments.output])
    shape = function.structured_input_signature[1][arguments.input].shape.as_list()
    samples = common.load_samples(arguments.calibration, shape, int(arguments.fewest))
    for batch in batches:
        if shape[0] not in (None, batch):
            raise common.InputError(f"the model takes batches of {shape[0]} only, not of {batch}")
        with open(os.path.join(arguments.destination, f"model-batch-{batch}.tflite"), "wb") as file:
            model = convert(loaded, function, arguments, samples, batch)
            if not is_static(model):
                model = convert(loaded, function, arguments, samples, batch, shaped=True)
            file.write(model)


common.run(main)

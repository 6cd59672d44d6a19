"""SavedModel -> TFLite, full integer: INT8 weights, activations, inputs and outputs of floats; one model a batch size."""

import argparse
import json
import os
import re

import common


class Model:
    """What is converted: the signature's function, and the samples of each input, which come first in their arrays."""

    def __init__(self, arguments):
        import numpy

        self.several = bool(arguments.inputs)
        if not self.several:
            self.loaded, self.function = common.load_signature(arguments, [arguments.input], [arguments.output])
            shape = self.function.structured_input_signature[1][arguments.input].shape.as_list()
            samples = common.load_samples(arguments.calibration, shape, int(arguments.fewest))
            self.inputs, self.outputs, self.fixed = {arguments.input: samples}, [arguments.output], shape[0]
            return
        names, self.outputs = json.loads(arguments.inputs), json.loads(arguments.outputs)
        self.loaded, self.function = common.load_signature(arguments, names, self.outputs)
        archive = numpy.load(arguments.calibration, allow_pickle=False)
        self.inputs = {name: archive[str(place)] for place, name in enumerate(names)}
        given = self.function.structured_input_signature[1]
        sizes = {given[name].shape.as_list()[0] for name in names} - {None}
        self.fixed = min(sizes) if sizes else None

    def check_batch(self, batch):
        if self.fixed in (None, batch):
            return
        message = f"the model takes batches of {self.fixed} only, not of {batch}"
        raise common.Unsupported(message, "gate it in that batch") if self.several else common.InputError(message)

    def converted(self, batch, shaped=False):
        """The model for batches of `batch` samples; `shaped` says its outputs' shapes in the graph."""
        import numpy
        import tensorflow

        def specification(name):
            samples = self.inputs[name]
            # LiteRT runs a static shape as it is; resizing a dynamic one at run time is not safe.
            kind = tensorflow.as_dtype(samples.dtype) if self.several else tensorflow.float32
            return tensorflow.TensorSpec([batch, *samples.shape[1:]], kind, name=name)

        @tensorflow.function(input_signature=[specification(name) for name in self.inputs])
        def static(*values):
            answers = self.function(**dict(zip(self.inputs, values)))
            outputs = {name: answers[name] for name in self.outputs}
            if shaped:
                outputs = {
                    name: tensorflow.reshape(output, [batch, *output.shape[1:]]) for name, output in outputs.items()
                }
            return outputs

        def representative():
            for start in range(0, min(map(len, self.inputs.values())), batch):
                # A short last batch is filled up from the front.
                part = range(start, start + batch)
                yield {name: numpy.take(samples, part, axis=0, mode="wrap") for name, samples in self.inputs.items()}

        converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([static.get_concrete_function()], self.loaded)
        converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tensorflow.int8
        converter.inference_output_type = tensorflow.int8
        try:
            return converter.convert()
        except Exception as error:
            self.refuse(error)

    def refuse(self, error):
        """Says what of the model has no integers in TFLite."""
        unknown = sorted(set(re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", str(error))))
        hint = "compute it from other operators in the model, or take `litert` out of `[matrix.runtimes]`"
        if unknown:
            message = "TFLite has no operator for TensorFlow's " + ", ".join(f"`{name}`" for name in unknown)
            raise (common.Unsupported if self.several else common.InputError)(message, hint) from error
        if not self.several:
            raise error
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise common.Unsupported(f"TensorFlow's converter makes no integers of it: {said[-1] if said else error!r}", hint) from error


def is_static(model):
    """Whether every output has a shape: behind a branch or a loop, the converter knows none."""
    from ai_edge_litert.interpreter import Interpreter

    outputs = Interpreter(model_content=model).get_output_details()
    return all(size > 0 for output in outputs for size in output["shape_signature"])


def main():
    parser = argparse.ArgumentParser()
    named = ("saved-model", "signature", "input", "output", "inputs", "outputs", "batches", "calibration", "fewest", "destination")
    for name in named:
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()

    model = Model(arguments)
    for batch in [int(batch) for batch in arguments.batches.split(",")]:
        model.check_batch(batch)
        made = model.converted(batch)
        if not is_static(made):
            made = model.converted(batch, shaped=True)
            if not is_static(made):
                raise common.Unsupported(
                    "an output has no size that is known before the model runs",
                    "take `litert` out of `[matrix.runtimes]`",
                )
        with open(os.path.join(arguments.destination, f"model-batch-{batch}.tflite"), "wb") as file:
            file.write(made)


common.run(main)

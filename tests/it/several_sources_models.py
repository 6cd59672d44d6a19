"""Models of several inputs and outputs as TensorFlow saves them: python several_sources_models.py FOLDER

    ids [N, length] int32, picture [N, 8, 8, 3] float32  →  scores [N, 5] logits, words [N, length] int64, vector [N, 16]
"""

import os
import pathlib
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy
import tensorflow as tf

folder = pathlib.Path(sys.argv[1])
RANDOM = numpy.random.default_rng(5)


def weights(*shape, gain=1.0):
    return tf.Variable((gain * RANDOM.standard_normal(shape) / shape[0] ** 0.5).astype("float32"))


class Several(tf.Module):
    """A table of words and a convolution; what comes of both is classified."""

    def __init__(self):
        super().__init__()
        self.table = weights(50, 16, gain=4.0)
        self.kernel = weights(3, 3, 3, 16)
        self.classes = weights(32, 5, gain=4.0)
        self.next = tf.Variable(RANDOM.permutation(50).astype("int64"))

    def answer(self, ids, picture):
        words = tf.gather(self.next, ids)
        text = tf.reduce_mean(tf.gather(self.table, ids), axis=1)
        seen = tf.nn.relu(tf.nn.conv2d(picture, self.kernel, 2, "SAME"))
        vector = tf.reduce_mean(seen, axis=[1, 2])
        scores = tf.tanh(tf.concat([text, vector], axis=1)) @ self.classes
        return {"scores": scores, "words": words, "vector": vector}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32, name="ids"),
            tf.TensorSpec([None, 8, 8, 3], tf.float32, name="picture"),
        ]
    )
    def serve(self, ids, picture):
        return self.answer(ids, picture)

    @tf.function(
        input_signature=[
            tf.TensorSpec([4, 6], tf.int32, name="ids"),
            tf.TensorSpec([4, 8, 8, 3], tf.float32, name="picture"),
        ]
    )
    def four(self, ids, picture):
        return self.answer(ids, picture)


model = Several()
tf.saved_model.save(model, str(folder / "several"), signatures={"serving_default": model.serve, "four": model.four})

converter = tf.lite.TFLiteConverter.from_concrete_functions([model.four.get_concrete_function()], model)
(folder / "floats.tflite").write_bytes(converter.convert())

# Weights and activations in 8 bits, inputs and outputs as they are.
converter = tf.lite.TFLiteConverter.from_concrete_functions([model.four.get_concrete_function()], model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]


def samples():
    for _ in range(20):
        yield {
            "ids": RANDOM.integers(0, 50, (4, 6)).astype("int32"),
            "picture": RANDOM.random((4, 8, 8, 3)).astype("float32"),
        }


converter.representative_dataset = samples
(folder / "integers.tflite").write_bytes(converter.convert())

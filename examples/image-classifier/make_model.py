"""Trains the classifier of this folder and exports it: python make_model.py

Grey pictures of 16 × 16 with one shape each: a disc, a square, a cross or a ring. Needs Keras with TensorFlow (made by 3.15 and 2.21).
The seed is fixed; another version or processor may still train other weights, so the model is kept beside this file.
"""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy

SIDE = 16
CLASSES = ["disc", "square", "cross", "ring"]


def pictures(count, seed):
    """Pictures [count, 16, 16, 1] in 0 to 1, and which shape each shows."""
    random = numpy.random.default_rng(seed)
    labels = random.integers(0, len(CLASSES), count)
    rows, columns = numpy.mgrid[:SIDE, :SIDE].astype("float32")
    made = numpy.empty((count, SIDE, SIDE, 1), "float32")
    for index, label in enumerate(labels):
        y, x = random.uniform(6, SIDE - 7, 2)
        size = random.uniform(3, 5)
        far, straight = numpy.hypot(rows - y, columns - x), numpy.maximum(abs(rows - y), abs(columns - x))
        near = numpy.minimum(abs(rows - y), abs(columns - x))
        inside = [far < size, straight < size * 0.9, (straight < size) & (near < 1.2), abs(far - size) < 1.2][label]
        shade = random.uniform(0.4, 1.0) * numpy.where(inside, 1.0, 0.0)
        made[index, :, :, 0] = numpy.clip(shade + random.normal(0.1, 0.08, (SIDE, SIDE)), 0, 1)
    return made, labels


keras.utils.set_random_seed(1)
layers = keras.layers
model = keras.Sequential(
    [
        layers.Input((SIDE, SIDE, 1), name="picture"),
        layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
        layers.Flatten(),
        layers.Dense(32, activation="relu"),
        layers.Dense(len(CLASSES), name="scores"),
    ]
)
model.compile(keras.optimizers.Adam(0.003), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(*pictures(4000, 1), batch_size=64, epochs=12, verbose=0)
seen, labels = pictures(1000, 2)
print(f"accuracy on 1000 other pictures: {numpy.mean(numpy.argmax(model.predict(seen, verbose=0), axis=1) == labels):.3f}")
model.export("model", verbose=False)
numpy.savez_compressed("labelled.npz", x=(seen[:200] * 255).round().astype("uint8"), y=labels[:200])

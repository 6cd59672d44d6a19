"""Train the reference CIFAR-10 network and write its weights as one `.npz` file.

    python train.py --train PATH/train.parquet --test PATH/test_batch.bin --weights PATH/cifar10.npz
    python train.py --data PATH/cifar-10-batches-bin --weights PATH/cifar10.npz

Keras 3 on any backend (`KERAS_BACKEND=tensorflow`, `jax` or `torch`). Augmentation is a layer of the
training graph, so it runs on the device. The test images are looked at once, after the last epoch:
they choose nothing.
"""

import argparse
import concurrent.futures
import io
import json
import os
import pathlib
import platform
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from keras import layers, ops

CLASSES = 10
SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE
# Width of each stage. Every stage after the first halves the resolution, so most parameters work at 4x4.
STAGES = (32, 64, 192, 352)
BATCH_NORM_EPSILON = 1e-3


def read_binary(path):
    """The images [N,32,32,3] uint8 and labels [N] of one file in the CIFAR-10 binary layout."""
    raw = np.fromfile(path, dtype=np.uint8)
    if raw.size == 0 or raw.size % RECORD:
        raise SystemExit(f"error: `{path}` holds {raw.size} bytes, not a multiple of {RECORD}")
    records = raw.reshape(-1, RECORD)
    images = records[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].astype(np.int64)


def read_parquet(path):
    """The images and labels of a Parquet file with the columns `img` (encoded image) and `label`."""
    import pyarrow.parquet
    from PIL import Image

    table = pyarrow.parquet.read_table(path, columns=["img", "label"])

    def decode(encoded):
        return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))

    with concurrent.futures.ThreadPoolExecutor() as pool:
        images = list(pool.map(decode, table.column("img").to_pylist(), chunksize=500))
    return np.stack(images), np.asarray(table.column("label").to_pylist(), dtype=np.int64)


def build_network():
    """The network that ships: `input_1` [N,32,32,3] float32 in 0..1 to `logits` [N,10] float32."""

    def conv(x, width, stride, name):
        x = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False,
                          kernel_initializer="he_normal", name=f"{name}_conv")(x)
        return layers.BatchNormalization(momentum=0.97, epsilon=BATCH_NORM_EPSILON, name=f"{name}_norm")(x)

    inputs = x = keras.Input((SIDE, SIDE, 3), name="input_1", dtype="float32")
    for stage, width in enumerate(STAGES, 1):
        x = layers.ReLU()(conv(x, width, 1 if stage == 1 else 2, f"stage{stage}_in"))
        branch = layers.ReLU()(conv(x, width, 1, f"stage{stage}_a"))
        branch = conv(branch, width, 1, f"stage{stage}_b")
        x = layers.ReLU()(layers.Add()([x, branch]))
    x = layers.GlobalAveragePooling2D()(x)
    # The logits stay float32 when the rest trains in a lower precision.
    logits = layers.Dense(CLASSES, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="cifar10")


class Augment(layers.Layer):
    """uint8 images to float32 in 0..1: random flip, shift, saturation, brightness, noise and cutout.

    JPEG halves the resolution of colour and drops its fine detail, so a network trained on JPEG images alone
    trips over the colour of exact pixels. Colour noise at half the resolution puts that energy back.
    """

    def __init__(self, seed, shift=4, cutout=8):
        super().__init__(dtype="float32", name="augment")
        self.shift, self.cutout = shift, cutout
        self.seeds = keras.random.SeedGenerator(seed)

    def uniform(self, count, low, high):
        return keras.random.uniform((count, 1), low, high, seed=self.seeds)

    def source(self, count):
        """For each image and each output row (or column), the row it is taken from, mirrored at the edges."""
        shift = ops.floor(self.uniform(count, -self.shift, self.shift + 1))
        index = ops.abs(ops.arange(SIDE, dtype="float32") + shift)
        return (SIDE - 1) - ops.abs((SIDE - 1) - index)

    def inside(self, count):
        """1 where a row (or column) lies in the cut-out square."""
        start = ops.floor(self.uniform(count, 1 - self.cutout, SIDE))
        distance = ops.arange(SIDE, dtype="float32") - start
        return ops.cast(ops.logical_and(distance >= 0, distance < self.cutout), "float32")

    def noise(self, count, side, most):
        """Normal noise, of a standard deviation drawn for each image from 0 to `most`."""
        normal = keras.random.normal((count, side, side, 3), seed=self.seeds)
        return normal * self.uniform(count, 0, most)[:, :, None, None]

    def call(self, images):
        count = ops.shape(images)[0]
        x = ops.cast(images, "float32") / 255.0
        # Selecting rows and columns is a product with one-hot matrices, which every backend does fast.
        rows, columns = self.source(count), self.source(count)
        columns = ops.where(self.uniform(count, 0, 1) < 0.5, columns, (SIDE - 1) - columns)
        x = ops.einsum("nij,njwc->niwc", ops.one_hot(ops.cast(rows, "int32"), SIDE), x)
        x = ops.einsum("nkw,niwc->nikc", ops.one_hot(ops.cast(columns, "int32"), SIDE), x)
        grey = ops.mean(x, axis=-1, keepdims=True)
        saturation = self.uniform(count, 0.7, 1.6)[:, :, None, None]
        brightness = self.uniform(count, -0.1, 0.1)[:, :, None, None]
        x = ops.clip(grey + (x - grey) * saturation + brightness, 0.0, 1.0)
        colour = self.noise(count, SIDE // 2, 0.06)
        colour = colour - ops.mean(colour, axis=-1, keepdims=True)
        colour = ops.repeat(ops.repeat(colour, 2, axis=1), 2, axis=2)
        x = ops.clip(x + colour + self.noise(count, SIDE, 0.015), 0.0, 1.0)
        hole = self.inside(count)[:, :, None, None] * self.inside(count)[:, None, :, None]
        return x * (1.0 - hole) + 0.5 * hole

    def compute_output_shape(self, shape):
        return shape


class Clock(keras.callbacks.Callback):
    """Prints one line an epoch and keeps the seconds of each."""

    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.monotonic() - self.started)
        print(f"epoch {epoch + 1}: loss {logs['loss']:.4f}, train accuracy {logs['accuracy']:.4f}, "
              f"{self.seconds[-1]:.2f} s", flush=True)


def train(network, images, labels, arguments):
    """Fit `network` in place; returns the seconds of each epoch."""
    raw = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    trainer = keras.Model(raw, network(Augment(arguments.seed)(raw)))
    steps = -(-len(images) // arguments.batch) * arguments.epochs
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - steps // 10, warmup_target=arguments.rate, warmup_steps=steps // 10)
    # Keras scales the decay by the rate but not by the momentum: 5e-3 here is the usual L2 of 5e-4.
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=5e-3)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    trainer.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
                    metrics=["accuracy"])
    targets = np.eye(CLASSES, dtype=np.float32)[labels]
    clock = Clock()
    trainer.fit(images, targets, batch_size=arguments.batch, epochs=arguments.epochs,
                shuffle=True, verbose=0, callbacks=[clock])
    return clock.seconds


def accuracy(network, images, labels):
    """How many of the images `network` names right."""
    logits = network.predict(images.astype(np.float32) / 255.0, batch_size=256, verbose=0)
    return int((logits.argmax(axis=1) == labels).sum())


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--train", type=pathlib.Path, help="Parquet file with the columns `img` and `label`")
    source.add_argument("--data", type=pathlib.Path, help="folder with the binary batches data_batch_1..5.bin")
    parser.add_argument("--test", type=pathlib.Path, help="test images, binary layout [DIR/test_batch.bin]")
    parser.add_argument("--weights", type=pathlib.Path, required=True, help="where the weights go (.npz)")
    parser.add_argument("--summary", type=pathlib.Path, help="where a JSON summary of the run goes")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--rate", type=float, default=0.4, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--limit", type=int, help="train on the first LIMIT images only")
    parser.add_argument("--mixed", action="store_true", help="train in bfloat16 with float32 weights")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if arguments.train:
        images, labels = read_parquet(arguments.train)
    else:
        batches = [read_binary(arguments.data / f"data_batch_{i}.bin") for i in range(1, 6)]
        images, labels = (np.concatenate(parts) for parts in zip(*batches))
    images, labels = images[:arguments.limit], labels[:arguments.limit]
    test = arguments.test or (arguments.data and arguments.data / "test_batch.bin")
    print(f"{len(images)} training images, Keras {keras.__version__} on {keras.backend.backend()}", flush=True)

    keras.utils.set_random_seed(arguments.seed)
    keras.config.set_dtype_policy("mixed_bfloat16" if arguments.mixed else "float32")
    trained = build_network()
    seconds = train(trained, images, labels, arguments)

    # The same weights in a float32 network: what ships, and what is judged.
    keras.config.set_dtype_policy("float32")
    network = build_network()
    network.set_weights(trained.get_weights())
    weights = {variable.path: np.asarray(value, dtype=np.float32)
               for variable, value in zip(network.weights, network.get_weights())}
    np.savez(arguments.weights, **weights)

    summary = {
        "backend": keras.backend.backend(), "keras": keras.__version__, "numpy": np.__version__,
        "python": platform.python_version(), "parameters": network.count_params(),
        "epochs": arguments.epochs, "batch": arguments.batch, "rate": arguments.rate, "seed": arguments.seed,
        "mixed": arguments.mixed, "training_images": len(images), "seconds": round(sum(seconds), 1),
        "median_epoch_seconds": round(float(np.median(seconds)), 3),
    }
    if test:
        test_images, test_labels = read_binary(test)
        summary["test_images"] = len(test_labels)
        summary["test_correct"] = accuracy(network, test_images, test_labels)
        summary["test_accuracy"] = round(summary["test_correct"] / len(test_labels), 5)
    print(json.dumps(summary, indent=2))
    if arguments.summary:
        arguments.summary.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()

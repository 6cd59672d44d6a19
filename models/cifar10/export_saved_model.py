"""Write the trained weights as a TensorFlow SavedModel, each weight once.

    python export_saved_model.py --weights PATH/cifar10.npz --out saved_model

One plain `tf.Module` holds the variables and one `tf.function` is the signature `serving_default`:
`input_1` [N,32,32,3] float32 in 0..1 to `logits` [N,10] float32. Batch normalization is in inference mode.
The forward pass is written in TensorFlow's own operations, so the graph holds fused batch normalizations
that converters fold; it is compared with the Keras network before the folder is accepted.
"""

import argparse
import hashlib
import os
import pathlib
import shutil

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

import train


class Classifier(tf.Module):
    """The network of `train.build_network`, for inference."""

    def __init__(self, weights):
        super().__init__(name="cifar10")
        self.weights = {name: tf.Variable(value, trainable=False, name=name) for name, value in weights.items()}

    def conv(self, x, stride, name):
        x = tf.nn.conv2d(x, self.weights[f"{name}_conv/kernel"], strides=stride, padding="SAME", name=f"{name}_conv")
        gamma, beta, mean, variance = (
            self.weights[f"{name}_norm/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance"))
        return tf.compat.v1.nn.fused_batch_norm(
            x, gamma, beta, mean, variance, epsilon=train.BATCH_NORM_EPSILON, is_training=False,
            name=f"{name}_norm")[0]

    @tf.function(input_signature=[tf.TensorSpec([None, train.SIDE, train.SIDE, 3], tf.float32, name="input_1")])
    def serve(self, input_1):
        x = input_1
        for stage in range(1, len(train.STAGES) + 1):
            x = tf.nn.relu(self.conv(x, 1 if stage == 1 else 2, f"stage{stage}_in"), name=f"stage{stage}_in_relu")
            branch = tf.nn.relu(self.conv(x, 1, f"stage{stage}_a"), name=f"stage{stage}_a_relu")
            branch = self.conv(branch, 1, f"stage{stage}_b")
            x = tf.nn.relu(tf.add(x, branch, name=f"stage{stage}_add"), name=f"stage{stage}_out")
        x = tf.reduce_mean(x, axis=[1, 2], name="pool")
        x = tf.matmul(x, self.weights["logits/kernel"], name="dense")
        return {"logits": tf.nn.bias_add(x, self.weights["logits/bias"], name="logits")}


def digest(folder):
    """SHA-256 of a SavedModel: over `path NUL hex-sha256 newline` of each file, in the order of the paths."""
    total = hashlib.sha256()
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(paths):
        total.update(f"{name}\0{hashlib.sha256(paths[name].read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=pathlib.Path, help="the `.npz` that train.py wrote")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the SavedModel's folder; replaced")
    parser.add_argument("--test", type=pathlib.Path, help="also count the right answers on this binary batch")
    parser.add_argument("--digest", action="store_true", help="only print the digest of the folder `--out`")
    arguments = parser.parse_args()
    if arguments.digest:
        print(digest(arguments.out))
        return
    if not arguments.weights:
        parser.error("`--weights` is needed to export")

    with np.load(arguments.weights) as archive:
        weights = dict(archive)
    network = train.build_network()
    network.set_weights([weights[variable.path] for variable in network.weights])
    module = Classifier(weights)

    samples = np.random.default_rng(0).random((64, train.SIDE, train.SIDE, 3), dtype=np.float32)
    expected = network(samples, training=False).numpy()
    difference = float(np.abs(module.serve(samples)["logits"].numpy() - expected).max())
    if not difference < 1e-4:
        raise SystemExit(f"error: the exported graph differs from the Keras network by {difference:g}")

    shutil.rmtree(arguments.out, ignore_errors=True)
    tf.saved_model.save(module, str(arguments.out), signatures={"serving_default": module.serve},
                        options=tf.saved_model.SaveOptions(save_debug_info=False))
    # The fingerprint is optional and holds a random identifier; without it the same weights give the same bytes.
    (arguments.out / "fingerprint.pb").unlink()
    (arguments.out / "assets").rmdir()
    print(f"{network.count_params()} parameters; differs from Keras by at most {difference:.2g}")
    print(f"sha256 {digest(arguments.out)}")
    if arguments.test:
        images, labels = train.read_binary(arguments.test)
        serve = tf.saved_model.load(str(arguments.out)).signatures["serving_default"]
        logits = serve(input_1=tf.constant(images.astype(np.float32) / 255.0))["logits"].numpy()
        correct = int((logits.argmax(axis=1) == labels).sum())
        print(f"{correct} of {len(labels)} right, {correct / len(labels):.2%}")


if __name__ == "__main__":
    main()

"""Labelled samples of the model of `tasks_models.py`, by its own answers: python labelled_samples.py FOLDER

Of 64 samples a quarter has another class, another first token, one object more, and half a map that is another class.
"""

import pathlib
import sys

import numpy
import onnxruntime

folder = pathlib.Path(sys.argv[1])
random = numpy.random.default_rng(21)
samples = 64
fed = {
    "x": random.standard_normal((samples, 16)).astype("float32"),
    "rows": random.integers(2, 9, (samples, 1)),
    "ids": random.integers(0, 50, (samples, 12)),
}
session = onnxruntime.InferenceSession(folder / "tasks.onnx", providers=["CPUExecutionProvider"])
answers = dict(zip([output.name for output in session.get_outputs()], session.run(None, fed)))
wrong = numpy.arange(samples) % 4 == 0

classes = answers["class"].argmax(1)
classes[wrong] = (classes[wrong] + 1) % 6
places = answers["mask"].argmax(1)
places[wrong, :4] = -1
words = answers["words"].copy()
words[wrong, 0] = (words[wrong, 0] + 1) % 50
steps = answers["steps"].argmax(2)
objects = numpy.full((samples, 9, 5), -1, "float32")
for sample, (boxes, count) in enumerate(zip(answers["boxes"], answers["count"][:, 0])):
    for row in range(count):
        objects[sample, row] = [*boxes[row, :4], boxes[row, 5]]
    if wrong[sample]:
        objects[sample, count] = [600, 600, 639, 639, 0]

numpy.savez(
    folder / "labelled.npz",
    **fed,
    **{
        "class.labels": classes,
        "mask.labels": places,
        "words.labels": words,
        "steps.labels": steps,
        "boxes.labels": objects,
    },
)

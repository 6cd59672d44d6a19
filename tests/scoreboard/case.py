"""What a case of the scoreboard is, and the register of its kinds."""

from dataclasses import dataclass, field

import numpy as np

from graph import Graph
from heads import Head, attach

KINDS = {}
SOUND, BROKEN, INVALID = "sound", "broken", "invalid"


@dataclass(frozen=True)
class Input:
    """The input as the manifest describes it; bytes 0 and 255 stand for the ends of `range`, then mean and std."""

    shape: tuple = (3, 16, 16)
    layout: str = "nchw"
    range: tuple = (0.0, 1.0)
    mean: tuple = ()
    std: tuple = ()


PICTURE = Input()


@dataclass
class Case:
    """One model and what is planted in it.

    planted: what each precision is meant to be, `sound` or `broken`, or None where only the measured figures say; `invalid`
    for a reference that no verdict can be based on. causes: a word that a true message holds, by precision or for `all`.
    edits: lines for the manifest, by section. files: arrays written beside the model. fresh: samples that the truth is measured
    on, where they are not pictures that the program's generator draws. batches: batch sizes that are gated.
    fixed: the one batch that the model takes. size: the height and width that `init` is told. swaps: other models, by precision, whose artifact is put in the place of this
    model's. tamper: changes of an artifact behind the export, by precision, `function(artifact, model) -> artifact`.
    bless: a golden is stored before the artifacts are replaced. unlike: the fault is not one of outputs (a precision that is
    not what it says), so that it is broken whatever the figures say.
    """

    proto: object
    output: str = "logits"
    input: Input = PICTURE
    planted: dict = field(default_factory=dict)
    causes: dict = field(default_factory=dict)
    edits: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)
    fresh: object = None
    batches: tuple = (1, 8)
    fixed: int = 0
    size: object = None
    swaps: dict = field(default_factory=dict)
    tamper: dict = field(default_factory=dict)
    bless: bool = False
    unlike: bool = False


class Kit:
    """What a kind is made with: its seed, natural samples, and shortcuts."""

    def __init__(self, kind, seed, samples):
        # Kinds of one seed differ, and so do seeds of one kind.
        self.seed, self.number = seed, seed * 7919 + sum(ord(letter) * 31**place for place, letter in enumerate(kind)) % 65521
        self.random = np.random.RandomState(self.number)
        self.provider = samples

    def samples(self, given=PICTURE):
        """Samples that heads are fitted on."""
        return self.provider(given)

    def graph(self, given=PICTURE, **options):
        return Graph(given.shape, self.number, **options)

    def pick(self, *values):
        return values[self.random.randint(len(values))]

    def classifier(self, trunk, head=None, given=PICTURE, **options):
        """A graph with a trunk and a head; returns the graph and the name of its logits."""
        graph = self.graph(given, **options)
        head = head or Head()
        features = trunk(graph, graph.input)
        return graph, attach(graph, features, head, self.samples(given))


def kind(name, **planted):
    """Registers a function `kit -> Case`; `fp16="broken"` and the like say what is planted."""

    def register(function):
        def make(seed, samples):
            case = function(Kit(name, seed, samples))
            case.planted = {**planted, **case.planted}
            return case

        assert name not in KINDS, name
        make.group = function.__module__.removeprefix("kinds_")
        KINDS[name] = make
        return function

    return register


def softmax(graph, logits):
    return graph.op("Softmax", logits, axis=1)

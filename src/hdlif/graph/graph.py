"""Graph of a deployed network: nodes in topological order, input, task, and the type of every value.

A node has one output with the node's name; the network's input is the value `INPUT`. All values are per time
step and without batch: [C, H, W] or [C].
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLIPS = ("first", "centre", "windows")
"""Choice of clips from a longer sound."""


@dataclass(frozen=True)
class SoundRecord:
    """Clip of `samples` at `rate` Hz as `frames` steps of `mels` log-mel energies, computed by `hdlif.inputs.sounds`.

    Attributes:
        clips: choice of clips from a longer sound.
        every: samples from one clip to the next, if `clips` is "windows".
        frame, hop: samples of a frame, and from one to the next.
        lowest_hz, highest_hz: of the filter bank.
    """

    rate: int
    samples: int
    clips: str
    every: int
    mels: int
    frame: int
    hop: int
    lowest_hz: float
    highest_hz: float

    @property
    def frames(self) -> int:
        """Whole hops of a clip."""
        return self.samples // self.hop


INPUT = "input"
MAX_CODE = 255
"""Largest integer code a value may carry; larger values are floats."""
MAX_ELEMENTS = 2**30
"""Most entries that a value or a weight may have, so that an offset into it fits an int32."""
MAX_NODES = 2**17
"""Most nodes of a graph; a ResNet-34 has 150."""
INPUT_KINDS = {"image": 255, "events": 1, "series": 1, "table": 1}
"""Kinds of input, and the raw value that becomes 1 before mean and std."""
RESIZE_MODES = ("none", "nearest", "bilinear", "bicubic", "pool")
"""Resizing of inputs to the network's size: none, by a filter, or, for events, by adding counts."""
FIT_MODES = ("squash", "crop", "letterbox")
"""Fit of images with other proportions: squash all of it, crop the middle, or keep the proportions and pad with zeros
at the right or bottom."""
BINNING_MODES = ("none", "by_number", "by_time")
"""Binning of event recordings into a frame per step; "none" if the file does not state it."""
FRAMINGS = ("constant", "rows", "pixels")
"""Part of a sample at each step: all of it; one row, from the top (for a series, one sample in time); or one pixel of
a square image, row by row."""
Array = NDArray[Any]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class InputRecord:
    """Input of the network at each step: [C, H, W] = `shape`, as (x / whole - mean) / std.

    `whole` is the raw value of a kind of input that counts as 1 (`INPUT_KINDS`): 255 for an image's pixels; event
    counts and series are not scaled. Images of another size are adapted by `resize` and `fit`, and presented by
    `frames`. A series of C channels and T steps is [C, T, 1] in total, and shown by "rows": [C, 1, 1] at each step.
    Events of a `sensor` of height and width are counted in a frame [2, H, W] per step by `binning`, and resized by
    `resize`; without a sensor, the conversion of recordings to frames is unspecified.
    A row of a table of C features is [C, 1, 1], the same at every step.

    >>> from hdlif.graph.artefact import InputRecord
    >>> picture = InputRecord((3, 32, 32), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    >>> readings = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", frames="rows")

    Attributes:
        columns: names of the channels of a series, or of the features of a table, if any.
        rates: for a resampled series, its original rate and the network's rate.
        windows: for a series cut out of a longer one, its rows before resampling, and the rows from one beginning to
            the next.
        sound: for a series computed from audio, the parameters.
        shortest: for series of unequal lengths, the fewest steps, while `time_steps` are the most: a series is then
            classified after its own steps. 0 for series that all have `time_steps`.
        shape: of a step's frame, [C, H, W].
        mean, std: of each channel.
        kind, resize, fit, frames, binning, sensor: as above.
    """

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    kind: str = "image"
    resize: str = "bilinear"
    fit: str = "squash"
    frames: str = "constant"
    binning: str = "none"
    sensor: tuple[int, int] | None = None
    columns: tuple[str, ...] = ()
    rates: tuple[int, ...] = ()
    windows: tuple[int, ...] = ()
    sound: SoundRecord | None = None
    shortest: int = 0

    def sample_shape(self, time_steps: int) -> tuple[int, int, int]:
        """Return [C, H, W] of a complete sample, shown in `time_steps` steps."""
        channels, height, width = self.shape
        if self.frames == "pixels":
            side = math.isqrt(time_steps)
            return channels, side, side
        return channels, time_steps if self.frames == "rows" else height, width


TASKS = ("classify", "sequence", "regress", "multilabel", "segment", "instances", "detect")
"""The meaning of the outputs: a class per sample; a class per step; values; any number of labels; a class, or an
object, per pixel; boxes."""
MAP_TASKS = ("segment", "instances")
"""Tasks whose output is a map [labels, H, W]; that of the others is a vector."""
PLACED_TASKS = (*MAP_TASKS, "detect")
"""Tasks with predictions at places of an image."""
MOST_PIXEL_CLASSES = 255
"""Labels of a class per pixel: 255 in an image of class numbers marks pixels without a class."""
COMBINATIONS = ("mean", "last", "each")
"""Which outputs the answer is read off: the mean of all steps' so far, the last step's, or each step's for itself."""


@dataclass(frozen=True)
class TaskRecord:
    """Meaning of a network's outputs; `Graph.labels` names them or, for "detect", the classes of boxes.

    >>> from hdlif.graph.artefact import TaskRecord
    >>> degrees = TaskRecord("regress", "last", mean=(20.0,), std=(5.0,))

    Attributes:
        kind: one of `TASKS`.
        combine: one of `COMBINATIONS`.
        delay: for predictions at each step, the number of steps until the prediction is read.
        mean, std: for "regress", of each value: an output is (value - mean) / std.
        ahead: for values at each step, how many steps later they occur in the series; 0 unless it predicts itself.
        threshold: for "multilabel", the smallest probability of a predicted label; for "detect", that of a box.
        strides: for "detect", the pixels between the places of each level, see `hdlif.graph.detection`.
        overlap: of "detect", the intersection over union of two boxes of a class from which the lower one is dropped.
    """

    kind: str = "classify"
    combine: str = "mean"
    delay: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    ahead: int = 0
    threshold: float = 0.5
    strides: tuple[int, ...] = ()
    overlap: float = 1.0


@dataclass(frozen=True)
class Node:
    """One operation of a graph.

    >>> import numpy as np
    >>> from hdlif.graph.artefact import Node
    >>> weight = np.eye(2, dtype=np.float32)
    >>> layer = Node("linear", "logits", ("flat",), {"encoding": "float32", "role": "classifier"}, {"weight": weight})

    Attributes:
        op: one of `hdlif.graph.ops.OPS`, such as "conv2d" or "program".
        name: of the output value.
        inputs: names of the input values; "input" is the network's.
        attributes: of the op, JSON-serialisable.
        tensors: by role, such as "weight". Low-bit weights are held as int8; the attribute `encoding` names their
            packing.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Learned:
    """How a network came out of another one.

    Attributes:
        source: digest of the model file that learned.
        level: what was trained, `hdlif.graph.learning.Level`.
        updates: how many there were.
    """

    source: str
    level: str
    updates: int


@dataclass(frozen=True)
class Graph:
    """A deployed network of `time_steps` steps.

    >>> import numpy as np
    >>> from hdlif.graph.artefact import Graph, InputRecord, Node, infer_values
    >>> weight = np.eye(2, dtype=np.float32)
    >>> layer = Node("linear", "logits", ("flat",), {"encoding": "float32", "role": "classifier"}, {"weight": weight})
    >>> record = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", frames="rows")
    >>> graph = Graph((Node("flatten", "flat", ("input",)), layer), "logits", 3, record, ("still", "moving"))
    >>> infer_values(graph)["logits"].shape
    (2,)

    Attributes:
        nodes: in topological order.
        output: the node with the outputs of a step (for classes, their logits): [n], or a map [n, H, W] for a task in
            `MAP_TASKS`.
        time_steps: T.
        input: input at each step.
        labels: the names of the n outputs.
        task: meaning of the outputs.
        confidence: for a classification, threshold in 0..1 for early exit before the last step; None for all steps.
            `hdlif.runtime.early` defines it.
        learned: how it came out of another one, if it has learned where it ran.
    """

    nodes: tuple[Node, ...]
    output: str
    time_steps: int
    input: InputRecord
    labels: tuple[str, ...]
    task: TaskRecord = TaskRecord()
    confidence: float | None = None
    learned: Learned | None = None


@dataclass(frozen=True)
class Value:
    """Type of a value: its shape without time and batch, and the domain of its entries.

    Attributes:
        shape: [C, H, W], or [C] of a vector.
        max_code: None for real values; otherwise entries are integers in 0..max_code ("codes").
        constant: whether the value is the same at every step when the input is.
    """

    shape: tuple[int, ...]
    max_code: int | None = None
    constant: bool = True


def settled(
    found: Mapping[str, bool], nodes: Iterable[Node], of: Callable[[Node, Mapping[str, bool]], bool]
) -> dict[str, bool]:
    """Return a property of each value: the fixed point of of(node, found) over the nodes.

    One pass is not enough if a delay closes a loop. `of` must be monotone.
    """
    now, order = dict(found), list(nodes)
    while True:
        before = dict(now)
        for node in order:
            now[node.name] = of(node, now)
        if now == before:
            return now


def row_of_step(node: Node, key: str, t: int, ndim: int) -> Floats:
    """Return the row of step t (the last one beyond the end), broadcastable to a value of `ndim` axes."""
    rows = node.tensors[key]
    row: Floats = rows[min(t, len(rows) - 1)]
    return row.reshape(-1, *(1,) * (ndim - 2))

"""The graph of a deployed network: nodes in topological order, what it takes, and the type of every value.

A node has one output, which bears the node's name; the network's input is the value `INPUT`. All values are per time
step and without batch: [C, H, W] or [C].
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLIPS = ("first", "centre", "windows")
"""What is taken of a sound that is longer than a clip."""


@dataclass(frozen=True)
class SoundRecord:
    """A clip of `samples` at `rate` Hz, as `frames` steps of `mels` log-mel energies; `hdlif.inputs.sounds` makes them.

    Attributes:
        clips: what is taken of a longer sound.
        every: samples from one clip to the next, where `clips` is "windows".
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
"""Largest integer code a value may carry; a value that could exceed it is a float value."""
MAX_ELEMENTS = 2**30
"""Most entries that a value or a weight may have, so that an offset into it fits an int32."""
MAX_NODES = 2**17
"""Most nodes of a graph; a ResNet-34 has 150."""
INPUT_KINDS = {"image": 255, "events": 1, "series": 1, "table": 1}
"""Kinds of input, and the raw value that is 1 to the network before mean and std."""
RESIZE_MODES = ("none", "nearest", "bilinear", "bicubic", "pool")
"""How an input of another size gets the network's: as it is, by a filter, or, of events, by adding up their counts."""
FIT_MODES = ("squash", "crop", "letterbox")
"""How an image of other proportions gets the network's: all of it is squashed, its middle is cut out, or all of it
keeps its proportions, at the top left over zeros."""
BINNING_MODES = ("none", "by_number", "by_time")
"""How a recording of events is cut into a frame for each step; "none" where the file does not say."""
FRAMINGS = ("constant", "rows", "pixels")
"""What of a sample each step is shown: all of it; one row, from the top (of a series, one sample in time); or one pixel
of a square image, row by row."""
Array = NDArray[Any]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class InputRecord:
    """What the network takes at each step: [C, H, W] = `shape`, as (x / whole - mean) / std.

    `whole` is what a kind of input counts as 1 (`INPUT_KINDS`): an image's pixels go to 255; events are counted, and a
    series is taken as it is. An image of another size is made to fit by `resize` and `fit`, and shown to the network by
    `frames`. A series of C channels and T steps is [C, T, 1] as a whole, and shown by "rows": [C, 1, 1] at each step.
    Events of a `sensor` of height and width are counted in a frame [2, H, W] for each step by `binning`, and those of
    another size by `resize`; without a sensor nothing is said of how recordings become frames.
    A row of a table of C features is [C, 1, 1], the same at every step.

    >>> from hdlif.graph.artefact import InputRecord
    >>> picture = InputRecord((3, 32, 32), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    >>> readings = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", frames="rows")

    Attributes:
        columns: the names of the channels of a series, or of the features of a table, where they have some.
        rates: of a series that is resampled, the rate that it comes with and the one that the network takes.
        windows: of a series that is cut out of a longer one, its rows, before they are resampled, and those from the
            beginning of one to that of the next.
        sound: of a series that is made of sounds, how.
        shortest: of series of unequal lengths, the fewest steps, where `time_steps` are the most: a series is then
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
        """[C, H, W] of a whole sample that the network is shown in `time_steps` steps."""
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
"""Tasks whose answers are at places of an image."""
MOST_PIXEL_CLASSES = 255
"""Labels of a class per pixel: 255 in an image of class numbers stands for pixels without a class."""
COMBINATIONS = ("mean", "last", "each")
"""Which outputs the answer is read off: the mean of all steps' so far, the last step's, or each step's for itself."""


@dataclass(frozen=True)
class TaskRecord:
    """What the outputs of a network mean; `Graph.labels` names them, or, of "detect", the classes of boxes.

    >>> from hdlif.graph.artefact import TaskRecord
    >>> degrees = TaskRecord("regress", "last", mean=(20.0,), std=(5.0,))

    Attributes:
        kind: out of `TASKS`.
        combine: out of `COMBINATIONS`.
        delay: of answers at each step, how many steps later the answer to a step is read.
        mean, std: of "regress", of each value: an output is (value - mean) / std.
        ahead: of values at each step, how many steps later the series has them; 0 of others than its own next ones.
        threshold: of "multilabel", the probability from which a label is given; of "detect", that of a box.
        strides: of "detect", the pixels between the places of each level, see `hdlif.graph.detection`.
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
        op: out of `hdlif.graph.ops.OPS`, such as "conv2d" or "program".
        name: of the value that it gives.
        inputs: names of the values that it reads; "input" is the network's.
        attributes: of the op, as JSON has them.
        tensors: by role, such as "weight". Low-bit weights are held as int8; the attribute `encoding` names their
            packing.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Array] = field(default_factory=dict)


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
        nodes: in an order in which each reads what stands before it.
        output: the node that gives the outputs of a step, of classes their logits: [n], or a map [n, H, W] of a task in
            `MAP_TASKS`.
        time_steps: T.
        input: what the network takes at each step.
        labels: the names of the n outputs.
        task: what the outputs mean.
        confidence: of a classification, in 0..1, from which a sample is classified before its last step; None for
            all steps. `hdlif.runtime.early` states when it is reached.
    """

    nodes: tuple[Node, ...]
    output: str
    time_steps: int
    input: InputRecord
    labels: tuple[str, ...]
    task: TaskRecord = TaskRecord()
    confidence: float | None = None


@dataclass(frozen=True)
class Value:
    """The type of a value: its shape without time and batch, and the domain of its entries.

    Attributes:
        shape: [C, H, W], or [C] of a vector.
        max_code: None of real values; otherwise entries are integers in 0..max_code ("codes").
        constant: whether the value is the same at every step when the input is.
    """

    shape: tuple[int, ...]
    max_code: int | None = None
    constant: bool = True


def settled(
    found: Mapping[str, bool], nodes: Iterable[Node], of: Callable[[Node, Mapping[str, bool]], bool]
) -> dict[str, bool]:
    """What holds of each value, with of(node, found) put in for the nodes over and over until nothing changes.

    Once is not enough where a delay leads a graph back. `of` may turn values one way alone.
    """
    now, order = dict(found), list(nodes)
    while True:
        before = dict(now)
        for node in order:
            now[node.name] = of(node, now)
        if now == before:
            return now


def row_of_step(node: Node, key: str, t: int, ndim: int) -> Floats:
    """The row of step t, the last one beyond the end, with axes to meet a value of `ndim` axes."""
    rows = node.tensors[key]
    row: Floats = rows[min(t, len(rows) - 1)]
    return row.reshape(-1, *(1,) * (ndim - 2))

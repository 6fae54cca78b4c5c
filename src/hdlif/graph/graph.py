"""Graphs of deployed networks: nodes in topological order, the input, the task, and the type of every value.

Each node has one output with the node's name, and the network's input is the value `INPUT`. The shape of a value is [C,
H, W] or [C], without the time and batch dimensions.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLIPS = ("first", "centre", "windows")
"""Ways to choose clips from longer audio."""


@dataclass(frozen=True)
class SoundRecord:
    """An audio clip of `samples` samples at `rate` Hz, converted to `frames` steps of `mels` log-mel energies (see
    `hdlif.inputs.sounds`).

    Attributes:
        clips: the choice of clips from longer audio.
        every: samples from the start of one clip to the next, if `clips` is "windows".
        frame, hop: samples per frame, and from the start of one frame to the next.
        lowest_hz, highest_hz: the range of the filter bank.
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
        """Return the number of complete hops in a clip."""
        return self.samples // self.hop


INPUT = "input"
MAX_CODE = 255
"""Largest integer code of a value; values with larger codes are floats."""
MAX_ELEMENTS = 2**30
"""Largest number of entries of a value or a weight, so an offset into it fits in an int32."""
MAX_NODES = 2**17
"""Largest number of nodes of a graph; a ResNet-34 has 150."""
INPUT_KINDS = {"image": 255, "events": 1, "series": 1, "table": 1}
"""Kinds of input, with the raw value that is scaled to 1 before mean and std are applied."""
RESIZE_MODES = ("none", "nearest", "bilinear", "bicubic", "pool")
"""Ways to resize inputs to the network's size: none, with a filter, or, for events, by adding counts."""
FIT_MODES = ("squash", "crop", "letterbox")
"""Ways to fit images with other proportions: squash the entire image, crop its middle, or keep the proportions and pad
with zeros at the right or bottom."""
BINNING_MODES = ("none", "by_number", "by_time")
"""Ways to bin event recordings into one frame per step; "none" if the file does not state the way."""
FRAMINGS = ("constant", "rows", "pixels")
"""Parts of a sample that a step gets: the entire sample; one row, from the top (for a time series, one sample in time);
or one pixel of a square image, row by row."""
Array = NDArray[Any]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class InputRecord:
    """The network's input [C, H, W] at each step, computed as (x / whole - mean) / std.

    For pixels, `whole` is 255, so pixel values are scaled to [0, 1] (see `INPUT_KINDS`). Other kinds of input are not
    scaled. `resize` and `fit` adapt images of other sizes, and `frames` selects the part of a sample that each step
    receives. A time series of C channels and T steps has the shape [C, T, 1]. If `frames` is "rows", each step receives
    a frame [C, 1, 1]. For events from a `sensor` (height and width), `binning` selects how events are counted into one
    frame [2, H, W] per step. `resize` adapts the frames of events to `shape`. If no `sensor` is given, the conversion
    of events to frames is unspecified. A table row of C features is a constant input [C, 1, 1].

    >>> from hdlif.graph.artefact import InputRecord
    >>> picture = InputRecord((3, 32, 32), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    >>> readings = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", frames="rows")

    Attributes:
        columns: names of the channels of a time series, or of the features of a table, if any.
        rates: for a resampled time series, its original rate and the network's rate.
        windows: for windows of a longer time series, the rows per window before resampling, and the rows from the start
            of one window to the next.
        sound: for a time series computed from audio, the parameters.
        shortest: for time series of unequal lengths, the fewest steps, while `time_steps` is the most. Each is
            classified after its own last step. 0 if all have `time_steps` steps.
        shape: the shape of a step's frame, [C, H, W].
        mean, std: mean and standard deviation of each channel.
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
        """Return the shape [C, H, W] of a complete sample with `time_steps` steps."""
        channels, height, width = self.shape
        if self.frames == "pixels":
            side = math.isqrt(time_steps)
            return channels, side, side
        return channels, time_steps if self.frames == "rows" else height, width


TASKS = ("classify", "sequence", "regress", "multilabel", "segment", "instances", "detect")
"""Meanings of the outputs: a class per sample; a class per step; values; any number of labels; a class per pixel; an
object per pixel; boxes."""
MAP_TASKS = ("segment", "instances")
"""Tasks whose output is a map [labels, H, W]; the output of other tasks is a vector."""
PLACED_TASKS = (*MAP_TASKS, "detect")
"""Tasks that predict at places of an image."""
MOST_PIXEL_CLASSES = 255
"""Largest number of classes per pixel. In an image of class numbers, 255 marks pixels without a class."""
COMBINATIONS = ("mean", "last", "each")
"""Outputs that yield a prediction: the mean over all steps so far, the last step's outputs, or each step's own."""


@dataclass(frozen=True)
class TaskRecord:
    """The meaning of a network's outputs. `Graph.labels` contains output names or, for "detect", box classes.

    >>> from hdlif.graph.artefact import TaskRecord
    >>> degrees = TaskRecord("regress", "last", mean=(20.0,), std=(5.0,))

    Attributes:
        kind: one of `TASKS`.
        combine: one of `COMBINATIONS`.
        delay: for predictions at each step, the number of steps until the prediction is read.
        mean, std: for "regress", the mean and standard deviation of each value: an output is (value - mean) / std.
        ahead: for values at each step, the number of steps by which they occur later in the time series; 0 except in
            forecasting.
        threshold: the smallest probability of a predicted label for "multilabel", or of a box for "detect".
        strides: for "detect", the pixels between adjacent positions of each level, see `hdlif.graph.detection`.
        overlap: for "detect", the intersection over union from which the lower-scored of two boxes of a class is
            dropped.
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
    """A single operation of a graph.

    >>> import numpy as np
    >>> from hdlif.graph.artefact import Node
    >>> weight = np.eye(2, dtype=np.float32)
    >>> layer = Node("linear", "logits", ("flat",), {"encoding": "float32", "role": "classifier"}, {"weight": weight})

    Attributes:
        op: one of `hdlif.graph.ops.OPS`, such as "conv2d" or "program".
        name: the name of the output value.
        inputs: the names of the input values; "input" is the network's input.
        attributes: the attributes of the op, JSON-serialisable.
        tensors: the tensors by role, such as "weight". Low-bit weights are stored as int8; the attribute `encoding` is
            their packing.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Learned:
    """A record of the training that produced a deployed network from another network.

    Attributes:
        source: digest of the original model file.
        level: the trained part, a `hdlif.graph.learning.Level`.
        updates: the number of updates.
    """

    source: str
    level: str
    updates: int


@dataclass(frozen=True)
class Graph:
    """A deployed network with `time_steps` steps.

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
        input: the input at each step.
        labels: the names of the n outputs.
        task: the meaning of the outputs.
        confidence: for a classification, the threshold in 0..1 for early exit; None to run all steps.
            `hdlif.runtime.early` defines it.
        learned: the record of its training on the device, if any.
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
    """The type of a value: the shape without time and batch, and the range of the entries.

    Attributes:
        shape: [C, H, W], or [C] for a vector.
        max_code: None for real values; otherwise entries are integers in 0..max_code ("codes").
        constant: whether the value is the same at every step when the input is.
    """

    shape: tuple[int, ...]
    max_code: int | None = None
    constant: bool = True


def settled(
    found: Mapping[str, bool], nodes: Iterable[Node], of: Callable[[Node, Mapping[str, bool]], bool]
) -> dict[str, bool]:
    """Compute a property of each value by applying `of` to every node until nothing changes.

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
    """Return row `t`, or the last row if there are fewer rows, in a shape that broadcasts to `ndim` axes."""
    rows = node.tensors[key]
    row: Floats = rows[min(t, len(rows) - 1)]
    return row.reshape(-1, *(1,) * (ndim - 2))

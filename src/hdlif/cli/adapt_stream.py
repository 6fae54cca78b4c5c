"""Implement `hdlif adapt --stream`, which trains a time-series network on labelled rows as they arrive."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hdlif.cli.stream import named, opened
from hdlif.errors import HdlifError, InputError, did_you_mean, reason
from hdlif.graph.artefact import Graph
from hdlif.inputs import Unreadable
from hdlif.inputs.coming import Source, coming
from hdlif.inputs.series import Floats, shown
from hdlif.runtime import Learner, Session
from hdlif.runtime.answers import answers
from hdlif.runtime.state import State


@dataclass
class Windows:
    """A learner and the original network, run on the same consecutive windows of labelled rows.

    Each labelled row contributes the gradient of the loss at its time step. The learner updates after every
    `batch_size` windows with at least one label. The class of a window is the last label in the window.

    Attributes:
        labelled: number of windows with a label.
        correct: number of these that the original network, and the learner before its update, classified correctly.
    """

    learner: Learner
    session: Session
    batch_size: int
    labelled: int = 0
    correct: list[int] = field(default_factory=lambda: [0, 0])
    _pending: int = 0
    _state: State | None = None
    _target: int | None = None
    _outputs: list[tuple[Floats, Floats]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._original = self.session.sequence()

    def push(self, frame: Floats, target: int | None) -> str | None:
        """Run one time step on a frame [1, C, 1, 1]. After the last step of a window, return its prediction.

        Args:
            target: the row's class, or None without a label.
        """
        learned, self._state = self.learner.step(frame, self._state, targets=None if target is None else [target])
        self._outputs.append((self._original.step(frame).copy(), learned))
        self._target = self._target if target is None else target
        if len(self._outputs) < self.session.time_steps:
            return None
        by_network = [np.stack(steps) for steps in zip(*self._outputs, strict=True)]
        found = [next(answers(steps, self.session.task, self.session.labels)) for steps in by_network]
        if self._target is not None:
            self.labelled += 1
            self._pending += 1
            for network, answer in enumerate(found):
                self.correct[network] += answer is not None and answer["class"] == self._target
            if self._pending == self.batch_size:
                self.update()
        self._original, self._state, self._target = self.session.sequence(), None, None
        self._outputs.clear()
        return None if found[1] is None else str(found[1]["label"])

    def update(self) -> None:
        """Update the network if any labelled window has ended since the last update."""
        if self._pending:
            self.learner.update()
            self._pending = 0


def run(
    graph: Graph, learner: Learner, place: Path, *, target: str, batch_size: int, say: Callable[[str], None]
) -> Windows:
    """Train on a stream until it ends or the user presses Ctrl-C, and return counts of labelled and correct windows.

    Args:
        place: "-" for standard input, a CSV file, a FIFO or a device.
        target: name of the column with the labels; a row may have none.
    Raises:
        HdlifError: the network does not take rows at a single rate.
        InputError: the stream cannot be read, or has an unknown label; the learner keeps its previous updates.
    """
    record = graph.input
    if record.kind != "series" or record.sound is not None or record.rates or graph.task.kind != "classify":
        raise HdlifError("--stream trains only networks that classify time series at their own rate; give --data")
    windows = Windows(learner, Session(graph, 1), batch_size)
    try:
        for frame, label in _rows(place, graph, target):
            predicted = windows.push(frame, graph.labels.index(label) if label else None)
            if predicted is not None:
                say(f"{predicted}{f' (label: {label})' if label else ''}")
    except KeyboardInterrupt:
        # The last gradients may be incomplete.
        return windows
    if not windows.labelled:
        raise InputError(f"{named(place)}: no window of {graph.time_steps} rows has a label in the column {target}")
    windows.update()
    return windows


def _rows(place: Path, graph: Graph, target: str) -> Iterator[tuple[Floats, str]]:
    """Yield the frame [1, C, 1, 1] and the label of each row."""
    record, name = graph.input, named(place)
    try:
        with opened(place) as descriptor:
            found = coming(Source(descriptor), record, target=target)
            for samples, _ in found.blocks:
                label = found.label()
                if label and label not in graph.labels:
                    raise InputError(f"{name}: label {label!r} is unknown; {did_you_mean(label, graph.labels)}")
                yield shown(samples, record.mean, record.std), label
    except (OSError, Unreadable) as error:
        raise InputError(f"{name}: reading stopped ({reason(error)})") from error

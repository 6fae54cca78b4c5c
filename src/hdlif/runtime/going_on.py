"""A sequence without an end: the answer after each of its steps, and its state as bytes to go on from elsewhere."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import StateError
from hdlif.runtime.answers import Answer, answers, uncounted
from hdlif.runtime.early import is_sure
from hdlif.runtime.images import Placed
from hdlif.runtime.session import Session

Floats = NDArray[np.float32]


class GoingOn:
    """A sequence of one input that goes on for as many steps as come, and what the network says after each.

    An answer is read off the mean of all outputs so far, off the last one, or off each for itself, as the network's
    task says. After any number of steps it is what `answers` says of `Session.run` over these, to the bit.

    Args:
        content: what `to_bytes` gave, or `hdlif_stream_save` of the C interface, to go on from; it begins where left
            out.
        confidence: of a classification: the sequence ends after the first step at which its class is as probable.
    Attributes:
        is_sure: whether it has ended so; of `to_bytes` it is no part.
    Raises:
        StateError: `content` is damaged, of another network, or of another version, or holds what is not finite.
    """

    def __init__(self, session: Session, content: bytes | None = None, *, confidence: float | None = None) -> None:
        self._session, self._sequence = session, session.sequence()
        self._confidence, self.is_sure = confidence, False
        if content is not None:
            self._sequence.load_bytes(content)
            held = self._sequence.sums, *self._sequence.state.values()
            if not all(np.isfinite(values).all() for values in held):
                raise StateError("holds a value that is not finite; begin again")

    @property
    def t(self) -> int:
        """The steps that it has seen."""
        return self._sequence.t

    @property
    def held_bytes(self) -> int:
        """What it holds."""
        return self._session.sequence_bytes + 4 * math.prod(self._session.output_shape)

    def run(self, x: Floats, placed: Placed | None = None) -> list[Answer | None]:
        """The answer after each of the next steps, float32 [K, 1, C, H, W]; steps after it `is_sure` are not run.

        None after the first steps of a task that answers later than it sees, and where outputs are not finite.

        Args:
            placed: where the image is on the input; masks and boxes are in its pixels. By default it is the input.
        """
        placed = placed or Placed.whole(self._session.input)
        if self._confidence is None:
            return self._run(x, placed)
        said: list[Answer | None] = []
        for frame in x[:, None]:
            if self.is_sure:
                break
            said += self._run(frame, placed)
        return said

    def _run(self, x: Floats, placed: Placed) -> list[Answer | None]:
        first, task, total = self.t, self._session.task, self._sequence.sums
        outputs = self._sequence.run(x)[:, 0]
        silent = min(max(uncounted(task) - first, 0), len(outputs))
        if task.combine == "mean":
            with np.errstate(all="ignore"):
                # In the order of the steps, as the mean of a whole run adds them.
                sums = np.concatenate([total[None], outputs]).cumsum(0)[1:]
                steps = np.arange(first + 1, first + len(sums) + 1, dtype=np.float32)
                outputs = (sums / steps.reshape(-1, *(1,) * total.ndim)).astype(np.float32)
        if self._confidence is not None:
            self.is_sure = bool(is_sure(outputs[-1], self._confidence))
        # Each step as if it were a sample of one step.
        places = [placed] * (len(outputs) - silent)
        said = answers(outputs[None, silent:], replace(task, delay=0), self._session.labels, places)
        return [None] * silent + list(said)

    def to_bytes(self) -> bytes:
        """All of it, as `hdlif.h` describes the state of a stream."""
        return self._sequence.to_bytes()

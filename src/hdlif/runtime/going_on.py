"""Run endless sequences that predict after each step and whose state can be saved and resumed."""

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
    """An endless sequence with batch size 1 and a prediction after each step.

    Depending on the task, a prediction uses the mean of all outputs so far or only the output of the current step.
    After any number of steps, the prediction is bit-identical to the prediction by `Session.run` for the same steps.

    Args:
        content: result of `to_bytes`, or of `hdlif_stream_save` in the C interface, to resume from; default: a new
            sequence.
        confidence: for classification, the probability of the class at which the sequence ends.
    Attributes:
        is_sure: whether the confidence ended the sequence; not part of `to_bytes`.
    Raises:
        StateError: `content` is damaged, belongs to another network or version, or has values that are not finite.
    """

    def __init__(self, session: Session, content: bytes | None = None, *, confidence: float | None = None) -> None:
        self._session, self._sequence = session, session.sequence()
        self._confidence, self.is_sure = confidence, False
        if content is not None:
            self._sequence.load_bytes(content)
            held = self._sequence.sums, *self._sequence.state.values()
            if not all(np.isfinite(values).all() for values in held):
                raise StateError("contains a value that is not finite; begin again")

    @property
    def t(self) -> int:
        """Return the number of steps that have run."""
        return self._sequence.t

    @property
    def held_bytes(self) -> int:
        """Return the size in bytes of the state and of the accumulated outputs."""
        return self._session.sequence_bytes + 4 * math.prod(self._session.output_shape)

    def run(self, x: Floats, placed: Placed | None = None) -> list[Answer | None]:
        """Run the next steps on x [K, 1, C, H, W] until the confidence is reached, and return the predictions.

        A prediction is None during the task's delay, and whenever an output is not finite.

        Args:
            placed: the image's position on the input, for masks and boxes in its pixels; default: the input itself.
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
                # Sum in step order, as for the mean of a complete run.
                sums = np.concatenate([total[None], outputs]).cumsum(0)[1:]
                steps = np.arange(first + 1, first + len(sums) + 1, dtype=np.float32)
                outputs = (sums / steps.reshape(-1, *(1,) * total.ndim)).astype(np.float32)
        if self._confidence is not None:
            self.is_sure = bool(is_sure(outputs[-1], self._confidence))
        # Treat each step as a sample of one step.
        places = [placed] * (len(outputs) - silent)
        said = answers(outputs[None, silent:], replace(task, delay=0), self._session.labels, places)
        return [None] * silent + list(said)

    def to_bytes(self) -> bytes:
        """Return the complete state as bytes in the format of `hdlif.h`."""
        return self._sequence.to_bytes()

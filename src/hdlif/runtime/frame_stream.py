"""Predict on a stream of images, such as the frames of a video."""

from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from hdlif.errors import InputError
from hdlif.runtime.answers import Answer, in_words, uncounted
from hdlif.runtime.early import Confidence, choose_confidence
from hdlif.runtime.files import Given
from hdlif.runtime.going_on import GoingOn
from hdlif.runtime.images import read_placed_image
from hdlif.runtime.masks import as_json
from hdlif.runtime.session import Session


@dataclass(frozen=True)
class FrameAnswer:
    """A prediction that the network made after a frame of a stream.

    Attributes:
        input: name of the frame.
        frames: index of the first frame that the prediction uses, and the index after the last one, from 0.
        answer: prediction for the network's task, as in `runtime.answers`; None if the outputs are not finite.
        ms: milliseconds since the frame was available.
        partial: whether the frames ended within the window.
    """

    input: str
    frames: tuple[int, int]
    answer: Answer | None
    ms: float
    partial: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the prediction as a JSON-serialisable dict."""
        cut = {"partial": True} if self.partial else {}
        said = {"input": self.input, "frames": list(self.frames)}
        return {**said, **as_json(self.answer or {}), "ms": round(self.ms, 4), **cut}

    def __str__(self) -> str:
        said = "no finite prediction" if self.answer is None else in_words(self.answer)
        return f"{self.input}: {said}{', cut short' if self.partial else ''}, {self.ms:.3g} ms"


class FrameStream:
    """An image network that runs on frames as they arrive, with one frame per time step.

    A network that predicts at each step, such as `moving_bccd_hdlif`, predicts after each frame and keeps the state
    from frame to frame. A network with one prediction per sequence predicts once per window of `time_steps` frames.
    Each window starts with a zero state, and the result is bit-identical to `Session.run` on the window. With a
    `confidence`, the stream predicts as soon as a class reaches this probability and skips the remaining frames of the
    window.

    >>> import numpy as np
    >>> from PIL import Image
    >>> from hdlif.graph.artefact import Graph, InputRecord, Node, TaskRecord
    >>> from hdlif.runtime import FrameStream, Session
    >>> pixel = Node("flatten", "logits", ("input",))
    >>> record = InputRecord((1, 1, 2), (0.0,), (1.0,), resize="none")
    >>> graph = Graph((pixel,), "logits", 2, record, ("dark", "bright"))
    >>> stream = FrameStream(Session(graph, threads=1))
    >>> for value in (10, 200, 20):
    ...     Image.fromarray(np.array([[100, value]], np.uint8)).save("frame.png")
    ...     answer = stream.push("frame.png")
    ...     print(answer and (answer.frames, answer.answer["label"]))
    None
    ((0, 2), 'bright')
    None
    """

    def __init__(self, session: Session, *, confidence: Confidence | None = None) -> None:
        """Start a stream at frame 0.

        Args:
            session: session of a network for images.
            confidence: a number in 0..1, "auto" for the file's confidence (the default if it has one), or "off".
        Raises:
            InputError: the network takes other inputs, or only part of an image at each step.
            HdlifError: the network's task does not support a confidence.
        """
        record = session.input
        if record.kind != "image" or record.frames != "constant":
            shown = f"inputs of kind {record.kind}" if record.kind != "image" else f"the {record.frames} of an image"
            raise InputError(f"the network takes {shown}; a stream of frames requires a network for whole images")
        self._session, self._seen = session, 0
        self._confidence = choose_confidence(confidence, session.confidence, session.task)
        self._goes_on = session.task.combine == "each"
        self._sequence = GoingOn(session, confidence=self._confidence)
        self._so_far: FrameAnswer | None = None

    def push(self, image: str | Path | Given, *, since: float | None = None) -> FrameAnswer | None:
        """Run the network on the next frame, and return the prediction.

        The result is None if the frame does not complete a prediction. `image` is an image file or its content.

        Args:
            since: time when the frame was available, by `perf_counter`; default: now.
        Raises:
            InputError: the frame cannot be read, or its size differs and the network does not resize.
        """
        began = perf_counter() if since is None else since
        given = image if isinstance(image, Given) else Path(image)
        x, placed = read_placed_image(given, self._session.input)
        frame, steps = self._seen, self._session.time_steps
        place = frame if self._goes_on else frame % steps
        if place == 0 and frame > 0:
            self._sequence = GoingOn(self._session, confidence=self._confidence)
        self._seen, self._so_far = frame + 1, None
        if self._sequence.is_sure:
            return None
        (answer,) = self._sequence.run(x, placed)
        if place < uncounted(self._session.task):
            return None
        first = frame if self._goes_on else frame - place
        said = FrameAnswer(str(given), (first, frame + 1), answer, (perf_counter() - began) * 1000)
        if self._goes_on or place + 1 == steps or self._sequence.is_sure:
            return said
        self._so_far = said
        return None

    def end(self) -> FrameAnswer | None:
        """Return the prediction so far for the incomplete last window, or None if no prediction is pending."""
        return self._so_far and replace(self._so_far, partial=True)

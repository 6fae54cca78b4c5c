"""Predict on each window of a sample stream, with early exit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import HdlifError, InputError, LimitError, ShapeError, StateError, brief
from hdlif.graph.artefact import InputRecord
from hdlif.inputs.resampling import Resampler, resampled_length
from hdlif.inputs.series import Floats, finite, shown
from hdlif.inputs.sounds import LogMelFrames
from hdlif.inputs.wav import HIGHEST_RATE, LOWEST_RATE
from hdlif.runtime.answers import Answer, answers, in_words, uncounted
from hdlif.runtime.early import Confidence, choose_confidence, is_sure
from hdlif.runtime.session import Session
from hdlif.runtime.state import is_integer


@dataclass(frozen=True)
class Decision:
    """The prediction for one window of a stream.

    See `Stream` for an example.

    Attributes:
        window: index of the window, from 0.
        samples: indices of the window's first sample and of the first sample after its (expected) end, from 0.
        step: number of steps until the prediction.
        answer: prediction as in `runtime.answers`; None if the outputs are not finite.
        ms: milliseconds since the last needed sample was available.
        partial: whether the samples ended within the window.
    """

    window: int
    samples: tuple[int, int]
    step: int
    answer: Answer | None
    ms: float
    partial: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the prediction as a JSON-serialisable dict."""
        cut = {"partial": True} if self.partial else {}
        said = {"window": self.window, "samples": list(self.samples), "step": self.step}
        return {**said, **(self.answer or {}), "ms": round(self.ms, 4), **cut}

    def __str__(self) -> str:
        said = "no finite prediction" if self.answer is None else in_words(self.answer)
        cut = ", cut short" if self.partial else ""
        where = f"{self.samples[0]}:{self.samples[1]}"
        return f"{self.window} [{where}]: {said}, step {self.step}{cut}, {self.ms:.3g} ms"


class Stream:
    """A network for time series or audio that runs on samples as they arrive.

    Windows are cut as in training, and each window starts with a zero state. A step runs as soon as all its samples
    have arrived. Outputs are bit-identical to `Session.run` on the complete window. With a `confidence`, classification
    stops at the first step at which a class reaches this probability. Early exit does not change the start of the next
    window.

    Memory does not grow with the number of samples, because a stream keeps only the states and outputs of open windows.

    >>> import numpy as np
    >>> from hdlif.graph.artefact import Graph, InputRecord, Node
    >>> from hdlif.runtime import Session, Stream
    >>> weight = np.eye(2, dtype=np.float32)
    >>> layer = Node("linear", "logits", ("flat",), {"encoding": "float32", "role": "classifier"}, {"weight": weight})
    >>> record = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", frames="rows")
    >>> graph = Graph((Node("flatten", "flat", ("input",)), layer), "logits", 3, record, ("still", "moving"))
    >>> stream = Stream(Session(graph, threads=1), confidence=0.95)
    >>> for sample in np.array([[1, 0], [0, 1], [0, 1], [0, 9]]):
    ...     for decision in stream.push(sample):
    ...         print(decision.samples, decision.step, decision.answer["label"])
    (0, 3) 3 moving
    (3, 6) 1 moving
    >>> stream.end()
    []

    Attributes:
        session: the session of the network.
        length: samples per window; for audio at the network's rate.
        hop: samples from the beginning of one window to the beginning of the next; for audio at the network's rate.
    """

    def __init__(
        self, session: Session, *, hop: int | None = None, confidence: Confidence | None = None, rate: int | None = None
    ) -> None:
        """Start a stream at sample 0.

        Args:
            session: session of a network for time series or audio.
            hop: samples from one window's beginning to the next, for audio at the network's rate; default: as in
                training, or the window length if training cut no windows.
            confidence: a number in 0..1, "auto" for the file's confidence (the default if it has one), or "off".
            rate: sampling rate of the audio in Hz, if it differs from the network's; `hdlif run` resamples files the
                same way.
        Raises:
            InputError: the network takes neither time series nor audio, or windows of another length.
            HdlifError: an argument is out of its range, or does not fit the network's task.
            LimitError: the concurrently open windows exceed the session's memory limit.
        """
        record = session.input
        if record.kind != "series":
            raise InputError(
                f"the network takes inputs of kind {record.kind}, but Stream supports only time series and audio; use "
                "FrameStream for images, and Session.step or a stream of `hdlif serve` for other inputs"
            )
        self.session, self._record = session, record
        length, trained = _length(record, session.time_steps)
        self.length, self.hop = length, trained if hop is None else hop
        if not is_integer(self.hop) or self.hop < 1:
            raise HdlifError(f"hop = {brief(hop)}; give an integer of at least 1")
        self._confidence = choose_confidence(confidence, session.confidence, session.task)
        own = record.sound.rate if record.sound else None
        if rate is not None and (own is None or not is_integer(rate) or not LOWEST_RATE <= rate <= HIGHEST_RATE):
            fix = f"; give an integer in {LOWEST_RATE}..{HIGHEST_RATE}"
            if own is None:
                trained_at = "the rate of the training data" + (" (data.rate)" if record.rates else "")
                fix = " applies only to audio, but the network takes rows of numbers; "
                fix += f"remove it, and send rows at {trained_at}"
            raise HdlifError(f"rate = {brief(rate)}{fix}")
        self._rates = (rate or own or 1, own or 1)
        self._resampler = Resampler(*self._rates) if self._rates[0] != self._rates[1] else None
        # A step of audio has many samples, and a step of sensor data has one.
        self._piece = record.sound.hop if record.sound else 1
        self._open: list[_Window] = []
        self._begun = self._came = 0
        self._ended = False
        at_once, each = -(-length // self.hop), _bytes(session)
        if at_once * each > session.max_bytes:
            raise LimitError(
                f"hop = {self.hop}: {at_once:,} windows of {length:,} samples are open at once, which takes "
                f"{at_once * each:,} bytes; max_bytes = {session.max_bytes:,}; give a larger hop (hdlif run: --hop)"
            )

    @property
    def unanswered(self) -> tuple[Decision, ...]:
        """Return the predictions so far for all open windows."""
        return tuple(window.said(perf_counter(), partial=True) for window in self._open if window.came)

    def push(self, samples: Any, *, since: float | None = None) -> list[Decision]:
        """Process the next samples, and return all predictions that become available.

        Args:
            samples: for time series, channels [C] or [N, C], any real numbers; for audio, [N], floats
                in about -1..1, or int16.
            since: time when the samples became available, by `time.perf_counter`; default: now.
        Raises:
            InputError: a value is not a finite float32.
            ShapeError: the samples have another shape.
            StateError: the stream has ended, or a call was interrupted.
        """
        since = perf_counter() if since is None else since
        block = self._checked(samples)
        if self._ended:
            raise StateError("the stream has ended; begin another one")
        # After an interrupted call, only some windows have the samples.
        self._ended = True
        found = list(self._on(self._resampler.push(block) if self._resampler else block, since))
        self._ended = False
        return found

    def end(self, *, partial: bool = False) -> list[Decision]:
        """End the stream, and return all remaining predictions.

        Args:
            partial: also predict for incomplete windows, after their available steps, if these exceed the task's
                delay.
        """
        if self._ended:
            return []
        self._ended, since = True, perf_counter()
        found = list(self._on(self._resampler.end(), since)) if self._resampler else []
        if partial:
            # There is no prediction within the delay.
            first = uncounted(self.session.task)
            found += [window.said(since, partial=True) for window in self._open if window.step > first]
        return found

    def _checked(self, samples: Any) -> Floats:
        try:
            array = np.asarray(samples)
        # the lists have different lengths
        except ValueError:
            array = np.empty((), object)
        channels = self._record.shape[0]
        if self._record.sound:
            if array.ndim != 1:
                raise ShapeError(f"samples are {array.dtype} {list(array.shape)}; audio must be [N]")
            scale = 2**15 if array.dtype == np.int16 else 1
            return _finite(array) / np.float32(scale)
        block = array[None] if array.ndim == 1 else array
        if block.ndim != 2 or block.shape[1] != channels:
            raise ShapeError(f"samples are {array.dtype} {list(array.shape)}; give [{channels}] or [N, {channels}]")
        return _finite(block)

    def _on(self, block: Floats, since: float) -> Iterator[Decision]:
        """Process samples that are at the network's rate, and yield all predictions that become available."""
        for begin in range(0, len(block), self._piece):
            piece = block[begin : begin + self._piece]
            self._begin_before(self._came + len(piece))
            for window in tuple(self._open):
                part = piece[max(0, window.begin - self._came) : window.begin + self.length - self._came]
                if window.push(part):
                    self._open.remove(window)
                    yield window.said(since)
            self._came += len(piece)

    def _begin_before(self, end: int) -> None:
        while (begin := self._begun * self.hop) < end:
            samples = self._at(begin, up=False), self._at(begin + self.length, up=True)
            window = _Window(self._begun, begin, samples, self.session, self.length, self._confidence)
            self._open.append(window)
            self._begun += 1

    def _at(self, sample: int, *, up: bool) -> int:
        """Convert the index of a sample at the network's rate to an index in the stream."""
        rate, own = self._rates
        return -(-sample * rate // own) if up else sample * rate // own


def _length(record: InputRecord, time_steps: int) -> tuple[int, int]:
    """Return the length of a window and the hop between windows in training, both in samples.

    Raise `InputError` if the number of steps per window differs from the network's time steps.
    """
    sound = record.sound
    if sound is not None:
        length, hop, steps = sound.samples, sound.every if sound.clips == "windows" else sound.samples, sound.frames
    else:
        rate, own = record.rates or (1, 1)
        length, hop = record.windows or (time_steps * rate // own,) * 2
        steps = resampled_length(length, rate, own)
    if steps != time_steps:
        raise InputError(
            f"the model file has windows of {steps} steps, but the network takes {time_steps}; export it again"
        )
    return length, hop


def _bytes(session: Session) -> int:
    """Return how many bytes of memory an open window takes."""
    sound, channels = session.input.sound, session.input.shape[0]
    held = 8 * (sound.frame + sound.hop) if sound else 8 * 64 * channels
    return session.sequence_bytes + 4 * session.time_steps * len(session.labels) + held


def _finite(array: NDArray[Any]) -> Floats:
    try:
        return finite(array)
    except ValueError as error:
        raise InputError(f"samples: {error}") from error


class _Resampled:
    """A resampler for a single window of sensor data."""

    def __init__(self, length: int, rate: int, to: int) -> None:
        self._resampler, self._left = Resampler(rate, to), length

    def push(self, samples: Floats) -> Floats:
        self._left -= len(samples)
        made = self._resampler.push(samples)
        return made if self._left else np.concatenate([made, self._resampler.end()])


def _to_steps(record: InputRecord, length: int) -> Callable[[Floats], Floats]:
    """Return a function that converts arriving samples, [N] or [N, C], to time steps [M, C]."""
    if record.sound is not None:
        return LogMelFrames(record.sound).push
    return _Resampled(length, *record.rates).push if record.rates else lambda samples: samples


class _Window:
    def __init__(
        self,
        number: int,
        begin: int,
        samples: tuple[int, int],
        session: Session,
        length: int,
        confidence: float | None,
    ) -> None:
        self.begin, self.came, self.step = begin, 0, 0
        self._number, self._samples, self._session = number, samples, session
        self._to_steps = _to_steps(session.input, length)
        self._sequence = session.sequence()
        self._outputs = np.empty((session.time_steps, 1, len(session.labels)), np.float32)
        self._confidence = confidence

    def push(self, samples: Floats) -> bool:
        """Run all steps whose samples are complete, and return whether the prediction is ready."""
        self.came += len(samples)
        record = self._session.input
        with np.errstate(all="ignore"):
            for frame in shown(self._to_steps(samples), record.mean, record.std)[:, None]:
                self._outputs[self.step] = self._sequence.step(frame)
                self.step += 1
                if self._confidence is not None and is_sure(self._taken(), self._confidence):
                    return True
        return self.step == len(self._outputs)

    def _taken(self) -> Floats:
        """Return the logits [classes] that determine the current prediction."""
        taken: Floats = self._outputs[self.step - 1, 0]
        if self._session.task.combine == "mean":
            taken = self._sequence.sums / np.float32(self.step)
        return taken

    def said(self, since: float, *, partial: bool = False) -> Decision:
        """Return the window's prediction, based on the steps that have run."""
        session = self._session
        answer = None
        if self.step:
            answer = next(answers(self._outputs[: self.step], session.task, session.labels))
        return Decision(self._number, self._samples, self.step, answer, (perf_counter() - since) * 1000, partial)

"""Early exit: each sample of a batch stops at the first time step whose answer is sure."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import HdlifError, brief
from hdlif.graph.artefact import TaskRecord
from hdlif.runtime.answers import probabilities
from hdlif.runtime.state import contiguous

Floats = NDArray[np.float32]
Advance = Callable[[Floats, int, int, list[Floats], Floats], None]
"""Runs (x, K, t, potentials, logits): the K steps from t on, which change the potentials and fill logits [K, B, n]."""


class Early(NamedTuple):
    """What each sample of a batch was answered with.

    Attributes:
        logits: [B, classes], those that the class is read off: their mean over the steps that ran, or the last step's.
        steps: int64 [B], how many ran.
    """

    logits: Floats
    steps: NDArray[np.int64]


def check_confidence(confidence: object, task: TaskRecord) -> float:
    """Return a confidence as a number. Raises `HdlifError` if it is none, or the task is no classification."""
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        raise HdlifError(f"confidence = {brief(confidence)}; give a number in 0..1")
    if task.kind != "classify":
        raise HdlifError(f"confidence applies to classifications, and the network's task is {task.kind}; leave it out")
    return float(confidence)


def run_until_sure(
    advance: Advance,
    x: Floats,
    steps: int,
    classes: int,
    shapes: Iterable[tuple[int, ...]],
    *,
    last: bool,
    confidence: float,
) -> Early:
    """Run samples from the start, each until the probability of its class is at least `confidence`, or for all steps.

    With z_t the mean of the logits of steps 1 to t (or those of step t, if `last`), a sample stops at the first t with
    max softmax(z_t) >= confidence. Steps run in chunks of 1, 1, 2, 4, ...: a chunk is quicker than its steps one by
    one, and no sample runs twice the steps that it needs. Samples that have stopped leave the batch between chunks.

    Args:
        x: [T, B, C, H, W], or [1, B, C, H, W] if constant in time.
        shapes: of the states, without batch.
        last: the class is read off the last step alone.
    """
    batch, is_static = x.shape[1], len(x) < steps
    result = Early(np.empty((batch, classes), np.float32), np.full(batch, steps, np.int64))
    running, t = np.arange(batch), 0
    potentials = [np.zeros((batch, *pixels, channels), np.float32) for channels, *pixels in shapes]
    sums = np.zeros((1, batch, classes), np.float32)
    while len(running):
        count = min(max(t, 1), steps - t)
        logits = np.empty((count, len(running), classes), np.float32)
        advance(x if is_static else contiguous(x[t : t + count]), count, t, potentials, logits)
        answers = logits
        if not last:
            # Added step by step, as `probabilities` adds them.
            sums = np.cumsum(np.concatenate([sums[-1:], logits]), axis=0, dtype=np.float32)
            answers = sums[1:] / np.arange(t + 1, t + 1 + count, dtype=np.float32)[:, None, None]
        t += count
        with np.errstate(all="ignore"):
            is_sure = probabilities(answers.reshape(1, -1, classes)).max(-1).reshape(answers.shape[:2]) >= confidence
        if t == steps:
            is_sure[-1] = True
        stops, first = is_sure.any(0), is_sure.argmax(0)
        result.logits[running[stops]] = answers[first[stops], stops]
        result.steps[running[stops]] = t - count + 1 + first[stops]
        if stops.any():
            goes_on = ~stops
            running, sums = running[goes_on], sums[:, goes_on]
            x, potentials = contiguous(x[:, goes_on]), [potential[goes_on] for potential in potentials]
    return result

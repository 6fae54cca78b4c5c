"""Stop each sample of a batch at the first time step with a confident prediction (early exit)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import HdlifError, brief
from hdlif.graph.artefact import TaskRecord
from hdlif.graph.ops.seca import exponential
from hdlif.runtime.answers import Answer, answers
from hdlif.runtime.state import contiguous

Floats = NDArray[np.float32]
Confidence = float | Literal["auto", "off"]
"""Probability in 0..1, "auto" for the confidence in the file, or "off" for all steps."""
Advance = Callable[[Floats, int, int, list[Floats], Floats], None]
"""Function (x, K, t, potentials, logits) that runs K steps from t, updates potentials, and fills logits [K, B, n]."""


class Early(NamedTuple):
    """The early-exit predictions for a batch.

    Attributes:
        logits: logits [B, classes] that determine the class: the mean over the steps that ran, or those of the last
            step.
        steps: number of steps that ran, int64 [B].
    """

    logits: Floats
    steps: NDArray[np.int64]


def early_answers(early: Early, task: TaskRecord, labels: Sequence[str]) -> Iterator[Answer | None]:
    """Yield the prediction for each sample; the entry "steps" is the number of time steps that ran."""
    found = answers(early.logits[None], replace(task, combine="last"), labels)
    for answer, steps in zip(found, early.steps, strict=True):
        yield None if answer is None else answer | {"steps": int(steps)}


def check_confidence(confidence: object, task: TaskRecord) -> float:
    """Return a valid confidence as a number, or raise `HdlifError` for invalid values and unsupported tasks."""
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        raise HdlifError(f'confidence = {brief(confidence)}; give a number in 0..1, or "auto" for the file\'s own')
    if task.kind != "classify":
        raise HdlifError(f"confidence applies only to classification, but the network's task is {task.kind}; remove it")
    return float(confidence)


def choose_confidence(confidence: Confidence | None, stored: float | None, task: TaskRecord) -> float | None:
    """Return the early-exit confidence to use, or None to run all time steps.

    Args:
        confidence: the user's confidence; None selects the stored one, if any.
        stored: the confidence stored in the file.
    Raises:
        HdlifError: the confidence is not a number in 0..1, the task is not classification, or the file has no
            confidence for "auto".
    """
    if confidence is None or confidence == "off":
        return stored if confidence is None else None
    if confidence != "auto":
        return check_confidence(confidence, task)
    if stored is None:
        raise HdlifError(
            'confidence = "auto", but the model file has none; give a number in 0..1, or export it again with '
            "--confidence"
        )
    return stored


def is_sure(logits: Floats, confidence: float) -> NDArray[np.bool_]:
    """Return whether the most probable class of logits [..., classes] reaches a confidence c.

    The softmax of z reaches c if c · Σ_k e^-(max z - z_k) <= 1. `docs/contributing/model_format.md` defines the
    exponential. The terms are added in class order, so Python and C give the same result on every machine. The computed
    probability differs from the exact probability by at most 1e-6. Logits with NaN or +inf are never confident.
    """
    with np.errstate(all="ignore"):
        below = logits.max(-1, keepdims=True) - logits
        # NumPy's exponential takes a third of the time, and decides differently only if both sides are nearly equal.
        rough = np.float32(confidence) * np.exp(-below).sum(-1)
        if (np.abs(rough - 1) <= 1e-5 + 2e-7 * logits.shape[-1]).any():
            return _is_exactly_sure(below, confidence)
        sure: NDArray[np.bool_] = rough <= 1
    return sure


def _is_exactly_sure(below: Floats, confidence: float) -> NDArray[np.bool_]:
    """Compute `is_sure` from the differences max z - z_k with the exponential function of the model format."""
    total = np.cumsum(exponential(below), axis=-1, dtype=np.float32)[..., -1]
    sure: NDArray[np.bool_] = (below >= 0).all(-1) & (np.float32(confidence) * total <= 1)
    return sure


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
    """Run each sample until a class reaches the probability `confidence` or all steps have run.

    Let z_t be the mean of the logits of steps 1 to t, or the logits of step t if `last` is set. A sample stops at the
    first t with max softmax(z_t) >= confidence (`is_sure`). Steps run in chunks of 1, 1, 2, 4, ..., because chunks are
    faster than single steps. Each sample therefore runs fewer than twice as many steps as it needs. Samples that have
    stopped leave the batch between chunks.

    Args:
        x: input [T, B, C, H, W], or [1, B, C, H, W] if constant in time.
        shapes: shapes of the states without the batch axis.
        last: whether to predict from the last step only.
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
            # Sum step by step, as in `probabilities`.
            sums = np.cumsum(np.concatenate([sums[-1:], logits]), axis=0, dtype=np.float32)
            answers = sums[1:] / np.arange(t + 1, t + 1 + count, dtype=np.float32)[:, None, None]
        t += count
        sure = is_sure(answers, confidence)
        if t == steps:
            sure[-1] = True
        stops, first = sure.any(0), sure.argmax(0)
        result.logits[running[stops]] = answers[first[stops], stops]
        result.steps[running[stops]] = t - count + 1 + first[stops]
        if stops.any():
            goes_on = ~stops
            running, sums = running[goes_on], sums[:, goes_on]
            x, potentials = contiguous(x[:, goes_on]), [potential[goes_on] for potential in potentials]
    return result

"""Which steps a task learns from."""

from __future__ import annotations

from typing import Literal

from hdlif.learning import Criterion, Timed, late_weights

LearnFrom = Literal["every", "last", "late"]
"""The steps that have a loss: "every" one alike; the "last" alone; or "late" ones more, every step with a weight that
rises in proportion to its number, which rules that draw steps draw in proportion to it."""


def chosen_steps(learn_from: LearnFrom | None, combine: str) -> LearnFrom:
    """The steps that are learned from: those given, or by default those that the answer is read off."""
    if learn_from is None:
        return "last" if combine == "last" else "every"
    if learn_from not in ("every", "last", "late"):
        raise ValueError(f"learn_from = {learn_from!r}; choose one of every, last, late")
    return learn_from


def timed(
    criterion: Criterion,
    learn_from: LearnFrom,
    time_steps: int,
    *,
    first: int = 0,
    each: bool = False,
    own: bool = False,
) -> Criterion:
    """A criterion of the steps from `first` on that are learned from, which is itself where that is all.

    Args:
        each: whether every step has a target of its own, which is read `first` steps later.
        own: whether samples have numbers of steps of their own, as of `Timed`.
    """
    delay = first if each else 0
    if learn_from == "last":
        return Timed(criterion, time_steps - 1, each, delay, own=own)
    weights = late_weights(time_steps - first) if learn_from == "late" else None
    if weights is None and not first and not each and not own:
        return criterion
    return Timed(criterion, first, each, delay, weights, own)

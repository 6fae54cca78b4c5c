"""Classes whose samples count more than others in the loss that is learned from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.errors import InputError, brief, cut
from hdlif.learning import Criterion

ClassWeights = Literal["balanced"] | Sequence[float]
"""A factor of each class's loss, in the order of the classes; or "balanced" ones, which stand for those of
`balanced_weights` until the training samples are counted."""
_DIGITS = 6


def balanced_weights(labels: Tensor, classes: int) -> tuple[float, ...]:
    """The weights with which all classes count alike: N/(K·n_c), of N samples in K classes with n_c of class c.

    Their mean over the samples is 1. A class without samples counts for nothing, and has the weight 1.

    >>> import torch
    >>> from hdlif.tasks import balanced_weights
    >>> balanced_weights(torch.tensor([0, 0, 0, 1]), classes=2)
    (0.666667, 2.0)

    Args:
        labels: int64, of any shape; of a class at each step those of all steps.
        classes: how many there are.
    """
    counts = torch.bincount(labels.flatten(), minlength=classes).tolist()
    there = sum(count > 0 for count in counts)
    return tuple(round(labels.numel() / (there * count), _DIGITS) if count else 1.0 for count in counts)


def check_weights(given: Sequence[float] | str | None, outputs: Sequence[str]) -> None:
    """Look at the weights of a task's classes.

    Raises:
        InputError: they are more or fewer than the classes, or one is no number above 0.
    """
    if given is None or given == "balanced":
        return
    if isinstance(given, str):
        raise InputError(f"task.class_weights = {brief(given)}; give balanced, or a number for each class")
    if len(given) != len(outputs):
        names = cut(", ".join(outputs), 200)
        raise InputError(
            f"task.class_weights has {len(given)} number{'s' * (len(given) != 1)}; give one for each of the "
            f"{len(outputs)} classes, in this order: {names}"
        )
    for weight, name in zip(given, outputs, strict=True):
        if not (weight > 0 and math.isfinite(weight)):
            raise InputError(f"task.class_weights = {weight:g} of {brief(name)}; give a number above 0")


def cross_entropy(weights: ClassWeights | None, label_smoothing: float) -> Criterion:
    """The loss of classes; one of "balanced" weights raises `InputError`, for nothing was counted."""
    if weights is None:
        return partial(F.cross_entropy, label_smoothing=label_smoothing)
    return _uncounted if isinstance(weights, str) else WeightedCrossEntropy(tuple(weights), label_smoothing)


def _uncounted(logits: Tensor, target: Tensor) -> Tensor:
    raise InputError(
        'class_weights = "balanced" follows from the training samples; give '
        "hdlif.tasks.balanced_weights(sets.train.labels, len(sets.classes))"
    )


@dataclass(frozen=True)
class WeightedCrossEntropy:
    """The mean over the samples of w_c · cross-entropy, c the sample's class.

    It is divided by the number of samples, not by the sum of their weights, so that a batch that ranks share, or that
    is accumulated, has the gradient of the whole one.

    >>> import torch
    >>> from hdlif.tasks.class_weights import WeightedCrossEntropy
    >>> criterion = WeightedCrossEntropy((1.0, 3.0))
    >>> criterion(torch.zeros(2, 2), torch.tensor([0, 1])).item() / torch.tensor(2.0).log().item()
    2.0

    Args:
        weights: of each class.
        label_smoothing: in [0, 1]; the share of the target that all classes share, each with its own weight.
    """

    weights: tuple[float, ...]
    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        weights = logits.new_tensor(self.weights)
        smoothing = self.label_smoothing
        return F.cross_entropy(logits, target, weights, label_smoothing=smoothing, reduction="none").mean()

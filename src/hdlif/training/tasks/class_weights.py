"""Class weights of the training loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.errors import InputError, brief, cut
from hdlif.learning import Criterion

ClassWeights = Literal["balanced"] | Sequence[float]
"""Factors on the loss of each class, in the order of the classes. "balanced" stands for the result of
`balanced_weights` until the training samples are counted."""
_DIGITS = 6


def balanced_weights(labels: Tensor, classes: int) -> tuple[float, ...]:
    """The weights with which all classes count alike: N/(K·n_c), of N samples in K classes with n_c of class c.

    Their mean over the samples is 1. A class without samples is left out of K, and has the weight 1.

    >>> import torch
    >>> from hdlif.training.tasks import balanced_weights
    >>> balanced_weights(torch.tensor([0, 0, 0, 1]), classes=2)
    (0.666667, 2.0)

    Args:
        labels: int64 in 0..classes - 1, of any shape.
        classes: how many there are.
    """
    counts = torch.bincount(labels.flatten(), minlength=classes).tolist()
    there = sum(count > 0 for count in counts)
    return tuple(round(labels.numel() / (there * count), _DIGITS) if count else 1.0 for count in counts)


def checked_weights(
    given: ClassWeights | None, outputs: Sequence[str]
) -> tuple[float, ...] | Literal["balanced"] | None:
    """Return the weights of a task's classes as Python numbers.

    Raises:
        InputError: they are more or fewer than the classes, or one is no number above 0.
    """
    if given is None or (isinstance(given, str) and given == "balanced"):
        return given
    try:
        weights = () if isinstance(given, str | Mapping) else tuple(map(float, given))
    except (TypeError, ValueError):
        weights = ()
    if not weights:
        raise InputError(f"task.class_weights = {brief(given)}; give balanced, or a number for each class")
    if len(weights) != len(outputs):
        names = cut(", ".join(outputs), 200)
        raise InputError(
            f"task.class_weights has {len(weights)} number{'s' * (len(weights) != 1)}; give one for each of the "
            f"{len(outputs)} classes, in this order: {names}"
        )
    for weight, name in zip(weights, outputs, strict=True):
        if not (weight > 0 and math.isfinite(weight)):
            raise InputError(f"task.class_weights = {weight:g} of {brief(name)}; give a number above 0")
    return weights


def cross_entropy(weights: ClassWeights | None, label_smoothing: float) -> Criterion:
    """The loss of classes; one of "balanced" weights raises `InputError`, for nothing was counted."""
    if weights is None:
        return partial(F.cross_entropy, label_smoothing=label_smoothing)
    return _uncounted if isinstance(weights, str) else WeightedCrossEntropy(tuple(weights), label_smoothing)


def _uncounted(logits: Tensor, target: Tensor) -> Tensor:
    raise InputError(
        'class_weights = "balanced" follows from the training samples; let the task count them: '
        "task.counted(sets.train.labels)"
    )


@dataclass(frozen=True)
class WeightedCrossEntropy:
    """The mean over the samples of w_c · cross-entropy, c the sample's class; a mixed one has the mean of its classes'.

    It is divided by the number of samples, not by the sum of their weights, so that a batch that ranks share, or that
    is accumulated, has the gradient of the whole one.

    >>> import torch
    >>> from hdlif.training.tasks.class_weights import WeightedCrossEntropy
    >>> criterion = WeightedCrossEntropy((1.0, 3.0))
    >>> criterion(torch.zeros(2, 2), torch.tensor([0, 1])).item() / torch.tensor(2.0).log().item()
    2.0

    Args:
        weights: of each class.
        label_smoothing: in [0, 1]; the share of a sample's target that all classes share alike.
    """

    weights: tuple[float, ...]
    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        classes = logits.shape[1]
        shares = F.one_hot(target, classes) if target.ndim == 1 else target
        weighed = shares * logits.new_tensor(self.weights)
        # The sample's weight also applies to the part of its target that other classes share.
        shared = weighed.sum(1, keepdim=True) / classes
        return F.cross_entropy(logits, weighed + self.label_smoothing * (shared - weighed))

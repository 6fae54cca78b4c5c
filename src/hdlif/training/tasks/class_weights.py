"""The class weights of the training loss."""

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
"""Factors of the classes' losses, in class order. "balanced" is a placeholder for the result of `balanced_weights`,
until the training samples are counted."""
_DIGITS = 6


def balanced_weights(labels: Tensor, classes: int) -> tuple[float, ...]:
    """Return the weight N/(K·n_c) of each class c, for N samples in K classes, of which n_c are in class c.

    All classes then have equal influence, and the mean of the weights over all samples is 1. A class without samples
    has weight 1 and is not counted in K.

    >>> import torch
    >>> from hdlif.training.tasks import balanced_weights
    >>> balanced_weights(torch.tensor([0, 0, 0, 1]), classes=2)
    (0.666667, 2.0)

    Args:
        labels: int64 in 0..classes - 1, of any shape.
        classes: number of classes.
    """
    counts = torch.bincount(labels.flatten(), minlength=classes).tolist()
    there = sum(count > 0 for count in counts)
    return tuple(round(labels.numel() / (there * count), _DIGITS) if count else 1.0 for count in counts)


def checked_weights(
    given: ClassWeights | None, outputs: Sequence[str]
) -> tuple[float, ...] | Literal["balanced"] | None:
    """Check the class weights of a task, and return them as Python numbers.

    Raises:
        InputError: the numbers of weights and classes differ, or a weight is not a number above 0.
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
    """Return the classification loss; it raises `InputError` if "balanced" weights have not been computed yet."""
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
    """The mean over samples of w_c · cross-entropy for class c; a mixed sample has the mean weight of its classes.

    The loss is divided by the number of samples, not by the sum of weights. The gradient therefore does not depend on
    whether a batch is split among ranks or accumulation steps.

    >>> import torch
    >>> from hdlif.training.tasks.class_weights import WeightedCrossEntropy
    >>> criterion = WeightedCrossEntropy((1.0, 3.0))
    >>> criterion(torch.zeros(2, 2), torch.tensor([0, 1])).item() / torch.tensor(2.0).log().item()
    2.0

    Args:
        weights: weight of each class.
        label_smoothing: fraction of a sample's target that is spread equally over all classes, in [0, 1].
    """

    weights: tuple[float, ...]
    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        classes = logits.shape[1]
        shares = F.one_hot(target, classes) if target.ndim == 1 else target
        weighed = shares * logits.new_tensor(self.weights)
        # The smoothed part of the target has the sample's weight too.
        shared = weighed.sum(1, keepdim=True) / classes
        return F.cross_entropy(logits, weighed + self.label_smoothing * (shared - weighed))

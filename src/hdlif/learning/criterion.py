"""What a rule minimises: the loss of an output, and of which steps' outputs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from hdlif.errors import ShapeError

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(outputs [B, n], target) -> scalar loss, a mean over the batch; a target of classes is int64 [B], or probabilities
[B, classes]. One that is `Timed` says besides which steps count, and which part of the target is whose."""


@dataclass(frozen=True)
class Timed:
    """A criterion of some of the steps.

    Args:
        criterion: of the outputs [N, n] of one step, or of several behind one another, and their target [N, ...].
        first: the first step that counts; all after it do.
        each: whether the target is [B, T, ...], one for each step; else it is [B, ...], the same for all.
        delay: at step t the target is that of step t - delay; `first` is at least as much.
    """

    criterion: Criterion
    first: int = 0
    each: bool = False
    delay: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.delay <= self.first:
            raise ValueError(f"delay = {self.delay}, first = {self.first}; no step before {self.delay} has a target")

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The loss of the outputs of any step that counts, where all have the same target.

        Raises:
            ShapeError: each step has its own: `loss_at` knows which.
        """
        if self.each:
            raise ShapeError(
                "the target is another one at each step; a rule that calls its criterion itself takes one for all: "
                "call hdlif.learning.loss_at(criterion, outputs, target, t)"
            )
        return self.criterion(outputs, target)


def first_step(criterion: Criterion) -> int:
    """The first step whose outputs count."""
    return criterion.first if isinstance(criterion, Timed) else 0


def loss_at(criterion: Criterion, outputs: Tensor, target: Tensor, step: int) -> Tensor:
    """The loss of the outputs [B, n] of one step that counts."""
    if isinstance(criterion, Timed) and criterion.each:
        return criterion.criterion(outputs, target[:, step - criterion.delay])
    return criterion(outputs, target)


def loss_over(criterion: Criterion, outputs: Tensor, target: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """The loss of the outputs [T, B, n] of all steps.

    That is criterion(reduce(those that count), target) where all have the same target, else the mean over the steps
    that count of criterion(outputs_t, target_t).
    """
    if not isinstance(criterion, Timed):
        return criterion(reduce(outputs), target)
    counted = outputs[criterion.first :]
    if not criterion.each:
        return criterion.criterion(reduce(counted), target)
    # [B, T, ...] to the order of the outputs; the mean over all is that of the steps' means, which are of B each.
    begin = criterion.first - criterion.delay
    targets = target[:, begin : begin + len(counted)].transpose(0, 1)
    return criterion.criterion(counted.flatten(0, 1), targets.flatten(0, 1))


def probabilities(target: Tensor, logits: Tensor) -> Tensor:
    """A target as the probability of each class, [B, classes], typed like the logits [B, classes]."""
    return (F.one_hot(target, logits.shape[-1]) if target.ndim == 1 else target).to(logits.dtype)

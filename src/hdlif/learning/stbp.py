"""Spatio-temporal back-propagation, which computes the exact gradient but needs memory that grows with T."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.learning.criterion import Criterion, loss_over, weighted_losses
from hdlif.learning.rule import Carry, Plan, Step, standing


def mean_logits(logits: Tensor) -> Tensor:
    """Return the mean of logits [T, B, classes] over time.

    >>> import torch
    >>> from hdlif.learning import mean_logits, sum_logits
    >>> logits = torch.tensor([[[1.0, 0.0]], [[2.0, 1.0]]])
    >>> mean_logits(logits).tolist(), sum_logits(logits).tolist()
    ([[1.5, 0.5]], [[3.0, 1.0]])

    Args:
        logits: [T, B, classes].
    """
    return logits.mean(0)


def sum_logits(logits: Tensor) -> Tensor:
    """Return the sum of logits [T, B, classes] over time, as in the published results.

    See `mean_logits` for an example.

    Args:
        logits: [T, B, classes].
    """
    return logits.sum(0)


@dataclass(frozen=True)
class STBP:
    """A rule with one backward pass through time and one update, for L = criterion(reduce(all logits), target).

    If the target changes with the step, L is the mean of criterion(logits_t, target_t).

    To detach the reset, choose a neuron with `functional.DetachedReset`.

    >>> import torch
    >>> from hdlif.learning import STBP
    >>> plan = STBP().schedule(4, torch.Generator())
    >>> plan.steps, plan.updates
    ((0, 1, 2, 3), (True,))

    See `SLTT` for an example of an update.

    Args:
        reduce: maps logits [T, B, classes] to [B, classes].
        loss: "reduced", as above; or "each", the mean of the steps' losses, (1/T)·Σ_t criterion(logits_t, target),
            which rules that cut time minimise.
        criterion: maps (logits [B, classes], target) to a scalar, by default cross-entropy; `Trainer` sets the task's.
    """

    criterion: Criterion = F.cross_entropy
    reduce: Callable[[Tensor], Tensor] = mean_logits
    loss: Literal["reduced", "each"] = "reduced"

    def __post_init__(self) -> None:
        if self.loss not in ("reduced", "each"):
            raise ValueError(f"loss = {self.loss!r}; choose one of each, reduced")
        if self.loss == "each" and self.reduce is not mean_logits:
            raise ValueError('loss = "each" computes the loss of each step separately; remove reduce')

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        return Plan(time_steps, tuple(range(time_steps)), (True,))

    def __call__(
        self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan, carry: Carry | None = None
    ) -> Iterator[Step]:
        state, before = standing(carry)
        logits, state = model(x, state, steps=range(before, before + plan.time_steps))
        if carry is not None:
            carry.after(state, plan.time_steps)
        # Free the state: the backward pass needs the memory.
        del state
        if self.loss == "each":
            loss = weighted_losses(self.criterion, logits, target)
        else:
            loss = loss_over(self.criterion, logits, target, self.reduce)
        yield Step(loss, logits.detach(), update=True)

"""Spatio-temporal back-propagation: the exact gradient, with memory that grows with T."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.learning.criterion import Criterion, loss_over
from hdlif.learning.rule import Plan, Step


def mean_logits(logits: Tensor) -> Tensor:
    """[T, B, classes] to the mean over time."""
    return logits.mean(0)


def sum_logits(logits: Tensor) -> Tensor:
    """[T, B, classes] to the sum over time: what the published rows train on."""
    return logits.sum(0)


@dataclass(frozen=True)
class STBP:
    """L = criterion(reduce(logits of all T steps), target); one backward pass through time, one update.

    Where the target changes with the step, L is the mean of criterion(logits_t, target_t).

    Detaching the reset is the neuron's to say (`functional.DetachedReset`).
    """

    criterion: Criterion = F.cross_entropy
    reduce: Callable[[Tensor], Tensor] = mean_logits

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        return Plan(time_steps, tuple(range(time_steps)), (True,))

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan) -> Iterator[Step]:
        logits, _ = model(x, steps=range(plan.time_steps))
        yield Step(loss_over(self.criterion, logits, target, self.reduce), logits.detach(), update=True)

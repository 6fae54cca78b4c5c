"""Spatio-temporal back-propagation: the exact gradient, with memory that grows with T."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.learning.criterion import Criterion, loss_over, weighted_losses
from hdlif.learning.rule import Carry, Plan, Step, standing


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

    Args:
        reduce: logits [T, B, classes] to [B, classes].
        loss: "reduced", as above; or "each", the mean of the steps' losses, (1/T)·Σ_t criterion(logits_t, target): what
            the rules that cut time follow.
    """

    criterion: Criterion = F.cross_entropy
    reduce: Callable[[Tensor], Tensor] = mean_logits
    loss: Literal["reduced", "each"] = "reduced"

    def __post_init__(self) -> None:
        if self.loss not in ("reduced", "each"):
            raise ValueError(f"loss = {self.loss!r}; choose one of each, reduced")
        if self.loss == "each" and self.reduce is not mean_logits:
            raise ValueError('loss = "each" takes the logits of each step by themselves; leave reduce out')

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        return Plan(time_steps, tuple(range(time_steps)), (True,))

    def __call__(
        self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan, carry: Carry | None = None
    ) -> Iterator[Step]:
        state, before = standing(carry)
        logits, state = model(x, state, steps=range(before, before + plan.time_steps))
        if carry is not None:
            carry.after(state, plan.time_steps)
        # Nobody reads it any more, and the backward pass needs the memory.
        del state
        if self.loss == "each":
            loss = weighted_losses(self.criterion, logits, target)
        else:
            loss = loss_over(self.criterion, logits, target, self.reduce)
        yield Step(loss, logits.detach(), update=True)

"""What a learning rule is: it owns time and truncation; the training loop owns optimiser, precision and devices."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(logits [B, classes], target) -> scalar loss; a target is int64 [B], or probabilities [B, classes]."""


@dataclass(frozen=True)
class Plan:
    """What a rule will do with one batch, known before any forward pass.

    Attributes:
        time_steps: T.
        steps: the time steps that have a loss, ascending.
        updates: for each `Step` the rule will yield, whether it ends an optimiser update.
    """

    time_steps: int
    steps: tuple[int, ...]
    updates: tuple[bool, ...]


@dataclass(frozen=True)
class Step:
    """One loss to back-propagate (before the next is asked for), its logits [K, B, classes] without graph."""

    loss: Tensor
    logits: Tensor
    update: bool


class Rule(Protocol):
    """A learning rule."""

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        """Draw what to do with the next batch."""

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan) -> Iterator[Step]:
        """Run `model` on x [T, B, ...] (or [1, B, ...], constant in time) and yield the plan's losses in order."""


def chunk(x: Tensor, steps: range) -> Tensor:
    """The part of a sequence that belongs to `steps`: a slice, or the one constant input."""
    return x if x.shape[0] == 1 else x[steps.start : steps.stop]


def probabilities(target: Tensor, logits: Tensor) -> Tensor:
    """A target as the probability of each class, [B, classes], typed like the logits [B, classes]."""
    return (F.one_hot(target, logits.shape[-1]) if target.ndim == 1 else target).to(logits.dtype)

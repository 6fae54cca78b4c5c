"""What a learning rule is: it owns time and truncation; the training loop owns optimiser, precision and devices."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


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
    """One loss to back-propagate before the next is asked for, and the outputs [K, B, n] of its steps without graph."""

    loss: Tensor
    logits: Tensor
    update: bool


class Rule(Protocol):
    """A learning rule."""

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        """Draw what to do with the next batch."""

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan) -> Iterator[Step]:
        """Run `model` on x [T, B, ...] (or [1, B, ...], constant in time) and yield the plan's losses in order.

        The target is what the rule's criterion takes: [B, ...], or [B, T, ...] where it changes with the step.
        """


def chunk(x: Tensor, steps: range) -> Tensor:
    """The part of a sequence that belongs to `steps`: a slice, or the one constant input."""
    return x if x.shape[0] == 1 else x[steps.start : steps.stop]

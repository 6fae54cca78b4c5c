"""Spatial learning through time: the temporal gradient is cut between steps (Meng et al., ICCV 2023)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.learning.criterion import Criterion, first_step, step_weights
from hdlif.learning.mean_loss import Loss, check_loss, criterion_of
from hdlif.learning.online import at_once
from hdlif.learning.rule import Carry, Plan, Step

Update = Literal["sum", "each"]


@dataclass(frozen=True)
class SLTT:
    """Every step is run and back-propagated alone, with the potential it starts from detached.

    >>> import torch
    >>> from torch import nn
    >>> from hdlif.learning import SLTT
    >>> from hdlif.nn import HDLIF, Sequential
    >>> model = Sequential(nn.Linear(2, 8), HDLIF(time_steps=4), nn.Linear(8, 3))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> rule, x, target = SLTT("each"), torch.rand(4, 5, 2), torch.tensor([0, 1, 2, 0, 1])
    >>> plan = rule.schedule(4, torch.Generator().manual_seed(0))
    >>> for step in rule(model, x, target, plan):
    ...     step.loss.backward()
    ...     if step.update:
    ...         optimizer.step()
    ...         optimizer.zero_grad()
    >>> plan.updates
    (True, True, True, True)

    Args:
        update: "sum" makes one update with the gradient of (1/T)·Σ_t criterion(logits_t, target); "each" makes an
            update after every step with criterion(logits_t, target), HD-LIF's own online form.
        chunk: steps that are run and back-propagated at once, each of them cut from the others all the same: the same
            gradient, but for rounding, in the memory of so many steps, and in less time where layers are small. For
            "sum" alone; what keeps a state has to know of it (`nn.Temporal.cuts`; all modules of this package but
            Mem-BN do).
        loss: "each", the steps' losses, as above; or "reduced", criterion(the mean of the logits, target), as `STBP`
            has it. All steps are then run twice, first without a graph, for what the mean is. For "sum" alone.
        criterion: maps (logits [B, classes], target) to a scalar, by default cross-entropy; `Trainer` gives the task's.
    Memory is that of one step (of `chunk`), time T forward and T backward passes. SLTT-k, which back-propagates a
    random k of the T steps, is `StochasticStep(k, complete=True)`. With HD-LIF neurons the gradient of a step is that
    of STBP where the neuron fired and zero if it was silent (Theorem 4.2 of arXiv 2410.07547).
    """

    update: Update = "sum"
    criterion: Criterion = F.cross_entropy
    chunk: int = 1
    loss: Loss = "each"

    def __post_init__(self) -> None:
        check_update(self.update, self.chunk)
        check_loss(self.loss, self.update)

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        return every_step(time_steps, self.update, self.chunk, first=first_step(self.criterion))

    def __call__(
        self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan, carry: Carry | None = None
    ) -> Iterator[Step]:
        weight = weight_of_step(self.update, self.criterion, plan)
        criterion = criterion_of(self.loss, self.criterion, model, x, target, plan, span=self.chunk, carry=carry)
        run = at_once(self.chunk)
        return run(model, x, target, plan, criterion=criterion, weight=weight, carry=carry)


def weight_of_step(update: Update, criterion: Criterion, plan: Plan) -> Callable[[int], float]:
    """The factor of each step's loss: what it weighs, over the weight of all alike where each makes an update."""
    first, weights = first_step(criterion), step_weights(criterion, plan.time_steps)
    if update == "each":
        return lambda t: weights.beside_even(t - first)
    return lambda t: weights[t - first]


def check_update(update: str, chunk: int = 1) -> None:
    """Raise `ValueError` unless `update` is one of "each" and "sum", and `chunk` goes with it."""
    if update not in ("sum", "each"):
        raise ValueError(f"update = {update!r}; choose one of each, sum")
    if chunk < 1:
        raise ValueError(f"chunk = {chunk}; it must be at least 1")
    if chunk > 1 and update == "each":
        raise ValueError(f'chunk = {chunk} does not go with update = "each", after which weights change; choose "sum"')


def every_step(time_steps: int, update: Update, chunk: int = 1, *, first: int = 0) -> Plan:
    """A loss at each of T steps from `first` on, with one update at the end ("sum") or one at each.

    Args:
        chunk: steps whose losses are one.
    """
    steps = tuple(range(first, time_steps))
    losses = -(-len(steps) // chunk)
    return Plan(time_steps, steps, tuple(update == "each" or number == losses for number in range(1, losses + 1)))

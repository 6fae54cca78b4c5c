"""Spatial learning through time (Meng et al., ICCV 2023), which cuts the temporal gradient between steps."""

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
    """A rule that runs and back-propagates every step separately, from a detached potential.

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
        chunk: steps to run and back-propagate together, each still cut from the others. The gradient is the same up to
            rounding; it takes the memory of so many steps, and less time if layers are small. Only for "sum"; modules
            with a state must support it (`nn.Temporal.cuts`), as all modules of this package except Mem-BN do.
        loss: "each", the steps' losses, as above; or "reduced", criterion(the mean of the logits, target), as in
            `STBP`. All steps then run twice, first without a graph to compute the mean. Only for "sum".
        criterion: maps (logits [B, classes], target) to a scalar, by default cross-entropy; `Trainer` sets the task's.
    Memory covers one step (or `chunk` steps); the time is T forward and T backward passes. SLTT-k, which
    back-propagates a random k of the T steps, is `StochasticStep(k, complete=True)`. With HD-LIF neurons, the gradient
    of a step equals STBP's if the neuron fired and is zero if it was silent (Theorem 4.2 of arXiv 2410.07547).
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
    """Return a function that maps a step to the weight of the step's loss.

    If an update follows each step, the weights are scaled so that their mean is 1.
    """
    first, weights = first_step(criterion), step_weights(criterion, plan.time_steps)
    if update == "each":
        return lambda t: weights.beside_even(t - first)
    return lambda t: weights[t - first]


def check_update(update: str, chunk: int = 1) -> None:
    """Raise `ValueError` unless `update` is "each" or "sum", and `chunk` is valid for this update."""
    if update not in ("sum", "each"):
        raise ValueError(f"update = {update!r}; choose one of each, sum")
    if chunk < 1:
        raise ValueError(f"chunk = {chunk}; it must be at least 1")
    if chunk > 1 and update == "each":
        raise ValueError(
            f'chunk = {chunk} cannot be combined with update = "each", which changes the weights; choose "sum"'
        )


def every_step(time_steps: int, update: Update, chunk: int = 1, *, first: int = 0) -> Plan:
    """Return a plan with a loss at each step from `first` to T - 1, and an update at the end ("sum") or at each step.

    Args:
        chunk: number of steps that share one loss.
    """
    steps = tuple(range(first, time_steps))
    losses = -(-len(steps) // chunk)
    return Plan(time_steps, steps, tuple(update == "each" or number == losses for number in range(1, losses + 1)))

"""Single-step random training: draw k of T steps, train on these steps, and stop after the last of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.learning.criterion import Criterion, StepWeights, first_step, step_weights
from hdlif.learning.draws import Draw, fitting
from hdlif.learning.mean_loss import Loss, check_loss, criterion_of
from hdlif.learning.online import online_steps
from hdlif.learning.rule import Carry, Plan, Step


@dataclass(frozen=True)
class StochasticStep:
    """A rule that makes one update with the loss Σ_{t in S} w_t·criterion(logits_t, target) of k random steps S.

    The other steps up to max(S) run without a graph but contribute to batch-norm statistics. Steps after max(S) do not
    run. The expected gradient equals the gradient of `SLTT("sum")`. For a uniform draw, T times the gradient has the
    variance (T²/k)·V·(T - k)/(T - 1), where V is the variance of the steps' gradients over t. Memory covers one step.
    For k = 1, a batch takes (T + 1)/2 forward passes on average, and one backward pass (arXiv 2410.07547). If the
    criterion weights steps (`Timed.weights`), the expected gradient is the gradient of the weighted sum of losses.

    >>> import torch
    >>> from hdlif.learning import StochasticStep
    >>> plan = StochasticStep(k=1).schedule(4, torch.Generator())
    >>> len(plan.steps), plan.updates
    (1, (True,))

    See `SLTT` for an example of an update.

    Args:
        k: steps with a loss, at most T.
        chunk: most steps to run together without a graph, which takes the memory of so many steps of one layer.
        draw: `Uniform`, with w_t = 1/k, or `Stratified`; None chooses `Uniform` for equal weights, otherwise
            `Stratified`, which draws steps in proportion to their weights.
        complete: also run the steps after max(S), without a graph, so batch norm covers all T equally. This is
            SLTT-k (Meng et al., ICCV 2023), whose code has the factor k/T on the loss in the learning rate.
        loss: "each" or "reduced", as in `SLTT`: the mean of the logits covers all T steps, which then run first.
        criterion: maps (logits [B, classes], target) to a scalar, by default cross-entropy; `Trainer` sets the task's.
    """

    k: int = 1
    criterion: Criterion = F.cross_entropy
    chunk: int = 4
    draw: Draw | None = None
    complete: bool = False
    loss: Loss = "each"

    def __post_init__(self) -> None:
        if self.k < 1 or self.chunk < 1:
            raise ValueError(f"k = {self.k}, chunk = {self.chunk}; both must be at least 1")
        check_loss(self.loss)

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        weights = self._weights(time_steps)
        return self._plan(time_steps, self._draw(weights)(weights, self.k, generator))

    def plans(self, time_steps: int) -> tuple[tuple[Plan, float], ...]:
        """Return all possible plans, each with its probability."""
        weights = self._weights(time_steps)
        drawn = self._draw(weights).every(weights, self.k)
        return tuple((self._plan(time_steps, steps), probability) for steps, probability in drawn)

    def _draw(self, weights: StepWeights) -> Draw:
        return fitting(weights) if self.draw is None else self.draw

    def _weights(self, time_steps: int) -> StepWeights:
        """Return the weights of the steps that may be drawn."""
        counted = time_steps - first_step(self.criterion)
        if self.k > counted:
            of = "" if counted == time_steps else f", of which {counted} count"
            raise ValueError(f"k = {self.k} steps cannot be drawn from time_steps = {time_steps}{of}")
        return step_weights(self.criterion, time_steps)

    def _plan(self, time_steps: int, drawn: Iterable[int]) -> Plan:
        first = first_step(self.criterion)
        return Plan(time_steps, tuple(first + step for step in drawn), (False,) * (self.k - 1) + (True,))

    def __call__(
        self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan, carry: Carry | None = None
    ) -> Iterator[Step]:
        first, weights = first_step(self.criterion), self._weights(plan.time_steps)
        draw = self._draw(weights)
        return online_steps(
            model,
            x,
            target,
            plan,
            criterion=criterion_of(self.loss, self.criterion, model, x, target, plan, span=self.chunk, carry=carry),
            weight=lambda t: draw.factor(weights, self.k, t - first),
            span=self.chunk,
            complete=self.complete,
            carry=carry,
        )

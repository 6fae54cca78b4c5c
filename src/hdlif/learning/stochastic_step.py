"""The random time step: learn from k of T steps, run no step after the last of them."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.learning.rule import Criterion, Plan, Step, chunk
from hdlif.nn import State, detach, hold_weights


@dataclass(frozen=True)
class StochasticStep:
    """Learn from a uniformly drawn set S of k time steps: (1/k)·Σ_{t in S} criterion(logits_t, target), one update.

    Steps before and between those of S run without a graph (batch-norm statistics follow them all the same); steps
    after max(S) are not run. The expected gradient is that of `SLTT("sum")`. Memory is that of one step; for k = 1
    the mean number of forward passes is (T + 1)/2, with one backward pass (arXiv 2410.07547).

    Args:
        k: steps with a loss, at most T.
        chunk: most steps run at once without a graph; 1 keeps the memory of those steps lowest.
    """

    k: int = 1
    criterion: Criterion = F.cross_entropy
    chunk: int = 1

    def __post_init__(self) -> None:
        if self.k < 1 or self.chunk < 1:
            raise ValueError(f"k = {self.k}, chunk = {self.chunk}; both must be at least 1")

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        self._check(time_steps)
        drawn = torch.randperm(time_steps, generator=generator)[: self.k]
        return self._plan(time_steps, sorted(drawn.tolist()))

    def plans(self, time_steps: int) -> tuple[Plan, ...]:
        """Every plan that `schedule` may draw, each as likely as the others."""
        self._check(time_steps)
        return tuple(self._plan(time_steps, steps) for steps in itertools.combinations(range(time_steps), self.k))

    def _check(self, time_steps: int) -> None:
        if self.k > time_steps:
            raise ValueError(f"k = {self.k} steps cannot be drawn from time_steps = {time_steps}")

    def _plan(self, time_steps: int, steps: Iterable[int]) -> Plan:
        return Plan(time_steps, tuple(steps), (False,) * (self.k - 1) + (True,))

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan) -> Iterator[Step]:
        state: State | None = None
        start = 0
        with hold_weights(model) as held:
            for t, update in zip(plan.steps, plan.updates, strict=True):
                with torch.no_grad():
                    for first in range(start, t, self.chunk):
                        steps = range(first, min(first + self.chunk, t))
                        _, state = model(chunk(x, steps), state, steps=steps)
                if update:
                    held.last()
                steps = range(t, t + 1)
                logits, state = model(chunk(x, steps), state, steps=steps)
                yield Step(self.criterion(logits[0], target) / self.k, logits.detach(), update)
                state, start = detach(state), t + 1

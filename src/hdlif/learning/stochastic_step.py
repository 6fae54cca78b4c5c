"""The random time step: learn from k of T steps, run no step after the last of them."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.learning.criterion import Criterion, first_step
from hdlif.learning.online import online_steps
from hdlif.learning.rule import Plan, Step


class Draw(Protocol):
    """How k of T steps are drawn, and the weight of a drawn step's loss that makes the mean over draws (1/T)·Σ_t."""

    def __call__(self, time_steps: int, k: int, generator: torch.Generator) -> list[int]: ...

    def every(self, time_steps: int, k: int) -> list[tuple[int, ...]]:
        """All that may be drawn, each as likely as the others."""

    def weight(self, time_steps: int, k: int, step: int) -> float: ...


@dataclass(frozen=True)
class Uniform:
    """Every set of k steps alike, each with weight 1/k."""

    def __call__(self, time_steps: int, k: int, generator: torch.Generator) -> list[int]:
        drawn: list[int] = torch.randperm(time_steps, generator=generator)[:k].tolist()
        return sorted(drawn)

    def every(self, time_steps: int, k: int) -> list[tuple[int, ...]]:
        return list(itertools.combinations(range(time_steps), k))

    def weight(self, time_steps: int, k: int, step: int) -> float:
        return 1 / k


@dataclass(frozen=True)
class Stratified:
    """One step from each of k strata, the i-th from ⌊i·T/k⌋ to ⌊(i + 1)·T/k⌋, with weight (stratum's length)/T.

    Early and late steps are then never drawn alone: less variance where steps differ along time.
    """

    def __call__(self, time_steps: int, k: int, generator: torch.Generator) -> list[int]:
        bounds = self._bounds(time_steps, k)
        lengths = torch.tensor([stop - start for start, stop in bounds])
        offsets = (torch.rand(k, generator=generator, dtype=torch.float64) * lengths).long().tolist()
        return [start + offset for (start, _), offset in zip(bounds, offsets, strict=True)]

    def every(self, time_steps: int, k: int) -> list[tuple[int, ...]]:
        return list(itertools.product(*(range(*bound) for bound in self._bounds(time_steps, k))))

    def weight(self, time_steps: int, k: int, step: int) -> float:
        start, stop = next(bound for bound in self._bounds(time_steps, k) if bound[0] <= step < bound[1])
        return (stop - start) / time_steps

    @staticmethod
    def _bounds(time_steps: int, k: int) -> list[tuple[int, int]]:
        edges = [i * time_steps // k for i in range(k + 1)]
        return list(itertools.pairwise(edges))


@dataclass(frozen=True)
class StochasticStep:
    """Learn from a drawn set S of k time steps: Σ_{t in S} w_t·criterion(logits_t, target), one update.

    Steps before and between those of S run without a graph (batch-norm statistics follow them all the same); steps
    after max(S) are not run. The expected gradient is that of `SLTT("sum")`, for k drawn uniformly with variance
    (T²/k)·V·(T - k)/(T - 1) of T times it, V being the variance over t of the step's gradient. Memory is that of one
    step; for k = 1 the mean number of forward passes is (T + 1)/2, with one backward pass (arXiv 2410.07547).

    Args:
        k: steps with a loss, at most T.
        chunk: most steps run at once without a graph; 1 keeps the memory of those steps lowest.
        draw: `Uniform`, with w_t = 1/k, or `Stratified`.
        complete: also run the steps after max(S), without a graph, so that batch norm sees all T alike. This is
            SLTT-k (Meng et al., ICCV 2023), whose code has the factor k/T on the loss in the learning rate.
    """

    k: int = 1
    criterion: Criterion = F.cross_entropy
    chunk: int = 1
    draw: Draw = Uniform()
    complete: bool = False

    def __post_init__(self) -> None:
        if self.k < 1 or self.chunk < 1:
            raise ValueError(f"k = {self.k}, chunk = {self.chunk}; both must be at least 1")

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        return self._plan(time_steps, self.draw(self._counted(time_steps), self.k, generator))

    def plans(self, time_steps: int) -> tuple[Plan, ...]:
        """Every plan that `schedule` may draw, each as likely as the others."""
        drawn = self.draw.every(self._counted(time_steps), self.k)
        return tuple(self._plan(time_steps, steps) for steps in drawn)

    def _counted(self, time_steps: int) -> int:
        """How many steps may be drawn."""
        counted = time_steps - first_step(self.criterion)
        if self.k > counted:
            of = "" if counted == time_steps else f", of which {counted} count"
            raise ValueError(f"k = {self.k} steps cannot be drawn from time_steps = {time_steps}{of}")
        return counted

    def _plan(self, time_steps: int, drawn: Iterable[int]) -> Plan:
        first = first_step(self.criterion)
        return Plan(time_steps, tuple(first + step for step in drawn), (False,) * (self.k - 1) + (True,))

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan) -> Iterator[Step]:
        first = first_step(self.criterion)
        return online_steps(
            model,
            x,
            target,
            plan,
            criterion=self.criterion,
            weight=lambda t: self.draw.weight(plan.time_steps - first, self.k, t - first),
            span=self.chunk,
            complete=self.complete,
        )

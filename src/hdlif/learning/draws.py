"""Draw k of the steps with a loss, with factors that make the expected loss equal to the weighted sum of all losses."""

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from hdlif.learning.criterion import StepWeights


class Draw(Protocol):
    """A distribution over sets of k positions, with a weighting factor for the loss at each drawn position.

    The factors make the expected loss equal to Σ_i w_i·loss_i. See `Uniform` and `Stratified`.
    """

    def __call__(self, weights: StepWeights, k: int, generator: torch.Generator) -> list[int]: ...

    def every(self, weights: StepWeights, k: int) -> list[tuple[tuple[int, ...], float]]:
        """Return all possible draws, each with its probability."""

    def factor(self, weights: StepWeights, k: int, place: int) -> float: ...


@dataclass(frozen=True)
class Uniform:
    """A draw in which all sets of k out of n positions are equally likely.

    The factor of a position with weight w is n·w/k, which is 1/k if all weights are equal.

    >>> from hdlif.learning import StochasticStep, Uniform
    >>> rule = StochasticStep(k=2, draw=Uniform())
    """

    def __call__(self, weights: StepWeights, k: int, generator: torch.Generator) -> list[int]:
        drawn: list[int] = torch.randperm(weights.count, generator=generator)[:k].tolist()
        return sorted(drawn)

    def every(self, weights: StepWeights, k: int) -> list[tuple[tuple[int, ...], float]]:
        found = list(itertools.combinations(range(weights.count), k))
        return [(one, 1 / len(found)) for one in found]

    def factor(self, weights: StepWeights, k: int, place: int) -> float:
        return weights.beside_even(place) / k


@dataclass(frozen=True)
class Stratified:
    """A draw of one position from each of k strata, which are contiguous ranges with about 1/k of the weight each.

    Within a stratum, the probability of a position is proportional to its weight, and the factor of every position is
    the total weight of the stratum. A stratified draw never consists of only early or only late steps, which reduces
    the variance if steps differ over time. For equal weights, stratum i ranges from ⌊i·n/k⌋ to ⌊(i + 1)·n/k⌋.

    The rule in this example draws one step from the first half and one step from the second half:

    >>> import torch
    >>> from hdlif.learning import StochasticStep, Stratified
    >>> first, second = StochasticStep(k=2, draw=Stratified()).schedule(8, torch.Generator()).steps
    >>> first < 4 <= second
    True
    """

    def __call__(self, weights: StepWeights, k: int, generator: torch.Generator) -> list[int]:
        bounds = strata(weights, k)
        turns = torch.rand(k, generator=generator, dtype=torch.float64)
        if weights.weights is None:
            lengths = torch.tensor([stop - start for start, stop in bounds])
            offsets = (turns * lengths).long().tolist()
            return [start + offset for (start, _), offset in zip(bounds, offsets, strict=True)]
        shares = (torch.tensor(weights.weights[start:stop], dtype=torch.float64) for start, stop in bounds)
        return [
            # Take the last place if rounding has made the sum smaller than the drawn value.
            start + min(int(torch.searchsorted(share.cumsum(0), turn * share.sum(), right=True)), stop - start - 1)
            for (start, stop), turn, share in zip(bounds, turns, shares, strict=True)
        ]

    def every(self, weights: StepWeights, k: int) -> list[tuple[tuple[int, ...], float]]:
        bounds = strata(weights, k)
        masses = [weights.mass(*bound) for bound in bounds]
        return [
            (one, math.prod(weights[place] / mass for place, mass in zip(one, masses, strict=True)))
            for one in itertools.product(*(range(*bound) for bound in bounds))
        ]

    def factor(self, weights: StepWeights, k: int, place: int) -> float:
        return weights.mass(*next(bound for bound in strata(weights, k) if bound[0] <= place < bound[1]))


def strata(weights: StepWeights, k: int) -> list[tuple[int, int]]:
    """Return k adjacent, non-empty ranges (start, stop) that cover all positions, each with about 1/k of the weight."""
    if weights.weights is None:
        edges = [i * weights.count // k for i in range(k + 1)]
    else:
        sums = list(itertools.accumulate(weights.weights))
        edges = [0]
        for i in range(1, k):
            place = min(bisect.bisect_left(sums, i / k), weights.count - 1)
            is_nearer = place and i / k - sums[place - 1] < sums[place] - i / k
            nearest = place if is_nearer else place + 1
            edges.append(min(max(nearest, edges[-1] + 1), weights.count - (k - i)))
        edges.append(weights.count)
    return list(itertools.pairwise(edges))


def fitting(weights: StepWeights) -> Draw:
    """Return the default draw, which is `Uniform` for equal weights and `Stratified` for other weights."""
    return Uniform() if weights.weights is None else Stratified()


def in_proportion(masses: Sequence[float]) -> StepWeights:
    """Return weights proportional to the given masses, where `weights` is None if all masses are equal."""
    if len(set(masses)) == 1:
        return StepWeights(len(masses))
    whole = math.fsum(masses)
    return StepWeights(len(masses), tuple(mass / whole for mass in masses))

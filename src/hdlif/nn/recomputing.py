"""Modules that keep no graph of their forward pass and run it once more in the backward pass, and how they are watched.

Hooks inside such a module are called without a graph in the forward pass, and once more in the backward pass. What
watches a network gives it measures along with its steps instead, or lets the graphs be kept (`carrying`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from hdlif.nn.state import Temporal
from hdlif.nn.steps import Measure

Measured = list[tuple[Measure, Tensor]]


class Recomputing(Temporal):
    """A module that runs again in the backward pass, unless the steps carry `keeps_graphs`.

    It runs its passes with `collected` measures, gives those of a forward pass away with a graph of its own, and takes
    them again in the backward pass.
    """


@dataclass(frozen=True)
class _Collected(Measure):
    measure: Measure
    found: Measured

    def take(self, x: Tensor, y: Tensor) -> None:
        self.found.append((self.measure, self.of(x, y)))


def collected(measures: Mapping[nn.Module, Measure], found: Measured) -> dict[nn.Module, Measure]:
    """Measures that are added to `found` in the order in which modules run, and given to no one."""
    return {module: _Collected(one.of, one.give, one, found) for module, one in measures.items()}

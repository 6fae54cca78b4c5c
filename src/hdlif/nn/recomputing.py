"""Modules that keep no graph of their forward pass and run it once more in the backward pass, and how they are watched.

Hooks inside such a module are called without a graph in the forward pass, and once more in the backward pass. What
watches a network takes measures instead, or lets the graphs be kept.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hdlif.nn.state import Temporal


@dataclass(frozen=True)
class Measure:
    """A small tensor made of one module's forward pass, which may enter a loss.

    Attributes:
        of: makes it from the module's input and output; a state is no part of the output.
        give: takes it, with a graph, once for each forward pass that has one.
    """

    of: Callable[[Tensor, Tensor], Tensor]
    give: Callable[[Tensor], None]


Measured = list[tuple[Measure, Tensor]]


class Recomputing(Temporal):
    """A module that runs again in the backward pass, unless `keeps_graph`.

    It runs its passes in `collecting`, gives the measures of a forward pass away with a graph of its own, and takes
    them again in the backward pass.
    """

    keeps_graph = False
    _measured: Measured | None = None

    @contextmanager
    def collecting(self) -> Iterator[Measured]:
        """Yields the measures taken of modules inside, in the order in which they run; none of them is given."""
        found: Measured = []
        self._measured = found
        try:
            yield found
        finally:
            self._measured = None


@contextmanager
def graphs_kept(model: nn.Module) -> Iterator[None]:
    """Inside, every module keeps its graph: gradients are the same, and hooks see each pass once, with it."""
    changed = [module for module in model.modules() if isinstance(module, Recomputing) and not module.keeps_graph]
    for module in changed:
        module.keeps_graph = True
    try:
        yield
    finally:
        for module in changed:
            module.keeps_graph = False


@contextmanager
def measuring(model: nn.Module, measures: Mapping[nn.Module, Measure]) -> Iterator[None]:
    """Take measures of modules of `model` in each pass inside that has a graph; its backward pass is inside too."""
    around = {
        inner: module for module in model.modules() if isinstance(module, Recomputing) for inner in module.modules()
    }

    def taking(measure: Measure, recomputing: Recomputing | None) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            y = output[0] if isinstance(output, tuple) else output
            if recomputing is not None and recomputing._measured is not None:
                recomputing._measured.append((measure, measure.of(args[0], y)))
            elif torch.is_grad_enabled():
                measure.give(measure.of(args[0], y))

        return hook

    hooks = [module.register_forward_hook(taking(m, around.get(module))) for module, m in measures.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()

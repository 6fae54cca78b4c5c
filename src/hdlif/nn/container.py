"""A sequence of temporal and plain modules."""

from collections.abc import Mapping

from torch import Tensor, nn

from hdlif.nn.scope import run_in_order
from hdlif.nn.state import Paths, State, Temporal, steps_of


class Sequential(Temporal):
    """Modules one after another; plain ones see time folded into the batch, temporal ones carry their state.

    Children are named "0", "1", ..., or as the keys of a mapping that is given in place of a module.
    `network(x, steps=range(T))` starts a sequence; the state that it returns continues it. Steps may be left out where
    x has K > 1 of them and starts a sequence.

    >>> import torch
    >>> from torch import nn
    >>> from hdlif.nn import HDLIF, QuantConv2d, Sequential
    >>> network = Sequential(QuantConv2d(1, 4, 3), HDLIF(time_steps=4), nn.Flatten(), nn.Linear(4 * 6 * 6, 10))
    >>> x = torch.rand(4, 2, 1, 8, 8)
    >>> logits, state = network(x)
    >>> list(logits.shape), {name: list(kept) for name, kept in state.items()}
    ([4, 2, 10], {'1': ['potential']})

    An image that is the same at every step has a time axis of 1, and a stream goes step by step:

    >>> logits, state = network(x[:1], steps=range(4))
    >>> logits, state = network(x[:1], state, steps=range(4, 5))

    Args:
        modules: modules, or mappings from names to modules; a plain module must not mix the samples of a batch.
    Raises:
        StateError: steps are left out where x does not determine them, or the state is another network's; or
            a child is a batch norm of `torch.nn`, which does not know of time.
        ShapeError: the time axis of x is neither 1 nor the number of steps.
    """

    def __init__(self, *modules: nn.Module | Mapping[str, nn.Module]) -> None:
        super().__init__()
        for index, module in enumerate(modules):
            named = {str(index): module} if isinstance(module, nn.Module) else module
            for name, child in named.items():
                self.add_module(name, child)

    @property
    def paths(self) -> Paths:
        return [list(self._modules)]

    def forward(self, x: Tensor, state: State | None = None, steps: range | None = None) -> tuple[Tensor, State | None]:
        return run_in_order(self, x, state, steps_of(x, state, steps))

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, index: int) -> nn.Module:
        return list(self.children())[index]

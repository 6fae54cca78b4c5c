"""A sequence of temporal and plain modules."""

from collections.abc import Mapping

from torch import Tensor, nn

from hdlif.nn.state import Paths, State, Temporal, run_in_order, steps_of


class Sequential(Temporal):
    """Modules one after another; plain ones see time folded into the batch, temporal ones carry their state.

    Children are named "0", "1", ..., or as the one mapping given names them. `network(x, steps=range(T))` starts a
    sequence, and steps may be left out where x has K > 1 of them.
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

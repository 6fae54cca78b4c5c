"""Convert the modules of a torch network to spiking modules, with one function per module type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn
from torch.nn.utils import parametrize

from hdlif.nn import QuantLayer, Temporal

ACTIVATIONS = "ReLU, ReLU6 or Hardtanh from 0"


@dataclass(frozen=True)
class Fed:
    """The known properties of a value in a network that has not run yet.

    Attributes:
        channels: C of [B, C, ...]; None if unknown.
        point: whether the shape is [B, C] or [B, C, 1, 1], so flattening does not change the number of channels.
    """

    channels: int | None = None
    point: bool = False


class Turned(NamedTuple):
    """A module of the spiking network, with the properties of its output."""

    module: nn.Module
    gives: Fed


Turn = Callable[["Turning", Any, str, Fed], Turned]
"""Function (turning, module, its path, its input) -> converted module."""
_TURNS: dict[type[nn.Module] | str, Turn] = {}


def turns(*kinds: type[nn.Module] | str) -> Callable[[Turn], Turn]:
    """Register a function that converts the given types of modules (strings for types from optional libraries)."""

    def register(turn: Turn) -> Turn:
        _TURNS.update(dict.fromkeys(kinds, turn))
        return turn

    return register


_MADE_OF_OTHERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)


def is_layer(kind: type) -> bool:
    """Return whether a type is one of torch's own layers, which tracing does not enter."""
    return kind.__module__.startswith("torch.nn.") and kind not in _MADE_OF_OTHERS


class Turning:
    """The conversion of one network, module by module in execution order.

    Args:
        neuron: makes a neuron layer from its channels.
        follow: converts a composite module through its forward pass.
    Attributes:
        synapses: layers with weights by path, in execution order, each with the torch layer that has the same weights.
        neurons: number of neuron layers made so far.
        problems: (path, problem) of each part that cannot be converted.
    """

    def __init__(self, neuron: Callable[[int], nn.Module], follow: Turn) -> None:
        self._neuron, self._follow = neuron, follow
        self.synapses: dict[str, tuple[QuantLayer, nn.Module]] = {}
        self.neurons = 0
        self.problems: list[tuple[str, str]] = []
        self._ran: dict[nn.Module, str] = {}

    def turn(self, module: nn.Module, path: str, fed: Fed) -> Turned:
        """Convert a module or record a problem, and return the new module with the properties of its output."""
        kind = type(module)
        if isinstance(module, Temporal):
            return self.refuse(path, f"({kind.__name__}) already runs over time; only ordinary networks are accepted")
        turn = _TURNS.get(kind) or _TURNS.get(kind.__name__) or _TURNS.get(f"{kind.__module__}.{kind.__name__}")
        if turn is None:
            base = next((one for one in kind.__mro__ if one in _TURNS), None)
            if base is not None and (kind.forward is not base.forward or parametrize.is_parametrized(module)):
                return self.refuse(path, f"is a {base.__name__} with a computation of its own ({kind.__name__})")
            turn = _TURNS[base] if base is not None else None
        if turn is None and (base := next((one for one in kind.__mro__ if is_layer(one)), None)):
            also = "" if base is kind else f", a {base.__name__},"
            return self.refuse(path, f"({kind.__name__}){also} has no spiking counterpart")
        if (module._parameters or module._buffers) and self._ran.setdefault(module, path) != path:
            return self.refuse(
                path, f"runs more than once (also as {self._ran[module]}), and has one place for weights"
            )
        return (turn or self._follow)(self, module, path, fed)

    def fire(self, path: str, fed: Fed) -> Turned:
        """Return a neuron layer for an input with the properties `fed`."""
        if fed.channels is None:
            # The problem of an earlier part is sufficient.
            if self.problems:
                return Turned(nn.Identity(), fed)
            return self.refuse(path, "is an activation whose channels are not known; put a layer right before it")
        self.neurons += 1
        return Turned(self._neuron(fed.channels), fed)

    def refuse(self, path: str, why: str) -> Turned:
        """Record a problem with a module, and return a placeholder so that the conversion can continue."""
        self.problems.append((path, why))
        return Turned(nn.Identity(), Fed())

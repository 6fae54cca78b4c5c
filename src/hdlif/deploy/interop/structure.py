"""Network structures as plain values: child modules and operations, but no weights.

    {"input": [C, H, W], "output": NAME,
     "children": {NAME: {"kind": KIND, ...}},
     "lines": [[NAME, "child", [READ]], [NAME, "sum", [READ, READ]], [NAME, "multiple", [READ], FACTOR, SHIFT]]}

Each line computes a value from the network's input, which is named "", or from the values of earlier lines. A "child"
line runs the child with the same name. A recipe can contain the structure of an imported network, so a checkpoint
requires no other file.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from hdlif.errors import ConversionError, brief, did_you_mean
from hdlif.functional import HardReset, Surrogate, soft_reset
from hdlif.models.wiring import INPUT, Child, Line, Multiple, Sum, Wired
from hdlif.nn import (
    Affine,
    LeakyIntegrator,
    QuantConv1d,
    QuantConv2d,
    QuantLinear,
    Recurrent,
    Temporal,
    UnitLIF,
    WeightQuantizer,
)

Structure = Mapping[str, Any]
_SYNAPSES = ("conv1d", "conv2d", "linear")
MOST_CHILDREN = 10_000
MOST_SIZE = 2**24
"""Largest number in a structure; every number is a size or a part of a size."""


def build(
    structure: Structure,
    time_steps: int,
    *,
    quantizer: WeightQuantizer | None = None,
    surrogate: Surrogate | None = None,
) -> Wired:
    """Build a network from a structure, with newly initialised weights.

    Args:
        time_steps: T.
        quantizer: weight quantiser for all layers except the first and the last.
        surrogate: surrogate gradient of the neurons; default: as in `UnitLIF`.
    Raises:
        ConversionError: the structure is not valid.
    """
    try:
        children, lines = structure["children"], structure["lines"]
        if not 0 < len(children) <= MOST_CHILDREN:
            raise ValueError(f"it has {len(children)} layers; it must have 1 to {MOST_CHILDREN}")
        _check_sizes(children)
        synapses = [name for name, child in children.items() if child["kind"] in _SYNAPSES]
        ends = {*synapses[:1], *synapses[-1:]}
        making = _Making(time_steps, quantizer, surrogate)
        made = {name: making.child(child, plain=name in ends) for name, child in children.items()}
        known, does = {INPUT}, []
        for line in lines:
            name, reads = line[0], tuple(line[2])
            if not known.issuperset(reads) or name in known or not reads:
                raise ValueError(f"the line {brief(line)} has no inputs, reads an undefined value, or reuses a name")
            does.append(Line(name, _operation(line, made), reads))
            known.add(name)
        if structure["output"] not in known:
            raise ValueError(f"its output is {brief(structure['output'])}, which no line defines")
        return Wired(made, does, structure["output"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise ConversionError(f"this is not the structure of a network: {type(error).__name__}: {error}") from error


def _check_sizes(values: Any, depth: int = 0) -> None:
    if isinstance(values, Mapping | list | tuple) and depth < 8:
        for value in values.values() if isinstance(values, Mapping) else values:
            _check_sizes(value, depth + 1)
    elif isinstance(values, Mapping | list | tuple):
        raise ValueError("it nests too deep")
    elif type(values) is int and abs(values) > MOST_SIZE:
        raise ValueError(f"it has a size of {values}; it must be at most {MOST_SIZE}")


def _operation(line: Any, made: Mapping[str, nn.Module]) -> Any:
    match list(line):
        case [name, "child", [_]] if name in made:
            return Child(name)
        case [_, "sum", [_, _]]:
            return Sum()
        case [_, "multiple", [_], int() | float() as factor, int() | float() as shift]:
            if math.isfinite(factor) and math.isfinite(shift):
                return Multiple(float(factor), float(shift))
    raise ValueError(f"{brief(line)} is not a line of a network")


class _Making:
    """A builder for the children of a network."""

    def __init__(self, time_steps: int, quantizer: WeightQuantizer | None, surrogate: Surrogate | None) -> None:
        self.time_steps, self.quantizer = time_steps, quantizer
        self.surrogate: dict[str, Any] = {} if surrogate is None else {"surrogate": surrogate}

    def child(self, values: Mapping[str, Any], *, plain: bool = True) -> nn.Module:
        """Build a child module, which is an unquantised torch layer if `plain` is set and the child has weights."""
        arguments = dict(values)
        kind = arguments.pop("kind")
        if kind in _SYNAPSES:
            ours, of_torch = _LAYERS[kind]
            return of_torch(**arguments) if plain else ours(**arguments, quantizer=self.quantizer)
        if kind not in _KINDS:
            raise ValueError(f"kind = {brief(kind)} is unknown; {did_you_mean(str(kind), [*_SYNAPSES, *_KINDS])}")
        made: nn.Module = _KINDS[kind](self, **arguments)
        return made

    def lif(self, *, channels: int | None, reset: float | str) -> nn.Module:
        how = soft_reset if reset == "soft" else HardReset(float(reset))
        # Any placeholder: loading the weights sets the values.
        return UnitLIF(self.time_steps, channels=channels, per_step=False, reset=how, **self.surrogate)

    def integrator(self, *, channels: int | None) -> nn.Module:
        return LeakyIntegrator(self.time_steps, channels=channels, per_step=False, learned=False)

    def recurrent(self, *, neuron: Mapping[str, Any], synapse: Mapping[str, Any]) -> nn.Module:
        inner = self.child(neuron)
        assert isinstance(inner, Temporal)
        return Recurrent(inner, self.child(synapse, plain=False))


_LAYERS: Mapping[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    "conv1d": (QuantConv1d, nn.Conv1d),
    "conv2d": (QuantConv2d, nn.Conv2d),
    "linear": (QuantLinear, nn.Linear),
}
_KINDS: Mapping[str, Callable[..., nn.Module]] = {
    "affine": lambda making, *, channels: Affine(channels),
    "average": lambda making, *, kernel, stride, padding: nn.AvgPool2d(kernel, stride, padding),
    "flatten": lambda making: nn.Flatten(),
    "integrator": _Making.integrator,
    "lif": _Making.lif,
    "recurrent": _Making.recurrent,
    "sum": lambda making, *, kernel, stride, padding: nn.AvgPool2d(kernel, stride, padding, divisor_override=1),
}

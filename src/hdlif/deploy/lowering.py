"""Lowering of trained modules to a `hdlif.graph.graph.Graph`, with folded batch norms and integer codes if possible.

Each module type has one lowering, which is registered with `lowers` in the file of the corresponding op
(`hdlif.deploy.ops`). A lowering takes a module's input value and returns the module's output value. Each value has a
pending `scale` per time step, such as the size of a spike code or the divisor of a mean. The next `affine` op absorbs
the pending scale, so values between layers stay integers.

A batch norm y = g·(x - μ) + b, with g = weight/√(σ² + eps), can follow a convolution with weights W = a·w. For spikes s
= r·c, the batch norm folds to:

    y = g·(a·r·Σ w·c - μ) + b = (g·a·r)·Σ w·c + (b - g·μ)

In the folded network, the weights w stay in {-1, 0, 1}, and the codes c stay integers. The resulting `affine` op has
the scale g·a·r [T or 1, C] and the shift b - g·μ [1, C].

For example, a = 0.5, r = 0.25, g = 2, μ = 1, b = 0.5 and Σ w·c = 6 give the folded y = 0.25·6 - 1.5 = 0. The original
batch norm gives the same result, y = 2·(0.5·0.25·6 - 1) + 0.5 = 0.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdlif.errors import LoweringError
from hdlif.graph.graph import INPUT, InputRecord, Node, Value
from hdlif.graph.ops import OPS
from hdlif.graph.weights import Encoding
from hdlif.nn import Binary, Integer, QuantLayer, WeightQuantizer

Floats = NDArray[np.float64]
ONE: Floats = np.ones((1, 1))


@dataclass(frozen=True)
class Wire:
    """A graph value `name` during lowering, with a `scale` [R or 1, C or 1] that is still to be applied."""

    name: str
    scale: Floats


Lowering = Callable[["Lowerer", Any, Wire, str], Wire]
_LOWERINGS: dict[type[nn.Module], Lowering] = {}
_OF_DERIVED: dict[type[nn.Module], Lowering] = {}


def lowers(*kinds: type[nn.Module], derived: bool = False) -> Callable[[Lowering], Lowering]:
    """Register a function (lowerer, module, input wire, module path) as the lowering of module types.

    The following code lowers a custom layer that doubles its input:

    >>> import numpy as np
    >>> from torch import nn
    >>> from hdlif.deploy import lowers
    >>> class Twice(nn.Module):
    ...     def forward(self, x):
    ...         return 2 * x
    >>> @lowers(Twice)
    ... def lower_twice(lowerer, module, wire, path):
    ...     return lowerer.affine(wire, path, np.full((1, 1), 2.0), np.zeros((1, 1)))

    Args:
        derived: whether the lowering also applies to derived classes without their own; the nearest base class counts.
        kinds: the module types.
    """

    def register(lowering: Lowering) -> Lowering:
        (_OF_DERIVED if derived else _LOWERINGS).update(dict.fromkeys(kinds, lowering))
        return lowering

    return register


class Lowerer:
    """A builder that collects the graph's nodes and value types while modules are lowered."""

    def __init__(self, time_steps: int, record: InputRecord) -> None:
        self.time_steps = time_steps
        self.nodes: list[Node] = []
        self.values: dict[str, Value] = {INPUT: Value(record.shape)}
        self._applied: dict[str, list[tuple[Floats, Wire]]] = {}

    def trial(self) -> "Lowerer":
        """Return a copy of this lowerer for a trial lowering."""
        other = copy(self)
        other.nodes, other.values = list(self.nodes), dict(self.values)
        other._applied = {name: list(known) for name, known in self._applied.items()}
        return other

    def lower(self, module: nn.Module, wire: Wire, path: str) -> Wire:
        """Lower the module at `path` in the network for the input `wire`, and return the output."""
        lowering = _LOWERINGS.get(type(module))
        if lowering is None:
            lowering = next((_OF_DERIVED[kind] for kind in type(module).__mro__ if kind in _OF_DERIVED), None)
        if lowering is None:
            known = ", ".join(sorted({"EquationNeuron", *(kind.__name__ for kind in _LOWERINGS)}))
            raise LoweringError(f"{path}: {type(module).__name__} has no deployed form; choose among {known}")
        return lowering(self, module, wire, path)

    def emit(self, op: str, name: str, *inputs: Wire, pending: Floats = ONE, **fields: Any) -> Wire:
        """Append a node, and return the node's value with the pending scale `pending`.

        Array fields become the node's tensors, and all other fields become attributes.
        """
        tensors = {key: value for key, value in fields.items() if isinstance(value, np.ndarray)}
        attributes = {key: value for key, value in fields.items() if key not in tensors}
        node = Node(op, name, tuple(wire.name for wire in inputs), attributes, tensors)
        values = tuple(self.values[wire.name] for wire in inputs)
        self.values[name] = OPS[op].infer(node, values, self.time_steps)
        self.nodes.append(node)
        return Wire(name, pending)

    def affine(self, wire: Wire, name: str, scale: Floats, shift: Floats) -> Wire:
        """Emit an `affine` op for scale·wire + shift with rows [T or 1, C], including the wire's pending scale."""
        rows = max(map(len, (scale, shift, wire.scale)))
        scale = repeated(scale, rows) * repeated(wire.scale, rows)
        return self.emit("affine", name, wire, **affine_rows(scale, repeated(shift, rows)))

    def applied(self, wire: Wire) -> Wire:
        """Apply a value's pending scale with an `affine` op, which is emitted only once per value and scale."""
        if (wire.scale == 1).all():
            return wire
        known = self._applied.setdefault(wire.name, [])
        for scale, made in known:
            if np.array_equal(scale, wire.scale):
                return made
        channels = self.values[wire.name].shape[0]
        name = f"{wire.name}.scaled{len(known) + 1 if known else ''}"
        made = self.affine(wire, name, np.ones((1, channels)), np.zeros((1, channels)))
        known.append((wire.scale, made))
        return made

    def one_scale(self, wire: Wire) -> Wire:
        """Return a value with a single scale for all channels, so the scale can stay pending through a weighted sum."""
        return wire if wire.scale.shape[1] == 1 else self.applied(wire)


def repeated(rows: Floats, count: int) -> Floats:
    """Return the first `count` rows, repeating the last row if needed."""
    return rows[np.minimum(np.arange(count), len(rows) - 1)]


def compact(rows: Floats) -> Floats:
    """Reduce rows [R, C] to one column if all channels are equal, and to one row if all steps are equal."""
    rows = rows[:, :1] if (rows == rows[:, :1]).all() else rows
    return rows[:1] if (rows == rows[:1]).all() else rows


def stored(rows: Floats) -> NDArray[np.float32]:
    return np.ascontiguousarray(rows, np.float32)


def affine_rows(scale: Floats, shift: Floats) -> dict[str, Any]:
    scale, shift = np.broadcast_arrays(scale, shift)
    if (scale == scale[0]).all() and (shift == shift[0]).all():
        scale, shift = scale[:1], shift[:1]
    return {"scale": stored(scale), "shift": stored(shift)}


def f64(tensor: Tensor) -> Floats:
    return cast(Floats, tensor.detach().double().cpu().numpy())


def sizes_of(lowerer: Lowerer, module: nn.Module, wire: Wire, path: str, **across: int) -> list[list[int]]:
    """Return the sizes [along rows, along columns] for each named attribute of a layer, such as the stride.

    A sequence is a map with a single row, so for sequences `across` gives each attribute's size along rows.
    """
    is_sequence = isinstance(module, nn.Conv1d | nn.MaxPool1d | nn.AvgPool1d | nn.AdaptiveAvgPool1d)
    if is_sequence:
        check_sequence(lowerer, module, wire, path)
    found = []
    for name, rows in across.items():
        value: Any = getattr(module, name)
        if is_sequence:
            found.append([rows, value if isinstance(value, int) else value[0]])
        else:
            found.append([value, value] if isinstance(value, int) else list(value))
    return found


def check_sequence(lowerer: Lowerer, module: nn.Module, wire: Wire, path: str) -> None:
    """Raise `LoweringError` unless the value is a sequence [C, L], which a graph represents as the map [C, 1, L]."""
    shape = lowerer.values[wire.name].shape
    if len(shape) != 3 or shape[1] != 1:
        raise LoweringError(
            f"{path}: {type(module).__name__} takes a sequence [C, L], in the graph a map [C, 1, L], but gets "
            f"{list(shape)}; give the input the shape [C, 1, L], or use a layer of maps"
        )


def fits(size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> bool:
    """Return whether pooling windows end exactly at each border, in which case `ceil_mode` adds no window."""
    return all((n + 2 * p - k) % s == 0 for n, k, s, p in zip(size, kernel, stride, padding, strict=True))


def encoding_of(quantizer: WeightQuantizer) -> Encoding:
    """Return the narrowest encoding that can store the quantiser's codes."""
    match quantizer:
        case Binary():
            return "binary"
        case Integer(bits=bits):
            return "int2" if bits == 2 else "int4" if bits <= 4 else "int8"
        case _:
            return "ternary"


def weight_of(module: nn.Conv1d | nn.Conv2d | nn.Linear) -> tuple[str, NDArray[Any], Floats]:
    """Return a layer's encoding, its codes or float32 weights, and the scale [1, out or 1] in W = scale·codes."""
    if not isinstance(module, QuantLayer) or module.quantizer is None:
        return "float32", module.weight.detach().float().cpu().numpy(), ONE
    codes, scale = module.quantizer.codes(module.weight)
    return encoding_of(module.quantizer), codes.to(torch.int8).cpu().numpy(), f64(scale).reshape(1, -1)


def biased(lowerer: Lowerer, wire: Wire, path: str, bias: Tensor) -> Wire:
    shift = f64(bias).reshape(1, -1)
    return lowerer.affine(wire, f"{path}.bias", np.ones_like(shift), shift)

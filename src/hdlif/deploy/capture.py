"""Lower custom modules by tracing their forward pass, child by child.

Each child runs through `Scope`, which lowers the child according to its type. Between children, tensor expressions may
add, scale and flatten values, and may concatenate or slice channels. `hdlif.functional.gate` is supported too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Real
from typing import Any, NoReturn, Self

import numpy as np
import torch
from torch import Tensor, nn

from hdlif.deploy.lowering import Lowerer, Wire, lowers
from hdlif.errors import HdlifError, LoweringError, first_line
from hdlif.functional import gate
from hdlif.nn import Neuron, Temporal
from hdlif.nn.scope import CHANNELS, Captured
from hdlif.nn.state import inside


@lowers(Temporal, derived=True)
def _captured(lowerer: Lowerer, module: Temporal, wire: Wire, path: str) -> Wire:
    name = f"{path} ({type(module).__name__})" if path else type(module).__name__
    if isinstance(module, Neuron):
        raise LoweringError(
            f"{name}: a neuron without an equation has no deployed form; derive it from hdlif.nn.EquationNeuron"
        )
    following = _Following(lowerer, path, name, module._modules)
    try:
        given: Any = module.forward(following.value(wire), None, range(lowerer.time_steps))  # type: ignore[arg-type]
    except HdlifError:
        raise
    except Exception as error:
        raise LoweringError(
            f"{name}: its forward pass cannot be followed: {type(error).__name__}: {first_line(error)}; {_ACCEPTED}"
        ) from error
    y: Any = given[0] if isinstance(given, tuple) and len(given) == 2 else given
    if not isinstance(y, _Value):
        raise LoweringError(f"{name}: its forward pass gives a {type(y).__name__}; it must give (y, run.state)")
    return y.wire


_ACCEPTED = (
    'run layers through hdlif.nn.Scope, as run("conv1", x), and use +, -, * by a number, torch.cat and slices along '
    "channels, flatten(2), and hdlif.functional.gate between them"
)


class _Following:
    def __init__(self, lowerer: Lowerer, path: str, name: str, children: Collection[str]) -> None:
        self.lowerer, self.path, self.name = lowerer, path, name
        self._children = children
        self._counts: dict[str, int] = {}
        self._ran: set[str] = set()

    def value(self, wire: Wire) -> _Value:
        return _Value(self, wire)

    def named(self, op: str) -> str:
        """Return a unique name, such as `add` or `add2`, for an operation between child modules."""
        while True:
            count = self._counts[op] = self._counts.get(op, 0) + 1
            name = inside(self.path, op if count == 1 else f"{op}{count}")
            if name not in self.lowerer.values and name.rpartition(".")[2] not in self._children:
                return name

    def run(self, child: str) -> None:
        """Record that a child runs, and raise `LoweringError` if the child runs twice, because node names must be
        unique.
        """
        if child in self._ran:
            raise LoweringError(
                f"{self.name}: its forward pass runs {child!r} twice, which has no deployed form; use a second layer"
            )
        self._ran.add(child)

    def refuse(self, what: str) -> NoReturn:
        raise LoweringError(f"{self.name}: its forward pass uses {what}, which has no deployed form; {_ACCEPTED}")


class _Value(Captured):
    def __init__(self, following: _Following, wire: Wire) -> None:
        self._following, self.wire = following, wire

    @property
    def ndim(self) -> int:
        return 2 + len(self._following.lowerer.values[self.wire.name].shape)

    def through(self, name: str, child: nn.Module) -> Self:
        following = self._following
        following.run(name)
        return self._with(following.lowerer.lower(child, self.wire, inside(following.path, name)))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Self:
        if start_dim != CHANNELS or end_dim != -1:
            self._following.refuse(f"flatten({start_dim}, {end_dim})")
        following = self._following
        return self._with(following.lowerer.lower(nn.Flatten(), self.wire, following.named("flatten")))

    def __add__(self, other: object) -> Self:
        if isinstance(other, Real):
            return self._affine(1.0, float(other))
        if not isinstance(other, _Value):
            return NotImplemented
        lowerer = self._following.lowerer
        terms = (lowerer.applied(self.wire), lowerer.applied(other.wire))
        return self._with(lowerer.emit("add", self._following.named("add"), *terms))

    __radd__ = __add__

    def __mul__(self, other: object) -> Self:
        if not isinstance(other, Real):
            return NotImplemented
        return self._with(Wire(self.wire.name, self.wire.scale * float(other)))

    __rmul__ = __mul__

    def __truediv__(self, other: object) -> Self:
        return self * (1 / float(other)) if isinstance(other, Real) else NotImplemented

    def _in_place(self, other: object) -> Self:
        return self._following.refuse("an operation in place (write h = h + x, not h += x)")

    __iadd__ = __isub__ = __imul__ = __itruediv__ = _in_place

    def __neg__(self) -> Self:
        return self * -1

    def __sub__(self, other: object) -> Self:
        return self + -other if isinstance(other, Real | _Value) else NotImplemented

    def __rsub__(self, other: object) -> Self:
        return -self + other if isinstance(other, Real | _Value) else NotImplemented

    def __getitem__(self, index: object) -> Self:
        parts = index if isinstance(index, tuple) else (index,)
        whole = slice(None)
        cut = parts[CHANNELS] if len(parts) > CHANNELS else None
        if not isinstance(cut, slice) or any(part != whole for part in (*parts[:CHANNELS], *parts[CHANNELS + 1 :])):
            self._following.refuse(f"[{_shown(parts)}]")
        lowerer = self._following.lowerer
        begin, end, step = cut.indices(lowerer.values[self.wire.name].shape[0])
        if step != 1 or begin >= end:
            self._following.refuse(f"[{_shown(parts)}]")
        wire = lowerer.one_scale(self.wire)
        part = lowerer.emit("slice", self._following.named("slice"), wire, begin=begin, end=end)
        return self._with(Wire(part.name, wire.scale))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._following.refuse(f".{name} of a value")

    def __bool__(self) -> bool:
        self._following.refuse("the truth of a value")

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = {**(kwargs or {})}
        if function in (torch.cat, torch.concat):
            return _joined(*args, **given)
        first = next(one for one in _values(args, given))
        if function in _FUNCTIONS:
            return _FUNCTIONS[function](*args, **given)
        return first._following.refuse(f"{getattr(function, '__name__', function)}()")

    def _with(self, wire: Wire) -> Self:
        return type(self)(self._following, wire)

    def _affine(self, scale: float, shift: float) -> Self:
        lowerer = self._following.lowerer
        rows = (np.full((1, lowerer.values[self.wire.name].shape[0]), value) for value in (scale, shift))
        return self._with(lowerer.affine(self.wire, self._following.named("affine"), *rows))


def _joined(values: Sequence[Any], dim: int = 0) -> _Value:
    """Lower `torch.cat` along channels, two values at a time."""
    first = next(value for value in values if isinstance(value, _Value))
    following, lowerer = first._following, first._following.lowerer
    axes = len(lowerer.values[first.wire.name].shape)
    if dim not in (CHANNELS, -axes) or not all(isinstance(value, _Value) for value in values):
        following.refuse(f"torch.cat along dimension {dim}, or of something else too")
    wires = [value.wire for value in values]
    # Codes with equal scales stay codes.
    if any(wire.scale.shape != wires[0].scale.shape or (wire.scale != wires[0].scale).any() for wire in wires) or (
        wires[0].scale.shape[1] != 1
    ):
        wires = [lowerer.applied(wire) for wire in wires]
    joined = wires[0]
    for wire in wires[1:]:
        joined = Wire(lowerer.emit("concat", following.named("concat"), joined, wire).name, wires[0].scale)
    return following.value(joined)


def _gated(x: Any, a: Any) -> _Value:
    if not isinstance(x, _Value) or not isinstance(a, _Value):
        return next(iter(_values((x, a), {})))._following.refuse("gate() of something else too")
    following, lowerer = x._following, x._following.lowerer
    # the gate only tests whether a is above 0, which a positive scale does not change
    gates = a.wire if (a.wire.scale > 0).all() else lowerer.applied(a.wire)
    return following.value(Wire(lowerer.emit("gate", following.named("gate"), x.wire, gates).name, x.wire.scale))


def _values(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[_Value]:
    """Return all values among the arguments, including values in lists."""
    given = [*args, *kwargs.values()]
    inner = [one for value in given if isinstance(value, list | tuple) for one in value]
    return [one for one in (*given, *inner) if isinstance(one, _Value)]


def _shown(parts: Sequence[object]) -> str:
    def one(part: object) -> str:
        if not isinstance(part, slice):
            return repr(part) if not isinstance(part, Tensor) else "a tensor"
        return ":".join("" if end is None else str(end) for end in (part.start, part.stop))

    return ", ".join(map(one, parts))


_FUNCTIONS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    torch.add: lambda a, b: a + b,
    torch.sub: lambda a, b: a - b,
    torch.mul: lambda a, b: a * b,
    torch.flatten: _Value.flatten,
    gate: _gated,
}

"""Symbols that stand in for the tensors of a step and record all operations on these tensors.

Symbols support operators and the PyTorch functions that the tracer recognises by name. Any other operation raises an
error with the line number in the equation.
"""

from __future__ import annotations

import operator
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NoReturn

from hdlif.errors import EquationError, brief
from hdlif.graph.equations.nodes import Nodes
from hdlif.graph.equations.program import OPERATIONS

Known = dict[int, Any]
"""Values of parameters and of functions of parameters, by the `id` of their symbols."""


class Tracer:
    """A recorder of a step's operations on symbols, which also locates unsupported operations.

    Args:
        functions: supported operations on a signal by name, called with the tracer and the arguments.
        known: the supported operations as text for errors.
        stops: returns whether the current operation has no gradient.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        nodes: Nodes,
        functions: Mapping[str, Callable[..., Symbol]],
        known: str,
        *,
        stops: Callable[[], bool],
    ) -> None:
        self._step, self.nodes, self.functions, self.known, self.stops = step, nodes, functions, known, stops

    def operation(
        self, name: str, *operands: object, surrogate: Any = None, form: str = "", gives_bool: bool = False
    ) -> Symbol:
        if len(operands) != OPERATIONS[name].arity:
            raise self.error(f"{name} takes {OPERATIONS[name].arity} values, but got {len(operands)}")
        numbers = tuple(self.node(operand) for operand in operands)
        called = None if surrogate is None else self.nodes.surrogate(surrogate)
        stopped = tuple(place for place, one in enumerate(operands) if isinstance(one, Symbol) and one._stopped)
        node = self.nodes.operation(name, numbers, called, form=form, stopped=stopped)
        return Symbol(self, node, is_bool=gives_bool, stopped=self.stops())

    def node(self, operand: object) -> int:
        """Return the node of a symbol or a number."""
        node = self._node(operand)
        if node is None:
            raise self.error(
                f"{_kind(operand)} is neither a number nor an argument of the step; for values that differ by channel "
                "or time step, use a Parameter"
            )
        return node

    def result(self, name: str, returned: object) -> int:
        """Return the node of a spike or state that the step returned."""
        node = self._node(returned)
        if node is None:
            raise self.error(
                f"the step returns {_kind(returned)} for {name}; it must return a value for each neuron, made of "
                "current, states and parameters, or a number",
                returned=True,
            )
        return node

    def _node(self, operand: object) -> int | None:
        if isinstance(operand, Symbol):
            if operand._tracer is not self:
                raise self.error("a value comes from another call of the step; only states carry over between calls")
            if operand._node is not None:
                return operand._node
            return self.nodes.row(operand._name, operand._value, operand)
        if isinstance(operand, bool | int | float):
            return self.nodes.constant(float(operand))
        item = getattr(operand, "item", None)
        if callable(item) and getattr(operand, "numel", lambda: getattr(operand, "size", 0))() == 1:
            return self.nodes.number(operand)
        return None

    def error(self, message: str, *, of: Exception | None = None, returned: bool = False) -> EquationError:
        """Return an error with the equation's file and the line that is running or that raised the exception `of`.

        Args:
            returned: whether the step has returned; then locate its definition.
        """
        code = _code(self._step)
        line = code.co_firstlineno
        if of is not None:
            places = traceback.extract_tb(of.__traceback__)
            line = next((p.lineno or line for p in reversed(places) if p.filename == code.co_filename), line)
        elif not returned:
            frame: FrameType | None = sys._getframe()
            while frame is not None and frame.f_code.co_filename != code.co_filename:
                frame = frame.f_back
            line = line if frame is None else frame.f_lineno
        return EquationError(f"{Path(code.co_filename).name}:{line}: {message}")


def _kind(value: object) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"a {type(value).__name__} of shape {list(shape)}"


def _code(step: Callable[..., Any]) -> CodeType:
    """Return the code object of a step; the step may be a partial function."""
    while isinstance(step, partial):
        step = step.func
    code = getattr(step, "__code__", None)
    if not isinstance(code, CodeType):
        raise EquationError(f"{brief(step)} is not a function written in Python")
    return code


class Symbol:
    """A stand-in for a tensor in a step: either a parameter, or a signal with one value per neuron.

    Args:
        tracer: the tracer of the step.
        node: the node of a signal; None for a parameter, or a function of parameters.
        value, name: the value and name of a parameter.
        make: computes a function of parameters from the values in `_at`.
        is_bool: whether it is a truth value.
        stopped: whether no gradient flows back through it.
    """

    def __init__(
        self,
        tracer: Tracer,
        node: int | None,
        value: Any = None,
        name: str = "",
        *,
        make: Callable[[Known], Any] | None = None,
        is_bool: bool = False,
        stopped: bool = False,
    ) -> None:
        self._tracer, self._node, self._value, self._name, self._make = tracer, node, value, name, make
        self._is_bool, self._stopped = is_bool, stopped

    def _at(self, known: Known) -> Any:
        """Return the value of a parameter or of a function of parameters, given the values in `known`."""
        if id(self) not in known:
            assert self._make is not None
            known[id(self)] = self._make(known)
        return known[id(self)]

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Handle a call of a PyTorch or hdlif function with a symbol as an argument."""
        every = [*args, *(kwargs or {}).values()]
        symbol = next(one for one in _flat(every) if isinstance(one, Symbol))
        return symbol._call(getattr(function, "__name__", str(function)), function, args, dict(kwargs or {}))

    def _call(self, name: str, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        symbols = [one for one in _flat([*args, *kwargs.values()]) if isinstance(one, Symbol)]
        if kwargs.get("inplace") or kwargs.get("out") is not None:
            raise self._tracer.error(f"{name} overwrites a value that may still be read; leave out inplace, out")
        if name.endswith("_") and not name.startswith("__"):
            raise self._tracer.error(f"{name} changes a value in place that may still be read; use {name.strip('_')}")
        if all(symbol._node is None for symbol in symbols):
            return self._of_parameters(name, function, args, kwargs)
        handler = self._tracer.functions.get(name.strip("_"))
        if handler is None:
            raise self._tracer.error(f"{name} is not an operation of a neuron's program; it has {self._tracer.known}")
        try:
            return handler(self._tracer, *args, **kwargs)
        except TypeError as error:
            raise self._tracer.error(f"{name}: {error}") from error

    def _of_parameters(self, name: str, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Symbol:
        value = function(*map(_concrete, args), **{key: _concrete(one) for key, one in kwargs.items()})
        described = [one._name if isinstance(one, Symbol) else brief(one) for one in args]
        sign = _SIGNS.get(name.strip("_"))
        if not _is_of_each(function, args, kwargs, value):
            raise self._tracer.error(
                f"{name} of parameters combines several numbers; a step gets the parameters of one time step and "
                "channel, so functions of them must be elementwise"
            )
        text = f" {sign} ".join(described) if sign and len(args) == 2 else f"{name.strip('_')}({', '.join(described)})"
        is_stopped = self._tracer.stops()

        def make(known: Known) -> Any:
            found = function(
                *(_concrete(one, known) for one in args), **{key: _concrete(one, known) for key, one in kwargs.items()}
            )
            return found.detach() if is_stopped and hasattr(found, "detach") else found

        return Symbol(self._tracer, None, value, f"({text})" if sign else text, make=make)

    def __invert__(self) -> Any:
        return self._call("invert", lambda x: ~x, (self,), {})

    def __pos__(self) -> Any:
        return self

    def _written_over(self, *_: object) -> NoReturn:
        raise self._tracer.error(
            "+=, *= and similar operators overwrite a value that may still be read; write x = x + y"
        )

    def __neg__(self) -> Any:
        return self._call("neg", lambda x: -x, (self,), {})

    def __abs__(self) -> Any:
        return self._call("abs", abs, (self,), {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        # Symbols do not provide values that all neurons share, such as a dtype.
        if self._node is None and not callable(getattr(self._value, name, None)):
            raise self._tracer.error(f".{name} depends on how a network is run; an equation must not")
        return lambda *args, **kwargs: self._call(
            name, lambda value, *rest, **named: getattr(value, name)(*rest, **named), (self, *args), kwargs
        )

    def _refuse(self, *_: object) -> NoReturn:
        raise self._tracer.error(
            "control flow on values, or reading one, has no program; choose with torch.where(condition, a, b)"
        )

    __bool__ = __float__ = __int__ = __len__ = __iter__ = __getitem__ = __index__ = _refuse
    # Comparing for equality reads values too, so symbols are hashed by identity.
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Any:
        return self._refuse()

    def __ne__(self, other: object) -> Any:
        return self._refuse()


def _concrete(value: Any, known: Known | None = None) -> Any:
    if isinstance(value, Symbol):
        return value._value if known is None else value._at(known)
    return type(value)(_concrete(one, known) for one in value) if isinstance(value, tuple | list) else value


def _flat(values: Sequence[Any]) -> list[Any]:
    return [inner for value in values for inner in (value if isinstance(value, tuple | list) else [value])]


def _operator(name: str, function: Callable[..., Any], *, swapped: bool = False) -> Callable[[Symbol, object], Any]:
    """Return a `Symbol` method for an operator or its reflected form."""

    def operate(symbol: Symbol, other: object) -> Any:
        if not isinstance(other, Symbol | bool | int | float) and not hasattr(other, "item"):
            return NotImplemented
        return symbol._call(name, function, (other, symbol) if swapped else (symbol, other), {})

    return operate


for _name in ("add", "sub", "mul", "truediv", "pow", "mod", "floordiv", "and", "or"):
    _function = getattr(operator, f"__{_name}__")
    setattr(Symbol, f"__{_name}__", _operator(_name, _function))
    setattr(Symbol, f"__r{_name}__", _operator(_name, _function, swapped=True))
    setattr(Symbol, f"__i{_name}__", Symbol._written_over)
for _name in ("gt", "ge", "lt", "le"):
    setattr(Symbol, f"__{_name}__", _operator(_name, getattr(operator, _name)))

_SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "truediv": "/", "pow": "**", "rsub": "-"}


def _is_of_each(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], value: Any) -> bool:
    """Return whether a function of rows [T, C] is elementwise, as tested on two corner entries."""
    rows = [one._value for one in _flat([*args, *kwargs.values()]) if isinstance(one, Symbol)]
    shape = tuple(max(sizes) for sizes in zip(*(row.shape for row in rows), strict=True))
    if tuple(getattr(value, "shape", ())) != shape:
        return False
    if getattr(value, "is_meta", False):
        return True

    def corner(one: Any, place: int) -> Any:
        if isinstance(one, Symbol):
            return one._value[:1, :1] if place == 0 else one._value[-1:, -1:]
        return type(one)(corner(inner, place) for inner in one) if isinstance(one, tuple | list) else one

    for place, expected in ((0, value[:1, :1]), (-1, value[-1:, -1:])):
        alone = function(*(corner(a, place) for a in args), **{key: corner(one, place) for key, one in kwargs.items()})
        a, b = float(alone), float(expected)
        if a != b and not (a != a and b != b) and not abs(a - b) <= 1e-4 * max(1.0, abs(b)):
            return False
    return True

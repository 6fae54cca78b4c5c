"""Tracing of an equation into a program, by calling the step once with symbols for the current, states and parameters.

A step is a plain function on tensors. Tracing records all operations on symbols. Operations on parameters alone, such
as cos(angle) or 1 - leak, are evaluated during tracing and become rows of the program. Tracing supports operators, and
PyTorch functions that are recognised by name. Any other operation raises an error with the line number in the equation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hdlif.errors import EquationError, cut, first_line
from hdlif.graph.equations.literal_step import WrittenNodes, WrittenStep
from hdlif.graph.equations.nodes import Nodes
from hdlif.graph.equations.program import Program
from hdlif.graph.equations.symbols import Symbol, Tracer

KNOWN = (
    "+, -, *, / by parameters, comparisons, &, |, ~, torch.relu, where, minimum, maximum, clamp, abs, floor, square, "
    "zeros_like, ones_like and hdlif.functional.heaviside"
)


def _simple(name: str, form: str = "") -> Callable[..., Symbol]:
    return lambda tracer, *operands: tracer.operation(name, *operands, form=form)


def _sum(name: str, *, swapped: bool = False) -> Callable[..., Symbol]:
    """Return a handler for sums or differences that rejects Booleans, which PyTorch adds with a logical OR."""

    def handle(tracer: Tracer, a: Any, b: Any) -> Symbol:
        bools = [isinstance(one, bool) or (isinstance(one, Symbol) and one._is_bool) for one in (a, b)]
        if all(bools) or (name == "subtract" and any(bools)):
            raise tracer.error(f"{name} of Booleans has no program; convert them with .float()")
        return tracer.operation(name, *((b, a) if swapped else (a, b)))

    return handle


def _negative(tracer: Tracer, x: Any) -> Symbol:
    return _sum("subtract")(tracer, x, 0.0) if x._is_bool else tracer.operation("negative", x)


def _logical(name: str, *constants: float | None) -> Callable[..., Symbol]:
    """Return a handler that writes a logical function as a `select`, with an operand in place of each None."""

    def handle(tracer: Tracer, *operands: Any) -> Symbol:
        if not all(isinstance(one, Symbol) and one._is_bool for one in operands):
            raise tracer.error(f"{name} takes Booleans, such as x > 0")
        rest = iter(operands)
        chosen = [next(rest) if constant is None else constant for constant in constants]
        return tracer.operation("select", *chosen, gives_bool=True)

    return handle


def _compared(name: str, *, swapped: bool = False) -> Callable[..., Symbol]:
    return lambda tracer, a, b: tracer.operation(name, *((b, a) if swapped else (a, b)), gives_bool=True)


def _where(tracer: Tracer, condition: Any, a: Any, b: Any) -> Symbol:
    if not (isinstance(condition, Symbol) and condition._is_bool):
        raise tracer.error("the condition of torch.where must be a Boolean, such as x > 0")
    return tracer.operation("select", condition, a, b)


def _of_two(name: str, form: str = "") -> Callable[..., Symbol]:
    """Return a handler that accepts a minimum or maximum of two tensors and rejects reductions over an axis."""

    def handle(tracer: Tracer, *operands: Any) -> Symbol:
        if len(operands) != 2 or not all(isinstance(one, Symbol) for one in operands):
            raise tracer.error(f"{name} takes two tensors; with a number, use clamp")
        return tracer.operation(name, *operands, form=form)

    return handle


def _divide(tracer: Tracer, a: Any, b: Any) -> Symbol:
    if isinstance(b, Symbol) and b._node is not None:
        raise tracer.error("division by a state or a current has no program; multiply by a parameter")
    if tracer.nodes.as_written:
        return tracer.operation("multiply", a, b, form="divide")
    inverse = 1 / b if not isinstance(b, Symbol) else Symbol(tracer, None, 1 / b._value, f"1 / {b._name}")
    return tracer.operation("multiply", a, inverse)


def _power(tracer: Tracer, a: Any, exponent: Any) -> Symbol:
    if isinstance(exponent, Symbol) or exponent != 2:
        raise tracer.error("a power other than 2 has no program; multiply")
    return tracer.operation("multiply", a, a)


def _clamp(tracer: Tracer, x: Any, min: Any = None, max: Any = None) -> Symbol:
    for name, bound in (("maximum", min), ("minimum", max)):
        x = x if bound is None else tracer.operation(name, x, bound, form="clamp")
    if not isinstance(x, Symbol):
        raise tracer.error("clamp takes a state or a current")
    return x


def _same(tracer: Tracer, x: Symbol, *types: object, **named: object) -> Symbol:
    """Convert a symbol to floating point, or raise an error for integer and Boolean dtypes."""
    said = " ".join(str(one) for one in (*types, *named.values()))
    if any(word in said for word in ("int", "bool")):
        raise tracer.error("a step computes with floating-point numbers; .to an integer truncates them (use floor)")
    return Symbol(tracer, x._node, x._value, x._name, stopped=x._stopped)


def _copied(tracer: Tracer, x: Symbol, *_: object, **__: object) -> Symbol:
    return x


def _detached(tracer: Tracer, x: Symbol) -> Symbol:
    return Symbol(tracer, x._node, x._value, x._name, is_bool=x._is_bool, stopped=True)


def _step(tracer: Tracer, x: Any, surrogate: Any = None) -> Symbol:
    if surrogate is None or hasattr(surrogate, "item"):
        raise tracer.error("torch.heaviside has no derivative; use hdlif.functional.heaviside(x, surrogate)")
    return tracer.operation("step", x, surrogate=surrogate)


FUNCTIONS: Mapping[str, Callable[..., Symbol]] = {
    **dict.fromkeys(("add", "radd"), _sum("add")),
    **dict.fromkeys(("sub", "subtract"), _sum("subtract")),
    "rsub": _sum("subtract", swapped=True),
    **dict.fromkeys(("mul", "multiply", "rmul"), _simple("multiply")),
    **dict.fromkeys(("div", "divide", "true_divide", "truediv"), _divide),
    **dict.fromkeys(("rtruediv", "rdiv"), lambda tracer, a, b: _divide(tracer, b, a)),
    "pow": _power,
    "square": lambda tracer, x: tracer.operation("multiply", x, x),
    **dict.fromkeys(("neg", "negative"), _negative),
    **dict.fromkeys(("abs", "absolute"), _simple("absolute")),
    "floor": _simple("floor"),
    "relu": lambda tracer, x, inplace=False: tracer.operation("maximum", 0.0, x, form="relu"),
    **dict.fromkeys(("minimum", "min"), _of_two("minimum")),
    **dict.fromkeys(("maximum", "max"), _of_two("maximum")),
    "fmin": _of_two("minimum", "first"),
    "fmax": _of_two("maximum", "first"),
    "clamp_max": _simple("minimum", "clamp"),
    "clamp_min": _simple("maximum", "clamp"),
    **dict.fromkeys(("clamp", "clip"), _clamp),
    **dict.fromkeys(("gt", "greater"), _compared("greater")),
    **dict.fromkeys(("ge", "greater_equal"), _compared("greater_equal")),
    **dict.fromkeys(("lt", "less"), _compared("greater", swapped=True)),
    **dict.fromkeys(("le", "less_equal"), _compared("greater_equal", swapped=True)),
    **dict.fromkeys(("and", "logical_and", "bitwise_and"), _logical("and", None, None, 0.0)),
    **dict.fromkeys(("or", "logical_or", "bitwise_or"), _logical("or", None, 1.0, None)),
    **dict.fromkeys(("invert", "logical_not", "bitwise_not"), _logical("not", None, 0.0, 1.0)),
    "where": _where,
    "zeros_like": lambda tracer, x, **_: Symbol(tracer, tracer.node(0.0)),
    "ones_like": lambda tracer, x, **_: Symbol(tracer, tracer.node(1.0)),
    "heaviside": _step,
    **dict.fromkeys(("to", "float", "double", "type_as"), _same),
    **dict.fromkeys(("clone", "contiguous"), _copied),
    "detach": _detached,
}
"""Operations on a state or a current, by the name of the PyTorch function or method."""


def trace(
    step: Callable[..., Any], *, states: Sequence[str], rows: Mapping[str, Any]
) -> tuple[Program, dict[str, Any]]:
    """Trace `step(current, *states, *rows) -> (spike, *states)`, and return a program and the values of the program's
    rows.

    >>> import torch
    >>> from hdlif.graph.equations import trace
    >>> def step(current, potential, leak, threshold):
    ...     membrane = leak * potential + current
    ...     spike = torch.relu(membrane - threshold)
    ...     return spike, membrane - spike
    >>> rows = {"leak": torch.tensor(0.5), "threshold": torch.tensor(0.75)}
    >>> program, values = trace(step, states=["potential"], rows=rows)
    >>> print(program.text())
    r4 = leak * potential
    r5 = r4 + current
    r6 = r5 - threshold
    r8 = max(0, r6)
    r9 = min(threshold, r5)
    spike = r8
    potential = r9

    Args:
        step: a plain function on tensors.
        states: the names of the states.
        rows: values of the parameters by name: tensors or arrays that broadcast with each other.
    Returns:
        the program, and the values of its rows by name.
    Raises:
        EquationError: the step uses unsupported operations; the message begins with file and line.
    """
    names = tuple(states)
    program, values = _Traced(step, Nodes(names), names, rows).program()
    if not program.binary_states:
        return program, values
    # Trace again if the first program shows that a state is always 1 or 0.
    return _Traced(step, Nodes(names, program.binary_states), names, rows).program()


def trace_written(
    step: Callable[..., Any],
    *,
    states: Sequence[str],
    rows: Mapping[str, Any],
    stops: Callable[[], bool] = lambda: False,
) -> WrittenStep:
    """Trace the literal step for training, with the same errors as `trace`.

    Args:
        stops: returns whether the current operation has no gradient; called at each operation.
        step, states, rows: as in `trace`.
    """
    names = tuple(states)
    nodes = WrittenNodes(names)
    traced = _Traced(step, nodes, names, rows, stops)
    program, _ = traced.program()
    stopped = frozenset(place for place, one in enumerate(traced.results) if isinstance(one, Symbol) and one._stopped)
    sources = tuple(nodes.sources[row] for row in program.rows)
    return WrittenStep(program, sources, tuple(traced.parameters), nodes.surrogates, stopped)


class _Traced:
    """The results of calling a step once with symbols."""

    def __init__(
        self,
        step: Callable[..., Any],
        nodes: Nodes,
        states: tuple[str, ...],
        rows: Mapping[str, Any],
        stops: Callable[[], bool] = lambda: False,
    ) -> None:
        self._states = states
        self._tracer = tracer = Tracer(step, nodes, FUNCTIONS, KNOWN, stops=stops)
        signals = [Symbol(tracer, node) for node in range(1 + len(states))]
        self.parameters = [Symbol(tracer, None, value, name) for name, value in rows.items()]
        try:
            returned = step(*signals, *self.parameters)
        except EquationError:
            raise
        except Exception as error:
            raise tracer.error(f"{type(error).__name__}: {cut(first_line(error), 200)}", of=error) from error
        self.results = list(returned) if isinstance(returned, tuple | list) else [returned]
        if len(self.results) != 1 + len(states):
            what = ", ".join(("spike", *states))
            raise tracer.error(
                f"the step returns {len(self.results)} values; it must return {1 + len(states)}: {what}", returned=True
            )

    def program(self) -> tuple[Program, dict[str, Any]]:
        """Return the program that computes the results, and the values of the program's rows."""
        names = ("spike", *self._states)
        nodes = [self._tracer.result(name, one) for name, one in zip(names, self.results, strict=True)]
        try:
            return self._tracer.nodes.program(nodes)
        except EquationError as error:
            raise self._tracer.error(str(error)) from error

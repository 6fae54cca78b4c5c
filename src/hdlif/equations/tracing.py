"""From an equation to its program: the step is called once, with symbols for current, states and parameters.

A step is a plain function on tensors. What it does with a symbol is written down; what it does with parameters alone is
done at once, on their values, and is a row of the program: cos(angle), or 1 - leak. Operators, and functions of PyTorch
by their names, are known; anything else is refused, with the line of the equation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hdlif.equations.functions import FUNCTIONS, KNOWN
from hdlif.equations.nodes import Nodes
from hdlif.equations.program import Program
from hdlif.equations.symbols import Symbol, Tracer
from hdlif.errors import EquationError, cut, first_line


def trace(
    step: Callable[..., Any], *, states: Sequence[str], rows: Mapping[str, Any]
) -> tuple[Program, dict[str, Any]]:
    """The program of `step(current, *states, *rows) -> (spike, *states)`, and the values of its rows by their names.

    Args:
        step: a plain function on tensors.
        states: their names.
        rows: values of the parameters by name: tensors or arrays that broadcast with each other.
    Raises:
        EquationError: the step uses what a program has not; the message begins with file and line.
    """
    program, values = _traced(step, tuple(states), rows, frozenset())
    # What a state of 1 or 0 decides is known where the first program says that it is one.
    return _traced(step, tuple(states), rows, program.binary_states) if program.binary_states else (program, values)


def _traced(
    step: Callable[..., Any], states: tuple[str, ...], rows: Mapping[str, Any], binary: frozenset[str]
) -> tuple[Program, dict[str, Any]]:
    tracer = Tracer(step, Nodes(states, binary), FUNCTIONS, KNOWN)
    signals = [Symbol(tracer, node) for node in range(1 + len(states))]
    parameters = [Symbol(tracer, None, value, name) for name, value in rows.items()]
    try:
        returned = step(*signals, *parameters)
    except EquationError:
        raise
    except Exception as error:
        raise tracer.error(f"{type(error).__name__}: {cut(first_line(error), 200)}", of=error) from error
    results = list(returned) if isinstance(returned, tuple | list) else [returned]
    if len(results) != 1 + len(states):
        what = ", ".join(("spike", *states))
        raise tracer.error(
            f"the step gives {len(results)} values; it must give {1 + len(states)}: {what}", returned=True
        )
    nodes = [tracer.result(name, result) for name, result in zip(("spike", *states), results, strict=True)]
    try:
        return tracer.nodes.program(nodes)
    except EquationError as error:
        raise tracer.error(str(error)) from error

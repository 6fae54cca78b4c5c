"""Tracing of an equation into a program: call the step once, with symbols for current, states and parameters.

A step is a plain function on tensors. Operations on a symbol are recorded; operations on parameters alone are
evaluated at once and become rows of the program, such as cos(angle) or 1 - leak. Operators, and functions of PyTorch
by name, are supported; anything else raises an error with the equation's line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hdlif.errors import EquationError, cut, first_line
from hdlif.graph.equations.functions import FUNCTIONS, KNOWN
from hdlif.graph.equations.literal_step import WrittenNodes, WrittenStep
from hdlif.graph.equations.nodes import Nodes
from hdlif.graph.equations.program import Program
from hdlif.graph.equations.symbols import Symbol, Tracer


def trace(
    step: Callable[..., Any], *, states: Sequence[str], rows: Mapping[str, Any]
) -> tuple[Program, dict[str, Any]]:
    """Trace `step(current, *states, *rows) -> (spike, *states)` into a program and the values of its rows.

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
        states: their names.
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
    """Trace the literal step, for training; other arguments and errors are as in `trace`.

    Args:
        stops: whether the current operation has no gradient; called at each operation.
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
    """One call of a step with symbols, and its results."""

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
                f"the step gives {len(self.results)} values; it must give {1 + len(states)}: {what}", returned=True
            )

    def program(self) -> tuple[Program, dict[str, Any]]:
        """Return the program of the results, and the values of its rows."""
        names = ("spike", *self._states)
        nodes = [self._tracer.result(name, one) for name, one in zip(names, self.results, strict=True)]
        try:
            return self._tracer.nodes.program(nodes)
        except EquationError as error:
            raise self._tracer.error(str(error)) from error

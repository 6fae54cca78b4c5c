"""From an equation to its program: the step is called once, with symbols for current, states and parameters.

A step is a plain function on tensors. What it does with a symbol is written down; what it does with parameters alone is
done at once, on their values, and is a row of the program: cos(angle), or 1 - leak. Operators, and functions of PyTorch
by their names, are known; anything else is refused, with the line of the equation.
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
    """The program of `step(current, *states, *rows) -> (spike, *states)`, and the values of its rows by their names.

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
        EquationError: the step uses what a program has not; the message begins with file and line.
    """
    names = tuple(states)
    program, values = _Traced(step, Nodes(names), names, rows).program()
    if not program.binary_states:
        return program, values
    # What a state of 1 or 0 decides is known where the first program says that it is one.
    return _Traced(step, Nodes(names, program.binary_states), names, rows).program()


def trace_written(
    step: Callable[..., Any],
    *,
    states: Sequence[str],
    rows: Mapping[str, Any],
    stops: Callable[[], bool] = lambda: False,
) -> WrittenStep:
    """The step as it is written, for training; other arguments and errors are those of `trace`.

    Args:
        stops: whether what the step is computing now has no gradient; asked at each operation.
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
    """One call of a step with symbols, and what it gave."""

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
        """The program of the results, and the values of its rows."""
        names = ("spike", *self._states)
        nodes = [self._tracer.result(name, one) for name, one in zip(names, self.results, strict=True)]
        try:
            return self._tracer.nodes.program(nodes)
        except EquationError as error:
            raise self._tracer.error(str(error)) from error

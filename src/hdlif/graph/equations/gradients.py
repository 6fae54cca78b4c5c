"""Gradients of a neuron's step, computed from the program with the true derivative of every operation.

The spike max(0, m - θ) of HD-LIF and Parallel HD-LIF has the derivative χ = 1[m > θ], one bit per neuron. A spike from
a comparison, as in LIF, has the derivative 0, because a program contains no surrogate.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.graph.equations.program import Program, evaluate_registers

Array = NDArray[Any]


def _to_a(where: Array, g: Array) -> tuple[Array, Array]:
    """Return the gradients of operands `a` and `b`, with `g` routed to `a` if `where` is true and otherwise to `b`."""
    zero = np.zeros((), g.dtype)
    return np.where(where, g, zero), np.where(where, zero, g)


_DERIVATIVES: dict[str, Callable[..., tuple[Array | None, ...]]] = {
    "add": lambda g, a, b: (g, g),
    "subtract": lambda g, a, b: (g, -g),
    "multiply": lambda g, a, b: (g * b, g * a),
    "negative": lambda g, a: (-g,),
    "absolute": lambda g, a: (np.where(a > 0, g, np.where(a < 0, -g, np.zeros((), g.dtype))),),
    "minimum": lambda g, a, b: _to_a(~(b < a), g),
    "maximum": lambda g, a, b: _to_a(~(b > a), g),
    "select": lambda g, chosen, a, b: (None, *_to_a(chosen != 0, g)),
}
"""Functions (gradient of the result, operands) -> gradients of the operands, by operation; some have no gradients."""


def has_gradient(program: Program) -> bool:
    """Return whether the derivative of the spike with respect to the current can be nonzero."""
    found = {0}
    for register, instruction in enumerate(program.instructions, program.first):
        differentiable = instruction.operands[instruction.operation == "select" :]
        if instruction.operation in _DERIVATIVES and not found.isdisjoint(differentiable):
            found.add(register)
    return program.spike in found


def gradients(
    program: Program, current: Array, states: Sequence[Array], rows: Sequence[Array], spike: Array
) -> list[Array]:
    """Return the gradients of the current, the states and the rows of one step, given the gradient of the spike.

    All gradients have the shape of the input current. The caller must sum a row's gradient over the neurons that share
    the row. The gradients of one register are added in the order in which operations are visited, from last to first.

    >>> import numpy as np
    >>> from hdlif.graph.equations import Instruction, Program
    >>> surplus, spike = Instruction("subtract", (0, 1)), Instruction("maximum", (3, 2))
    >>> parallel = Program((), ("threshold",), (surplus, Instruction("constant"), spike), spike=4, after=())
    >>> current = np.array([0.5, 1.5], np.float32)
    >>> gradients(parallel, current, [], [np.float32(1)], np.ones(2, np.float32))[0].tolist()
    [0.0, 1.0]
    """
    registers = evaluate_registers(program, current, states, rows)
    found: dict[int, Array] = {program.spike: spike}
    for register in range(program.registers - 1, program.first - 1, -1):
        instruction = program.instructions[register - program.first]
        derivative = _DERIVATIVES.get(instruction.operation)
        if derivative is None or register not in found:
            continue
        operands = [registers[i] for i in instruction.operands]
        for operand, gradient in zip(instruction.operands, derivative(found[register], *operands), strict=True):
            if gradient is not None:
                found[operand] = found[operand] + gradient if operand in found else gradient
    none = np.zeros(current.shape, current.dtype)
    return [np.broadcast_to(found.get(register, none), current.shape) for register in range(program.first)]

"""Operation counts of a neuron's step, based on the step's program.

The counts follow the rules for all ops of a deployed network (`hdlif.graph.op`):

- A comparison of `a` and `b` counts as the addition `a - b`, unless this difference is computed anyway or has already
been counted. A comparison with 0 is free, because only the sign bit is read.
- A factor of 1, 0 or -1 is free if it is a constant or the result of a comparison. Additions of 0, choices between two
numbers, sign changes and truncations of fraction bits are free.
- Functions that depend only on parameters are free, because they are computed before deployment.
"""

from dataclasses import dataclass

from hdlif.graph.equations.program import Program

BYTES_A_NUMBER = 4
"""Bytes per state value: float32, in every runtime."""
_COMPARING = {"minimum", "maximum", "greater", "greater_equal"}


@dataclass(frozen=True)
class Counts:
    """The operation counts of one neuron at one step, and the size of the neuron's state.

    Attributes:
        multiplications, additions: numbers of operations that depend on the current or a state.
        comparisons: number of comparisons whose difference is not computed anyway.
        state_words: number of values carried from step to step.
    """

    multiplications: int
    additions: int
    comparisons: int
    state_words: int

    @property
    def operations(self) -> int:
        """Return the total number of multiplications, additions and comparisons (NOPs)."""
        return self.multiplications + self.additions + self.comparisons

    @property
    def state_bytes(self) -> int:
        """Return the size in bytes of a neuron's state at inference."""
        return BYTES_A_NUMBER * self.state_words


def counts(program: Program) -> Counts:
    """Count the operations on which the spike or states of a step depend.

    >>> from hdlif.graph.equations import counts
    >>> from hdlif.nn import LIF
    >>> counts(LIF(time_steps=4).program()).operations
    3

    Args:
        program: the neuron's program.
    """
    needed = program.needed
    differences: set[frozenset[int]] = set()
    compared: set[frozenset[int]] = set()
    multiplications = additions = 0
    for register, instruction in enumerate(program.instructions, program.first):
        if register not in needed:
            continue
        operands = instruction.operands
        constants = [program.constant(operand) for operand in operands]
        match instruction.operation:
            case "multiply":
                is_free = any(c in (0, 1, -1) for c in constants) or any(map(program.starts_binary, operands))
                multiplications += not is_free
            case "add":
                additions += 0 not in constants
            case "subtract":
                if 0 not in constants:
                    differences.add(frozenset(operands))
            case operation if operation in _COMPARING and 0 not in constants:
                compared.add(frozenset(operands))
    return Counts(multiplications, additions + len(differences), len(compared - differences), len(program.states))

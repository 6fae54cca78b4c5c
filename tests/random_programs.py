"""Programs of neurons drawn at random, over all operations, whose states and spikes keep within ±8."""

import numpy as np

from hdlif.graph.equations import OPERATIONS, Instruction, Program

DRAWN = [name for name in OPERATIONS if name != "constant"]


def random_program(rng: np.random.Generator, *, states: int | None = None, steps: int | None = None) -> Program:
    """A program of up to 3 states, 4 rows and about 12 drawn operations; half of them emit codes."""
    states = int(rng.integers(0, 4)) if states is None else states
    rows = int(rng.integers(0, 5))
    first = 1 + states + rows
    instructions: list[Instruction] = []

    def add(name: str, *operands: int, value: float = 0.0) -> int:
        instructions.append(Instruction(name, operands, value))
        return first + len(instructions) - 1

    low, high = add("constant", value=-8.0), add("constant", value=8.0)
    for _ in range(int(rng.integers(1, 13)) if steps is None else steps):
        if rng.random() < 0.1:
            add("constant", value=float(rng.choice([0.0, 1.0, -0.5, 3.0])))
            continue
        name = str(rng.choice(DRAWN))
        # mostly the latest registers, so that one follows from the other
        there = first + len(instructions)
        latest = [max(0, there - 1 - int(rng.integers(0, 6))) for _ in range(OPERATIONS[name].arity)]
        operands = [one if rng.random() < 0.6 else int(rng.integers(0, there)) for one in latest]
        add(name, *operands)

    def bounded(register: int) -> int:
        return add("maximum", add("minimum", register, high), low)

    last = first + len(instructions) - 1
    # a state may be the current, a row or another state too
    after = [
        bounded(int(rng.integers(0, last + 1))) if rng.random() < 0.8 else int(rng.integers(0, first))
        for _ in range(states)
    ]
    spike = add("greater", last, 0) if rng.random() < 0.5 else bounded(last)
    names = [f"row {i}" for i in range(rows)]
    return Program(tuple(f"s{i}" for i in range(states)), tuple(names), tuple(instructions), spike, tuple(after))

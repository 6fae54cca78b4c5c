"""What a network's numbers grow to on samples: of every value, and of every register of its equations."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.graph.equations.program import evaluate_registers
from hdlif.graph.ops import INPUT, Graph, infer_values
from hdlif.graph.ops.graph import row_of_step
from hdlif.graph.ops.program import program_of, row_names
from hdlif.runtime import reference
from hdlif.runtime.state import potential_shapes


@dataclass(frozen=True)
class Ranges:
    """Largest magnitudes: of values by name, of registers by node and number, and of states."""

    values: Mapping[str, float]
    registers: Mapping[tuple[str, int], float]
    states: Mapping[tuple[str, str], float]


def ranges(graph: Graph, x: NDArray[np.float32], steps: int) -> Ranges:
    """Of frames [T, N, C, H, W], or [1, N, C, H, W] shown at every step."""
    types = infer_values(graph)
    state = {name: np.zeros((x.shape[1], *shape), np.float32) for name, shape in potential_shapes(graph, types).items()}
    values: dict[str, float] = defaultdict(float)
    registers: dict[tuple[str, int], float] = defaultdict(float)
    states: dict[tuple[str, str], float] = defaultdict(float)
    for t in range(steps):
        before = {name: array.copy() for name, array in state.items()}
        found = reference.evaluate(graph, x[t if len(x) > 1 else 0], state, t)
        for name, array in found.items():
            values[name] = max(values[name], _largest(array))
        for node in graph.nodes:
            if node.op != "program":
                continue
            program, current = program_of(node), found[node.inputs[0]].astype(np.float32)
            held = [before[f"{node.name}.{name}"] for name in program.states]
            rows = [row_of_step(node, key, t, current.ndim) for key in row_names(program)]
            for register, array in enumerate(evaluate_registers(program, current, held, rows)):
                registers[node.name, register] = max(registers[node.name, register], _largest(array))
            for name in program.states:
                size = _largest(state[f"{node.name}.{name}"])
                states[node.name, name] = max(states[node.name, name], size)
    assert INPUT in values
    return Ranges(values, registers, states)


def _largest(array: Any) -> float:
    """Return the largest magnitude: infinity where there is a NaN, which no comparison finds."""
    largest = float(np.abs(array).max(initial=0))
    return math.inf if math.isnan(largest) else largest

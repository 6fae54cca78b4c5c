"""Neurons by name, as the nodes of their programs.

hd_lif       m = leak·v + x;  y = max(m - threshold, 0);  v = min(m, threshold)
parallel     y = max(x - threshold, 0)
lif          m = leak·v + x;  y = 1 if m >= threshold else 0;  v = y ? m - threshold : m  (soft reset),
             or v = y ? reset_potential : m  (hard reset)
graded_lif   m = leak·v + x;  y = max(m - threshold, 0);  v = m >= threshold ? m - threshold : m
glif         h = 1 if v >= threshold[t - 1] else 0, and 0 at t = 0;  v = leak_h·v + gain·x + shift_h, where leak_1
             is leak_after_spike and so on;  y = 1 if v >= threshold else 0
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hdlif.graph.equations import Instruction, Program, to_attributes
from hdlif.graph.graph import Node
from hdlif.graph.ops.program import row_names


@dataclass(frozen=True)
class _Neuron:
    kind: str
    rows: tuple[str, ...]
    program: Callable[[tuple[str, ...], Mapping[str, Any]], Program]


def as_program(node: Node) -> Node:
    """The program of a node whose op names a neuron; another node as it is."""
    neuron = _NEURONS.get(node.op)
    if neuron is None:
        return node
    program = neuron.program(neuron.rows, node.attributes)
    tensors = {key: node.tensors[row] for key, row in zip(row_names(program), program.rows, strict=True)}
    return Node("program", node.name, node.inputs, {"kind": neuron.kind, **to_attributes(program)}, tensors)


def _membrane(*rest: Instruction) -> tuple[Instruction, ...]:
    """Registers: 0 x, 1 v, 2 leak, 3 threshold, 5 the membrane, 6 what it is above the threshold; then `rest`."""
    return (
        Instruction("multiply", (2, 1)),
        Instruction("add", (4, 0)),
        Instruction("subtract", (5, 3)),
        *rest,
    )


def _hd_lif(rows: tuple[str, ...], attributes: Mapping[str, Any]) -> Program:
    rest = Instruction("constant"), Instruction("maximum", (7, 6)), Instruction("minimum", (3, 5))
    return Program(("potential",), rows, _membrane(*rest), spike=8, after=(9,))


def _graded_lif(rows: tuple[str, ...], attributes: Mapping[str, Any]) -> Program:
    surplus = Instruction("constant"), Instruction("maximum", (7, 6))
    rest = *surplus, Instruction("step", (6,)), Instruction("select", (9, 6, 5))
    return Program(("potential",), rows, _membrane(*rest), spike=8, after=(10,))


def _lif(rows: tuple[str, ...], attributes: Mapping[str, Any]) -> Program:
    rest: tuple[Instruction, ...]
    if attributes["reset"] == "soft":
        rest = Instruction("step", (6,)), Instruction("select", (7, 6, 5))
        return Program(("potential",), rows, _membrane(*rest), spike=7, after=(8,))
    potential = Instruction("constant", value=float(attributes["reset_potential"]))
    rest = Instruction("step", (6,)), potential, Instruction("select", (7, 8, 5))
    return Program(("potential",), rows, _membrane(*rest), spike=7, after=(9,))


def _parallel(rows: tuple[str, ...], attributes: Mapping[str, Any]) -> Program:
    instructions = Instruction("subtract", (0, 1)), Instruction("constant"), Instruction("maximum", (3, 2))
    return Program((), rows, instructions, spike=4, after=())


def _glif(rows: tuple[str, ...], attributes: Mapping[str, Any]) -> Program:
    # 0 x, 1 v, 2 h, 3 leak, 4 leak_after_spike, 5 gain, 6 shift, 7 shift_after_spike, 8 threshold
    instructions = (
        Instruction("select", (2, 4, 3)),
        Instruction("multiply", (9, 1)),
        Instruction("multiply", (5, 0)),
        Instruction("add", (10, 11)),
        Instruction("select", (2, 7, 6)),
        Instruction("add", (12, 13)),
        Instruction("greater_equal", (14, 8)),
    )
    return Program(("potential", "fired"), rows, instructions, spike=15, after=(14, 15))


_GLIF_ROWS = ("leak", "leak_after_spike", "gain", "shift", "shift_after_spike", "threshold")
_NEURONS: Mapping[str, _Neuron] = {
    "hd_lif": _Neuron("HDLIF", ("leak", "threshold"), _hd_lif),
    "parallel": _Neuron("ParallelHDLIF", ("threshold",), _parallel),
    "lif": _Neuron("LIF", ("leak", "threshold"), _lif),
    "graded_lif": _Neuron("GradedLIF", ("leak", "threshold"), _graded_lif),
    "glif": _Neuron("GLIF", _GLIF_ROWS, _glif),
}

"""The program op evaluates a neuron's equation by elementwise operations on registers (`graph.equations.program`).

Register 0 is x. The next registers contain the states before the step, then row0[t, c], row1[t, c], ..., and then the
result of each operation. All states are initially 0. The output y is the register `spike`, and is an integer code if
that register's operation returns only 1 or 0. The registers listed in `after` contain the states after the step. An
equation with `fires` = false (default: true) emits no spikes and does not count as a neuron layer.
"""

from collections.abc import Sequence

import numpy as np

from hdlif.errors import ArtefactError, EquationError, brief
from hdlif.graph import equations
from hdlif.graph.equations import Program, from_attributes
from hdlif.graph.equations.gradients import gradients
from hdlif.graph.equations.record import KEYS
from hdlif.graph.fields import check_fields, in_order, rows
from hdlif.graph.graph import Array, Node, Value, row_of_step
from hdlif.graph.op import ADD, MULTIPLY, Op, Passed, Seen, Work


def row_names(program: Program) -> tuple[str, ...]:
    """Return the names of a program node's tensors."""
    return tuple(f"row{i}" for i in range(len(program.rows)))


def named_rows(node: Node) -> dict[str, Array]:
    """Return a dict from the row names of a program node to its tensors."""
    program = program_of(node)
    return {name: node.tensors[key] for key, name in zip(row_names(program), program.rows, strict=True)}


def program_of(node: Node) -> Program:
    """Return the program of a node, or raise `ArtefactError` if the program is invalid."""
    try:
        return from_attributes(node.attributes)
    except EquationError as error:
        raise ArtefactError(f"{node.name}: {error}") from error


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    program, kind = program_of(node), node.attributes["kind"]
    if not isinstance(kind, str) or not kind.isprintable() or not 0 < len(kind) <= 200:
        raise ArtefactError(f"{node.name}: kind = {brief(kind)}; it must be a printable name")
    if not isinstance(node.attributes.get("fires", True), bool):
        raise ArtefactError(f"{node.name}: fires = {brief(node.attributes['fires'])}; it must be true or false")
    check_fields(node, "tensors", sorted(node.tensors), sorted(row_names(program)))
    checked = [rows(node, name, inputs[0], time_steps) for name in row_names(program)]
    constant = inputs[0].constant and not program.states and all(len(row) == 1 for row in checked)
    return Value(inputs[0].shape, 1 if program.is_binary(program.spike) else None, constant)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    program, x = program_of(node), inputs[0].astype(np.float32)
    before = [states[name] for name in program.states]
    spike, after = equations.evaluate(
        program, x, before, [row_of_step(node, key, t, x.ndim) for key in row_names(program)]
    )
    for name, value in zip(program.states, after, strict=True):
        states[name][...] = value
    return spike


def backward(node: Node, passed: Passed, gradient: Array) -> tuple[Sequence[Array | None], dict[str, Array]]:
    """Return the gradients of one step; the gradient of each tensor is summed over the map, row by row."""
    program, x = program_of(node), passed.inputs[0].astype(np.float32)
    states = [passed.states[name] for name in program.states]
    own = {key: row_of_step(node, key, passed.t, x.ndim) for key in row_names(program)}
    of_current, *found = gradients(program, x, states, list(own.values()), gradient)
    of_rows = zip(own, found[len(states) :], strict=True)
    tensors = {key: in_order(g, 1)[:, None] if own[key].size == 1 else in_order(g, 2) for key, g in of_rows}
    return (of_current,), tensors


def neuron_step(node: Node) -> Work:
    """Count the operations of one neuron at one step, based on the node's program."""
    found = equations.counts(program_of(node))
    return MULTIPLY * found.multiplications + ADD * (found.additions + found.comparisons)


def price(node: Node, seen: Seen) -> Work:
    return neuron_step(node) * seen.entries_per_image(node)


def fires(node: Node) -> bool:
    """Return whether the equation emits spikes; a companding equation, for example, does not."""
    return bool(node.attributes.get("fires", True))


OP = Op(
    "program",
    arity=1,
    is_elementwise=True,
    attributes=("kind", *KEYS),
    optional=("fires",),
    tensors=None,
    infer=infer,
    evaluate=evaluate,
    backward=backward,
    price=price,
    states=lambda node: tuple(node.attributes["states"]),
    is_neuron=fires,
    emits_spikes=fires,
)

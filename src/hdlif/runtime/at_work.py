"""Trace the membrane potential, threshold and spikes of each neuron in a deployed network over time."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hdlif.graph.artefact import Graph, Node
from hdlif.graph.equations import evaluate_registers
from hdlif.graph.graph import row_of_step
from hdlif.graph.ops import OPS
from hdlif.graph.ops.program import program_of, row_names
from hdlif.runtime.state import Array

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LayerAtWork:
    """The traces of a layer's N neurons on one input, in the order [C, H, W].

    Attributes:
        membrane: m_t [T, N], which is compared with the threshold; without a comparison, the first state after the
            step, or the current.
        threshold: threshold [T, N] that is compared with m_t; NaN without a comparison.
        spike: output [T, N].
        shape: [C, H, W], or [C].
        states: the states [T, N] after the step by name, except the first state, which is m_t after the reset.
    """

    membrane: Floats
    threshold: Floats
    spike: Floats
    shape: tuple[int, ...]
    states: Mapping[str, Floats] = field(default_factory=dict)


def layers_at_work(graph: Graph, values: Mapping[str, Array]) -> dict[str, LayerAtWork]:
    """Return the traces of every neuron layer on the first input of a batch, keyed by layer name.

    Args:
        values: result of `Session.values`, or at least the inputs and outputs of the neuron layers.
    """
    return {
        node.name: _layer(node, values[node.inputs[0]][:, 0].astype(np.float32), values[node.name][:, 0])
        for node in graph.nodes
        if OPS[node.op].is_neuron(node)
    }


def _layer(node: Node, currents: Floats, spikes: Array) -> LayerAtWork:
    program = program_of(node)
    states = [np.zeros_like(currents[0]) for _ in program.states]
    others = {name: np.empty_like(currents) for name in program.states[1:]}
    membrane, threshold = np.empty_like(currents), np.full_like(currents, np.nan)
    for t, current in enumerate(currents):
        rows = [row_of_step(node, key, t, current.ndim + 1) for key in row_names(program)]
        registers = evaluate_registers(program, current, states, rows)
        states = [np.array(np.broadcast_to(registers[place], current.shape)) for place in program.after]
        if program.decision is not None:
            membrane[t], threshold[t] = (registers[place] for place in program.decision)
        else:
            membrane[t] = states[0] if states else current
        for values, state in zip(others.values(), states[1:], strict=True):
            values[t] = state
    flat = (len(currents), -1)
    return LayerAtWork(
        membrane.reshape(flat),
        threshold.reshape(flat),
        spikes.astype(np.float32).reshape(flat),
        currents.shape[1:],
        {name: values.reshape(flat) for name, values in others.items()},
    )

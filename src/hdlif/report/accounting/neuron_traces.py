"""Traces of single neurons on one sample: membrane, threshold and spikes at every time step."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hdlif.deploy import GraphModule
from hdlif.graph.artefact import Graph, Node
from hdlif.graph.equations import evaluate_registers
from hdlif.graph.ops import OPS
from hdlif.graph.ops.program import program_of, row_names


@dataclass(frozen=True)
class LayerTrace:
    """Traces of a neuron layer on one sample; its N neurons are numbered in the order [C, H, W].

    Attributes:
        membrane: m_t, which is compared with the threshold, [T, N]; for a step without a comparison, its first state
            after the step, or its current.
        threshold: the threshold, [T, N]; NaN without a comparison.
        spike: the emitted spike, [T, N]: the surplus for graded neurons, 0 or 1 for others.
        shape: [C, H, W], or [C].
        states: the states after the step except the first, [T, N], by name; the first is m_t after the reset.
    """

    membrane: Tensor
    threshold: Tensor
    spike: Tensor
    shape: tuple[int, ...]
    states: Mapping[str, Tensor] = field(default_factory=dict)


def neuron_traces(graph: Graph, x: Tensor) -> dict[str, LayerTrace]:
    """Trace all neuron layers of a deployed network on one sample [T or 1, 1, C, H, W], by name, in the graph's order.

    With Mem-BN, membrane and threshold are the folded ones.
    """
    rows: dict[str, list[LayerTrace]] = {node.name: [] for node in graph.nodes if OPS[node.op].is_neuron(node)}
    seen: dict[str, tuple[Node, Tensor, Tensor]] = {}

    def observe(node: Node, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if node.name in rows:
            seen[node.name] = node, inputs[0][0, 0], output[0, 0]

    module, before = GraphModule(graph, observer=observe), None
    with torch.no_grad():
        for t in range(len(x) if len(x) > 1 else graph.time_steps):
            _, after = module(x[t : t + 1] if len(x) > 1 else x, before, steps=range(t, t + 1))
            for name, (node, current, spike) in seen.items():
                rows[name].append(_of_step(node, t, current, spike, *(_kept(state, name) for state in (before, after))))
            before = after
    return {name: _over_time(steps) for name, steps in rows.items()}


def _kept(state: Mapping[str, object] | None, name: str) -> dict[str, Tensor]:
    """Return the states of a node's neurons on one sample; empty before the first step."""
    kept = (state or {}).get(name)
    return {key: value[0] for key, value in kept.items()} if isinstance(kept, Mapping) else {}


def _of_step(
    node: Node, t: int, current: Tensor, spike: Tensor, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> LayerTrace:
    program = program_of(node)
    rows = [node.tensors[key][min(t, len(node.tensors[key]) - 1)] for key in row_names(program)]
    registers = evaluate_registers(
        program,
        current.numpy(),
        [before.get(name, torch.zeros_like(current)).numpy() for name in program.states],
        [row.reshape(-1, *(1,) * (current.ndim - 1)) for row in rows],
    )
    if program.decision is None:
        membrane, threshold = next(iter(after.values()), current), torch.full_like(current, torch.nan)
    else:
        compared = (np.array(np.broadcast_to(registers[place], current.shape)) for place in program.decision)
        membrane, threshold = (torch.from_numpy(value) for value in compared)
    return LayerTrace(
        membrane, threshold, spike, tuple(spike.shape), {name: after[name] for name in program.states[1:]}
    )


def _over_time(steps: Sequence[LayerTrace]) -> LayerTrace:
    def stacked(values: Iterable[Tensor]) -> Tensor:
        return torch.stack([value.flatten() for value in values])

    return LayerTrace(
        stacked(step.membrane for step in steps),
        stacked(step.threshold for step in steps),
        stacked(step.spike for step in steps),
        steps[0].shape,
        {name: stacked(step.states[name] for step in steps) for name in steps[0].states},
    )

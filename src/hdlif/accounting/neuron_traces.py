"""What single neurons do on one sample: membrane, threshold and spikes at every time step."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hdlif.artefact import Graph, Node
from hdlif.artefact.format import OPS, program_of, row_names
from hdlif.deploy import GraphModule


@dataclass(frozen=True)
class LayerTrace:
    """A neuron layer on one sample; its N neurons are counted in the order [C, H, W].

    Attributes:
        membrane: m_t before firing, [T, N]; of a neuron's own equation the first of its states after the step, or its
            current where it has none.
        threshold: θ_t, [T, N]; NaN where an equation has no parameter of that name.
        spike: what is emitted, [T, N]: the surplus of graded neurons, 0 or 1 of others.
        states: of an equation, each state after the step, [T, N], by name.
    """

    membrane: Tensor
    threshold: Tensor
    spike: Tensor
    states: Mapping[str, Tensor] = field(default_factory=dict)


def neuron_traces(graph: Graph, x: Tensor) -> dict[str, LayerTrace]:
    """Every neuron layer of a deployed network on one sample [T or 1, 1, C, H, W], by name, in the graph's order.

    The membrane is λ_t·v_{t-1} + I_t; where a GLIF layer decides, it is what that keeps; with Mem-BN, λ_t, θ_t and I_t
    are the folded ones.
    """
    rows: dict[str, list[LayerTrace]] = {node.name: [] for node in graph.nodes if OPS[node.op].neuron}
    seen: dict[str, tuple[Node, Tensor, Tensor]] = {}

    def observe(node: Node, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if node.name in rows:
            seen[node.name] = node, inputs[0][0, 0], output[0, 0]

    module, before = GraphModule(graph, observer=observe), None
    with torch.no_grad():
        for t in range(graph.time_steps):
            _, after = module(x[t : t + 1] if len(x) > 1 else x, before, steps=range(t, t + 1))
            for name, (node, current, spike) in seen.items():
                if node.op == "program":
                    rows[name].append(_of_program(node, t, current, spike, after))
                    continue
                potential = _potential(before, name, current)
                kept = _potential(after, name, current)
                leak, threshold = (_row(node, role, t, current) for role in ("leak", "threshold"))
                membrane = kept if node.op == "glif" else leak * potential + current
                rows[name].append(LayerTrace(membrane, threshold, spike))
            before = after
    return {name: _over_time(steps) for name, steps in rows.items()}


def _of_program(node: Node, t: int, current: Tensor, spike: Tensor, after: Mapping[str, object] | None) -> LayerTrace:
    program, kept = program_of(node), (after or {}).get(node.name)
    states = {name: kept[name][0] for name in program.states} if isinstance(kept, Mapping) else {}
    keys = dict(zip(program.rows, row_names(program), strict=True))
    threshold = _row(node, keys["threshold"], t, current) if "threshold" in keys else torch.full_like(current, math.nan)
    return LayerTrace(next(iter(states.values()), current), threshold, spike, states)


def _over_time(steps: Sequence[LayerTrace]) -> LayerTrace:
    def stacked(values: Iterable[Tensor]) -> Tensor:
        return torch.stack([value.flatten() for value in values])

    return LayerTrace(
        stacked(step.membrane for step in steps),
        stacked(step.threshold for step in steps),
        stacked(step.spike for step in steps),
        {name: stacked(step.states[name] for step in steps) for name in steps[0].states},
    )


def _potential(state: Mapping[str, object] | None, name: str, current: Tensor) -> Tensor:
    """The neurons' potential in a state; zeros before the first step, and of neurons that keep none."""
    kept = (state or {}).get(name)
    potential = kept["potential"][0] if isinstance(kept, Mapping) else torch.zeros_like(current)
    assert isinstance(potential, Tensor)
    return potential


def _row(node: Node, role: str, t: int, like: Tensor) -> Tensor:
    """The row of step t as a tensor shaped like [C, ...]; a layer without a leak has leak 0."""
    if role not in node.tensors:
        return torch.zeros_like(like)
    rows = node.tensors[role]
    row = torch.from_numpy(rows[min(t, len(rows) - 1)].astype("float32"))
    return row.view(-1, *(1,) * (like.ndim - 1)).expand_as(like)

"""What single neurons do on one sample: membrane, threshold and spikes at every time step."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hdlif.artefact import Graph, Node
from hdlif.artefact.format import OPS
from hdlif.deploy import GraphModule


@dataclass(frozen=True)
class LayerTrace:
    """A neuron layer on one sample; its N neurons are counted in the order [C, H, W].

    Attributes:
        membrane: m_t before firing, [T, N].
        threshold: θ_t, [T, N].
        spike: what is emitted, [T, N]: the surplus of graded neurons, 0 or 1 of others.
    """

    membrane: Tensor
    threshold: Tensor
    spike: Tensor


def neuron_traces(graph: Graph, x: Tensor) -> dict[str, LayerTrace]:
    """Every neuron layer of a deployed network on one sample [T or 1, 1, C, H, W], by name, in the graph's order.

    The membrane is λ_t·v_{t-1} + I_t; where a GLIF layer decides, it is what that keeps; with Mem-BN, λ_t, θ_t and I_t
    are the folded ones.
    """
    rows: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {
        node.name: [] for node in graph.nodes if OPS[node.op].neuron
    }
    seen: dict[str, tuple[Node, Tensor, Tensor]] = {}

    def observe(node: Node, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if node.name in rows:
            seen[node.name] = node, inputs[0][0, 0], output[0, 0]

    module, before = GraphModule(graph, observer=observe), None
    with torch.no_grad():
        for t in range(graph.time_steps):
            _, after = module(x[t : t + 1] if len(x) > 1 else x, before, steps=range(t, t + 1))
            for name, (node, current, spike) in seen.items():
                potential = _potential(before, name, current)
                kept = _potential(after, name, current)
                leak, threshold = (_row(node, role, t, current) for role in ("leak", "threshold"))
                membrane = kept if node.op == "glif" else leak * potential + current
                rows[name].append((membrane, threshold, spike))
            before = after
    return {
        name: LayerTrace(*(torch.stack([step[i].flatten() for step in steps]) for i in range(3)))
        for name, steps in rows.items()
    }


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

"""Roles (stem, body or classifier) of convolutions and linear layers, derived from positions in the graph."""

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from typing import Literal

from hdlif.graph.graph import INPUT, Graph, Node, settled
from hdlif.graph.ops import OPS

Role = Literal["stem", "body", "classifier"]


def roles(graph: Graph) -> dict[str, Role]:
    """Return the role of every convolution and linear layer, by layer name.

    Low-bit layers always belong to the body. The roles of other layers depend on their positions relative to the spikes
    of neurons and quantisers:

    - Stem layers do not depend on spikes. Each stem layer either has no convolution or linear layer before it, or lies
    on every path from the input to the output. The second convolution of a deep stem thus belongs to the stem, but a
    shortcut parallel to neurons does not.
    - Classifier layers have no other convolution or linear layer after them.
    - body: all other layers.
    """
    spikes = _before(graph, lambda node: OPS[node.op].emits_spikes(node))
    synapses = _before(graph, lambda node: OPS[node.op].is_synapse)
    followed, on_every_way = _followed(graph), _on_every_way(graph)
    found: dict[str, Role] = {}
    for node in graph.nodes:
        if not OPS[node.op].is_synapse:
            continue
        before = node.inputs[0]
        if node.attributes["encoding"] != "float32":
            found[node.name] = "body"
        elif not spikes[before] and (not synapses[before] or node.name in on_every_way):
            found[node.name] = "stem"
        else:
            found[node.name] = "body" if node.name in followed else "classifier"
    return found


def _before(graph: Graph, holds: Callable[[Node], bool]) -> dict[str, bool]:
    """Return, for each value, whether any node that satisfies `holds` affects the value at the same or a later step."""
    found = {INPUT: False, **{node.name: holds(node) for node in graph.nodes}}
    return settled(
        found, graph.nodes, lambda node, now: now[node.name] or any(now[name] for name in OPS[node.op].made_from(node))
    )


def _followed(graph: Graph) -> set[str]:
    """Return the values on which a convolution or linear layer depends at the same or a later step."""
    read: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in OPS[node.op].made_from(node):
            read.setdefault(name, []).append(node)
    found = settled(
        dict.fromkeys((INPUT, *(node.name for node in graph.nodes)), False),
        reversed(graph.nodes),
        lambda node, now: any(OPS[one.op].is_synapse or now[one.name] for one in read.get(node.name, ())),
    )
    return {name for name, is_followed in found.items() if is_followed}


def by_place(graph: Graph) -> Graph:
    """Return the graph with each layer's role added as an attribute."""
    found = roles(graph)
    nodes = (
        replace(node, attributes={**node.attributes, "role": found[node.name]}) if node.name in found else node
        for node in graph.nodes
    )
    return replace(graph, nodes=tuple(nodes))


def _on_every_way(graph: Graph) -> set[str]:
    """Return the nodes that lie on every path from the input to the output.

    Paths exclude edges through which delays feed values back to earlier nodes.
    """
    place = {INPUT: 0} | {node.name: i for i, node in enumerate(graph.nodes, start=1)}
    ahead = {
        node.name: [name for name in OPS[node.op].made_from(node) if place[name] < place[node.name]]
        for node in graph.nodes
    }
    reached = {INPUT}
    for node in graph.nodes:
        if not reached.isdisjoint(ahead[node.name]):
            reached.add(node.name)
    needed = {graph.output}
    jumps = [0] * (len(graph.nodes) + 2)
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(ahead[node.name])
            for name in reached.intersection(ahead[node.name]):
                jumps[place[name] + 1] += 1
                jumps[place[node.name]] -= 1
    over = list(accumulate(jumps))
    return {node.name for node in graph.nodes if node.name in needed & reached and over[place[node.name]] == 0}

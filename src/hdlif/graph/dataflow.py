"""Functions that list the values that a node reads or carries from step to step."""

from collections.abc import Mapping
from dataclasses import replace

from hdlif.graph.graph import Graph, Node
from hdlif.graph.ops import OPS


def reads(node: Node) -> tuple[str, ...]:
    """Return the names of the values that a node reads for the current or the next step."""
    return (*node.inputs, *OPS[node.op].sources(node))


def renamed(node: Node, names: Mapping[str, str]) -> Node:
    """Return a node with renamed inputs and sources."""
    inputs, attributes = tuple(names.get(name, name) for name in node.inputs), node.attributes
    for source in OPS[node.op].sources(node):
        attributes = {**attributes, "source": names.get(source, source)}
    return replace(node, inputs=inputs, attributes=attributes)


def is_recurrent(graph: Graph) -> bool:
    """Return whether any node carries another node's value to the next step; if so, steps must run one by one."""
    return any(OPS[node.op].keep is not None for node in graph.nodes)


def feedback(node: Node) -> tuple[tuple[str, str], ...]:
    """Return a pair (state, source) for each value that a node carries from another node to the next step."""
    sources = OPS[node.op].sources(node)
    return tuple(zip(state_names(node), sources, strict=True)) if sources else ()


def state_names(node: Node) -> tuple[str, ...]:
    """Return the names of a node's states."""
    return OPS[node.op].states(node)

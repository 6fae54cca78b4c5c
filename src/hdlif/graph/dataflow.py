"""What nodes read and carry from step to step, by the statements of their ops."""

from collections.abc import Mapping
from dataclasses import replace

from hdlif.graph.graph import Graph, Node
from hdlif.graph.ops import OPS


def reads(node: Node) -> tuple[str, ...]:
    """The values that a node reads, at this step or for the next one."""
    return (*node.inputs, *OPS[node.op].sources(node))


def renamed(node: Node, names: Mapping[str, str]) -> Node:
    """The node, reading what stands for the values that it read."""
    inputs, attributes = tuple(names.get(name, name) for name in node.inputs), node.attributes
    for source in OPS[node.op].sources(node):
        attributes = {**attributes, "source": names.get(source, source)}
    return replace(node, inputs=inputs, attributes=attributes)


def is_recurrent(graph: Graph) -> bool:
    """Whether a node takes what a later one gave at the step before: then steps run one after the other."""
    return any(OPS[node.op].keep is not None for node in graph.nodes)


def feedback(node: Node) -> tuple[tuple[str, str], ...]:
    """(state, source) of each value that a node keeps of a step for the next one."""
    sources = OPS[node.op].sources(node)
    return tuple(zip(state_names(node), sources, strict=True)) if sources else ()


def state_names(node: Node) -> tuple[str, ...]:
    """What a node carries from step to step, by name."""
    return OPS[node.op].states(node)

"""A graph as stages: an op that reads whole maps, and what treats each of its entries by itself, in one loop.

Only what a later stage reads is stored; what passes from op to op inside a stage is a local variable.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hdlif.graph.dataflow import feedback, reads
from hdlif.graph.graph import INPUT, Graph, Node, Value
from hdlif.graph.ops import OPS


@dataclass(frozen=True)
class Stage:
    """Nodes whose values have one shape, in the order of the graph; all but the first are elementwise.

    Attributes:
        stored: the values that other stages read, in the order of the nodes.
        loaded: the stored values that are read entry by entry, at the entry that is computed.
        scanned: the stored values that the first node reads otherwise.
    """

    nodes: tuple[Node, ...]
    stored: tuple[str, ...]
    loaded: tuple[str, ...]
    scanned: tuple[str, ...]


def bases(graph: Graph) -> dict[str, str]:
    """By value, the value whose entries it has: its own, or those of what a view is of."""
    found = {INPUT: INPUT}
    for node in graph.nodes:
        found[node.name] = found[node.inputs[0]] if OPS[node.op].is_view else node.name
    return found


def inputs_of(node: Node) -> tuple[str, ...]:
    """The values of this step that a node reads."""
    return () if feedback(node) else node.inputs


def needed(graph: Graph) -> tuple[Node, ...]:
    """The nodes that the output follows from, at this step or a later one."""
    return _before_output(graph, lambda node: (*inputs_of(node), *OPS[node.op].sources(node)))


def evaluated(graph: Graph) -> tuple[Node, ...]:
    """The nodes that the output follows from, and those that only say the shape of a value of the step before."""
    return _before_output(graph, reads)


def _before_output(graph: Graph, read_by: Callable[[Node], tuple[str, ...]]) -> tuple[Node, ...]:
    by_name = {node.name: node for node in graph.nodes}
    wanted: set[str] = set()
    waiting = [graph.output]
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in wanted:
            wanted.add(name)
            waiting += read_by(by_name[name])
    return tuple(node for node in graph.nodes if node.name in wanted)


def stages(graph: Graph, values: Mapping[str, Value]) -> tuple[Stage, ...]:
    """The stages of what is needed of a graph, in an order in which each reads what stands before it."""
    base = bases(graph)
    waiting = [node for node in needed(graph) if not OPS[node.op].is_view]
    groups: list[list[Node]] = []
    done = {INPUT}
    while waiting:
        first = waiting.pop(0)
        group, inside = [first], {first.name}
        for node in list(waiting):
            if _follows(node, first, inside, done, base, values):
                group.append(node)
                inside.add(node.name)
                waiting.remove(node)
        done |= inside
        groups.append(group)
    return tuple(_stage(group, groups, graph, base) for group in groups)


def _follows(
    node: Node, first: Node, inside: set[str], done: set[str], base: Mapping[str, str], values: Mapping[str, Value]
) -> bool:
    """Whether a node can be computed entry by entry with a group, from its values and from those of earlier ones."""
    if not OPS[node.op].is_elementwise or values[node.name].shape != values[first.name].shape:
        return False
    read = inputs_of(node)
    from_inside = [name for name in read if name in inside]
    return bool(from_inside) and all(name in inside or base[name] in done for name in read)


def _stage(group: Iterable[Node], groups: Iterable[list[Node]], graph: Graph, base: Mapping[str, str]) -> Stage:
    nodes = tuple(group)
    inside = {node.name for node in nodes}
    read: set[str] = {base[graph.output]}
    for other in groups:
        for node in other:
            read |= {base[source] for _, source in feedback(node)}
            for name in inputs_of(node):
                # A view of a stage's own value is read from memory too.
                if node.name not in inside or name not in inside:
                    read.add(base[name])
    first = nodes[0]
    by_entry: list[str] = []
    otherwise: list[str] = []
    for node in nodes:
        for name in inputs_of(node):
            if name not in inside:
                (by_entry if OPS[node.op].is_elementwise else otherwise).append(base[name])
    assert not otherwise or not OPS[first.op].is_elementwise
    return Stage(
        nodes,
        tuple(node.name for node in nodes if node.name in read),
        tuple(dict.fromkeys(by_entry)),
        tuple(dict.fromkeys(otherwise)),
    )

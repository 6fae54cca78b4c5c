"""Division of a graph into stages, each of which computes several nodes in one loop.

A stage fuses an op with the elementwise ops that follow. Values that later stages read are stored in memory, and all
others in local variables.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from hdlif.graph.dataflow import feedback, reads
from hdlif.graph.graph import INPUT, Graph, Node, Value
from hdlif.graph.ops import OPS


@dataclass(frozen=True)
class Stage:
    """A sequence of nodes whose values have the same shape; all nodes after the first are elementwise.

    Attributes:
        stored: values that other stages read, in node order.
        loaded: stored values of which the stage reads only the entry that it computes.
        scanned: stored values of which the first node also reads other entries.
    """

    nodes: tuple[Node, ...]
    stored: tuple[str, ...]
    loaded: tuple[str, ...]
    scanned: tuple[str, ...]


def bases(graph: Graph) -> dict[str, str]:
    """Map each view to the value that stores the view's entries, and every other value to itself."""
    found = {INPUT: INPUT}
    for node in graph.nodes:
        found[node.name] = found[node.inputs[0]] if OPS[node.op].is_view else node.name
    return found


def inputs_of(node: Node) -> tuple[str, ...]:
    """Return the names of the current step's values that a node reads."""
    return () if feedback(node) else node.inputs


def needed(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes on which the output of the current or a later step depends."""
    return _before_output(graph, lambda node: (*inputs_of(node), *OPS[node.op].sources(node)))


def evaluated(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes on which the output depends, including nodes that only define the shape of a delayed value."""
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


def stages(graph: Graph, values: Mapping[str, Value], kept: Collection[str] = ()) -> tuple[Stage, ...]:
    """Return a graph's stages in topological order, with all values in `kept` stored in memory."""
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
    group_of = {node.name: place for place, group in enumerate(groups) for node in group}
    read = {base[graph.output], *kept}
    for place, group in enumerate(groups):
        for node in group:
            read |= {base[source] for _, source in feedback(node)}
            # A stage reads a view of its own value from memory too.
            read |= {base[name] for name in inputs_of(node) if group_of.get(name) != place}
    return tuple(_stage(group, read, base) for group in groups)


def _follows(
    node: Node, first: Node, inside: set[str], done: set[str], base: Mapping[str, str], values: Mapping[str, Value]
) -> bool:
    """Return whether a node can join the loop of a group, given the values that earlier groups compute."""
    if not OPS[node.op].is_elementwise or values[node.name].shape != values[first.name].shape:
        return False
    read = inputs_of(node)
    from_inside = [name for name in read if name in inside]
    return bool(from_inside) and all(name in inside or base[name] in done for name in read)


def _stage(nodes: Sequence[Node], read: Collection[str], base: Mapping[str, str]) -> Stage:
    """Build a stage from a group of nodes, given the set `read` of all values that any group reads from memory."""
    inside = {node.name for node in nodes}
    by_entry: list[str] = []
    otherwise: list[str] = []
    for node in nodes:
        for name in inputs_of(node):
            if name not in inside:
                (by_entry if OPS[node.op].is_elementwise else otherwise).append(base[name])
    assert not otherwise or not OPS[nodes[0].op].is_elementwise
    return Stage(
        tuple(nodes),
        tuple(node.name for node in nodes if node.name in read),
        tuple(dict.fromkeys(by_entry)),
        tuple(dict.fromkeys(otherwise)),
    )

"""NIR graphs as plain values: subgraphs are inlined, nodes are in execution order, and node inputs are listed."""

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hdlif.errors import ConversionError, brief, some

SPIKING = ("CubaLIF", "IF", "LIF")
WEIGHTED = ("Affine", "Linear", "Conv1d", "Conv2d")
MOST_DEPTH = 16
MOST_NODES = 10_000
MOST_SHOWN = 5


@dataclass(frozen=True)
class NirNode:
    """A NIR node, with its type and named values.

    Attributes:
        feedback: the recurrent synapse of a spiking node.
    """

    kind: str
    values: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    feedback: "NirNode | None" = None


@dataclass(frozen=True)
class NirGraph:
    """The nodes of a NIR graph in execution order, without the input and output nodes.

    Attributes:
        reads: the inputs that each node sums, and those that "output" sums; "input" is the network's input.
        input, output: the input node and the output node.
    """

    nodes: Mapping[str, NirNode]
    reads: Mapping[str, Sequence[str]]
    input: NirNode
    output: NirNode


def plain_graph(tree: Mapping[str, Any]) -> NirGraph:
    """Parse the tree that `nir.NIRGraph.to_dict` returns, or raise `ConversionError` if the tree is invalid."""
    if tree.get("type") != "NIRGraph":
        raise ConversionError(f"this is a NIR node of type {brief(tree.get('type'))}, not a NIRGraph; put it in one")
    nodes, edges = _flat(tree, "", 0)
    ends = {kind: [name for name, node in nodes.items() if node.kind == kind] for kind in ("Input", "Output")}
    if any(len(names) != 1 for names in ends.values()):
        raise ConversionError(
            f"the graph has {len(ends['Input'])} inputs and {len(ends['Output'])} outputs; it must have one of each"
        )
    (begin,), (end,) = ends["Input"], ends["Output"]
    if any(target == begin or source == end for source, target in edges):
        raise ConversionError("the graph has an edge into its input, or out of its output; remove it")
    nodes, edges = _with_feedback(nodes, edges)
    reads: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in edges:
        reads[target].append(source)
    try:
        order = list(graphlib.TopologicalSorter(reads).static_order())
    except graphlib.CycleError as error:
        raise ConversionError(
            f"the nodes {some(list(error.args[1])[:-1], MOST_SHOWN)} form a cycle; only feedback from a "
            "neuron to itself, through one Linear, Affine or convolution, is supported"
        ) from error
    needed = _reaching(end, reads)
    if begin not in needed:
        raise ConversionError("the output does not depend on the input; connect them by edges")
    if unfed := [name for name in order if name in needed and not reads[name] and name != begin]:
        raise ConversionError(f"no edge leads to {some(unfed, MOST_SHOWN)}; connect it to the input by an edge")
    return NirGraph(
        {name: nodes[name] for name in order if name in needed and name not in (begin, end)},
        {
            "output" if name == end else name: [
                "input" if source == begin else source for source in sorted(reads[name])
            ]
            for name in needed
            if name != begin
        },
        nodes[begin],
        nodes[end],
    )


def _flat(tree: Mapping[str, Any], prefix: str, depth: int) -> tuple[dict[str, NirNode], list[tuple[str, str]]]:
    """Return the nodes and edges of a graph, with subgraphs inlined."""
    where = prefix.removesuffix(".") or "the graph"
    inner, edges = tree.get("nodes"), tree.get("edges", ())
    if depth > MOST_DEPTH or not isinstance(inner, Mapping):
        raise ConversionError(f"{where} has no nodes, or subgraphs deeper than {MOST_DEPTH}")
    nodes: dict[str, NirNode] = {}
    joined: list[tuple[str, str]] = []
    begins: dict[str, str] = {}
    ends: dict[str, str] = {}
    for name, values in inner.items():
        if not isinstance(values, Mapping) or not isinstance(values.get("type"), str):
            raise ConversionError(f"{prefix}{name} has no type; every NIR node must have one")
        rest = {key: value for key, value in values.items() if key not in ("type", "metadata")}
        metadata = values.get("metadata")
        node = NirNode(values["type"], rest, metadata if isinstance(metadata, Mapping) else {})
        if node.kind != "NIRGraph":
            nodes[f"{prefix}{name}"] = node
            continue
        of_inner, edges_of_inner = _flat(values, f"{prefix}{name}.", depth + 1)
        for kind, places in (("Input", begins), ("Output", ends)):
            found = [one for one, value in of_inner.items() if value.kind == kind]
            if len(found) != 1:
                raise ConversionError(f"the subgraph {prefix}{name} has {len(found)} nodes {kind}; it must have one")
            places[f"{prefix}{name}"] = found[0]
            of_inner[found[0]] = replace(of_inner[found[0]], kind="Identity")
        nodes |= of_inner
        joined += edges_of_inner
    if len(nodes) > MOST_NODES:
        raise ConversionError(f"the graph has more than {MOST_NODES} nodes")
    for edge in edges if isinstance(edges, list | tuple) else ():
        if len(edge) != 2 or any(f"{prefix}{one}" not in {**nodes, **begins} for one in edge):
            raise ConversionError(f"{where} has an edge {brief(tuple(edge))}, but no nodes with these names")
        source, target = (f"{prefix}{one}" for one in edge)
        joined.append((ends.get(source, source), begins.get(target, target)))
    # A duplicate edge counts once, as in other readers.
    return _without_identities(nodes, list(dict.fromkeys(joined)))


def _without_identities(
    nodes: dict[str, NirNode], edges: list[tuple[str, str]]
) -> tuple[dict[str, NirNode], list[tuple[str, str]]]:
    """Remove the input and output nodes of subgraphs, and connect the neighbours of these nodes directly."""
    for name in [name for name, node in nodes.items() if node.kind == "Identity"]:
        sources = [source for source, target in edges if target == name and source != name]
        targets = [target for source, target in edges if source == name and target != name]
        edges = [edge for edge in edges if name not in edge]
        edges = list(dict.fromkeys([*edges, *((source, target) for source in sources for target in targets)]))
        del nodes[name]
    return nodes, edges


def _with_feedback(
    nodes: Mapping[str, NirNode], edges: Sequence[tuple[str, str]]
) -> tuple[dict[str, NirNode], list[tuple[str, str]]]:
    """Merge each recurrent synapse into the neuron whose output and input it connects."""
    found, left = dict(nodes), list(edges)
    for name, node in nodes.items():
        if node.kind not in WEIGHTED:
            continue
        sources, targets = ([e[i] for e in left if e[1 - i] == name] for i in (0, 1))
        if len(sources) == 1 and sources == targets and nodes[sources[0]].kind in SPIKING:
            neuron = sources[0]
            if found[neuron].feedback is not None:
                raise ConversionError(f"{neuron} feeds back to itself through two synapses; merge them into one")
            found[neuron] = replace(found[neuron], feedback=node)
            del found[name]
            left = [edge for edge in left if name not in edge]
    return found, left


def _reaching(end: str, reads: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the names of the nodes that `end` depends on, including `end` itself."""
    found, waiting = {end}, [end]
    while waiting:
        new = [name for name in reads[waiting.pop()] if name not in found]
        found.update(new)
        waiting += new
    return found

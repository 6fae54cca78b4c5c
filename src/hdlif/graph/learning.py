"""The tensors of a deployed network that are trained on a device, and the gradients of single steps.

The gradient of a step treats earlier states as constants, as in SLTT and single-step random training. The derivatives
of HD-LIF are χ = 1[m > θ] and λ, so the model file needs no surrogate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import numpy as np

from hdlif.errors import HdlifError, brief, did_you_mean
from hdlif.graph.equations.gradients import has_gradient
from hdlif.graph.graph import INPUT, Array, Graph, Node
from hdlif.graph.inference import infer_values
from hdlif.graph.op import Passed
from hdlif.graph.ops import OPS
from hdlif.graph.ops.program import fires, program_of

Level = Literal["classifier", "affine", "last-block", "all"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""Levels of training. Each one includes the levels before it: the classifier's weights and the parameters after them;
scales, shifts, leaks and thresholds; weights followed by at most two layers of weights; all weights."""
LEARNING_TASKS = ("classify", "sequence")
_LAST_BLOCK = 2
"""Number of weight layers after the first one of the last residual block: its second one and the classifier."""
_ROWS = ("affine", "program")
"""Ops with one row of parameters per step."""


class Place(NamedTuple):
    """A trained tensor."""

    node: str
    role: str

    @property
    def key(self) -> str:
        return f"{self.node}.{self.role}"


def _passes(node: Node) -> bool:
    """Return whether a node passes gradients to its inputs."""
    return node.op != "delay" and (node.op != "program" or fires(node))


def layers_after(graph: Graph) -> dict[str, int]:
    """Return, for each value that receives a gradient, the largest number of weight layers between the value and the
    output.

    Gradients do not flow to the previous step (through `delay`), or through equations that emit no spikes.
    """
    found = {graph.output: 0}
    for node in reversed(graph.nodes):
        if node.name not in found or not _passes(node):
            continue
        for name in node.inputs:
            found[name] = max(found.get(name, 0), found[node.name] + OPS[node.op].is_synapse)
    return found


def trained(graph: Graph, level: Level) -> tuple[Place, ...]:
    """Return the tensors that are trained at `level`, in node order.

    Raises:
        HdlifError: the level is unknown, the task has no classes, or a gradient must pass an op or a neuron that has
            none.
    """
    if level not in LEVELS:
        raise HdlifError(f"level = {brief(level)} is unknown; {did_you_mean(str(level), LEVELS)}")
    if graph.task.kind not in LEARNING_TASKS:
        raise HdlifError(f"a deployed network learns classes, and the task of this one is {graph.task.kind}")
    after, found, is_behind = layers_after(graph), list[Place](), False
    for node in graph.nodes:
        is_classifier = OPS[node.op].is_synapse and node.attributes["role"] == "classifier"
        if node.name in after and (_trains(node, level, after[node.name]) or is_classifier or is_behind):
            found += [Place(node.name, role) for role in node.tensors if OPS[node.op].is_synapse or node.op in _ROWS]
        is_behind = is_behind or is_classifier
    if not found:
        raise HdlifError("the network has no weights that are its classifier, so there is nothing to train")
    _check_path(graph, path(graph, found), level)
    return tuple(found)


def _trains(node: Node, level: Level, after: int) -> bool:
    if level == "classifier" or not _passes(node):
        return False
    if OPS[node.op].is_synapse:
        return level == "all" or (level == "last-block" and after <= _LAST_BLOCK)
    return node.op in _ROWS


def path(graph: Graph, places: Sequence[Place]) -> frozenset[str]:
    """Return the values that depend on a trained tensor and receive a gradient from the output."""
    own, found, reached = {place.node for place in places}, set[str](), layers_after(graph)
    for node in graph.nodes:
        if node.name in reached and (node.name in own or (_passes(node) and not found.isdisjoint(node.inputs))):
            found.add(node.name)
    return frozenset(found)


def with_classes(graph: Graph, labels: Sequence[str]) -> Graph:
    """Return a graph with additional classes for a `Learner` to train; the logits of the old classes stay
    bit-identical.

    New classes start with zero weights in the classifier, and with the mean of the old classes' parameters in later
    tensors.

    >>> import numpy as np
    >>> from hdlif.graph.artefact import Graph, InputRecord, Node
    >>> weight = np.eye(2, dtype=np.float32)
    >>> layer = Node("linear", "logits", ("flat",), {"encoding": "float32", "role": "classifier"}, {"weight": weight})
    >>> record = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", frames="rows")
    >>> graph = Graph((Node("flatten", "flat", ("input",)), layer), "logits", 1, record, ("still", "moving"))
    >>> wider = with_classes(graph, ["falling"])
    >>> wider.labels, wider.nodes[1].tensors["weight"].tolist()
    (('still', 'moving', 'falling'), [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])

    Raises:
        HdlifError: a label is not new, or the network has no classifier that can grow.
        ArtefactError: what follows the classifier cannot grow.
    """
    if known := [label for k, label in enumerate(labels) if label in (*graph.labels, *labels[:k])]:
        raise HdlifError(f"labels = {brief(list(labels))}; {brief(known[0])} is not new, give each new class one name")
    count, more, wider, nodes = len(graph.labels), len(labels), set[str](), list[Node]()
    for node in graph.nodes:
        tensors = dict(node.tensors)
        if OPS[node.op].is_synapse and node.attributes["role"] == "classifier" and len(tensors["weight"]) == count:
            weight = tensors["weight"]
            if node.attributes["encoding"] == "binary":
                raise HdlifError(f"{node.name}: binary weights have no 0, so a class cannot be added; train anew")
            tensors["weight"] = np.concatenate([weight, np.zeros((more, *weight.shape[1:]), weight.dtype)])
            wider.add(node.name)
        elif not wider.isdisjoint(node.inputs):
            tensors = {role: _with_columns(rows, count, more) for role, rows in tensors.items()}
            wider.add(node.name)
        nodes.append(replace(node, tensors=tensors))
    if graph.output not in wider or graph.task.kind not in LEARNING_TASKS:
        raise HdlifError("the network has no layer of weights with a row per class, so a class cannot be added")
    found = replace(graph, nodes=tuple(nodes), labels=(*graph.labels, *labels))
    infer_values(found)
    return found


def _with_columns(rows: Array, count: int, more: int) -> Array:
    """Append `more` columns that contain each row's mean, unless all channels share one column."""
    if rows.ndim != 2 or rows.shape[1] != count or count == 1:
        return rows
    return np.concatenate([rows, np.repeat(rows.mean(1, keepdims=True, dtype=rows.dtype), more, 1)], 1)


def _check_path(graph: Graph, needed: frozenset[str], level: Level) -> None:
    for node in graph.nodes:
        if node.name not in needed:
            continue
        if OPS[node.op].backward is None:
            raise HdlifError(
                f"{node.name}: {OPS[node.op].noun or f'an op {node.op}'} has no backward pass, which level = {level} "
                "needs; take level = classifier"
            )
        if node.op == "program" and not has_gradient(program_of(node)):
            raise HdlifError(
                f"{node.name}: the spikes of {node.attributes['kind']} are comparisons, whose derivative is 0, so that "
                f"level = {level} cannot train what is before them; take level = classifier, or HD-LIF or Parallel"
            )


def gradients(
    graph: Graph,
    needed: frozenset[str],
    values: Mapping[str, Array],
    states: Mapping[str, Array],
    t: int,
    of_output: Array,
) -> dict[Place, Array]:
    """Return the gradients of a step per sample, with the shape [B, *tensor], or [B, 1 or C] for a tensor of rows.

    Nodes are visited from last to first, and the gradients of a value with several readers are added in this order.

    Args:
        needed: the result of `path`.
        values: all values of the step, by name.
        states: the states before the step, by "NODE.STATE".
        of_output: gradient of the output, [B, ...].
    """
    waiting, found = {graph.output: of_output}, dict[Place, Array]()
    for node in reversed(graph.nodes):
        op = OPS[node.op]
        if node.name not in waiting or node.name not in needed or op.backward is None:
            continue
        before = {name: states[f"{node.name}.{name}"] for name in op.states(node)}
        passed = Passed(t, [values[name] for name in node.inputs], before)
        of_inputs, of_tensors = op.backward(node, passed, waiting.pop(node.name))
        found |= {Place(node.name, role): gradient for role, gradient in of_tensors.items()}
        for name, gradient in zip(node.inputs, of_inputs, strict=True):
            if gradient is not None and name in needed and name != INPUT:
                waiting[name] = waiting[name] + gradient if name in waiting else np.asarray(gradient)
    return found

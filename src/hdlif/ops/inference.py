"""Type and check of a whole graph, against the statement of each op."""

import math

from hdlif.errors import ArtefactError, brief, did_you_mean
from hdlif.ops.fields import check_fields
from hdlif.ops.graph import INPUT, MAX_ELEMENTS, MAX_NODES, Graph, Value
from hdlif.ops.input_record import check_input
from hdlif.ops.table import OPS


def infer_values(graph: Graph) -> dict[str, Value]:
    """The type of every value by name; raises `ArtefactError`, naming node and field, on any breach."""
    if type(graph.time_steps) is not int or not 1 <= graph.time_steps < 2**15:
        raise ArtefactError(f"time_steps = {brief(graph.time_steps)}; it must be an integer in 1..{2**15 - 1}")
    check_node_count(len(graph.nodes))
    check_input(graph.input)
    if graph.input.sound is not None and graph.input.sound.frames != graph.time_steps:
        raise ArtefactError(
            f"input.sound gives {graph.input.sound.frames} frames, and time_steps = {graph.time_steps}; they are equal"
        )
    values = {INPUT: Value(graph.input.shape)}
    for node in graph.nodes:
        op = OPS.get(node.op)
        if op is None:
            raise ArtefactError(f"{node.name}: op = {brief(node.op)} is unknown; {did_you_mean(node.op, OPS)}")
        if node.name in values:
            raise ArtefactError(f"{node.name}: two values have this name; names are unique")
        check_fields(node, "inputs", len(node.inputs), op.arity)
        check_fields(node, "attributes", sorted(node.attributes.keys() - set(op.optional)), sorted(op.attributes))
        if op.tensors is not None:
            check_fields(node, "tensors", sorted(node.tensors), sorted(op.tensors))
        for name in node.inputs:
            if name not in values:
                raise ArtefactError(
                    f"{node.name}: input {brief(name)} is no earlier value; nodes stand in topological order"
                )
        value = op.infer(node, tuple(values[name] for name in node.inputs), graph.time_steps)
        if math.prod(value.shape) > MAX_ELEMENTS:
            raise ArtefactError(f"{node.name}: shape {list(value.shape)} has more than {MAX_ELEMENTS} entries")
        values[node.name] = value
    for node in graph.nodes:
        OPS[node.op].check(node, values)
    if graph.output not in values:
        raise ArtefactError(f"output = {brief(graph.output)} is no node of the graph")
    logits = values[graph.output]
    if len(logits.shape) != 1 or logits.shape[0] != len(graph.labels):
        raise ArtefactError(
            f"output has shape {list(logits.shape)}; {len(graph.labels)} labels need [{len(graph.labels)}]"
        )
    return values


def check_node_count(count: int) -> None:
    if count > MAX_NODES:
        raise ArtefactError(f"the graph has {count} nodes; it may have at most {MAX_NODES}")

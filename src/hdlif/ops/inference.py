"""Type and check of a whole graph, against the statement of each op."""

import math
from collections.abc import Collection, Mapping

from hdlif.errors import ArtefactError, brief, did_you_mean
from hdlif.ops.fields import check_fields, is_float32
from hdlif.ops.graph import (
    BINNING_MODES,
    FIT_MODES,
    FRAMINGS,
    INPUT,
    INPUT_KINDS,
    MAX_ELEMENTS,
    MAX_NODES,
    RESIZE_MODES,
    Graph,
    InputRecord,
    Value,
)
from hdlif.ops.table import OPS


def infer_values(graph: Graph) -> dict[str, Value]:
    """The type of every value by name; raises `ArtefactError`, naming node and field, on any breach."""
    if type(graph.time_steps) is not int or not 1 <= graph.time_steps < 2**15:
        raise ArtefactError(f"time_steps = {brief(graph.time_steps)}; it must be an integer in 1..{2**15 - 1}")
    check_node_count(len(graph.nodes))
    check_input(graph.input)
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


def check_input(record: InputRecord) -> None:
    """Raise `ArtefactError` on the first field of a record that has a value which none may have."""
    shape = record.shape
    if len(shape) != 3 or any(type(n) is not int or n < 1 for n in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise ArtefactError(f"input.shape = {brief(list(shape))}; it must be [C, H, W], integers of at least 1")
    for key, numbers in (("mean", record.mean), ("std", record.std)):
        valid = all(is_float32(v) and (key == "mean" or v > 0) for v in numbers)
        if len(numbers) != shape[0] or not valid:
            above = ", above 0" if key == "std" else ""
            raise ArtefactError(f"input.{key} = {brief(list(numbers))}; it must be {shape[0]} finite numbers{above}")
    for key, accepted in _INPUT_WORDS.items():
        word = getattr(record, key)
        if word not in accepted:
            raise ArtefactError(f"input.{key} = {brief(word)} is unknown; {did_you_mean(word, accepted)}")
    if record.frames == "rows" and (record.kind == "events" or shape[1] != 1):
        raise ArtefactError(
            f'input.frames = "rows": a step is shown one row of an image, and this input is of kind {record.kind} and '
            f"shape {list(shape)}"
        )
    if record.kind == "series" and (shape[2] != 1 or record.resize != "none"):
        raise ArtefactError(
            f'input.kind = "series": it is [C, T, 1], [C, 1, 1] a step, and resize is "none"; this input has shape '
            f'{list(shape)} and resize "{record.resize}"'
        )
    _check_events(record)


def _check_events(record: InputRecord) -> None:
    """Raise `ArtefactError` on what is of recordings of events alone, or does not go together there."""
    sensor, shape = record.sensor, record.shape
    if record.kind != "events":
        for key in ("binning", "sensor"):
            if getattr(record, key) != getattr(InputRecord, key):
                raise ArtefactError(f"input.{key} = {brief(getattr(record, key))}: this input is of kind {record.kind}")
        if record.resize == "pool":
            raise ArtefactError(f'input.resize = "pool" is of events, and this input is of kind {record.kind}')
        return
    if sensor is None:
        if record.resize == "pool":
            raise ArtefactError('input.resize = "pool": of which sensor is not said; give input.sensor')
        return
    if len(sensor) != 2 or any(type(n) is not int or not 1 <= n <= _MOST_SIDE for n in sensor):
        raise ArtefactError(f"input.sensor = {brief(list(sensor))}; it must be [H, W], integers in 1..{_MOST_SIDE}")
    if math.prod(sensor) > MAX_ELEMENTS or shape[0] != 2 or record.binning == "none":
        raise ArtefactError(
            f"input.sensor = {brief(list(sensor))}: such events take 2 channels and a binning, and this input has "
            f'shape {list(shape)} and binning "{record.binning}"'
        )
    if record.resize == "none" and tuple(sensor) != shape[1:]:
        raise ArtefactError(
            f'input.resize = "none": frames are of the sensor, {list(sensor)}, and this input has shape {list(shape)}'
        )


_INPUT_WORDS: Mapping[str, Collection[str]] = {
    "kind": INPUT_KINDS,
    "resize": RESIZE_MODES,
    "fit": FIT_MODES,
    "frames": FRAMINGS,
    "binning": BINNING_MODES,
}
_MOST_SIDE = 2**16
"""Of a sensor."""

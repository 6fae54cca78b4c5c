"""Type inference and checks for graphs of deployed networks."""

import math

from hdlif.errors import ArtefactError, brief, did_you_mean
from hdlif.graph.detection import count_outputs
from hdlif.graph.fields import LEAST_NORMAL, check_fields, is_float32
from hdlif.graph.graph import (
    COMBINATIONS,
    INPUT,
    MAP_TASKS,
    MAX_ELEMENTS,
    MAX_NODES,
    MOST_PIXEL_CLASSES,
    PLACED_TASKS,
    TASKS,
    Graph,
    TaskRecord,
    Value,
)
from hdlif.graph.input_record import check_input
from hdlif.graph.ops import OPS

_MOST_LEVELS, _LARGEST_STRIDE = 8, 2**10
"""Largest number of levels and largest stride of a detector."""
_PARTS = 3
"""Number of labels for objects: background, boundary and inside."""


def infer_values(graph: Graph) -> dict[str, Value]:
    """Return the type of every value in a graph, by name.

    See `Graph` for an example.

    Args:
        graph: untrusted; every field is checked.
    Raises:
        ArtefactError: the graph breaks the format; the message contains node and field.
    """
    if type(graph.time_steps) is not int or not 1 <= graph.time_steps < 2**15:
        raise ArtefactError(f"time_steps = {brief(graph.time_steps)}; it must be an integer in 1..{2**15 - 1}")
    if len(graph.nodes) > MAX_NODES:
        raise ArtefactError(f"the graph has {len(graph.nodes)} nodes; it may have at most {MAX_NODES}")
    check_input(graph.input)
    if graph.input.sound is not None and graph.input.sound.frames != graph.time_steps:
        raise ArtefactError(
            f"input.sound gives {graph.input.sound.frames} frames, but time_steps = {graph.time_steps}; they must be "
            "equal"
        )
    if graph.input.shortest > graph.time_steps:
        raise ArtefactError(
            f"input.shortest = {graph.input.shortest}; it must be at most time_steps = {graph.time_steps}"
        )
    if graph.input.frames == "pixels" and math.isqrt(graph.time_steps) ** 2 != graph.time_steps:
        raise ArtefactError(
            f'input.frames = "pixels" shows a square image, but time_steps = {graph.time_steps} is not a square number'
        )
    values = {INPUT: Value(graph.input.shape)}
    for node in graph.nodes:
        op = OPS.get(node.op)
        if op is None:
            raise ArtefactError(f"{node.name}: op = {brief(node.op)} is unknown; {did_you_mean(node.op, OPS)}")
        if node.name in values:
            raise ArtefactError(f"{node.name}: two values have this name; names must be unique")
        check_fields(node, "inputs", len(node.inputs), op.arity)
        check_fields(node, "attributes", sorted(node.attributes.keys() - set(op.optional)), sorted(op.attributes))
        if op.tensors is not None:
            check_fields(node, "tensors", sorted(node.tensors), sorted(op.tensors))
        for name in node.inputs:
            if name not in values:
                raise ArtefactError(
                    f"{node.name}: input {brief(name)} is not an earlier value; nodes must be in topological order"
                )
        value = op.infer(node, tuple(values[name] for name in node.inputs), graph.time_steps)
        if math.prod(value.shape) > MAX_ELEMENTS:
            raise ArtefactError(f"{node.name}: shape {list(value.shape)} has more than {MAX_ELEMENTS} entries")
        values[node.name] = value
    for node in graph.nodes:
        OPS[node.op].check(node, values)
    if graph.output not in values:
        raise ArtefactError(f"output = {brief(graph.output)} is not a node of the graph")
    check_task(graph.task, graph.time_steps, len(graph.labels))
    _check_output(graph, values[graph.output].shape)
    if graph.confidence is not None:
        _check_confidence(graph.confidence, graph.task)
    return values


def _check_output(graph: Graph, shape: tuple[int, ...]) -> None:
    """Raise `ArtefactError` unless the output fits the labels and the task."""
    count, is_map = len(graph.labels), graph.task.kind in MAP_TASKS
    is_placed = graph.task.kind in PLACED_TASKS
    if is_placed and (graph.input.kind not in ("image", "events") or graph.input.frames != "constant"):
        raise ArtefactError(
            f'task.kind = "{graph.task.kind}" takes whole images or frames of events at each step; this input is of '
            f'kind "{graph.input.kind}", with frames "{graph.input.frames}"'
        )
    if is_map and count > MOST_PIXEL_CLASSES:
        raise ArtefactError(f'task.kind = "{graph.task.kind}" has at most {MOST_PIXEL_CLASSES} labels, not {count}')
    if graph.task.kind == "instances" and count != _PARTS:
        raise ArtefactError(f'task.kind = "instances" has {_PARTS} labels: background, boundary, inside; not {count}')
    labels = count
    if graph.task.kind == "detect":
        count = count_outputs(labels, graph.task.strides, *graph.input.shape[1:])
    if len(shape) != (3 if is_map else 1) or shape[0] != count:
        needed = f'[{count}, H, W], of task.kind = "{graph.task.kind}"' if is_map else f"[{count}]"
        raise ArtefactError(f"output has shape {list(shape)}; {labels} labels need {needed}")


def _check_confidence(confidence: object, record: TaskRecord) -> None:
    if not is_float32(confidence) or not 0 <= confidence <= 1 or record.kind != "classify":
        raise ArtefactError(
            f'confidence = {brief(confidence)}; it must be a number in 0..1, with task.kind = "classify", not '
            f'"{record.kind}"'
        )


def check_task(record: TaskRecord, time_steps: int, outputs: int) -> None:
    """Raise `ArtefactError` for the first invalid field of a task record."""
    for key, value, accepted in (("kind", record.kind, TASKS), ("combine", record.combine, COMBINATIONS)):
        if value not in accepted:
            raise ArtefactError(f"task.{key} = {brief(value)} is unknown; {did_you_mean(str(value), accepted)}")
    each = record.combine == "each"
    if each != (record.kind == "sequence") and record.kind not in ("regress", "detect"):
        raise ArtefactError(
            f'task.combine = "{record.combine}" does not go with task.kind = "{record.kind}"; "each" is '
            "required for a class at each step, and not supported for other classes"
        )
    if type(record.delay) is not int or not 0 <= record.delay < time_steps or (record.delay and not each):
        raise ArtefactError(
            f"task.delay = {brief(record.delay)}; it must be in 0..{time_steps - 1} for predictions at each of "
            f"{time_steps} steps, and 0 otherwise"
        )
    if (
        type(record.ahead) is not int
        or not 0 <= record.ahead < 2**31
        or (record.ahead and (record.kind, each) != ("regress", True))
    ):
        raise ArtefactError(
            f"task.ahead = {brief(record.ahead)}; it may be above 0 for values at each step, and must be 0 otherwise"
        )
    scaled = outputs if record.kind == "regress" else 0
    for key, numbers in (("mean", record.mean), ("std", record.std)):
        if len(numbers) != scaled or not all(is_float32(v) and (key == "mean" or v >= LEAST_NORMAL) for v in numbers):
            above = ", above 0" if key == "std" else ""
            raise ArtefactError(f"task.{key} = {brief(list(numbers))}; it must be {scaled} finite numbers{above}")
    if not is_float32(record.threshold) or not 0 < record.threshold < 1:
        raise ArtefactError(f"task.threshold = {brief(record.threshold)}; it must lie between 0 and 1")
    _check_boxes(record)


def _check_boxes(record: TaskRecord) -> None:
    """Raise `ArtefactError` for detector fields that are out of range or used in other tasks."""
    strides, overlap = record.strides, record.overlap
    if record.kind != "detect":
        if strides != TaskRecord.strides or overlap != TaskRecord.overlap:
            raise ArtefactError(f'task.strides, task.overlap: they apply to task.kind = "detect", not "{record.kind}"')
        return
    ascending = list(strides) == sorted(set(strides)) and all(1 <= one <= _LARGEST_STRIDE for one in strides)
    if not 1 <= len(strides) <= _MOST_LEVELS or not ascending:
        raise ArtefactError(
            f"task.strides = {brief(list(strides))}; give 1 to {_MOST_LEVELS} in 1..{_LARGEST_STRIDE}, each larger "
            "than the one before"
        )
    if not is_float32(overlap) or not 0 < overlap <= 1:
        raise ArtefactError(f"task.overlap = {brief(overlap)}; it must be above 0, and at most 1")

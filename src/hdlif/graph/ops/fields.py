"""Checks of a node's fields, which the ops share; each names node and field, and what is accepted."""

from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import numpy as np

from hdlif.errors import ArtefactError, brief
from hdlif.graph.ops.graph import Array, Node, Value

FLOAT32_MAX = float(np.finfo(np.float32).max)
LEAST_NORMAL = float(np.finfo(np.float32).tiny)


def check_fields(node: Node, what: str, seen: object, accepted: object) -> None:
    if seen != accepted:
        raise ArtefactError(f"{node.name}: {what} of {node.op} are {seen}; they must be {accepted}")


def is_float32(value: Any) -> TypeGuard[float]:
    """Whether `value` is a number in float32's range; the runtime computes with the nearest float32."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -FLOAT32_MAX <= value <= FLOAT32_MAX


def number(node: Node, key: str, accepts: Callable[[float], bool], accepted: str) -> float:
    value = node.attributes[key]
    if not is_float32(value) or not accepts(value):
        raise ArtefactError(f"{node.name}: {key} = {brief(value)}; it must be {accepted}")
    return value


def pair(node: Node, key: str, least: int, default: tuple[int, int] | None = None) -> tuple[int, int]:
    """Two integers; `default` where the node leaves them out."""
    value = node.attributes[key] if default is None else node.attributes.get(key, default)
    valid = (
        isinstance(value, Sequence) and len(value) == 2 and all(type(v) is int and least <= v < 2**15 for v in value)
    )
    if not valid:
        raise ArtefactError(f"{node.name}: {key} = {brief(value)}; it must be two integers of at least {least}")
    return value[0], value[1]


def map_shape(node: Node, value: Value) -> tuple[int, int, int]:
    if len(value.shape) != 3:
        raise ArtefactError(f"{node.name}: input of {node.op} has shape {list(value.shape)}; it must be [C, H, W]")
    return value.shape[0], value.shape[1], value.shape[2]


def rows(node: Node, key: str, value: Value, time_steps: int, per_channel_only: bool = False) -> Array:
    """A tensor of one row, or a row per step and perhaps more, and one entry, or an entry per channel.

    At step t the row min(t, rows - 1) is used: rows beyond `time_steps` say what holds beyond the trained steps.
    """
    channels = (value.shape[0],) if per_channel_only else (1, value.shape[0])
    return rows_of(node, key, time_steps, lambda n: n in channels, " or ".join(map(str, channels)))


def rows_of(node: Node, key: str, time_steps: int, accepts: Callable[[int], bool], accepted: str) -> Array:
    """A tensor of rows with a number of columns that `accepts`."""
    rows = node.tensors[key]
    fits = rows.dtype == np.float32 and rows.ndim == 2 and accepts(rows.shape[1])
    if not fits or not (rows.shape[0] == 1 or rows.shape[0] >= time_steps):
        raise ArtefactError(
            f"{node.name}.{key}: {rows.dtype} {list(rows.shape)}; it must be float32 "
            f"[1 or at least {time_steps}, {accepted}]"
        )
    if not np.isfinite(rows).all():
        raise ArtefactError(f"{node.name}.{key}: holds a value that is not finite")
    return rows

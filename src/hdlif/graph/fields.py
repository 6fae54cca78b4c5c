"""Checks of node fields that several ops share, and iteration over the windows of a map.

Error messages contain the node, the field and the accepted values.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeGuard

import numpy as np

from hdlif.errors import ArtefactError, brief
from hdlif.graph.graph import MAX_CODE, Array, Node, Value

FLOAT32_MAX = float(np.finfo(np.float32).max)
LEAST_NORMAL = float(np.finfo(np.float32).tiny)


def check_fields(node: Node, what: str, seen: object, accepted: object) -> None:
    if seen != accepted:
        raise ArtefactError(f"{node.name}: {what} of {node.op} are {seen}; they must be {accepted}")


def is_float32(value: Any) -> TypeGuard[float]:
    """Return whether `value` is a number within the range of float32. The runtime rounds such numbers to float32."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -FLOAT32_MAX <= value <= FLOAT32_MAX


def number(node: Node, key: str, accepts: Callable[[float], bool], accepted: str) -> float:
    value = node.attributes[key]
    if not is_float32(value) or not accepts(value):
        raise ArtefactError(f"{node.name}: {key} = {brief(value)}; it must be {accepted}")
    return value


def pair(node: Node, key: str, least: int, default: tuple[int, int] | None = None) -> tuple[int, int]:
    """Return a field of two integers, or `default` if the node omits the field."""
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
    """Check that a tensor has either one row or at least one per step, and either one column or one per channel.

    Step t uses row min(t, rows - 1), so rows beyond `time_steps` apply after the trained steps.
    """
    channels = (value.shape[0],) if per_channel_only else (1, value.shape[0])
    return rows_of(node, key, time_steps, lambda n: n in channels, " or ".join(map(str, channels)))


def rows_of(node: Node, key: str, time_steps: int, accepts: Callable[[int], bool], accepted: str) -> Array:
    """Check a tensor of rows, whose number of columns must satisfy `accepts`."""
    rows = node.tensors[key]
    fits = rows.dtype == np.float32 and rows.ndim == 2 and accepts(rows.shape[1])
    if not fits or not (rows.shape[0] == 1 or rows.shape[0] >= time_steps):
        raise ArtefactError(
            f"{node.name}.{key}: {rows.dtype} {list(rows.shape)}; it must be float32 "
            f"[1 or at least {time_steps}, {accepted}]"
        )
    if not np.isfinite(rows).all():
        raise ArtefactError(f"{node.name}.{key}: contains a value that is not finite")
    return rows


def summed_code(value: Value, terms: int) -> int | None:
    """Return the largest code of a sum of `terms` codes, or None if the sum may exceed the code range."""
    largest = None if value.max_code is None else value.max_code * terms
    return None if largest is None or largest > MAX_CODE else largest


def pooled_shape(node: Node, value: Value, padding: tuple[int, int]) -> tuple[int, ...]:
    channels, height, width = map_shape(node, value)
    kernel, stride = pair(node, "kernel", 1), pair(node, "stride", 1)
    return channels, *places(node, (height, width), kernel, stride, padding)


def places(
    node: Node,
    size: tuple[int, int],
    kernel: Sequence[int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, ...]:
    """Return the number of window positions along each axis of a map (height, width)."""
    reaches = [reach(k, d) for k, d in zip(kernel, dilation, strict=True)]
    found = tuple((n + 2 * p - r) // s + 1 for n, r, s, p in zip(size, reaches, stride, padding, strict=True))
    if min(found) < 1 or any(p >= r for p, r in zip(padding, reaches, strict=True)):
        dilated = "" if dilation == (1, 1) else f", dilation {list(dilation)}"
        raise ArtefactError(
            f"{node.name}: kernel {list(kernel)}{dilated}, padding {list(padding)} do not fit a {size[0]}x{size[1]} map"
        )
    return found


def windows(
    x: Array, kernel: Any, strides: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> Iterator[tuple[int, int, Array]]:
    """Yield `ky`, `kx` and the entries [B, C, out H, out W] of `x` at each kernel tap, in row-major order."""
    (kernel_y, kernel_x), (stride_y, stride_x) = kernel, strides
    last_y, last_x = (size - reach(k, d) for size, k, d in zip(x.shape[2:], kernel, dilation, strict=True))
    for ky, kx in itertools.product(range(kernel_y), range(kernel_x)):
        y, z = ky * dilation[0], kx * dilation[1]
        yield ky, kx, x[:, :, y : last_y + y + 1 : stride_y, z : last_x + z + 1 : stride_x]


def reach(kernel: int, dilation: int) -> int:
    """Return the number of entries that a dilated kernel spans along an axis."""
    return (kernel - 1) * dilation + 1


def ordered_sum(terms: Iterator[Array]) -> Array:
    total = np.zeros((), np.float32)
    for term in terms:
        total = total + term.astype(np.float32)
    return total


def in_order(values: Array, keep: int) -> Array:
    """Sum float32 values over all axes except the first `keep`, in row-major order, starting with the first value."""
    flat = values.reshape(*values.shape[:keep], -1)
    total: Array = np.add.accumulate(flat, axis=-1, dtype=np.float32)[..., -1]
    return total

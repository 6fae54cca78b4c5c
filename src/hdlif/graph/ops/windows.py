"""Kernels that move over a map: the shape that they give, and what they meet, in the stated order."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from hdlif.errors import ArtefactError
from hdlif.graph.ops.fields import map_shape, pair
from hdlif.graph.ops.graph import MAX_CODE, Array, Node, Value


def summed_code(value: Value, terms: int) -> int | None:
    """The largest code of a sum of `terms` codes, or None where it leaves the code range."""
    largest = None if value.max_code is None else value.max_code * terms
    return None if largest is None or largest > MAX_CODE else largest


def pooled_shape(node: Node, value: Value, padding: tuple[int, int]) -> tuple[int, int, int]:
    channels, height, width = map_shape(node, value)
    kernel, stride = pair(node, "kernel", 1), pair(node, "stride", 1)
    out_h = (height + 2 * padding[0] - kernel[0]) // stride[0] + 1
    out_w = (width + 2 * padding[1] - kernel[1]) // stride[1] + 1
    if min(out_h, out_w) < 1 or padding[0] >= kernel[0] or padding[1] >= kernel[1]:
        raise ArtefactError(
            f"{node.name}: kernel {list(kernel)}, padding {list(padding)} do not fit a {height}x{width} map"
        )
    return channels, out_h, out_w


def windows(
    x: Array, kernel: Any, strides: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> Iterator[tuple[int, int, Array]]:
    """(ky, kx, the entries of x that meet this tap, [B, C, out H, out W]) in row-major order."""
    (kernel_y, kernel_x), (stride_y, stride_x) = kernel, strides
    last_y, last_x = (size - reach(k, d) for size, k, d in zip(x.shape[2:], kernel, dilation, strict=True))
    for ky, kx in itertools.product(range(kernel_y), range(kernel_x)):
        y, z = ky * dilation[0], kx * dilation[1]
        yield ky, kx, x[:, :, y : last_y + y + 1 : stride_y, z : last_x + z + 1 : stride_x]


def reach(kernel: int, dilation: int) -> int:
    """The entries from the first tap to the last one along an axis."""
    return (kernel - 1) * dilation + 1


def ordered_sum(terms: Iterator[Array]) -> Array:
    total = np.zeros((), np.float32)
    for term in terms:
        total = total + term.astype(np.float32)
    return total

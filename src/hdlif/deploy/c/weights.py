"""Weights of a synapse as the C kernels read them: a row for each input of a window, the outputs of a group in it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.graph.ops import Node
from hdlif.graph.ops.conv2d import groups_of
from hdlif.graph.ops.weights import LARGEST_WEIGHT

BITS = {"binary": 1, "ternary": 2, "int2": 2, "int4": 4, "int8": 8}
TOGETHER = 8
"""Outputs that the kernels of codes add up at once; rows are filled up to them with weights of 0."""
LARGEST_LANE = 2**15 - 1
"""Of the sums that are added up two in a word."""


@dataclass(frozen=True)
class Rows:
    """Packed weights.

    Attributes:
        table: of the weights' own type, or packed in uint8, [groups * window * row].
        row: entries of the table for an input of the window.
        bits: of a packed weight; 0 of others.
        largest: magnitude of a weight that is an integer.
    """

    table: NDArray[Any]
    row: int
    bits: int
    largest: int


def rows_of(node: Node, weight: NDArray[Any], *, together: int) -> Rows:
    """The weights of a convolution or a linear layer, [groups][ky][kx][ci][outputs of the group].

    Args:
        weight: the node's own, or the integers that stand for them where they are float32.
        together: each row is filled up to a multiple of this many outputs.
    """
    encoding = node.attributes["encoding"]
    if weight.ndim == 2:
        weight = weight[:, :, None, None]
    groups = groups_of(node)
    outputs, inputs, kernel_y, kernel_x = weight.shape
    by_input = weight.reshape(groups, outputs // groups, inputs, kernel_y, kernel_x).transpose(0, 3, 4, 2, 1)
    by_input = by_input.reshape(groups * kernel_y * kernel_x * inputs, outputs // groups)
    if encoding == "float32":
        return Rows(np.ascontiguousarray(by_input).reshape(-1), by_input.shape[1], 0, 0)
    bits = BITS[encoding]
    fill = -by_input.shape[1] % max(together, 8 // bits)
    if encoding == "binary" and fill and groups > 1:
        # a bit has no 0 to fill up with, and what is beyond a group's outputs is the next one's
        bits, fill = 2, -by_input.shape[1] % max(together, 4)
    filled = np.pad(by_input, ((0, 0), (0, fill)))
    per_byte = 8 // bits
    fields = (filled > 0) if bits == 1 else filled.astype(np.int8).view(np.uint8) & np.uint8(2**bits - 1)
    shifts = (np.arange(per_byte) * bits).astype(np.uint8)
    parts = fields.astype(np.uint8).reshape(len(filled), -1, per_byte) << shifts
    packed = np.bitwise_or.reduce(parts, axis=2)
    return Rows(packed.reshape(-1), packed.shape[1], bits, LARGEST_WEIGHT[encoding])


def pairs(bits: int) -> NDArray[np.uint32]:
    """The weights of a field of bits as words of two signed 16-bit numbers each: [16, 2], [256, 2] or [256] of 4 bits.

    Of 1 bit the field has four weights, else it is a byte. A word is lower + 65536 * upper modulo 2^32, so that its
    product with a code is those of both, as long as they stay within 16 bits: 65536 * 1 + (-1) is 0x0000ffff.
    """
    fields = np.arange(16 if bits == 1 else 256)
    count = 4 if bits == 1 else 8 // bits
    values = fields[:, None] >> (np.arange(count) * bits) & (2**bits - 1)
    signed = values * 2 - 1 if bits == 1 else np.where(values >= 2 ** (bits - 1), values - 2**bits, values)
    words = (signed[:, 0::2] + 65536 * signed[:, 1::2]) % 2**32
    found: NDArray[np.uint32] = words.astype(np.uint32)
    return found[:, 0] if found.shape[1] == 1 else found

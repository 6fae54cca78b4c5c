"""The IDX format of MNIST and Fashion-MNIST: two zero bytes, the type, the number of dimensions, their lengths."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.inputs import Unreadable

_UNSIGNED_BYTES = 8
"""The type whose values are unsigned bytes, the only one that is read."""


def parse_idx(content: bytes, dimensions: int) -> NDArray[np.uint8]:
    """The values, uint8 of so many dimensions: a view of `content`. Lengths are big endian, 4 bytes each.

    Raises:
        Unreadable: the file is something else, or has not exactly the values that its header promises.
    """
    start = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, _UNSIGNED_BYTES, dimensions]) or len(content) < start:
        expected = bytes([0, 0, _UNSIGNED_BYTES, dimensions]).hex(" ")
        raise Unreadable(
            f"begins with {content[:4].hex(' ')}, and IDX of bytes in {dimensions} dimensions with {expected}"
        )
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    if math.prod(shape) != len(content) - start:
        raise Unreadable(f"promises {shape} values and has {len(content) - start}")
    values: NDArray[Any] = np.frombuffer(content, np.uint8, offset=start)
    try:
        return values.reshape(shape)
    # A length of 0 beside ones whose product no array can have.
    except ValueError as error:
        raise Unreadable(f"promises {shape} values, and no array has that shape") from error

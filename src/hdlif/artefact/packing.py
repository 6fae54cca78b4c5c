"""Packed weights: 1 bit each (eight to a byte), or base 3 (five to a byte, 1.6 bit each).

Weights are taken in C order of their tensor; the last byte is filled up with zero bits or digits.

    binary:  bit i of byte j is 1 where weight 8 j + i is +1, 0 where it is -1
    ternary: byte j = sum over i = 0..4 of (weight 5 j + i, plus 1) * 3**i

Worked: the ternary weights -1, 0, +1, +1, 0 have digits 0, 1, 2, 2, 1, so the byte is
0*1 + 1*3 + 2*9 + 2*27 + 1*81 = 156. Five digits make at most 242; 243..255 are no bytes of this packing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import ArtefactError

WEIGHTS_PER_BYTE = {"binary": 8, "ternary": 5}
_POWERS_OF_3 = np.array([1, 3, 9, 27, 81], dtype=np.uint8)
# digits less 1 of every byte value: row b is the five weights of byte b
_WEIGHTS_OF_BYTE = (np.arange(243)[:, None] // _POWERS_OF_3 % 3 - 1).astype(np.int8)
_DAMAGED = "the file is damaged, export it again"


def packed_bytes(count: int, encoding: str) -> int:
    """The bytes that `count` weights take."""
    return -(-count // WEIGHTS_PER_BYTE[encoding])


def pack(weights: NDArray[np.int8], encoding: str) -> NDArray[np.uint8]:
    """Weights of any shape, in {-1, 0, 1} or {-1, 1}, as bytes [packed_bytes]."""
    flat = weights.reshape(-1)
    if encoding == "binary":
        return np.packbits(flat > 0, bitorder="little")
    digits = np.zeros((packed_bytes(flat.size, encoding), 5), dtype=np.uint8)
    digits.reshape(-1)[: flat.size] = flat + 1
    packed: NDArray[np.uint8] = (digits * _POWERS_OF_3).sum(axis=1, dtype=np.uint8)
    return packed


def unpack(packed: NDArray[np.uint8], shape: tuple[int, ...], encoding: str, *, name: str = "weight") -> NDArray[Any]:
    """The int8 weights of `shape` that `packed` holds.

    Raises:
        ArtefactError: the byte count does not fit `shape`, a byte is no five ternary values, or the
            fill of the last byte is not zero. The message begins with `name`.
    """
    count = int(np.prod(shape, dtype=np.int64))
    if packed.size != packed_bytes(count, encoding):
        raise ArtefactError(
            f"{name}: {packed.size} bytes; {count} {encoding} weights take {packed_bytes(count, encoding)}; {_DAMAGED}"
        )
    if encoding == "binary":
        bits = np.unpackbits(packed, bitorder="little").astype(np.int8)
        flat, fill = bits[:count] * 2 - 1, bits[count:]
    else:
        if (beyond := np.flatnonzero(packed > 242)).size:
            offset = int(beyond[0])
            raise ArtefactError(
                f"{name}: byte {packed[offset]} at offset {offset} is above 242 "
                f"and is no five ternary values; {_DAMAGED}"
            )
        weights = _WEIGHTS_OF_BYTE[packed].reshape(-1)
        flat, fill = weights[:count], weights[count:] + 1
    if fill.any():
        raise ArtefactError(f"{name}: the fill of the last byte is not zero; {_DAMAGED}")
    return np.ascontiguousarray(flat).reshape(shape)

"""Packing of weights with 1, 2, 4 or 8 bits each, or in base 3 with five weights per byte (1.6 bits each).

Weights are packed in C order, and the last byte is padded with zero bits or digits.

    binary:  bit i of byte j is 1 if weight 8 j + i is +1, 0 if it is -1
    ternary: byte j = sum over i = 0..4 of (weight 5 j + i, plus 1) * 3**i
    int2, int4, int8: two's complement, the first of 4, 2 or 1 weights in the lowest bits of byte j

The largest value of five digits is 242, so bytes 243..255 are invalid. For example, the ternary weights -1, 0, +1, +1,
0 have the digits 0, 1, 2, 2, 1, which are packed as 0*1 + 1*3 + 2*9 + 2*27 + 1*81 = 156. The int4 weights -3 and 5 have
the fields 1101 and 0101, which are packed as 0101 1101 = 93.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import ArtefactError

WEIGHTS_PER_BYTE = {"binary": 8, "ternary": 5, "int2": 4, "int4": 2, "int8": 1}
# The digits minus 1 of every byte value: row b contains the five weights of byte b.
_WEIGHTS_OF_BYTE = (np.arange(243)[:, None] // [1, 3, 9, 27, 81] % 3 - 1).astype(np.int8)
_DAMAGED = "the file is damaged, export it again"


def _fields(encoding: str) -> tuple[NDArray[np.uint8], np.uint8]:
    """Return the bit offsets of the fields in a byte, and the mask of one field."""
    per_byte = WEIGHTS_PER_BYTE[encoding]
    bits = 8 // per_byte
    return (np.arange(per_byte) * bits).astype(np.uint8), np.uint8(2**bits - 1)


def packed_bytes(count: int, encoding: str) -> int:
    """Return the size in bytes of `count` packed weights."""
    return -(-count // WEIGHTS_PER_BYTE[encoding])


def pack(weights: NDArray[np.int8], encoding: str) -> NDArray[np.uint8]:
    """Pack low-bit weights into bytes, for example five ternary or eight binary weights per byte.

    >>> import numpy as np
    >>> from hdlif.graph.artefact import pack, unpack
    >>> packed = pack(np.array([-1, 0, 1, 1, 0], np.int8), "ternary")
    >>> packed.tolist(), unpack(packed, (5,), "ternary").tolist()
    ([156], [-1, 0, 1, 1, 0])

    Args:
        weights: int8 of any shape, in the range of their encoding.
        encoding: "binary", "ternary", "int2", "int4" or "int8".
    """
    flat = weights.reshape(-1)
    if encoding == "binary":
        return np.packbits(flat > 0, bitorder="little")
    if encoding != "ternary":
        shifts, mask = _fields(encoding)
        fields = np.zeros((packed_bytes(flat.size, encoding), len(shifts)), dtype=np.uint8)
        fields.reshape(-1)[: flat.size] = flat.view(np.uint8) & mask
        joined: NDArray[np.uint8] = np.bitwise_or.reduce(fields << shifts, axis=1)
        return joined
    digits = np.zeros((packed_bytes(flat.size, encoding), 5), dtype=np.uint8)
    digits.reshape(-1)[: flat.size] = flat + 1
    # Horner's rule, column by column, is several times faster than a sum along the short axis.
    packed = digits[:, 4].copy()
    for i in (3, 2, 1, 0):
        packed *= np.uint8(3)
        packed += digits[:, i]
    return packed


def unpack(packed: NDArray[np.uint8], shape: tuple[int, ...], encoding: str, *, name: str = "weight") -> NDArray[Any]:
    """Unpack bytes to int8 weights of the given shape.

    See `pack` for an example.

    Args:
        packed: uint8, from `pack`.
        shape: the shape of the weights.
        encoding: as in `pack`.
        name: the tensor's name in messages.
    Raises:
        ArtefactError: the byte count does not fit `shape`, a byte does not contain five ternary values, or the padding
            of the last byte is not zero. The message begins with `name`.
    """
    count = int(np.prod(shape, dtype=np.int64))
    if packed.size != packed_bytes(count, encoding):
        raise ArtefactError(
            f"{name}: {packed.size} bytes; {count} {encoding} weights take {packed_bytes(count, encoding)}; {_DAMAGED}"
        )
    if encoding == "binary":
        bits = np.unpackbits(packed, bitorder="little")
        flat, fill = bits[:count].astype(np.int8) * 2 - 1, bits[count:]
    elif encoding != "ternary":
        shifts, mask = _fields(encoding)
        fields = ((packed[:, None] >> shifts) & mask).reshape(-1)
        sign = np.uint8((int(mask) + 1) // 2)
        # Two's complement: with the sign bit inverted, the field is the weight plus 2^(bits - 1).
        flat, fill = ((fields[:count] ^ sign) - sign).view(np.int8), fields[count:]
    else:
        if (beyond := np.flatnonzero(packed > 242)).size:
            offset = int(beyond[0])
            raise ArtefactError(
                f"{name}: byte {packed[offset]} at offset {offset} is above 242, "
                f"so it does not encode five ternary values; {_DAMAGED}"
            )
        weights = np.take(_WEIGHTS_OF_BYTE, packed, axis=0).reshape(-1)
        flat, fill = weights[:count], (weights[count:] + 1).view(np.uint8)
    if fill.any():
        raise ArtefactError(f"{name}: the padding of the last byte is not zero; {_DAMAGED}")
    return np.ascontiguousarray(flat).reshape(shape)

"""The .npy format (NumPy Enhancement Proposal 1), without NumPy's reader.

That one evaluates the header as Python, reads zip archives and, on request, pickles whatever the file is named, and
reserves what the header promises. Here the header is matched, an array is numbers alone, and the bytes of the file are
exactly those that its shape needs: they are viewed, not copied.
"""

import math
import re
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import cut, printable
from hdlif.inputs import Unreadable

MAGIC = b"\x93NUMPY"
"""The first bytes of a .npy file."""
PREFIX = 12
"""Bytes of it that say where its header ends."""
# numpy.save writes 128 bytes; numpy.load accepts as many.
_LONGEST_HEADER = 10_000
_MOST_DIMENSIONS = 32
# By version, the bytes that tell the header's length.
_LENGTHS = {1: 2, 2: 4, 3: 4}
_ENTRY = re.compile(
    r""" *(['"])(?P<key>descr|fortran_order|shape)\1 *: *"""
    r"""((['"])(?P<type>[<>|=]?(?:[biufc][0-9]{1,2}|U[0-9]{1,4}))\4|(?P<order>True|False)|"""
    r"""\[(?P<fields>[^\[\]]*)\]|\((?P<shape>[0-9, ]*)\)) *(,|$)"""
)
# A field; or bytes between fields, without a name.
_FIELD = re.compile(
    r"""\( *(['"])(?P<name>[A-Za-z_][A-Za-z0-9_]*|)\1 *, *"""
    r"""(['"])(?P<type>[<>|=]?(?:[biuf][0-9]{1,2}|V[0-9]{1,3}))\3 *\) *(, *|$)"""
)
# As Python writes one: 04 is none.
_LENGTH = re.compile("0|[1-9][0-9]*")
_MOST_FIELDS = 32
_VALUES = {"descr": "type", "fortran_order": "order", "shape": "shape"}


def parse_records(content: bytes) -> dict[str, NDArray[Any]] | None:
    """The fields [N] of a .npy file of a structured array [N]; None where its array has no fields.

    Raises:
        Unreadable: as `parse_array`, or the fields are not plain numbers with names.
    """
    text, start = _text(content)
    found = _entries(text, descr="fields")
    if found is None:
        return None
    fields, order, lengths = found
    dtype, names = _fields(fields)
    _, shape = _typed(dtype.str, lengths, dtype=dtype)
    if len(shape) != 1:
        raise Unreadable(f"it is {list(shape)}, and an array of records is [N]")
    records = _values(content, np.dtype((np.void, dtype.itemsize)), shape, order == "True", start).view(dtype)
    return {name: records[name].astype(records.dtype[name].newbyteorder("=")) for name in names}


def _fields(text: str) -> tuple[np.dtype[Any], list[str]]:
    """The type of a record, and the names of its fields."""
    place, fields = 0, list[tuple[str, str]]()
    while place < len(text):
        field = _FIELD.match(text, place)
        if field is None or len(fields) == _MOST_FIELDS or (field["name"] == "") != ("V" in field["type"]):
            raise Unreadable(
                f"its fields are not up to {_MOST_FIELDS} plain numbers with names: {cut(printable(text), 200)}"
            )
        fields.append((field["name"], field["type"]))
        place = field.end()
    names = [name for name, _ in fields if name]
    try:
        # Bytes between fields get names of their own, which no field has.
        dtype = np.dtype([(name or f" {number}", kind) for number, (name, kind) in enumerate(fields)])
    except (TypeError, ValueError) as error:
        raise Unreadable(f"its fields are {cut(printable(text), 200)}") from error
    if not dtype.itemsize or len(set(names)) < len(names):
        raise Unreadable(f"its fields are {cut(printable(text), 200)}")
    return dtype, names


def parse_array(content: bytes) -> NDArray[Any]:
    """The array of a .npy file, in this machine's byte order; a view of `content` where it is in that already.

    Raises:
        Unreadable: the file is something else, is cut short or has more, or holds no plain numbers.
    """
    dtype, shape, fortran_order, start = parse_header(content)
    if dtype.kind == "U":
        raise Unreadable(f"its type is {dtype.str}, text, and not a plain type of numbers")
    return _values(content, dtype, shape, fortran_order, start)


def parse_labels(content: bytes) -> list[str] | list[int]:
    """The labels of a .npy file: an array [N] of integers, or of text (numpy's type U).

    Raises:
        Unreadable: as `parse_array`, or it holds something else, or what is no text.
    """
    dtype, shape, fortran_order, start = parse_header(content)
    if dtype.kind not in "biuU" or len(shape) != 1:
        raise Unreadable(f"it is {dtype} {list(shape)}, and labels are integers or text, [N]")
    if dtype.kind != "U":
        return [int(label) for label in _values(content, dtype, shape, fortran_order, start).tolist()]
    # Letters as numbers: a view as text is trusted to hold nothing else.
    width = dtype.itemsize // 4
    letters = _values(content, np.dtype(f"{dtype.str[0]}u4"), (shape[0] * width,), fortran_order, start)
    if width and len(letters) and (letters.max() > sys.maxunicode or ((letters >> 11) == 0xD800 >> 11).any()):
        raise Unreadable("it holds what is not text")
    return ["".join(map(chr, row.tolist())).rstrip("\0") for row in letters.reshape(shape[0], width)]


def _values(
    content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], fortran_order: bool, start: int
) -> NDArray[Any]:
    """What follows the header, in this machine's byte order."""
    promised = math.prod(shape) * dtype.itemsize
    if promised != len(content) - start:
        raise Unreadable(f"its shape takes {cut(str(promised))} bytes, and {len(content) - start} follow the header")
    try:
        flat = np.frombuffer(content, dtype, offset=start) if promised else np.empty(0, dtype)
        array = flat.reshape(shape[::-1]).T if fortran_order else flat.reshape(shape)
    # A length of 0 beside ones whose product no array can have.
    except ValueError as error:
        raise Unreadable(f"no array has the shape {list(shape)}") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def parse_header(content: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Type, shape, whether it is in Fortran's order, and where the values begin, of a .npy file or its first bytes.

    Raises:
        Unreadable: it is none, or its type is no plain one.
    """
    text, end = _text(content)
    found = _entries(text)
    if found is None:
        raise Unreadable(f"its header is not a plain type, order and shape: {cut(printable(text.strip()), 200)}")
    name, order, lengths = found
    dtype, shape = _typed(name, lengths)
    return dtype, shape, order == "True", end


def _text(content: bytes) -> tuple[str, int]:
    """The header, and where the values begin."""
    if not content.startswith(MAGIC):
        raise Unreadable(_kind(content))
    begin, end = header_place(content[:PREFIX])
    if end > len(content):
        raise Unreadable(f"its header takes {end - begin} bytes of at most {_LONGEST_HEADER}, and of {len(content)}")
    return content[begin:end].decode("latin-1"), end


def header_place(prefix: bytes) -> tuple[int, int]:
    """Where the header begins and ends, by the first `PREFIX` bytes of a .npy file; raises `Unreadable`."""
    version = tuple(prefix[6:8])
    if len(version) < 2 or version[0] not in _LENGTHS or version[1] != 0:
        raise Unreadable(f"version {list(version)} is none of [1, 0], [2, 0], [3, 0]")
    begin = 8 + _LENGTHS[version[0]]
    end = begin + int.from_bytes(prefix[8:begin], "little")
    if end - begin > _LONGEST_HEADER:
        raise Unreadable(f"its header takes {end - begin} bytes of at most {_LONGEST_HEADER}")
    return begin, end


def _typed(name: str, lengths: str, *, dtype: np.dtype[Any] | None = None) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type, unless it is known, and shape."""
    try:
        dtype = dtype or np.dtype(name)
        shape = _shape(lengths)
    # There is no such type; or lengths that are no tuple, or one of so many digits that Python refuses it.
    except (TypeError, ValueError) as error:
        raise Unreadable(f"its header has the type {name} and the shape ({cut(lengths)})") from error
    if len(shape) > _MOST_DIMENSIONS or any(length >= 2**63 for length in shape):
        raise Unreadable(f"its header has the shape ({cut(lengths)})")
    return dtype, shape


def _shape(lengths: str) -> tuple[int, ...]:
    """The lengths that a tuple has between its brackets; one alone has a comma behind it, and more may."""
    if not lengths.strip(" "):
        return ()
    parts = [part.strip(" ") for part in lengths.split(",")]
    if len(parts) == 1:
        raise ValueError("a number, and no tuple")
    parts = parts if parts[-1] else parts[:-1]
    if not all(map(_LENGTH.fullmatch, parts)):
        raise ValueError("lengths that are not whole numbers")
    return tuple(map(int, parts))


def _entries(text: str, *, descr: str = "type") -> tuple[str, str, str] | None:
    """What the header says of type, order and shape; None where it is not that and nothing else, each once.

    Args:
        descr: what the type is: "type", of numbers or text, or "fields".
    """
    values = _VALUES | {"descr": descr}
    text = text.strip(" \n")
    if not (text.startswith("{") and text.endswith("}")):
        return None
    inside, place, found = text[1:-1].rstrip(" "), 0, dict[str, str]()
    while place < len(inside):
        entry = _ENTRY.match(inside, place)
        if entry is None or entry["key"] in found or entry[values[entry["key"]]] is None:
            return None
        found[entry["key"]] = entry[values[entry["key"]]]
        place = entry.end()
    return (found["descr"], found["fortran_order"], found["shape"]) if len(found) == len(values) else None


def _kind(content: bytes) -> str:
    """What a file is that is no array."""
    if content.startswith(b"PK"):
        return "it is a zip archive, such as numpy.savez writes, and not one array"
    if content.startswith(b"\x80"):
        return "it is a pickle, which is never read"
    return "it does not begin as numpy.save begins a file" if content else "it is empty"

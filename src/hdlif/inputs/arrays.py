"""Read NumPy's .npy and .npz files within fixed size limits.

hdlif compares the shape with the file size before allocating memory, and returns a view of the content. Object arrays
and pickles raise `Unreadable`.
"""

import ast
import io
import math
import sys
import zipfile
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hdlif.errors import brief, cut, printable, reason
from hdlif.inputs import MOST_BYTES, Unreadable

MAGIC = b"\x93NUMPY"
"""First bytes of a .npy file."""
PREFIX = 12
"""Number of leading bytes of a .npy file that determine where its header ends."""
_LONGEST_HEADER = 4096
# The size of the field with the header length, by version.
_LENGTHS = {1: 2, 2: 4, 3: 4}
_MOST_FIELDS, _MOST_RECORD = 32, 1024


def parse_records(content: bytes) -> dict[str, NDArray[Any]] | None:
    """Return the fields [N] of a structured array in a .npy file, or None if the array has no fields.

    Raises:
        Unreadable: as in `parse_array`, or a field has no name or does not contain plain numbers.
    """
    dtype, shape, _, start = _header(content)
    if dtype.names is None:
        return None
    kinds = [dtype[name] for name in dtype.names]
    plain = all(kind.kind in "biuf" and not kind.subdtype for kind in kinds) and dtype.names != ()
    if not plain or len(kinds) > _MOST_FIELDS or dtype.itemsize > _MOST_RECORD:
        raise Unreadable(f"its fields must be at most {_MOST_FIELDS} named plain numbers: {cut(str(dtype), 200)}")
    if len(shape) != 1:
        raise Unreadable(f"its shape is {list(shape)}; expected records [N]")
    records = _values(content, dtype, shape, fortran_order=False, start=start)
    return {name: records[name].astype(records.dtype[name].newbyteorder("=")) for name in dtype.names}


def parse_array(content: bytes) -> NDArray[Any]:
    """Return the array in a .npy file in native byte order, as a view of `content` if possible.

    Raises:
        Unreadable: the file has another format, too few or too many bytes, or values that are not numbers.
    """
    dtype, shape, fortran_order, start = parse_header(content)
    if dtype.kind == "U":
        raise Unreadable(f"its type is {dtype.str}, text; expected a plain type of numbers")
    array = _values(content, dtype, shape, fortran_order=fortran_order, start=start)
    return array.astype(dtype.newbyteorder("="), copy=False)


def parse_labels(content: bytes) -> list[str] | list[int]:
    """Return the labels in a .npy file that contains an array [N] of integers or text (NumPy's type U).

    Raises:
        Unreadable: as in `parse_array`, or the array has another shape or type.
    """
    dtype, shape, _, start = parse_header(content)
    if dtype.kind not in "biuU" or len(shape) != 1:
        raise Unreadable(f"it is {dtype} {list(shape)}; expected labels [N] of integers or text")
    if dtype.kind != "U":
        return [int(label) for label in _values(content, dtype, shape, fortran_order=False, start=start).tolist()]
    # Check letters as numbers: NumPy does not validate a view as text.
    width = dtype.itemsize // 4
    letters = _values(content, np.dtype(f"{dtype.str[0]}u4"), (shape[0] * width,), fortran_order=False, start=start)
    if width and len(letters) and (letters.max() > sys.maxunicode or ((letters >> 11) == 0xD800 >> 11).any()):
        raise Unreadable("it contains entries that are not text")
    return ["".join(map(chr, row.tolist())).rstrip("\0") for row in letters.reshape(shape[0], width)]


def parse_header(content: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Parse the header of a .npy file, and return the data type, shape, Fortran flag and offset of the values.

    Raises:
        Unreadable: the file is not a .npy file, or contains neither numbers nor text.
    """
    dtype, shape, fortran_order, start = _header(content)
    if dtype.kind not in "biufcU" or dtype.subdtype is not None:
        raise Unreadable(f"its type is {cut(printable(str(dtype)), 200)}, which is not a plain type of numbers or text")
    return dtype, shape, fortran_order, start


def header_place(prefix: bytes) -> tuple[int, int]:
    """Return the start and end of a .npy file's header, given the first `PREFIX` bytes. Raises `Unreadable`."""
    version = tuple(prefix[6:8])
    if len(version) < 2 or version[0] not in _LENGTHS or version[1] != 0:
        raise Unreadable(f"version {list(version)} is not one of [1, 0], [2, 0], [3, 0]")
    begin = 8 + _LENGTHS[version[0]]
    end = begin + int.from_bytes(prefix[8:begin], "little")
    if end - begin > _LONGEST_HEADER:
        raise Unreadable(f"its header takes {end - begin} bytes; at most {_LONGEST_HEADER} are supported")
    return begin, end


def _header(content: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    if not content.startswith(MAGIC):
        raise Unreadable(_kind(content))
    begin, end = header_place(content[:PREFIX])
    if end > len(content):
        raise Unreadable(f"its header takes {end - begin} bytes, but only {len(content) - begin} follow")
    text = content[begin:end].decode("latin-1")
    try:
        if "\\" in text:
            raise ValueError("escapes that Python may warn about")
        header = ast.literal_eval(text.strip(" \n"))
        shape, fortran_order, dtype = header["shape"], header["fortran_order"], npy.descr_to_dtype(header["descr"])
        if len(header) != 3 or type(fortran_order) is not bool or type(shape) is not tuple:
            raise ValueError("other entries than these three")
    # Python's parser and NumPy's types raise almost any exception on a damaged header.
    except Exception as error:
        seen = cut(printable(text.strip()), 200)
        raise Unreadable(f"its header is not a plain type, order and shape: {seen}") from error
    if dtype.hasobject:
        raise Unreadable(f"its type is {cut(printable(str(dtype)), 200)}, which is not a plain type of numbers or text")
    if any(type(length) is not int or not 0 <= length < 2**63 for length in shape):
        raise Unreadable(f"its header contains the invalid shape {cut(str(shape))}")
    return dtype, shape, fortran_order, end


def _values(
    content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], *, fortran_order: bool, start: int
) -> NDArray[Any]:
    promised = math.prod(shape) * dtype.itemsize
    if promised != len(content) - start:
        raise Unreadable(f"its shape takes {cut(str(promised))} bytes, but {len(content) - start} follow the header")
    try:
        flat = np.frombuffer(content, dtype, offset=start) if promised else np.empty(0, dtype)
        return flat.reshape(shape[::-1]).T if fortran_order else flat.reshape(shape)
    # A length of 0 can hide other lengths whose product, or number, exceeds any array.
    except ValueError as error:
        raise Unreadable(f"no array can have the shape {cut(str(list(shape)))}") from error


def _kind(content: bytes) -> str:
    """Describe why a file is not a .npy file."""
    if content.startswith(b"PK"):
        return "it is a zip archive, as numpy.savez writes it; expected one array"
    if content.startswith(b"\x80"):
        return "it is a pickle, which is not supported"
    return "it does not begin like a file of numpy.save" if content else "it is empty"


def parse_archive(content: bytes, names: Collection[str]) -> dict[str, bytes]:
    """Return the contents of the .npy files in a .npz archive, which may contain only arrays listed in `names`.

    Raises:
        Unreadable: the file is not an archive, is damaged, or contains other, repeated or large (`MOST_BYTES`) files.
    """
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if name not in names or name in found or name == entry.filename:
                    odd = " twice" if name in found else f", which is not one of {', '.join(names)}"
                    raise Unreadable(f"it contains {brief(name)}{odd}")
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # A few bytes of LZMA can require gigabytes for unpacking.
                    raise Unreadable(
                        f"its array {name} is neither stored nor deflated; save it with numpy.savez_compressed"
                    )
                with archive.open(entry) as file:
                    # A few kilobytes can declare any size and unpack to more than that.
                    found[name] = file.read(MOST_BYTES + 1)
                if len(found[name]) > MOST_BYTES:
                    raise Unreadable(f"its array {name} has more than {MOST_BYTES:,} bytes")
    except Unreadable:
        raise
    # zipfile and its decompressors raise many types of errors on damaged bytes.
    except Exception as error:
        raise Unreadable(f"it is not a zip archive of numpy.savez ({reason(error)})") from error
    return found

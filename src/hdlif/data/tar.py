"""Tar archives as shards are: headers of 512 bytes, each before its content, which is filled up to 512 bytes.

Read are the forms that GNU tar and Python write (POSIX ustar and pax, GNU): what an archive says leads forwards within
it, so the reading ends, and takes the memory of one header.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from hdlif.inputs import Unreadable

BLOCK = 512
_LONGEST_NAME = 2**16
_REGULAR, _PAX, _GNU_NAME = (b"0", b"\0", b"7"), b"x", b"L"
# They say nothing that is read of the member that follows: a link's name, and what is common to all.
_OTHERS = (b"K", b"g")


@dataclass(frozen=True)
class Member:
    """A regular file in an archive: its name, where its content begins, and the bytes of that."""

    name: str
    offset: int
    size: int


def members(file: BinaryIO) -> Iterator[Member]:
    """The regular files in an archive, one after the other; two empty blocks, or the end of the file, end it.

    Raises:
        Unreadable: a header is damaged, or a member is cut short.
    """
    length, place = os.fstat(file.fileno()).st_size, 0
    longer: dict[str, str] = {}
    while place < length:
        header = _read(file, place, BLOCK, length)
        if not any(header):
            break
        _check(header, place)
        kind, size = header[156:157], _number(header[124:136], place)
        begin = place + BLOCK
        # Of every kind: a size that leads beyond the end would hide the members that follow.
        if kind not in _REGULAR and _padded(begin + size) > length:
            raise Unreadable(f"is cut short within the member at byte {place}")
        if kind in (_PAX, _GNU_NAME):
            content = _read(file, begin, _at_most(size, place), length)
            longer |= _pax(content, place) if kind == _PAX else {"path": _text(content)}
        elif kind not in _OTHERS:
            size = _whole(longer["size"], place) if "size" in longer else size
            if _padded(begin + size) > length:
                raise Unreadable(f"is cut short within the member at byte {place}")
            if kind in _REGULAR:
                yield Member(longer.get("path", _name(header)), begin, size)
            longer = {}
        place = _padded(begin + size)


def _padded(place: int) -> int:
    return -(-place // BLOCK) * BLOCK


def _read(file: BinaryIO, place: int, size: int, length: int) -> bytes:
    if place + size > length:
        raise Unreadable(f"is cut short at byte {place}")
    file.seek(place)
    return file.read(size)


def _check(header: bytes, place: int) -> None:
    """The sum of the header's bytes, its own field taken for spaces, stands in it."""
    seen = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if _number(header[148:156], place) != seen:
        raise Unreadable(f"has no header at byte {place}")


def _number(field: bytes, place: int) -> int:
    """Octal digits; or, where the first bit is set, the rest as a big-endian number."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.strip(b" \0")
    if any(digit not in b"01234567" for digit in digits):
        raise Unreadable(f"has no header at byte {place}")
    return int(digits or b"0", 8)


def _at_most(size: int, place: int) -> int:
    if size > _LONGEST_NAME:
        raise Unreadable(f"has a name of {size} bytes at byte {place}")
    return size


def _pax(content: bytes, place: int) -> dict[str, str]:
    """Path and size out of lines LENGTH KEY=VALUE, whose length counts all of the line."""
    found: dict[str, str] = {}
    begin = 0
    while begin < len(content):
        digits = content[begin : begin + 20].partition(b" ")[0]
        length = _whole(_text(digits), place)
        end = begin + length
        key, equals, value = content[begin + len(digits) + 1 : end].partition(b"=")
        if not len(digits) + 1 < length <= len(content) - begin or not equals or not value.endswith(b"\n"):
            raise Unreadable(f"has no line of a header at byte {place}")
        if key in (b"path", b"size"):
            found[_text(key)] = _text(value[:-1])
        begin = end
    return found


def _whole(text: str, place: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Unreadable(f"has no number in the header at byte {place}")
    return int(text)


def _name(header: bytes) -> str:
    """Of POSIX headers with the prefix before it; GNU's have other things there."""
    name, prefix = _text(header[:100]), _text(header[345:500])
    return f"{prefix}/{name}" if header[257:263] == b"ustar\0" and prefix else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")

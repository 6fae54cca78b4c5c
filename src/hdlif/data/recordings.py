"""The files of event cameras.

N-MNIST's, AEDAT 2.0 and AEDAT 3.1 are read here: each is a few fixed-width fields, and tonic 1.7 raises on the latter
two (its readers unpack two values of a header that returns three). AEDAT 4, compressed and nested, is read by tonic,
which is GPL and therefore an optional extra, imported when such a file is met.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdlif.data.frames import Events
from hdlif.errors import DataError, MissingExtraError, reason

_AEDAT3_HEADER = np.dtype(
    [
        ("kind", "<i2"),
        ("source", "<i2"),
        ("event_size", "<i4"),
        ("time_offset", "<i4"),
        ("overflow", "<i4"),
        ("capacity", "<i4"),
        ("number", "<i4"),
        ("valid", "<i4"),
    ]
)
_AEDAT3_POLARITY = 1
MEMORY = 40
"""The most memory that a recording takes while it is read, in sizes of its file."""
_SENSOR_SIDE = 128
"""Of the DVS128, whose addresses AEDAT 2.0 gives as they leave the chip."""


def read_bin(path: Path, content: bytes) -> Events:
    """N-MNIST: 5 bytes an event: x; y; polarity (bit 7) and the time in microseconds (the 23 bits left, big endian).

    An entry with y = 240 is no event: the times from there on are 2^13 later.
    """
    if len(content) % 5:
        raise DataError(f"{path}: {len(content)} bytes are no whole number of 5-byte events; extract it again")
    entries = np.frombuffer(content, np.uint8).reshape(-1, 5).astype(np.int64)
    x, y, high, middle, low = entries.T
    late = y == 240
    t = ((high & 0x7F) << 16 | middle << 8 | low) + np.cumsum(late) * 2**13
    return Events(*(a[~late] for a in (t, x, y, high >> 7)))


def read_aedat(path: Path, content: bytes) -> Events:
    """AEDAT 2.0 of a DVS128 or AEDAT 3.1, as the first line says."""
    for version, read in ((b"2.", _read_aedat2), (b"3.", _read_aedat3)):
        if content.startswith(b"#!AER-DAT" + version):
            return read(path, content)
    raise DataError(f"{path}: begins with {content[:14]!r}; accepted are AEDAT 2.0, 3.1 and, as .aedat4, 4.0")


def _read_aedat2(path: Path, content: bytes) -> Events:
    """Lines that begin with #, then per event a big-endian address and time of 4 bytes each.

    Address bits: 0 off (1 is darker), 1..7 x from the right, 8..14 y from below.
    """
    start = 0
    while content[start : start + 1] == b"#":
        start = content.find(b"\n", start) + 1
        if start == 0:
            raise DataError(f"{path}: ends within its header; extract it again")
    if (len(content) - start) % 8:
        raise DataError(f"{path}: its events are no whole number of 8 bytes; extract it again")
    address, t = np.frombuffer(content, ">u4", offset=start).reshape(-1, 2).astype(np.int64).T
    side = _SENSOR_SIDE - 1
    return Events(t, side - (address >> 1 & 0x7F), side - (address >> 8 & 0x7F), 1 - (address & 1))


def _read_aedat3(path: Path, content: bytes) -> Events:
    """A header up to #!END-HEADER, then packets: 28 bytes that say kind, size and number, and the events.

    A polarity event is 4 bytes of data (bit 0 valid, 1 polarity, 2..16 y, 17..31 x) and 4 of time, little endian.
    """
    mark = b"#!END-HEADER\r\n"
    place = content.find(mark)
    if place < 0:
        raise DataError(f"{path}: ends within its header; extract it again")
    place += len(mark)
    parts: list[NDArray[np.int64]] = []
    while place < len(content):
        body = place + _AEDAT3_HEADER.itemsize
        if body > len(content):
            raise DataError(f"{path}: is cut short at byte {place}; extract it again")
        packet = np.frombuffer(content, _AEDAT3_HEADER, 1, place)[0]
        size, number = int(packet["event_size"]), int(packet["number"])
        end = body + size * int(packet["capacity"])
        if size < 1 or not 0 <= number <= packet["capacity"] or end > len(content):
            raise DataError(f"{path}: is cut short or damaged at byte {place}; extract it again")
        if packet["kind"] == _AEDAT3_POLARITY and size == 8:
            data, time = np.frombuffer(content, "<u4", 2 * number, body).reshape(-1, 2).astype(np.int64).T
            parts.append(np.stack([data, time + (int(packet["overflow"]) << 31)])[:, data & 1 == 1])
        place = end
    data, t = np.concatenate([np.zeros((2, 0), np.int64), *parts], axis=1)
    return Events(t, data >> 17 & 0x7FFF, data >> 2 & 0x7FFF, data >> 1 & 1)


def read_aedat4(path: Path, content: bytes) -> Events:
    """AEDAT 4.0, by tonic, which reads the file by itself.

    Raises:
        MissingExtraError: tonic, or the package aedat that it needs for this, is not installed.
    """
    try:
        import aedat  # noqa: F401
        from tonic.io import read_aedat4 as read
    except ImportError as error:
        raise MissingExtraError(f"{path}: {error.name} is needed for it; pip install 'hdlif[events]'") from error
    try:
        found = read(str(path))
        # By place: the fields have other names in other versions.
        t, x, y, polarity = (found[name].astype(np.int64) for name in found.dtype.names[:4])
    except (KeyboardInterrupt, SystemExit):
        raise
    # The decoder is compiled; its errors are of many types, and where it panics they are no Exception.
    except BaseException as error:
        raise DataError(f"{path}: cannot be read as AEDAT 4.0 ({reason(error)}); extract it again") from error
    return Events(t, x, y, polarity)


READERS: Mapping[str, Callable[[Path, bytes], Events]] = {
    ".aedat": read_aedat,
    ".aedat4": read_aedat4,
    ".bin": read_bin,
}


def read_recording(path: Path, content: bytes) -> Events:
    """The events of a file, `content` being its bytes; the suffix says the format.

    Apart from AEDAT 4, it takes no more memory than `MEMORY` times the file.

    Raises:
        DataError: the file is in none of the formats, or is damaged.
    """
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(f"{path}: recordings end in {', '.join(READERS)}; this one belongs to no set that is read")
    return read(path, content)

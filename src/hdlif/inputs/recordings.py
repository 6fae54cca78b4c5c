"""Read event-camera files.

hdlif has built-in readers for N-MNIST, AEDAT 2.0 and 3.1, Prophesee's EVT 2.0 and 3.0, and arrays. AEDAT 4 requires the
package tonic, and HDF5 requires h5py. These packages are in an optional extra, because tonic is licensed under the GPL.
"""

import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import MissingExtraError, cut, reason
from hdlif.inputs import Unreadable
from hdlif.inputs.arrays import parse_archive, parse_array, parse_records
from hdlif.inputs.events import Events, of_columns
from hdlif.inputs.prophesee import MOST_EVENTS, read_raw

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
"""Peak memory for reading a recording, as a multiple of its file size."""
_MOST_RECORD = 32
"""Maximum size of an event in an HDF5 file: four numbers of 8 bytes."""
_SENSOR_SIDE = 128
"""Side of the DVS128's sensor in pixels; AEDAT 2.0 contains raw addresses of this chip."""


def read_bin(content: bytes) -> Events:
    """Read N-MNIST, which has 5 bytes per event.

    The first two bytes contain x and y, and the other three contain a polarity bit and a big-endian 23-bit time in
    microseconds.

    An entry with y = 240 is not an event, but adds 2^13 to all later times.
    """
    if len(content) % 5:
        raise Unreadable(f"{len(content)} bytes are not a multiple of 5, the size of an event")
    entries = np.frombuffer(content, np.uint8).reshape(-1, 5).astype(np.int64)
    x, y, high, middle, low = entries.T
    late = y == 240
    t = ((high & 0x7F) << 16 | middle << 8 | low) + np.cumsum(late) * 2**13
    return Events(*(a[~late] for a in (t, x, y, high >> 7)))


def read_aedat(content: bytes) -> Events:
    """Read AEDAT 2.0 (from a DVS128 sensor) or AEDAT 3.1, depending on the version in the first line."""
    for version, read in ((b"2.", _read_aedat2), (b"3.", _read_aedat3)):
        if content.startswith(b"#!AER-DAT" + version):
            return read(content)
    raise Unreadable(f"begins with {content[:14]!r}; expected AEDAT 2.0, 3.1 or, as .aedat4, 4.0")


def _read_aedat2(content: bytes) -> Events:
    """Read AEDAT 2.0, in which header lines that begin with # precede the events.

    An event consists of an address and a time, each a 4-byte big-endian integer. In the address, bit 0 is 1 if the
    pixel became darker, bits 1 to 7 contain x counted from the right, and bits 8 to 14 contain y counted from the
    bottom.
    """
    start = 0
    while content[start : start + 1] == b"#":
        start = content.find(b"\n", start) + 1
        if start == 0:
            raise Unreadable("ends within its header")
    if (len(content) - start) % 8:
        raise Unreadable("its events are not a multiple of 8 bytes")
    address, t = np.frombuffer(content, ">u4", offset=start).reshape(-1, 2).astype(np.int64).T
    side = _SENSOR_SIDE - 1
    x, y = side - (address >> 1 & 0x7F), side - (address >> 8 & 0x7F)
    return Events(t, x, y, 1 - (address & 1), (_SENSOR_SIDE, _SENSOR_SIDE))


def _read_aedat3(content: bytes) -> Events:
    """Read AEDAT 3.1, in which a text header that ends with #!END-HEADER precedes packets of events.

    Each packet has its own 28-byte header. A polarity event consists of a 4-byte data word and a 4-byte
    timestamp, both in little-endian order. In the data word, bit 0 is 1 for valid events, bit 1 is the polarity, bits 2
    to 16 are y, and bits 17 to 31 are x.
    """
    mark = b"#!END-HEADER\r\n"
    place = content.find(mark)
    if place < 0:
        raise Unreadable("ends within its header")
    place += len(mark)
    parts: list[NDArray[np.int64]] = []
    while place < len(content):
        body = place + _AEDAT3_HEADER.itemsize
        if body > len(content):
            raise Unreadable(f"is cut short at byte {place}")
        packet = np.frombuffer(content, _AEDAT3_HEADER, 1, place)[0]
        size, number = int(packet["event_size"]), int(packet["number"])
        end = body + size * int(packet["capacity"])
        if size < 1 or not 0 <= number <= packet["capacity"] or end > len(content):
            raise Unreadable(f"is cut short or damaged at byte {place}")
        if packet["kind"] == _AEDAT3_POLARITY and size == 8:
            data, time = np.frombuffer(content, "<u4", 2 * number, body).reshape(-1, 2).astype(np.int64).T
            parts.append(np.stack([data, time + (int(packet["overflow"]) << 31)])[:, data & 1 == 1])
        place = end
    data, t = np.concatenate([np.zeros((2, 0), np.int64), *parts], axis=1)
    return Events(t, data >> 17 & 0x7FFF, data >> 2 & 0x7FFF, data >> 1 & 1)


def read_aedat4(path: Path, content: bytes) -> Events:
    """Read AEDAT 4.0 with tonic, which requires a file on disk.

    Raises:
        MissingExtraError: tonic or the package aedat, which tonic requires, is not installed.
    """
    try:
        import aedat  # noqa: F401
        from tonic.io import read_aedat4 as read
    except ImportError as error:
        raise MissingExtraError.of(f"{path}: {error.name}", "events") from error
    try:
        with _as_file(path, content) as file:
            found = read(file)
        # Read fields by position, because their names differ between versions.
        t, x, y, polarity = (found[name].astype(np.int64) for name in found.dtype.names[:4])
    except (KeyboardInterrupt, SystemExit):
        raise
    # The compiled decoder raises many types of errors; a panic is not an Exception.
    except BaseException as error:
        raise Unreadable(f"cannot be read as AEDAT 4.0 ({reason(error)})") from error
    return Events(t, x, y, polarity)


@contextmanager
def _as_file(path: Path, content: bytes) -> Iterator[str]:
    """Yield the path of a file that contains a recording's bytes."""
    if os.path.isfile(path):  # noqa: PTH113 - False for names that cannot exist
        yield str(path)
        return
    with tempfile.NamedTemporaryFile(suffix=path.suffix) as file:
        file.write(content)
        file.flush()
        yield file.name


def read_npy(content: bytes) -> Events:
    """Read a structured array [N] with fields `t`, `x`, `y` and `p`, or a numeric array [N, 4] with these columns."""
    records = parse_records(content)
    if records is not None:
        return of_columns(_named(records))
    array = parse_array(content)
    if array.ndim != 2 or array.shape[1] != 4:
        raise Unreadable(
            f"it is {array.dtype} {list(array.shape)}; a recording is an array [N, 4] of t, x, y, p, or has such fields"
        )
    return of_columns(dict(zip("txyp", array.T, strict=True)))


def read_npz(content: bytes) -> Events:
    """Read arrays `t`, `x`, `y` and `p` [N], or one array in `read_npy`'s format that is unnamed or named "events"."""
    files = parse_archive(content, (*_NAMES, *_ALONE))
    if len(files) == 1 and (alone := next(iter(files))) in _ALONE:
        return read_npy(files[alone])
    columns = _named({name: parse_array(values) for name, values in files.items() if name in _NAMES})
    if (count := max(values.size for values in columns.values())) > MOST_EVENTS:
        raise Unreadable(f"it has {count:,} events; at most {MOST_EVENTS:,} are supported, so shorten it")
    if len(files) > len(columns):
        raise Unreadable(f"it contains {', '.join(sorted(files))}; give t, x, y and p, or one array of events alone")
    return of_columns(columns)


_NAMES: Mapping[str, str] = {
    **{name: name for name in "txyp"},
    **dict.fromkeys(("timestamp", "timestamps", "time", "ts"), "t"),
    **dict.fromkeys(("polarity", "polarities", "pol", "on"), "p"),
    **{"xs": "x", "ys": "y"},
}
"""Accepted names of arrays and fields, each with its meaning: t, x, y or p."""
_ALONE = ("events", "arr_0")


def _named(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the columns `t`, `x`, `y` and `p` by name. Raises `Unreadable` unless each column occurs exactly once."""
    found: dict[str, NDArray[Any]] = {}
    for name, values in columns.items():
        if (what := _NAMES.get(name)) is not None:
            if what in found:
                raise Unreadable(f"two of its columns are {what}: {cut(', '.join(sorted(columns)), 200)}")
            found[what] = values
    if missing := [name for name in "txyp" if name not in found]:
        seen = cut(", ".join(map(str, sorted(columns))), 200) or "nothing"
        raise Unreadable(f"it has no {missing[0]}; expected t, x, y and p, got {seen}")
    return found


def read_hdf5(path: Path, content: bytes) -> Events:
    """Read HDF5 data sets `t`, `x`, `y` and `p`, or one data set with these fields, from the root, "events" or "CD".

    Raises:
        MissingExtraError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError.of(f"{path}: h5py", "events") from error
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            return of_columns(_of_group(file, h5py))
    except Unreadable:
        raise
    # The HDF5 library reads the file and raises many types of errors.
    except Exception as error:
        raise Unreadable(f"cannot be read as HDF5 ({reason(error)})") from error


def _of_group(group: Any, h5py: Any) -> dict[str, NDArray[Any]]:
    """Return the arrays `t`, `x`, `y` and `p` from one of the usual HDF5 groups."""
    # Import this here because most recordings do not need it.
    from hdlif.inputs.hdf5_tree import own_entry

    for place in ("", "events", "events/events", "CD", "CD/events"):
        here = group
        for name in place.split("/") if place else ():
            here = own_entry(here, name, h5py) if isinstance(here, h5py.Group) else None
        if isinstance(here, h5py.Dataset) and here.dtype.names:
            _check_size(here)
            records = here[()]
            return _named({name: records[name] for name in here.dtype.names})
        if isinstance(here, h5py.Group):
            entries = {name: own_entry(here, name, h5py) for name in here if name in _NAMES}
            if sets := {name: one for name, one in entries.items() if isinstance(one, h5py.Dataset)}:
                chosen = _named(sets)
                for one in chosen.values():
                    _check_size(one)
                return {name: one[()] for name, one in chosen.items()}
    raise Unreadable(f"it has no data sets t, x, y and p; it has {cut(', '.join(sorted(group)), 200) or 'nothing'}")


def _check_size(values: Any) -> None:
    """Raise `Unreadable` if an HDF5 data set would take more memory than a recording can need."""
    shape = list(values.shape or ())
    if len(shape) != 1 or shape[0] > MOST_EVENTS:
        raise Unreadable(f"{cut(values.name)} is {shape}; it must be [N], with at most {MOST_EVENTS:,} events")
    # HDF5 unpacks complete chunks even if few entries are read, and text entries can have any size.
    longest = max(shape[0], *(values.chunks or (0,)))
    if values.dtype.hasobject or longest * values.dtype.itemsize > MOST_EVENTS * _MOST_RECORD:
        raise Unreadable(
            f"{cut(values.name)} has entries of {values.dtype}, in chunks of {longest:,}; "
            "save plain numbers, in smaller chunks"
        )


def _of_content(read: Callable[[bytes], Events]) -> Callable[[Path, bytes], Events]:
    return lambda _, content: read(content)


READERS: Mapping[str, Callable[[Path, bytes], Events]] = {
    ".aedat": _of_content(read_aedat),
    ".aedat4": read_aedat4,
    ".bin": _of_content(read_bin),
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".npy": _of_content(read_npy),
    ".npz": _of_content(read_npz),
    ".raw": _of_content(read_raw),
}
"""Functions that read recordings, by suffix."""


def read_recording(path: Path, content: bytes) -> Events:
    """Return the events in a file's content; the suffix of `path` determines the format.

    Reading a file takes at most `MEMORY` times as many bytes of memory as the file has, with three exceptions. AEDAT 4
    and HDF5 have no memory limit. For .npz files, the limit is `inputs.MOST_BYTES` bytes per array. For EVT 3.0, the
    limit is 50 times the file size, plus 100 bytes per event in vectors (up to `MOST_EVENTS`).

    Raises:
        Unreadable: the file is in none of the formats, or is damaged.
        MissingExtraError: the package that reads the format is not installed.
    """
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise Unreadable(f"its name ends in {cut(path.suffix)!r}; expected {', '.join(READERS)}")
    return read(path, content)

"""Read Prophesee's .raw files in EVT 2.0 and EVT 3.0 format.

A text header is followed by 32-bit words in EVT 2.0, or by 16-bit words in EVT 3.0. Header lines begin with %. One
header line specifies the format, as in `% evt 3.0` or `% format EVT3;height=720;width=1280`. Other header lines may
specify the sensor size, as in `% geometry 1280x720` or `% height 720`. The highest 4 bits of each word contain the type
of the word.
"""

import re
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hdlif.inputs import Unreadable
from hdlif.inputs.events import Events

MOST_EVENTS = 2**25
"""Maximum number of events in a file in which one word may contain several events."""
_MOST_HEADER = 2**16
_OF_2 = {"off": 0x0, "on": 0x1, "time": 0x8}
_OF_3 = {"y": 0x0, "x": 0x2, "base": 0x3, "vector_12": 0x4, "vector_8": 0x5, "time_low": 0x6, "time_high": 0x8}


def read_raw(content: bytes) -> Events:
    """Return the events of a recording, ignoring triggers and other words."""
    lines, start = _header(content)
    version = _version(lines)
    size = 4 if version == "2" else 2
    if (len(content) - start) % size:
        raise Unreadable(f"its data are not a multiple of {size} bytes")
    words = np.frombuffer(content, f"<u{size}", offset=start)
    t, x, y, p = _evt2(words) if version == "2" else _evt3(words)
    return Events(t, x, y, p, _sensor(lines))


def _header(content: bytes) -> tuple[list[str], int]:
    """Return the header lines without the leading %, and the offset of the first word."""
    lines, start = list[str](), 0
    while content[start : start + 1] == b"%":
        end = content.find(b"\n", start, start + _MOST_HEADER)
        if end < 0 or end > _MOST_HEADER:
            raise Unreadable("ends within its header")
        line = content[start + 1 : end].decode("latin-1").strip()
        start = end + 1
        if line == "end":
            break
        lines.append(line)
    return lines, start


def _version(lines: list[str]) -> str:
    for line in lines:
        if found := re.match(r"evt ([0-9.]+)|format EVT([0-9]+)", line):
            version = (found[1] or found[2]).split(".")[0]
            if version not in ("2", "3"):
                raise Unreadable(f"is in the format EVT {version}; expected 2.0 or 3.0")
            return version
    raise Unreadable("its header does not state the format; expected % evt 2.0 or % evt 3.0")


def _sensor(lines: list[str]) -> tuple[int, int] | None:
    """Return the height and width of the sensor, or None if the header does not contain them."""
    text = "\n".join(lines)
    if found := re.search(r"^geometry ([0-9]{1,5})x([0-9]{1,5})", text, re.MULTILINE):
        return int(found[2]), int(found[1])
    sides = [re.search(rf"(?:^|;){side}[ =]([0-9]{{1,5}})", text, re.MULTILINE) for side in ("height", "width")]
    return (int(sides[0][1]), int(sides[1][1])) if sides[0] and sides[1] else None


_Columns = tuple[NDArray[np.int64], NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]


def _evt2(words: NDArray[np.uint32]) -> _Columns:
    """Decode EVT 2.0, in which an event has y in bits 0–10, x in bits 11–21 and the low bits of the time in bits 22–27.

    A time word contains the upper 28 bits of the time. Events before the first time word are omitted.
    """
    kind, value = words >> 28, words.astype(np.int64)
    high = _latest(value & 0xFFFFFFF, kind == _OF_2["time"])
    event = ((kind == _OF_2["on"]) | (kind == _OF_2["off"])) & (high >= 0)
    value = value[event]
    return high[event] << 6 | value >> 22 & 0x3F, value >> 11 & 0x7FF, value & 0x7FF, value >> 28


def _evt3(words: NDArray[np.uint16]) -> _Columns:
    """Decode EVT 3.0, in which time, row and column are written only when they change.

    An event is either a word with x and polarity, or a bit in a vector. A vector has 12 or 8 bits, one per pixel, and
    each set bit is an event. The first vector begins at the base pixel, and each later vector begins after the previous
    vector. The time has 24 bits, split over two words, and wraps around at 2^24. Events that precede the first time
    word or the first row word are omitted.
    """
    kind, value = (words >> 12).astype(np.uint8), (words & 0xFFF).astype(np.int32)
    is_12, is_8, based = kind == _OF_3["vector_12"], kind == _OF_3["vector_8"], kind == _OF_3["base"]
    value[is_8] &= 0xFF
    count = int((kind == _OF_3["x"]).sum()) + _bits(value[is_12 | is_8])
    if count > MOST_EVENTS:
        raise Unreadable(f"it has up to {count:,} events; at most {MOST_EVENTS:,} are supported, so shorten it")
    time, y = _times(kind, value), _latest(value & 0x7FF, kind == _OF_3["y"])
    known = (time >= 0) & (y >= 0)
    single = np.flatnonzero(known & (kind == _OF_3["x"]))
    vectors = np.flatnonzero(known & (is_12 | is_8) & (value != 0))
    # Each vector begins after the previous vectors with the same base.
    lengths = 12 * is_12.astype(np.int32) + 8 * is_8
    before = np.cumsum(lengths) - lengths
    begin = _latest(value & 0x7FF, based)
    vectors = vectors[begin[vectors] >= 0]
    base = begin[vectors] + (before[vectors] - _latest(before, based)[vectors])
    polarity = _latest(value >> 11, based)[vectors]
    of_vector, bit = np.nonzero(value[vectors][:, None] >> np.arange(12, dtype=np.int32) & 1)
    places = np.concatenate([single, vectors[of_vector]])
    order = np.argsort(places, kind="stable")
    x = np.concatenate([value[single] & 0x7FF, base[of_vector] + bit])[order]
    p = np.concatenate([value[single] >> 11, polarity[of_vector]])[order]
    places = places[order]
    return time[places], x.astype(np.int32), y[places], p


def _bits(values: NDArray[np.int32]) -> int:
    """Return the total number of set bits in all values."""
    return sum(int((values >> bit & 1).sum()) for bit in range(12))


def _times(kind: NDArray[np.uint8], value: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the time of each word, or -1 before the first time word. A changed high word sets the low bits to 0."""
    is_high, is_low = kind == _OF_3["time_high"], kind == _OF_3["time_low"]
    highs = value[is_high].astype(np.int64)
    highs += np.cumsum(np.diff(highs, prepend=highs[:1]) < -(2**11)) << 12
    changed = np.zeros(len(kind), bool)
    changed[is_high] = np.diff(highs, prepend=-1) != 0
    # The low bits are valid until the next new high word, which sets them to 0.
    low = _latest(np.where(changed, 0, value), is_low | changed)
    number = np.cumsum(is_high, dtype=np.int32) - 1
    high = np.where(number < 0, -1, highs[number] if len(highs) else -1)
    return np.where(high < 0, -1, high << 12 | low)


_Int = TypeVar("_Int", np.int32, np.int64)


def _latest(values: NDArray[_Int], there: NDArray[np.bool_]) -> NDArray[_Int]:
    """Return, for each position, the latest value marked in `there` so far, or -1 if no value has been marked yet.

    >>> _latest(np.array([5, 6, 7, 8]), np.array([False, True, False, True])).tolist()
    [-1, 6, 6, 8]
    """
    given = np.concatenate([np.array([-1], values.dtype), values[there]])
    found: NDArray[_Int] = given[np.cumsum(there, dtype=np.int32)]
    return found

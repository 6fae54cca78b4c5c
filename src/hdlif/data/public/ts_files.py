"""The .ts format of the time-series archives: comments (#), a header of lines @key value, and a line for each series.

A series is its channels, divided by colons, each of numbers divided by commas, and then its class. Series of one file
may have several lengths.
"""

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import cut
from hdlif.inputs import Unreadable

_MOST_HEADER = 100


def parse_ts(content: bytes) -> tuple[list[NDArray[np.float32]], list[str]]:
    """Return the series, float32 [T, C] each, and their classes.

    Raises:
        Unreadable: it is something else, has times or missing values, or a value that is no finite float32.
    """
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise Unreadable("it is not UTF-8 text") from error
    header, begin = _header(lines)
    if "classlabel" not in header or not header["classlabel"].startswith("true"):
        raise Unreadable("its header has no @classLabel true, which names the classes")
    classes = dict.fromkeys(header["classlabel"].split()[1:])
    if header.get("timestamps", "false") != "false":
        raise Unreadable("its values have times, and those with one interval are read")
    series, labels = [], []
    channels = None
    for number, line in enumerate(lines[begin:], begin + 1):
        if not line.strip():
            continue
        *parts, label = line.split(":")
        if label.strip() not in classes:
            raise Unreadable(
                f"line {number} ends in {cut(label)!r}, which is none of the classes {cut(str([*classes]))}"
            )
        values = [_numbers(part, number) for part in parts]
        channels = channels or len(values)
        if len({len(each) for each in values}) != 1 or len(values) != channels:
            raise Unreadable(f"line {number} has channels of several lengths, or another number of them than the first")
        series.append(np.stack(values, 1))
        labels.append(label.strip())
    if not series:
        raise Unreadable("it has no series below @data")
    return series, labels


def _header(lines: list[str]) -> tuple[dict[str, str], int]:
    """Return the keys in small letters with their values, and the first line after @data."""
    header: dict[str, str] = {}
    for number, line in enumerate(lines[:_MOST_HEADER]):
        if not line.startswith("@"):
            continue
        key, _, value = line[1:].partition(" ")
        if key.lower() == "data":
            return header, number + 1
        header[key.lower()] = value.strip()
    raise Unreadable(f"it has no line @data among its first {_MOST_HEADER}")


def _numbers(text: str, line: int) -> NDArray[np.float32]:
    try:
        values = np.array([float(word) for word in text.split(",")], np.float64)
    except ValueError as error:
        raise Unreadable(f"line {line}: {cut(str(error), 100)}") from error
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    if not np.isfinite(found).all():
        raise Unreadable(f"line {line} has a value that is not a finite float32")
    return found

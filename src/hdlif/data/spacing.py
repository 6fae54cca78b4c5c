"""Compare the time between rows in different files."""

import statistics
from collections.abc import Mapping
from datetime import datetime
from itertools import islice, pairwise

from hdlif.inputs.tables import NUMBER, names_in, rows_in

_CLOCKS = ("t", "time", "timestamp", "date", "datetime")
"""Names of columns with the time of each row, in lower case, without a unit such as "_s" or " (ms)"."""
_MOST_ROWS = 1000
"""Maximum number of rows of a file that are read."""
_TOLERANCE = 1.05
"""Maximum ratio of spacings that count as equal."""


def row_spacing(content: bytes) -> float | None:
    """Return the median time between the first rows of a readable CSV file, or None without a column of times.

    Times are numbers, or text in an ISO 8601 format, whose spacing is in seconds.

    >>> row_spacing(b"Time (s),x\\n0,1\\n0.5,2\\n1,3"), row_spacing(b"date\\n2024-01-01 10:00\\n2024-01-01 10:01")
    (0.5, 60.0)
    """
    rows = (row for _, row in rows_in(content))
    names = names_in(next(rows)) or ()
    place = next((n for n, name in enumerate(names) if _is_clock(name)), None)
    if place is None:
        return None
    try:
        times = [_time(row[place]) for row in islice(rows, _MOST_ROWS)]
    except ValueError:
        return None
    spacing = statistics.median([after - before for before, after in pairwise(times)] or [0.0])
    return spacing if spacing > 0 else None


def unequal_spacings(spacings: Mapping[str, float]) -> list[str]:
    """Return a warning if the spacings of files, by name, differ by more than 5 %.

    >>> unequal_spacings({"a.csv": 0.1, "b.csv": 0.102}), unequal_spacings({})
    ([], [])
    """
    if not spacings or max(spacings.values()) <= _TOLERANCE * min(spacings.values()):
        return []
    first, last = (choose(spacings, key=spacings.__getitem__) for choose in (min, max))
    return [
        f"files differ in sampling rate: the time between rows is {spacings[first]:.4g} in {first}, but "
        f"{spacings[last]:.4g} in {last}; resample all files to one rate"
    ]


def _is_clock(name: str) -> bool:
    return name.lower().replace("(", " ").replace("_", " ").partition(" ")[0] in _CLOCKS


def _time(cell: str) -> float:
    """Convert a cell to seconds, or to the unit of a numeric column. Raises `ValueError`."""
    return float(cell) if NUMBER.fullmatch(cell) else datetime.fromisoformat(cell.strip()).timestamp()

"""Tables that pandas pickled, read without pandas."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.data.pickles import Record, items, numbers, parse_pickle
from hdlif.inputs import Unreadable

_RECONSTRUCTOR, _OBJECT, _SLICE = "copy_reg._reconstructor", "__builtin__.object", "__builtin__.slice"
_FRAME = "pandas.core.frame.DataFrame"
_MANAGER = "pandas.core.internals.managers.BlockManager"
_NEW_INDEX, _INDEX, _RANGE = (
    "pandas.core.indexes.base._new_Index",
    "pandas.core.indexes.base.Index",
    "pandas.core.indexes.range.RangeIndex",
)
_RECORDS = frozenset((_RECONSTRUCTOR, _OBJECT, _SLICE, _FRAME, _MANAGER, _NEW_INDEX, _INDEX, _RANGE))
_BLOCKS = "0.14.1"
"""The version of how pandas writes a table, under which the pickle has its blocks."""
_MOST_COLUMNS = 1000

Columns = Mapping[str, NDArray[Any]]


def parse_frames(content: bytes) -> Any:
    """Read a pickle of tables, each of which becomes a `Record` for `columns`. Raises `Unreadable`."""
    return parse_pickle(content, records=_RECORDS)


def columns(frame: Any) -> Columns:
    """Return the columns of a table by name. Raises `Unreadable` unless pandas 0.14.1 or later wrote plain ones."""
    try:
        manager = frame.state["_data"]
        (_, _, _, state) = manager.state
        names = _names(state[_BLOCKS]["axes"][0])
        found: dict[str, NDArray[Any]] = {}
        for block in state[_BLOCKS]["blocks"]:
            begin, end, step = block["mgr_locs"].arguments
            values = numbers(block["values"])
            if not 0 <= begin <= end <= _MOST_COLUMNS or step < 1:
                raise Unreadable("a block of its table has odd places")
            for name, column in zip(names[begin:end:step], values, strict=True):
                found[name] = column
    # What is read is of any shape: it has no such key, or is no record.
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise Unreadable(f"holds no table as pandas writes one ({type(error).__name__})") from error
    if len({len(column) for column in found.values()}) != 1 or any(column.ndim != 1 for column in found.values()):
        raise Unreadable("holds a table whose columns have several lengths")
    return found


def _names(index: Record) -> list[str]:
    _, made_of = index.arguments
    return [str(name) for name in items(made_of["data"])]


def as_float32(column: NDArray[Any]) -> NDArray[np.float32]:
    """Return a column as float32; raises `Unreadable` if a value is none."""
    with np.errstate(over="ignore"):
        values = column.astype(np.float32)
    if not np.isfinite(values).all():
        raise Unreadable("holds a value that is not a finite float32")
    return values

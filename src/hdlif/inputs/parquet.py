"""Parquet files as tables: read by pyarrow, which is imported when one is read, and for which no limit is promised."""

import contextlib
import io
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import MissingExtraError, brief, reason
from hdlif.inputs import Unreadable
from hdlif.inputs.tables import FILL_IN, MOST_COLUMNS, Table, columns_of, word_of

MOST_CELLS = 2**28


def parse_parquet(
    content: bytes, *, text: Collection[str] = (), columns: Sequence[str] | None = None, known: Sequence[str] = ()
) -> Table:
    """The table of a Parquet file; arguments and errors are those of `hdlif.inputs.tables.parse_table`.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    with _parquet(content) as file:
        names, rows = _names(file), file.metadata.num_rows
        places, _ = columns_of(names, len(names), text, columns if columns is not None else known or None)
        chosen = [names[place] for place in places]
        numbers = np.empty((rows, len(chosen)), np.float32)
        for number, name in enumerate(chosen):
            numbers[:, number] = _numbers(file.read(columns=[name]).column(0), name)
        words = {
            name: [
                _word(cell, name, row) for row, cell in enumerate(file.read(columns=[name]).column(0).to_pylist(), 1)
            ]
            for name in text
        }
    return Table(tuple(chosen), numbers, words, range(1, rows + 1))


def names_of(content: bytes) -> list[str]:
    """The names of the columns; errors are those of `parse_parquet`."""
    with _parquet(content) as file:
        return _names(file)


@contextlib.contextmanager
def _parquet(content: bytes) -> Iterator[Any]:
    """A file as pyarrow reads it, whose errors, which are of several types and some Python's own, become `Unreadable`.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow is not installed; install it with: pip install 'hdlif[data]'") from error
    try:
        yield parquet.ParquetFile(io.BytesIO(content))
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, NotImplementedError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"it is not a Parquet file that pyarrow reads ({reason(error)})") from error


def _names(file: Any) -> list[str]:
    """The names of the columns. Raises `Unreadable` on too many cells, no rows, or a name that is there twice."""
    names, rows = list(file.schema_arrow.names), file.metadata.num_rows
    if len(names) > MOST_COLUMNS or rows * len(names) > MOST_CELLS:
        raise Unreadable(f"it has {rows:,} rows of {len(names):,} columns, more than {MOST_CELLS:,} cells or so")
    if not rows or len(set(names)) < len(names):
        raise Unreadable("it has no rows" if not rows else "two of its columns have one name")
    return names


def _numbers(column: Any, name: str) -> NDArray[np.float32]:
    """A column as float32."""
    if column.null_count:
        row = column.is_null().to_pylist().index(True) + 1
        raise Unreadable(f"row {row}, column {brief(name)}: the cell is empty; {FILL_IN}")
    values = np.asarray(column.to_numpy())
    if values.dtype.kind not in "biuf":
        raise Unreadable(f"column {brief(name)}: it holds {column.type}, which is not a number", text_in=name)
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    if bad := np.flatnonzero(~np.isfinite(found)).tolist():
        seen = values[bad[0]]
        if np.isnan(found[bad[0]]):
            raise Unreadable(f"row {bad[0] + 1}, column {brief(name)}: {seen} is a missing value; {FILL_IN}")
        raise Unreadable(f"row {bad[0] + 1}, column {brief(name)}: {seen} is not a finite float32")
    return found


def _word(cell: object, name: str, row: int) -> str:
    return word_of("" if cell is None else str(cell), f"row {row}, column {brief(name)}")

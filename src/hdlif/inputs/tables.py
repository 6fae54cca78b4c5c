"""Read CSV and Parquet files with one row of numbers per time step or sample.

Cells are separated by commas, or by semicolons if the first row contains more semicolons than commas. The decimal
separator is a point. The first row is a header if none of its cells is a number.
"""

import codecs
import contextlib
import csv
import io
import itertools
import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import MissingExtraError, brief, cut, did_you_mean, reason
from hdlif.inputs import Unreadable

PARQUET = ".parquet"
SUFFIXES = (".csv", PARQUET)
"""Suffixes of files with tables."""
MOST_COLUMNS = 4096
MOST_CELLS = 2**28
"""Maximum number of cells in a Parquet file."""
NUMBER = re.compile(r" *[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})? *")
"""Matches a number, in time linear in the length of the cell."""
MISSING = {"nan", "-nan", "+nan", "na", "n/a", "<na>", "null", "none"}
"""Words that stand for a missing number, in lower case."""
_NO_NAMES = {"", *MISSING, "inf", "-inf", "+inf"}
"""Texts that cannot be the name of a column, in lower case."""
FILL_IN = "fill it in or delete the row"
"""Advice in errors about a missing number."""


@dataclass(frozen=True)
class Table:
    """The content of a table file.

    Attributes:
        names: names of the numeric columns; None without a header.
        numbers: float32 [rows, columns].
        words: the cells of each text column, by name.
        lines: line number of each row in the file, from 1.
    """

    names: tuple[str, ...] | None
    numbers: NDArray[np.float32]
    words: dict[str, list[str]]
    lines: Sequence[int]


def header_of(content: bytes, suffix: str) -> Sequence[str] | None:
    """Return the column names in a table file, or None if the file has no header. Raises `Unreadable`."""
    if suffix == PARQUET:
        with _parquet(content) as file:
            return _columns_of_parquet(file)
    return names_in(next(rows_in(content))[1])


def parse_named(
    content: bytes,
    suffix: str,
    *,
    text: Collection[str] = (),
    columns: Sequence[str] | None = None,
    known: Sequence[str] = (),
) -> Table:
    """Read a CSV or Parquet file, depending on `suffix`; all other arguments are as in `parse_table`."""
    if suffix == PARQUET:
        return parse_parquet(content, text=text, columns=columns, known=known)
    return parse_table(content, text=text, columns=columns, known=known)


def parse_table(
    content: bytes,
    *,
    text: Collection[str] = (),
    columns: Sequence[str] | None = None,
    known: Sequence[str] = (),
) -> Table:
    """Return the table in a UTF-8 CSV file.

    Args:
        text: columns that are kept as text.
        columns: numeric columns, in this order; by default, all other columns.
        known: the default for `columns` if there is a header.
    Raises:
        Unreadable: the file is not such a table, has no rows, or lacks a named column; a row has more or fewer cells
            than the first; or a cell is empty, not a number, not finite or beyond float32.
    """
    numbered = rows_in(content)
    top, first = next(numbered)
    if not first:
        raise Unreadable("line 1 is blank")
    header = names_in(first)
    if columns is None and header is not None and known:
        columns = known
    places, taken = columns_of(header, len(first), text, columns)
    values = array("d")
    words: dict[str, list[str]] = {name: [] for name in text}
    same: dict[str, str] = {}
    lines = array("q")
    # Without a header, the first row contains numbers.
    for line, row in itertools.chain([] if header else [(top, first)], numbered):
        if len(row) != len(first):
            above = "header" if header else "first row"
            raise Unreadable(
                f"line {line} has {len(row)} cells, but the {above} has {len(first)}; fix or delete the row"
            )
        for place in places:
            if not NUMBER.fullmatch(row[place]):
                said, is_text = no_number(row[place])
                name = header[place] if header else str(place + 1)
                where = f"line {line}, column {column_name(header, place)}"
                raise Unreadable(f"{where}: {said}", text_in=name if is_text else None)
            values.append(float(row[place]))
        for name, kept in words.items():
            word = word_of(row[taken[name]], f"line {line}, column {brief(name)}")
            kept.append(same.setdefault(word, word))
        lines.append(line)
    if not lines:
        raise Unreadable("it has a header but no rows")
    with np.errstate(over="ignore"):
        flat = np.frombuffer(values) if places else np.empty(0)
        numbers = flat.astype(np.float32).reshape(len(lines), len(places))
    large = np.argwhere(~np.isfinite(numbers))
    if len(large):
        row_of, column = large[0]
        raise Unreadable(
            f"line {lines[row_of]}, column {column_name(header, places[column])}: the number is beyond float32"
        )
    return Table(tuple(header[place] for place in places) if header else None, numbers, words, lines)


def rows_in(content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield each row of a CSV file with the number of the line on which the row ends. Raises `Unreadable`."""
    if b"\0" in content:
        raise Unreadable("it contains a zero byte, so it is not text")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"byte {error.start} is not UTF-8; save it as UTF-8") from error
    content = content.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")
    if not content:
        raise Unreadable("it is empty")
    first = content.partition(b"\n")[0]
    delimiter = ";" if first.count(b";") > first.count(b",") else ","
    # Decode piece by piece, because text takes up to four times its size in bytes.
    text = io.TextIOWrapper(io.BytesIO(content), "utf-8", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise Unreadable(f"line {reader.line_num}: {error}") from error


def names_in(first: list[str]) -> list[str] | None:
    """Return the column names if the first row is a header, or None if all cells are numbers. Raises `Unreadable`."""
    if len(first) > MOST_COLUMNS:
        raise Unreadable(f"it has {len(first):,} columns; at most {MOST_COLUMNS:,} are supported")
    numbers = [NUMBER.fullmatch(cell) is not None for cell in first]
    if all(numbers):
        return None
    names = [cell.strip() for cell in first]
    odd = [name for name in names if name.lower() in _NO_NAMES]
    if any(numbers) or odd:
        seen = odd[0] if odd else next(cell for cell, number in zip(first, numbers, strict=True) if not number)
        raise Unreadable(
            f"line 1 contains neither column names nor numbers: it has {brief(seen)}"
            + (" among numbers" if any(numbers) else "")
        )
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise Unreadable(f"column {brief(repeated[0])} appears twice in its header")
    return names


def columns_of(
    header: Sequence[str] | None, count: int, text: Collection[str], columns: Sequence[str] | None
) -> tuple[list[int], dict[str, int]]:
    """Return the indices of numeric columns, and the index of each text column by name. Raises `Unreadable`."""
    asked = [*text, *(columns or ())]
    if header is None:
        if asked:
            raise Unreadable(f"it has no header, so {', '.join(map(brief, asked))} cannot be found; add a header")
        return list(range(count)), {}
    places = {name: place for place, name in enumerate(header)}
    for name in asked:
        if name not in places:
            raise Unreadable(f"it has no column {brief(name)}; {cut(did_you_mean(name, header), 300)}")
    chosen = columns if columns is not None else [name for name in header if name not in text]
    if not chosen and columns is None:
        raise Unreadable(f"it has no columns besides {', '.join(map(brief, text))}")
    return [places[name] for name in chosen], {name: places[name] for name in text}


def column_name(header: Sequence[str] | None, place: int) -> str:
    """Return the name of a column for an error message or, without a header, the column's number (from 1)."""
    return brief(header[place]) if header else str(place + 1)


def no_number(cell: str) -> tuple[str, bool]:
    """Return the reason why a cell is not a number, and whether the cell contains text."""
    word = cell.strip().lower()
    if not word:
        return f"the cell is empty; {FILL_IN}", False
    if word in MISSING:
        return f"{brief(cell)} is a missing value; {FILL_IN}", False
    if re.fullmatch(r" *[+-]?[0-9]+,[0-9]+ *", cell):
        return f"{brief(cell)} has a decimal comma; write a point", False
    return f"{brief(cell)} is not a number", True


def word_of(cell: str, where: str) -> str:
    """Return the text in a cell, which must be a valid name. Raises `Unreadable`."""
    word = cell.strip()
    if not word or not word.isprintable():
        raise Unreadable(f"{where}: {brief(cell)} is not a name")
    return word


def parse_parquet(
    content: bytes, *, text: Collection[str] = (), columns: Sequence[str] | None = None, known: Sequence[str] = ()
) -> Table:
    """Read a Parquet file with the arguments of `parse_table`, but without a guaranteed memory limit.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    with _parquet(content) as file:
        names, rows = _columns_of_parquet(file), file.metadata.num_rows
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


@contextlib.contextmanager
def _parquet(content: bytes) -> Iterator[Any]:
    """Open a file with pyarrow, and convert pyarrow's errors to `Unreadable`. Raises `MissingExtraError`."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError.of("pyarrow", "data") from error
    try:
        yield parquet.ParquetFile(io.BytesIO(content))
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, NotImplementedError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"pyarrow cannot read it as a Parquet file ({reason(error)})") from error


def _columns_of_parquet(file: Any) -> list[str]:
    """Return the column names. Raises `Unreadable` if a table has too many cells, no rows or a repeated column name."""
    names, rows = list(file.schema_arrow.names), file.metadata.num_rows
    if len(names) > MOST_COLUMNS or rows * len(names) > MOST_CELLS:
        raise Unreadable(f"it has {rows:,} rows of {len(names):,} columns, more than about {MOST_CELLS:,} cells")
    if not rows or len(set(names)) < len(names):
        raise Unreadable("it has no rows" if not rows else "two of its columns have the same name")
    return names


def _numbers(column: Any, name: str) -> NDArray[np.float32]:
    """Convert a pyarrow column to float32."""
    if column.null_count:
        row = column.is_null().to_pylist().index(True) + 1
        raise Unreadable(f"row {row}, column {brief(name)}: the cell is empty; {FILL_IN}")
    values = np.asarray(column.to_numpy())
    if values.dtype.kind not in "biuf":
        raise Unreadable(f"column {brief(name)}: its type is {column.type}, not a number", text_in=name)
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

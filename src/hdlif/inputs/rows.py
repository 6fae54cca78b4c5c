"""Parse the lines of a CSV file as they arrive, following the rules of `hdlif.inputs.tables`.

A row is one line of at most `MOST_LINE` bytes, so cells cannot contain line breaks.
"""

import codecs
import csv
import math
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from hdlif.errors import brief, cut
from hdlif.inputs import Unreadable
from hdlif.inputs.series import Floats
from hdlif.inputs.tables import MISSING, NUMBER, column_name, columns_of, names_in, no_number

GAPS = ("stop", "hold", "zero")
"""Options for a missing number: end with an error, keep the channel's last value, or use 0."""
MOST_LINE = 2**17
"""Maximum length of a line in bytes."""
_BREAK = re.compile(rb"\r\n|\n|\r")


class Gaps:
    """A policy from `GAPS` for missing numbers (NaN); `start` contains the values to hold before the first row."""

    def __init__(self, policy: str, start: Sequence[float]) -> None:
        self._policy, self._last = policy, np.array(start, np.float32)

    def fill(self, rows: Floats, where: Callable[[int, int], str]) -> Floats:
        """Return rows [N, C] with all gaps filled.

        Args:
            where: returns a description of a gap at a row and a column.
        Raises:
            Unreadable: there is a gap and the policy is "stop".
        """
        missing = np.isnan(rows)
        if missing.any():
            if self._policy == "stop":
                row, column = np.argwhere(missing)[0]
                raise Unreadable(where(int(row), int(column)))
            rows = rows.copy()
            last = np.zeros_like(self._last) if self._policy == "zero" else self._last
            for row, gaps in zip(rows, missing, strict=True):
                row[gaps] = last[gaps]
                last = row if self._policy == "hold" else last
        if len(rows):
            self._last = rows[-1]
        return rows


FILL = "fill it in, or set how to fill gaps: hold or zero (hdlif run: --gaps)"
"""Advice in errors about a missing number."""


class Lines:
    """A splitter that divides a byte stream into lines, which end in LF, CR LF or CR."""

    def __init__(self) -> None:
        self._rest, self._number, self._after_return = bytearray(), 0, False

    def push(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the number and content of each line that a block of bytes completes. Raises `Unreadable`."""
        if self._after_return and block.startswith(b"\n"):
            block = block[1:]
            self._after_return = False
        if block:
            self._after_return = block.endswith(b"\r")
        *ended, rest = _BREAK.split(block)
        for piece in ended:
            yield self._line(piece)
        self._keep(rest)

    def end(self) -> Iterator[tuple[int, bytes]]:
        """Yield the last line if it has no line break at the end."""
        if self._rest:
            yield self._line(b"")

    def _line(self, piece: bytes) -> tuple[int, bytes]:
        self._keep(piece)
        self._number += 1
        line = bytes(self._rest)
        self._rest.clear()
        return self._number, line

    def _keep(self, piece: bytes) -> None:
        if len(self._rest) + len(piece) > MOST_LINE:
            raise Unreadable(
                f"line {self._number + 1} has more than {MOST_LINE:,} bytes, so it is not a row of numbers"
            )
        self._rest += piece


class Rows:
    """A parser that converts lines to rows of numbers, and matches `known` channels by name if there is a header.

    Lines that are not rows of numbers raise `Unreadable` or, with `skips`, are skipped.

    Attributes:
        label: the latest row's cell in the column `target`, or "" without such a column.
        skipped: number of skipped lines.
    """

    def __init__(
        self,
        known: Sequence[str],
        channels: int,
        gaps: Gaps,
        target: str | None = None,
        *,
        skips: bool = False,
    ) -> None:
        self._known, self._channels, self._gaps, self._skips = known, channels, gaps, skips
        self._target, self.label = () if target is None else (target,), ""
        self._delimiter = ","
        self._header: list[str] | None = None
        self._cells = 0
        self._places: list[int] = []
        self._labels: dict[str, int] = {}
        self._blank = self.skipped = 0

    def row(self, number: int, line: bytes) -> Floats | None:
        """Return a row as float32 [1, C], or None for the header, blank lines and skipped lines.

        Raises `Unreadable`.
        """
        try:
            cells = self._split(number, line)
            if cells is None or (not self._cells and self._begins(cells)):
                return None
            row = self._numbers(number, cells)
        except Unreadable:
            # A header without the network's channels fails all rows after it.
            if not self._skips or (self._header and not self._cells):
                raise
            self.skipped += 1
            return None

        def gap(_: int, column: int) -> str:
            cell = cells[self._places[column]].strip()
            what = f"{brief(cell)} is a missing value" if cell else "the cell is empty"
            return self._at(number, self._places[column], f"{what}; {FILL}")

        return self._gaps.fill(row, gap)

    def _split(self, number: int, line: bytes) -> list[str] | None:
        """Return the cells of a line, or None if the line is blank."""
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if not line:
            self._blank = self._blank or number
            return None
        if self._blank and not self._skips:
            raise Unreadable(f"line {self._blank} is blank; delete it")
        if b"\0" in line:
            raise Unreadable(f"line {number} contains a zero byte, so it is not text")
        if not self._cells:
            self._delimiter = ";" if line.count(b";") > line.count(b",") else ","
        try:
            return next(csv.reader([line.decode()], delimiter=self._delimiter, strict=True))
        except UnicodeDecodeError:
            raise Unreadable(f"line {number} is not UTF-8; send UTF-8") from None
        except csv.Error as error:
            raise Unreadable(f"line {number}: {error}") from error

    def _begins(self, cells: list[str]) -> bool:
        """Return whether the first row is a header."""
        self._header = names_in([cell.strip() for cell in cells])
        known = self._known if self._header and self._known else None
        if known and (absent := [name for name in known if name not in (self._header or ())]):
            raise Unreadable(
                f"its header has no column {brief(absent[0])}, but the network takes {cut(', '.join(known), 200)}; "
                "name each in line 1"
            )
        self._places, self._labels = columns_of(self._header, len(cells), self._target, known)
        if len(self._places) != self._channels:
            raise Unreadable(f"it has {len(self._places)} columns, but the network takes {self._channels}")
        self._cells = len(cells)
        return self._header is not None

    def _numbers(self, number: int, cells: list[str]) -> Floats:
        """Return the channels of a row as float32 [1, C], with NaN for missing numbers."""
        if len(cells) != self._cells:
            above = "header" if self._header else "first row"
            raise Unreadable(
                f"line {number} has {len(cells)} cells, but the {above} has {self._cells}; fix or delete the row, or "
                "skip such lines (hdlif run: --bad-lines skip)"
            )
        values = []
        self.label = "".join(cells[place].strip() for place in self._labels.values())
        for place in self._places:
            cell = cells[place].strip()
            if NUMBER.fullmatch(cell):
                values.append(float(cell))
            elif not cell or cell.lower() in MISSING:
                values.append(math.nan)
            else:
                raise Unreadable(self._at(number, place, no_number(cell)[0]))
        with np.errstate(over="ignore"):
            row = np.array([values], np.float32)
        if np.isinf(row).any():
            place = self._places[int(np.isinf(row[0]).argmax())]
            raise Unreadable(self._at(number, place, "the number is beyond float32"))
        return row

    def _at(self, number: int, place: int, what: str) -> str:
        return f"line {number}, column {column_name(self._header, place)}: {what}"

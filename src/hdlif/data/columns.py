"""Read inputs, targets and groups from the columns of a .csv or .parquet file."""

import json
import os
import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdlif.data.arrays import content_of
from hdlif.data.own_data import Placed
from hdlif.data.targets import Wanted
from hdlif.errors import DataError, brief, did_you_mean
from hdlif.inputs import Unreadable
from hdlif.inputs.datasets import where_had
from hdlif.inputs.tables import PARQUET, Table, header_of, parse_named

LABEL = "label"
"""Default name of the column with classes."""
_MOST_SHOWN = 16


@dataclass(frozen=True, kw_only=True)
class Tabular(Placed):
    """A request to load data stored as table rows.

    Attributes:
        label: the column of classes; `LABEL` by default.
        group: the column of groups; all rows of a group stay in one part.
        columns: the input columns; by default all except label and group.
    """

    label: str | None = None
    group: str | None = None
    columns: Sequence[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (columns := self.columns) is not None and (not columns or len(set(columns)) < len(columns)):
            raise ValueError(f"columns = {list(columns)} is refused; name one or more, each once")

    def existing_place(self, what: str) -> Path:
        """Return the absolute path, or raise `DataError` if it does not exist. Raises `ValueError` if `size` is set."""
        place = self.place()
        if self.size is not None:
            raise ValueError(f"size = {self.size} is refused; leave it out")
        # os.path returns False for names that cannot exist; Path's own methods raise if a name is too long.
        if not os.path.lexists(place):
            had = where_had(place.name) or f"; give the path of {what}"
            raise DataError(f"{place}: there is no such file or folder{had}")
        return place

    @property
    def known_columns(self) -> tuple[str, ...]:
        """The input columns of an existing network, which are matched by name if the file has a header."""
        return self.known.columns if self.known else ()


@dataclass(frozen=True)
class TableRows:
    """Inputs, targets and groups from the rows of a table, with a description of the table."""

    table: Table
    classes: list[str] | None
    learned: NDArray[np.float32] | None
    groups: list[str] | None
    words: str


def rows_of(place: Path, request: Tabular) -> TableRows:
    """Read the input, target and group columns of a table. Raises `DataError`."""
    group, columns, known, wanted = request.group, request.columns, request.known_columns, request.wanted
    text = text_columns(place, request.label, group, labelled=wanted.classes)
    if columns is not None:
        columns = [*columns, *(name for name in wanted.names if name not in columns)]
    known = (*known, *wanted.names) if known else known
    content, suffix = content_of(place), place.suffix.lower()
    try:
        whole = parse_named(content, suffix, text=text, columns=columns, known=known)
    except Unreadable as error:
        fix = ""
        if text and f"no column '{LABEL}'" in str(error):
            fix = "; name the one that holds the classes: --set data.label=NAME"
        elif error.text_in is not None:
            of_group = "; or, if it names the row's group, --set data.group=NAME" if text else ""
            fix = f"; {without(error.text_in, content, suffix, text)}{of_group}"
        raise DataError(f"{place}: {error}{fix}") from error
    table, learned = _without_targets(place, whole, wanted)
    return TableRows(
        table,
        whole.words[text[0]] if wanted.classes else None,
        learned,
        whole.words[group] if group else None,
        said_of(text[0] if wanted.classes else None, group),
    )


def said_of(label: str | None, group: str | None) -> str:
    """Describe which columns contain classes and groups.

    >>> said_of("label", "who")
    ', labels in "label", groups in "who"'
    """
    return (f', labels in "{label}"' if label else "") + (f', groups in "{group}"' if group else "")


def text_columns(place: Path, label: str | None, group: str | None, *, labelled: bool = True) -> list[str]:
    """Return the name of the class column if `labelled` is true, and the name of the group column if there is one.

    Raises `DataError` if the class column and the group column are the same.
    """
    text = [*([label or LABEL] if labelled else []), *([group] if group else [])]
    if len(set(text)) < len(text):
        raise DataError(f'{place}: data.label and data.group are both "{group}"; give two columns')
    return text


def without(odd: str, content: bytes, suffix: str, text: Sequence[str] = ()) -> str:
    """Describe how to omit the column `odd` from a table whose text columns are `text`."""
    header = header_of(content, suffix)
    return leaving_out(header and [name for name in header if name not in text], {odd})


def leaving_out(names: Sequence[str] | None, odd: Collection[str]) -> str:
    """Describe how to omit columns.

    >>> leaving_out(["time", "ax", "ay"], ["time"])
    "leave it out by naming the others: --set 'data.columns=[ax, ay]'"
    >>> leaving_out(None, ["column 1"])
    'leave it out: delete it, or add a header, so that data.columns can name the others'

    Args:
        names: the names of all columns; None without a header.
    """
    if names is None:
        return "leave it out: delete it, or add a header, so that data.columns can name the others"
    others = [name for name in names if name not in odd]
    if not others or len(others) > _MOST_SHOWN:
        return "leave it out by naming the others with data.columns"
    setting = f"data.columns=[{', '.join(map(_in_yaml, others))}]"
    return f"leave it out by naming the others: --set {shlex.quote(setting)}"


def _in_yaml(name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_]\w*", name) and name.lower() not in ("true", "false", "null")
    return name if plain else json.dumps(name, ensure_ascii=False)


def channel_names(table: Table) -> tuple[str, ...]:
    """Return the column names of a table, or numbered names if the table has no header."""
    return table.names or tuple(f"column {number}" for number in range(1, table.numbers.shape[1] + 1))


def _without_targets(place: Path, table: Table, wanted: Wanted) -> tuple[Table, NDArray[np.float32] | None]:
    """Separate targets and inputs. Raises `DataError` if a target column is missing or no input column remains."""
    if not wanted.names:
        return table, None
    names = channel_names(table)
    if missing := [name for name in wanted.names if name not in names]:
        key = "values" if wanted.values else "labels"
        raise DataError(
            f"{place}: column {brief(missing[0])} of data.{key} does not exist; {did_you_mean(missing[0], names)}"
        )
    places = [names.index(name) for name in wanted.names]
    kept = [number for number in range(len(names)) if number not in places]
    if not kept:
        raise DataError(f"{place}: all numeric columns are targets; leave at least one as input")
    learned = table.numbers[:, places]
    check_labels(place, table, learned, wanted)
    named = None if table.names is None else tuple(names[number] for number in kept)
    return replace(table, numbers=table.numbers[:, kept], names=named), learned


def check_labels(place: Path, table: Table, learned: NDArray[np.float32], wanted: Wanted) -> None:
    """Raise `DataError` if a label is neither 0 nor 1."""
    if wanted.labels is not None and len(odd := np.argwhere(~np.isin(learned, (0, 1)))):
        row, column = odd[0]
        raise DataError(
            f"{place}: {line_word(place)} {table.lines[row]}, column {brief(wanted.labels[column])}: "
            f"{learned[row, column]:g} is not a label; write 1 if the sample has the label, 0 if not"
        )


def line_word(place: Path) -> str:
    """Return the word for an entry of `Table.lines`: "row" for a Parquet file, and "line" for a text file."""
    return "row" if place.suffix.lower() == PARQUET else "line"

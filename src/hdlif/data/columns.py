"""Columns of a .csv or .parquet file: those that are shown, those that are learned, and the one of groups."""

import json
import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdlif.data.arrays import content_of
from hdlif.data.targets import Wanted
from hdlif.errors import DataError, brief, did_you_mean
from hdlif.inputs import Unreadable
from hdlif.inputs.tables import PARQUET, Table, header_of, parse_named

LABEL = "label"
"""The column that holds the classes, where the recipe names no other."""
_MOST_SHOWN = 16
"""Columns that are named to be kept."""


@dataclass(frozen=True)
class TableRows:
    """The rows of a file.

    Attributes:
        table: what is shown of each.
        classes: of each, where they are learned.
        learned: values or labels of each [rows, names], where they are.
        groups: of whom or what each is; nothing where that is not said.
        words: where classes and groups stand, for who reads it.
    """

    table: Table
    classes: list[str] | None
    learned: NDArray[np.float32] | None
    groups: list[str] | None
    words: str


def rows_of(
    place: Path,
    *,
    label: str | None,
    group: str | None,
    columns: Sequence[str] | None,
    known: Sequence[str],
    wanted: Wanted,
) -> TableRows:
    """Read a file whose columns are features, or channels, and what is learned.

    Args:
        label: the column of classes; `LABEL` by default.
        group: the column of groups.
        columns: that are shown; all others by default.
        known: those of a network that is there already, taken by name where the file has a header.
    Raises:
        DataError: it is no such table, or a column is not as it should be.
    """
    text = text_columns(place, label if wanted.classes else None, group, labelled=wanted.classes)
    if columns is not None:
        columns = [*columns, *(name for name in wanted.names if name not in columns)]
    known = [*known, *wanted.names] if known else known
    whole = table_at(place, content_of(place), text=text, columns=columns, known=known)
    table, learned = _without_targets(place, whole, wanted)
    return TableRows(
        table,
        whole.words[text[0]] if wanted.classes else None,
        learned,
        whole.words[group] if group else None,
        said_of(text[0] if wanted.classes else None, group),
    )


def said_of(label: str | None, group: str | None) -> str:
    """Where classes and groups stand, in words.

    >>> said_of("label", "who")
    ', labels in "label", groups in "who"'
    """
    return (f', labels in "{label}"' if label else "") + (f', groups in "{group}"' if group else "")


def text_columns(place: Path, label: str | None, group: str | None, *, labelled: bool = True) -> list[str]:
    """The columns of classes, if `labelled`, and, where there are any, of groups.

    Raises:
        DataError: they are one.
    """
    text = [*([label or LABEL] if labelled else []), *([group] if group else [])]
    if len(set(text)) < len(text):
        raise DataError(f'{place}: data.label and data.group are both "{group}"; give two columns')
    return text


def table_at(
    path: Path,
    content: bytes,
    *,
    text: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    known: Sequence[str] = (),
) -> Table:
    """The table of a .csv or .parquet file. Raises `DataError`."""
    try:
        return parse_named(content, path.suffix.lower(), text=text, columns=columns, known=known)
    except Unreadable as error:
        said = str(error)
        mend = ""
        if text and f"no column '{LABEL}'" in said:
            mend = "; name the one that holds the classes: --set data.label=NAME"
        elif error.text_in is not None:
            of_group = "; where it says of whom the row is, --set data.group=NAME" if text else ""
            mend = f"{of_group}; {without(error.text_in, content, path.suffix.lower(), text)}"
        raise DataError(f"{path}: {said}{mend}") from error


def without(odd: str, content: bytes, suffix: str, text: Sequence[str] = ()) -> str:
    """How to leave out a column of a table, where those of `text` are not among its numbers anyway."""
    header = header_of(content, suffix)
    return leaving_out(header and [name for name in header if name not in text], {odd})


def leaving_out(names: Sequence[str] | None, odd: Collection[str]) -> str:
    """How to leave columns out.

    >>> leaving_out(["time", "ax", "ay"], ["time"])
    "leave it out by naming the others: --set 'data.columns=[ax, ay]'"
    >>> leaving_out(None, ["column 1"])
    'leave it out: cut it, or add a header, so that data.columns can name the others'

    Args:
        names: of all columns; None where no header says them.
        odd: those to leave out.
    """
    if names is None:
        return "leave it out: cut it, or add a header, so that data.columns can name the others"
    others = [name for name in names if name not in odd]
    if not others or len(others) > _MOST_SHOWN:
        return "leave it out by naming the others with data.columns"
    setting = f"data.columns=[{', '.join(map(_in_yaml, others))}]"
    return f"leave it out by naming the others: --set {shlex.quote(setting)}"


def _in_yaml(name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_]\w*", name) and name.lower() not in ("true", "false", "null")
    return name if plain else json.dumps(name, ensure_ascii=False)


def channel_names(table: Table) -> tuple[str, ...]:
    """Those of the header, or numbers."""
    return table.names or tuple(f"column {number}" for number in range(1, table.numbers.shape[1] + 1))


def _without_targets(place: Path, table: Table, wanted: Wanted) -> tuple[Table, NDArray[np.float32] | None]:
    """A table without the columns of values or labels that are learned, and these, if there are any.

    Raises:
        DataError: one is not there, nothing else is, or a label is neither there, 1, nor not, 0.
    """
    if not wanted.names:
        return table, None
    names = channel_names(table)
    if missing := [name for name in wanted.names if name not in names]:
        key = "values" if wanted.values else "labels"
        raise DataError(
            f"{place}: has no column {brief(missing[0])}, which data.{key} names; {did_you_mean(missing[0], names)}"
        )
    places = [names.index(name) for name in wanted.names]
    kept = [number for number in range(len(names)) if number not in places]
    if not kept:
        raise DataError(f"{place}: all columns of numbers are to be learned; leave one or more to learn from")
    learned = table.numbers[:, places]
    check_labels(place, table, learned, wanted)
    named = None if table.names is None else tuple(names[number] for number in kept)
    return replace(table, numbers=table.numbers[:, kept], names=named), learned


def check_labels(place: Path, table: Table, learned: NDArray[np.float32], wanted: Wanted) -> None:
    """Raise `DataError` where labels are learned and one is neither there, 1, nor not, 0."""
    if wanted.labels is None:
        return
    if len(odd := np.argwhere(~np.isin(learned, (0, 1)))):
        row, column = odd[0]
        raise DataError(
            f"{place}: {line_word(place)} {table.lines[row]}, column {brief(wanted.labels[column])}: "
            f"{learned[row, column]:g} is not a label: it is 1 where a sample has it, and 0 where not"
        )


def line_word(place: Path) -> str:
    """What `Table.lines` counts in such a file."""
    return "row" if place.suffix.lower() == PARQUET else "line"


def check_columns(columns: Sequence[str] | None) -> None:
    """Raise `ValueError` on a choice of columns that has none, or one twice."""
    if columns is not None and (not columns or len(set(columns)) < len(columns)):
        raise ValueError(f"columns = {list(columns)} is refused; name one or more, each once")

"""The user's own tables as a data set: each row a sample, its features the same at every time step."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hdlif.data.found import Found
from hdlif.data.found_samples import found_samples
from hdlif.data.places import checked_columns, own_place
from hdlif.data.recorded_series import (
    Recorded,
    arrays_at,
    content_of,
    kept_together,
    of_values,
    table_at,
    text_columns,
)
from hdlif.data.shares import shares_of
from hdlif.errors import DataError
from hdlif.inputs import tables
from hdlif.inputs.series import Floats
from hdlif.ops import InputRecord

MOST_ROWS = 2**20


def find_table(
    root: Path | None,
    *,
    size: int | None,
    known: InputRecord | None,
    say: Callable[[str], None] = lambda line: None,
    path: str,
    label: str | None = None,
    group: str | None = None,
    columns: Sequence[str] | None = None,
    split: Mapping[str, float] | None = None,
) -> Found:
    """Look at a table: a .csv or .parquet file with a column of labels, or arrays x [N, F] and y [N].

    Args:
        root: the folder that a relative path starts from; the working folder by default.
        size: None; rows have no such size.
        known: what a network that is there already takes; nothing is then measured, and its columns are found by name.
        say: gets nothing: all is read in one go.
        label: the column that holds the classes; "label" by default.
        group: the column that says who or what a row is of: none is in two parts.
        columns: that are features; all but label and group by default.
        split: shares {validation: 0.15, test: 0.15, seed: 0}.
    Raises:
        DataError: there is no such table, or it cannot be used.
        ValueError: an argument that none can be, or that such data do not take.
    """
    shares = shares_of(split)
    place = own_place(root, path)
    if size is not None:
        raise ValueError(f"size = {size} is refused; leave it out")
    checked_columns(columns)
    recorded = _recorded(place, label=label, group=group, columns=columns, known=known.columns if known else ())
    return found_samples(place, recorded, shares, known=known, kind="table")


def _recorded(
    place: Path, *, label: str | None, group: str | None, columns: Sequence[str] | None, known: Sequence[str]
) -> Recorded:
    # os.path says no to what is no path; Path's own methods raise, at a name that is too long.
    if not os.path.lexists(place):
        raise DataError(f"{place}: there is no such file or folder; give the path of a table")
    if place.suffix.lower() in tables.SUFFIXES:
        return _of_file(place, label=label, group=group, columns=columns, known=known)
    if place.suffix.lower() == ".npz" or os.path.lexists(place / "x.npy"):
        for key, value in (("label", label), ("group", group), ("columns", columns)):
            if value is not None:
                raise ValueError(f"{key} = {value} is not of arrays x and y, which {place} is; leave it out")
        layout, x, y = arrays_at(place, (2,), "[N, F]")
        return _of_rows(layout, x, y, [f"x[{number}]" for number in range(len(y))])
    raise DataError(
        f'{place}: its name ends in "{place.suffix}"; give a .csv or .parquet file with a column of labels, a .npz '
        "file with arrays x [N, F] and y [N], or a folder with x.npy and y.npy"
    )


def _of_file(
    place: Path, *, label: str | None, group: str | None, columns: Sequence[str] | None, known: Sequence[str]
) -> Recorded:
    text = text_columns(place, label, group)
    table = table_at(place, content_of(place), text=text, columns=columns, known=known)
    names = [f"{place.name}:{line}" for line in table.lines]
    recorded = _of_rows(f'a table, labels in "{text[0]}"', table.numbers, table.words[text[0]], names)
    if group is not None:
        units = zip(recorded.series, table.words[group], strict=True)
        recorded = replace(
            recorded,
            layout=f'{recorded.layout}, groups in "{group}"',
            unit=kept_together(group, "row"),
            series=[replace(one, unit=unit) for one, unit in units],
            grouped=True,
        )
    return replace(recorded, channels=table.names)


def _of_rows(layout: str, rows: Floats, labels: Sequence[str], names: Sequence[str]) -> Recorded:
    """Each row as a sample of one step."""
    if len(rows) > MOST_ROWS:
        raise DataError(f"the table has {len(rows):,} rows, and at most {MOST_ROWS:,} are taken; take fewer")
    samples = [of_values(name, label, None, row[None]) for name, label, row in zip(names, labels, rows, strict=True)]
    return Recorded(layout, "row", samples, seen={})

"""The user's own tables as a data set: each row a sample, its features the same at every time step."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hdlif.data.arrays import arrays_at
from hdlif.data.columns import check_columns, rows_of
from hdlif.data.own_data import OwnData, Request, Sample, own_place
from hdlif.data.split import shares_of
from hdlif.data.targets import Scale, Wanted
from hdlif.data.value_samples import Recorded, find_samples, kept_together, of_arrays, of_target
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
    split: Mapping[str, float | Sequence[str | int]] | None = None,
    scale: Scale | None = None,
    values: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
) -> OwnData:
    """Look at a table: a .csv or .parquet file with a column of labels, or arrays x [N, F] and y [N].

    Args:
        root: the folder that a relative path starts from; the working folder by default.
        size: None; rows have no such size.
        known: what a network that is there already takes; nothing is then measured, and its columns are found by name.
        say: gets nothing: all is read in one go.
        label: the column that holds the classes; "label" by default.
        group: the column that says who or what a row is of: none is in two parts.
        columns: that are features; all but label and group by default.
        split: shares {validation: 0.15, test: 0.15, seed: 0}; in place of a share, names of groups.
        scale: mean and deviation by which a network that is there already has its values normalised.
        values, labels: the columns, or the names of y's last axis, that are learned in place of a class: values, or
            labels, 1 where a row has one and 0 where not.
    Raises:
        DataError: there is no such table, or it cannot be used.
        ValueError: an argument that none can be, or that such data do not take.
    """
    wanted = Wanted(values=values, labels=labels)
    request = Request(shares_of(split), wanted, known, scale, None, say)
    place = own_place(root, path)
    if size is not None:
        raise ValueError(f"size = {size} is refused; leave it out")
    check_columns(columns)
    names = known.columns if known else ()
    recorded = _recorded(place, label=label, group=group, columns=columns, known=names, wanted=wanted)
    return find_samples(place, recorded, request, kind="table")


def _recorded(
    place: Path,
    *,
    label: str | None,
    group: str | None,
    columns: Sequence[str] | None,
    known: Sequence[str],
    wanted: Wanted,
) -> Recorded:
    # os.path says no to what is no path; Path's own methods raise, at a name that is too long.
    if not os.path.lexists(place):
        raise DataError(f"{place}: there is no such file or folder; give the path of a table")
    if place.suffix.lower() in tables.SUFFIXES:
        return _of_file(place, label=label, group=group, columns=columns, known=known, wanted=wanted)
    if place.suffix.lower() == ".npz" or os.path.lexists(place / "x.npy"):
        for key, value in (("label", label), ("group", group), ("columns", columns)):
            if value is not None:
                raise ValueError(f"{key} = {value} is not of arrays x and y, which {place} is; leave it out")
        found = arrays_at(place, (2,), "[N, F]", wanted)
        names = [f"x[{number}]" for number in range(len(found.y))]
        return of_arrays(found, "row", _rows(found.x, found.y, names, wanted), seen={})
    raise DataError(
        f'{place}: its name ends in "{place.suffix}"; give a .csv or .parquet file with a column of labels, a .npz '
        "file with arrays x [N, F] and y [N], or a folder with x.npy and y.npy"
    )


def _of_file(
    place: Path,
    *,
    label: str | None,
    group: str | None,
    columns: Sequence[str] | None,
    known: Sequence[str],
    wanted: Wanted,
) -> Recorded:
    found = rows_of(place, label=label, group=group, columns=columns, known=known, wanted=wanted)
    names = [f"{place.name}:{line}" for line in found.table.lines]
    learned = found.classes or list(found.learned if found.learned is not None else ())
    samples = _rows(found.table.numbers, learned, names, wanted)
    recorded = Recorded(f"a table{found.words}", "row", samples, seen={}, channels=found.table.names)
    if found.groups is None:
        return recorded
    samples = [replace(one, unit=unit) for one, unit in zip(samples, found.groups, strict=True)]
    return replace(recorded, unit=kept_together(group, "row"), samples=samples, grouped=True)


def _rows(rows: Floats, learned: Sequence[Any], names: Sequence[str], wanted: Wanted) -> list[Sample]:
    """Each row as a sample of one step."""
    if len(rows) > MOST_ROWS:
        raise DataError(f"the table has {len(rows):,} rows, and at most {MOST_ROWS:,} are taken; take fewer")
    return [
        of_target(name, None, row[None], target, wanted) for name, target, row in zip(names, learned, rows, strict=True)
    ]

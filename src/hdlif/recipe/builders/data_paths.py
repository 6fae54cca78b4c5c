"""Where data of the user's own lie: the kind at a path, and whether anything is there."""

from __future__ import annotations

import os
from collections.abc import Collection

from hdlif.datasets import SAVED_BY_DATASETS
from hdlif.errors import RecipeError, cut
from hdlif.inputs.pictures import FORMATS
from hdlif.inputs.recordings import READERS
from hdlif.inputs.sounds import SUFFIX
from hdlif.inputs.tables import SUFFIXES as TABLES
from hdlif.recipe.builders.installed import own_or_one_of
from hdlif.recipe.builders.own_kinds import FOUND, is_items

_SERIES_OR_TABLE = ("series", "table")


def kind_at(path: str, otherwise: str = "folder") -> str:
    """Return the kind of data at a path.

    A folder is of series where it has x.npy, or folders with .csv or .wav files and no pictures, and of events where
    these have recordings alone; without such folders, it is of the pictures or recordings that lie beside a table. A
    file is of series where its name ends so. One that may be a table as well is of the kind `otherwise` where that is
    one of the two. Where .tar files lie, or are named, they are shards; package.module:Name is a kind itself, and so is
    what a package offers under a name at which nothing lies.

    Args:
        otherwise: the kind where nothing tells, which then says what it misses.
    """
    found = _kinds_at(path)
    return otherwise if otherwise in found or not found else found[0]


def kind_by_keys(path: str, keys: Collection[str]) -> str:
    """Return the kind of data at a path; a file of rows is a recording if it is to be cut into windows, else a table.

    Args:
        keys: of the section `data` that are set.
    """
    rows = path.lower().endswith(TABLES)
    return kind_at(path, "table" if rows and "window" not in keys else "folder")


def _kinds_at(path: str) -> tuple[str, ...]:
    # os.path says no to what is no path; Path's own methods raise, at a name that is too long.
    if not os.path.isdir(path):  # noqa: PTH112
        if is_items(path) and not os.path.lexists(path):
            return (path,)
        if path.lower().endswith(".tar"):
            return ("shards",)
        return _SERIES_OR_TABLE if path.lower().endswith((".csv", ".npz", ".npy", ".parquet")) else ()
    if os.path.lexists(os.path.join(path, "x.npy")):  # noqa: PTH118
        return _SERIES_OR_TABLE
    if any(os.path.isfile(os.path.join(path, name)) for name in SAVED_BY_DATASETS):  # noqa: PTH113, PTH118
        return ("arrow",)
    if any(name.lower().endswith(".tar") for name in next(os.walk(path), ("", [], []))[2]):
        return ("shards",)
    series = recordings = False
    loose: set[str] = set()
    for number, (_, folders, files) in enumerate(os.walk(path)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        ends = {os.path.splitext(name)[1].lower() for name in files} - {""}  # noqa: PTH122
        # What lies beside the folders of classes is of none; without such, a table may say what is learned of it.
        if not number:
            loose = set() if ends.isdisjoint(TABLES) else ends
            continue
        if not ends.isdisjoint(FORMATS):
            return ("folder",)
        series = series or not ends.isdisjoint({".csv", SUFFIX})
        recordings = recordings or not ends.isdisjoint(READERS)
    if series or recordings:
        return ("series",) if series else ("events",)
    return ("folder",) if not loose.isdisjoint(FORMATS) else ("events",) if not loose.isdisjoint(READERS) else ()


def kind_named(name: object) -> str:
    """Return the name if it is one of a kind. Raises `RecipeError`."""
    if not is_items(name) and name not in FOUND:
        raise RecipeError(f'data.kind = "{cut(str(name))}" is unknown; {own_or_one_of(name, FOUND)}')
    return str(name)


def is_there(data: str) -> bool:
    """Return whether `--data` names data of the user's own: an existing path, a pattern of shards,
    package.module:Name, or a name that an installed package offers.
    """
    # os.path says no to what is no path; Path's own methods raise, at a name that is too long.
    there = os.path.exists(data)  # noqa: PTH110
    return there or (data.lower().endswith(".tar") and not set("*?[{").isdisjoint(data)) or is_items(data)


def kind_of(samples: str | None) -> str:
    """Return the kind of data with samples of a kind of input; "folder" if there is none."""
    return next((name for name, kind in FOUND.items() if kind.samples == samples), "folder")

"""Arrays of the user's own: x, what is learned, and of whom and in which part of the data each sample is."""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hdlif.data.manifest import Part
from hdlif.data.split import parts_named
from hdlif.data.targets import Wanted, array_targets
from hdlif.errors import DataError, brief, reason
from hdlif.inputs import MOST_BYTES, Unreadable
from hdlif.inputs.arrays import parse_archive, parse_array, parse_labels
from hdlif.inputs.series import Floats, finite
from hdlif.whole_files import read_regular

NEEDED = ("x", "y")
OPTIONAL = ("group", "part")


@dataclass(frozen=True)
class Arrays:
    """What arrays hold of N samples.

    Attributes:
        layout: in words.
        x: float32 [N, ...].
        y: of each, what is learned; nothing where that is what comes next.
        groups: of whom or what each is: no group is in two parts.
        parts: of the data that each is in.
    """

    layout: str
    x: Floats
    y: list[Any]
    groups: list[str] | None
    parts: list[Part] | None


def arrays_at(
    place: Path,
    dimensions: Collection[int],
    accepted: str,
    wanted: Wanted,
    *,
    read_x: Callable[[NDArray[Any]], Floats] = finite,
) -> Arrays:
    """The arrays of a .npz file, or of a folder of .npy files: x, y, and where there are any group [N] and part [N].

    Args:
        dimensions: that x may have, which are called `accepted`.
        wanted: what y is to be; of values that come next there is none.
        read_x: x as float32.
    Raises:
        DataError: they are something else.
    """
    folder = os.path.isdir(place)  # noqa: PTH112 - it says no to what is no path
    needed = NEEDED[:1] if wanted.ahead is not None else NEEDED
    files = _of_folder(place, needed) if folder else _of_archive(place, needed)
    if missing := [name for name in needed if name not in files]:
        raise DataError(f"{place}: has no array {missing[0]}; give x {accepted} and y [N], by numpy.savez")
    words: dict[str, list[str]] = {}
    read = "x"
    try:
        array = parse_array(files["x"])
        if array.ndim not in dimensions or not array.size:
            raise Unreadable(f"it is {list(array.shape)}, and should be {accepted}")
        x = read_x(array)
        for read in OPTIONAL:
            if read in files:
                words[read] = list(map(str, parse_labels(files[read])))
    except Unreadable as error:
        raise DataError(f"{place}: {read}: {error}") from error
    y = array_targets(place, files["y"], wanted, *x.shape[:2]) if "y" in needed else []
    for name, values in {**({"y": y} if "y" in needed else {}), **words}.items():
        if len(x) != len(values):
            raise DataError(f"{place}: x has {len(x):,} samples and {name} {len(values):,} labels; give one for each")
    if wanted.one_class and (odd := [label for label in y if not label or not label.isprintable()]):
        raise DataError(f"{place}: y has {brief(odd[0])}, which cannot be shown; name the class otherwise")
    named = [f"{name}.npy" for name in files] if folder else list(files)
    kind = "" if folder else "array " if len(named) == 1 else "arrays "
    parts = parts_named(place, words["part"]) if "part" in words else None
    return Arrays(kind + _said(named), x, y, words.get("group"), parts)


def _of_folder(place: Path, needed: Sequence[str]) -> dict[str, bytes]:
    there = [*needed, *(name for name in OPTIONAL if os.path.lexists(place / f"{name}.npy"))]
    return {name: content_of(place / f"{name}.npy") for name in there}


def _of_archive(place: Path, needed: Sequence[str]) -> dict[str, bytes]:
    try:
        held = parse_archive(content_of(place), (*NEEDED, *OPTIONAL))
    except Unreadable as error:
        raise DataError(f"{place}: {error}; give arrays x and y, by numpy.savez") from error
    return {name: held[name] for name in (*needed, *OPTIONAL) if name in held}


def _said(names: Sequence[str]) -> str:
    """In words.

    >>> _said(["x", "y"]), _said(["x", "y", "part"]), _said(["x"])
    ('x and y', 'x, y and part', 'x')
    """
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def content_of(path: Path) -> bytes:
    """The bytes of a file. Raises `DataError`."""
    try:
        return read_regular(path, most=MOST_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); give a file of at most 256 MiB") from error

"""Read the user's own arrays of inputs, targets, groups and splits."""

import os
from collections.abc import Callable, Collection
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

_OPTIONAL = ("group", "part")


@dataclass(frozen=True)
class Arrays:
    """Arrays for N samples, with float32 inputs `x` [N, ...], targets `y`, and optional groups and splits."""

    layout: str
    x: Floats
    y: list[Any]
    groups: list[str] | None
    parts: list[Part] | None


def are_arrays(place: Path) -> bool:
    """Return whether the path points to a .npz file or to a folder that contains x.npy."""
    return place.suffix.lower() == ".npz" or os.path.lexists(place / "x.npy")


def arrays_at(
    place: Path,
    dimensions: Collection[int],
    accepted: str,
    wanted: Wanted,
    *,
    read_x: Callable[[NDArray[Any]], Floats] = finite,
) -> Arrays:
    """Read the arrays `x`, `y` and, if present, `group` [N] and `part` [N] from a .npz file or a folder of .npy files.

    Args:
        dimensions: accepted numbers of dimensions of x, described by `accepted`.
        read_x: returns x as float32.
    Raises:
        DataError: the arrays are missing or invalid.
    """
    folder = os.path.isdir(place)  # noqa: PTH112 - False for names that cannot exist
    needed = ["x"] if wanted.ahead is not None else ["x", "y"]
    if folder:
        there = [*needed, *(name for name in _OPTIONAL if os.path.lexists(place / f"{name}.npy"))]
        files = {name: content_of(place / f"{name}.npy") for name in there}
    else:
        try:
            held = parse_archive(content_of(place), ("x", "y", *_OPTIONAL))
        except Unreadable as error:
            raise DataError(f"{place}: {error}; save arrays x and y with numpy.savez") from error
        files = {name: held[name] for name in (*needed, *_OPTIONAL) if name in held}
    if missing := [name for name in needed if name not in files]:
        raise DataError(f"{place}: array {missing[0]} is missing; save x {accepted} and y [N] with numpy.savez")
    words: dict[str, list[str]] = {}
    read = "x"
    try:
        array = parse_array(files["x"])
        if array.ndim not in dimensions or not array.size:
            raise Unreadable(f"its shape is {list(array.shape)}; expected {accepted}")
        x = read_x(array)
        for read in _OPTIONAL:
            if read in files:
                words[read] = list(map(str, parse_labels(files[read])))
    except Unreadable as error:
        raise DataError(f"{place}: {read}: {error}") from error
    y = array_targets(place, files["y"], wanted, *x.shape[:2]) if "y" in needed else []
    for name, values in {**({"y": y} if "y" in needed else {}), **words}.items():
        if len(x) != len(values):
            raise DataError(
                f"{place}: x has {len(x):,} samples and {name} {len(values):,} labels; give one label per sample"
            )
    if wanted.one_class and (odd := [label for label in y if not label or not label.isprintable()]):
        raise DataError(f"{place}: y contains {brief(odd[0])}, which is not printable; rename the class")
    *named, last = [f"{name}.npy" for name in files] if folder else list(files)
    kind = "" if folder else "arrays " if named else "array "
    layout = kind + (f"{', '.join(named)} and {last}" if named else last)
    parts = parts_named(place, words["part"]) if "part" in words else None
    return Arrays(layout, x, y, words.get("group"), parts)


def content_of(path: Path) -> bytes:
    """Read the bytes of a file. Raises `DataError`."""
    try:
        return read_regular(path, most=MOST_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); give a file of at most 256 MiB") from error

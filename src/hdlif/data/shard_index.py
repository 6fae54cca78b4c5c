"""Tar shards in the WebDataset form: KEY.jpg with KEY.cls, read through an index.

One pass over the headers makes the index, which is stored with the shards as `INDEX`, and rebuilt if the name, size or
modification time of a shard changes.
"""

import contextlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from hdlif.data.files import Member, Shards, tar_members
from hdlif.data.roots import SetFolder, whole_number
from hdlif.errors import cut, reason
from hdlif.inputs import Unreadable
from hdlif.whole_files import open_regular, read_regular, whole_file

SUFFIXES = (".jpeg", ".jpg", ".png")
INDEX = "hdlif_index.npz"
MOST_INDEX = 2**30
"""Most bytes of the index, which takes 32 per image."""


def shards_in(folder: Path) -> list[Path]:
    """Return the tar files directly in a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix == ".tar" and path.is_file())


def open_shards(folder: Path, of: SetFolder) -> tuple[Shards, NDArray[np.int64]]:
    """Return the images of all shards of a folder `of` a set, and their labels [N]. Raises `DataError`."""
    paths = shards_in(folder)
    try:
        found = [path.stat() for path in paths]
    except OSError as error:
        raise of.error(folder, f"cannot be read ({reason(error)})") from error
    state = json.dumps([[path.name, s.st_size, s.st_mtime_ns] for path, s in zip(paths, found, strict=True)])
    columns = _kept(folder / INDEX, state, [s.st_size for s in found])
    if columns is None:
        parts = [(number, *entry) for number, path in enumerate(paths) for entry in _scanned(path, of)]
        columns = np.array(parts, np.int64).reshape(-1, 4).T
        _keep(folder / INDEX, state, columns)
    shard, offset, size, labels = columns
    return Shards(paths, shard, offset, size), labels


def _scanned(path: Path, of: SetFolder) -> Iterator[tuple[int, int, int]]:
    """Yield (offset, size, label) of the images of a shard."""
    images: dict[str, Member] = {}
    labels: dict[str, int] = {}
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            for member in tar_members(file):
                folder, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                key = f"{folder}/{stem}"
                if f".{suffix.lower()}" in SUFFIXES:
                    images[key] = member
                elif suffix == "cls":
                    labels[key] = _label(file, member)
    except (OSError, Unreadable) as error:
        raise of.error(path, f"is not a whole tar shard ({reason(error)})") from error
    for key, image in images.items():
        if key not in labels:
            raise of.error(
                path,
                f"{cut(key.lstrip('/'))} has no .cls, its label as a number; an archive of one class, as "
                f"ImageNet's train.tar has them, belongs extracted in a folder {path.with_suffix('')}",
            )
        yield image.offset, image.size, labels[key]


def _label(file: BinaryIO, member: Member) -> int:
    file.seek(member.offset)
    # A valid label, with its line break, is not longer.
    content = file.read(min(member.size, 32))
    try:
        return whole_number(content.decode("ascii").strip())
    except ValueError as error:
        raise Unreadable(f"{cut(member.name)}: {content!r} is not a label, a number of up to 18 digits") from error


def _kept(path: Path, state: str, sizes: Sequence[int]) -> NDArray[np.int64] | None:
    """Return the index if it belongs to these shards of the given sizes."""
    try:
        with np.load(io.BytesIO(read_regular(path, most=MOST_INDEX)), allow_pickle=False) as kept:
            same, columns = str(kept["state"]) == state, kept["columns"]
    # A missing or damaged index is rebuilt.
    except Exception:
        return None
    if not same or columns.dtype != np.int64 or columns.ndim != 2 or len(columns) != 4 or (columns < 0).any():
        return None
    shard, offset, size, _ = columns
    inside = (shard < len(sizes)).all() and (size <= np.array(sizes)[shard] - offset).all()
    return columns if inside else None


def _keep(path: Path, state: str, columns: NDArray[np.int64]) -> None:
    """Write the index, unless the folder is read-only."""
    with contextlib.suppress(OSError), whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, state=state, columns=columns)

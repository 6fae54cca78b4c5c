"""Tar shards in the WebDataset form: KEY.jpg beside KEY.cls, read through an index.

The index says where in which shard every image begins, so any image is one read away and the order of an epoch is a
function of (seed, epoch), as with files. It is made by one pass over the headers, kept beside the shards as
`INDEX`, and rebuilt when a shard has another name, size or time of change.
"""

import contextlib
import errno
import io
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from hdlif.data.files import Member, tar_members
from hdlif.data.image_files import SUFFIXES
from hdlif.data.roots import SetFolder, whole_number
from hdlif.errors import cut, reason
from hdlif.inputs import MOST_BYTES, Unreadable
from hdlif.inputs.arrays import parse_array
from hdlif.whole_files import open_regular, read_regular, whole_file

INDEX = "hdlif_index.npz"
MOST_INDEX = 2**30
"""Bytes; it takes 32 an image."""


class Shards:
    """Samples inside tar files.

    Args:
        paths: of the shards.
        shard, offset, size: int64 [N]: which shard a sample lies in, where it begins, and its bytes.
    """

    def __init__(
        self, paths: Sequence[Path], shard: NDArray[np.int64], offset: NDArray[np.int64], size: NDArray[np.int64]
    ) -> None:
        self.paths = tuple(paths)
        self.shard, self.offset, self.size = shard, offset, size

    def name(self, place: int) -> str:
        return f"{self.paths[self.shard[place]]}, byte {self.offset[place]}"

    def encoded(self, place: int) -> bytes:
        left = int(self.size[place])
        if left > MOST_BYTES:
            raise OSError(errno.EFBIG, f"larger than {MOST_BYTES:,} bytes")
        with os.fdopen(open_regular(self.paths[self.shard[place]], os.O_RDONLY), "rb", buffering=0) as file:
            file.seek(int(self.offset[place]))
            # One raw read may give less than was asked for.
            parts = []
            while left and (part := file.read(left)):
                parts.append(part)
                left -= len(part)
        return b"".join(parts)


def shards_in(folder: Path) -> list[Path]:
    """The tar files that lie in a folder itself, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix == ".tar" and path.is_file())


def open_shards(folder: Path, of: SetFolder) -> tuple[Shards, NDArray[np.int64]]:
    """The images of all shards of a folder, in the order of the shards, and their labels [N]; `of` has them.

    Raises:
        DataError: a shard is cut short, or is not in the form that is read.
    """
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
    """(offset, size, label) of the images of a shard."""
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
                f"{cut(key.lstrip('/'))} has no .cls, its label as a number, beside it; an archive of one class, as "
                f"ImageNet's train.tar has them, belongs extracted in a folder {path.with_suffix('')}",
            )
        yield image.offset, image.size, labels[key]


def _label(file: BinaryIO, member: Member) -> int:
    file.seek(member.offset)
    # No label that could be one is longer, with its line break.
    content = file.read(min(member.size, 32))
    try:
        return whole_number(content.decode("ascii").strip())
    except ValueError as error:
        raise Unreadable(f"{cut(member.name)}: {content!r} is not a label, a number of up to 18 digits") from error


def _kept(path: Path, state: str, sizes: Sequence[int]) -> NDArray[np.int64] | None:
    """The index, if it is that of the shards as they are, which have so many bytes."""
    try:
        content = read_regular(path, most=MOST_INDEX)
        with zipfile.ZipFile(io.BytesIO(content)) as kept:
            # Written so, and nothing that unpacks to more than it takes.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in kept.infolist()):
                return None
            if kept.read("state.json").decode() != state:
                return None
            columns: NDArray[np.int64] = parse_array(kept.read("columns.npy"))
    # An index that is absent or damaged is rebuilt.
    except Exception:
        return None
    if columns.dtype != np.int64 or columns.ndim != 2 or len(columns) != 4 or (columns < 0).any():
        return None
    shard, offset, size, _ = columns
    inside = (shard < len(sizes)).all() and (size <= np.array(sizes)[shard] - offset).all()
    return columns if inside else None


def _keep(path: Path, state: str, columns: NDArray[np.int64]) -> None:
    """Write the index; where the folder is read-only it is made for each run."""
    values = io.BytesIO()
    np.save(values, columns)
    with contextlib.suppress(OSError), whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        file.writestr("state.json", state)
        file.writestr("columns.npy", values.getvalue())

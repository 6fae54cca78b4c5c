"""Tar shards in the WebDataset form: KEY.jpg beside KEY.cls, read through an index.

The index says where in which shard every image begins, so any image is one read away and the order of an epoch is a
function of (seed, epoch), as with files. It is made by one pass over the headers, kept beside the shards as
`INDEX`, and made anew when a shard has another name, size or time of change.
"""

import contextlib
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdlif.data.image_files import SUFFIXES
from hdlif.data.roots import SetFolder
from hdlif.whole_files import whole_file

INDEX = "hdlif_index.npz"


class Shards:
    """Images inside tar files.

    Args:
        paths: of the shards.
        shard, offset, size: int64 [N]: which shard an image lies in, where it begins, and its bytes.
    """

    def __init__(
        self, paths: Sequence[Path], shard: NDArray[np.int64], offset: NDArray[np.int64], size: NDArray[np.int64]
    ) -> None:
        self.paths = tuple(paths)
        self.shard, self.offset, self.size = shard, offset, size

    def name(self, place: int) -> str:
        return f"{self.paths[self.shard[place]]}, byte {self.offset[place]}"

    def encoded(self, place: int) -> bytes:
        with self.paths[self.shard[place]].open("rb", buffering=0) as file:
            file.seek(int(self.offset[place]))
            # One raw read may give less than was asked for.
            parts, left = [], int(self.size[place])
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
    state = json.dumps([[path.name, (s := path.stat()).st_size, s.st_mtime_ns] for path in paths])
    columns = _kept(folder / INDEX, state)
    if columns is None:
        parts = [(number, *entry) for number, path in enumerate(paths) for entry in _scanned(path, of)]
        columns = np.array(parts, np.int64).reshape(-1, 4).T
        _keep(folder / INDEX, state, columns)
    shard, offset, size, labels = columns
    return Shards(paths, shard, offset, size), labels


def _scanned(path: Path, of: SetFolder) -> Iterator[tuple[int, int, int]]:
    """(offset, size, label) of the images of a shard."""
    images: dict[str, tuple[int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if not member.isfile():
                    continue
                folder, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                key = f"{folder}/{stem}"
                if f".{suffix.lower()}" in SUFFIXES:
                    images[key] = member.offset_data, member.size
                elif suffix == "cls":
                    content = archive.extractfile(member)
                    labels[key] = int(content.read()) if content else -1
    except (tarfile.TarError, OSError, ValueError) as error:
        raise of.error(path, f"is no whole tar shard ({error})") from error
    length = path.stat().st_size
    for key, (offset, size) in images.items():
        if key not in labels:
            raise of.error(
                path,
                f"{key.lstrip('/')} has no .cls, its label as a number, beside it; an archive of one class, as "
                f"ImageNet's train.tar has them, belongs extracted in a folder {path.with_suffix('')}",
            )
        if offset + size > length:
            raise of.error(path, f"is cut short within {key.lstrip('/')}")
        yield offset, size, labels[key]


def _kept(path: Path, state: str) -> NDArray[np.int64] | None:
    """The index, if it is that of the shards as they are."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            if kept["state"].item() == state:
                columns: NDArray[np.int64] = kept["columns"]
                return columns
    # An index that is absent or damaged is made anew.
    except Exception:
        pass
    return None


def _keep(path: Path, state: str, columns: NDArray[np.int64]) -> None:
    """Write the index; where the folder is read-only it is made for each run."""
    with contextlib.suppress(OSError), whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, state=np.array(state), columns=columns)

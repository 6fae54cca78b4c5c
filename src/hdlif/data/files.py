"""Read encoded samples by index from the files in a folder or from tar shards."""

import errno
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import cut, reason
from hdlif.inputs import MOST_BYTES, Unreadable
from hdlif.whole_files import open_regular, read_regular

_MOST_HEADER = 2**16


class ByteSource(Protocol):
    """Protocol for an object that reads the encoded samples of a data set by index, from 0 to N-1."""

    def encoded(self, place: int) -> bytes:
        """Return the bytes of a sample. Raises `OSError` if the sample is unreadable or larger than `MOST_BYTES`."""

    def name(self, place: int) -> str:
        """Return the location of a sample for use in error messages."""


class Folder:
    """Files in one folder.

    All paths are stored in one array, because each worker process would copy individual Python strings.
    """

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self.root = root
        encoded = [os.fsencode(path) for path in paths]
        self._text = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)])

    def name(self, place: int) -> str:
        path = self._text[self._ends[place] : self._ends[place + 1]].tobytes()
        return str(self.root / os.fsdecode(path))

    def encoded(self, place: int) -> bytes:
        return read_regular(Path(self.name(place)), most=MOST_BYTES)


class Shards:
    """Samples in tar files, with the shard number, byte offset and size of each sample in int64 arrays [N]."""

    def __init__(
        self, paths: Sequence[Path], shard: NDArray[np.int64], offset: NDArray[np.int64], size: NDArray[np.int64]
    ) -> None:
        self.paths = tuple(paths)
        self.shard, self.offset, self.size = shard, offset, size

    def name(self, place: int) -> str:
        return f"{self.paths[self.shard[place]]}, byte {self.offset[place]}"

    def encoded(self, place: int) -> bytes:
        size = int(self.size[place])
        if size > MOST_BYTES:
            raise OSError(errno.EFBIG, f"larger than {MOST_BYTES:,} bytes")
        with os.fdopen(open_regular(self.paths[self.shard[place]], os.O_RDONLY), "rb") as file:
            file.seek(int(self.offset[place]))
            return file.read(size)


@dataclass(frozen=True)
class Member:
    """The name, content offset and content size of a regular file in a tar archive."""

    name: str
    offset: int
    size: int


class _Headers:
    """A wrapper around a tar file that limits the size of the headers that `tarfile` reads."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self._file = file.seek, file.tell, file

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MOST_HEADER:
            raise Unreadable(f"has a header of {size:,} bytes; at most {_MOST_HEADER:,} are supported")
        return self._file.read(size)


def tar_members(file: BinaryIO) -> Iterator[Member]:
    """Yield the regular files in an uncompressed tar archive. Raises `Unreadable` if the archive is damaged."""
    try:
        with tarfile.open(fileobj=cast(BinaryIO, _Headers(file)), mode="r:", errors="surrogateescape") as opened:
            archive: Any = opened
            while (member := archive.next()) is not None:
                # tarfile keeps all headers that it has read.
                archive.members.clear()
                if member.issparse() or member.size < 0 or archive.offset <= member.offset:
                    raise Unreadable(
                        f"contains the sparse or damaged member {cut(member.name)!r}, which is not supported"
                    )
                if member.isfile():
                    yield Member(member.name, member.offset_data, member.size)
            end = archive.offset
    # On damaged headers, tarfile raises its own errors or Python's.
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError, RecursionError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"is damaged or cut short ({reason(error)})") from error
    # tarfile mistakes a damaged header after the first for the end of the archive.
    file.seek(end)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise Unreadable(f"has no header at byte {end}")

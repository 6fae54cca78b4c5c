"""The tree of a NIR file: groups as dictionaries, datasets as arrays, numbers and texts. Files are not trusted.

Only what lies in the file itself is read: no link to elsewhere, no dataset whose values stand in another file. What is
read is bounded before it is read.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from hdlif.errors import InputError, MissingExtraError, brief, reason
from hdlif.whole_files import open_regular

MOST_BYTES = 2**31
"""Of a file, and of all that is read of it."""
MOST_ENTRIES = 2**17
"""Groups and datasets."""
MOST_DEPTH = 32
MOST_TEXTS = 2**18
_MEND = "give a file that nir.write has written"


def read_tree(path: Path) -> dict[str, Any]:
    """What stands under `node` in a NIR file.

    Raises:
        InputError: it cannot be read, is no NIR file, or is larger than `MOST_BYTES`.
        MissingExtraError: h5py is not installed.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingExtraError("h5py is not installed; install it with: pip install 'hdlif[nir]'") from error
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as content:
            if (size := os.fstat(content.fileno()).st_size) > MOST_BYTES:
                raise InputError(f"{path}: has {size} bytes; a NIR file has at most {MOST_BYTES}")
            if not content.read(8) == b"\x89HDF\r\n\x1a\n":
                raise InputError(f"{path}: is not an HDF5 file; {_MEND}")
            content.seek(0)
            with h5py.File(content, "r") as file:
                tree = _Reading(h5py).group(file, "/", 0, only=("node",)).get("node")
    except InputError as error:
        said = str(error)
        raise InputError(said if said.startswith(str(path)) else f"{path}: {said}") from error
    # What h5py raises on damaged bytes is of many types.
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        MemoryError,
        OverflowError,
    ) as error:
        raise InputError(f"{path}: cannot be read as a NIR file ({reason(error)}); {_MEND}") from error
    if not isinstance(tree, dict):
        raise InputError(f"{path}: is an HDF5 file that holds no group 'node'; {_MEND}")
    return tree


class _Reading:
    """Reads one file, and counts what it has read."""

    def __init__(self, h5py: Any) -> None:
        self._h5py, self._bytes, self._entries, self._texts = h5py, 0, 0, 0

    def group(self, group: Any, where: str, depth: int, *, only: tuple[str, ...] | None = None) -> dict[str, Any]:
        if depth > MOST_DEPTH:
            raise InputError(f"{brief(where)}: groups nest deeper than {MOST_DEPTH}; {_MEND}")
        found: dict[str, Any] = {}
        for name in group if only is None else [name for name in only if name in group]:
            self._entries += 1
            if self._entries > MOST_ENTRIES:
                raise InputError(f"it has more than {MOST_ENTRIES} groups and datasets; {_MEND}")
            place = f"{where}{name}"
            if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
                raise InputError(f"{brief(place)}: is a link to elsewhere, which is not followed; {_MEND}")
            entry = group[name]
            if isinstance(entry, self._h5py.Group):
                found[name] = self.group(entry, f"{place}/", depth + 1)
            elif isinstance(entry, self._h5py.Dataset):
                found[name] = self._dataset(entry, place)
        return found

    def _dataset(self, data: Any, place: str) -> Any:
        if data.is_virtual or data.external:
            raise InputError(f"{brief(place)}: its values stand in other files, which are not read; {_MEND}")
        if data.shape is None:
            raise InputError(f"{brief(place)}: is an empty dataset; {_MEND}")
        if self._h5py.check_string_dtype(data.dtype) is not None:
            return self._text(data, place)
        if data.dtype.kind not in "fiub":
            raise InputError(f"{brief(place)}: is of type {data.dtype}; numbers and texts are accepted; {_MEND}")
        self._take(int(data.size) * data.dtype.itemsize)
        value = data[()]
        return value if isinstance(value, np.ndarray) else value.item()

    def _text(self, data: Any, place: str) -> Any:
        self._texts += int(data.size)
        if self._texts > MOST_TEXTS or len(data.shape) > 2:
            raise InputError(f"{brief(place)}: has more than {MOST_TEXTS} texts, or axes; {_MEND}")
        if data.shape == ():
            return self._decoded(data[()])
        if len(data.shape) == 1:
            return [self._decoded(data[i]) for i in range(data.shape[0])]
        # One after the other, for each may be as long as the file.
        return [[self._decoded(data[i, j]) for j in range(data.shape[1])] for i in range(data.shape[0])]

    def _decoded(self, value: Any) -> str:
        self._take(len(value))
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def _take(self, count: int) -> None:
        self._bytes += count
        if self._bytes > MOST_BYTES:
            raise InputError(f"it holds more than {MOST_BYTES} bytes; {_MEND}")

"""Read an untrusted NIR file into a tree of dictionaries, arrays, numbers and strings.

The size of each value is checked before reading. Soft links, external links and external values raise an error. The
HDF5 library may crash or hang on damaged bytes, so it runs in a separate process.
"""

import importlib.util
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hdlif.errors import InputError, MissingExtraError, brief, reason
from hdlif.inputs import Unreadable
from hdlif.inputs.python_processes import module_command
from hdlif.whole_files import open_regular

MOST_BYTES = 2**31
"""Maximum size in bytes of a file, and of all data that are read from it."""
MOST_ENTRIES = 2**17
"""Maximum number of groups and datasets."""
MOST_DEPTH = 32
MOST_TEXTS = 2**18
SECONDS = 60
"""Maximum time for reading a file, in seconds."""
_FIX = "give a file that nir.write has written"


def read_tree(path: Path) -> dict[str, Any]:
    """Return the group `node` of a NIR file as a dictionary.

    Raises:
        InputError: the file cannot be read, is not a NIR file, or is larger than `MOST_BYTES`.
        MissingExtraError: h5py is not installed.
    """
    if importlib.util.find_spec("h5py") is None:
        raise MissingExtraError.of("h5py", "nir")
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb", buffering=0) as content, tempfile.TemporaryFile() as out:
            if (size := os.fstat(content.fileno()).st_size) > MOST_BYTES:
                raise InputError(f"{path}: has {size} bytes; a NIR file has at most {MOST_BYTES}; {_FIX}")
            if content.read(8) != b"\x89HDF\r\n\x1a\n":
                raise InputError(f"{path}: is not an HDF5 file; {_FIX}")
            content.seek(0)
            command = module_command(__name__)
            done = subprocess.run(command, stdin=content, stdout=out, stderr=subprocess.DEVNULL, timeout=SECONDS)
            out.seek(0)
            tree = pickle.load(out) if done.returncode == 0 else {"error": "the HDF5 library failed on it"}
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{path}: the HDF5 library needs more than {SECONDS} s to read it; {_FIX}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a NIR file ({reason(error)}); {_FIX}") from error
    if "error" in tree:
        raise InputError(f"{path}: {tree['error']}; {_FIX}")
    node = tree.get("node")
    if not isinstance(node, dict):
        raise InputError(f"{path}: is an HDF5 file without a group 'node'; {_FIX}")
    return node


def own_entry(group: Any, name: str, h5py: Any) -> Any:
    """Return the entry `name` of an HDF5 group without opening other files, or None if the entry does not exist.

    Raises:
        Unreadable: the entry is an external or soft link, or a dataset with values in other files.
    """
    # h5py's look-up by name follows links.
    links, key = group.id.links, name.encode("utf-8", "surrogateescape")
    if not links.exists(key):
        return None
    if links.get_info(key).type != h5py.h5l.TYPE_HARD:
        wrong = "is a link to elsewhere, which is not followed; put a copy in its place"
    else:
        entry = group[name]
        if not (isinstance(entry, h5py.Dataset) and (entry.is_virtual or entry.external)):
            return entry
        wrong = "has its values in other files, which are not read; copy them into this one"
    raise Unreadable(f"{brief(str(group.name).rstrip('/') + '/' + name)} {wrong}")


def _main() -> None:
    """Read a NIR file from standard input, and pickle the tree to standard output."""
    import h5py

    try:
        with h5py.File(os.fdopen(0, "rb"), "r") as file:
            tree: Any = _Reading(h5py).group(file, "/", 0, only=("node",))
    except (InputError, Unreadable) as error:
        tree = {"error": str(error)}
    # h5py raises many types of errors on damaged bytes.
    except Exception as error:
        tree = {"error": f"cannot be read as a NIR file ({reason(error)})"}
    pickle.dump(tree, sys.stdout.buffer)


class _Reading:
    """A reader of an HDF5 file that limits the number of bytes and entries."""

    def __init__(self, h5py: Any) -> None:
        self._h5py, self._bytes, self._entries, self._texts = h5py, 0, 0, 0

    def group(self, group: Any, where: str, depth: int, *, only: tuple[str, ...] | None = None) -> dict[str, Any]:
        if depth > MOST_DEPTH:
            raise InputError(f"{brief(where)}: groups nest deeper than {MOST_DEPTH}")
        found: dict[str, Any] = {}
        for name in group if only is None else only:
            self._entries += 1
            if self._entries > MOST_ENTRIES:
                raise InputError(f"it has more than {MOST_ENTRIES} groups and datasets")
            place = f"{where}{name}"
            entry = own_entry(group, name, self._h5py)
            if isinstance(entry, self._h5py.Group):
                found[name] = self.group(entry, f"{place}/", depth + 1)
            elif isinstance(entry, self._h5py.Dataset):
                found[name] = self._dataset(entry, place)
        return found

    def _dataset(self, data: Any, place: str) -> Any:
        if data.shape is None:
            raise InputError(f"{brief(place)}: is an empty dataset")
        if self._h5py.check_string_dtype(data.dtype) is not None:
            return self._text(data, place)
        if data.dtype.kind not in "fiub":
            raise InputError(f"{brief(place)}: is of type {data.dtype}; numbers and texts are accepted")
        self._take(int(data.size) * data.dtype.itemsize)
        value = data[()]
        return value if isinstance(value, np.ndarray) else value.item()

    def _text(self, data: Any, place: str) -> Any:
        self._texts += int(data.size)
        if self._texts > MOST_TEXTS or len(data.shape) > 2:
            raise InputError(f"{brief(place)}: has more than {MOST_TEXTS} texts, or axes")
        if data.shape == ():
            return self._decoded(data[()])
        if len(data.shape) == 1:
            return [self._decoded(data[i]) for i in range(data.shape[0])]
        # Read the strings one by one, because each may be as long as the file.
        return [[self._decoded(data[i, j]) for j in range(data.shape[1])] for i in range(data.shape[0])]

    def _decoded(self, value: Any) -> str:
        self._take(len(value))
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def _take(self, count: int) -> None:
        self._bytes += count
        if self._bytes > MOST_BYTES:
            raise InputError(f"it contains more than {MOST_BYTES} bytes")


if __name__ == "__main__":
    _main()

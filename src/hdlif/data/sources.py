"""Encoded samples by place: in files below one folder, in shards, or made when they are asked for."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from hdlif.inputs import MOST_BYTES
from hdlif.whole_files import read_regular


class Source(Protocol):
    """Encoded samples by place, 0..N-1."""

    def encoded(self, place: int) -> bytes:
        """The bytes of a file; `OSError` where they cannot be read, or are more than `MOST_BYTES`."""

    def name(self, place: int) -> str:
        """Where it lies, for an error."""


class Folder:
    """Files below one folder.

    Paths are held in one array: a million Python strings would be copied into every worker as their reference counts
    are touched.
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

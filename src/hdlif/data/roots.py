"""Locate the folder of a data set that is not part of a package, and report missing or invalid files."""

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hdlif.errors import DataError, cut, reason, some
from hdlif.whole_files import read_regular

MOST_TEXT = 2**26
"""Maximum size in bytes of a text file that belongs to a set."""
_MOST_NAMED = 5


class SetFolder:
    """The folder ROOT/FOLDER of a data set. Error messages end with the accepted layout and the source of the data set.

    Args:
        name: name of the set.
        root: the folder passed with --data-root.
        folder: the set's folder below `root`.
        layout: a description of the folder's content.
        source: how to obtain the set, as "from ..." or "by ..."; ROOT is replaced by `root`.
        archive: name of the archive at the source; PART is replaced by the first part of each path in `holds`.
        holds: required files and folders.
    Attributes:
        path: ROOT/FOLDER.
    Raises:
        DataError: there is no root or folder, or a file or folder in `holds` is missing.
    """

    def __init__(
        self,
        name: str,
        root: Path | None,
        folder: str,
        *,
        layout: str,
        source: str,
        archive: str,
        holds: Sequence[str],
    ) -> None:
        given = Path("DIR") if root is None else root
        self.path, self._archive = given / folder, archive
        # A browser, torchvision or the user would put an archive in one of these places.
        self._places = tuple(dict.fromkeys((given, self.path.parent, self.path)))
        self._fix = f"expected {self.path}/ with {layout}; get {name} {source.replace('ROOT', str(given))}"
        give = f"give the folder that holds {folder} with --data-root"
        if root is None:
            raise self.error(name, f"no folder is given; {give}")
        # os.path returns False for names that cannot exist; Path's own methods raise if a name is too long.
        if not os.path.isdir(self.path):  # noqa: PTH112
            place = self.path if os.path.isdir(root) else root  # noqa: PTH112
            raise self.error(place, f"there is no such folder: all of {name} is missing{self._archives(holds)}; {give}")
        self.require(holds)

    def error(self, place: Path | str, seen: str) -> DataError:
        """Return an error that describes the problem at `place`, the accepted layout and the source of the data set."""
        return DataError(f"{place}: {seen}; {self._fix}")

    def require(self, names: Sequence[str]) -> None:
        """Raise `DataError` if any of the files and folders in `names` is missing."""
        missing = [name for name in names if not os.path.exists(self.path / name)]  # noqa: PTH110
        if missing:
            missing = [cut(name, 255) for name in missing]
            raise self.error(self.path, f"{some(missing, _MOST_NAMED)} missing{self._archives(missing)}")

    def _archives(self, missing: Sequence[str]) -> str:
        """List the existing archives that contain the missing files."""
        names = dict.fromkeys(self._archive.replace("PART", path.partition("/")[0]) for path in missing)
        there = [str(place / name) for name in names for place in self._places if os.path.exists(place / name)]  # noqa: PTH110
        return f"; extract {', '.join(there[:_MOST_NAMED])}" if there else ""

    def text(self, name: str) -> str:
        """Return the content of a text file, which may be at most `MOST_TEXT` bytes in size. Raises `DataError`."""
        try:
            return read_regular(self.path / name, most=MOST_TEXT).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise self.error(self.path / name, f"cannot be read ({reason(error)})") from error

    def plain(self, names: Iterable[str], listed: str) -> None:
        """Raise `DataError` unless all `names` from the file `listed` are plain file names."""
        for name in names:
            if name in ("", ".", "..") or "/" in name or "\0" in name or os.sep in name:
                raise self.error(self.path / listed, f"{cut(name)!r} is not the name of a file or folder")

    def files(self, folder: str, suffixes: Collection[str]) -> list[str]:
        """Return the sorted names of the files in a folder that end in one of the suffixes. Raises `DataError`."""
        try:
            return sorted(entry.name for entry in (self.path / folder).iterdir() if entry.suffix.lower() in suffixes)
        except OSError as error:
            raise self.error(self.path / folder, f"cannot be read ({reason(error)})") from error


def whole_number(text: str) -> int:
    """Convert text with up to 18 decimal digits to an integer. Raises `ValueError`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError(f"{cut(text)!r} is not a number of up to 18 digits 0..9")
    return int(text)


def by_torchvision(name: str) -> str:
    """Describe how to download a data set with the torchvision class `name`."""
    return f"with python -c \"from torchvision.datasets import {name}; {name}('ROOT', download=True)\""


def refuse_other_counts(
    folder: SetFolder, files: str, labels: Tensor, *, name: str, classes: Sequence[str], per_class: int
) -> None:
    """Raise `DataError` unless `files` contains exactly `per_class` images of every class."""
    counts = torch.bincount(labels, minlength=len(classes)).tolist()
    for label, count in zip(classes, counts, strict=True):
        if count != per_class:
            raise folder.error(
                folder.path, f"{files}: {count} images of {label}; {name} has {per_class} per class there"
            )

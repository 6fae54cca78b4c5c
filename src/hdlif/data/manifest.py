"""Which files data of the user's own are made of, and in which part each is: kept with a training, which goes on with
these files alone.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from hdlif.errors import DataError, reason
from hdlif.whole_files import read_regular

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
MOST_BYTES = 2**30
_MOST_NAMED = 3


@dataclass(frozen=True)
class Entry:
    """A file: its path below the data's folder with / between, its size, the SHA-256 of its content, class and part.

    `target` is the SHA-256 of what is learned of it, where that is not its class.
    """

    file: str
    bytes: int
    sha256: str
    label: str
    part: Part
    target: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As it is kept, and hashed."""
        fields = asdict(self)
        return fields if self.target else {name: value for name, value in fields.items() if name != "target"}


@dataclass(frozen=True)
class Manifest:
    """The files that are used, sorted by path, and those that were left out as unreadable."""

    entries: tuple[Entry, ...]
    skipped: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that it says of the files that are used."""
        return hashlib.sha256(json.dumps([entry.as_dict() for entry in self.entries]).encode()).hexdigest()

    def counts(self) -> dict[str, dict[Part, int]]:
        """Files by class and part."""
        seen = Counter((entry.label, entry.part) for entry in self.entries)
        return {label: {part: seen[label, part] for part in PARTS} for label in sorted({e.label for e in self.entries})}

    def text(self) -> str:
        """As it is kept, a line a file."""
        lines = ",\n".join(f"  {json.dumps(entry.as_dict())}" for entry in self.entries)
        return (
            f'{{\n "digest": "{self.digest}",\n "skipped": {json.dumps(self.skipped)},\n "files": [\n{lines}\n ]\n}}\n'
        )


def read_manifest(path: Path) -> Manifest:
    """What `Manifest.text` wrote. Raises `DataError` where the file is absent or holds something else."""
    try:
        content = json.loads(read_regular(path, most=MOST_BYTES))
        entries = tuple(_entry(fields) for fields in content["files"])
        return Manifest(entries, tuple(map(str, content["skipped"])))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: is not a list of a training's files ({reason(error)}); put it back, or train again with "
            "--overwrite"
        ) from error


def _entry(fields: Mapping[str, Any]) -> Entry:
    entry = Entry(**fields)
    texts = (entry.file, entry.sha256, entry.label, entry.target)
    if not all(isinstance(text, str) for text in texts) or entry.part not in PARTS:
        raise ValueError("a file without a path, a digest, a class or a part")
    return entry


def changes(before: Manifest, after: Manifest) -> str:
    """What differs, in words: "2 files added (a.png, b.png), 1 changed (c.png)"; nothing where nothing does."""
    then, now = ({entry.file: entry for entry in manifest.entries} for manifest in (before, after))
    both = sorted(then.keys() & now.keys())
    same = [file for file in both if then[file].sha256 == now[file].sha256]
    kinds = {
        "added": sorted(now.keys() - then.keys()),
        "gone": sorted(then.keys() - now.keys()),
        "changed": [file for file in both if then[file].sha256 != now[file].sha256],
        "with another target": [file for file in same if _learned(then[file]) != _learned(now[file])],
        "in another part": [
            file for file in same if _learned(then[file]) == _learned(now[file]) and then[file].part != now[file].part
        ],
    }
    return ", ".join(f"{len(files)} {what} ({_named(files)})" for what, files in kinds.items() if files)


def _learned(entry: Entry) -> tuple[str, str]:
    return entry.label, entry.target


def _named(files: list[str]) -> str:
    return ", ".join(files[:_MOST_NAMED]) + (", ..." if len(files) > _MOST_NAMED else "")

"""Samples of the user's own data, and the manifest of their files and parts that a training stores."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from hdlif.errors import DataError, reason
from hdlif.inputs.series import Floats
from hdlif.whole_files import read_regular

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
MOST_BYTES = 2**30
_MOST_NAMED = 3


@dataclass(frozen=True)
class Sample:
    """A sample of a source.

    Attributes:
        name: path of its file below the root with / between, or its place in a file.
        label: its class; "" if it has none.
        part: the part given by its place.
        target: the classes of its steps, or values or labels [...].
        unit: samples of one unit, such as a person, are in one part.
        bytes, sha256: size and hash of its file, or of its values in little-endian float32.
        values: float32 [T, C] of a time series or a table row.
    """

    name: str
    label: str = ""
    part: Part | None = None
    target: Any = None
    unit: str = ""
    bytes: int = 0
    sha256: str = ""
    values: Floats | None = None

    @property
    def below(self) -> str:
        """Its path below the folder of its class."""
        return self.name.split("/", 1 if self.part is None else 2)[-1]

    @property
    def steps(self) -> Floats:
        """The values of a sample; it must have been read."""
        assert self.values is not None
        return self.values


@dataclass(frozen=True)
class Entry:
    """A file: name, size, SHA-256 of its content and of its target other than a class, class and part."""

    file: str
    bytes: int
    sha256: str
    label: str
    part: Part
    target: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the stored and hashed fields."""
        fields = asdict(self)
        return fields if self.target else {name: value for name, value in fields.items() if name != "target"}


@dataclass(frozen=True)
class Manifest:
    """The files in use, sorted by path, and the omitted unreadable ones."""

    entries: tuple[Entry, ...]
    skipped: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the entries."""
        return hashlib.sha256(json.dumps([entry.as_dict() for entry in self.entries]).encode()).hexdigest()

    def counts(self) -> dict[str, dict[Part, int]]:
        """Count files by class and part."""
        seen = Counter((entry.label, entry.part) for entry in self.entries)
        return {label: {part: seen[label, part] for part in PARTS} for label in sorted({e.label for e in self.entries})}

    def text(self) -> str:
        """Return the JSON text, one line per file."""
        lines = ",\n".join(f"  {json.dumps(entry.as_dict())}" for entry in self.entries)
        return (
            f'{{\n "digest": "{self.digest}",\n "skipped": {json.dumps(self.skipped)},\n "files": [\n{lines}\n ]\n}}\n'
        )


def read_manifest(path: Path) -> Manifest:
    """Read what `Manifest.text` wrote. Raises `DataError` if the file is missing or invalid."""
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
    """State the difference, as "2 files added (a.png, b.png), 1 changed (c.png)"; "" if there is none."""
    then, now = ({entry.file: entry for entry in manifest.entries} for manifest in (before, after))
    both = sorted(then.keys() & now.keys())

    def differ(*fields: str, among: list[str]) -> list[str]:
        return [file for file in among if any(getattr(then[file], one) != getattr(now[file], one) for one in fields)]

    changed = differ("sha256", among=both)
    same = sorted({*both} - {*changed})
    learned = differ("label", "target", among=same)
    kinds = {
        "added": sorted(now.keys() - then.keys()),
        "gone": sorted(then.keys() - now.keys()),
        "changed": changed,
        "with another target": learned,
        "in another part": differ("part", among=sorted({*same} - {*learned})),
    }
    return ", ".join(f"{len(files)} {what} ({_named(files)})" for what, files in kinds.items() if files)


def _named(files: list[str]) -> str:
    return ", ".join(files[:_MOST_NAMED]) + (", ..." if len(files) > _MOST_NAMED else "")

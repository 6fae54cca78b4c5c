"""Samples of the user's own data, and the file manifest that a training run stores."""

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
    """A sample from a data source.

    Attributes:
        name: path of the file below the root, with / as separator, or the place of the sample in a file.
        label: the class; "" if there is none.
        part: the part assigned by the sample's place, if any.
        target: the classes of the steps, or values or labels [...].
        unit: the unit, such as a person; all samples of a unit stay in one part.
        bytes, sha256: size and hash of the file, or of the values in little-endian float32.
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
        """The path of the file relative to the class folder."""
        return self.name.split("/", 1 if self.part is None else 2)[-1]

    @property
    def steps(self) -> Floats:
        """The values of a sample that is already in memory."""
        assert self.values is not None
        return self.values


@dataclass(frozen=True)
class Entry:
    """A manifest entry for one file, with the size, the class, the split, and the SHA-256 of the content and target."""

    file: str
    bytes: int
    sha256: str
    label: str
    part: Part
    target: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that are stored and hashed."""
        fields = asdict(self)
        return fields if self.target else {name: value for name, value in fields.items() if name != "target"}


@dataclass(frozen=True)
class Manifest:
    """The files that a training run uses, sorted by path, and the unreadable files that it omits."""

    entries: tuple[Entry, ...]
    skipped: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """The hexadecimal SHA-256 of all entries."""
        return hashlib.sha256(json.dumps([entry.as_dict() for entry in self.entries]).encode()).hexdigest()

    def counts(self) -> dict[str, dict[Part, int]]:
        """Return the number of files by class and split."""
        seen = Counter((entry.label, entry.part) for entry in self.entries)
        return {label: {part: seen[label, part] for part in PARTS} for label in sorted({e.label for e in self.entries})}

    def text(self) -> str:
        """Return the manifest as JSON, with one line per file."""
        lines = ",\n".join(f"  {json.dumps(entry.as_dict())}" for entry in self.entries)
        return (
            f'{{\n "digest": "{self.digest}",\n "skipped": {json.dumps(self.skipped)},\n "files": [\n{lines}\n ]\n}}\n'
        )


def read_manifest(path: Path) -> Manifest:
    """Read a manifest that was written with `Manifest.text`. Raises `DataError` if the file is missing or invalid."""
    try:
        content = json.loads(read_regular(path, most=MOST_BYTES))
        entries = tuple(_entry(fields) for fields in content["files"])
        return Manifest(entries, tuple(map(str, content["skipped"])))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: is not the file list of a training run ({reason(error)}); restore it, or train again with "
            "--overwrite"
        ) from error


def _entry(fields: Mapping[str, Any]) -> Entry:
    entry = Entry(**fields)
    texts = (entry.file, entry.sha256, entry.label, entry.target)
    if not all(isinstance(text, str) for text in texts) or entry.part not in PARTS:
        raise ValueError("a file without a path, a digest, a class or a part")
    return entry


def changes(before: Manifest, after: Manifest) -> str:
    """Describe how two manifests differ, as in "1 added (a.png), 1 changed (c.png)", or return "" if they are equal."""
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

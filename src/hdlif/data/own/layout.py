"""Samples of the user's own, wherever they lie, before they are read: their classes, or what else is learned."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hdlif.data.files import ByteSource
from hdlif.data.own.manifest import Entry, Manifest, Part
from hdlif.data.own.targets import ONE_CLASS, Wanted
from hdlif.errors import DataError, cut, some
from hdlif.ops import InputRecord

_MOST_NAMED = 10


@dataclass(frozen=True)
class Listed:
    """A sample, before it is read.

    Attributes:
        file: its path below the root with / between.
        label, target: as of `targets.Sample`.
        part: where its place says so.
        unit: of whom or what it is, where that is known; samples with the same one are in one part.
    """

    file: str
    label: str
    part: Part | None
    target: Any = None
    unit: str = ""

    @property
    def below(self) -> str:
        """Its path below the folder of its class."""
        return self.file.split("/", 1 if self.part is None else 2)[-1]


@dataclass(frozen=True)
class Layout:
    """What lies at a path.

    Attributes:
        parts: that have a place of their own; none where all samples lie together.
        classes: in the order of the labels; none where no classes are learned.
        files: sorted by path.
        ignored: files of other kinds, counted by the ends of their names.
        source: what gives the bytes of each of `files`.
        words: how they lie, for who reads it.
        wanted: what is learned of each.
        group: what a unit of `files` is called; nothing where they have none.
    """

    root: Path
    parts: tuple[Part, ...]
    classes: tuple[str, ...]
    files: tuple[Listed, ...]
    ignored: Mapping[str, int]
    source: ByteSource
    words: str
    wanted: Wanted = ONE_CLASS
    group: str = ""


class Hashed(Protocol):
    """What was seen of a sample's bytes."""

    @property
    def bytes(self) -> int: ...

    @property
    def sha256(self) -> str: ...


def check_kind(place: object, samples: str, known: InputRecord | None) -> None:
    """Raise `DataError` where samples are not of the kind of input that a network takes."""
    if known is not None and known.kind != samples:
        raise DataError(
            f"{place}: is of kind {samples}, and the network takes input of kind {known.kind}; give such data"
        )


def refuse_faults(
    layout: Layout, faults: Mapping[str, str], unreadable: str, what: str, *, mend: str = "remove them"
) -> None:
    """Raise `DataError` on files that cannot be read, unless they are left out and each class has others.

    Args:
        faults: what is wrong with a file, by its path.
        unreadable: "refuse", or "skip" to leave them out.
        what: one file is called.
        mend: what helps beside leaving them out.
    """
    if not faults:
        return
    if unreadable == "refuse":
        named = some([f"{file} ({why})" for file, why in sorted(faults.items())], _MOST_NAMED)
        raise DataError(
            f"{layout.root}: {len(faults)} of {len(layout.files)} files cannot be read as {what}s: {named}; "
            f"{mend}, or leave them out: --set data.unreadable=skip"
        )
    left = {(one.part, one.label) for one in layout.files if one.file not in faults}
    for one in layout.files:
        of_class = f" of class {one.label}" if one.label else ""
        if (one.part, one.label) not in left:
            raise DataError(
                f"{layout.root}: no {what}{of_class} can be read, first {one.file} ({faults[one.file]}); add some"
                + (", or remove the class" if of_class else "")
            )


def duplicates(manifest: Manifest) -> dict[str, Any]:
    """Files whose content another one has too, those of them in several classes, and those in several parts."""
    alike: dict[str, list[Entry]] = {}
    for entry in manifest.entries:
        alike.setdefault(entry.sha256, []).append(entry)
    groups = [group for group in alike.values() if len(group) > 1]

    def files(key: Callable[[Entry], str]) -> list[list[str]]:
        return [[entry.file for entry in group] for group in groups if len({key(entry) for entry in group}) > 1]

    return {
        "files": sum(len(group) - 1 for group in groups),
        "in_several_classes": files(lambda entry: entry.label),
        "in_several_parts": files(lambda entry: entry.part),
    }


def other_classes(found: Sequence[str], classes: Sequence[str], of: str, most: int = 5) -> str:
    """What differs between classes and those `of` something else.

    >>> other_classes(["a", "c"], ["a", "b"], "train")
    'lacks a class that train has (b) and has a class that train lacks (c)'
    >>> other_classes(["a", "c", "d"], ["a"], "train"), other_classes(["b", "a"], ["a", "b"], "train")
    ('has classes that train lacks: c, d', 'has the classes of train in another order')
    """
    missing, more = sorted(set(classes) - set(found)), sorted(set(found) - set(classes))
    said = [
        (f"{has} {'a class' if len(names) == 1 else 'classes'} that {of} {other}", some(list(map(cut, names)), most))
        for has, other, names in (("lacks", "has", missing), ("has", "lacks", more))
        if names
    ]
    if len(said) == 1:
        return ": ".join(said[0])
    return " and ".join(f"{text} ({names})" for text, names in said) or f"has the classes of {of} in another order"

"""Labelled samples of the user's own, wherever they lie, before they are read; and in which part each is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from hdlif.data.own.manifest import PARTS, Entry, Manifest, Part
from hdlif.data.own.shares import Shares, divided, enough_for, rank
from hdlif.data.sources import Source
from hdlif.errors import DataError, cut, some
from hdlif.ops import InputRecord

_MOST_NAMED = 3


@dataclass(frozen=True)
class Listed:
    """A sample: its path below the root with / between, its class, and its part where its place says so."""

    file: str
    label: str
    part: Part | None

    @property
    def below(self) -> str:
        """Its path below the folder of its class."""
        return self.file.split("/", 1 if self.part is None else 2)[-1]


@dataclass(frozen=True)
class Layout:
    """What lies at a path.

    Attributes:
        parts: that have a place of their own; none where all samples lie together.
        classes: in the order of the labels.
        files: sorted by path.
        ignored: files of other kinds, counted by the ends of their names.
        source: what gives the bytes of each of `files`.
        words: how they lie, for who reads it.
    """

    root: Path
    parts: tuple[Part, ...]
    classes: tuple[str, ...]
    files: tuple[Listed, ...]
    ignored: Mapping[str, int]
    source: Source
    words: str

    def labels(self) -> list[int]:
        """The label of each file."""
        label_of = {label: number for number, label in enumerate(self.classes)}
        return [label_of[one.label] for one in self.files]

    def split_here(self, shares: Shares) -> dict[str, Any]:
        """The shares of the parts that have no place of their own, as JSON has it."""
        taken = [part for part in PARTS[1:] if part not in self.parts]
        return {part: getattr(shares, part) for part in taken} | ({"seed": shares.seed} if taken else {})


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


def refuse_faults(layout: Layout, faults: Mapping[str, str], unreadable: str, what: str) -> None:
    """Raise `DataError` on files that cannot be read, unless they are left out and each class has others.

    Args:
        faults: what is wrong with a file, by its path.
        unreadable: "refuse", or "skip" to leave them out.
        what: one file is called.
    """
    if not faults:
        return
    if unreadable == "refuse":
        named = some([f"{file} ({why})" for file, why in sorted(faults.items())], _MOST_NAMED)
        raise DataError(
            f"{layout.root}: {len(faults)} of {len(layout.files)} files cannot be read as {what}s: {named}; "
            "remove them, or leave them out: --set data.unreadable=skip"
        )
    left = {(one.part, one.label) for one in layout.files if one.file not in faults}
    for one in layout.files:
        if (one.part, one.label) not in left:
            raise DataError(
                f"{layout.root}: no {what} of class {one.label} can be read, first {one.file} ({faults[one.file]}); "
                "add some, or remove the class"
            )


def manifest_of(
    layout: Layout, seen: Mapping[int, Hashed], faults: Mapping[str, str], shares: Shares, what: str
) -> Manifest:
    """The part of each file that is used: that of its place, or a share of its class.

    Args:
        seen: those files, by their number.
        faults: the files that are left out.
        what: one file is called.
    Raises:
        DataError: a class has too few for the parts.
    """
    split_from: Part | None = "train" if layout.parts else None
    wanted = [part for part in PARTS if part not in layout.parts]
    divide = [number for number in seen if wanted and layout.files[number].part == split_from]
    parts: dict[int, Part] = {}

    def label_of(number: int) -> str:
        return layout.files[number].label

    for label, group in groupby(sorted(divide, key=label_of), key=label_of):
        members = list(group)
        found = divided([seen[number].sha256 for number in members], shares, wanted)
        if found is None:
            few = len({seen[number].sha256 for number in members})
            raise DataError(
                f"{layout.root}: class {label} has {few} different {what}{'s' * (few != 1)}, too few to take some for "
                f"{' and '.join(part for part in wanted if part != 'train')}; {enough_for(wanted, few)}"
            )
        parts |= {number: found[seen[number].sha256] for number in members}
    entries = []
    for number, one in seen.items():
        listed = layout.files[number]
        part = parts.get(number) or listed.part or "train"
        entries.append(Entry(listed.file, one.bytes, one.sha256, listed.label, part))
    return Manifest(tuple(entries), tuple(sorted(faults)))


def by_part(layout: Layout, seen: Mapping[int, Hashed], manifest: Manifest, seed: int) -> dict[Part, list[int]]:
    """The numbers of the files in each part, in an order in which the first ones are of all classes."""
    part_of = {entry.file: entry.part for entry in manifest.entries}
    parts: dict[Part, list[int]] = {part: [] for part in PARTS}
    for number in sorted(seen, key=lambda number: (rank(seen[number].sha256, seed), layout.files[number].file)):
        parts[part_of[layout.files[number].file]].append(number)
    return parts


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


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """The classes, sorted: as numbers where all are whole numbers, and else as text.

    >>> in_order({"10", "9"}), in_order({"b", "10", "9"})
    (('9', '10'), ('10', '9', 'b'))
    """
    names = sorted(labels)
    if all(name.removeprefix("-").isdecimal() and name.isascii() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(names)

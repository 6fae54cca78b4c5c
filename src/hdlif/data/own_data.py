"""Create data sets from the user's own samples.

Each source in `hdlif.data.sources` is a `Request` that lists samples. `divide` assigns each sample to the training,
validation or test split, and normalises the targets. `OwnData` describes the samples and creates the data sets.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.files import ByteSource
from hdlif.data.image_targets import Located
from hdlif.data.manifest import Entry, Manifest, Part, Sample
from hdlif.data.samples import DataSets, Samples
from hdlif.data.split import PART_FOLDERS, Shares, Split, by_part, parts_of, shares_of, split_here, untested
from hdlif.data.targets import Learned, Scale, Wanted, classes_of, described, digest_of, label_order, learned
from hdlif.errors import DataError, brief, reason, say_nothing, some
from hdlif.graph.graph import InputRecord
from hdlif.inputs import Unreadable

_LONGEST_PATH = 4096
_MOST_NAMED = 10
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Layout:
    """The samples found at a path, which are not read yet, and the source of their bytes.

    Attributes:
        parts: parts that are already separate, for example in their own folders.
        ignored: number of other files by suffix.
        words: description of the layout.
        group: noun for a group of `files`; "" without groups.
    """

    root: Path
    parts: tuple[Part, ...]
    classes: tuple[str, ...]
    files: tuple[Sample, ...]
    ignored: Mapping[str, int]
    source: ByteSource
    words: str
    group: str = ""


@dataclass(frozen=True)
class Request:
    """Settings shared by all sources of the user's own data. Each subclass adds settings and implements `find`.

    Attributes:
        root: the folder from which a relative path starts; the working folder by default.
        size: side of the square to which images or event frames are resized; for images also (height, width).
        known: input of an existing network, to which samples are fitted without measuring mean or deviation.
        say: function that is called with a line of text if there are many files.
        scale: mean and deviation with which an existing network normalises its target values.
        outputs: names of an existing network's outputs, which determine the label order of classes.
        new_classes: whether the data may have classes that the network lacks; their labels follow the network's.
        split: fractions {validation: 0.15, test: 0.15, seed: 0}, or names of groups, for data that are not split yet.
        values, labels, each_step, ahead: the target, if it is not one class per sample (`Wanted`).
        unreadable: whether unreadable files raise an error or are omitted.
    """

    root: Path | None
    _: KW_ONLY
    size: int | tuple[int, int] | None = None
    known: InputRecord | None = None
    say: Callable[[str], None] = say_nothing
    scale: Scale | None = None
    outputs: tuple[str, ...] | None = None
    new_classes: bool = False
    split: Split | None = None
    values: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    each_step: bool = False
    ahead: int | None = None
    unreadable: Literal["refuse", "skip"] = "refuse"

    def __post_init__(self) -> None:
        # Reject an invalid split or target before looking at the data.
        _ = self.shares, self.wanted

    @cached_property
    def shares(self) -> Shares:
        """The split."""
        return shares_of(self.split)

    @cached_property
    def wanted(self) -> Wanted:
        """The target."""
        return Wanted(self.each_step, self.values, self.labels, self.ahead, self.located)

    located: ClassVar[Located | None] = None
    """The kind of targets that are transformed with the pixels."""

    def find(self) -> "OwnData":
        """Find the data set.

        Raises:
            DataError: the data are missing or cannot be used.
            ValueError: a setting is out of range, or does not apply to such data.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Placed(Request):
    """A request to load data from a given path."""

    path: str

    def place(self, what: str = "data") -> Path:
        """Return the absolute path. Raises `ValueError` if the path is empty or too long."""
        if not 0 < len(self.path) <= _LONGEST_PATH:
            raise ValueError(
                f"path has {len(self.path):,} characters; give {what}, with 1 to {_LONGEST_PATH:,} characters in its "
                "path"
            )
        path = self.path if self.root is None else self.root / self.path
        return Path(os.path.abspath(path))  # noqa: PTH100 - links stay in it


@dataclass(frozen=True)
class OwnData:
    """A data set made from the user's own data.

    Attributes:
        path: the absolute path.
        input: conversion of a sample to the network's input.
        classes: class names in label order, or names of values.
        manifest: manifest of the files in the sets.
        seen: other findings as JSON, with lines for the user under "warnings".
        make: creates the data sets from the augmentations of the training set and their seed.
        target_mean, target_std: mean and deviation that normalise each target value.
        target_steps: number of steps, if each has a target.
        located: kind of targets at places of an image.
    """

    path: Path
    input: InputRecord
    classes: tuple[str, ...]
    manifest: Manifest
    seen: Mapping[str, Any]
    make: Callable[[Augment, int], DataSets]
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    target_steps: int | None = None
    located: Located | None = None

    def count(self, part: str) -> int:
        """Return the number of samples in a split."""
        return sum(entry.part == part for entry in self.manifest.entries)

    @property
    def missing_classes(self) -> list[str]:
        """Return the classes of an existing network that no sample has."""
        counts = self.manifest.counts()
        return [name for name in self.classes if name not in counts] if counts.keys() <= set(self.classes) else []

    def warnings(self) -> list[str]:
        """Return one-line warnings about properties of the data that may distort the measured accuracy."""
        copies = duplicates(self.manifest)
        lines = []
        for what in ("classes", "parts"):
            if groups := copies[f"in_several_{what}"]:
                first, others = ", ".join(groups[0][:3]), len(groups) > 1 or len(groups[0]) > 3
                have = "samples have" if len(groups) > 1 else "sample has"
                lines.append(f"{len(groups)} {have} copies in several {what}: {first}{' and others' if others else ''}")
        if odd := [name for name in self.manifest.counts() if name in PART_FOLDERS]:
            lines.append(
                f'"{odd[0]}" is read as a class; if it is a part of the data, call the folders '
                "train, val and test, with the class folders in each"
            )
        own_split = self.seen.get("split", {}) if self.seen.get("groups") else {}
        return [*lines, *untested(self.manifest.counts(), own_split), *self.seen.get("warnings", ())]

    def __str__(self) -> str:
        """Describe the data in one line."""
        totals = {label: sum(parts.values()) for label, parts in self.manifest.counts().items()}
        classes = ", ".join(f"{label} {count}" for label, count in list(totals.items())[:12])
        more = f", and {len(totals) - 12} more" if len(totals) > 12 else ""
        mean, std = (", ".join(f"{value:.3f}" for value in values) for values in (self.input.mean, self.input.std))
        named = set(totals) != {""}
        said = f" of {len(totals)} classes ({classes}{more})" if named else f": {', '.join(self.classes[:12])}"
        return (
            f"{self.path}: {sum(totals.values())} samples{said}; "
            f"{self.count('train')} to train, {self.count('validation')} to validate, {self.count('test')} to test; "
            f"{'x'.join(map(str, self.input.shape))}, mean {mean}, deviation {std}"
        )


@dataclass(frozen=True)
class Divided:
    """Samples with their targets, divided into training, validation and test splits.

    The sample indices in each split are sorted by hash, so the classes are mixed.
    """

    place: Path
    samples: Sequence[Sample]
    manifest: Manifest
    numbers: Mapping[Part, Sequence[int]]
    targets: Learned
    seen: Mapping[str, Any]
    located: Located | None = None

    def of(self, part: Part) -> list[Sample]:
        """Return the samples in a split."""
        return [self.samples[number] for number in self.numbers[part]]

    def labels(self, part: Part) -> Tensor:
        """Return the targets of the samples in a split."""
        return self.targets.tensor(self.of(part), self.samples)

    def found(
        self, record: InputRecord, seen: Mapping[str, Any], samples: Callable[[Part, Augment, int], Samples]
    ) -> OwnData:
        """Create the data set from a function that returns the samples in each split."""
        targets = self.targets

        def make(augment: Augment, seed: int) -> DataSets:
            return DataSets(
                samples("train", augment, seed),
                samples("validation", (), 0),
                samples("test", (), 0),
                classes=targets.names,
                shape=record.shape,
                mean=record.mean,
                std=record.std,
            )

        found = self.place, record, targets.names, self.manifest, seen, make
        return OwnData(*found, targets.mean, targets.std, targets.steps, self.located)


def divide(
    place: Path,
    samples: Sequence[Sample],
    request: Request,
    *,
    parts: Sequence[Part],
    grouped: bool,
    unit: str,
    classes: tuple[str, ...] = (),
    names: tuple[str, ...] = (),
    skipped: Sequence[str] = (),
    **words: Any,
) -> Divided:
    """Assign each sample to the training, validation or test split, and normalise the targets.

    Args:
        parts, grouped, unit, words: as in `split.parts_of`.
        classes: class names in label order; by default, the sorted classes of the samples.
        names: names of future values.
        skipped: the omitted files.
    Raises:
        DataError: there are too few samples for the parts, samples of one group are placed in two parts, or data for a
            new network have only one class.
    """
    shares, wanted = request.shares, request.wanted
    if wanted.classes:
        classes = label_order(place, classes or classes_of(samples), request.outputs, new_classes=request.new_classes)
        if request.known is None and len(classes) == 1:
            raise DataError(
                f"{place}: all samples are of one class, {brief(classes[0])}; to train a network, give two or more "
                "classes, each with its own folder or label"
            )
    chosen = parts_of(place, samples, shares, parts=parts, grouped=grouped, unit=unit, **words)
    entries = [
        Entry(one.name, one.bytes, one.sha256, one.label, part, digest_of(one.target))
        for one, part in zip(samples, chosen, strict=True)
    ]
    manifest = Manifest(tuple(entries), tuple(sorted(skipped)))
    numbers = by_part([one.sha256 for one in samples], [one.name for one in samples], chosen, shares.seed)
    training = [samples[number] for number in numbers["train"]]
    targets = learned(place, wanted, samples, training, scale=request.scale, classes=classes, names=names)
    seen = described(wanted, targets, samples, chosen)
    return Divided(place, samples, manifest, numbers, targets, seen, wanted.located)


def divide_files(
    layout: Layout, seen: Mapping[int, tuple[int, str]], faults: Mapping[str, str], request: Request, what: str
) -> Divided:
    """Divide files into training, validation and test splits, and omit the files in `faults`."""
    if request.ahead is not None:
        raise DataError(f"{layout.root}: data.ahead = {request.ahead} applies to time series; leave it out for {what}s")
    samples = []
    for number, (size, sha256) in seen.items():
        one = layout.files[number]
        unit = one.unit if layout.group else sha256
        samples.append(Sample(one.name, one.label, one.part, one.target, unit, size, sha256))
    divided = divide(
        layout.root,
        samples,
        request,
        parts=layout.parts,
        grouped=bool(layout.group),
        unit=layout.group or what,
        classes=layout.classes,
        skipped=list(faults),
        counted=lambda count: f"{count} different {what}{'s' * (count != 1)}",
    )
    said = {
        "layout": layout.words,
        "split": split_here(layout.parts, request.shares),
        "ignored": dict(layout.ignored),
        "unreadable": faults_seen(faults),
        "duplicates": duplicates(divided.manifest),
        **({"groups": sorted({one.unit for one in samples})} if layout.group else {}),
        **divided.seen,
    }
    return replace(divided, seen=said)


def read_files(
    layout: Layout, read: Callable[[Sample, bytes], _Read], faults: dict[str, str]
) -> Iterator[tuple[int, Sample, bytes, str, _Read]]:
    """Yield (index, sample, content, SHA-256, result of `read`) for each file, and add unreadable files to `faults`."""
    for number, one in enumerate(layout.files):
        try:
            content = layout.source.encoded(number)
            found = read(one, content)
        except (OSError, Unreadable) as error:
            faults[one.name] = reason(error)
            continue
        yield number, one, content, hashlib.sha256(content).hexdigest(), found


def faults_seen(faults: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the omitted files, with the reason for each omission, as JSON."""
    return [{"file": file, "reason": why} for file, why in sorted(faults.items())]


def check_kind(place: object, samples: str, known: InputRecord | None) -> None:
    """Raise `DataError` unless the network accepts samples of this kind."""
    if known is not None and known.kind != samples:
        raise DataError(
            f"{place}: is of kind {samples}, but the network takes input of kind {known.kind}; give data of that kind"
        )


def refuse_faults(
    layout: Layout, faults: Mapping[str, str], unreadable: str, what: str, *, fixes: Sequence[str] = ()
) -> None:
    """Raise `DataError` for unreadable files unless they may be skipped and every class has readable files.

    Args:
        faults: the error of each file, by name.
        what: the noun for one file.
        fixes: alternatives to removing or omitting the files.
    """
    if not faults:
        return
    if unreadable == "refuse":
        named = some([f"{file} ({why})" for file, why in sorted(faults.items())], _MOST_NAMED)
        raise DataError(
            f"{layout.root}: {len(faults)} of {len(layout.files)} files cannot be read as {what}s: {named}; "
            f"{', or '.join([*fixes, 'remove them', 'skip them: --set data.unreadable=skip'])}"
        )
    left = {(one.part, one.label) for one in layout.files if one.name not in faults}
    for one in layout.files:
        of_class = f" of class {one.label}" if one.label else ""
        if (one.part, one.label) not in left:
            raise DataError(
                f"{layout.root}: no {what}{of_class} can be read, such as {one.name} ({faults[one.name]}); "
                + ", or ".join([*fixes, "add some", *(["remove the class"] if of_class else [])])
            )


def duplicates(manifest: Manifest) -> dict[str, Any]:
    """Count duplicate files, and list those that occur in several classes or splits."""
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

"""A folder of the user's own pictures, of any size and mode, as a data set.

Every picture is read to see what it is and to hash its content, and read again, when it is known what pictures become,
to decode it, make it fit and, where all of them take little memory, keep it. Pictures are made to fit and normalised by
`hdlif.inputs.fitting`, as `hdlif run` does it.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.class_folders import Layout, laid_out
from hdlif.data.found import Found
from hdlif.data.image_files import Folder
from hdlif.data.images import Images, normalised
from hdlif.data.manifest import PARTS, Entry, Manifest, Part
from hdlif.data.places import own_place
from hdlif.data.samples import ImageSets, Samples
from hdlif.data.shares import Shares, divided, rank, shares_of
from hdlif.errors import DataError, reason, some
from hdlif.inputs import MOST_BYTES, Unreadable, pictures
from hdlif.inputs.fitting import MODES, Pixels, fitted
from hdlif.ops import InputRecord
from hdlif.whole_files import read_regular

MOST_KEPT = 2**29
"""Bytes of pixels that are kept in memory; of more, pictures are read as batches ask for them."""
SMALL_SIDE, DEFAULT_SIDE = 64, 32
MANY = 5000
_MOST_NAMED = 3
_RESIZE = "bilinear"


class PictureFiles(Samples):
    """Labelled pictures of any size that do not fit in memory, read and made to fit when a batch asks for them.

    Args:
        folder: of the files.
        places: int64 [N], which of its files each sample is.
        labels: int64 [N].
        record: what a picture becomes.
        augment, seed: as of `Samples`.
    """

    def __init__(
        self,
        folder: Folder,
        places: NDArray[np.int64],
        labels: Tensor,
        *,
        record: InputRecord,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(labels, augment=augment, seed=seed)
        self.folder, self.places, self.record = folder, places, record

    @property
    def costly(self) -> bool:
        return True

    def resized(self, size: int) -> Self:
        """The same pictures at size x size."""
        shape = (self.record.shape[0], size, size)
        return self._changed(record=_replaced(self.record, shape))

    def read(self, indices: Tensor) -> Tensor:
        """Pixels uint8 [B, C, H, W]."""
        return torch.from_numpy(np.stack([self._pixels(int(place)) for place in self.places[indices.numpy()]]))

    def _pixels(self, place: int) -> Pixels:
        try:
            return pixels_of(self.folder.encoded(place), self.record)
        except (OSError, Unreadable) as error:
            raise DataError(f"{self.folder.name(place)}: cannot be read as a picture ({reason(error)})") from error

    def scale(self, raw: Tensor) -> Tensor:
        """(raw / 255 - mean) / std."""
        return normalised(raw, self.record.mean, self.record.std)


def pixels_of(content: bytes, record: InputRecord) -> Pixels:
    """The pixels uint8 [C, H, W] of an image file, made to fit as the record says; raises `Unreadable`."""
    image = pictures.decode(content, MODES[record.shape[0]])
    return fitted(image, record.shape, resize=record.resize, fit=record.fit)


def find_pictures(
    root: Path | None,
    *,
    size: int | None,
    known: InputRecord | None,
    say: Callable[[str], None] = lambda line: None,
    path: str,
    channels: Literal[1, 3] | None = None,
    fit: Literal["squash", "crop"] = "squash",
    unreadable: Literal["refuse", "skip"] = "refuse",
    split: Mapping[str, float] | None = None,
) -> Found:
    """Look at a folder of pictures, laid out as `class_folders` says, split where it is not.

    Args:
        root: the folder that a relative path starts from; the working folder by default.
        size: of the square that pictures become. By default they keep their size where all have the same, of at most 64
            a side, and become 32x32 where not.
        known: how a network that is there already takes pictures; nothing is then measured.
        say: gets a line where there are more than `MANY` files.
        channels: 1 for grey, 3 for colours; by default grey where every file is stored so.
        fit: of a picture of other proportions, "squash" takes all, "crop" the middle.
        unreadable: files that are no pictures, are damaged or too large are refused, or left out.
        split: shares {validation: 0.15, test: 0.15, seed: 0} of what has no folder of its own, taken from each class.
    Raises:
        DataError: the folder holds no data set, files cannot be read, or a class has too few pictures.
        ValueError: a share that none can be.
    """
    shares = shares_of(split)
    place = own_place(root, path, "a folder of pictures")
    layout = laid_out(place, pictures.FORMATS)
    if len(layout.files) > MANY:
        say(f"{place}: looking at {len(layout.files):,} pictures")
    seen, faults = _headers(layout)
    if len(faults) == len(seen):
        _refuse(layout, faults, unreadable)
    record = known or _record(seen, size=size, channels=channels, fit=fit)
    readable = [number for number, one in enumerate(seen) if one is not None]
    fits = len(readable) * math.prod(record.shape) <= MOST_KEPT
    measured = _Measured.nothing(record, len(seen), kept=fits)
    if fits or known is None or unreadable == "skip":
        faults |= measured.read(layout, readable, record)
    _refuse(layout, faults, unreadable)
    if faults:
        readable = [number for number in readable if layout.files[number].file not in faults]
    manifest = _manifest(layout, {number: one for number in readable if (one := seen[number])}, faults, shares)
    part_of = {entry.file: entry.part for entry in manifest.entries}
    parts: dict[Part, list[int]] = {part: [] for part in PARTS}
    for number in _mixed(layout, readable, seen, shares.seed):
        parts[part_of[layout.files[number].file]].append(number)
    if known is None:
        mean, std = measured.moments(parts["train"], record)
        record = InputRecord(record.shape, mean, std, resize=record.resize, fit=record.fit)
    return Found(
        place,
        record,
        layout.classes,
        manifest,
        _described(layout, manifest, [one for number in readable if (one := seen[number])], faults, shares, fits),
        _maker(layout, record, parts, measured.pixels),
    )


@dataclass(frozen=True)
class _Seen:
    header: pictures.Header
    bytes: int
    sha256: str


def _headers(layout: Layout) -> tuple[list[_Seen | None], dict[str, str]]:
    """What each file says of itself, in their order, and what is wrong with those that cannot be read."""
    seen: list[_Seen | None] = []
    faults: dict[str, str] = {}
    for one in layout.files:
        try:
            content = read_regular(layout.root / one.file, most=MOST_BYTES)
            seen.append(_Seen(pictures.header(content), len(content), hashlib.sha256(content).hexdigest()))
        except (OSError, Unreadable) as error:
            faults[one.file] = reason(error)
            seen.append(None)
    return seen, faults


def _refuse(layout: Layout, faults: Mapping[str, str], unreadable: str) -> None:
    """Raise `DataError` on files that cannot be read, unless they are left out and each class has others."""
    if not faults:
        return
    if unreadable == "refuse":
        named = some([f"{file} ({why})" for file, why in sorted(faults.items())], _MOST_NAMED)
        raise DataError(
            f"{layout.root}: {len(faults)} of {len(layout.files)} files cannot be read as pictures: {named}; "
            "take them away, or leave them out with data.unreadable=skip"
        )
    left = {(one.part, one.label) for one in layout.files if one.file not in faults}
    for one in layout.files:
        if (one.part, one.label) not in left:
            raise DataError(
                f"{layout.root}: no picture of class {one.label} can be read, first {one.file} ({faults[one.file]}); "
                "add some, or take the folder away"
            )


def _record(seen: Sequence[_Seen | None], *, size: int | None, channels: int | None, fit: str) -> InputRecord:
    """What pictures become, but for their mean and deviation."""
    headers = [one.header for one in seen if one is not None]
    if size is None:
        sides = {(header.height, header.width) for header in headers}
        same = next(iter(sides)) if len(sides) == 1 else None
        height, width = same if same and max(same) <= SMALL_SIDE else (DEFAULT_SIDE, DEFAULT_SIDE)
    else:
        height = width = size
    channels = channels or max(header.channels for header in headers)
    return InputRecord((channels, height, width), (0.0,) * channels, (1.0,) * channels, resize=_RESIZE, fit=fit)


def _replaced(record: InputRecord, shape: tuple[int, int, int]) -> InputRecord:
    return InputRecord(shape, record.mean, record.std, resize=record.resize, fit=record.fit)


@dataclass(frozen=True)
class _Measured:
    """Sums of the pixels of each file, and of their squares, int64 [N, C]; the pixels, where they are kept."""

    sums: NDArray[np.int64]
    squares: NDArray[np.int64]
    pixels: Pixels | None

    @classmethod
    def nothing(cls, record: InputRecord, count: int, *, kept: bool) -> "_Measured":
        channels = record.shape[0]
        pixels = np.zeros((count, *record.shape), np.uint8) if kept else None
        return cls(np.zeros((count, channels), np.int64), np.zeros((count, channels), np.int64), pixels)

    def read(self, layout: Layout, numbers: Sequence[int], record: InputRecord) -> dict[str, str]:
        """Measure the files of these numbers; returns what is wrong with those that are damaged."""
        faults = {}
        for number in numbers:
            file = layout.files[number].file
            try:
                pixels = pixels_of(read_regular(layout.root / file, most=MOST_BYTES), record)
            except (OSError, Unreadable) as error:
                faults[file] = reason(error)
                continue
            values = pixels.reshape(len(pixels), -1).astype(np.int64)
            self.sums[number], self.squares[number] = values.sum(1), (values**2).sum(1)
            if self.pixels is not None:
                self.pixels[number] = pixels
        return faults

    def moments(self, numbers: Sequence[int], record: InputRecord) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of pixels / 255 by channel over some files: of exact sums, rounded to 6 digits.

        A channel that hardly varies has the deviation 1/255.
        """
        n = len(numbers) * math.prod(record.shape[1:])
        mean, std = [], []
        for sums, squares in zip(self.sums[numbers].T.tolist(), self.squares[numbers].T.tolist(), strict=True):
            first, second = sum(sums), sum(squares)
            mean.append(round(first / n / 255, 6))
            std.append(max(round(math.sqrt(n * second - first**2) / n / 255, 6), round(1 / 255, 6)))
        return tuple(mean), tuple(std)


def _manifest(layout: Layout, seen: Mapping[int, _Seen], faults: Mapping[str, str], shares: Shares) -> Manifest:
    """The part of each file: that of its folder, or a share of its class."""
    split_from: Part | None = "train" if layout.parts else None
    wanted = [part for part in PARTS if part not in layout.parts]
    divide = [number for number in seen if wanted and layout.files[number].part == split_from]
    parts: dict[int, Part] = {}
    for label, group in groupby(divide, key=lambda number: layout.files[number].label):
        members = list(group)
        found = divided([seen[number].sha256 for number in members], shares, wanted)
        if found is None:
            few = len({seen[number].sha256 for number in members})
            raise DataError(
                f"{layout.root}: class {label} has {few} different picture{'s' * (few != 1)}, too few to take some for "
                f"{' and '.join(part for part in wanted if part != 'train')}; give it more, or lower data.split"
            )
        parts |= {number: found[seen[number].sha256] for number in members}
    entries = []
    for number, one in seen.items():
        listed = layout.files[number]
        part = parts.get(number) or listed.part or "train"
        entries.append(Entry(listed.file, one.bytes, one.sha256, listed.label, part))
    return Manifest(tuple(entries), tuple(sorted(faults)))


def _mixed(layout: Layout, numbers: Sequence[int], seen: Sequence[_Seen | None], seed: int) -> list[int]:
    """The files in an order in which the first ones are of all classes, whatever else is there."""

    def key(number: int) -> tuple[str, str]:
        one = seen[number]
        return rank(one.sha256 if one else "", seed), layout.files[number].file

    return sorted(numbers, key=key)


def _maker(
    layout: Layout, record: InputRecord, parts: Mapping[Part, Sequence[int]], pixels: Pixels | None
) -> Callable[[Augment, int], ImageSets]:
    label_of = {label: number for number, label in enumerate(layout.classes)}
    labels = np.array([label_of[one.label] for one in layout.files], np.int64)
    folder = Folder(layout.root, [one.file for one in layout.files])

    def samples(part: Part, augment: Augment = (), seed: int = 0) -> Samples:
        places = np.array(parts[part], np.int64)
        of_part = torch.from_numpy(labels[places])
        if pixels is None:
            return PictureFiles(folder, places, of_part, record=record, augment=augment, seed=seed)
        kept = torch.from_numpy(pixels[places])
        return Images(kept, of_part, mean=record.mean, std=record.std, augment=augment, seed=seed)

    def make(augment: Augment, seed: int) -> ImageSets:
        return ImageSets(
            samples("train", augment, seed),
            samples("validation"),
            samples("test"),
            classes=layout.classes,
            shape=record.shape,
            mean=record.mean,
            std=record.std,
        )

    return make


def _described(
    layout: Layout,
    manifest: Manifest,
    seen: Sequence[_Seen],
    faults: Mapping[str, str],
    shares: Shares,
    fits: bool,
) -> dict[str, Any]:
    taken = [part for part in PARTS[1:] if part not in layout.parts]
    sizes = Counter((one.header.height, one.header.width) for one in seen)
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return {
        "layout": "/".join(layout.parts) + " folders of classes" if layout.parts else "folders of classes",
        "split": {part: getattr(shares, part) for part in taken} | ({"seed": shares.seed} if taken else {}),
        "ignored": dict(layout.ignored),
        "unreadable": [{"file": file, "reason": why} for file, why in sorted(faults.items())],
        "sizes": {"different": len(sizes), "smallest": list(by_area[0]), "largest": list(by_area[-1])},
        "modes": dict(sorted(Counter(one.header.mode for one in seen).items())),
        "duplicates": _duplicates(manifest),
        "in_memory": fits,
    }


def _duplicates(manifest: Manifest) -> dict[str, Any]:
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

"""A folder of the user's own pictures, of any size and mode, as a data set.

Every picture is read to see what it is and to hash its content. When it is known what pictures become, it is decoded,
made to fit and, where all of them take little memory, kept: out of the bytes that were read, as far as they are held
until then, or read again. Pictures are made to fit and normalised by `hdlif.inputs.fitting`, as `hdlif run` does it.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.files import ByteSource
from hdlif.data.folders import files_at
from hdlif.data.in_memory import Images, normalised
from hdlif.data.manifest import Part
from hdlif.data.own_data import Layout, OwnData, Request, divide_files, own_place, refuse_faults
from hdlif.data.samples import Samples
from hdlif.data.split import shares_of
from hdlif.data.targets import Scale, Wanted
from hdlif.errors import DataError, reason
from hdlif.inputs import Unreadable, pictures
from hdlif.inputs.fitting import MODES, Pixels, fitted
from hdlif.ops import InputRecord

MOST_KEPT = 2**29
"""Bytes of pixels that are kept in memory; of more, pictures are read as batches ask for them."""
SMALL_SIDE, DEFAULT_SIDE = 64, 32
MANY = 5000
MOST_READ_ONCE = 2**28
"""Bytes of files that are held until it is known what pictures become."""
_RESIZE = "bilinear"


class PictureFiles(Samples):
    """Labelled pictures of any size that do not fit in memory, read and made to fit when a batch asks for them.

    Args:
        source: of the files.
        places: int64 [N], which of its files each sample is.
        labels: [N, ...], what is learned of each; of a class int64 [N].
        record: what a picture becomes.
        augment, seed: as of `Samples`.
    """

    def __init__(
        self,
        source: ByteSource,
        places: NDArray[np.int64],
        labels: Tensor,
        *,
        record: InputRecord,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(labels, augment=augment, seed=seed)
        self.source, self.places, self.record = source, places, record

    @property
    def costly(self) -> bool:
        return True

    def resized(self, size: int) -> Self:
        """The same pictures at size x size."""
        return self._changed(record=replace(self.record, shape=(self.record.shape[0], size, size)))

    def read(self, indices: Tensor) -> Tensor:
        """Pixels uint8 [B, C, H, W]."""
        return torch.from_numpy(np.stack([self._pixels(int(place)) for place in self.places[indices.numpy()]]))

    def _pixels(self, place: int) -> Pixels:
        try:
            return pixels_of(self.source.encoded(place), self.record)
        except (OSError, Unreadable) as error:
            raise DataError(f"{self.source.name(place)}: cannot be read as a picture ({reason(error)})") from error

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
    split: Mapping[str, float | Sequence[str | int]] | None = None,
    targets: str | None = None,
    file: str | None = None,
    label: str | None = None,
    group: str | None = None,
    scale: Scale | None = None,
    values: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
) -> OwnData:
    """Look at a folder of pictures, laid out as `folders` describes, split where it is not.

    Args:
        root: the folder that a relative path starts from; the working folder by default.
        size: of the square that pictures become. By default they keep their size where all have the same, of at most 64
            a side, and become 32x32 where not.
        known: how a network that is there already takes pictures; nothing is then measured.
        say: gets a line where there are more than `MANY` files.
        channels: 1 for grey, 3 for colours; by default grey where every file is stored so.
        fit: of a picture of other proportions, "squash" takes all, "crop" the middle.
        unreadable: files that are no pictures, are damaged or too large are refused, or left out.
        split: shares {validation: 0.15, test: 0.15, seed: 0} of what has no part of its own, taken from each class.
        targets, file, label, group: the table of targets and its columns, as `folders.files_at` takes them.
        scale: mean and deviation by which a network that is there already has its values normalised.
        values, labels: the columns of it that are learned in place of a class.
    Raises:
        DataError: the folder holds no data set, files cannot be read, or a class has too few pictures.
        ValueError: an argument that none can be.
    """
    wanted = Wanted(values=values, labels=labels)
    request = Request(shares_of(split), wanted, known, scale, size, say, unreadable)
    columns = {"targets": targets, "file": file, "label": label, "group": group}
    layout = files_at(own_place(root, path, "a folder of pictures"), pictures.FORMATS, "picture", wanted, **columns)
    return find_pictures_in(layout, request, channels=channels, fit=fit)


def find_pictures_in(layout: Layout, request: Request, *, channels: int | None = None, fit: str = "squash") -> OwnData:
    """Look at pictures wherever they lie; arguments and errors as of `find_pictures`."""
    known, unreadable = request.known, request.unreadable
    if len(layout.files) > MANY:
        request.say(f"{layout.root}: looking at {len(layout.files):,} pictures")
    seen, faults, contents = _headers(layout)
    if not seen:
        refuse_faults(layout, faults, unreadable, "picture")
    record = known or _record(list(seen.values()), size=request.size, channels=channels, fit=fit)
    fits = len(seen) * math.prod(record.shape) <= MOST_KEPT
    measured = _Measured.nothing(record, len(layout.files), kept=fits)
    if fits or known is None or unreadable == "skip":
        faults |= measured.read(layout, list(seen), record, contents)
    refuse_faults(layout, faults, unreadable, "picture")
    taken = {number: one for number, one in seen.items() if layout.files[number].name not in faults}
    hashed = {number: (one.bytes, one.sha256) for number, one in taken.items()}
    divided, files = divide_files(layout, hashed, faults, request, "picture"), np.array(list(taken), np.int64)
    if known is None:
        mean, std = measured.moments(files[divided.numbers["train"]], record)
        record = replace(record, mean=mean, std=std)

    def samples(part: Part, augment: Augment, seed: int) -> Samples:
        places, labels = files[divided.numbers[part]], divided.labels(part)
        if measured.pixels is None:
            return PictureFiles(layout.source, places, labels, record=record, augment=augment, seed=seed)
        kept = torch.from_numpy(measured.pixels[places])
        return Images(kept, labels, mean=record.mean, std=record.std, augment=augment, seed=seed)

    found = {**divided.seen, **_described(list(taken.values())), "in_memory": fits}
    return divided.found(record, found, samples)


@dataclass(frozen=True)
class _Seen:
    header: pictures.Header
    bytes: int
    sha256: str


def _headers(layout: Layout) -> tuple[dict[int, _Seen], dict[str, str], dict[int, bytes]]:
    """Read the header of each file; return what is wrong with those that cannot be read, and the first contents."""
    seen: dict[int, _Seen] = {}
    faults: dict[str, str] = {}
    contents: dict[int, bytes] = {}
    room = MOST_READ_ONCE
    for number, one in enumerate(layout.files):
        try:
            content = layout.source.encoded(number)
            seen[number] = _Seen(pictures.header(content), len(content), hashlib.sha256(content).hexdigest())
            if (room := room - len(content)) >= 0:
                contents[number] = content
        except (OSError, Unreadable) as error:
            faults[one.name] = reason(error)
    return seen, faults, contents


def _record(seen: Sequence[_Seen], *, size: int | None, channels: int | None, fit: str) -> InputRecord:
    """What pictures become, but for their mean and deviation."""
    headers = [one.header for one in seen]
    if size is None:
        sides = {(header.height, header.width) for header in headers}
        same = next(iter(sides)) if len(sides) == 1 else None
        height, width = same if same and max(same) <= SMALL_SIDE else (DEFAULT_SIDE, DEFAULT_SIDE)
    else:
        height = width = size
    channels = channels or max(header.channels for header in headers)
    return InputRecord((channels, height, width), (0.0,) * channels, (1.0,) * channels, resize=_RESIZE, fit=fit)


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

    def read(
        self, layout: Layout, numbers: Sequence[int], record: InputRecord, contents: dict[int, bytes]
    ) -> dict[str, str]:
        """Measure the files of these numbers, taking their contents where those are held; returns what is wrong."""
        faults = {}
        for number in numbers:
            file = layout.files[number].name
            try:
                pixels = pixels_of(contents.pop(number, b"") or layout.source.encoded(number), record)
            except (OSError, Unreadable) as error:
                faults[file] = reason(error)
                continue
            values = pixels.reshape(len(pixels), -1).astype(np.int64)
            self.sums[number], self.squares[number] = values.sum(1), (values**2).sum(1)
            if self.pixels is not None:
                self.pixels[number] = pixels
        return faults

    def moments(self, numbers: NDArray[np.int64], record: InputRecord) -> tuple[tuple[float, ...], tuple[float, ...]]:
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


def _described(seen: Sequence[_Seen]) -> dict[str, Any]:
    sizes = Counter((one.header.height, one.header.width) for one in seen)
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return {
        "sizes": {"different": len(sizes), "smallest": list(by_area[0]), "largest": list(by_area[-1])},
        "modes": dict(sorted(Counter(one.header.mode for one in seen).items())),
    }

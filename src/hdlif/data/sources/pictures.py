"""Read folders of the user's own images, which may have any size and mode.

hdlif reads the header and computes the hash of every image file. `hdlif.inputs.fitting` resizes each image exactly as
for `hdlif run`. The pixels of all images are kept in memory if they take at most `MOST_KEPT` bytes.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.files import ByteSource
from hdlif.data.folders import Listed
from hdlif.data.image_targets import Located
from hdlif.data.in_memory import Images, normalised
from hdlif.data.manifest import Part
from hdlif.data.own_data import Divided, Layout, OwnData, Request, divide_files, read_files, refuse_faults
from hdlif.data.samples import Samples
from hdlif.errors import DataError, reason
from hdlif.graph.graph import InputRecord
from hdlif.inputs import Unreadable, pictures
from hdlif.inputs.fitting import MODES, Pixels, fitted, inner_size, mean_bytes

MOST_KEPT = 2**29
"""Maximum bytes of pixels kept in memory; if there are more, images are read for each batch."""
MANY = 5000
MOST_READ_ONCE = 2**28
"""Maximum bytes of files held in memory until the input size is known."""
_RESIZE = "bilinear"
Fit = Literal["squash", "crop", "letterbox"]


class PictureFiles(Samples):
    """Images that do not fit in memory and are therefore read for each batch.

    `places` [N] contains the index of each sample in `source`.
    """

    costly = True

    def __init__(
        self,
        source: ByteSource,
        places: NDArray[np.int64],
        labels: Tensor,
        *,
        record: InputRecord,
        augment: Augment | None = None,
        seed: int = 0,
        located: Located | None = None,
    ) -> None:
        super().__init__(labels, augment=augment, seed=seed, located=located)
        self.source, self.places, self.record = source, places, record

    def resized(self, size: int) -> Self:
        """Return the images resized to `size` x `size`."""
        return self._changed(record=replace(self.record, shape=(self.record.shape[0], size, size)))

    def read(self, indices: Tensor) -> Tensor:
        """Return the pixels as uint8 [B, C, H, W]."""
        return torch.from_numpy(np.stack([self._pixels(int(place)) for place in self.places[indices.numpy()]]))

    def _pixels(self, place: int) -> Pixels:
        try:
            return pixels_of(self.source.encoded(place), self.record)
        except (OSError, Unreadable) as error:
            raise DataError(f"{self.source.name(place)}: cannot be read as an image ({reason(error)})") from error

    def scale(self, raw: Tensor) -> Tensor:
        """Return the normalised pixels (raw / 255 - mean) / std."""
        return normalised(raw, self.record.mean, self.record.std)


def pixels_of(content: bytes, record: InputRecord) -> Pixels:
    """Decode and resize an image as `record` specifies, and return uint8 pixels [C, H, W]. Raises `Unreadable`."""
    image = pictures.decode(content, MODES[record.shape[0]])
    return fitted(image, record.shape, resize=record.resize, fit=record.fit, mean=record.mean)


@dataclass(frozen=True, kw_only=True)
class OfImages(Request):
    """Base class for requests to load images.

    Attributes:
        channels: 1 for greyscale, 3 for colour; by default, greyscale if every file is greyscale.
        fit: as in `fitting.fitted`.
    """

    small_side: ClassVar[int] = 64
    """Maximum side at which images of equal size keep their size, if `size` is not given."""
    multiple: ClassVar[int] = 1
    """Divisor of both sides of images that keep their size."""
    default_size: ClassVar[tuple[int, int]] = 32, 32

    channels: Literal[1, 3] | None = None
    fit: Fit = "squash"

    def locate(
        self, layout: Layout, headers: Mapping[int, pictures.Header], record: InputRecord
    ) -> tuple[Layout, dict[str, str]]:
        """Return a layout with targets in network-input pixels, and an error for each file without a valid target.

        Args:
            headers: the headers of the files that were read, by number.
        """
        return layout, {}

    def describe(self, divided: Divided) -> Mapping[str, Any]:
        """Describe the targets as JSON under the key "target", as in `targets.described`."""
        return {}

    def find_images(self, layout: Layout) -> OwnData:
        """Create a data set from the images that a `Layout` lists."""
        known, unreadable = self.known, self.unreadable
        if len(layout.files) > MANY:
            self.say(f"{layout.root}: scanning {len(layout.files):,} images")
        seen, faults, contents = _headers(layout)
        if not seen:
            refuse_faults(layout, faults, unreadable, "image")
        record = known or self._image_record([one.header for one in seen.values()])
        fits = len(seen) * math.prod(record.shape) <= MOST_KEPT
        measured = _Measured(record, len(layout.files), kept=fits)
        if fits or known is None or unreadable == "skip":
            faults |= measured.read(layout, {number: one.header for number, one in seen.items()}, record, contents)
        layout, others = self.locate(layout, {number: one.header for number, one in seen.items()}, record)
        faults |= others
        refuse_faults(layout, faults, unreadable, "image")
        taken = {number: one for number, one in seen.items() if layout.files[number].name not in faults}
        hashed = {number: (one.bytes, one.sha256) for number, one in taken.items()}
        divided, files = divide_files(layout, hashed, faults, self, "image"), np.array(list(taken), np.int64)
        if known is None:
            mean, std = measured.moments(files[divided.numbers["train"]])
            record = replace(record, mean=mean, std=std)
            measured.pad(record)
        fill = torch.from_numpy(mean_bytes(record.mean))[:, None, None]

        def samples(part: Part, augment: Augment, seed: int) -> Samples:
            places, labels = files[divided.numbers[part]], divided.labels(part)
            settings: Any = {"augment": augment, "seed": seed, "located": self.located}
            made: Samples
            if measured.pixels is None:
                made = PictureFiles(layout.source, places, labels, record=record, **settings)
            else:
                kept = torch.from_numpy(measured.pixels[places])
                made = Images(kept, labels, mean=record.mean, std=record.std, **settings)
            made.fill = fill
            return made

        return divided.found(
            record,
            {**divided.seen, **self.describe(divided), **_described(list(taken.values())), "in_memory": fits},
            samples,
        )

    def _image_record(self, headers: Sequence[pictures.Header]) -> InputRecord:
        """Return the input record for images, without mean and standard deviation."""
        sides = {(header.height, header.width) for header in headers}
        same = next(iter(sides)) if len(sides) == 1 else (0, 0)
        is_kept = 0 < max(same) <= self.small_side and not any(side % self.multiple for side in same)
        height, width = same if is_kept else self.default_size
        if self.size is not None:
            height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        channels = self.channels or max(header.channels for header in headers)
        mean, std = (0.0,) * channels, (1.0,) * channels
        return InputRecord((channels, height, width), mean, std, resize=_RESIZE, fit=self.fit)


@dataclass(frozen=True, kw_only=True)
class Pictures(Listed, OfImages):
    """A request to load a folder of images.

    By default, images are resized to 32x32. If all images have the same size of at most 64x64 pixels, they keep this
    size.
    """

    def find(self) -> OwnData:
        return self.find_images(self.layout(pictures.FORMATS, "image"))


@dataclass(frozen=True)
class _Seen:
    header: pictures.Header
    bytes: int
    sha256: str


def _headers(layout: Layout) -> tuple[dict[int, _Seen], dict[str, str], dict[int, bytes]]:
    """Return the headers of all files, the errors for unreadable files, and the contents of the first files."""
    seen: dict[int, _Seen] = {}
    faults: dict[str, str] = {}
    contents: dict[int, bytes] = {}
    room = MOST_READ_ONCE
    for number, _, content, sha256, header in read_files(layout, lambda _, content: pictures.header(content), faults):
        seen[number] = _Seen(header, len(content), sha256)
        if (room := room - len(content)) >= 0:
            contents[number] = content
    return seen, faults, contents


class _Measured:
    """The sums of pixel values and squared pixel values in each file, as int64 [N, C], and optionally the pixels.

    `sizes` [N, 2] contains the height and width of each resized image without letterbox padding. The sums exclude
    letterbox padding.
    """

    def __init__(self, record: InputRecord, count: int, *, kept: bool) -> None:
        channels = record.shape[0]
        self.sums, self.squares, self.sizes = (np.zeros((count, width), np.int64) for width in (channels, channels, 2))
        self.pixels: Pixels | None = np.zeros((count, *record.shape), np.uint8) if kept else None

    def read(
        self, layout: Layout, headers: Mapping[int, pictures.Header], record: InputRecord, contents: dict[int, bytes]
    ) -> dict[str, str]:
        """Compute the sums of pixel values for all files, and return the errors for unreadable files."""
        faults, (_, height, width) = {}, record.shape
        for number, header in headers.items():
            file = layout.files[number].name
            try:
                pixels = pixels_of(contents.pop(number, b"") or layout.source.encoded(number), record)
            except (OSError, Unreadable) as error:
                faults[file] = reason(error)
                continue
            if record.fit == "letterbox":
                width, height = inner_size((header.width, header.height), (record.shape[2], record.shape[1]))
            self.sizes[number] = height, width
            values = pixels[:, :height, :width].reshape(len(pixels), -1).astype(np.int64)
            self.sums[number], self.squares[number] = values.sum(1), (values**2).sum(1)
            if self.pixels is not None:
                self.pixels[number] = pixels
        return faults

    def pad(self, record: InputRecord) -> None:
        """Fill the letterbox padding of images in memory with the mean pixel value of each channel."""
        fill = mean_bytes(record.mean)[:, None, None]
        for pixels, (height, width) in zip(() if self.pixels is None else self.pixels, self.sizes, strict=False):
            pixels[:, height:] = fill
            pixels[:, :, width:] = fill

    def moments(self, numbers: NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the mean and standard deviation (at least 1/255) of pixels / 255 per channel, to 6 decimal places."""
        n = int(self.sizes[numbers].prod(1).sum())
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

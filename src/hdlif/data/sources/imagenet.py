"""Read ImageNet-1k (ILSVRC 2012) and Tiny-ImageNet lazily from folders or shards.

Tar shards in the WebDataset format contain KEY.jpg and KEY.cls for each image. The index of the shards is built in one
pass over the headers and stored next to the shards as `INDEX`. If the name, size or modification time of a shard
changes, hdlif rebuilds the index.
"""

import contextlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.augment import Augment, resized_crop
from hdlif.data.draws import random_bits
from hdlif.data.files import ByteSource, Folder, Member, Shards, tar_members
from hdlif.data.in_memory import normalised
from hdlif.data.roots import SetFolder, whole_number
from hdlif.data.samples import DataSets, Samples
from hdlif.data.split import fixed_permutation, hold_out
from hdlif.errors import DataError, cut, reason
from hdlif.inputs import Unreadable, pictures
from hdlif.inputs.datasets import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    TINY_IMAGENET_CLASSES,
    TINY_IMAGENET_MEAN,
    TINY_IMAGENET_STD,
)
from hdlif.whole_files import open_regular, read_regular, whole_file

IMAGENET_SIZE, IMAGENET_SHORT_SIDE = 224, 256
TINY_IMAGENET_SIZE = 64
_CROP = "random_resized_crop"
SUFFIXES = (".jpeg", ".jpg", ".png")
INDEX = "hdlif_index.npz"
MOST_INDEX = 2**30
"""Maximum size of the index in bytes; each image takes 32 bytes."""


class ImageFiles(Samples):
    """Labelled images of any size, decoded as RGB and normalised to x = (augmented pixels / 255 - mean) / std.

    Without the augmentation `random_resized_crop`, the shorter side of an image is resized to `short_side` (bilinear,
    antialiased), and then the centre is cropped. `places` [N] contains the index of each sample in `source`.
    """

    costly = True
    _drawn_in_read = (_CROP,)

    def __init__(
        self,
        source: ByteSource,
        places: NDArray[np.int64],
        labels: Tensor,
        *,
        size: int,
        short_side: int,
        mean: Sequence[float],
        std: Sequence[float],
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(labels, augment=augment, seed=seed)
        if _CROP in self.augment[1:]:
            raise DataError(f"augment: {list(self.augment)}: {_CROP} selects the pixels, so name it first and once")
        self.source, self.places = source, places
        self.size, self.short_side = size, short_side
        self.mean, self.std = tuple(mean), tuple(std)

    def resized(self, size: int) -> Self:
        """Return the images resized to `size` x `size`, with `short_side` scaled in proportion."""
        return self._changed(size=size, short_side=round(self.short_side * size / self.size))

    def read(self, indices: Tensor) -> Tensor:
        """Return the pixels as uint8 [B, 3, size, size]."""
        places = [int(place) for place in self.places[indices.numpy()]]
        images = [self._decoded(place) for place in places]
        if self.augment[:1] == (_CROP,):
            bits = random_bits(indices.numpy(), seed=self.seed, epoch=self.epoch, stream=1)
            return resized_crop(images, bits, size=self.size)
        return torch.stack([self._centred(*one) for one in zip(images, places, strict=True)])

    def _centred(self, image: Tensor, place: int) -> Tensor:
        from torchvision.transforms.v2 import functional as F

        shorter, longer = sorted(image.shape[1:])
        if shorter != self.short_side:
            try:
                # Resizing keeps the aspect ratio, so a strip one pixel wide would become a very long image.
                pictures.check_size(self.short_side, self.short_side * longer // shorter)
            except Unreadable as error:
                raise DataError(f"{self.source.name(place)}: at the requested size, {error}; remove it") from error
            image = F.resize(image, [self.short_side], antialias=True)
        centre: Tensor = F.center_crop(image, [self.size, self.size])
        return centre

    def _decoded(self, place: int) -> Tensor:
        from torchvision.transforms.v2 import functional as F

        try:
            image = pictures.decode(self.source.encoded(place), "RGB", SUFFIXES)
        except (OSError, Unreadable) as error:
            name = self.source.name(place)
            raise DataError(f"{name}: cannot be read as an image ({reason(error)}); extract it again") from error
        pixels: Tensor = F.pil_to_tensor(image)
        return pixels

    def scale(self, raw: Tensor) -> Tensor:
        """Return the normalised pixels (raw / 255 - mean) / std."""
        return normalised(raw, self.mean, self.std)


@dataclass(frozen=True)
class _Listed:
    """One split of a data set, with a source of samples and the label of each sample."""

    source: ByteSource
    labels: NDArray[np.int64]


def imagenet(
    root: Path | None = None,
    *,
    validation: int,
    augment: Augment = (),
    seed: int = 0,
    classes: tuple[str, ...] | None = None,
    counts: tuple[int, int] = (1_281_167, 50_000),
) -> DataSets:
    """Load ImageNet-1k from ROOT/imagenet/train and val, which contain class folders or tar shards.

    The published validation set is used as the test set. The last images in a fixed permutation of the training set
    form the validation set.

    Args:
        classes: names in the order of the class folders; by default, the thousand classes of ImageNet-1k.
        counts: required numbers of training and test images.
        root: the folder that contains the data; required.
        validation, augment, seed: as in `digits`.
    Raises:
        DataError: a part is missing or incomplete, or has the wrong number of classes or images.
    """
    classes = classes or imagenet_classes()
    folder = SetFolder(
        "imagenet",
        root,
        "imagenet",
        layout=f"train and val, each with {len(classes)} folders of images (n01440764, ...) or with tar shards of "
        "KEY.jpg and KEY.cls; ILSVRC2012_img_val.tar has no class folders: move its images into them by the "
        "development kit's list",
        source="from image-net.org, as the ILSVRC 2012 archives (an account is needed)",
        archive="ILSVRC2012_img_PART.tar",
        holds=("train", "val"),
    )
    parts = [_part(folder, name, len(classes)) for name in ("train", "val")]
    for name, part, count in zip(("train", "val"), parts, counts, strict=True):
        _check(folder, name, part, classes=len(classes), count=count)
    return _sets(
        "imagenet",
        parts,
        classes=classes,
        size=IMAGENET_SIZE,
        short_side=IMAGENET_SHORT_SIDE,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        validation=validation,
        augment=augment,
        seed=seed,
    )


def tiny_imagenet(
    root: Path | None = None,
    *,
    validation: int,
    augment: Augment = (),
    seed: int = 0,
    classes: int = len(TINY_IMAGENET_CLASSES),
    per_class: tuple[int, int] = (500, 50),
) -> DataSets:
    """Load Tiny-ImageNet (64x64) from the extracted archive in ROOT/tiny-imagenet-200.

    The published validation set is used as the test set, because the test images have no published labels.

    Args:
        root, validation, augment, seed: as in `imagenet`.
        classes: number of classes in the archive.
        per_class: required numbers of training and test images per class.
    """
    listed = "val/val_annotations.txt"
    folder = SetFolder(
        "tiny_imagenet",
        root,
        "tiny-imagenet-200",
        layout=f"wnids.txt, train/ID/images/*.JPEG, val/images/*.JPEG and {listed}",
        source="from http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        archive="tiny-imagenet-200.zip",
        holds=("wnids.txt", "train", "val/images", listed),
    )
    ids = sorted(folder.text("wnids.txt").splitlines())
    folder.plain(ids, "wnids.txt")
    number = {wordnet_id: label for label, wordnet_id in enumerate(ids)}
    if len(ids) != classes:
        raise folder.error(folder.path / "wnids.txt", f"{len(ids)} classes; there are {classes}")
    train = _folders(folder, "train", ids)
    annotations = [line.split("\t")[:2] for line in folder.text(listed).splitlines()]
    try:
        labels = np.array([number[wordnet_id] for _, wordnet_id in annotations], np.int64)
    except (KeyError, ValueError) as error:
        raise folder.error(folder.path / listed, f"class {cut(str(error))} is unknown") from error
    there = set(folder.files("val/images", SUFFIXES))
    images = folder.path / "val" / "images"
    if missing := [name for name, _ in annotations if name not in there]:
        raise folder.error(images, f"{len(missing)} of {len(annotations)} images missing, first {missing[0]}")
    test = _Listed(Folder(images, [name for name, _ in annotations]), labels)
    for name, part, share in (("train", train, per_class[0]), ("val", test, per_class[1])):
        _check(folder, name, part, classes=classes, count=classes * share, per_class=share)
    return _sets(
        "tiny_imagenet",
        [train, test],
        classes=TINY_IMAGENET_CLASSES[:classes],
        size=TINY_IMAGENET_SIZE,
        short_side=TINY_IMAGENET_SIZE,
        mean=TINY_IMAGENET_MEAN,
        std=TINY_IMAGENET_STD,
        validation=validation,
        augment=augment,
        seed=seed,
    )


def _part(folder: SetFolder, name: str, classes: int) -> _Listed:
    """List the images of a split that is stored in tar shards or class folders."""
    place = folder.path / name
    try:
        sharded = bool(_shards_in(place))
        ids = sorted(entry.name for entry in place.iterdir() if entry.is_dir())
    except OSError as error:
        raise folder.error(place, f"cannot be read ({reason(error)})") from error
    if sharded:
        return _open_shards(place, folder)
    if len(ids) != classes:
        raise folder.error(place, f"{len(ids)} class folders; there are {classes} classes")
    return _folders(folder, name, ids)


def _shards_in(folder: Path) -> list[Path]:
    """Return the tar files directly in a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix == ".tar" and path.is_file())


def _open_shards(folder: Path, of: SetFolder) -> _Listed:
    """List the images in all tar shards of a folder. Raises `DataError`."""
    paths = _shards_in(folder)
    try:
        found = [path.stat() for path in paths]
    except OSError as error:
        raise of.error(folder, f"cannot be read ({reason(error)})") from error
    state = json.dumps([[path.name, s.st_size, s.st_mtime_ns] for path, s in zip(paths, found, strict=True)])
    columns = _kept(folder / INDEX, state, [s.st_size for s in found])
    if columns is None:
        parts = [(number, *entry) for number, path in enumerate(paths) for entry in _scanned(path, of)]
        columns = np.array(parts, np.int64).reshape(-1, 4).T
        # The folder may be read-only.
        with contextlib.suppress(OSError), whole_file(folder / INDEX) as temporary, temporary.open("wb") as file:
            np.savez(file, state=state, columns=columns)
    shard, offset, size, labels = columns
    return _Listed(Shards(paths, shard, offset, size), labels)


def _scanned(path: Path, of: SetFolder) -> Iterator[tuple[int, int, int]]:
    """Yield (offset, size, label) for each image in a shard."""
    images: dict[str, Member] = {}
    labels: dict[str, int] = {}
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            for member in tar_members(file):
                folder, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                key = f"{folder}/{stem}"
                if f".{suffix.lower()}" in SUFFIXES:
                    images[key] = member
                elif suffix == "cls":
                    labels[key] = _label(file, member)
    except (OSError, Unreadable) as error:
        raise of.error(path, f"is a damaged or incomplete tar shard ({reason(error)})") from error
    for key, image in images.items():
        if key not in labels:
            raise of.error(
                path,
                f"{cut(key.lstrip('/'))} has no .cls file with its label as a number; extract an archive of one "
                f"class, as in ImageNet's train.tar, into a folder {path.with_suffix('')}",
            )
        yield image.offset, image.size, labels[key]


def _label(file: BinaryIO, member: Member) -> int:
    file.seek(member.offset)
    # No valid label with its line break is longer.
    content = file.read(min(member.size, 32))
    try:
        return whole_number(content.decode("ascii").strip())
    except ValueError as error:
        raise Unreadable(f"{cut(member.name)}: {content!r} is not a label of up to 18 digits") from error


def _kept(path: Path, state: str, sizes: Sequence[int]) -> NDArray[np.int64] | None:
    """Return the stored index if it matches `state` and the sizes of the shards, and None otherwise."""
    try:
        with np.load(io.BytesIO(read_regular(path, most=MOST_INDEX)), allow_pickle=False) as kept:
            same, columns = str(kept["state"]) == state, kept["columns"]
    # A missing or damaged index is rebuilt.
    except Exception:
        return None
    if not same or columns.dtype != np.int64 or columns.ndim != 2 or len(columns) != 4 or (columns < 0).any():
        return None
    shard, offset, size, _ = columns
    inside = (shard < len(sizes)).all() and (size <= np.array(sizes)[shard] - offset).all()
    return columns if inside else None


def _folders(folder: SetFolder, part: str, ids: Sequence[str]) -> _Listed:
    """List the images in each class folder, or in its subfolder `images` if there is one."""
    folder.require([f"{part}/{wordnet_id}" for wordnet_id in ids])
    place = folder.path / part
    paths: list[str] = []
    labels: list[int] = []
    for label, wordnet_id in enumerate(ids):
        below = f"{wordnet_id}/images" if (place / wordnet_id / "images").is_dir() else wordnet_id
        names = folder.files(f"{part}/{below}", SUFFIXES)
        if not names:
            raise folder.error(place / below, "contains no image")
        paths += [f"{below}/{name}" for name in names]
        labels += [label] * len(names)
    return _Listed(Folder(place, paths), np.array(labels, np.int64))


def _check(
    folder: SetFolder, name: str, part: _Listed, *, classes: int, count: int, per_class: int | None = None
) -> None:
    place = folder.path / name
    if ((part.labels < 0) | (part.labels >= classes)).any():
        raise folder.error(place, f"a label is outside 0..{classes - 1}")
    found = np.bincount(part.labels, minlength=classes)
    if not found.all():
        raise folder.error(place, f"class {int(found.argmin())} of {classes} has no image")
    if per_class is not None and (wrong := np.flatnonzero(found != per_class)).size:
        first = int(wrong[0])
        raise folder.error(place, f"class {first} has {found[first]} images of {per_class}")
    if len(part.labels) != count:
        raise folder.error(place, f"{len(part.labels)} images of {count}")


def _sets(
    name: str,
    parts: Sequence[_Listed],
    *,
    classes: tuple[str, ...],
    size: int,
    short_side: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    validation: int,
    **augmented: Any,
) -> DataSets:
    train, test = parts
    trained, held_out = (places.numpy() for places in hold_out(name, len(train.labels), validation))

    files = partial(ImageFiles, size=size, short_side=short_side, mean=mean, std=std)

    def samples(part: _Listed, places: NDArray[np.int64], **augmented: Any) -> ImageFiles:
        return files(part.source, places, torch.from_numpy(part.labels[places]), **augmented)

    return DataSets(
        samples(train, trained, **augmented),
        samples(train, held_out),
        samples(test, fixed_permutation(len(test.labels)).numpy()),
        classes=classes,
        shape=(3, size, size),
        mean=mean,
        std=std,
    )


@cache
def imagenet_classes() -> tuple[str, ...]:
    """Return the class names in the order of the sorted WordNet ids, as in torchvision."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])

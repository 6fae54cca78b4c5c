"""ImageNet-1k (ILSVRC 2012) and Tiny-ImageNet (ImageNet-200), read lazily from folders or shards."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models import ResNet18_Weights

from hdlif.data.image_files import SUFFIXES, Folder, ImageFiles, Source
from hdlif.data.roots import given_root, text_of
from hdlif.data.samples import ImageSets
from hdlif.data.shards import open_shards, shards_in
from hdlif.data.splits import check_validation, fixed_permutation
from hdlif.errors import DataError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET_SIZE, IMAGENET_SHORT_SIDE = 224, 256
IMAGENET_CLASSES: tuple[str, ...] = tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
"""In the order of the sorted WordNet ids, which is that of the labels."""
TINY_IMAGENET_MEAN, TINY_IMAGENET_STD = (0.480, 0.448, 0.398), (0.272, 0.266, 0.274)
TINY_IMAGENET_SIZE = 64
TINY_IMAGENET_CLASSES = tuple(f"class {number}" for number in range(200))
"""In the order of the sorted WordNet ids; their names stand in the set's words.txt."""


@dataclass(frozen=True)
class Part:
    """One part of a set as it lies on disk: a source, and the label of each place in it."""

    source: Source
    labels: NDArray[np.int64]


def imagenet(
    root: Path | None = None,
    *,
    validation: int,
    augment: Sequence[str],
    seed: int,
    classes: tuple[str, ...] = IMAGENET_CLASSES,
    counts: tuple[int, int] = (1_281_167, 50_000),
) -> ImageSets:
    """ImageNet-1k from ROOT/imagenet/train and ROOT/imagenet/val, each with a folder per class or with tar shards.

    The published validation set is the test set here. The validation images are the last ones of a fixed permutation
    of the training set; both sets are in such an order, so that the first images are of all classes.

    Args:
        classes: names, in the order of the class folders.
        counts: training and test images that there must be.
    Raises:
        DataError: a part is missing, half extracted, or has another number of classes or images.
    """
    folder = (
        given_root("imagenet", root, "the ILSVRC 2012 archives of image-net.org (an account is needed)") / "imagenet"
    )
    layout = (
        f"accepted is {folder}/train and {folder}/val, each with {len(classes)} folders of images (n01440764, ...) "
        "or with tar shards of KEY.jpg and KEY.cls; ILSVRC2012_img_val.tar has no class folders: move its images into "
        "them by the development kit's list"
    )
    parts = [_part(folder / name, len(classes), layout) for name in ("train", "val")]
    for name, part, count in zip(("train", "val"), parts, counts, strict=True):
        _check(folder / name, part, classes=len(classes), count=count, layout=layout)
    return _sets(
        "imagenet",
        parts,
        classes=classes,
        size=IMAGENET_SIZE,
        short_side=IMAGENET_SHORT_SIDE,
        moments=(IMAGENET_MEAN, IMAGENET_STD),
        validation=validation,
        augment=augment,
        seed=seed,
    )


def tiny_imagenet(
    root: Path | None = None,
    *,
    validation: int,
    augment: Sequence[str],
    seed: int,
    classes: int = len(TINY_IMAGENET_CLASSES),
    per_class: tuple[int, int] = (500, 50),
) -> ImageSets:
    """Tiny-ImageNet, 64x64, from ROOT/tiny-imagenet-200 as its archive extracts; otherwise as `imagenet`.

    Its test images have no published labels; its validation set is the test set here.
    """
    given = given_root("tiny_imagenet", root, "http://cs231n.stanford.edu/tiny-imagenet-200.zip")
    folder = given / "tiny-imagenet-200"
    layout = (
        f"accepted is {folder} with wnids.txt, train/ID/images/*.JPEG, val/images/*.JPEG and val/val_annotations.txt; "
        "extract http://cs231n.stanford.edu/tiny-imagenet-200.zip again"
    )
    ids = sorted(text_of(folder / "wnids.txt", layout).splitlines())
    number = {wordnet_id: label for label, wordnet_id in enumerate(ids)}
    if len(ids) != classes:
        raise DataError(f"{folder / 'wnids.txt'}: {len(ids)} classes; there are {classes}; {layout}")
    train = _folders(folder / "train", ids, layout)
    annotations = [
        line.split("\t")[:2] for line in text_of(folder / "val" / "val_annotations.txt", layout).splitlines()
    ]
    try:
        labels = np.array([number[wordnet_id] for _, wordnet_id in annotations], np.int64)
    except (KeyError, ValueError) as error:
        raise DataError(f"{folder / 'val' / 'val_annotations.txt'}: class {error} is unknown; {layout}") from error
    images = folder / "val" / "images"
    there = set(_names(images, layout))
    if missing := [name for name, _ in annotations if name not in there]:
        raise DataError(f"{images}: {len(missing)} of {len(annotations)} images missing, first {missing[0]}; {layout}")
    test = Part(Folder(images, [name for name, _ in annotations]), labels)
    for part, place, share in ((train, folder / "train", per_class[0]), (test, folder / "val", per_class[1])):
        _check(place, part, classes=classes, count=classes * share, layout=layout, per_class=share)
    return _sets(
        "tiny_imagenet",
        [train, test],
        classes=TINY_IMAGENET_CLASSES[:classes],
        size=TINY_IMAGENET_SIZE,
        short_side=TINY_IMAGENET_SIZE,
        moments=(TINY_IMAGENET_MEAN, TINY_IMAGENET_STD),
        validation=validation,
        augment=augment,
        seed=seed,
    )


def _part(folder: Path, classes: int, layout: str) -> Part:
    """Shards, or a folder per class."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; {layout}")
    if shards_in(folder):
        return Part(*open_shards(folder))
    ids = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if len(ids) != classes:
        raise DataError(f"{folder}: {len(ids)} class folders; there are {classes} classes; {layout}")
    return _folders(folder, ids, layout)


def _folders(folder: Path, ids: Sequence[str], layout: str) -> Part:
    """The images of each class's folder, or of a folder `images` in it."""
    paths: list[str] = []
    labels: list[int] = []
    for label, wordnet_id in enumerate(ids):
        below = f"{wordnet_id}/images" if (folder / wordnet_id / "images").is_dir() else wordnet_id
        names = _names(folder / below, layout)
        if not names:
            raise DataError(f"{folder / below}: holds no image; {layout}")
        paths += [f"{below}/{name}" for name in names]
        labels += [label] * len(names)
    return Part(Folder(folder, paths), np.array(labels, np.int64))


def _names(folder: Path, layout: str) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; {layout}")
    return sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in SUFFIXES)


def _check(place: Path, part: Part, *, classes: int, count: int, layout: str, per_class: int | None = None) -> None:
    found = np.bincount(part.labels[part.labels >= 0], minlength=classes)
    if len(found) != classes or (part.labels < 0).any():
        raise DataError(f"{place}: a label is outside 0..{classes - 1}; {layout}")
    if not found.all():
        raise DataError(f"{place}: class {int(found.argmin())} of {classes} has no image; {layout}")
    if per_class is not None and (wrong := np.flatnonzero(found != per_class)).size:
        first = int(wrong[0])
        raise DataError(f"{place}: class {first} has {found[first]} images of {per_class}; {layout}")
    if len(part.labels) != count:
        raise DataError(f"{place}: {len(part.labels)} images of {count}; {layout}")


def _sets(
    name: str,
    parts: Sequence[Part],
    *,
    classes: tuple[str, ...],
    size: int,
    short_side: int,
    moments: tuple[tuple[float, ...], tuple[float, ...]],
    validation: int,
    augment: Sequence[str],
    seed: int,
) -> ImageSets:
    train, test = parts
    check_validation(name, validation, least=1, most=len(train.labels) - 1)
    order, test_order = fixed_permutation(len(train.labels)).numpy(), fixed_permutation(len(test.labels)).numpy()

    def samples(part: Part, places: NDArray[np.int64], augment: Sequence[str] = ()) -> ImageFiles:
        labels: Tensor = torch.from_numpy(part.labels[places])
        mean, std = moments
        return ImageFiles(
            part.source,
            places,
            labels,
            size=size,
            short_side=short_side,
            mean=mean,
            std=std,
            augment=augment,
            seed=seed,
        )

    return ImageSets(
        samples(train, order[:-validation], augment),
        samples(train, order[-validation:]),
        samples(test, test_order),
        classes=classes,
        shape=(3, size, size),
        mean=moments[0],
        std=moments[1],
    )

"""Read images/NAME.EXT with label maps from labels/NAME.png, or from one file per object in masks/NAME/*.png.

The folders images, labels and masks are located in the root folder or in its subfolders train, val and test. Label maps
are PNG files with one 8-bit or 16-bit number per pixel. In a map of classes, 255 marks ignored pixels. In a map of
objects, 0 marks the background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hdlif.data.files import Folder
from hdlif.data.folders import Walk, check_folder, part_folders
from hdlif.data.image_targets import Located
from hdlif.data.manifest import PARTS, Part, Sample
from hdlif.data.own_data import Divided, Layout, OwnData, Placed
from hdlif.data.sources.pictures import Fit, OfImages
from hdlif.errors import DataError, reason
from hdlif.graph.graph import InputRecord
from hdlif.inputs import Unreadable, objects, pictures
from hdlif.inputs.fitting import IGNORED, map_to_input
from hdlif.whole_files import read_regular

IMAGES, LABELS, MASKS = "images", "labels", "masks"
_MOST_CLASSES, _MOST_OBJECTS = 255, 2**15 - 1
_MOST_BYTES = 2**28
"""Maximum size of a label file in bytes."""
_IGNORED_NUMBER = 255
MOST_VALUES = 2**30
"""Maximum number of pixels in all label maps, which are kept in memory."""


@dataclass(frozen=True, kw_only=True)
class Masks(Placed, OfImages):
    """A request to load images with label maps.

    By default, images are letterboxed to 160x160. If all images have the same size, with sides of at most 256 pixels
    that are multiples of 8, they keep this size.

    Attributes:
        instances: whether the numbers denote objects instead of classes.
        classes: names of the classes 0, 1, ...; by default, their numbers.
    """

    located: ClassVar[Located | None] = "map"
    small_side, multiple, default_size = 256, 8, (160, 160)

    fit: Fit = "letterbox"
    instances: bool = False
    classes: Sequence[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.instances and self.classes is not None:
            raise ValueError("classes apply to label maps of classes; leave out classes or instances")
        if self.classes is not None and not 2 <= len(set(self.classes)) == len(self.classes) <= _MOST_CLASSES:
            raise ValueError(f"classes = {list(self.classes)}; name 2 to {_MOST_CLASSES}, each once")

    def find(self) -> OwnData:
        return self.find_images(self.layout())

    def layout(self) -> Layout:
        """List the images. Raises `DataError` unless there is a folder of images and one of labels or masks."""
        root = self.place("a folder of images and labels")
        check_folder(root, f"give one with {IMAGES}/ and {LABELS}/ or {MASKS}/")
        walk = Walk(pictures.FORMATS)
        parts: Mapping[str, Part | None] = part_folders(root, walk.folders_in(root)[0], walk) or {"": None}
        listed: list[Sample] = []
        for folder, part in parts.items():
            place = root / folder
            kinds = [kind for kind in (LABELS, MASKS) if (place / kind).is_dir()]
            if not (place / IMAGES).is_dir() or len(kinds) != 1:
                seen = f"{LABELS}/ and {MASKS}/, but only one may exist" if len(kinds) > 1 else "other folders"
                raise DataError(
                    f"{place}: contains {seen}; put images into {IMAGES}/, and a map of each into {LABELS}/NAME.png, "
                    f"or a file for each object into {MASKS}/NAME/"
                )
            if kinds == [MASKS] and not self.instances:
                raise DataError(f"{place / MASKS}: has a file for each object; set data.instances=true")
            prefix = f"{folder}/" if folder else ""
            listed += [
                Sample(f"{prefix}{IMAGES}/{name}", part=part, target=place / kinds[0] / Path(name).with_suffix(""))
                for name in walk.files_below(place / IMAGES)
            ]
        if not listed:
            raise DataError(
                f"{root}: there is no image in {IMAGES}/; images end in {', '.join(sorted(pictures.FORMATS))}"
            )
        files = tuple(sorted(listed, key=lambda one: one.name))
        present = tuple(part for part in PARTS if part in parts.values())
        names = objects.PARTS if self.instances else tuple(self.classes or self._numbers_in(files))
        what = "objects" if self.instances else "classes"
        words = f"{'/'.join(present) + ' folders of ' if present else ''}images with maps of {what}"
        source = Folder(root, [one.name for one in files])
        return Layout(root, present, names, files, dict(sorted(walk.ignored.items())), source, words)

    def _numbers_in(self, files: Sequence[Sample]) -> list[str]:
        """Return the numbers from 0 to the largest class number in any readable file, as text."""
        largest = 1
        for one in files:
            try:
                largest = max(largest, int(_classes_at(one.target).max()))
            except (OSError, Unreadable):
                continue
        if largest >= _MOST_CLASSES:
            raise DataError(
                f"{self.place()}: its maps have numbers up to {largest:,}, but at most {_MOST_CLASSES} classes are "
                "supported; if they number objects, set data.instances=true"
            )
        return [str(number) for number in range(largest + 1)]

    def locate(
        self, layout: Layout, headers: Mapping[int, pictures.Header], record: InputRecord
    ) -> tuple[Layout, dict[str, str]]:
        _, height, width = record.shape
        if len(headers) * height * width > MOST_VALUES:
            raise DataError(
                f"{layout.root}: the maps of {len(headers):,} images at {height}x{width} are too large to be kept in "
                "memory; set a smaller data.size"
            )
        files, faults = list(layout.files), {}
        for number, header in headers.items():
            one = files[number]
            try:
                labels = self._read(one.target, (header.height, header.width), layout.classes)
            except (OSError, Unreadable) as error:
                faults[one.name] = reason(error)
                continue
            fitted = map_to_input(labels, (width, height), record.fit).astype(np.int16)
            files[number] = replace(one, target=fitted)
        return replace(layout, files=tuple(files)), faults

    def _read(self, place: Path, size: tuple[int, int], classes: Sequence[str]) -> NDArray[np.int32]:
        """Read a label map and check its size. Raises `Unreadable`."""
        if not self.instances:
            labels = _classes_at(place)
            if (labels >= len(classes)).any():
                y, x = np.argwhere(labels >= len(classes))[0].tolist()
                seen = f"class {labels[y, x]} in row {y}, column {x}"
                raise Unreadable(f"{_name_of(place)}: {seen}; classes are 0 to {len(classes) - 1}")
        elif place.parent.name == MASKS:
            labels = _joined(place)
        else:
            labels = _numbers_at(place)
            numbers, renumbered = np.unique(labels, return_inverse=True)
            labels = (renumbered.reshape(labels.shape) + (numbers[0] > 0)).astype(np.int32)
            if len(numbers) > _MOST_OBJECTS:
                raise Unreadable(
                    f"{_name_of(place)}: {len(numbers):,} objects; at most {_MOST_OBJECTS:,} are supported"
                )
        if labels.shape != size:
            seen, wanted = ("x".join(map(str, one)) for one in (labels.shape, size))
            raise Unreadable(f"{_name_of(place)} is {seen}, but the image is {wanted}")
        return labels

    def describe(self, divided: Divided) -> Mapping[str, Any]:
        names = ("objects",) if self.instances else divided.targets.names
        counts: dict[str, dict[Part, int]] = {name: dict.fromkeys(PARTS, 0) for name in names}
        for part in PARTS:
            for one in divided.of(part):
                there = np.unique(one.target)
                if self.instances:
                    counts["objects"][part] += int((there > 0).sum())
                else:
                    for number in there[there >= 0].tolist():
                        counts[names[number]][part] += 1
        if self.instances and not any(counts["objects"].values()):
            raise DataError(f"{self.place('a folder of images with maps')}: no map has an object; add some")
        return {"target": {"names": list(names), "counts": counts}}


def _name_of(place: Path) -> str:
    """Return the path of a label file relative to the folder of the split."""
    return f"{place.parent.name}/{place.name}" + (".png" if place.parent.name == LABELS else "")


def _numbers_at(place: Path) -> NDArray[np.int32]:
    """Return the pixels of labels/NAME.png, given the path labels/NAME. Raises `Unreadable` or `OSError`."""
    path = place.with_name(f"{place.name}.png")
    if not path.is_file():
        raise Unreadable(f"there is no {_name_of(place)}")
    try:
        return pictures.decode_numbers(read_regular(path, most=_MOST_BYTES))
    except Unreadable as error:
        raise Unreadable(f"{_name_of(place)}: {error}") from error


def _classes_at(place: Path) -> NDArray[np.int32]:
    labels = _numbers_at(place)
    return np.where(labels == _IGNORED_NUMBER, np.int32(IGNORED), labels)


def _joined(place: Path) -> NDArray[np.int32]:
    """Combine the files masks/NAME/*.png into a map of object numbers, in which later files overwrite shared pixels.

    Raises:
        Unreadable: files cannot be used together, or others cover more than half of an object.
    """
    paths = sorted(place.glob("*.png"))
    if not paths:
        raise Unreadable(f"there is no {_name_of(place)}/*.png")
    if len(paths) > _MOST_OBJECTS:
        raise Unreadable(f"{_name_of(place)}: {len(paths):,} objects; at most {_MOST_OBJECTS:,} are supported")
    joined: NDArray[np.int32] | None = None
    pixels = []
    for number, path in enumerate(paths, start=1):
        try:
            mask = pictures.decode_numbers(read_regular(path, most=_MOST_BYTES)) > 0
        except Unreadable as error:
            raise Unreadable(f"{_name_of(place)}/{path.name}: {error}") from error
        joined = np.zeros(mask.shape, np.int32) if joined is None else joined
        if mask.shape != joined.shape:
            raise Unreadable(f"{_name_of(place)}/{path.name} differs in size from {paths[0].name}")
        joined[mask] = number
        pixels.append(int(mask.sum()))
    assert joined is not None
    left = np.bincount(joined.ravel(), minlength=len(paths) + 1)[1:]
    for path, own, remaining in zip(paths, pixels, left.tolist(), strict=True):
        if 2 * remaining < own:
            seen = f"{own - remaining} of the {own} pixels of {path.name} are also in later files"
            raise Unreadable(f"{_name_of(place)}: {seen}; assign each pixel to one object")
    return joined

"""Read images or time series and their targets from the user's own map-style data sets.

hdlif reads and hashes every item once when a command starts. Each image is treated like an equivalent PPM file, and
each time series like an equivalent .npy file. Items are therefore subject to the same split, manifest and limits as
files.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hdlif.data.manifest import PARTS, Part, Sample
from hdlif.data.own_data import Layout, OwnData, Request, check_kind
from hdlif.data.python_data import length_of, read_item
from hdlif.data.sources.pictures import Fit, OfImages
from hdlif.data.targets import Wanted, in_order, item_target, labels_of
from hdlif.data.value_samples import find_series_in
from hdlif.errors import DataError, HdlifError, brief
from hdlif.inputs import Unreadable
from hdlif.inputs.fitting import MODES

PICTURE, SERIES = ".ppm", ".npy"
_TAKES = "images ([C, H, W] of uint8 or of floats in 0..1, or from PIL) or time series ([T, C] of floats)"
MOST_HELD = 2**28
"""Maximum bytes of items held in memory between reading their labels and their contents."""
MOST_ITEMS = 10**7


@dataclass(frozen=True, kw_only=True)
class Items(Request):
    """A request to load a map-style data set, which is given as a single object or as one object per split.

    A class or function with an argument `train` is called with True for training and False for testing. A class or
    function with an argument `split` is called with "train", "test" and "val". A `ValueError` or `KeyError` for "val"
    means that there is no validation set. If there is no validation or test split, hdlif takes the samples from
    "train". Without an argument `train` or `split`, all splits are taken from one data set.

    Attributes:
        make: returns the data set; raises hdlif's errors if it rejects an argument.
        takes: the arguments that `make` accepts, out of "train" and "split".
        name: package.module:Name.
        fit: for images, as in `OfImages`.
    """

    make: Callable[..., Any]
    takes: Sequence[str]
    name: str
    fit: Fit = "squash"

    def find(self) -> OwnData:
        return find_items_in(self.name, _parts(self.make, self.takes), None, self, self.fit)


def find_items_in(
    name: str,
    sets: Mapping[Part, Any],
    classes: Sequence[str] | None,
    request: Request,
    fit: Fit,
) -> OwnData:
    """Create a data set from items of one kind, with missing splits taken from "train".

    Args:
        name: name of the data, for errors.
        classes: names by label. The default is the training set's attribute `classes`, otherwise the items' labels.
    """
    layout, suffix = layout_of(name, sets, classes, request.wanted)
    check_kind(name, "series" if suffix == SERIES else "image", request.known)
    if suffix == SERIES:
        return find_series_in(layout, request)
    shared = {one.name: getattr(request, one.name) for one in fields(Request)}
    return OfImages(**shared, fit=fit).find_images(layout)


def _parts(make: Callable[..., Any], takes: Sequence[str]) -> dict[Part, Any]:
    if "train" in takes:
        return {"train": make(train=True), "test": make(train=False)}
    if "split" not in takes:
        return {"train": make()}
    found: dict[Part, Any] = {"train": make(split="train")}
    try:
        found["validation"] = make(split="val")
    except HdlifError as error:
        if not isinstance(error.__cause__, ValueError | KeyError):
            raise
    return found | {"test": make(split="test")}


class _Contents:
    """The items of data sets, encoded like files. Encoded items in `held` are discarded after they are read once.

    `places` contains the split and index of each item.
    """

    def __init__(
        self, name: str, sets: Mapping[Part, Any], places: Sequence[tuple[Part, int]], held: dict[int, bytes]
    ) -> None:
        self._name, self.sets, self.places, self.held = name, sets, places, held

    def name(self, place: int) -> str:
        part, index = self.places[place]
        return f"{self._name}, item {index}" + (f" of {part}" if len(self.sets) > 1 else "")

    def encoded(self, place: int) -> bytes:
        if (content := self.held.pop(place, None)) is not None:
            return content
        part, index = self.places[place]
        return encoded(read_item(self.sets[part], index, self.name(place))[0], self.name(place))[0]


def layout_of(name: str, sets: Mapping[Part, Any], classes: Sequence[str] | None, wanted: Wanted) -> tuple[Layout, str]:
    """Return a layout that lists the items of data sets with their targets, and the suffix of equivalent files."""
    for part, one in sets.items():
        _check_map_style(name if len(sets) == 1 else f"{name}, {part}", one)
    classes = classes if classes is not None or not wanted.classes else _classes(name, sets["train"])
    places: list[tuple[Part, int]] = [(part, index) for part, one in sets.items() for index in range(len(one))]
    if len(places) > MOST_ITEMS:
        raise DataError(f"{name}: has {len(places):,} items; at most {MOST_ITEMS:,} are supported")
    items = _Contents(name, sets, places, {})
    given: list[tuple[str, Any]] = []
    ends: dict[str, int] = {}
    contents: dict[int, bytes] = {}
    room = MOST_HELD
    for number, (part, index) in enumerate(places):
        x, y = read_item(sets[part], index, items.name(number))
        content, end = encoded(x, items.name(number))
        given.append(_learned(y, wanted, classes, items.name(number), len(x) if end == SERIES else None))
        ends.setdefault(end, number)
        if number == 0 and encoded(read_item(sets[part], index, items.name(0))[0], items.name(0))[0] != content:
            raise DataError(
                f"{items.name(0)}: differs each time it is read; give items without augmentation, and augment them "
                "with data.augment"
            )
        if (room := room - len(content)) >= 0:
            contents[number] = content
    if len(ends) > 1:
        raise DataError(
            f"{name}: items {ends[PICTURE]} and {ends[SERIES]} are an image and a time series; give one kind"
        )
    suffix = next(iter(ends))
    # Sort contents by name, because files are sorted by name.
    order = sorted(range(len(places)), key=lambda number: _file(sets, *places[number], suffix))
    listed = tuple(
        Sample(_file(sets, *places[n], suffix), given[n][0], places[n][0] if len(sets) > 1 else None, given[n][1])
        for n in order
    )
    trained = {label for one in listed if one.part in (None, "train") for label in labels_of(one)}
    if odd := next((one for one in listed if not trained.issuperset(labels_of(one))), None):
        absent = next(label for label in labels_of(odd) if label not in trained)
        raise DataError(
            f"{name}: {odd.name} is of class {brief(absent)}, which no training item has; add training items of it"
        )
    present = in_order(trained) if classes is None else tuple(label for label in classes if label in trained)
    held = {place: contents[number] for place, number in enumerate(order) if number in contents}
    parts = tuple(part for part in PARTS if part in sets) if len(sets) > 1 else ()
    source = _Contents(name, sets, [places[number] for number in order], held)
    words = "a data set" if len(sets) == 1 else f"data sets of {'/'.join(parts)}"
    return Layout(Path(name), parts, present if wanted.classes else (), listed, {}, source, words), suffix


def _file(sets: Mapping[Part, Any], part: Part, index: int, suffix: str) -> str:
    """Return the name of an item in a manifest, which contains the index with leading zeros to sort names by index."""
    return f"{part}/{index:08}{suffix}" if len(sets) > 1 else f"{index:08}{suffix}"


def _check_map_style(name: str, one: Any) -> None:
    if isinstance(one, type) or not hasattr(one, "__len__") or not hasattr(one, "__getitem__"):
        missing = " and no ".join(what for what in ("__len__", "__getitem__") if not hasattr(type(one), what))
        raise DataError(
            f"{name}: is {brief(one)}, which is not a map-style data set{f': it has no {missing}' if missing else ''}; "
            "give a torch.utils.data.Dataset with a length and items (x, label)"
        )
    length_of(one, name)


def _classes(name: str, one: Any) -> Sequence[str] | None:
    """Return the class names of a data set in label order, or None if the data set has no class names."""
    stated = getattr(one, "classes", None)
    if stated is None:
        return None
    try:
        classes = [str(label) for label in stated]
    except TypeError:
        raise DataError(f"{name}: its classes are {brief(stated)}; give a list of names, or none") from None
    if len(set(classes)) < len(classes) or not all(label and label.isprintable() for label in classes):
        raise DataError(f"{name}: its classes are {brief(classes)}; give each a unique, printable name")
    return classes


def _learned(y: Any, wanted: Wanted, classes: Sequence[str] | None, name: str, steps: int | None) -> tuple[str, Any]:
    """Return the class and target of an item, as in `Sample`. Raises `DataError`."""
    if wanted.ahead is not None:
        return "", None
    if wanted.one_class:
        return _named(name, [_whole(y, name)], classes)[0], None
    try:
        target = item_target(y, wanted, steps)
    except Unreadable as error:
        raise DataError(f"{name}: its target: {error}") from error
    return "", _named(name, target.tolist(), classes) if wanted.classes else target


def _whole(label: Any, name: str) -> int:
    if isinstance(label, torch.Tensor | np.ndarray) and label.ndim == 0:
        label = label.item()
    if isinstance(label, bool) or not isinstance(label, int | np.integer) or label < 0:
        raise DataError(f"{name}: has the label {brief(label)}; labels are whole numbers of at least 0")
    return int(label)


def _named(name: str, labels: Sequence[int], classes: Sequence[str] | None) -> list[str]:
    if classes is None:
        return list(map(str, labels))
    if outside := [label for label in labels if label >= len(classes)]:
        raise DataError(
            f"{name}: has the label {outside[0]}; with {len(classes)} classes, labels are 0..{len(classes) - 1}"
        )
    return [classes[label] for label in labels]


def encoded(x: Any, name: str) -> tuple[bytes, str]:
    """Convert an image or a time series to the content and suffix of an equivalent file.

    Raises `DataError` for unsupported types.
    """
    if isinstance(x, Image.Image):
        mode = "L" if x.mode in ("1", "L", "LA") else "RGB"
        return _ppm(np.asarray(x.convert(mode))), PICTURE
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu().to_dense()
        x = (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    array: NDArray[Any] = x
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif" or not array.size:
        seen = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else f"a {type(x).__name__}"
        raise DataError(f"{name}: is {seen}; give {_TAKES}")
    if array.dtype == np.uint8 or array.ndim == 3:
        return _ppm(_rows(array, name)), PICTURE
    if array.ndim not in (1, 2):
        raise DataError(f"{name}: is {array.dtype} {list(array.shape)}; give {_TAKES}")
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array if array.ndim == 2 else array[:, None], np.float32))
    return file.getvalue(), SERIES


def _rows(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return the pixels [H, W] or [H, W, 3] of a channels-first or channels-last image."""
    if array.ndim == 3:
        if array.shape[0] in MODES:
            array = array.transpose(1, 2, 0)
        if array.shape[2] not in MODES:
            raise DataError(f"{name}: is {array.dtype} {list(array.shape)}; images have 1 or 3 channels: [C, H, W]")
        array = array[:, :, 0] if array.shape[2] == 1 else array
    elif array.ndim != 2:
        raise DataError(f"{name}: is {array.dtype} {list(array.shape)}; give {_TAKES}")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f" or not (array.min() >= 0 and array.max() <= 1):
        raise DataError(
            f"{name}: is {array.dtype} with values in {array.min()}..{array.max()}; give images of uint8, or of "
            "floats in 0..1; hdlif normalises them"
        )
    return np.rint(array.astype(np.float64) * 255).astype(np.uint8)


def _ppm(pixels: NDArray[np.uint8]) -> bytes:
    """Return the content of a PPM or PGM file with pixels [H, W, 3] or [H, W]."""
    height, width = pixels.shape[:2]
    kind = "P5" if pixels.ndim == 2 else "P6"
    return f"{kind} {width} {height} 255\n".encode() + np.ascontiguousarray(pixels).tobytes()

"""Convert the boxes in annotation files to targets for object detection."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdlif.data.manifest import Part
from hdlif.inputs import Unreadable

MOST_BYTES = 2**29
"""Maximum size of a JSON annotation file in bytes; a file for a single image has at most `MOST_BYTES_OF_IMAGE`."""
MOST_BYTES_OF_IMAGE = 2**22
MOST_BOXES = 1000
"""Maximum number of boxes per image."""
Corners = tuple[float, float, float, float]
"""Left, top, right and bottom of a box, in pixels from the image's upper left corner."""


@dataclass(frozen=True)
class Box:
    """An annotated object, with a class, the corners of a box and a position in the annotation file."""

    label: str
    corners: Corners
    place: str


@dataclass(frozen=True)
class BoxedImage:
    """An image with its boxes.

    Attributes:
        image: path of the image below the root, with / as separator.
        annotation: path of the annotation file; "" if there is none.
        size: width and height in the annotation; None if it has none.
        relative: whether corners are fractions of the image's sides.
        omitted: the reason for omitting each object that is not a box, by its place.
    """

    image: str
    annotation: str
    boxes: tuple[Box, ...]
    part: Part | None = None
    size: tuple[int, int] | None = None
    relative: bool = False
    omitted: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Annotations:
    """The annotated images in a folder, with a description of the layout and any classes that the files list."""

    images: tuple[BoxedImage, ...]
    words: str
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlacedBoxes:
    """The boxes of an image in pixel coordinates.

    Attributes:
        labels, corners: the label and the corners, float32 [M, 4], of each box.
        omitted: the reason for omitting an object, by its place.
        clipped: number of boxes that were clipped by more than a pixel.
        small: number of boxes smaller than a pixel of the network's input.
    """

    labels: tuple[str, ...]
    corners: NDArray[np.float32]
    omitted: Mapping[str, str]
    clipped: int
    small: int = 0


def place_boxes(one: BoxedImage, width: int, height: int) -> PlacedBoxes:
    """Convert boxes to pixel coordinates, and clip them to an image of `width` x `height` pixels.

    Duplicate boxes and boxes that have no area after clipping are omitted.

    Raises:
        Unreadable: the annotation is for another image size, or has more than `MOST_BOXES` boxes.
    """
    if one.size is not None and one.size != (width, height):
        turned = "; the image may have been rotated since" if one.size == (height, width) else ""
        raise Unreadable(
            f"its boxes are for {one.size[0]:g}x{one.size[1]:g} pixels, but the image has {width}x{height}{turned}"
        )
    if len(one.boxes) > MOST_BOXES:
        raise Unreadable(f"it has {len(one.boxes):,} boxes; at most {MOST_BOXES:,} are supported")
    scale = np.array([width, height] * 2 if one.relative else [1] * 4)
    omitted, clipped = dict(one.omitted or {}), 0
    taken: dict[tuple[str, Corners], None] = {}
    for box in one.boxes:
        given = np.array(box.corners) * scale
        inside = given.clip(0, [width, height] * 2)
        left, top, right, bottom = (float(v) for v in inside)
        if right <= left or bottom <= top:
            outside = given[2] > given[0] and given[3] > given[1]
            omitted[box.place] = "it lies outside the image" if outside else "it has no area"
            continue
        key = box.label, (left, top, right, bottom)
        if key in taken:
            omitted[box.place] = "the same box appears twice"
            continue
        # Tolerate one pixel, the difference between counting from 0 and from 1.
        clipped += bool(np.abs(given - inside).max() > 1)
        taken[key] = None
    corners = np.array([key[1] for key in taken], np.float32).reshape(-1, 4)
    return PlacedBoxes(tuple(key[0] for key in taken), corners, omitted, clipped)


def read_number(text: object, what: str) -> float:
    """Convert text or a JSON value to a finite number. Raises `Unreadable`."""
    try:
        value = math.nan if isinstance(text, bool) or not isinstance(text, str | int | float) else float(text)
    # An integer with hundreds of digits raises OverflowError.
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise Unreadable(f"{what} is {str(text)[:40]!r}; expected a number")
    return value


def read_label(text: object, what: str) -> str:
    """Return a class name after checking that it is printable text. Raises `Unreadable`."""
    if not isinstance(text, str) or not text or len(text) > MOST_BOXES or not text.isprintable():
        raise Unreadable(f"{what} is {str(text)[:40]!r}; expected the name of a class in printable text")
    return text


def pad_rows(rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Stack the box rows [M_i, 5] of N images into an array [N, M, 5], where M is the largest M_i, and pad with -1."""
    most = max(map(len, rows), default=0)
    found = np.full((len(rows), max(most, 1), 5), -1, np.float32)
    for place, one in enumerate(rows):
        found[place, : len(one)] = one
    return found

"""Read boxes from YOLO text files, in which coordinates are fractions of the image's sides."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hdlif.data.boxes import MOST_BYTES_OF_IMAGE, Annotations, Box, BoxedImage, read_label, read_number
from hdlif.data.sources.coco import part_named
from hdlif.errors import DataError, RecipeError, brief, reason
from hdlif.inputs import Unreadable
from hdlif.inputs.plain_yaml import parse_yaml, text_of
from hdlif.whole_files import read_regular

LISTS = ("data.yaml", "dataset.yaml", "data.yml", "classes.txt", "labels/classes.txt")
"""Names of files that may list the classes."""
_NUMBER_AS_KEY = re.compile(r"(?m)(^\s*|[{,]\s*)(\d+)(?=\s*:\s)")
_SLACK = 0.01
"""Tolerance for fractions that rounding moves below 0 or above 1."""


def parse_yolo(content: bytes, classes: Sequence[str]) -> tuple[Box, ...]:
    """Parse lines with class number, centre x, centre y, width and height, and return the boxes as fractions.

    Raises:
        Unreadable: a line has other fields, an unknown class, or numbers outside 0..1.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise Unreadable(f"byte {error.start} is not UTF-8") from error
    return tuple(
        _box(line.split(), f"line {place}", classes) for place, line in enumerate(lines, start=1) if line.strip()
    )


def _box(fields: Sequence[str], place: str, classes: Sequence[str]) -> Box:
    if len(fields) != 5:
        outline = ". If these are outlines, export boxes instead" if len(fields) > 6 else ""
        raise Unreadable(f"{place} has {len(fields)} fields; give class, x, y, width, height{outline}")
    if not fields[0].isdecimal() or len(fields[0]) > 9 or int(fields[0]) >= len(classes):
        raise Unreadable(
            f"{place}: class {fields[0][:20]!r} is unknown; there are {len(classes)} classes, numbered from 0"
        )
    x, y, width, height = (read_number(text, place) for text in fields[1:])
    if not all(-_SLACK <= value <= 1 + _SLACK for value in (x, y, width, height)):
        raise Unreadable(f"{place}: {' '.join(fields[1:])[:80]} are not all fractions of the image's sides, in 0..1")
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return Box(classes[int(fields[0])], corners, place)


def read_yolo(root: Path, images: Sequence[str]) -> Annotations:
    """Read each image's annotations from a file in "labels". Images without an annotation file have no objects.

    Args:
        root: the folder of the data.
        images: paths of the images below `root`; a folder in a path may be named after a part.
    Raises:
        DataError: a file cannot be read, or nothing lists the classes.
    """
    classes = _classes(root)
    found, there = [], 0
    for image in images:
        folders, _, name = image.rpartition("/")
        swapped = "/".join("labels" if one == "images" else one for one in folders.split("/"))
        file = f"{swapped}/{name.rpartition('.')[0]}.txt"
        try:
            boxes = parse_yolo(read_regular(root / file, most=MOST_BYTES_OF_IMAGE), classes)
            there += 1
        except FileNotFoundError:
            file, boxes = "", ()
        except (OSError, Unreadable) as error:
            raise DataError(f"{root / file}: {reason(error)}; save it again as a YOLO file of boxes") from error
        found.append(BoxedImage(image, file, boxes, part_named(folders), relative=True))
    if not there:
        raise DataError(f"{root}: no image has a file in labels; give labels/NAME.txt for images/NAME.jpg")
    return Annotations(tuple(found), "YOLO files in labels", classes)


def _classes(root: Path) -> tuple[str, ...]:
    for name in LISTS:
        path = root / name
        try:
            text = text_of(path, "a list of classes")
            names = _of_yaml(text, path) if path.suffix != ".txt" else _lines(text)
            classes = tuple(read_label(one, "a class") for one in names)
        except FileNotFoundError:
            continue
        except (RecipeError, Unreadable) as error:
            fix = "" if isinstance(error, RecipeError) else f"{path}: "
            raise DataError(f"{fix}{error}") from error
        if not classes or len(set(classes)) < len(classes):
            raise DataError(f"{path}: lists the classes {brief(list(classes))}; name one or more, each once")
        return classes
    raise DataError(f"{root}: nothing lists the classes; add classes.txt, a name per line, or data.yaml with `names`")


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _of_yaml(text: str, path: Path) -> list[Any]:
    """Return the class names in data.yaml, which contains a list of names or a mapping from class numbers to names."""
    # `parse_yaml` rejects keys that are numbers.
    tree = parse_yaml(_NUMBER_AS_KEY.sub(r'\1"\2"', text), source=str(path))
    names = tree.get("names") if isinstance(tree, Mapping) else None
    if isinstance(names, Mapping) and list(names) == [str(n) for n in range(len(names))]:
        names = list(names.values())
    if not isinstance(names, list):
        raise Unreadable(f"names = {brief(names)}; it must be a list of classes, or a mapping 0, 1, ... to them")
    return [str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in names]

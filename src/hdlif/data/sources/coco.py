"""Read bounding boxes from COCO files, which are JSON files with annotations for many images."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hdlif.data.boxes import MOST_BYTES, Annotations, Box, BoxedImage, read_label, read_number
from hdlif.data.manifest import Part
from hdlif.data.split import PART_FOLDERS
from hdlif.errors import DataError, brief, reason
from hdlif.inputs import Unreadable
from hdlif.whole_files import read_regular

_KEYS = ("images", "categories", "annotations")


def parse_coco(content: bytes) -> tuple[list[tuple[str, BoxedImage]], tuple[str, ...]]:
    """Return the images in a COCO file with their file names, and the classes sorted by id.

    Annotations of regions with many objects ("iscrowd") are omitted.

    Raises:
        Unreadable: the file has another format, repeats an id, or refers to an unknown one.
    """
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is not valid JSON ({reason(error)})") from error
    if not isinstance(tree, dict) or not all(isinstance(tree.get(key), list) for key in _KEYS):
        raise Unreadable(f"it is not an object with the lists {', '.join(_KEYS)}")
    images, categories = (_by_id(tree[key], key) for key in _KEYS[:2])
    names = {one: read_label(fields.get("name"), f"categories: name of id {one}") for one, fields in categories.items()}
    classes = tuple(names[one] for one in sorted(names))
    if twice := [name for name in classes if classes.count(name) > 1]:
        raise Unreadable(f"categories: name {brief(twice[0])} appears twice; rename one")
    boxes: dict[int, list[Box]] = defaultdict(list)
    omitted: dict[int, dict[str, str]] = defaultdict(dict)
    seen = set[str]()
    for row, one in enumerate(tree["annotations"]):
        fields = _object(one, f"annotations[{row}]")
        place = f"annotation {brief(fields['id'])}" if "id" in fields else f"annotations[{row}]"
        if place in seen:
            raise Unreadable(f"annotations: id {brief(fields['id'])} appears twice; make ids unique")
        seen.add(place)
        image, category = fields.get("image_id"), fields.get("category_id")
        if not isinstance(image, int) or image not in images:
            raise Unreadable(f"{place}: image_id = {brief(image)} is not the id of an image in the file")
        if not isinstance(category, int) or category not in names:
            raise Unreadable(f"{place}: category_id = {brief(category)} is not the id of a category in the file")
        if fields.get("iscrowd"):
            omitted[image][place] = "it is a region of many objects (iscrowd)"
            continue
        corners = fields.get("bbox")
        if not isinstance(corners, list) or len(corners) != 4:
            raise Unreadable(f"{place}: bbox = {brief(corners)}; it must be [x, y, width, height]")
        x, y, width, height = (read_number(v, f"{place}: bbox") for v in corners)
        boxes[image].append(Box(names[category], (x, y, x + width, y + height), place))
    found = []
    for key, fields in images.items():
        name = fields.get("file_name")
        if not isinstance(name, str) or not name or not name.isprintable():
            raise Unreadable(f"images: file_name of id {key} is {brief(name)}; expected a path")
        sides = [int(read_number(fields.get(side) or 0, f"images: {side} of id {key}")) for side in ("width", "height")]
        size = (sides[0], sides[1]) if min(sides) > 0 else None
        found.append((name, BoxedImage(name, "", tuple(boxes[key]), size=size, omitted=omitted[key])))
    return found, classes


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is {brief(value)}; expected an object")
    return value


def _by_id(rows: Sequence[Any], what: str) -> dict[int, Mapping[str, Any]]:
    found: dict[int, Mapping[str, Any]] = {}
    for row, value in enumerate(rows):
        fields = _object(value, f"{what}[{row}]")
        key = fields.get("id")
        if not isinstance(key, int):
            raise Unreadable(f"{what}[{row}]: id = {brief(key)}; it must be an integer")
        if key in found:
            raise Unreadable(f"{what}: id {brief(key)} appears twice; make ids unique")
        found[key] = fields
    return found


def read_coco(root: Path, files: Sequence[str], images: Collection[str]) -> Annotations:
    """Read COCO files, which must all list the same categories. File or folder names may contain the split (train, val
    or test).

    Args:
        root: the folder of the data.
        files: paths of the JSON files below it.
        images: paths of the images below it.
    Raises:
        DataError: a file cannot be read, two have different categories, or an image is missing or in two files.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in images:
        by_name[path.rpartition("/")[2]].append(path)
    classes: tuple[str, ...] = ()
    taken: dict[str, BoxedImage] = {}
    for file in files:
        try:
            found, own = parse_coco(read_regular(root / file, most=MOST_BYTES))
        except (OSError, Unreadable) as error:
            raise DataError(f"{root / file}: {reason(error)}; save it again as a COCO file of boxes") from error
        classes = classes or own
        if own != classes:
            raise DataError(f"{root / file}: its categories differ from {files[0]}; give all files the same")
        part = part_named(file)
        for name, one in found:
            path = _path_of(root / file, name, by_name, file, part)
            if path in taken:
                raise DataError(
                    f"{root / file}: {brief(name)} appears twice (first in {taken[path].annotation}); keep one"
                )
            taken[path] = BoxedImage(path, file, one.boxes, part, one.size, omitted=one.omitted)
    return Annotations(tuple(taken[path] for path in sorted(taken)), f"COCO files {', '.join(files)}", classes)


def part_named(path: str) -> Part | None:
    """Return the last split named in a path, such as validation for "instances_val2017.json"."""
    words = re.findall("[a-z]+", path.lower())
    return next((PART_FOLDERS[word] for word in reversed(words) if word in PART_FOLDERS), None)


def _path_of(place: Path, name: str, by_name: Mapping[str, list[str]], file: str, part: Part | None) -> str:
    """Return the path of a named image, searching the folder of the JSON file before folders of the same split."""
    name = name.replace("\\", "/").removeprefix("./")
    there = [path for path in by_name.get(name.rpartition("/")[2], ()) if f"/{path}".endswith(f"/{name}")]
    beside = [path for path in there if path.rpartition("/")[0] == file.rpartition("/")[0]]
    there = beside or [path for path in there if part_named(path.rpartition("/")[0]) == part] or there
    if len(there) != 1:
        seen = f"{len(there)} images have that name" if there else "there is no such image"
        raise DataError(f"{place}: file_name = {brief(name)}: {seen}; give the path relative to the data folder")
    return there[0]

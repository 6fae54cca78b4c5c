"""Read boxes from Pascal VOC files, with one XML file per image."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from hdlif.data.boxes import MOST_BYTES_OF_IMAGE, Annotations, Box, BoxedImage, read_label, read_number
from hdlif.data.manifest import Part
from hdlif.data.split import PART_FOLDERS
from hdlif.errors import DataError, brief, reason
from hdlif.inputs import Unreadable
from hdlif.whole_files import read_regular

_DEEPEST, _LONGEST = 32, 10_000
"""Maximum nesting depth of elements, and maximum length of an element's text."""
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_OBJECT = ("annotation", "object")
_READ = {"size/width", "size/height", "name", *(f"bndbox/{side}" for side in _SIDES)}


@dataclass
class _Elements:
    """A target for the XML parser, which collects the text of the elements for an image and its objects."""

    image: dict[str, str] = field(default_factory=dict)
    objects: list[dict[str, str]] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    text: str = ""

    def start(self, name: str, _: Mapping[str, str]) -> None:
        if len(self.path) >= _DEEPEST:
            raise Unreadable(f"its elements are nested deeper than {_DEEPEST}")
        self.path.append(name)
        self.text = ""
        if tuple(self.path) == _OBJECT:
            self.objects.append({})

    def add(self, text: str) -> None:
        self.text += text
        if len(self.text) > _LONGEST:
            raise Unreadable(f"the text of <{self.path[-1][:40]}> is longer than {_LONGEST:,} characters")

    def end(self, _: str) -> None:
        root, *below = self.path
        self.path.pop()
        into, below = (self.objects[-1], below[1:]) if below[:1] == ["object"] else (self.image, below)
        key, text, self.text = "/".join(below), self.text.strip(), ""
        if root != "annotation":
            raise Unreadable(f"its root is <{root[:40]}>; expected <annotation>")
        if not text or key not in _READ:
            return
        if key in into:
            raise Unreadable(
                f"<{key[:40]}> appears twice" + (f" in object {len(self.objects)}" * (into is not self.image))
            )
        into[key] = text


def _refuse(*_: object) -> None:
    raise Unreadable("it contains a DOCTYPE or an entity, which is not supported; remove it")


def parse_voc(content: bytes) -> tuple[tuple[int, int] | None, tuple[Box, ...]]:
    """Return the size (width, height) of an image, or None if unknown, and the boxes of the image.

    Corners are not changed. Object parts and flags such as "difficult" are ignored.

    Raises:
        Unreadable: the file has another format, or an object has no class or no box.
    """
    found, parser = _Elements(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = found.start, found.end
    parser.CharacterDataHandler = found.add
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(content, True)
    except Unreadable:
        raise
    # Unknown encodings raise this as well as syntax errors.
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise Unreadable(f"it is not valid XML ({reason(error)})") from error
    size = tuple(int(read_number(found.image.get(f"size/{side}", "0"), f"size/{side}")) for side in ("width", "height"))
    boxes = tuple(_box(one, f"object {place}") for place, one in enumerate(found.objects, start=1))
    # Some tools write 0 for an unknown size.
    return ((size[0], size[1]) if min(size) > 0 else None), boxes


def _box(one: Mapping[str, str], place: str) -> Box:
    name = read_label(one.get("name"), f"{place}: <name>")
    if missing := [side for side in _SIDES if f"bndbox/{side}" not in one]:
        raise Unreadable(f"{place} ({name}) has no <{missing[0]}> in a <bndbox>")
    left, top, right, bottom = (read_number(one[f"bndbox/{side}"], f"{place} ({name}): <{side}>") for side in _SIDES)
    return Box(name, (left, top, right, bottom), place)


def read_voc(root: Path, folder: str, images: Mapping[str, str]) -> Annotations:
    """Read the annotation files in a folder. Each image needs an annotation file, even if the file lists no objects.

    Args:
        root: the folder of the data.
        folder: the annotation folder below `root`.
        images: paths of the images below `root`, by stem.
    Raises:
        DataError: a file is missing or cannot be read, or a split lists a missing image.
    """
    parts = dict(_parts(root))
    stems = sorted(parts or images)
    found = []
    for stem in stems:
        file = f"{folder}/{stem}.xml"
        if stem not in images:
            raise DataError(f"{root / 'ImageSets/Main'}: {brief(stem)} has no image; add it, or remove the line")
        try:
            size, boxes = parse_voc(read_regular(root / file, most=MOST_BYTES_OF_IMAGE))
        except FileNotFoundError:
            raise DataError(
                f"{root / images[stem]}: has no annotations, {file}; add the file, without an <object> if the image "
                "shows none, or remove the image"
            ) from None
        except (OSError, Unreadable) as error:
            raise DataError(f"{root / file}: {reason(error)}; save it again as a Pascal VOC file") from error
        found.append(BoxedImage(images[stem], file, boxes, parts.get(stem), size))
    others = len(images) - len(stems)
    more = f", without {others} images that are in no list of ImageSets/Main" if others else ""
    return Annotations(tuple(found), f"Pascal VOC files in {folder}{more}")


def _parts(root: Path) -> Iterator[tuple[str, Part]]:
    """Yield the filename stem and split of each image listed in the files in ImageSets/Main.

    If train.txt is missing, the training images are read from trainval.txt. Raises `DataError` if an image is listed
    twice.
    """
    lists = root / "ImageSets" / "Main"
    seen: dict[str, str] = {}
    named: dict[str, Part] = dict(PART_FOLDERS)
    if not (lists / "train.txt").exists():
        named["trainval"] = "train"
    for name, part in named.items():
        try:
            text = read_regular(lists / f"{name}.txt", most=MOST_BYTES_OF_IMAGE).decode()
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise DataError(f"{lists / name}.txt: cannot be read ({reason(error)})") from error
        lines = text.splitlines()
        # Lists for a single class have a second column.
        for stem in itertools.chain.from_iterable(line.split()[:1] for line in lines):
            if stem in seen:
                raise DataError(
                    f"{lists / name}.txt: {brief(stem)} appears twice (first in {seen[stem]}.txt); keep one line"
                )
            seen[stem] = name
            yield stem, part

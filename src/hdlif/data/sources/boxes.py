"""Read folders of images with bounding boxes in Pascal VOC, COCO or YOLO format."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from hdlif.data.augment import Augment
from hdlif.data.boxes import Annotations, BoxedImage, PlacedBoxes, pad_rows, place_boxes
from hdlif.data.files import Folder
from hdlif.data.folders import Walk, check_folder
from hdlif.data.image_targets import MIN_SIDE, Located, drifting
from hdlif.data.manifest import PARTS, Sample
from hdlif.data.own_data import Divided, Layout, OwnData, Placed
from hdlif.data.samples import DataSets
from hdlif.data.sources.coco import read_coco
from hdlif.data.sources.pictures import Fit, OfImages
from hdlif.data.sources.voc import read_voc
from hdlif.data.sources.yolo import read_yolo
from hdlif.data.targets import in_order
from hdlif.errors import DataError, brief, reason, some
from hdlif.graph.graph import InputRecord
from hdlif.inputs import Unreadable, pictures
from hdlif.inputs.fitting import boxes_to_input

Format = Literal["voc", "coco", "yolo"]
LAYOUTS = (
    "give JPEGImages or images with Annotations/NAME.xml (Pascal VOC), images with annotations/NAME.json (COCO), or "
    "images/NAME.jpg with labels/NAME.txt and classes.txt (YOLO)"
)
_MOST_NAMED = 5
MOST_DRIFT = 16
"""Maximum of `drift`."""


@dataclass(frozen=True, kw_only=True)
class Boxes(Placed, OfImages):
    """A request to load images with bounding boxes.

    By default, images are letterboxed to 240x320. If all images have the same size, with sides of at most 320 pixels
    that are multiples of 16, they keep this size.

    Attributes:
        format: format of the annotation files; by default, the only format found.
        classes: class names in label order; by default, the classes that the files list, or the classes of the boxes.
        drift: ratio of the image's sides to the frame's sides. `drifting` then makes one frame per step, with the shape
            `size` or the shape of `known`. With None, each step shows the full image.
        time_steps: T.
    """

    located: ClassVar[Located | None] = "boxes"
    small_side, multiple, default_size = 320, 16, (240, 320)

    fit: Fit = "letterbox"
    format: Format | None = None
    classes: Sequence[str] | None = None
    drift: float | None = None
    time_steps: int = 1
    _read: dict[str, BoxedImage] = field(default_factory=dict, init=False, repr=False, compare=False)
    _placed: dict[str, PlacedBoxes] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.drift is not None and not 1 < self.drift <= MOST_DRIFT:
            raise ValueError(f"drift = {self.drift}; it must be above 1, and at most {MOST_DRIFT}")

    def find(self) -> OwnData:
        return self._find_images() if self.drift is None else self._find_frames(self.drift)

    def _find_frames(self, drift: float) -> OwnData:
        size: Any = (self.size or self.default_size) if self.known is None else self.known.shape[1:]
        height, width = (size, size) if isinstance(size, int) else size
        whole = round(height * drift), round(width * drift)
        known = None if self.known is None else replace(self.known, shape=(self.known.shape[0], *whole))
        found = replace(self, size=whole, known=known, drift=None).find()
        shape = found.input.shape[0], height, width

        def make(augment: Augment, seed: int) -> DataSets:
            sets = found.make(augment, seed)
            for part in sets.parts:
                part.drift = partial(drifting, time_steps=self.time_steps, size=(height, width))
            return replace(sets, shape=shape)

        return replace(found, input=replace(found.input, shape=shape), make=make)

    def _find_images(self) -> OwnData:
        place = self.place("a folder of images with boxes")
        check_folder(place, LAYOUTS)
        found, ignored = self._annotations(place)
        if not found.images:
            raise DataError(f"{place}: has no image with boxes; {LAYOUTS}")
        there = {box.label for one in found.images for box in one.boxes}
        classes = tuple(self.classes or found.classes or in_order(there))
        if not classes:
            raise DataError(f"{place}: no image has a box; add some")
        for one in found.images:
            for box in one.boxes:
                if box.label not in classes:
                    raise DataError(
                        f"{place / one.annotation}: {box.place} is of class {brief(box.label)}, which is not one of "
                        f"{some(classes, _MOST_NAMED)}; rename it, or list all classes: --set data.classes=[...]"
                    )
        self._read.update({one.image: one for one in found.images})
        names = sorted(self._read)
        files = tuple(Sample(name, part=self._read[name].part) for name in names)
        parts = tuple(part for part in PARTS if any(one.part == part for one in files))
        return self.find_images(Layout(place, parts, classes, files, ignored, Folder(place, names), found.words))

    def _annotations(self, place: Path) -> tuple[Annotations, Mapping[str, int]]:
        """Read the annotations, and count all other files by suffix."""
        walk = Walk((*pictures.FORMATS, ".json", ".txt", ".xml"))
        paths = sorted(walk.files_below(place))
        ignored = dict(sorted(walk.ignored.items()))
        images = [path for path in paths if Path(path).suffix.lower() in pictures.FORMATS]
        by_kind = {
            "voc": sorted({path.rpartition("/")[0] for path in paths if path.lower().endswith(".xml")}),
            "coco": _instances([path for path in paths if path.lower().endswith(".json")]),
            "yolo": [path for path in paths if "labels" in path.split("/")[:-1] and path.lower().endswith(".txt")],
        }
        kinds = [kind for kind, files in by_kind.items() if files]
        kind = self.format or (kinds[0] if len(kinds) == 1 else None)
        if kind is None or kind not in kinds:
            seen = f"has annotations of {' and '.join(kinds)}" if kinds else "has no annotations"
            choose = f"choose one: --set data.format={kinds[0]}" if kinds else LAYOUTS
            raise DataError(f"{place}: {seen}{f', not of {self.format}' if self.format else ''}; {choose}")
        if kind == "coco":
            return read_coco(place, by_kind[kind], images), ignored
        if kind == "voc":
            if len(by_kind[kind]) > 1:
                raise DataError(
                    f"{place}: several folders contain .xml files: {some(by_kind[kind], _MOST_NAMED)}; keep one"
                )
            found = read_voc(place, by_kind[kind][0], _by_stem(place, images))
            files = [path for path in paths if path.lower().endswith(".xml")]
        else:
            found = read_yolo(place, [path for path in images if "images" in path.split("/")[:-1]])
            files = by_kind[kind]
        # Some tools also write classes.txt next to the labels.
        stems = {"classes", *(Path(path).stem for path in images)}
        if alone := [path for path in files if Path(path).stem not in stems]:
            found = replace(found, words=f"{found.words}, without files that have no image: {some(alone, _MOST_NAMED)}")
        return found, ignored

    def locate(
        self, layout: Layout, headers: Mapping[int, pictures.Header], record: InputRecord
    ) -> tuple[Layout, dict[str, str]]:
        faults: dict[str, str] = {}
        rows = {}
        for number, header in headers.items():
            name = layout.files[number].name
            try:
                rows[number] = self._rows(self._read[name], header, layout.classes, record)
            except Unreadable as error:
                annotation = self._read[name].annotation
                faults[name] = f"{annotation}: {reason(error)}"
        targets = dict(zip(rows, pad_rows(list(rows.values())), strict=True))
        files = [replace(one, target=targets.get(number)) for number, one in enumerate(layout.files)]
        return replace(layout, files=tuple(files)), faults

    def _rows(self, one: BoxedImage, header: pictures.Header, classes: Sequence[str], record: InputRecord) -> Any:
        """Return the boxes of an image as float32 rows [M, 5] of class and corners in network-input pixels."""
        size, target = (header.width, header.height), (record.shape[2], record.shape[1])
        found = place_boxes(one, *size)
        corners = boxes_to_input(found.corners, size, target, record.fit).clip(0, [*target, *target])
        large = ((corners[:, 2:] - corners[:, :2]) >= MIN_SIDE).all(1)
        self._placed[one.image] = replace(found, small=int((~large).sum()))
        labels = np.array([classes.index(label) for label in found.labels], np.float32)
        return np.column_stack([labels, corners])[large].astype(np.float32)

    def describe(self, divided: Divided) -> Mapping[str, Any]:
        names = divided.targets.names
        counts = {name: dict.fromkeys(PARTS, 0) for name in names}
        for part in PARTS:
            for label, count in Counter(label for one in divided.of(part) for label in one.target[:, 0]).items():
                if label >= 0:
                    counts[names[int(label)]][part] = count
        used = [(self._read[one.name], self._placed[one.name]) for one in divided.samples]
        omitted = [
            {"file": one.annotation, "object": place, "reason": why}
            for one, found in used
            for place, why in found.omitted.items()
        ]
        lines = []
        if omitted:
            named = [f"{fault['file']}, {fault['object']}: {fault['reason']}" for fault in omitted]
            lines.append(f"{_boxes(len(omitted))} left out: {some(named, _MOST_NAMED, '; ')}")
        if clipped := sum(found.clipped for _, found in used):
            lines.append(f"{_boxes(clipped)} cut at the edge of the image")
        if small := sum(found.small for _, found in used):
            lines.append(
                f"{_boxes(small)} left out, smaller than {MIN_SIDE:g} pixel of the network's input; raise data.size"
            )
        return {"target": {"names": list(names), "counts": counts}, "omitted_boxes": omitted, "warnings": lines}


def _boxes(count: int) -> str:
    return "1 box is" if count == 1 else f"{count} boxes are"


def _instances(files: Sequence[str]) -> list[str]:
    """Return the JSON files named "instances…", as in COCO, or all JSON files if no name begins this way."""
    own = [path for path in files if path.rpartition("/")[2].startswith("instances")]
    return sorted(own or files)


def _by_stem(place: Path, images: Sequence[str]) -> dict[str, str]:
    """Return the image paths by filename stem. Raises `DataError` if two images have the same filename stem."""
    found: dict[str, str] = {}
    for path in images:
        stem = Path(path).stem
        if stem in found:
            raise DataError(
                f"{place}: {found[stem]} and {path} have the same name, so their annotations are ambiguous; rename one"
            )
        found[stem] = path
    return found

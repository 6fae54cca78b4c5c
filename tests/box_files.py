"""Small folders of images with boxes, in the three formats: bright squares of a few sizes on a dark ground."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("red", "green")
Drawn = list[tuple[int, tuple[int, int, int, int]]]
"""Class and corners of each square."""
SMALL = [
    *("data.size=[32, 48]", "data.batch_size=6", "model.width=4", "model.blocks=[1]", "model.strides=[4]"),
    *("model.head_width=8", "training.epochs=1", "training.warmup_epochs=0"),
]
"""Makes the training of `bccd_hdlif` one of seconds, on these images."""


def draw(number: int, size: tuple[int, int] = (48, 32)) -> tuple[Image.Image, Drawn]:
    """Return image `number` of a width and height, and its squares: one or two that do not overlap."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 40, (size[1], size[0], 3)).astype(np.uint8)
    drawn: Drawn = []
    for place in range(1 + number % 2):
        side, label = int(rng.integers(8, 15)), int(rng.integers(2))
        left = int(rng.integers(0, size[0] // 2 - side)) + place * size[0] // 2
        top = int(rng.integers(0, size[1] - side))
        pixels[top : top + side, left : left + side, label] = 220
        drawn.append((label, (left, top, left + side, top + side)))
    return Image.fromarray(pixels), drawn


def voc_text(boxes: Drawn, size: tuple[int, int] = (48, 32), names: Sequence[str] = CLASSES) -> str:
    objects = "".join(
        f"<object><name>{names[label]}</name><bndbox>"
        + "".join(f"<{side}>{v}</{side}>" for side, v in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True))
        + "</bndbox></object>"
        for label, corners in boxes
    )
    width, height = size
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>"


def write_voc(root: Path, count: int = 12) -> Path:
    """Images 0..count-1 with Pascal VOC files, in three parts."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, boxes = draw(number)
        image.save(root / f"JPEGImages/{number:03}.png")
        (root / f"Annotations/{number:03}.xml").write_text(voc_text(boxes))
    names = [f"{number:03}" for number in range(count)]
    thirds = {"train": names[: -2 * (count // 4)], "val": names[-2 * (count // 4) : -(count // 4)]}
    for part, listed in (thirds | {"test": names[-(count // 4) :]}).items():
        (root / f"ImageSets/Main/{part}.txt").write_text("\n".join(listed) + "\n")
    return root


def coco_tree(numbers: Sequence[int]) -> dict[str, list[dict[str, object]]]:
    tree: dict[str, list[dict[str, object]]] = {
        "images": [{"id": n, "file_name": f"{n:03}.png", "width": 48, "height": 32} for n in numbers],
        "categories": [{"id": 7, "name": "green"}, {"id": 3, "name": "red"}],
        "annotations": [],
    }
    for number in numbers:
        for label, (x0, y0, x1, y1) in draw(number)[1]:
            entry = {"id": len(tree["annotations"]), "image_id": number, "category_id": (3, 7)[label]}
            tree["annotations"].append({**entry, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0})
    return tree


def write_coco(root: Path, count: int = 12) -> Path:
    """The same images with COCO files of two parts."""
    (root / "annotations").mkdir(parents=True)
    for part, numbers in (("train", range(0, count, 2)), ("val", range(1, count, 2))):
        (root / f"images/{part}").mkdir(parents=True)
        for number in numbers:
            draw(number)[0].save(root / f"images/{part}/{number:03}.png")
        (root / f"annotations/instances_{part}.json").write_text(json.dumps(coco_tree(list(numbers))))
    return root


def yolo_text(boxes: Drawn, size: tuple[int, int] = (48, 32)) -> str:
    width, height = size
    return "".join(
        f"{label} {(x0 + x1) / 2 / width} {(y0 + y1) / 2 / height} {(x1 - x0) / width} {(y1 - y0) / height}\n"
        for label, (x0, y0, x1, y1) in boxes
    )


def write_yolo(root: Path, count: int = 12) -> Path:
    """The same images with YOLO files, without parts."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        image, boxes = draw(number)
        image.save(root / f"images/{number:03}.png")
        (root / f"labels/{number:03}.txt").write_text(yolo_text(boxes))
    (root / "classes.txt").write_text("\n".join(CLASSES))
    return root

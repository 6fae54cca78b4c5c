"""Small folders of images with label maps, as somebody might have them."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((24, 16), (16, 16), (12, 20))


def write_maps(
    root: Path,
    count: int = 12,
    *,
    instances: bool = False,
    separate: bool = False,
    sizes: tuple[tuple[int, int], ...] = SIZES,
) -> Path:
    """`count` images of two bright squares in ROOT/images, with the map of each in ROOT/labels.

    Args:
        instances: number the squares 7 and 300 (of 16 bits); else they are of the classes 1 and 2, and a row is 255.
        separate: write a file for each object into masks/NAME/ instead.
        sizes: width and height of the images, in turn.
    """
    (root / "images").mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        width, height = sizes[number % len(sizes)]
        labels = np.zeros((height, width), np.uint16)
        places = [(rng.integers(0, height // 2 - 5 + 1), rng.integers(0, width - 5)) for _ in range(2)]
        for index, (y, x) in enumerate(places):
            top = y + index * (height // 2)
            labels[top : top + 5, x : x + 5] = (7, 300)[index] if instances else index + 1
        shade = np.where(labels > 0, 120 + 60 * (labels != labels[labels > 0].min()), 0)
        pixels = (shade + rng.integers(0, 50, labels.shape)).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number:02}.png")
        if separate:
            folder = root / "masks" / f"{number:02}"
            folder.mkdir(parents=True)
            for name, value in enumerate(np.unique(labels[labels > 0])):
                Image.fromarray(np.where(labels == value, 255, 0).astype(np.uint8)).save(folder / f"{name}.png")
            continue
        (root / "labels").mkdir(exist_ok=True)
        if not instances:
            labels[-1] = 255
        stored = labels if instances else labels.astype(np.uint8)
        Image.fromarray(stored).save(root / "labels" / f"{number:02}.png")
    return root

"""Small folders of pictures, as somebody might have them: of several sizes, modes and formats."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "owl")


def write_pictures(
    root: Path,
    per_class: int = 8,
    *,
    classes: tuple[str, ...] = CLASSES,
    size: tuple[int, int] | None = None,
    mode: str | None = None,
    first: int = 0,
) -> Path:
    """`per_class` different pictures of each class; each class has a brightness of its own, so that it is learned.

    Args:
        size: width and height of all; by default they differ.
        mode: of all; by default "L" and, of every third, "RGB" (a JPEG).
        first: number of the first, of which content and name are a function.
    """
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + per_class):
            rng = np.random.default_rng([label, number])
            width, height = size or (6 + number % 5, 9 + number % 3)
            of_mode = mode or ("RGB" if number % 3 == 0 else "L")
            shape = (height, width, 3) if of_mode == "RGB" else (height, width)
            pixels = (60 * label + rng.integers(0, 60, shape)).astype(np.uint8)
            suffix = "jpg" if mode is None and of_mode == "RGB" else "png"
            Image.fromarray(pixels).save(root / name / f"{number:03}.{suffix}")
    return root

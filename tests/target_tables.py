"""A folder of small pictures, and what a table of targets says of each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from series_files import write_csv

HEADER = ("file", "label", "flat", "tall", "light", "person", "part")


def target_rows(count: int = 40) -> list[list[object]]:
    """Of each picture: its path, class, two labels, a value, of whom it is, and its part."""
    rows: list[list[object]] = []
    for number in range(count):
        flat, tall = number % 2, number // 2 % 2
        label = ("none", "flat", "tall", "both")[flat + 2 * tall]
        where = ("train", "train", "train", "val", "test")[number // 4 % 5]
        rows.append([f"{number:02}.png", label, flat, tall, 20 + 3 * (number % 13), f"p{number // 4}", where])
    return rows


def write_target_table(path: Path, rows: Sequence[Sequence[object]], columns: Sequence[str]) -> Path:
    """A .csv file with some of the columns of `HEADER`."""
    places = [HEADER.index(name) for name in columns]
    return write_csv(path, [[row[place] for place in places] for row in rows], list(columns))


def write_pictures_with_table(root: Path, count: int = 40, columns: Sequence[str] = HEADER[:-1]) -> Path:
    """Pictures 8x8, of the brightness of their value, with stripes of each label; and labels.csv beside them."""
    root.mkdir(parents=True)
    rows = target_rows(count)
    for number, (name, _, flat, tall, light, *_) in enumerate(rows):
        pixels = np.random.default_rng(number).integers(0, 10, (8, 8)) + light
        pixels[::2] += 80 * flat  # type: ignore[operator]
        pixels[:, ::2] += 80 * tall  # type: ignore[operator]
        Image.fromarray(pixels.astype(np.uint8)).save(root / str(name))
    write_target_table(root / "labels.csv", rows, columns)
    return root

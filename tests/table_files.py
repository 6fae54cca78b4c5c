"""Small tables, as somebody might have them: two classes that differ in one of two columns."""

from pathlib import Path

import numpy as np

from series_files import write_csv

CLASSES = ("big", "small")


def table_rows(count: int = 40) -> list[list[object]]:
    """Rows of an id, a name, a width and a height."""
    rng = np.random.default_rng(0)
    rows: list[list[object]] = []
    for number in range(count):
        label = CLASSES[number % 2]
        width, height = rng.normal(3 if label == "big" else 1, 0.3), rng.normal(100, 5)
        rows.append([f"p{number // 4}", label, round(float(width), 4), round(float(height), 4)])
    return rows


def write_table(path: Path, count: int = 40) -> Path:
    """A .csv file with columns who, label, width, height."""
    return write_csv(path, table_rows(count), ["who", "label", "width", "height"])

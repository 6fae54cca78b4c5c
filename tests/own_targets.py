"""Map-style data sets with other targets than one class, that a user may have written."""

from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset


class Squares(Dataset[Any]):
    """Pictures 8x8, each of a brightness of its own, and targets by name."""

    classes = ("cat", "dog", "owl")

    def __init__(self, what: str, count: int = 30, moved: int = -1) -> None:
        self.what, self.count, self.moved = what, count, moved

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        steps = torch.arange(8)
        targets: dict[str, Any] = {
            "values": [index + float(index == self.moved), -2.5 * index],
            "one value": float(index),
            "labels": torch.tensor([index % 2, index // 2 % 2]),
            "classes": (index + steps) % 3,
            "steps": torch.stack([index + steps, -index * torch.ones(8)], 1),
            "nan": float("nan"),
            "text": "x",
            "nothing": None,
            "ragged": np.ones(1 + 2 * (index % 2)),
            "negative": [-1] * 8,
            "halves": [0.5] * 8,
            "large": [7] * 8,
            "constant": [0] * 8,
        }
        return torch.full((1, 8, 8), index, dtype=torch.uint8), targets[self.what]


def values() -> Squares:
    return Squares("values")


def labels() -> Squares:
    return Squares("labels")


class Ramps(Dataset[Any]):
    """Series [6, 1] that rise."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        x = np.arange(6) + index / 5
        targets = {"classes": (x > 3).astype(int), "values": [x[-1]], "none": None}
        return x, targets[self.what]


class Labelled(Squares):
    """One whose argument has the name of a key."""

    def __init__(self, labels: list[str]) -> None:
        super().__init__("labels")

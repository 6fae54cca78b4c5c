"""Map-style data sets that a user may have written."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

CLASSES = ("cat", "dog", "owl")


def pixels(label: int, number: int, side: int = 8) -> np.ndarray:
    """Grey pixels uint8 [side, side]; each class has a brightness of its own."""
    return (60 * label + np.random.default_rng([label, number]).integers(0, 60, (side, side))).astype(np.uint8)


class Squares(Dataset[Any]):
    """Pictures of three classes: uint8 tensors [1, side, side]."""

    classes = CLASSES

    def __init__(self, count: int = 30, side: int = 8) -> None:
        self.count, self.side = count, side

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return torch.from_numpy(pixels(index % 3, index, self.side))[None], index % 3


class Split(Squares):
    """One that takes the part's name, as torchvision's do."""

    def __init__(self, split: str, count: int = 24) -> None:
        if split not in ("train", "test"):
            raise ValueError(f"no split {split}")
        super().__init__(count if split == "train" else 6)
        self.first = 0 if split == "train" else 100

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return Image.fromarray(pixels(index % 3, self.first + index)), torch.tensor(index % 3)


class TrainOrTest(Squares):
    def __init__(self, train: bool) -> None:
        super().__init__(24 if train else 9)
        self.first = 0 if train else 100

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return torch.from_numpy(pixels(index % 3, self.first + index))[None] / 255, np.int64(index % 3)


def waves(count: int = 20, steps: int = 8) -> Dataset[Any]:
    """A function that gives series [T, 2] of two classes, which have no names."""

    class Waves(Dataset[Any]):
        def __len__(self) -> int:
            return count

        def __getitem__(self, index: int) -> tuple[Any, int]:
            t = torch.arange(steps) / (3 if index % 2 else 8) + index / 7
            return torch.stack([t.sin(), t.cos()], 1), 5 + 5 * (index % 2)

    return Waves()


class Odd(Squares):
    """Squares of which something is wrong, by name."""

    def __init__(self, what: str) -> None:
        super().__init__(0 if what == "empty" else 30)
        self.what = what
        if what == "classes":
            self.classes = 3  # type: ignore[assignment]
        if what == "twice":
            self.classes = ("a", "a", "b")  # type: ignore[assignment]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        x, label = super().__getitem__(index)
        found: dict[str, Any] = {
            "text": ("x", label),
            "flat": (torch.zeros(2, 2, 2, 2), label),
            "channels": (torch.zeros(4, 8, 8, dtype=torch.uint8), label),
            "range": (x.float(), label),
            "nan": (x.float() * float("nan"), label),
            "bytes": (x.char(), label),
            "label": (x, float(label)),
            "named": (x, "cat"),
            "true": (x, True),
            "negative": (x, -1),
            "outside": (x, 3),
            "one class": (x, 0),
            "random": (torch.randint(0, 255, (1, 8, 8), dtype=torch.uint8), label),
            "triple": (x, label, label),
            "mapping": {"x": x},
            "mixed": (x if index % 2 else torch.zeros(8, 2), label),
        }
        if self.what == "fails" and index == 3:
            raise OSError("the disk\nis gone")
        return found.get(self.what, (x, label))


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


def nothing() -> None:
    return None


NUMBER = 3

"""Small series, as somebody might have them: arrays, files by class, and one long recording."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CLASSES = ("fast", "slow")
STEPS, CHANNELS = 8, 2


def wave(label: str, number: int, steps: int = STEPS) -> NDArray[np.float32]:
    """float32 [steps, 2]: another one for each number, of a frequency that its class has."""
    turns = np.arange(steps) / (3 if label == "fast" else 8) + number / 7
    noise = np.random.default_rng([len(label), number]).normal(0, 0.1, (steps, CHANNELS))
    channels = (np.sin(2 * np.pi * turns), 5 + 2 * np.cos(2 * np.pi * turns))
    return (np.stack(channels, 1) + noise).astype(np.float32)


def write_csv(path: Path, rows: list[list[object]], header: list[str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows] if header else rows)
    return path


def write_arrays(path: Path, per_class: int = 10) -> Path:
    """A .npz file of `per_class` series of each class, alternately."""
    labels = [CLASSES[number % 2] for number in range(2 * per_class)]
    x = np.stack([wave(label, number) for number, label in enumerate(labels)])
    np.savez(path, x=x, y=np.array(labels))
    return path


def write_folders(root: Path, per_class: int = 10, *, steps: int = STEPS) -> Path:
    """ROOT/CLASS/000.csv ..., with a header."""
    for label in CLASSES:
        for number in range(per_class):
            rows = wave(label, number, steps).tolist()
            write_csv(root / label / f"{number:03}.csv", rows, ["a", "b"])
    return root


def write_recording(path: Path, people: int = 6, *, rows: int = 20) -> Path:
    """A .csv file with columns who, what, a, b: for each of the people, so many rows of each class."""
    lines: list[list[object]] = []
    for person in range(people):
        for label in CLASSES:
            lines += [[f"p{person}", label, *values] for values in wave(label, person, rows).tolist()]
    return write_csv(path, lines, ["who", "what", "a", "b"])


def write_public_arrays(folder: Path, *, classes: int, steps: int, channels: int) -> Path:
    """Arrays as a public set has them: of each class two samples of each of 7 people, the last of them for testing."""
    folder.mkdir(parents=True)
    people = np.tile(np.repeat(np.arange(7), 2), classes)
    x = np.random.default_rng(0).normal(size=(len(people), steps, channels)).astype(np.float32)
    arrays = {"x": x, "y": np.repeat(np.arange(classes), 14), "part": np.where(people < 6, "train", "test")}
    for name, values in {**arrays, "group": people}.items():
        np.save(folder / f"{name}.npy", values)
    return folder

"""Data of one's own, of each kind that `--data` takes, and a small training on them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import picture_folders
import series_files
import sound_files
import table_files
from hdlif.recipe.runs.summary import TrainResult
from own_sets import pixels
from own_shards import pictures_of, write_shard
from recorded_events import MOVES, fields, moving, write_moves
from trainings import train

PICTURES = ("model.width=4", "model.blocks=[1]", "data.batch_size=8", "training.epochs=2", "data.augment=[]")
# Few neurons, of which batch norm lets some fire at once.
SERIES = ("model.widths=[4, 4]", "data.batch_size=8", "training.epochs=2", "norm={kind: batch_norm}")
SERIES += ("training.learning_rate=0.05", "training.optimizer={kind: sgd}")
CUT = ("data.label=what", "data.group=who", "data.window=8", "data.stride=4")
SOUND = ("data.seconds=0.25", "data.mels=8", "data.group=GROUP_*.wav")


@dataclass(frozen=True)
class Made:
    """Data, a run on them, and its model file."""

    data: str
    run: Path
    network: Path


def _class_by_folder(name: str) -> str:
    return Path(name).parent.name


@dataclass(frozen=True)
class Kind:
    """Data of a kind.

    Attributes:
        write: writes them below a folder, the same ones each time, and returns what `--data` is given.
        keys: what `--set` says of them in a training.
        described: what it says of them where a network is tested, which has the rest.
        change: makes another sample of one, and returns the words for it of which an error is made.
        shown: what `hdlif run` is given, if that is not the data.
        class_of: the class of an input of `hdlif run`, by its name.
    """

    write: Callable[[Path], Path | str]
    recipe: str
    small: tuple[str, ...]
    classes: tuple[str, ...]
    samples: int
    tested: int
    keys: tuple[str, ...] = ()
    described: tuple[str, ...] = ()
    change: Callable[[Path, pytest.MonkeyPatch], str] | None = None
    shown: Callable[[Path], Path] | None = None
    class_of: Callable[[str], str] = _class_by_folder

    def train(self, data: Path | str, out: Path, *overrides: str, **options: Any) -> TrainResult:
        given = [*self.small, *self.keys, *overrides]
        return train(self.recipe, data=str(data), overrides=given, out=out, memory_repeats=0, **options)


def _another_picture(data: Path, _: pytest.MonkeyPatch) -> str:
    (data / "cat" / "001.png").write_bytes((data / "dog" / "001.png").read_bytes())
    return r"1 changed \(cat/001.png\)"


def _another_row(data: Path, _: pytest.MonkeyPatch) -> str:
    data.write_text("\n".join([*data.read_text().splitlines()[:-1], "p5,slow,9,9"]))
    return r"1 changed \(data.csv:234-241\)"


def _another_recording(data: Path, _: pytest.MonkeyPatch) -> str:
    np.save(data / "left" / "000.npy", fields(moving("left", 77)))
    return r"1 changed \(left/000.npy\)"


def _another_item(data: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("own_sets.pixels", lambda label, number, side: pixels(label, number + 99 * (number == 7), side))
    return r"1 changed \(00000007.ppm\)"


def _another_shard(data: Path, _: pytest.MonkeyPatch) -> str:
    write_shard(data / "train-001.tar", pictures_of([5, 6, 77]))
    return r"3 added \(train-001.tar/cat077.png, .* 3 gone \(train-001.tar/cat007.png"


def _write_shards(root: Path) -> Path:
    for name, numbers in {"train-000": (0, 5), "train-001": (5, 8), "val-000": (8, 10), "test-000": (10, 12)}.items():
        write_shard(root / "data" / f"{name}.tar", pictures_of(range(*numbers)))
    return root / "data"


def _pictures_in_shards(root: Path) -> Path:
    for name, content in pictures_of(range(12)):
        if name.endswith(".png"):
            path = root / "shown" / str(picture_folders.CLASSES.index(name[:3])) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return root / "shown"


def _pictures_of_items(root: Path) -> Path:
    from PIL import Image

    for number in range(33):
        path = root / "shown" / picture_folders.CLASSES[number % 3] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(number % 3, number)).save(path)
    return root / "shown"


def _class_of_row(name: str) -> str:
    return str(table_files.table_rows()[int(name.rpartition(":")[2]) - 2][1])


def _class_of_window(name: str) -> str:
    """Of the first row, of which each person has 20 of a class, and then 20 of the other."""
    return series_files.CLASSES[(int(name.rpartition(":")[2].partition("-")[0]) - 2) // 20 % 2]


KINDS = {
    "pictures": Kind(
        lambda root: picture_folders.write_pictures(root / "data", 10),
        "digits_hdlif",
        (*PICTURES, "data.size=8"),
        picture_folders.CLASSES,
        samples=30,
        tested=6,
        change=_another_picture,
    ),
    "series": Kind(
        lambda root: series_files.write_folders(root / "data"),
        "sines_hdlif",
        (*SERIES, "time_steps=8"),
        series_files.CLASSES,
        samples=20,
        tested=4,
    ),
    "recording": Kind(
        lambda root: series_files.write_recording(root / "data.csv"),
        "sines_hdlif",
        SERIES,
        series_files.CLASSES,
        samples=48,
        tested=8,
        keys=CUT,
        described=CUT[:2],
        change=_another_row,
        class_of=_class_of_window,
    ),
    "table": Kind(
        lambda root: table_files.write_table(root / "data.csv"),
        "wine_hdlif",
        ("model.widths=[4, 4]", "data.batch_size=8", "training.epochs=2"),
        table_files.CLASSES,
        samples=40,
        tested=8,
        keys=("data.group=who",),
        described=("data.group=who",),
        class_of=_class_of_row,
    ),
    "sounds": Kind(
        lambda root: sound_files.write_sounds(root / "data"),
        "sines_hdlif",
        ("model.widths=[4, 4]", "data.batch_size=8", "training.epochs=2", "time_steps=15"),
        sound_files.CLASSES,
        samples=20,
        tested=4,
        keys=SOUND,
        described=SOUND[2:],
    ),
    "events": Kind(
        lambda root: write_moves(root / "data", side=12),
        "digits_events_hdlif",
        (*PICTURES[:1], *PICTURES[2:], "time_steps=3", "data.size=8", "data.frames=by_time"),
        MOVES,
        samples=20,
        tested=4,
        keys=("data.sensor=[12, 12]",),
        change=_another_recording,
    ),
    "data set": Kind(
        lambda root: "own_sets:Squares",
        "digits_hdlif",
        PICTURES,
        picture_folders.CLASSES,
        samples=33,
        tested=6,
        keys=("data.count=33",),
        described=("data.count=33",),
        change=_another_item,
        shown=_pictures_of_items,
    ),
    "shards": Kind(
        _write_shards,
        "digits_hdlif",
        PICTURES,
        ("0", "1", "2"),
        samples=36,
        tested=6,
        change=_another_shard,
        shown=_pictures_in_shards,
    ),
}

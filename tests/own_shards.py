"""Tar shards as somebody might have them: pictures, series or recordings beside their labels."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import sound_files
from array_files import npy, npz
from picture_folders import CLASSES
from recorded_events import MOVES, fields, moving
from series_files import wave

Member = tuple[str, bytes]


def write_shard(path: Path, members: Sequence[Member]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
    return path


def pictures_of(numbers: Sequence[int], *, named: bool = False) -> list[Member]:
    """A picture of each class for each number: labels as numbers in .cls, or as names in .json."""
    members: list[Member] = []
    for number in numbers:
        for label, name in enumerate(CLASSES):
            file = io.BytesIO()
            pixels = 60 * label + np.random.default_rng([label, number]).integers(0, 60, (8, 8))
            Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
            key = f"{name}{number:03}"
            members.append((f"{key}.png", file.getvalue()))
            said = (f"{key}.json", json.dumps({"label": name, "by": "me"})) if named else (f"{key}.cls", f"{label}\n")
            members.append((said[0], said[1].encode()))
    return members


def series_of(numbers: Sequence[int]) -> list[Member]:
    classes = ("fast", "slow")
    return [
        member
        for number in numbers
        for name in classes
        for member in ((f"{name}{number}.npy", npy(wave(name, number))), (f"{name}{number}.cls", name.encode()))
    ]


def sounds_of(numbers: Sequence[int]) -> list[Member]:
    """A tone of each class for each number; how loud it is stands beside its class."""
    return [
        member
        for number in numbers
        for name in sound_files.CLASSES
        for member in (
            (f"{name}{number}.wav", sound_files.wav_bytes(sound_files.tone(name, number))),
            (f"{name}{number}.json", json.dumps({"label": name, "loud": number / 10}).encode()),
        )
    ]


def events_of(numbers: Sequence[int]) -> list[Member]:
    return [
        member
        for number in numbers
        for name in MOVES
        for member in (
            (f"{name}{number}.npz", npz(events=fields(moving(name, number)))),
            (f"{name}{number}.cls", name.encode()),
        )
    ]

"""Load the event-camera data sets DVS-CIFAR10, DVS-Gesture and N-MNIST."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NotRequired, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from hdlif.data.augment import Augment
from hdlif.data.event_frames import Clip, EventFrames, Recordings, cached_frames
from hdlif.data.roots import SetFolder, whole_number
from hdlif.data.samples import DataSets
from hdlif.data.split import fixed_permutation, hold_out
from hdlif.inputs.datasets import CIFAR10_CLASSES, DIGITS_CLASSES, DVS_GESTURE_CLASSES, DVS_SIDE, N_MNIST_SIDE
from hdlif.inputs.events import Binning

# N-MNIST has one recording per image, so these are MNIST's numbers.
N_MNIST_TRAIN = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
N_MNIST_TEST = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)


class AskedOfEvents(TypedDict):
    """Settings shared by event-camera data sets, as described in `dvs_cifar10`."""

    validation: int
    augment: NotRequired[Augment]
    seed: NotRequired[int]
    time_steps: int
    binning: Binning
    size: NotRequired[int | None]


def dvs_cifar10(
    root: Path | None = None, *, per_class: tuple[int, int] = (900, 100), **asked: Unpack[AskedOfEvents]
) -> DataSets:
    """Load DVS-CIFAR10 (Li et al. 2017) from ROOT/CIFAR10DVS/CLASS/cifar10_CLASS_NUMBER.aedat or .aedat4.

    The sensor of DVS-CIFAR10 has 128x128 pixels. In each class, the 900 recordings with the lowest numbers are used for
    training, and the last 100 for testing. The split is stored in a manifest.

    Args:
        per_class: required numbers of training and test recordings per class.
        asked: `validation`, `augment` and `seed` as in `digits`; `time_steps`, the number of frames per recording;
            `binning`, such as `by_time`; and `size`, to which frames are resized (None keeps their size).
        root: the folder that contains the data; required.
    Raises:
        DataError: a class is missing or incomplete, or has the wrong number of recordings.
    """
    folder = SetFolder(
        "dvs_cifar10",
        root,
        "CIFAR10DVS",
        layout=f"ten folders (airplane, ...) of {sum(per_class)} .aedat or .aedat4 files each",
        source="from https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671",
        archive="PART.zip",
        holds=CIFAR10_CLASSES,
    )
    train: list[Clip] = []
    test: list[Clip] = []
    for label, name in enumerate(CIFAR10_CLASSES):
        files = sorted(folder.files(name, (".aedat", ".aedat4")), key=_number)
        if len(files) != sum(per_class):
            raise folder.error(folder.path / name, f"{len(files)} recordings of {sum(per_class)}")
        clips = [Clip(f"{name}/{file}", label) for file in files]
        train += clips[: per_class[0]]
        test += clips[per_class[0] :]
    recordings = Recordings("dvs_cifar10", folder.path, tuple(train), tuple(test), DVS_SIDE, DVS_SIDE)
    return _sets(recordings, CIFAR10_CLASSES, **asked)


def n_mnist(
    root: Path | None = None,
    *,
    per_digit: tuple[Sequence[int], Sequence[int]] = (N_MNIST_TRAIN, N_MNIST_TEST),
    **asked: Unpack[AskedOfEvents],
) -> DataSets:
    """Load the 34x34 recordings of N-MNIST (Orchard et al. 2015) from class folders in ROOT/NMNIST/Train and Test.

    Args:
        per_digit: required numbers of training and test recordings per digit.
        root, asked: as in `dvs_cifar10`.
    """
    folder = SetFolder(
        "n_mnist",
        root,
        "NMNIST",
        layout=f"Train ({sum(per_digit[0])} files) and Test ({sum(per_digit[1])}), each with folders 0..9 of .bin",
        source="from https://www.garrickorchard.com/datasets/n-mnist",
        archive="PART.zip",
        holds=("Train", "Test"),
    )
    parts = []
    for part, counts in zip(("Train", "Test"), per_digit, strict=True):
        folder.require([f"{part}/{digit}" for digit in DIGITS_CLASSES])
        clips: list[Clip] = []
        for digit, count in zip(DIGITS_CLASSES, counts, strict=True):
            files = sorted(folder.files(f"{part}/{digit}", (".bin",)), key=_number)
            if len(files) != count:
                raise folder.error(folder.path / part / digit, f"{len(files)} recordings of {count}")
            clips += [Clip(f"{part}/{digit}/{file}", int(digit)) for file in files]
        parts.append(tuple(clips))
    recordings = Recordings("n_mnist", folder.path, parts[0], parts[1], N_MNIST_SIDE, N_MNIST_SIDE)
    return _sets(recordings, DIGITS_CLASSES, **asked)


def dvs_gesture(
    root: Path | None = None, *, counts: tuple[int, int] = (1176, 288), **asked: Unpack[AskedOfEvents]
) -> DataSets:
    """Load the 128x128 recordings of DVS-Gesture (Amir et al. 2017) from the extracted archive in ROOT/DvsGesture.

    The files trials_to_train.txt and trials_to_test.txt list the recordings. Each line of NAME_labels.csv defines a
    sample by its class (1 to 11) and its start and end in microseconds.

    Args:
        counts: required numbers of training and test gestures.
        root, asked: as in `dvs_cifar10`.
    """
    lists = {part: f"trials_to_{part}.txt" for part in ("train", "test")}
    folder = SetFolder(
        "dvs_gesture",
        root,
        "DvsGesture",
        layout=f"{lists['train']}, {lists['test']}, and for each trial its .aedat and _labels.csv",
        source="from https://research.ibm.com/interactive/dvsgesture/, extracted from its DvsGesture.tar.gz",
        archive="DvsGesture.tar.gz",
        holds=tuple(lists.values()),
    )
    parts = []
    for part, count in zip(lists.values(), counts, strict=True):
        trials = [line.strip() for line in folder.text(part).splitlines() if line.strip()]
        folder.plain(trials, part)
        folder.require([name for trial in trials for name in (trial, _labels_of(trial))])
        clips = tuple(clip for trial in trials for clip in _gestures(folder, trial))
        if len(clips) != count:
            raise folder.error(folder.path, f"{len(clips)} gestures of {count} in {part}")
        parts.append(clips)
    recordings = Recordings("dvs_gesture", folder.path, parts[0], parts[1], DVS_SIDE, DVS_SIDE)
    return _sets(recordings, DVS_GESTURE_CLASSES, **asked)


def _labels_of(trial: str) -> str:
    return f"{trial.removesuffix('.aedat')}_labels.csv"


def _gestures(folder: SetFolder, trial: str) -> list[Clip]:
    table = _labels_of(trial)
    try:
        lines = [line.split(",") for line in folder.text(table).splitlines()[1:]]
        numbers = [[whole_number(entry.strip()) for entry in line] for line in lines]
        clips = [Clip(trial, label - 1, start, end) for label, start, end in numbers]
    except ValueError as error:
        raise folder.error(folder.path / table, f"{error}; each line must contain class, start and end") from error
    if any(not 0 <= clip.label < len(DVS_GESTURE_CLASSES) for clip in clips):
        raise folder.error(folder.path / table, f"a class is outside 1..{len(DVS_GESTURE_CLASSES)}")
    return clips


def _number(file: str) -> tuple[int, str]:
    """Return a sort key with the last number in a file's name, so that file 10 comes after file 9."""
    numbers = re.findall(r"\d+", file.partition(".")[0])
    return int(numbers[-1]) if numbers else -1, file


def _sets(
    recordings: Recordings,
    classes: tuple[str, ...],
    *,
    validation: int,
    augment: Augment = (),
    seed: int = 0,
    time_steps: int,
    binning: Binning,
    size: int | None = None,
) -> DataSets:
    n = len(recordings.train)
    train, held_out = (places.numpy() for places in hold_out(recordings.name, n, validation))
    path = cached_frames(recordings, time_steps=time_steps, binning=binning, size=size)
    labels = torch.tensor([clip.label for clip in (*recordings.train, *recordings.test)])

    def samples(places: NDArray[np.int64], augment: Augment = ()) -> EventFrames:
        return EventFrames(path, places, labels[places], time_steps=time_steps, augment=augment, seed=seed)

    height, width = (recordings.height, recordings.width) if size is None else (size, size)
    return DataSets(
        samples(train, augment),
        samples(held_out),
        samples(n + fixed_permutation(len(recordings.test)).numpy()),
        classes=classes,
        shape=(2, height, width),
        mean=(0.0, 0.0),
        std=(1.0, 1.0),
    )

"""Sets recorded by event cameras: DVS-CIFAR10, DVS-Gesture and N-MNIST."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hdlif.data.cifar import CIFAR10_CLASSES
from hdlif.data.frame_cache import Clip, EventFrames, Recordings, cached_frames
from hdlif.data.frames import Binning
from hdlif.data.images import DIGITS_CLASSES
from hdlif.data.roots import given_root, text_of
from hdlif.data.samples import ImageSets
from hdlif.data.splits import check_validation, fixed_permutation
from hdlif.errors import DataError

DVS_SIDE, N_MNIST_SIDE = 128, 34
DVS_GESTURE_CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter-clockwise",
    "left arm clockwise",
    "left arm counter-clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)


def dvs_cifar10(
    root: Path | None = None,
    *,
    validation: int,
    augment: Sequence[str],
    seed: int,
    time_steps: int,
    binning: Binning,
    size: int | None = None,
    per_class: tuple[int, int] = (900, 100),
) -> ImageSets:
    """DVS-CIFAR10 (Li et al. 2017), 128x128, from ROOT/CIFAR10DVS/CLASS/cifar10_CLASS_NUMBER.aedat (or .aedat4).

    Of each class the first 900 recordings, by number, are for training and the last 100 for testing; that split is
    written as a manifest. The validation samples are the last ones of a fixed permutation of the training ones.

    Args:
        time_steps: frames of a recording.
        binning: how events become frames.
        size: frames are resized to size x size.
        per_class: training and test recordings that each class must have.
    Raises:
        DataError: a class is missing, half extracted, or has another number of recordings.
    """
    folder = (
        given_root("dvs_cifar10", root, "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671") / "CIFAR10DVS"
    )
    layout = f"accepted is {folder} with ten folders (airplane, ...) of {sum(per_class)} files .aedat or .aedat4 each"
    train: list[Clip] = []
    test: list[Clip] = []
    for label, name in enumerate(CIFAR10_CLASSES):
        files = sorted(_files(folder / name, (".aedat", ".aedat4"), layout), key=_number)
        if len(files) != sum(per_class):
            raise DataError(f"{folder / name}: {len(files)} recordings of {sum(per_class)}; {layout}")
        clips = [Clip(f"{name}/{file}", label) for file in files]
        train += clips[: per_class[0]]
        test += clips[per_class[0] :]
    recordings = Recordings("dvs_cifar10", folder, tuple(train), tuple(test), DVS_SIDE, DVS_SIDE)
    return _sets(recordings, CIFAR10_CLASSES, validation, augment, seed, time_steps, binning, size)


def n_mnist(
    root: Path | None = None,
    *,
    validation: int,
    augment: Sequence[str],
    seed: int,
    time_steps: int,
    binning: Binning,
    size: int | None = None,
    counts: tuple[int, int] = (60_000, 10_000),
) -> ImageSets:
    """N-MNIST (Orchard et al. 2015), 34x34, from ROOT/NMNIST/Train/DIGIT/*.bin and Test; otherwise as `dvs_cifar10`.

    Args:
        counts: training and test recordings that there must be.
    """
    folder = given_root("n_mnist", root, "https://www.garrickorchard.com/datasets/n-mnist") / "NMNIST"
    layout = f"accepted is {folder} with Train ({counts[0]} files) and Test ({counts[1]}), in each folders 0..9 of .bin"
    parts = []
    for part, count in zip(("Train", "Test"), counts, strict=True):
        clips = tuple(
            Clip(f"{part}/{digit}/{file}", int(digit))
            for digit in DIGITS_CLASSES
            for file in sorted(_files(folder / part / digit, (".bin",), layout), key=_number)
        )
        if len(clips) != count:
            raise DataError(f"{folder / part}: {len(clips)} recordings of {count}; {layout}")
        parts.append(clips)
    recordings = Recordings("n_mnist", folder, parts[0], parts[1], N_MNIST_SIDE, N_MNIST_SIDE)
    return _sets(recordings, DIGITS_CLASSES, validation, augment, seed, time_steps, binning, size)


def dvs_gesture(
    root: Path | None = None,
    *,
    validation: int,
    augment: Sequence[str],
    seed: int,
    time_steps: int,
    binning: Binning,
    size: int | None = None,
    counts: tuple[int, int] = (1176, 288),
) -> ImageSets:
    """DVS-Gesture (Amir et al. 2017), 128x128, from ROOT/DvsGesture as extracted; otherwise as `dvs_cifar10`.

    trials_to_train.txt and trials_to_test.txt name the recordings; beside each lies NAME_labels.csv, whose lines
    (class 1..11, start, end in microseconds) are the samples.

    Args:
        counts: training and test gestures that there must be.
    """
    where = "https://research.ibm.com/interactive/dvsgesture/ (DvsGesture.tar.gz)"
    folder = given_root("dvs_gesture", root, where) / "DvsGesture"
    layout = (
        f"accepted is {folder} with trials_to_train.txt, trials_to_test.txt, and for each trial its .aedat and "
        "_labels.csv; extract DvsGesture.tar.gz again"
    )
    parts = []
    for part, count in zip(("train", "test"), counts, strict=True):
        trials = [line.strip() for line in text_of(folder / f"trials_to_{part}.txt", layout).splitlines()]
        clips = tuple(clip for trial in trials if trial for clip in _gestures(folder, trial, layout))
        if len(clips) != count:
            raise DataError(f"{folder}: {len(clips)} gestures of {count} in trials_to_{part}.txt; {layout}")
        parts.append(clips)
    recordings = Recordings("dvs_gesture", folder, parts[0], parts[1], DVS_SIDE, DVS_SIDE)
    return _sets(recordings, DVS_GESTURE_CLASSES, validation, augment, seed, time_steps, binning, size)


def _gestures(folder: Path, trial: str, layout: str) -> list[Clip]:
    if not (folder / trial).is_file():
        raise DataError(f"{folder / trial}: there is no such file; {layout}")
    table = folder / f"{trial.removesuffix('.aedat')}_labels.csv"
    try:
        lines = [[int(entry) for entry in line] for line in list(csv.reader(text_of(table, layout).splitlines()))[1:]]
        clips = [Clip(trial, label - 1, start, end) for label, start, end in lines]
    except ValueError as error:
        raise DataError(f"{table}: {error}; its lines are class, start and end; {layout}") from error
    if any(not 0 <= clip.label < len(DVS_GESTURE_CLASSES) for clip in clips):
        raise DataError(f"{table}: a class is outside 1..{len(DVS_GESTURE_CLASSES)}; {layout}")
    return clips


def _files(folder: Path, suffixes: tuple[str, ...], layout: str) -> list[str]:
    if not folder.is_dir():
        archive = folder.with_suffix(".zip")
        lies = f"; {archive.name} lies there, extract it" if archive.exists() else ""
        raise DataError(f"{folder}: there is no such folder{lies}; {layout}")
    return [entry.name for entry in folder.iterdir() if entry.suffix in suffixes]


def _number(file: str) -> tuple[int, str]:
    """The last number of a file's name, so that 10 comes after 9."""
    numbers = re.findall(r"\d+", file.partition(".")[0])
    return int(numbers[-1]) if numbers else -1, file


def _sets(
    recordings: Recordings,
    classes: tuple[str, ...],
    validation: int,
    augment: Sequence[str],
    seed: int,
    time_steps: int,
    binning: Binning,
    size: int | None,
) -> ImageSets:
    n = len(recordings.train)
    check_validation(recordings.name, validation, least=1, most=n - 1)
    path = cached_frames(recordings, time_steps=time_steps, binning=binning, size=size)
    labels = torch.tensor([clip.label for clip in (*recordings.train, *recordings.test)])

    def samples(places: NDArray[np.int64], augment: Sequence[str] = ()) -> EventFrames:
        return EventFrames(path, places, labels[places], time_steps=time_steps, augment=augment, seed=seed)

    order = fixed_permutation(n).numpy()
    height, width = (recordings.height, recordings.width) if size is None else (size, size)
    return ImageSets(
        samples(order[:-validation], augment),
        samples(order[-validation:]),
        samples(n + fixed_permutation(len(recordings.test)).numpy()),
        classes=classes,
        shape=(2, height, width),
        mean=(0.0, 0.0),
        std=(1.0, 1.0),
    )

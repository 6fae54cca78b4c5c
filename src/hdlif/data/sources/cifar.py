"""Load CIFAR-10 and CIFAR-100 (32x32, colour) from the pickled batches of the Python release.

`hdlif.data.pickles` reads the pickles without running any code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.in_memory import Images, sets_in_memory
from hdlif.data.pickles import integers, parse_pickle
from hdlif.data.roots import SetFolder, by_torchvision, refuse_other_counts
from hdlif.data.samples import DataSets
from hdlif.data.split import hold_out
from hdlif.errors import reason
from hdlif.inputs import MOST_BYTES, Unreadable
from hdlif.inputs.datasets import (
    CIFAR10_CLASSES,
    CIFAR10_MEAN,
    CIFAR10_STD,
    CIFAR100_CLASSES,
    CIFAR100_MEAN,
    CIFAR100_STD,
)
from hdlif.whole_files import read_regular


@dataclass(frozen=True)
class _Layout:
    name: str
    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: bytes
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    per_class: tuple[int, int]
    """Numbers of training and test images per class."""


_CIFAR10 = _Layout(
    name="CIFAR10",
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test=("test_batch",),
    labels=b"labels",
    classes=CIFAR10_CLASSES,
    mean=CIFAR10_MEAN,
    std=CIFAR10_STD,
    per_class=(5000, 1000),
)
_CIFAR100 = _Layout(
    name="CIFAR100",
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    train=("train",),
    test=("test",),
    labels=b"fine_labels",
    classes=CIFAR100_CLASSES,
    mean=CIFAR100_MEAN,
    std=CIFAR100_STD,
    per_class=(500, 100),
)


def cifar10(
    root: Path | None = None,
    *,
    validation: int,
    augment: Augment = (),
    seed: int = 0,
    per_class: tuple[int, int] = _CIFAR10.per_class,
) -> DataSets:
    """Load CIFAR-10 from ROOT/cifar-10-batches-py without downloading anything.

    The last images in a fixed permutation of the training set form the validation set.

    Args:
        per_class: required numbers of training and test images per class.
        root: the folder that contains the data; required.
        validation, augment, seed: as in `digits`.
    Raises:
        DataError: a file is missing or damaged, or a class has the wrong number of images.
    """
    return _cifar(_CIFAR10, root, validation, augment, seed, per_class)


def cifar100(
    root: Path | None = None,
    *,
    validation: int,
    augment: Augment = (),
    seed: int = 0,
    per_class: tuple[int, int] = _CIFAR100.per_class,
) -> DataSets:
    """Load CIFAR-100 with the 100 fine classes from ROOT/cifar-100-python.

    Args:
        root, validation, augment, seed, per_class: as in `cifar10`.
    """
    return _cifar(_CIFAR100, root, validation, augment, seed, per_class)


def _cifar(
    layout: _Layout,
    root: Path | None,
    validation: int,
    augment: Augment,
    seed: int,
    per_class: tuple[int, int],
) -> DataSets:
    files = (*layout.train, *layout.test)
    folder = SetFolder(
        layout.name,
        root,
        layout.folder,
        layout=", ".join(files),
        source=by_torchvision(layout.name),
        archive=layout.archive,
        holds=files,
    )
    pixels, labels = _read(layout, folder, layout.train, per_class[0])
    train, held_out = hold_out(layout.name, len(labels), validation)
    parts = [(pixels[part], labels[part]) for part in (train, held_out)] + [
        _read(layout, folder, layout.test, per_class[1])
    ]
    return sets_in_memory(Images, parts, layout.classes, layout.mean, layout.std, augment=augment, seed=seed)


def _read(layout: _Layout, folder: SetFolder, names: Sequence[str], per_class: int) -> tuple[Tensor, Tensor]:
    """Return the pixels as uint8 [N, 3, 32, 32] and the labels as int64 [N] from the named files."""
    parts = [_read_file(layout, folder, folder.path / name) for name in names]
    pixels = np.concatenate([part[0] for part in parts])
    labels = torch.from_numpy(np.concatenate([part[1] for part in parts]))
    refuse_other_counts(folder, ", ".join(names), labels, name=layout.name, classes=layout.classes, per_class=per_class)
    return torch.from_numpy(pixels.reshape(-1, 3, 32, 32)), labels


def _read_file(layout: _Layout, folder: SetFolder, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        content = parse_pickle(read_regular(path, most=MOST_BYTES))
        if not isinstance(content, dict) or not {b"data", layout.labels} <= content.keys():
            raise Unreadable(f"contains data without {layout.labels.decode()}")
        pixels, labels = integers(content[b"data"]), integers(content[layout.labels])
    except (OSError, Unreadable) as error:
        raise folder.error(path, f"is not a batch of {layout.name} ({reason(error)})") from error
    fits = pixels.dtype == np.uint8 and pixels.ndim == 2 and pixels.shape[1] == 3072
    if not fits or labels.shape != pixels.shape[:1]:
        seen = f"{pixels.dtype} {list(pixels.shape)} pixels and {list(labels.shape)} labels"
        raise folder.error(path, f"{seen}; expected uint8 [N, 3072] and N labels")
    if labels.size and not 0 <= labels.min() <= labels.max() < len(layout.classes):
        raise folder.error(path, f"a label is outside 0..{len(layout.classes) - 1}")
    return pixels, labels.astype(np.int64)

"""CIFAR's pickled batches, written small in their true form and read by the same code as the real ones."""

import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from hdlif.data import ImageSets, cifar10, cifar100
from hdlif.errors import DataError

FILES = {
    "cifar10": ("cifar-10-batches-py", [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], b"labels", 10),
    "cifar100": ("cifar-100-python", ["train", "test"], b"fine_labels", 100),
}
PER_CLASS = {"cifar10": (5, 1), "cifar100": (2, 1)}


def write(root: Path, name: str) -> dict[str, np.ndarray]:
    """One image of each class in a file (two in CIFAR-100's `train`), as Python 2 pickled them: bytes for keys."""
    folder, files, labels_key, classes = FILES[name]
    (root / folder).mkdir()
    rng, pixels = np.random.default_rng(0), {}
    for file in files:
        repeats = 2 if file == "train" else 1
        data = rng.integers(0, 256, (classes * repeats, 3072), dtype=np.uint8)
        labels = rng.permutation(np.tile(np.arange(classes), repeats)).tolist()
        content = {b"batch_label": b"x", labels_key: labels, b"data": data, b"filenames": [b"a.png"] * len(data)}
        (root / folder / file).write_bytes(pickle.dumps(content, protocol=2))
        pixels[file] = data
    return pixels


def load(root: Path | None, name: str, **arguments: object) -> ImageSets:
    source = {"cifar10": cifar10, "cifar100": cifar100}[name]
    return source(root, **{"validation": 3, "augment": (), "seed": 0, "per_class": PER_CLASS[name]} | arguments)


@pytest.mark.parametrize("name", FILES)
def test_reads_what_the_pickles_hold(name: str, tmp_path: Path) -> None:
    written = write(tmp_path, name)
    sets = load(tmp_path, name)
    classes = FILES[name][3]
    train = classes * PER_CLASS[name][0]
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (train - 3, 3, classes)
    assert sets.shape == (3, 32, 32)
    assert sets.test.read(torch.arange(classes)).flatten(1).numpy().tolist() == written[FILES[name][1][-1]].tolist()
    assert sorted(sets.test.labels.tolist()) == list(range(classes))
    everything = np.concatenate([data for file, data in written.items() if "test" not in file])
    read = torch.cat([part.read(torch.arange(len(part))) for part in (sets.train, sets.validation)]).flatten(1)
    assert sorted(map(bytes, read.numpy())) == sorted(map(bytes, everything))


def test_wrong_class_counts_are_named(tmp_path: Path) -> None:
    write(tmp_path, "cifar10")
    with pytest.raises(DataError, match=r"5 images of airplane; CIFAR10 has 5000 of each class there"):
        load(tmp_path, "cifar10", per_class=(5000, 1000))


def rewrite(path: Path, **changes: object) -> None:
    content = pickle.loads(path.read_bytes(), encoding="bytes")
    path.write_bytes(pickle.dumps(content | {key.encode(): value for key, value in changes.items()}, protocol=2))


def test_damaged_batch_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "cifar10")
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    whole = path.read_bytes()
    for content in (whole[:5000], b"", pickle.dumps({b"data": os.getcwd})):
        path.write_bytes(content)
        with pytest.raises(DataError, match=re.escape(f"{path}: is not a batch of CIFAR10")):
            load(tmp_path, "cifar10")
    for changed in ({"data": np.zeros((10, 3071), np.uint8)}, {"labels": [0] * 9}, {"labels": [10] * 10}):
        path.write_bytes(whole)
        rewrite(path, **changed)
        with pytest.raises(DataError, match=re.escape(f"{path}: ")):
            load(tmp_path, "cifar10")

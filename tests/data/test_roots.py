"""A set that is absent or half extracted: what is missing, the accepted layout, and where the set is had."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from hdlif.data import (
    by_number,
    cifar10,
    cifar100,
    dvs_cifar10,
    dvs_gesture,
    fashion_mnist,
    imagenet,
    n_mnist,
    tiny_imagenet,
)
from hdlif.data.cifar import CIFAR10_CLASSES
from hdlif.errors import DataError

SPLIT = {"validation": 1, "augment": (), "seed": 0}
EVENTS = {**SPLIT, "time_steps": 2, "binning": by_number}
SETS = {
    "CIFAR10": (partial(cifar10, **SPLIT), "cifar-10-batches-py", "by python -c .*CIFAR10('{root}', download=True)"),
    "CIFAR100": (partial(cifar100, **SPLIT), "cifar-100-python", "by python -c .*CIFAR100('{root}', download=True)"),
    "fashion_mnist": (partial(fashion_mnist, **SPLIT), "FashionMNIST/raw", "by python -c .*MNIST('{root}', download"),
    "imagenet": (partial(imagenet, **SPLIT), "imagenet", "from image-net.org"),
    "tiny_imagenet": (partial(tiny_imagenet, **SPLIT), "tiny-imagenet-200", "from http://cs231n.stanford.edu/tiny"),
    "dvs_cifar10": (partial(dvs_cifar10, **EVENTS), "CIFAR10DVS", "from https://figshare.com/"),
    "dvs_gesture": (partial(dvs_gesture, **EVENTS), "DvsGesture", "from https://research.ibm.com/"),
    "n_mnist": (partial(n_mnist, **EVENTS), "NMNIST", "from https://www.garrickorchard.com/"),
}
every_set = pytest.mark.parametrize("name", SETS)


def refusal(name: str, root: Path | None) -> str:
    """The error's message, once it was seen to end in the accepted layout and where the set is had."""
    load, folder, source = SETS[name]
    with pytest.raises(DataError) as caught:
        load(root)
    message, given = str(caught.value), root or "DIR"
    had = ".*".join(map(re.escape, source.format(root=given).split(".*")))
    assert re.search(rf"; accepted is {re.escape(f'{given}/{folder}/ with ')}.*; {name} is had {had}", message)
    return message


@every_set
def test_without_a_root_the_option_is_named(name: str) -> None:
    assert refusal(name, None).startswith(
        f"{name}: no folder is given; give the folder that holds {SETS[name][1]} with --data-root; accepted is"
    )


@every_set
def test_absent_set_is_missing_as_a_whole(name: str, tmp_path: Path) -> None:
    folder = SETS[name][1]
    mend = f"there is no such folder: all of {name} is missing; give the folder that holds {folder} with --data-root; "
    assert refusal(name, tmp_path).startswith(f"{tmp_path / folder}: {mend}")
    assert refusal(name, tmp_path / "no").startswith(f"{tmp_path / 'no'}: {mend}")
    archive = (tmp_path / folder).with_name(f"{Path(folder).name}.tar.gz")
    archive.parent.mkdir(exist_ok=True)
    archive.touch()
    assert f"missing; extract {archive.name}; give" in refusal(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "there", "missing"),
    [
        ("CIFAR10", "data_batch_1", "data_batch_2, data_batch_3, data_batch_4, data_batch_5, test_batch missing"),
        ("CIFAR100", "train", "test missing"),
        (
            "fashion_mnist",
            "train-images-idx3-ubyte",
            "train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte missing",
        ),
        ("imagenet", "train/", "val missing"),
        ("tiny_imagenet", "train/", "wnids.txt, val/images, val/val_annotations.txt missing"),
        ("dvs_cifar10", "airplane/", "automobile, bird, cat, deer, dog and 4 more missing"),
        ("dvs_gesture", "trials_to_train.txt", "trials_to_test.txt missing"),
        ("n_mnist", "Train/", "Test missing"),
    ],
)
def test_half_extracted_set_names_what_is_missing(name: str, there: str, missing: str, tmp_path: Path) -> None:
    folder = tmp_path / SETS[name][1]
    folder.mkdir(parents=True)
    if there.endswith("/"):
        (folder / there).mkdir()
    else:
        (folder / there).touch()
    assert refusal(name, tmp_path).startswith(f"{folder}: {missing}; accepted is")
    first = missing.split(", ")[0].removesuffix(" missing")
    (folder / first).parent.mkdir(exist_ok=True)
    (folder / f"{first}.zip").touch()
    assert f"missing; extract {Path(first).name}.zip; accepted is" in refusal(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "folders", "seen"),
    [
        ("imagenet", ["train", "val"], "train: 0 class folders; there are 1000 classes"),
        ("dvs_cifar10", CIFAR10_CLASSES, "airplane: 0 recordings of 1000"),
        ("n_mnist", [f"{part}/{digit}" for part in ("Train", "Test") for digit in range(10)], "Train/0: 0 recordings"),
    ],
)
def test_wrong_number_says_where_the_set_is_had(name: str, folders: Sequence[str], seen: str, tmp_path: Path) -> None:
    for folder in folders:
        (tmp_path / SETS[name][1] / folder).mkdir(parents=True)
    assert seen in refusal(name, tmp_path)

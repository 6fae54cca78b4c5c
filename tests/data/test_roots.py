"""A set that is absent or half extracted: what is missing, the accepted layout, and where the set comes from."""

import re
from functools import partial
from pathlib import Path

import pytest
import torchvision

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
from hdlif.errors import DataError
from hdlif.inputs.datasets import CIFAR10_CLASSES

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
ARCHIVES = {
    "CIFAR10": [torchvision.datasets.CIFAR10.filename],
    "CIFAR100": [torchvision.datasets.CIFAR100.filename],
    "fashion_mnist": [name for name, _ in torchvision.datasets.FashionMNIST.resources],
    "imagenet": [torchvision.datasets.imagenet.ARCHIVE_META[part][0] for part in ("train", "val")],
    "tiny_imagenet": ["tiny-imagenet-200.zip"],
    "dvs_cifar10": [f"{name}.zip" for name in CIFAR10_CLASSES],
    "dvs_gesture": ["DvsGesture.tar.gz"],
    "n_mnist": ["Train.zip", "Test.zip"],
}
"""Under which names torchvision and the publishers have each set."""
every_set = pytest.mark.parametrize("name", SETS)


def refusal(name: str, root: Path | None) -> str:
    """The error's message, once it was seen to end in the accepted layout and where the set comes from."""
    load, folder, source = SETS[name]
    with pytest.raises(DataError) as caught:
        load(root)
    message, given = str(caught.value), root or "DIR"
    had = ".*".join(map(re.escape, source.format(root=given).split(".*")))
    assert re.search(rf"; accepted is {re.escape(f'{given}/{folder}/ with ')}.*; {name} is obtained {had}", message)
    return message


@every_set
def test_absent_set_is_missing_as_a_whole(name: str, tmp_path: Path) -> None:
    folder = SETS[name][1]
    mend = f"there is no such folder: all of {name} is missing; give the folder that holds {folder} with --data-root; "
    assert refusal(name, None).startswith(f"{name}: no folder is given; give the folder that holds {folder} with")
    assert refusal(name, tmp_path).startswith(f"{tmp_path / folder}: {mend}")
    assert refusal(name, tmp_path / "no").startswith(f"{tmp_path / 'no'}: {mend}")
    for archive in ARCHIVES[name]:
        (tmp_path / archive).touch()
    named = ", ".join(str(tmp_path / archive) for archive in ARCHIVES[name][:5])
    assert f"all of {name} is missing; extract {named}; give" in refusal(name, tmp_path)


THERE = {
    "CIFAR10": (
        "data_batch_1",
        "data_batch_2, data_batch_3, data_batch_4, data_batch_5, test_batch",
        "../cifar-10-python.tar.gz",
    ),
    "CIFAR100": ("train", "test", "../cifar-100-python.tar.gz"),
    "fashion_mnist": (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte",
        "train-labels-idx1-ubyte.gz",
    ),
    "imagenet": ("train/", "val", "ILSVRC2012_img_val.tar"),
    "tiny_imagenet": ("train/", "wnids.txt, val/images, val/val_annotations.txt", "../tiny-imagenet-200.zip"),
    "dvs_cifar10": ("airplane/", "automobile, bird, cat, deer, dog and 4 more", "automobile.zip"),
    "dvs_gesture": ("trials_to_train.txt", "trials_to_test.txt", "../DvsGesture.tar.gz"),
    "n_mnist": ("Train/", "Test", "Test.zip"),
}
"""Of each set what is there, what is then missing, and the archive that holds it."""


@every_set
def test_half_extracted_set_names_what_is_missing(name: str, tmp_path: Path) -> None:
    there, missing, archive = THERE[name]
    folder = tmp_path / SETS[name][1]
    folder.mkdir(parents=True)
    if there.endswith("/"):
        (folder / there).mkdir()
    else:
        (folder / there).touch()
    assert refusal(name, tmp_path).startswith(f"{folder}: {missing} missing; accepted is")
    place = folder.parent / Path(archive).name if archive.startswith("../") else folder / archive
    place.touch()
    assert f"missing; extract {place}; accepted is" in refusal(name, tmp_path)
    # The archive of what is there is not named.
    if len(ARCHIVES[name]) > 1:
        place.unlink()
        (folder / ARCHIVES[name][0]).touch()
        assert "; extract" not in refusal(name, tmp_path)


def test_archive_of_a_digit_of_n_mnist_is_that_of_its_part(tmp_path: Path) -> None:
    for folder in ("Train", "Test"):
        (tmp_path / "NMNIST" / folder).mkdir(parents=True)
    (tmp_path / "Train.zip").touch()
    assert f"Train/4 and 5 more missing; extract {tmp_path}/Train.zip; accepted" in refusal("n_mnist", tmp_path)


def test_wrong_number_says_where_the_set_is_had(tmp_path: Path) -> None:
    for name, folders, seen in (
        ("imagenet", ["train", "val"], "train: 0 class folders; there are 1000 classes"),
        ("dvs_cifar10", CIFAR10_CLASSES, "airplane: 0 recordings of 1000"),
        ("n_mnist", [f"{part}/{digit}" for part in ("Train", "Test") for digit in range(10)], "Train/0: 0 recordings"),
    ):
        for folder in folders:
            (tmp_path / SETS[name][1] / folder).mkdir(parents=True)
        assert seen in refusal(name, tmp_path)

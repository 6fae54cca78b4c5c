"""A set that is absent or half extracted: what is missing, the accepted layout, and where the set comes from."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from torchvision import datasets
from torchvision.datasets.imagenet import ARCHIVE_META

from hdlif.errors import DataError
from hdlif.inputs.datasets import CIFAR10_CLASSES
from small_sets import SETS


class Absent(NamedTuple):
    """A set in `folder`, with the names of its archives; if `there` alone is extracted, `missing` is named.

    The last of one or two archives, or the second of more, holds what is missing first.
    """

    folder: str
    archives: Sequence[str]
    there: str
    missing: str


BATCHES = ", ".join(f"data_batch_{i}" for i in range(2, 6))
IDX = "train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"
FASHION = [name for name, _ in datasets.FashionMNIST.resources]
IMAGENET = [ARCHIVE_META[part][0] for part in ("train", "val")]
TINY = "wnids.txt, val/images, val/val_annotations.txt"
DVS = [f"{name}.zip" for name in CIFAR10_CLASSES]
CASES = {
    "cifar10": Absent("cifar-10-batches-py", [datasets.CIFAR10.filename], "data_batch_1", f"{BATCHES}, test_batch"),
    "cifar100": Absent("cifar-100-python", [datasets.CIFAR100.filename], "train", "test"),
    "fashion_mnist": Absent("FashionMNIST/raw", FASHION, "train-images-idx3-ubyte", IDX),
    "imagenet": Absent("imagenet", IMAGENET, "train/", "val"),
    "tiny_imagenet": Absent("tiny-imagenet-200", ["tiny-imagenet-200.zip"], "train/", TINY),
    "dvs_cifar10": Absent("CIFAR10DVS", DVS, "airplane/", "automobile, bird, cat, deer, dog and 4 more"),
    "dvs_gesture": Absent("DvsGesture", ["DvsGesture.tar.gz"], "trials_to_train.txt", "trials_to_test.txt"),
    "n_mnist": Absent("NMNIST", ["Train.zip", "Test.zip"], "Train/", "Test"),
}


def refusal(name: str, root: Path | None) -> str:
    """Return the message, after a check that it ends in the accepted layout and where the set comes from."""
    with pytest.raises(DataError) as caught:
        SETS[name].load(root)  # type: ignore[arg-type]
    layout = re.escape(f"{root or 'DIR'}/{CASES[name].folder}/ with ")
    assert re.search(rf"; expected {layout}.*; get \w+ (with|from) \S", str(caught.value))
    return str(caught.value)


@pytest.mark.parametrize("name", CASES)
def test_absent_set_is_missing_as_a_whole(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    assert "no folder is given" in refusal(name, None)
    assert refusal(name, tmp_path).startswith(f"{tmp_path / case.folder}: there is no such folder")
    assert refusal(name, tmp_path / "no").startswith(f"{tmp_path / 'no'}: there is no such folder")
    for archive in case.archives:
        (tmp_path / archive).touch()
    named = ", ".join(str(tmp_path / archive) for archive in case.archives[:5])
    assert f"missing; extract {named}; give" in refusal(name, tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_half_extracted_set_names_what_is_missing_and_its_archive(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    folder = tmp_path / case.folder
    (folder / case.there).parent.mkdir(parents=True, exist_ok=True)
    if case.there.endswith("/"):
        (folder / case.there).mkdir(parents=True)
    else:
        (folder / case.there).touch()
    assert refusal(name, tmp_path).startswith(f"{folder}: {case.missing} missing; expected ")
    place = folder / case.archives[:2][-1]
    place.touch()
    assert f"missing; extract {place}; expected " in refusal(name, tmp_path)
    # The archive of what is there is not named.
    if len(case.archives) > 1:
        place.unlink()
        (folder / case.archives[0]).touch()
        assert "; extract" not in refusal(name, tmp_path)


def test_archive_of_a_digit_of_n_mnist_is_that_of_its_part(tmp_path: Path) -> None:
    for folder in ("Train", "Test"):
        (tmp_path / "NMNIST" / folder).mkdir(parents=True)
    (tmp_path / "Train.zip").touch()
    assert f"Train/4 and 5 more missing; extract {tmp_path}/Train.zip; expected " in refusal("n_mnist", tmp_path)

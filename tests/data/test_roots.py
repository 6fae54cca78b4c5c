"""A set that is absent or half extracted: what is missing, the accepted layout, and where the set comes from."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torchvision
from torchvision.datasets.imagenet import ARCHIVE_META

from hdlif.errors import DataError
from hdlif.inputs.datasets import CIFAR10_CLASSES
from small_sets import SETS


@dataclass(frozen=True)
class Absent:
    """A set, of which `there` alone is extracted and then `missing` is named.

    Args:
        folder: of the set, below the root.
        source: where it comes from.
        archives: their names at torchvision and the publishers.
        holds: the archive of what is missing, as a path below `folder`.
    """

    folder: str
    source: str
    archives: Sequence[str]
    there: str
    missing: str
    holds: str


BATCHES = ", ".join(f"data_batch_{i}" for i in range(2, 6))
IDX = ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CASES = {
    "cifar10": Absent(
        *("cifar-10-batches-py", "CIFAR10('{root}', download=True)", [torchvision.datasets.CIFAR10.filename]),
        *("data_batch_1", f"{BATCHES}, test_batch", "../cifar-10-python.tar.gz"),
    ),
    "cifar100": Absent(
        *("cifar-100-python", "CIFAR100('{root}', download=True)", [torchvision.datasets.CIFAR100.filename]),
        *("train", "test", "../cifar-100-python.tar.gz"),
    ),
    "fashion_mnist": Absent(
        *("FashionMNIST/raw", "FashionMNIST('{root}', download=True)"),
        [name for name, _ in torchvision.datasets.FashionMNIST.resources],
        *("train-images-idx3-ubyte", ", ".join(IDX), "train-labels-idx1-ubyte.gz"),
    ),
    "imagenet": Absent(
        *("imagenet", "image-net.org", [ARCHIVE_META[part][0] for part in ("train", "val")]),
        *("train/", "val", "ILSVRC2012_img_val.tar"),
    ),
    "tiny_imagenet": Absent(
        *("tiny-imagenet-200", "cs231n.stanford.edu/tiny", ["tiny-imagenet-200.zip"]),
        *("train/", "wnids.txt, val/images, val/val_annotations.txt", "../tiny-imagenet-200.zip"),
    ),
    "dvs_cifar10": Absent(
        *("CIFAR10DVS", "figshare.com", [f"{name}.zip" for name in CIFAR10_CLASSES]),
        *("airplane/", "automobile, bird, cat, deer, dog and 4 more", "automobile.zip"),
    ),
    "dvs_gesture": Absent(
        *("DvsGesture", "research.ibm.com", ["DvsGesture.tar.gz"]),
        *("trials_to_train.txt", "trials_to_test.txt", "../DvsGesture.tar.gz"),
    ),
    "n_mnist": Absent(
        *("NMNIST", "www.garrickorchard.com", ["Train.zip", "Test.zip"]),
        *("Train/", "Test", "Test.zip"),
    ),
}


def refusal(name: str, root: Path | None) -> str:
    """Return the message, after a check that it ends in the accepted layout and where the set comes from."""
    with pytest.raises(DataError) as caught:
        SETS[name].load(root)  # type: ignore[arg-type]
    given, case = root or "DIR", CASES[name]
    layout, source = re.escape(f"{given}/{case.folder}/ with "), re.escape(case.source.format(root=given))
    assert re.search(rf"; accepted is {layout}.*; \w+ is obtained .*{source}", str(caught.value))
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
    (folder if not case.there.endswith("/") else folder / case.there).mkdir(parents=True)
    if not case.there.endswith("/"):
        (folder / case.there).touch()
    assert refusal(name, tmp_path).startswith(f"{folder}: {case.missing} missing; accepted is")
    place = folder.parent / Path(case.holds).name if case.holds.startswith("../") else folder / case.holds
    place.touch()
    assert f"missing; extract {place}; accepted is" in refusal(name, tmp_path)
    # The archive of what is there is not named.
    if len(case.archives) > 1:
        place.unlink()
        (folder / case.archives[0]).touch()
        assert "; extract" not in refusal(name, tmp_path)


def test_archive_of_a_digit_of_n_mnist_is_that_of_its_part(tmp_path: Path) -> None:
    for folder in ("Train", "Test"):
        (tmp_path / "NMNIST" / folder).mkdir(parents=True)
    (tmp_path / "Train.zip").touch()
    assert f"Train/4 and 5 more missing; extract {tmp_path}/Train.zip; accepted" in refusal("n_mnist", tmp_path)

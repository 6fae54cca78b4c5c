"""The smallest data sets that are whole, in the true form of their files, and how they are loaded."""

import io
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hdlif.data import (
    ImageSets,
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
from hdlif.data.sources.pictures import find_pictures
from picture_folders import write_pictures
from recorded_events import write_dvs_cifar10, write_dvs_gesture, write_n_mnist

IDS = ("n01440764", "n01443537")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class SmallSet:
    """`write` puts it below a folder and `load` reads it; `files`, below the folder, are of each kind that it has."""

    write: Callable[[Path], None]
    load: Callable[[Path], ImageSets]
    files: tuple[str, ...]

    def read(self, root: Path) -> None:
        """Load it, and read each sample."""
        for part in self.load(root).parts:
            for start in range(0, len(part), 16):
                part.sequence(torch.arange(start, min(start + 16, len(part))))


def idx(values: np.ndarray) -> bytes:
    lengths = np.array(values.shape, ">i4").tobytes()
    return bytes([0, 0, 8, values.ndim]) + lengths + values.astype(np.uint8).tobytes()


def write_fashion_mnist(root: Path) -> None:
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 20), ("t10k", 10)):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(np.zeros((count, 28, 28))))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))


def write_cifar(root: Path, *, folder: str, files: tuple[str, ...], key: bytes, classes: int) -> None:
    (root / folder).mkdir()
    for name in files:
        labels = list(range(classes)) * (2 if name == "train" else 1)
        data = np.zeros((len(labels), 3072), np.uint8)
        content = {key: labels, b"data": data, b"filenames": [b"a.png"] * len(labels)}
        (root / folder / name).write_bytes(pickle.dumps(content, protocol=2))


def picture(format: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 7), (10, 200, 30)).save(file, format)
    return file.getvalue()


def tar(members: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def write_imagenet(root: Path, *, sharded: bool) -> None:
    for part in ("train", "val"):
        folder = root / "imagenet" / part
        folder.mkdir(parents=True)
        if sharded:
            pairs = [(f"{label}_{i}", label) for i in range(2) for label in range(2)]
            images = {f"{key}.jpg": picture() for key, _ in pairs}
            (folder / "0.tar").write_bytes(tar(images | {f"{key}.cls": str(label).encode() for key, label in pairs}))
            continue
        for wordnet_id in IDS:
            (folder / wordnet_id).mkdir()
            for i in range(2):
                (folder / wordnet_id / f"{i}.JPEG").write_bytes(picture())


def write_tiny_imagenet(root: Path) -> None:
    folder = root / "tiny-imagenet-200"
    (folder / "val" / "images").mkdir(parents=True)
    (folder / "wnids.txt").write_text("\n".join(IDS) + "\n")
    lines = []
    for wordnet_id in IDS:
        (folder / "train" / wordnet_id / "images").mkdir(parents=True)
        for i in range(2):
            (folder / "train" / wordnet_id / "images" / f"{i}.JPEG").write_bytes(picture())
        (folder / "val" / "images" / f"{wordnet_id}.JPEG").write_bytes(picture())
        lines.append(f"{wordnet_id}.JPEG\t{wordnet_id}\t0\t0\t9\t7")
    (folder / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")


ASKED = {"augment": (), "seed": 0, "validation": 1}
FRAMES = ASKED | {"time_steps": 2, "binning": by_number}
CIFAR_FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
of_imagenet = partial(imagenet, **ASKED, classes=("a", "b"), counts=(4, 4))


def of_folder(root: Path) -> ImageSets:
    return find_pictures(root, size=8, known=None, path="photos").make((), 0)


SETS = {
    "fashion_mnist": SmallSet(
        write_fashion_mnist,
        partial(fashion_mnist, **ASKED, per_class=(2, 1)),
        ("FashionMNIST/raw/train-images-idx3-ubyte", "FashionMNIST/raw/t10k-labels-idx1-ubyte"),
    ),
    "cifar10": SmallSet(
        partial(write_cifar, folder="cifar-10-batches-py", files=CIFAR_FILES, key=b"labels", classes=10),
        partial(cifar10, **ASKED, per_class=(5, 1)),
        ("cifar-10-batches-py/data_batch_2",),
    ),
    "cifar100": SmallSet(
        partial(write_cifar, folder="cifar-100-python", files=("train", "test"), key=b"fine_labels", classes=100),
        partial(cifar100, **ASKED, per_class=(2, 1)),
        ("cifar-100-python/test",),
    ),
    "imagenet": SmallSet(partial(write_imagenet, sharded=False), of_imagenet, (f"imagenet/train/{IDS[0]}/0.JPEG",)),
    "imagenet in shards": SmallSet(
        partial(write_imagenet, sharded=True), of_imagenet, ("imagenet/val/0.tar", "imagenet/val/hdlif_index.npz")
    ),
    "tiny_imagenet": SmallSet(
        write_tiny_imagenet,
        partial(tiny_imagenet, **ASKED, classes=2, per_class=(2, 1)),
        (
            "tiny-imagenet-200/wnids.txt",
            "tiny-imagenet-200/val/val_annotations.txt",
            f"tiny-imagenet-200/val/images/{IDS[1]}.JPEG",
        ),
    ),
    "folder": SmallSet(
        lambda root: write_pictures(root / "photos", 3), of_folder, ("photos/cat/000.jpg", "photos/dog/001.png")
    ),
    "n_mnist": SmallSet(
        partial(write_n_mnist, per_digit=(1, 1)),
        partial(n_mnist, **FRAMES, per_digit=((1,) * 10, (1,) * 10)),
        ("NMNIST/Train/3/00003.bin", "NMNIST/hdlif_split.json"),
    ),
    "dvs_cifar10": SmallSet(
        partial(write_dvs_cifar10, classes=CIFAR10, per_class=2),
        partial(dvs_cifar10, **FRAMES, per_class=(1, 1)),
        ("CIFAR10DVS/dog/cifar10_dog_8.aedat", "hdlif_frames/"),
    ),
    "dvs_gesture": SmallSet(
        write_dvs_gesture,
        partial(dvs_gesture, **FRAMES, counts=(22, 11)),
        (
            "DvsGesture/user00_fluorescent.aedat",
            "DvsGesture/user01_fluorescent_labels.csv",
            "DvsGesture/trials_to_test.txt",
        ),
    ),
}
"""By name; of a folder that ends the path, its one file is meant."""

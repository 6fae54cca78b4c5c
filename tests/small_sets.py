"""The smallest complete data sets, in the true form of their files, and how they are loaded."""

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
    DataSets,
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
from hdlif.data.sources.pictures import Pictures
from picture_folders import write_pictures
from recorded_events import write_dvs_cifar10, write_dvs_gesture, write_n_mnist

IDS = ("n01440764", "n01443537", "n02084071")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class SmallSet:
    """`write` puts it below a folder and `load` reads it; `files`, below the folder, are of each kind that it has."""

    write: Callable[[Path], object]
    load: Callable[[Path], DataSets]
    files: tuple[str, ...]

    def read(self, root: Path) -> None:
        """Load it, and read each sample."""
        for part in self.load(root).parts:
            for start in range(0, len(part), 16):
                part.sequence(torch.arange(start, min(start + 16, len(part))))


def idx(values: np.ndarray) -> bytes:
    lengths = np.array(values.shape, ">i4").tobytes()
    return bytes([0, 0, 8, values.ndim]) + lengths + values.astype(np.uint8).tobytes()


def write_fashion_mnist(root: Path, counts: tuple[int, int] = (20, 10)) -> list[np.ndarray]:
    """Return the training and the test images; the label of image N is N % 10."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (count, 28, 28), dtype=np.uint8) for count in counts]
    for part, some in zip(("train", "t10k"), images, strict=True):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(some))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(len(some)) % 10))
    return images


CIFAR = {
    "cifar10": ("cifar-10-batches-py", (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"), b"labels", 10),
    "cifar100": ("cifar-100-python", ("train", "test"), b"fine_labels", 100),
}
"""Of each: its folder, its files, the key of the labels and the number of classes."""


def write_cifar(root: Path, name: str) -> dict[str, np.ndarray]:
    """Write pickles as Python 2 did, and return their pixels: one image of each class, in CIFAR-100's `train` two."""
    folder, files, key, classes = CIFAR[name]
    (root / folder).mkdir()
    rng, pixels = np.random.default_rng(0), {}
    for file in files:
        labels = rng.permutation(np.tile(np.arange(classes), 2 if file == "train" else 1)).tolist()
        pixels[file] = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        content = {b"batch_label": b"x", key: labels, b"data": pixels[file], b"filenames": [b"a.png"] * len(labels)}
        (root / folder / file).write_bytes(pickle.dumps(content, protocol=2))
    return pixels


def jpeg(label: int, number: int = 0, size: tuple[int, int] = (9, 7)) -> bytes:
    """An image of one colour, by which JPEG leaves class and number readable."""
    file = io.BytesIO()
    Image.new("RGB", size, (80 * label, 20 * number, 128)).save(file, "JPEG", quality=95)
    return file.getvalue()


def tar(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def write_imagenet(
    root: Path, *, sharded: bool = False, counts: tuple[int, int] = (2, 2), size: tuple[int, int] = (9, 7)
) -> None:
    """Write so many images of each class, in a folder per class or in two shards that mix the classes."""
    for part, count in zip(("train", "val"), counts, strict=True):
        folder = root / "imagenet" / part
        folder.mkdir(parents=True)
        for label, wordnet_id in enumerate(IDS if not sharded else ()):
            (folder / wordnet_id).mkdir()
            for number in range(count):
                (folder / wordnet_id / f"{wordnet_id}_{number}.JPEG").write_bytes(jpeg(label, number, size))
        for shard in range(2 if sharded else 0):
            members: list[tuple[str, bytes]] = []
            for number in range(shard, count, 2):
                for label in range(len(IDS)):
                    key = f"{part}/{number}_{label}"
                    # The .json is not read.
                    members += [(f"{key}.cls", str(label).encode()), (f"{key}.json", b"{}")]
                    members += [(f"{key}.jpg", jpeg(label, number, size))]
            (folder / f"imagenet-{part}-{shard:06d}.tar").write_bytes(tar(*members))


def write_tiny_imagenet(root: Path, counts: tuple[int, int] = (2, 1), size: tuple[int, int] = (9, 7)) -> Path:
    folder = root / "tiny-imagenet-200"
    (folder / "val" / "images").mkdir(parents=True)
    (folder / "wnids.txt").write_text("\n".join((IDS[2], IDS[0], IDS[1])) + "\n")
    lines = []
    for label, wordnet_id in enumerate(IDS):
        images = folder / "train" / wordnet_id / "images"
        images.mkdir(parents=True)
        for number in range(counts[0]):
            (images / f"{wordnet_id}_{number}.JPEG").write_bytes(jpeg(label, number, size))
        for number in range(counts[1]):
            name = f"val_{label + number * len(IDS)}.JPEG"
            (folder / "val" / "images" / name).write_bytes(jpeg(label, size=size))
            lines.append(f"{name}\t{wordnet_id}\t0\t0\t9\t7")
    (folder / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    return folder


ASKED = {"augment": (), "seed": 0, "validation": 1}
FRAMES = ASKED | {"time_steps": 2, "binning": by_number}
CIFAR_FILES = CIFAR["cifar10"][1]
of_imagenet = partial(imagenet, **ASKED, classes=("a", "b", "c"), counts=(6, 6))


def of_folder(root: Path) -> DataSets:
    return Pictures(root, size=8, known=None, path="photos").find().make((), 0)


SETS = {
    "fashion_mnist": SmallSet(
        write_fashion_mnist,
        partial(fashion_mnist, **ASKED, per_class=(2, 1)),
        ("FashionMNIST/raw/train-images-idx3-ubyte", "FashionMNIST/raw/t10k-labels-idx1-ubyte"),
    ),
    "cifar10": SmallSet(
        partial(write_cifar, name="cifar10"),
        partial(cifar10, **ASKED, per_class=(5, 1)),
        ("cifar-10-batches-py/data_batch_2",),
    ),
    "cifar100": SmallSet(
        partial(write_cifar, name="cifar100"),
        partial(cifar100, **ASKED, per_class=(2, 1)),
        ("cifar-100-python/test",),
    ),
    "imagenet": SmallSet(write_imagenet, of_imagenet, (f"imagenet/train/{IDS[0]}/{IDS[0]}_0.JPEG",)),
    "imagenet in shards": SmallSet(
        partial(write_imagenet, sharded=True),
        of_imagenet,
        ("imagenet/val/imagenet-val-000000.tar", "imagenet/val/hdlif_index.npz"),
    ),
    "tiny_imagenet": SmallSet(
        write_tiny_imagenet,
        partial(tiny_imagenet, **ASKED, classes=3, per_class=(2, 1)),
        (
            "tiny-imagenet-200/wnids.txt",
            "tiny-imagenet-200/val/val_annotations.txt",
            "tiny-imagenet-200/val/images/val_1.JPEG",
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

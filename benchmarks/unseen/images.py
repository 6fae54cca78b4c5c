"""300 training images of a public set as a folder by class, and an ordinary network trained on them."""

import random
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision import datasets, models, transforms

PER_CLASS = {"train": 30, "test": 200}


def cifar10_jpeg(root: Path, place: Path, seed: int) -> None:
    """Draw from `cifar10_jpeg/train.tar` and `test.tar`, which hold CLASS/NNNN.jpg."""
    for part, count in PER_CLASS.items():
        with tarfile.open(root / "cifar10_jpeg" / f"{part}.tar") as archive:
            files = {PurePosixPath(one.name): one for one in archive.getmembers() if one.name.endswith(".jpg")}
            for label in sorted({path.parent.name for path in files}):
                own = sorted(path for path in files if path.parent.name == label)
                chosen = random.Random(seed).sample(own, count) if part == "train" else own[:count]
                folder = place / part / label
                folder.mkdir(parents=True)
                for path in chosen:
                    file = archive.extractfile(files[path])
                    assert file is not None, path
                    (folder / path.name).write_bytes(file.read())


def fashion_mnist(root: Path, place: Path, seed: int) -> None:
    """Draw from `FashionMNIST/raw`, as torchvision reads it."""
    for part, count in PER_CLASS.items():
        found = datasets.FashionMNIST(root, train=part == "train")
        for label, name in enumerate(found.classes):
            own = np.flatnonzero(found.targets.numpy() == label).tolist()
            chosen = random.Random(seed).sample(own, count) if part == "train" else own[:count]
            folder = place / part / name.replace("/", " or ")
            folder.mkdir(parents=True)
            for number in chosen:
                Image.fromarray(found.data[number].numpy()).save(folder / f"{number}.png")


SETS: Mapping[str, Callable[[Path, Path, int], None]] = {
    "CIFAR-10 (JPEG)": cifar10_jpeg,
    "Fashion-MNIST": fashion_mnist,
}


def resnet18(place: Path, seed: int) -> float:
    """Test accuracy of torchvision's ResNet-18, trained on the folder from nothing."""
    (x, y), (tested, labels) = (_tensors(place / part) for part in ("train", "test"))
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    x, tested = (x - mean) / std, (tested - mean) / std
    torch.manual_seed(seed)
    network = models.resnet18(weights=None, num_classes=int(y.max()) + 1)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(30):
        network.train()
        for chosen in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(network(x[chosen]), y[chosen]).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        right = [
            (network(batch).argmax(1) == own).sum()
            for batch, own in zip(tested.split(200), labels.split(200), strict=True)
        ]
    return int(sum(right)) / len(tested)


def _tensors(folder: Path) -> tuple[Tensor, Tensor]:
    """Images float32 [N, 3, H, W] and classes of a folder."""
    found = datasets.ImageFolder(str(folder), transforms.ToTensor())
    return torch.stack([image for image, _ in found]), torch.tensor(found.targets)

import hashlib
import os
import pickle
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from cases import every, naming
from hdlif.data import DataSets, Images, constant, digits, fashion_mnist, rows, synthetic
from hdlif.errors import DataError, ShapeError
from small_sets import CIFAR, SETS, idx, write_cifar, write_fashion_mnist


def random_images(n: int = 50, *, augment: tuple[str, ...] = (), seed: int = 0) -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (n, 3, 9, 7), generator=generator, dtype=torch.uint8)
    return Images(pixels, torch.arange(n), mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3), augment=augment, seed=seed)


@pytest.fixture
def small_root(tmp_path: Path) -> Path:
    write_fashion_mnist(tmp_path, (40, 20))
    return tmp_path


few_fashion = partial(fashion_mnist, per_class=(4, 2), validation=15, augment=(), seed=0)


def test_sample_is_pixels_scaled_to_one_then_normalised_per_channel() -> None:
    pixels = torch.tensor([[[[0, 255]], [[51, 102]]]], dtype=torch.uint8)
    x, label = Images(pixels, torch.tensor([7]), mean=(0.5, 0.2), std=(0.5, 0.1))[0]
    assert (x.dtype, label, type(label)) == (torch.float32, 7, int)
    # float32 rounding of values up to 2.
    torch.testing.assert_close(x, torch.tensor([[[-1.0, 1.0]], [[0.0, 2.0]]]), rtol=0, atol=1e-6)
    # The deployed runtime normalises in NumPy's float32 arithmetic: bit for bit, every byte.
    grey = np.arange(256, dtype=np.uint8)
    images = Images(torch.from_numpy(grey).reshape(1, 1, 16, 16), torch.zeros(1).long(), mean=(0.286,), std=(0.353,))
    expected = (grey.astype(np.float32) / np.float32(255) - np.float32(0.286)) / np.float32(0.353)
    assert images[0][0].flatten().numpy().tolist() == expected.tolist()


def test_images_refuse_other_shapes_and_unknown_augmentations() -> None:
    bytes_, labels = torch.zeros(2, 1, 3, 3).byte(), torch.zeros(2).long()
    for pixels, targets, mean in (
        (bytes_.float(), labels, (0.5,)),
        (bytes_[:, 0], labels, (0.5,)),
        (bytes_, torch.zeros(3).long(), (0.5,)),
        (bytes_, labels.float(), (0.5,)),
        (bytes_, labels, (0.5, 0.5)),
    ):
        with pytest.raises(ShapeError):
            Images(pixels, targets, mean=mean, std=(0.5,))
    with pytest.raises(DataError, match="flip"):
        random_images(augment=("flp",))


@every("source", "refused", of=[(digits, (9, 1428)), (few_fashion, (0, 40)), (synthetic, (0, 10**8))])
def test_parts_share_no_image_and_depend_on_neither_seed_nor_size_of_the_validation_set(
    source: Callable[..., DataSets], refused: tuple[int, ...], small_root: Path
) -> None:
    sets = source(small_root, validation=15, augment=("shift",), seed=3)
    other = source(small_root, validation=15, augment=(), seed=0)
    images = torch.cat([part.pixels.flatten(1) for part in sets.parts])
    assert len(torch.unique(images, dim=0)) == len(images)
    for part, same in zip(sets.parts, other.parts, strict=True):
        assert tuple(part[0][0].shape) == sets.shape
        assert (part.mean, part.std) == (sets.mean, sets.std)
        assert set(part.labels.tolist()) <= set(range(10))
        assert torch.equal(part.pixels, same.pixels)
        assert torch.equal(part.labels, same.labels)
    assert (len(set(sets.classes)), len(sets.validation)) == (10, 15)
    assert (sets.train.augment, sets.train.seed) == (("shift",), 3)
    assert sets.validation.augment == sets.test.augment == ()
    assert torch.equal(sets.test.pixels, source(small_root, validation=20).test.pixels)
    for validation in refused:
        with pytest.raises(DataError, match=f"{validation} validation images are refused"):
            source(small_root, validation=validation)


def test_digits_are_split_by_class_match_the_stated_moments_and_stay_the_same() -> None:
    sets = digits(validation=200, augment=(), seed=0)
    assert (len(sets.train), len(sets.validation), len(sets.test), sets.shape) == (1237, 200, 360, (1, 8, 8))
    # 1,797 images have 174 to 183 of each class.
    assert torch.bincount(sets.test.labels).tolist() == pytest.approx([36] * 10, abs=1)
    assert torch.bincount(sets.validation.labels).tolist() == pytest.approx([20] * 10, abs=1)
    digest = hashlib.sha256(sets.test.pixels.numpy().tobytes()).hexdigest()
    assert digest == "ac6ada28192bd51afee49bd7498331d97a9233e21e762b219700b723b191dbf1"
    pixels = torch.cat([sets.train.pixels, sets.validation.pixels])
    assert (int(pixels.min()), int(pixels.max())) == (0, 255)
    # Four digits are stated.
    assert (pixels / 255).mean().item() == pytest.approx(sets.mean[0], abs=5e-5)
    assert (pixels / 255).std().item() == pytest.approx(sets.std[0], abs=5e-5)


def test_fashion_mnist_reads_the_files_that_torchvision_writes(tmp_path: Path) -> None:
    train, test = write_fashion_mnist(tmp_path, (40, 20))
    sets = few_fashion(tmp_path)
    assert [len(part) for part in sets.parts] == [25, 15, 20]
    assert np.array_equal(sets.test.pixels[:, 0].numpy(), test)
    assert sets.test.labels.tolist() == list(range(10)) * 2
    place = {image.tobytes(): number for number, image in enumerate(train)}
    for part in (sets.train, sets.validation):
        for image, label in zip(part.pixels[:, 0].numpy(), part.labels.tolist(), strict=True):
            assert place[image.tobytes()] % 10 == label
    # A larger validation set contains the smaller one.
    assert torch.equal(sets.validation.pixels[-5:], few_fashion(tmp_path, validation=5).validation.pixels)


def test_damaged_fashion_mnist_is_refused_by_its_folder(small_root: Path) -> None:
    raw = small_root / "FashionMNIST" / "raw"
    whole = {path.name: path.read_bytes() for path in raw.iterdir()}
    train_images, train_labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
    test_images, test_labels = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
    for changed in (
        {train_images: whole[train_images][:-1]},
        {test_labels: b""},
        {train_labels: b"\0\0\xff\1\0\0\0\1\0"},
        {train_labels: idx(np.arange(39) % 10)},
        {train_images: idx(np.zeros((40, 27, 28)))},
        {train_labels: idx(np.full(40, 10))},
        {train_labels: idx(np.maximum(np.arange(40) % 10, 1))},
        {test_images: idx(np.zeros((0, 28, 28))), test_labels: idx(np.zeros(0))},
    ):
        for name, content in {**whole, **changed}.items():
            (raw / name).write_bytes(content)
        with naming(changed), pytest.raises(DataError, match=re.escape(f"{raw}: ")):
            few_fashion(small_root, validation=5)


def test_real_fashion_mnist(data_root: Path) -> None:
    sets = fashion_mnist(data_root, validation=5000, augment=("flip",), seed=0)
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (55_000, 5_000, 10_000)
    assert torch.bincount(sets.test.labels).tolist() == [1000] * 10
    pixels = torch.cat([sets.train.pixels, sets.validation.pixels])
    # Four digits are stated.
    assert (pixels / 255).mean(dtype=torch.float64).item() == pytest.approx(sets.mean[0], abs=1e-4)
    assert (pixels / 255).double().std().item() == pytest.approx(sets.std[0], abs=1e-4)
    assert sets.classes[int(sets.test.labels[0])] == "Ankle boot"


def test_sequences_show_rows_of_all_images_in_order_or_of_those_named_with_a_short_rest() -> None:
    images = random_images(augment=("flip", "shift"))
    images.set_epoch(2)
    for indices in (None, torch.tensor([4, 49, 0, 4, 17, 23, 31])):
        chosen = torch.arange(50) if indices is None else indices
        images.frames = constant
        x, _ = images.batch(chosen)
        assert torch.equal(images.sequence(chosen)[0], x[None])
        images.frames = rows
        shown = list(images.sequences(3, indices))
        whole, labels = images.sequence(chosen)
        assert whole.shape == (9, len(chosen), 3, 1, 7)
        assert all(torch.equal(whole[t, :, :, 0], x[:, :, t]) for t in range(9))
        assert [len(y) for _, y in shown] == [3] * (len(chosen) // 3) + [len(chosen) % 3]
        assert torch.equal(torch.cat([x for x, _ in shown], dim=1), whole)
        assert torch.equal(torch.cat([y for _, y in shown]), labels)


@pytest.mark.parametrize("name", CIFAR)
def test_samples_are_those_of_the_pickles(name: str, tmp_path: Path) -> None:
    written = write_cifar(tmp_path, name)
    _, files, _, classes = CIFAR[name]
    sets = SETS[name].load(tmp_path)
    train = sum(len(written[file]) for file in files[:-1])
    assert ([len(part) for part in sets.parts], sets.shape) == ([train - 1, 1, classes], (3, 32, 32))
    assert sets.test.read(torch.arange(classes)).flatten(1).numpy().tolist() == written[files[-1]].tolist()
    assert sorted(sets.test.labels.tolist()) == list(range(classes))
    everything = np.concatenate([written[file] for file in files[:-1]])
    read = torch.cat([part.read(torch.arange(len(part))) for part in (sets.train, sets.validation)]).flatten(1)
    assert sorted(map(bytes, read.numpy())) == sorted(map(bytes, everything))


def test_damaged_batches_and_wrong_counts_are_refused_by_name(tmp_path: Path) -> None:
    write_cifar(tmp_path, "cifar10")
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    whole = path.read_bytes()
    content = pickle.loads(whole, encoding="bytes")
    changes = ((b"data", np.zeros((10, 3071), np.uint8)), (b"labels", [0] * 9), (b"labels", [10] * 10))
    for damaged in (whole[:5000], b"", {b"data": os.getcwd}, *(content | {key: value} for key, value in changes)):
        path.write_bytes(damaged if isinstance(damaged, bytes) else pickle.dumps(damaged, protocol=2))
        with pytest.raises(DataError, match=re.escape(f"{path}: ")):
            SETS["cifar10"].load(tmp_path)
    path.write_bytes(pickle.dumps(content | {b"labels": [0] * 10}, protocol=2))
    with pytest.raises(DataError, match="10 images of airplane"):
        SETS["cifar10"].load(tmp_path)

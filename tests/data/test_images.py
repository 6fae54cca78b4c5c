import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from hdlif.data import Images, ImageSets, batches, digits, fashion_mnist, rows, synthetic
from hdlif.data.draws import random_bits
from hdlif.errors import DataError, ShapeError

AUGMENTS = [(), ("flip",), ("shift",), ("flip", "shift")]


def random_images(n: int = 50, *, augment: tuple[str, ...] = (), seed: int = 0) -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (n, 3, 9, 7), generator=generator, dtype=torch.uint8)
    return Images(pixels, torch.arange(n), mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3), augment=augment, seed=seed)


def write_idx(path: Path, values: np.ndarray) -> None:
    """The IDX format: two zero bytes, 8 for uint8, the number of axes, each length in big endian, the bytes."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


@pytest.fixture
def small_root(tmp_path: Path) -> Path:
    """Fashion-MNIST's layout with 40 training and 20 test images, all different."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, n in (("train", 40), ("t10k", 20)):
        write_idx(raw / f"{part}-images-idx3-ubyte", rng.integers(0, 256, (n, 28, 28)))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(n) % 10)
    return tmp_path


def load(name: str, root: Path, *, validation: int = 15, augment: tuple[str, ...] = (), seed: int = 0) -> ImageSets:
    few = partial(fashion_mnist, per_class=(4, 2))
    source = {"digits": digits, "fashion_mnist": few, "synthetic": synthetic}[name]
    return source(root, validation=validation, augment=augment, seed=seed)


every_set = pytest.mark.parametrize("name", ["digits", "fashion_mnist", "synthetic"])


def test_sample_is_pixels_scaled_to_one_then_normalised_per_channel() -> None:
    pixels = torch.tensor([[[[0, 255]], [[51, 102]]]], dtype=torch.uint8)
    x, label = Images(pixels, torch.tensor([7]), mean=(0.5, 0.2), std=(0.5, 0.1))[0]
    assert x.dtype == torch.float32
    assert label == 7
    assert isinstance(label, int)
    # float32 rounding of values up to 2.
    torch.testing.assert_close(x, torch.tensor([[[-1.0, 1.0]], [[0.0, 2.0]]]), rtol=0, atol=1e-6)
    # The deployed runtime normalises in NumPy's float32 arithmetic: bit for bit, every byte.
    grey = np.arange(256, dtype=np.uint8)
    images = Images(torch.from_numpy(grey).reshape(1, 1, 16, 16), torch.zeros(1).long(), mean=(0.286,), std=(0.353,))
    expected = (grey.astype(np.float32) / np.float32(255) - np.float32(0.286)) / np.float32(0.353)
    assert images[0][0].flatten().numpy().tolist() == expected.tolist()


def test_order_and_augmentations_draw_from_streams_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    streams: list[int] = []

    def recording(index: np.ndarray, *, seed: int, epoch: int, stream: int) -> np.ndarray:
        streams.append(stream)
        return random_bits(index, seed=seed, epoch=epoch, stream=stream)

    for module in ("samples", "draws"):
        monkeypatch.setattr(f"hdlif.data.{module}.random_bits", recording)
    batches(50, batch_size=50, seed=0, epoch=0, drop_last=False)
    random_images(augment=("flip", "shift")).batch(torch.arange(50))
    assert len(streams) == len(set(streams)) == 3


def test_images_refuse_other_shapes() -> None:
    for pixels, labels, mean in (
        (torch.zeros(2, 1, 3, 3), torch.zeros(2).long(), (0.5,)),
        (torch.zeros(2, 3, 3).byte(), torch.zeros(2).long(), (0.5,)),
        (torch.zeros(2, 1, 3, 3).byte(), torch.zeros(3).long(), (0.5,)),
        (torch.zeros(2, 1, 3, 3).byte(), torch.zeros(2), (0.5,)),
        (torch.zeros(2, 1, 3, 3).byte(), torch.zeros(2).long(), (0.5, 0.5)),
    ):
        with pytest.raises(ShapeError):
            Images(pixels, labels, mean=mean, std=(0.5,))


def test_unknown_augmentation_is_refused() -> None:
    with pytest.raises(DataError, match=r'"flp" is unknown; choose one of .* \(did you mean "flip"\?\)'):
        random_images(augment=("flp",))


@every_set
def test_sets_are_disjoint_and_alike_and_only_training_images_are_augmented(name: str, small_root: Path) -> None:
    sets = load(name, small_root, augment=("shift",), seed=3)
    images = torch.cat([part.pixels.flatten(1) for part in sets.parts])
    assert len(torch.unique(images, dim=0)) == len(images)
    for part in sets.parts:
        assert tuple(part[0][0].shape) == sets.shape
        assert (part.mean, part.std) == (sets.mean, sets.std)
        assert set(part.labels.tolist()) <= set(range(10))
    assert len(set(sets.classes)) == 10
    assert len(sets.validation) == 15
    assert (sets.train.augment, sets.train.seed) == (("shift",), 3)
    assert sets.validation.augment == sets.test.augment == ()


@every_set
def test_split_depends_on_neither_seed_nor_size_of_the_validation_set(name: str, small_root: Path) -> None:
    one, other = load(name, small_root, seed=0), load(name, small_root, seed=1)
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(one, part).pixels, getattr(other, part).pixels)
        assert torch.equal(getattr(one, part).labels, getattr(other, part).labels)
    assert torch.equal(one.test.pixels, load(name, small_root, validation=20).test.pixels)


def test_validation_set_that_leaves_nothing_is_refused(small_root: Path) -> None:
    for name, validation in (
        *(("digits", 9), ("digits", 1428), ("fashion_mnist", 0), ("fashion_mnist", 40), ("synthetic", 0)),
    ):
        with pytest.raises(DataError, match=f"{name}: {validation} validation images are refused"):
            load(name, small_root, validation=validation)


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


def test_fashion_mnist_reads_the_files_that_torchvision_writes(small_root: Path) -> None:
    sets = load("fashion_mnist", small_root)
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (25, 15, 20)
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 256, (40, 28, 28)), rng.integers(0, 256, (20, 28, 28))
    assert np.array_equal(sets.test.pixels[:, 0].numpy(), test)
    assert sets.test.labels.tolist() == list(range(10)) * 2
    place = {image.astype(np.uint8).tobytes(): i for i, image in enumerate(train)}
    for part in (sets.train, sets.validation):
        for image, label in zip(part.pixels[:, 0].numpy(), part.labels.tolist(), strict=True):
            assert place[image.tobytes()] % 10 == label


def test_larger_fashion_mnist_validation_set_contains_the_smaller(small_root: Path) -> None:
    small, large = (load("fashion_mnist", small_root, validation=n).validation for n in (5, 15))
    assert torch.equal(large.pixels[-5:], small.pixels)


def test_fashion_mnist_of_another_number_of_images_is_refused(small_root: Path) -> None:
    for per_class, file in (((6000, 1000), "train-labels"), ((4, 3), "t10k-labels")):
        with pytest.raises(DataError, match=rf"{file}-idx1-ubyte: \d images of T-shirt/top"):
            fashion_mnist(small_root, validation=5, augment=(), seed=0, per_class=per_class)


TRAIN_LABELS, TRAIN_IMAGES, TEST_IMAGES, TEST_LABELS = (
    f"{part}-ubyte" for part in ("train-labels-idx1", "train-images-idx3", "t10k-images-idx3", "t10k-labels-idx1")
)


def test_absent_or_damaged_fashion_mnist_names_folder_layout_and_fix(small_root: Path) -> None:
    raw = small_root / "FashionMNIST" / "raw"
    whole = {path.name: path.read_bytes() for path in raw.iterdir()}
    for changed in (
        dict.fromkeys(whole),
        {TRAIN_IMAGES: whole[TRAIN_IMAGES][:-1]},
        {TEST_LABELS: b""},
        {TRAIN_LABELS: b"\0\0\xff\1\0\0\0\1\0"},
        {TRAIN_LABELS: b"\0\0\x0a\1\0\0\0\1\0"},
        {TRAIN_LABELS: np.arange(39) % 10},
        {TRAIN_IMAGES: np.zeros((40, 27, 28))},
        {TRAIN_LABELS: np.full(40, 10)},
        {TRAIN_LABELS: np.maximum(np.arange(40) % 10, 1)},
        {TEST_IMAGES: np.zeros((0, 28, 28)), TEST_LABELS: np.zeros(0)},
    ):
        for name, content in whole.items():
            (raw / name).write_bytes(content)
        for name, content in changed.items():
            if content is None:
                (raw / name).unlink()
            elif isinstance(content, bytes):
                (raw / name).write_bytes(content)
            else:
                write_idx(raw / name, content)
        with pytest.raises(DataError) as caught:
            load("fashion_mnist", small_root, validation=5)
        message = str(caught.value)
        assert message.startswith(f"{raw}: ")
        assert f"FashionMNIST('{small_root}', download=True)" in message
        assert "\n" not in message


def test_real_fashion_mnist(data_root: Path) -> None:
    sets = fashion_mnist(data_root, validation=5000, augment=("flip",), seed=0)
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (55_000, 5_000, 10_000)
    assert torch.bincount(sets.test.labels).tolist() == [1000] * 10
    pixels = torch.cat([sets.train.pixels, sets.validation.pixels])
    # Four digits are stated.
    assert (pixels / 255).mean(dtype=torch.float64).item() == pytest.approx(sets.mean[0], abs=1e-4)
    assert (pixels / 255).double().std().item() == pytest.approx(sets.std[0], abs=1e-4)
    assert sets.classes[int(sets.test.labels[0])] == "Ankle boot"


def test_sequence_shows_the_image_whole_or_row_by_row() -> None:
    images = random_images()
    indices = torch.tensor([3, 1])
    x, y = images.batch(indices)
    whole, labels = images.sequence(indices)
    assert torch.equal(whole, x[None])
    assert torch.equal(labels, y)
    images.frames = rows
    shown, _ = images.sequence(indices)
    assert shown.shape == (x.shape[2], 2, x.shape[1], 1, x.shape[3])
    for t in range(x.shape[2]):
        assert torch.equal(shown[t, :, :, 0], x[:, :, t])


def test_sequences_are_all_images_in_order_or_those_named_with_a_short_rest() -> None:
    images = random_images(augment=("flip", "shift"))
    images.frames = rows
    images.set_epoch(2)
    for indices in (None, torch.tensor([4, 49, 0, 4, 17, 23, 31])):
        shown = list(images.sequences(3, indices))
        chosen = torch.arange(50) if indices is None else indices
        whole, labels = images.sequence(chosen)
        assert [len(y) for _, y in shown] == [3] * (len(chosen) // 3) + [len(chosen) % 3]
        assert torch.equal(torch.cat([x for x, _ in shown], dim=1), whole)
        assert torch.equal(torch.cat([y for _, y in shown]), labels)

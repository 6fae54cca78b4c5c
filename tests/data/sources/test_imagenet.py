"""ImageNet's and Tiny-ImageNet's layouts, folders and shards, written small and read by the same code."""

import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from cases import naming
from hdlif.data import batches, imagenet, tiny_imagenet
from hdlif.data.draws import random_bits
from hdlif.data.sources.imagenet import INDEX, ImageFiles, imagenet_classes
from hdlif.errors import DataError
from small_sets import IDS, jpeg, tar, write_imagenet, write_tiny_imagenet

TRAIN, TEST = 4, 2
"""Images of each class."""


def write(root: Path, *, sharded: bool = False) -> Path:
    write_imagenet(root, sharded=sharded, counts=(TRAIN, TEST), size=(40, 30))
    return root


FEW = {"classes": imagenet_classes()[:3], "counts": (3 * TRAIN, 3 * TEST)}
load = partial(imagenet, validation=2, augment=(), seed=0, **FEW)
AUGMENT = ("random_resized_crop", "flip")
load_tiny = partial(tiny_imagenet, validation=2, augment=AUGMENT, seed=0, classes=3, per_class=(TRAIN, TEST))


@pytest.fixture(params=["folders", "shards"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(tmp_path, sharded=request.param == "shards")


def pixels(samples: ImageFiles, number: int) -> torch.Tensor:
    """Return the pixels of the file of a sample."""
    return v2.functional.pil_to_tensor(Image.open(samples.source.name(int(samples.places[number]))))


def test_every_image_is_read_once_with_its_label(either: Path) -> None:
    sets = load(either).resized(16)
    assert [len(part) for part in sets.parts] == [3 * TRAIN - 2, 2, 3 * TEST]
    seen = []
    for part in sets.parts:
        x = part.read(torch.arange(len(part)))
        assert x.shape == (len(part), 3, 16, 16)
        red, green, _ = x.float().mean((2, 3)).T
        assert (red / 80).round().long().tolist() == part.labels.tolist()
        numbers = (green / 20).round().long().tolist()
        seen += [(part is sets.test, *one) for one in zip(part.labels.tolist(), numbers, strict=True)]
    expected = [(test, c, i) for test, n in ((False, TRAIN), (True, TEST)) for c in range(3) for i in range(n)]
    assert sorted(seen) == sorted(expected)


def test_sample_does_not_depend_on_batch_or_worker(either: Path) -> None:
    augment = ("random_resized_crop", "flip", "autoaugment_imagenet", "cutout_16")
    sets = load(either, augment=augment, seed=3).resized(24)
    sets.train.set_epoch(2)
    order = batches(len(sets.train), batch_size=4, seed=0, epoch=2, drop_last=False)
    whole = sets.train.batch(torch.cat(order))[0]
    assert sets.train.costly
    for workers in (0, 2):
        seen = torch.cat([x[0] for x, _ in sets.made_by(workers).train.stream(order)])
        assert torch.equal(seen, whole)
    sets.train.set_epoch(3)
    assert not torch.equal(sets.train.batch(torch.cat(order))[0], whole)


def test_crops_are_torchvisions_under_a_seed_of_the_image(tmp_path: Path) -> None:
    train = load(write(tmp_path), augment=("random_resized_crop",), seed=5).train.resized(12)
    seed = int(random_bits(np.array([3]), seed=5, epoch=0, stream=1)[0]) >> 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        expected = v2.RandomResizedCrop(12, antialias=True)(pixels(train, 3))
    assert torch.equal(train.read(torch.tensor([3]))[0], expected)
    with pytest.raises(DataError, match="name it first"):
        load(tmp_path, augment=("flip", "random_resized_crop"))


def test_evaluation_resizes_the_short_side_and_cuts_out_the_centre(tmp_path: Path) -> None:
    test = load(write(tmp_path)).test
    expected = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224)])(pixels(test, 0))
    assert torch.equal(test.read(torch.zeros(1).long())[0], expected)
    assert (test.resized(112).size, test.resized(112).short_side) == (112, 128)
    # Grey images and those in other formats become RGB.
    for path in (tmp_path / "imagenet" / "val" / IDS[0]).iterdir():
        Image.new("L", (20, 20), 77).save(path, "PNG")
    test = load(tmp_path).test.resized(8)
    assert (test.read(torch.nonzero(test.labels == 0).flatten()) == 77).all()


def test_index_is_made_once_and_again_when_a_shard_changes(tmp_path: Path) -> None:
    index = write(tmp_path, sharded=True) / "imagenet" / "val" / INDEX
    expected = load(tmp_path).test.source.offset.tolist()
    stamp = index.stat().st_mtime_ns
    assert load(tmp_path).test.source.offset.tolist() == expected
    assert index.stat().st_mtime_ns == stamp
    (index.parent / "imagenet-val-000000.tar").write_bytes(tar(("new.jpg", jpeg(0)), ("new.cls", b"0")))
    with pytest.raises(DataError, match="val: 4 images of 6"):
        load(tmp_path)
    assert not list(index.parent.glob(".*"))


def test_half_extracted_folders_are_named(tmp_path: Path) -> None:
    first, second = (f"train/{name}" for name in IDS[:2])
    for number, (damage, seen) in enumerate(
        (
            (lambda root: shutil.rmtree(root / second), "train: 2 class folders; there are 3 classes"),
            (lambda root: [path.unlink() for path in (root / second).iterdir()], f"{second}: contains no image"),
            (lambda root: (shutil.rmtree(root / "val"), (root / "val").touch()), "val: cannot be read ("),
            (lambda root: (root / second / f"{IDS[1]}_0.JPEG").unlink(), "train: 11 images of 12"),
            (lambda root: (root / f"{first}.tar").write_bytes(tar(("a_0.JPEG", b""))), "a_0 has no .cls file with its"),
        )
    ):
        root = write(tmp_path / str(number))
        damage(root / "imagenet")  # type: ignore[no-untyped-call]
        with naming(seen), pytest.raises(DataError, match=rf"{re.escape(seen)}.*; get imagenet from"):
            load(root)


def test_damaged_shard_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, sharded=True) / "imagenet" / "train" / "imagenet-train-000001.tar"
    whole = path.read_bytes()
    for kept in (700, whole.rindex(b"\xff\xd8\xff") + 10):
        path.write_bytes(whole[:kept])
        with (
            naming(kept),
            pytest.raises(DataError, match=re.escape(str(path)) + ": is a damaged or incomplete tar shard"),
        ):
            load(tmp_path)


def test_damaged_image_is_named_also_from_a_worker(either: Path) -> None:
    sets = load(either).resized(8)
    for path in (either / "imagenet" / "val").rglob("*"):
        if path.suffix in (".JPEG", ".tar"):
            path.write_bytes(path.read_bytes().replace(b"\xff\xd8\xff", b"\0\xd8\xff"))
    with pytest.raises(DataError, match=rf"^{re.escape(str(either))}.*cannot be read as an image"):
        list(sets.made_by(1).test.sequences(2))


def test_tiny_imagenet_is_read_as_its_archive_extracts_and_what_is_lost_named(tmp_path: Path) -> None:
    folder = write_tiny_imagenet(tmp_path, (TRAIN, TEST), (64, 64))
    sets = load_tiny(tmp_path)
    assert ([len(part) for part in sets.parts], sets.shape) == ([10, 2, 6], (3, 64, 64))
    for part in sets.parts:
        red = part.read(torch.arange(len(part)))[:, 0].float().mean((1, 2)) / 80
        assert red.round().long().tolist() == part.labels.tolist()
    assert torch.equal(sets.test.read(torch.zeros(1).long())[0], pixels(sets.test, 0))
    lost, image = folder / "val" / "images" / "val_3.JPEG", folder / "train" / IDS[0] / "images" / f"{IDS[0]}_0.JPEG"
    with pytest.raises(DataError, match=r"wnids.txt: 3 classes; there are 200; expected "):
        load_tiny(tmp_path, classes=200)
    for path, seen in (
        (lost, "val/images: 1 of 6 images missing, first val_3.JPEG; expected "),
        (image, "train: class 0 has 3 images of 4; expected "),
    ):
        whole = path.read_bytes()
        path.unlink()
        with naming(path), pytest.raises(DataError, match=re.escape(seen)):
            load_tiny(tmp_path)
        path.write_bytes(whole)

"""ImageNet's and Tiny-ImageNet's layouts, folders and shards, written small and read by the same code."""

import io
import re
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from hdlif.data import ImageSets, batches, imagenet, tiny_imagenet
from hdlif.data.draws import random_bits
from hdlif.data.shard_index import INDEX
from hdlif.data.sources.imagenet import imagenet_classes
from hdlif.errors import DataError

IDS = ("n01440764", "n01443537", "n02084071")
TRAIN, TEST = 4, 2
"""Images of each class."""


def jpeg(label: int, number: int, *, size: tuple[int, int] = (40, 30)) -> bytes:
    """A plain colour that says class and number, so that JPEG leaves it nearly as it was."""
    file = io.BytesIO()
    Image.new("RGB", size, (80 * label, 20 * number, 128)).save(file, "JPEG", quality=95)
    return file.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def write_folders(root: Path) -> None:
    for part, count in (("train", TRAIN), ("val", TEST)):
        for label, wordnet_id in enumerate(IDS):
            folder = root / "imagenet" / part / wordnet_id
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{wordnet_id}_{number}.JPEG").write_bytes(jpeg(label, number))


def write_shards(root: Path) -> None:
    """Two shards a part, classes mixed; a .json that is not read lies between."""
    for part, count in (("train", TRAIN), ("val", TEST)):
        folder = root / "imagenet" / part
        folder.mkdir(parents=True)
        for shard in range(2):
            with tarfile.open(folder / f"imagenet-{part}-{shard:06d}.tar", "w") as archive:
                for number in range(shard, count, 2):
                    for label in range(len(IDS)):
                        key = f"{part}/{number}_{label}"
                        add(archive, f"{key}.cls", str(label).encode())
                        add(archive, f"{key}.json", b"{}")
                        add(archive, f"{key}.jpg", jpeg(label, number))


def load(root: Path | None, *, augment: Sequence[str] = (), seed: int = 0, **arguments: object) -> ImageSets:
    few: dict[str, object] = {"classes": imagenet_classes()[:3], "counts": (3 * TRAIN, 3 * TEST)}
    return imagenet(root, validation=2, augment=augment, seed=seed, **few | arguments)


both_forms = pytest.mark.parametrize("write", [write_folders, write_shards])


@both_forms
def test_every_image_is_read_once_with_its_label(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path)
    sets = load(tmp_path).resized(16)
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (3 * TRAIN - 2, 2, 3 * TEST)
    seen = []
    for part in sets.parts:
        pixels = part.read(torch.arange(len(part)))
        assert pixels.shape == (len(part), 3, 16, 16)
        for image, label in zip(pixels, part.labels.tolist(), strict=True):
            red, green, _ = image.float().mean((1, 2)).tolist()
            assert round(red / 80) == label
            seen.append((part is sets.test, label, round(green / 20)))
    expected = [(test, c, i) for test, n in ((False, TRAIN), (True, TEST)) for c in range(3) for i in range(n)]
    assert sorted(seen) == sorted(expected)


@both_forms
def test_sample_does_not_depend_on_batch_or_worker(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path)
    augment = ("random_resized_crop", "flip", "autoaugment_imagenet", "cutout_16")
    sets = load(tmp_path, augment=augment, seed=3).resized(24)
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
    write_folders(tmp_path)
    train = load(tmp_path, augment=("random_resized_crop",), seed=5).train.resized(12)
    seen = train.read(torch.tensor([3]))[0]
    seed = int(random_bits(np.array([3]), seed=5, epoch=0, stream=1)[0]) >> 1
    image = v2.functional.pil_to_tensor(Image.open(train.source.name(int(train.places[3]))))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        assert torch.equal(v2.RandomResizedCrop(12, antialias=True)(image), seen)


def test_evaluation_resizes_the_short_side_and_cuts_out_the_centre(tmp_path: Path) -> None:
    write_folders(tmp_path)
    test = load(tmp_path).test
    image = v2.functional.pil_to_tensor(Image.open(test.source.name(int(test.places[0]))))
    expected = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224)])(image)
    assert torch.equal(test.read(torch.zeros(1).long())[0], expected)
    assert (test.resized(112).size, test.resized(112).short_side) == (112, 128)


def test_grey_and_png_images_become_rgb(tmp_path: Path) -> None:
    write_folders(tmp_path)
    folder = tmp_path / "imagenet" / "val" / IDS[0]
    for path in folder.iterdir():
        Image.new("L", (20, 20), 77).save(path, "PNG")
    test = load(tmp_path).test.resized(8)
    grey = test.read(torch.nonzero(test.labels == 0).flatten())
    assert (grey == 77).all()


def test_index_is_made_once_and_again_when_a_shard_changes(tmp_path: Path) -> None:
    write_shards(tmp_path)
    index = tmp_path / "imagenet" / "val" / INDEX
    first = load(tmp_path).test
    stamp = index.stat().st_mtime_ns
    assert load(tmp_path).test.source.offset.tolist() == first.source.offset.tolist()
    assert index.stat().st_mtime_ns == stamp
    index.write_bytes(b"damaged")
    assert load(tmp_path).test.source.offset.tolist() == first.source.offset.tolist()
    with tarfile.open(tmp_path / "imagenet" / "val" / "imagenet-val-000000.tar", "a") as archive:
        add(archive, "val/new.jpg", jpeg(0, 0))
        add(archive, "val/new.cls", b"0")
    with pytest.raises(DataError, match=r"val: 7 images of 6"):
        load(tmp_path)
    assert not list(index.parent.glob(".*"))


def remove_all(folder: Path, *, itself: bool = True) -> None:
    for path in folder.iterdir():
        path.unlink()
    if itself:
        folder.rmdir()


def replaced(path: Path, *members: tuple[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            add(archive, name, content)


def test_half_extracted_folders_are_named(tmp_path: Path) -> None:
    for number, (damage, seen) in enumerate(
        (
            (lambda root: remove_all(root / "train" / IDS[1]), "train: 2 class folders; there are 3 classes"),
            (lambda root: remove_all(root / "train" / IDS[1], itself=False), f"train/{IDS[1]}: holds no image"),
            (lambda root: (root / "val").rename(root / "other"), "imagenet: val missing"),
            (lambda root: ((root / "val").rename(root / "other"), (root / "val").touch()), "val: cannot be read ("),
            (lambda root: (root / "train" / IDS[1] / f"{IDS[1]}_0.JPEG").unlink(), "train: 11 images of 12"),
            (lambda root: replaced(root / "train" / f"{IDS[0]}.tar", ("a_0.JPEG", jpeg(0, 0))), "a_0 has no .cls, its"),
        )
    ):
        write_folders(tmp_path / str(number))
        damage(tmp_path / str(number) / "imagenet")
        with pytest.raises(DataError, match=rf"{re.escape(seen)}.*; imagenet is obtained from image-net.org"):
            load(tmp_path / str(number))


def test_damaged_shard_is_named(tmp_path: Path) -> None:
    write_shards(tmp_path)
    path = tmp_path / "imagenet" / "train" / "imagenet-train-000001.tar"
    with tarfile.open(path) as archive:
        end = archive.getmembers()[-1].offset_data + 10
    whole = path.read_bytes()
    for damage, seen in (
        (lambda: path.write_bytes(whole[:700]), "is not a whole tar shard"),
        (lambda: path.write_bytes(whole[:end]), "is not a whole tar shard"),
        (lambda: replaced(path, ("a.jpg", jpeg(0, 0)), ("a.cls", b"cat")), "a.cls: b'cat' is not a label"),
        (lambda: replaced(path, ("a.jpg", jpeg(0, 0)), ("a.cls", b"3")), "a label is outside 0..2"),
    ):
        damage()
        with pytest.raises(DataError, match=re.escape(seen)) as caught:
            load(tmp_path)
        assert str(caught.value).startswith(str(path.parent))


@both_forms
def test_damaged_image_is_named_also_from_a_worker(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path)
    sets = load(tmp_path).resized(8)
    for path in (tmp_path / "imagenet" / "val").rglob("*"):
        if path.suffix in (".JPEG", ".tar"):
            content = bytearray(path.read_bytes())
            while (start := content.find(b"\xff\xd8\xff")) >= 0:
                content[start] = 0
            path.write_bytes(content)
    with pytest.raises(DataError, match=rf"^{re.escape(str(tmp_path))}.*cannot be read as an image.*extract it again$"):
        list(sets.made_by(1).test.sequences(2))


def test_crop_that_is_not_named_first_is_refused(tmp_path: Path) -> None:
    write_folders(tmp_path)
    with pytest.raises(DataError, match=r"random_resized_crop chooses what is read, so name it first"):
        load(tmp_path, augment=("flip", "random_resized_crop"))


def write_tiny(root: Path) -> Path:
    folder = root / "tiny-imagenet-200"
    ids = [IDS[2], IDS[0], IDS[1]]
    for wordnet_id in ids:
        (folder / "train" / wordnet_id / "images").mkdir(parents=True)
        for number in range(TRAIN):
            content = jpeg(IDS.index(wordnet_id), number, size=(64, 64))
            (folder / "train" / wordnet_id / "images" / f"{wordnet_id}_{number}.JPEG").write_bytes(content)
    (folder / "wnids.txt").write_text("\n".join(ids) + "\n")
    (folder / "val" / "images").mkdir(parents=True)
    lines = []
    for i in range(3 * TEST):
        (folder / "val" / "images" / f"val_{i}.JPEG").write_bytes(jpeg(i % 3, 0, size=(64, 64)))
        lines.append(f"val_{i}.JPEG\t{IDS[i % 3]}\t0\t32\t44\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    return folder


def load_tiny(root: Path, **arguments: object) -> ImageSets:
    few: dict[str, object] = {"classes": 3, "per_class": (TRAIN, TEST)}
    return tiny_imagenet(root, validation=2, augment=("random_resized_crop", "flip"), seed=0, **few | arguments)


def test_tiny_imagenet_is_read_as_its_archive_extracts(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    sets = load_tiny(tmp_path)
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (10, 2, 6)
    assert sets.shape == (3, 64, 64)
    for part in sets.parts:
        red = part.read(torch.arange(len(part)))[:, 0].float().mean((1, 2)) / 80
        assert red.round().long().tolist() == part.labels.tolist()
    image = v2.functional.pil_to_tensor(Image.open(sets.test.source.name(int(sets.test.places[0]))))
    assert torch.equal(sets.test.read(torch.zeros(1).long())[0], image)


def test_tiny_imagenet_half_extracted(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path)
    (folder / "val" / "images" / "val_3.JPEG").unlink()
    with pytest.raises(DataError, match=r"val/images: 1 of 6 images missing, first val_3.JPEG; accepted is"):
        load_tiny(tmp_path)
    with pytest.raises(DataError, match=r"wnids.txt: 3 classes; there are 200; accepted is"):
        load_tiny(tmp_path, classes=200)
    (folder / "train" / IDS[0] / "images" / f"{IDS[0]}_0.JPEG").unlink()
    (folder / "val" / "images" / "val_3.JPEG").write_bytes(jpeg(0, 0))
    with pytest.raises(DataError, match=r"train: class 0 has 3 images of 4; accepted is"):
        load_tiny(tmp_path)
    (folder / "wnids.txt").unlink()
    with pytest.raises(DataError, match=r"tiny-imagenet-200: wnids.txt missing; accepted is"):
        load_tiny(tmp_path)

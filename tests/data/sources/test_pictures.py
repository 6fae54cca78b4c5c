"""A folder of the user's own pictures as a data set: what is measured, split, refused, and given to a network."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cases import every
from hdlif.data import Images, OwnData
from hdlif.data.files import Folder
from hdlif.data.sources import pictures as picture_source
from hdlif.data.sources.pictures import PictureFiles, Pictures
from hdlif.errors import DataError
from hdlif.graph.artefact import InputRecord
from hdlif.runtime import read_image
from picture_folders import CLASSES, write_pictures


def found(root: Path, **options: object) -> OwnData:
    return Pictures(None, **{"path": str(root), "size": None, "known": None, **options}).find()


def files_of(data: OwnData, part: str) -> list[str]:
    return [entry.file for entry in data.manifest.entries if entry.part == part]


def test_class_folders_are_split_by_class_and_for_good(tmp_path: Path) -> None:
    data = found(write_pictures(tmp_path, 10))
    assert data.classes == CLASSES
    assert data.manifest.counts() == {label: {"train": 6, "validation": 2, "test": 2} for label in CLASSES}
    sets = data.make(("flip",), 3)
    assert [len(part) for part in sets.parts] == [18, 6, 6]
    assert (sets.train.augment, sets.train.seed, sets.test.augment) == (("flip",), 3, ())
    assert found(tmp_path).manifest == data.manifest
    assert files_of(data, "test") != files_of(found(tmp_path, split={"seed": 1}), "test")
    counts = found(tmp_path, split={"test": 0.4, "validation": 0.1}).manifest.counts()
    assert counts["cat"] == {"train": 5, "validation": 1, "test": 4}
    write_pictures(tmp_path, 1, first=50)
    assert found(tmp_path).manifest.digest != data.manifest.digest


def test_copies_of_a_picture_are_in_one_part(tmp_path: Path) -> None:
    write_pictures(tmp_path, 6)
    for number in range(6):
        content = next((tmp_path / "cat").glob(f"00{number}.*")).read_bytes()
        (tmp_path / "cat" / f"copy{number}.png").write_bytes(content)
    data = found(tmp_path)
    part_of = {entry.sha256: entry.part for entry in data.manifest.entries}
    assert all(part_of[entry.sha256] == entry.part for entry in data.manifest.entries)
    assert data.seen["duplicates"] == {"files": 6, "in_several_classes": [], "in_several_parts": []}
    (tmp_path / "dog" / "cat.png").write_bytes((tmp_path / "cat" / "001.png").read_bytes())
    assert found(tmp_path).seen["duplicates"]["in_several_classes"] == [["cat/001.png", "cat/copy1.png", "dog/cat.png"]]


def test_parts_of_ones_own_are_kept_and_what_is_missing_is_taken_from_train(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", 10)
    write_pictures(tmp_path / "test", 3, first=20)
    data = found(tmp_path)
    assert data.manifest.counts()["owl"] == {"train": 8, "validation": 2, "test": 3}
    assert all(file.startswith("test/") for file in files_of(data, "test"))
    write_pictures(tmp_path / "val", 2, first=30)
    assert found(tmp_path).manifest.counts()["owl"] == {"train": 10, "validation": 2, "test": 3}
    # None are held out, of those in a place for it either.
    counts = found(tmp_path, split={"validation": 0}).manifest.counts()
    assert counts["owl"] == {"train": 12, "validation": 0, "test": 3}


@every(in_memory=[True, False])
def test_a_letterbox_pads_with_the_mean(tmp_path: Path, in_memory: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for label, value in (("a", 180), ("b", 220)):
        (tmp_path / label).mkdir(exist_ok=True)
        for number in range(10):
            size = (8, 4) if number % 2 else (4, 8)
            Image.new("RGB", size, (value, value, number)).save(tmp_path / label / f"{number}.png")
    monkeypatch.setattr(picture_source, "MOST_KEPT", 10**9 if in_memory else 0)
    data = found(tmp_path, size=8, fit="letterbox")
    sets = data.make(("crop",), 0)
    assert isinstance(sets.train, Images if in_memory else PictureFiles)
    # Both classes are in equal numbers.
    assert data.input.mean[0] == pytest.approx(200 / 255, abs=1e-6)
    assert data.input.std[0] == pytest.approx(20 / 255, abs=1e-6)
    for part in (sets.train, sets.test):
        raw = part.read(torch.arange(len(part)))
        assert set(raw[:, 0].unique().tolist()) == {180, 200, 220}
        x, _ = part.batch(torch.arange(len(part)))
        # Padding and what a crop uncovers are the mean.
        assert set(x[:, 0].mul(20).round().unique().tolist()) == {-20, 0, 20}


def test_pictures_keep_a_small_size_of_their_own_and_are_grey_where_all_are(tmp_path: Path) -> None:
    data = found(write_pictures(tmp_path, 6, size=(7, 5), mode="L"))
    assert data.input.shape == (1, 5, 7)
    assert data.make((), 0).shape == (1, 5, 7)
    write_pictures(tmp_path, 1, size=(7, 5), mode="RGB", first=10)
    assert found(tmp_path).input.shape == (3, 5, 7)
    assert found(tmp_path, channels=1).input.shape == (1, 5, 7)
    write_pictures(tmp_path, 1, size=(9, 5), mode="L", first=11)
    assert found(tmp_path).input.shape == (3, 32, 32)
    assert found(tmp_path, size=6).input.shape == (3, 6, 6)


def test_mean_and_deviation_are_those_of_the_training_part_alone_or_those_that_are_known(tmp_path: Path) -> None:
    data = found(write_pictures(tmp_path, 9), size=8)
    train = data.make((), 0).train
    values = train.read(torch.arange(len(train))).double() / 255
    np.testing.assert_allclose(data.input.mean, values.mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(data.input.std, values.std((0, 2, 3), correction=0), atol=1e-6)
    known = InputRecord((1, 4, 5), (0.25,), (0.5,), fit="crop")
    again = found(tmp_path, known=known)
    assert again.input == known
    assert again.make((), 0).mean == (0.25,)


@every(fit=["squash", "crop", "letterbox"], kept=[True, False])
def test_run_computes_training_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: str, kept: bool) -> None:
    write_pictures(tmp_path, 6)
    Image.new("P", (12, 5), 3).save(tmp_path / "cat" / "p.gif")
    Image.new("RGBA", (3, 17), (9, 80, 200, 100)).save(tmp_path / "cat" / "alpha.png")
    Image.new("CMYK", (20, 20), (9, 80, 200, 100)).save(tmp_path / "dog" / "ink.jpg")
    monkeypatch.setattr(picture_source, "MOST_KEPT", 10**9 if kept else 0)
    data = found(tmp_path, size=7, fit=fit)
    seen = 0
    for part, samples in zip(("train", "validation", "test"), data.make((), 0).parts, strict=True):
        assert isinstance(samples, Images if kept else PictureFiles)
        x, labels = samples.sequence(torch.arange(len(samples)))
        files = {entry.file: entry.label for entry in data.manifest.entries if entry.part == part}
        bits = {read_image(tmp_path / file, data.input).tobytes(): label for file, label in files.items()}
        for one, label in zip(x[0], labels, strict=True):
            assert bits[one[None, None].numpy().tobytes()] == CLASSES[label]
            seen += 1
    assert seen == 3 * 6 + 3


def test_pictures_beyond_memory_are_read_by_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = found(write_pictures(tmp_path, 6), size=6)
    monkeypatch.setattr(picture_source, "MOST_KEPT", 0)
    read = found(tmp_path, size=6)
    assert (read.input, read.manifest) == (kept.input, kept.manifest)
    assert read.seen == {**kept.seen, "in_memory": False}
    for one, other in zip(kept.make(("flip", "crop"), 5).parts, read.make(("flip", "crop"), 5).parts, strict=True):
        assert other.costly
        for each in (one, other):
            each.set_epoch(2)
        for a, b in zip(one.sequence(torch.arange(len(one))), other.sequence(torch.arange(len(other))), strict=True):
            assert torch.equal(a, b)
    samples = read.make((), 0).train
    (tmp_path / files_of(read, "train")[0]).write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be read as an image \(it is damaged, or not one of"):
        samples.batch(torch.arange(len(samples)))


def test_damaged_files_are_named_together_or_left_out_on_request(tmp_path: Path) -> None:
    write_pictures(tmp_path, 6)
    (tmp_path / "cat" / "none.png").write_bytes(b"no picture")
    whole = (tmp_path / "dog" / "001.png").read_bytes()
    # After the header.
    (tmp_path / "dog" / "cut.png").write_bytes(whole[: len(whole) - 30])
    (tmp_path / "dog" / "nowhere.png").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    bad = ("cat/none.png", *(f"dog/{name}.png" for name in ("cut", "nowhere", "pipe")))
    with pytest.raises(DataError, match=r"4 of 22 files cannot be read .*cat/none.png .*dog/pipe.png .*skip$"):
        found(tmp_path)
    data = found(tmp_path, unreadable="skip")
    assert data.manifest.skipped == bad
    assert [fault["file"] for fault in data.seen["unreadable"]] == list(bad)
    assert data.manifest.counts() == found(write_pictures(tmp_path / "good", 6)).manifest.counts()


def test_a_class_with_too_few_readable_pictures_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path, 6, classes=("cat", "dog"))
    owls = write_pictures(tmp_path, 1, classes=("owl",)) / "owl"
    (owls / "000.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="no image of class owl can be read"):
        found(tmp_path, unreadable="skip")
    (owls / "000.jpg").unlink()
    write_pictures(tmp_path, 2, classes=("owl",))
    (owls / "copy.png").write_bytes(next(owls.glob("001.*")).read_bytes())
    with pytest.raises(DataError, match='class "owl" has 2 different images, too few'):
        found(tmp_path)


def test_a_picture_is_read_once_if_its_bytes_can_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(tmp_path, 4)
    encoded, read = Folder.encoded, Counter[int]()
    monkeypatch.setattr(Folder, "encoded", lambda self, place: (read.update([place]), encoded(self, place))[1])
    for held, times in ((2**28, 1), (0, 2)):
        read.clear()
        monkeypatch.setattr(picture_source, "MOST_READ_ONCE", held)
        monkeypatch.setattr(picture_source, "MANY", 10 + times)
        said: list[str] = []
        found(tmp_path, size=8, say=said.append)
        # Many pictures are announced.
        assert (set(read.values()), len(said)) == ({times}, 2 - times)

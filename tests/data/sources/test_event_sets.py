"""DVS-CIFAR10, N-MNIST and DVS-Gesture, written small in their true formats and read by the same code."""

import hashlib
import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from cases import naming
from hdlif.data import by_number, by_time, count_frames, dvs_cifar10, dvs_gesture, n_mnist
from hdlif.data.event_frames import CACHE, MANIFEST
from hdlif.errors import DataError
from hdlif.inputs.datasets import CIFAR10_CLASSES
from hdlif.inputs.recordings import read_recording
from recorded_events import aedat2_bytes, recording, write_dvs_cifar10, write_dvs_gesture, write_n_mnist

PLAIN = {"augment": (), "seed": 0}
load_cifar = partial(dvs_cifar10, **PLAIN, validation=3, time_steps=4, binning=by_number, per_class=(4, 1))
load_digits = partial(n_mnist, **PLAIN, validation=2, time_steps=3, binning=by_time, per_digit=((3,) * 10, (1,) * 10))
load_gestures = partial(dvs_gesture, **PLAIN, validation=2, time_steps=2, binning=by_number, counts=(22, 11))


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    write_dvs_cifar10(tmp_path, CIFAR10_CLASSES)
    return tmp_path


def cached(root: Path) -> list[Path]:
    return sorted((root / CACHE).iterdir())


def test_first_recordings_of_each_class_train_and_the_last_test_and_frames_count_their_events(cifar: Path) -> None:
    sets = load_cifar(cifar)
    assert ([len(part) for part in sets.parts], sets.shape) == ([37, 3, 10], (2, 128, 128))
    manifest = json.loads((cifar / "CIFAR10DVS" / MANIFEST).read_text())
    # By number, 8 to 12: "10" comes after "9".
    assert [entry["file"] for entry in manifest["test"]] == [f"{c}/cifar10_{c}_12.aedat" for c in CIFAR10_CLASSES]
    clips = manifest["train"] + manifest["test"]
    for part in sets.parts:
        for i in range(len(part)):
            clip = clips[part.places[i]]
            path = cifar / "CIFAR10DVS" / clip["file"]
            assert clip["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
            assert path.parent.name == CIFAR10_CLASSES[clip["label"]]
            events = read_recording(path, path.read_bytes())
            counts = count_frames(events, 4, binning=by_number, height=128, width=128)
            x, label = part.sequence(torch.tensor([i]))
            assert np.array_equal(x[:, 0], counts)
            assert int(label) == clip["label"]


def test_resized_frames_keep_fractions(cifar: Path) -> None:
    whole, small = load_cifar(cifar), load_cifar(cifar, size=48)
    assert small.shape == (2, 48, 48)
    i = torch.tensor([5])
    expected = F.resize(whole.train.read(i), [48, 48], antialias=True)
    torch.testing.assert_close(small.train.read(i), expected, rtol=0, atol=1e-6)
    assert torch.equal(whole.train.resized(48).read(i), expected)
    assert len(cached(cifar)) == 2


def test_frames_are_made_once_for_each_transform(cifar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_cifar(cifar).train.read(torch.arange(37))
    read: list[Path] = []

    def counting(path: Path, content: bytes) -> object:
        read.append(path)
        return read_recording(path, content)

    monkeypatch.setattr("hdlif.data.event_frames.read_recording", counting)
    # Neither the seed, nor the augmentation, nor the size of the validation set is of the frames.
    again = load_cifar(cifar, seed=5, augment=("flip",), validation=5)
    assert read == []
    assert torch.equal(again.train.plain().read(torch.arange(35)), first[:35])
    for change in ({"time_steps": 5}, {"binning": by_time}, {"size": 48}):
        load_cifar(cifar, **change)
        assert len(read) == 50
        read.clear()
    assert len(cached(cifar)) == 4
    monkeypatch.setattr("hdlif.data.event_frames.VERSION", 2)
    load_cifar(cifar)
    assert len(read) == 50


def test_damaged_cache_and_lost_manifest_are_made_anew(cifar: Path) -> None:
    first = load_cifar(cifar).train.read(torch.arange(37))
    (path,) = cached(cifar)
    path.write_bytes(path.read_bytes()[:1000])
    assert torch.equal(load_cifar(cifar).train.read(torch.arange(37)), first)
    (cifar / "CIFAR10DVS" / MANIFEST).unlink()
    assert torch.equal(load_cifar(cifar).train.read(torch.arange(37)), first)
    assert (cifar / "CIFAR10DVS" / MANIFEST).exists()


def test_making_that_fails_leaves_nothing_and_a_changed_or_missing_recording_is_noticed(cifar: Path) -> None:
    path = cifar / "CIFAR10DVS" / "cat" / "cifar10_cat_10.aedat"
    content = path.read_bytes()
    path.write_bytes(content[:-2])
    with pytest.raises(DataError, match=re.escape(str(path))):
        load_cifar(cifar)
    assert cached(cifar) == []
    assert not (cifar / "CIFAR10DVS" / MANIFEST).exists()
    path.write_bytes(content)
    assert len(load_cifar(cifar).train) == 37
    # As long as before, so that the time of change alone tells.
    path.write_bytes(aedat2_bytes(recording(30, side=128, seed=99)))
    with pytest.raises(DataError, match=rf"{re.escape(str(path))}: does not match .*{MANIFEST}; extract it again"):
        load_cifar(cifar)
    (cifar / "CIFAR10DVS" / MANIFEST).write_text("{}")
    with pytest.raises(DataError, match=r"hdlif_split.json: is not a manifest of a split; delete it"):
        load_cifar(cifar)
    path.unlink()
    with pytest.raises(DataError, match=r"cat: 4 recordings of 5; expected .*; get dvs_cifar10 from"):
        load_cifar(cifar)


def test_n_mnist_is_read_and_its_damages_are_named(tmp_path: Path) -> None:
    write_n_mnist(tmp_path)
    sets = load_digits(tmp_path)
    assert ([len(part) for part in sets.parts], sets.shape) == ([28, 2, 10], (2, 34, 34))
    x, y = sets.test.sequence(torch.arange(10))
    assert x.sum((0, 2, 3, 4)).tolist() == [40] * 10
    assert sorted(y.tolist()) == list(range(10))
    path = tmp_path / "NMNIST" / "Train" / "3" / "00013.bin"
    path.write_bytes(bytes([200, 3, 0, 0, 1]))
    with pytest.raises(DataError, match=re.escape(str(path))):
        load_digits(tmp_path, time_steps=4)
    (tmp_path / "NMNIST" / "Test" / "4" / "00004.bin").unlink()
    with pytest.raises(DataError, match=r"NMNIST/Test/4: 0 recordings of 1; expected .*; get n_mnist from"):
        load_digits(tmp_path)


def test_gestures_are_cut_out_of_their_recordings_and_damaged_ones_named(tmp_path: Path) -> None:
    write_dvs_gesture(tmp_path)
    sets = load_gestures(tmp_path)
    assert [len(part) for part in sets.parts] == [20, 2, 11]
    path = tmp_path / "DvsGesture" / "user02_fluorescent.aedat"
    t = read_recording(path, path.read_bytes()).t
    x, y = sets.test.sequence(torch.arange(11))
    starts = 100 * (y.numpy() + 1)
    assert x.sum((0, 2, 3, 4)).tolist() == [((t >= start) & (t < start + 100)).sum() for start in starts]
    assert sorted(y.tolist()) == list(range(11))
    labels, recording = "user01_fluorescent_labels.csv", "user01_fluorescent.aedat"
    for file, content, message in (
        (labels, "class,a,b\n12,1,2\n", "a class is outside 1..11"),
        (labels, "class,a,b\n1,2\n", "each line must contain class, start and end"),
        (labels, "class,a,b\n1,2,x\n", "each line must contain class, start and end"),
        (labels, "class,a,b\n1,2,3\n", "12 gestures of 22 in trials_to_train.txt"),
        *((name, None, f"{name} missing") for name in (labels, recording)),
    ):
        path = tmp_path / "DvsGesture" / file
        whole = path.read_bytes()
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        with naming(file, content), pytest.raises(DataError, match=rf"{message}.*; get dvs_gesture from"):
            load_gestures(tmp_path)
        path.write_bytes(whole)

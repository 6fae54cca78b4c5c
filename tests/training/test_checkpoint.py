"""Checkpoints: what is written comes back, and what is no checkpoint is refused."""

import errno
import hashlib
import itertools
import json
import os
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from hdlif.errors import CheckpointError, TrainingError
from hdlif.training import checkpoint
from hdlif.training.optimization import sgd

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3), "c": torch.zeros(0, dtype=torch.float64)}
RECORD = {"z": [1, 2.5, None], "a": {"name": "ü", "x": 0.1}}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, tensors=TENSORS, record=RECORD)
    tensors, record = checkpoint.load(path)
    assert record == RECORD
    assert tensors.keys() == TENSORS.keys()
    # They survive the file.
    path.write_bytes(bytes(path.stat().st_size))
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    assert list(tmp_path.iterdir()) == [path]
    # A layout changes no value.
    last = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    checkpoint.save(path, tensors={"w": last}, record={})
    assert torch.equal(checkpoint.load(path)[0]["w"], last)


def test_digest_is_sha256_of_record_and_tensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, tensors={"b": torch.tensor(3), "a": torch.tensor([1.0, 2.0])}, record={"x": 1})
    with safetensors.safe_open(path, framework="pt") as file:
        digest = json.loads(file.metadata()["hdlif"])["digest"]
    content = b'{"x":1}\na torch.float32 [2]\n' + struct.pack("<ff", 1.0, 2.0)
    content += b"\nb torch.int64 []\n" + struct.pack("<q", 3)
    assert digest == hashlib.sha256(content).hexdigest()


def test_a_file_that_is_cut_anywhere_is_refused_and_every_changed_bit_noticed_or_harmless(tmp_path: Path) -> None:
    path, weight = tmp_path / "x.safetensors", torch.randn(4)
    checkpoint.save(path, tensors={"w": weight}, record={"a": 1})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"x\.safetensors"):
            checkpoint.load(path)
    for position, bit in itertools.product(range(len(content)), range(8)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            tensors, record = checkpoint.load(path)
        except CheckpointError:
            continue
        # White space is white space.
        assert torch.equal(tensors["w"], weight)
        assert record == {"a": 1}
        assert content[position] in b" "


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "x.safetensors"
    checkpoint.save(path, tensors=TENSORS, record=RECORD)
    before = path.read_bytes()
    with pytest.raises(TrainingError):
        checkpoint.save(tmp_path / "no" / "x", tensors=TENSORS, record={})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"the disk is full.*the checkpoint written before is kept"):
        checkpoint.save(path, tensors={"w": torch.zeros(3)}, record={})
    with pytest.raises(TrainingError, match=r"the disk is full.*no earlier checkpoint is there"):
        checkpoint.save(tmp_path / "y", tensors={"w": torch.zeros(3)}, record={})
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_tensors_of_another_model_are_named(tmp_path: Path) -> None:
    checkpoint.save_model(tmp_path / "m", nn.Sequential(nn.Linear(2, 3)), {})
    for other, fault in (
        (nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), r"missing: 1\.bias, 1\.weight"),
        (nn.Sequential(nn.Linear(2, 3, bias=False)), r"unexpected: 0\.bias"),
        (nn.Sequential(nn.Linear(4, 3)), r"of another shape: 0\.weight \[3, 2\], .* \[3, 4\]"),
    ):
        before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
        with pytest.raises(CheckpointError, match=fault):
            checkpoint.load_model(tmp_path / "m", other)
        assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items()), fault
    optimizer = sgd(model := nn.Linear(2, 2), learning_rate=1, momentum=0.9, weight_decay=0)
    for name in ("optimizer.nobody", "model.nobody"):
        tensors = checkpoint.training_tensors(model, optimizer) | {name: torch.zeros(2)}
        with pytest.raises(CheckpointError, match=r"unexpected: .*nobody"):
            checkpoint.restore_training(model, optimizer, tensors, tmp_path)


def test_another_recipe_is_refused_by_all_keys_that_differ(tmp_path: Path) -> None:
    record = {"recipe": {"seed": 1, "training": {"epochs": 2, "blocks": [1, [2]]}}}
    checkpoint.check_recipe(tmp_path, record, {"seed": 1, "training": {"epochs": 2, "blocks": (1, (2,))}})
    words = r"with seed = 1, but the recipe has 2; with training\.epochs = 2, but the recipe has None"
    with pytest.raises(CheckpointError, match=words):
        checkpoint.check_recipe(tmp_path, record, {"seed": 2, "training": {"blocks": [1, [2]]}})

"""CIFAR's pickled batches, written small in their true form and read by the same code as the real ones."""

import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from hdlif.errors import DataError
from small_sets import CIFAR, SETS, write_cifar


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
    for damaged in (
        whole[:5000],
        b"",
        {b"data": os.getcwd},
        *(
            content | {key: value}
            for key, value in ((b"data", np.zeros((10, 3071), np.uint8)), (b"labels", [0] * 9), (b"labels", [10] * 10))
        ),
    ):
        path.write_bytes(damaged if isinstance(damaged, bytes) else pickle.dumps(damaged, protocol=2))
        with pytest.raises(DataError, match=re.escape(f"{path}: ")):
            SETS["cifar10"].load(tmp_path)
    path.write_bytes(pickle.dumps(content | {b"labels": [0] * 10}, protocol=2))
    with pytest.raises(DataError, match="10 images of airplane"):
        SETS["cifar10"].load(tmp_path)

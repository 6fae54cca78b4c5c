"""What all samples share, whatever they are read from."""

import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from hdlif.data import Images, ImageSets, synthetic
from hdlif.data.samples import processors, stepwise
from hdlif.errors import DataError


def images(*augment: str, n: int = 20) -> Images:
    pixels = torch.randint(256, (n, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Images(pixels, torch.arange(n), mean=(0.5,) * 3, std=(0.25,) * 3, augment=augment, seed=3)


BATCHES = [torch.tensor([3, 1, 4]), torch.tensor([15, 9]), torch.tensor([2, 6, 5])]


class Broken(Images):
    def read(self, indices: Tensor) -> Tensor:
        if 9 in indices.tolist():
            raise DataError("nine.jpeg: cannot be read; extract it again")
        # What Ctrl-C and a scheduler send to every process of the job.
        if self.workers:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        return super().read(indices)


def test_error_and_signals_in_a_worker() -> None:
    whole = images()
    samples = Broken(whole.pixels, whole.labels, mean=whole.mean, std=whole.std)
    samples.workers = 1
    stream = samples.stream(BATCHES)
    assert torch.equal(next(stream)[0], whole.sequence(BATCHES[0])[0])
    with pytest.raises(DataError, match=r"^nine.jpeg: cannot be read; extract it again$"):
        list(stream)


LOST = """
import os, signal
import torch
from hdlif.data import synthetic

samples, parent = synthetic(validation=40, augment=(), seed=0).train, os.getpid()
read = samples.read

def lost(indices):
    if os.getpid() != parent and 3 in indices:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(indices)

samples.read, samples.workers = lost, 2
list(samples.stream(list(torch.arange(300).split(10))))
"""


def test_a_process_ends_when_a_worker_is_killed() -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-c", LOST]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    # Of PyTorch's two messages, by the handler of the signal and by the timeout of the queue, either may be the last.
    assert re.search(r"DataLoader worker .*\d", "".join(done.stderr.splitlines()[-2:]))


def test_cutouts_are_applied_behind_the_normalisation() -> None:
    x, _ = images("cutout_12").batch(torch.arange(20))
    plain, _ = images().batch(torch.arange(20))
    hidden = (x == 0).all(1)
    assert hidden.any()
    assert torch.equal(x.permute(0, 2, 3, 1)[~hidden], plain.permute(0, 2, 3, 1)[~hidden])


def test_plain_samples_are_not_augmented_and_first_ones_begin_in_epoch_0() -> None:
    samples = images("flip", "crop")
    samples.set_epoch(4)
    plain, first = samples.plain(), samples.first(5)
    assert torch.equal(plain.batch(torch.arange(20))[0], images().batch(torch.arange(20))[0])
    assert (plain.epoch, first.epoch, samples.epoch) == (0, 0, 4)
    assert (len(plain), len(first), len(samples)) == (20, 5, 20)
    with pytest.raises(IndexError, match=r"index 5 is outside 0\.\.4"):
        first[5]


def test_workers_are_as_requested_or_as_the_cost_of_a_batch_needs() -> None:
    costly = ("autoaugment_imagenet",)
    for augment, requested, expected in (
        (("flip",), None, 0),
        (costly, None, min(16, processors())),
        (("flip",), 3, 3),
    ):
        sets: ImageSets = synthetic(validation=10, augment=augment, seed=0).made_by(requested)
        assert (sets.train.workers, sets.test.workers) == (expected, requested or 0)
    shared = synthetic(validation=10, augment=costly, seed=0).made_by(None, ranks=processors())
    assert shared.train.workers == 1


def test_stepwise_puts_time_first() -> None:
    kept = torch.arange(2 * 6 * 4 * 5).reshape(2, 6, 4, 5)
    assert torch.equal(stepwise(3)(kept), kept.reshape(2, 3, 2, 4, 5).transpose(0, 1))

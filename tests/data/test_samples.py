"""What all samples share, whatever they are read from: batches, their order, and what is drawn for a sample."""

import multiprocessing
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hdlif.data import DataSets, Images, batches, synthetic
from hdlif.data.draws import fuller_batch, random_bits
from hdlif.data.samples import processors
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


def lose_a_worker(errors: Path) -> None:
    """Read with two workers, of which one is killed; what is said goes to a file."""
    sys.stderr = errors.open("w", buffering=1)
    samples, parent = synthetic(validation=40, augment=(), seed=0).train, os.getpid()
    read = samples.read

    def lost(indices: Tensor) -> Tensor:
        if os.getpid() != parent and 3 in indices:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(indices)

    samples.read, samples.workers = lost, 2  # type: ignore[method-assign]
    list(samples.stream(list(torch.arange(300).split(10))))


def test_a_process_ends_when_a_worker_is_killed(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=lose_a_worker, args=(tmp_path / "errors",))
    process.start()
    process.join(120)
    assert process.exitcode == 1
    # Of PyTorch's two messages, by the handler of the signal and by the timeout of the queue, either may come.
    assert re.search(r"RuntimeError: DataLoader worker .*\d", (tmp_path / "errors").read_text())


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
        sets: DataSets = synthetic(validation=10, augment=augment, seed=0).made_by(requested)
        assert (sets.train.workers, sets.test.workers) == (expected, requested or 0)
    shared = synthetic(validation=10, augment=costly, seed=0).made_by(None, ranks=processors())
    assert shared.train.workers == 1


def bits(index: list[int], *, seed: int = 0, epoch: int = 0, stream: int = 0) -> list[int]:
    drawn: list[int] = random_bits(np.array(index, np.int64), seed=seed, epoch=epoch, stream=stream).tolist()
    return drawn


def splitmix(z: int) -> int:
    """The published step in Python's unbounded integers."""
    z = (z + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def test_bits_equal_the_chain_of_splitmix_steps() -> None:
    # The first output of splitmix64 from state 0.
    assert splitmix(0) == 0xE220A8397B1DCDAF
    seed, epoch, stream, indices = 42, 3, 1, [59_999, 0, 59_999]
    before = splitmix((splitmix((splitmix(seed) + epoch) % 2**64) + stream) % 2**64)
    chains = [splitmix((before + index) % 2**64) for index in indices]
    assert bits(indices, seed=seed, epoch=epoch, stream=stream) == chains


def test_batches_have_every_index_once_and_drop_last_leaves_out_only_the_part_batch() -> None:
    everything = batches(10, batch_size=4, seed=0, epoch=0, drop_last=False)
    assert [len(part) for part in everything] == [4, 4, 2]
    assert sorted(torch.cat(everything).tolist()) == list(range(10))
    full = batches(10, batch_size=4, seed=0, epoch=0, drop_last=True)
    assert [part.tolist() for part in full] == [part.tolist() for part in everything[:2]]
    assert len(batches(8, batch_size=4, seed=0, epoch=0, drop_last=True)) == 2
    with pytest.raises(DataError, match=r"3 samples do not fill one batch of 4; lower batch_size to at most 3"):
        batches(3, batch_size=4, seed=0, epoch=0, drop_last=True)
    with pytest.raises(DataError, match=r"such as 4 \(--set data.batch_size=4\), which omits 1$"):
        batches(21, batch_size=32, seed=0, epoch=0, drop_last=True)
    assert fuller_batch(41, 32) == 8
    assert fuller_batch(41, 32, multiple_of=6) is None
    # A tenth is too many: 8 would leave out 2 of 10.
    assert fuller_batch(10, 16) == 2


def test_order_is_a_function_of_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int, batch_size: int = 8) -> list[int]:
        parts = batches(64, batch_size=batch_size, seed=seed, epoch=epoch, drop_last=False)
        return [int(i) for i in torch.cat(parts)]

    before = torch.get_rng_state()
    first = order(1, 2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert order(1, 2) == first
    assert order(1, 2, batch_size=5) == first
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9

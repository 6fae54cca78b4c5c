import numpy as np
import pytest
import torch

from hdlif.data import batches
from hdlif.data.draws import fuller_batch, random_bits
from hdlif.errors import DataError


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


def test_drop_last_that_leaves_no_batch_is_refused() -> None:
    with pytest.raises(DataError, match=r"3 samples do not fill one batch of 4; lower batch_size to at most 3"):
        batches(3, batch_size=4, seed=0, epoch=0, drop_last=True)
    with pytest.raises(DataError, match=r"such as 4 \(--set data.batch_size=4\), which leaves 1 out"):
        batches(21, batch_size=32, seed=0, epoch=0, drop_last=True)


def test_a_fuller_batch_leaves_out_less_than_a_tenth_and_can_be_shared() -> None:
    assert fuller_batch(41, 32) == 8
    assert fuller_batch(41, 32, multiple_of=6) is None
    # A tenth is too many: 8 would leave out 2 of 10.
    assert fuller_batch(10, 16) == 2

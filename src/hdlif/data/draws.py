"""Counter-based random numbers that need no stored generator state.

The random bits mix(mix(mix(mix(seed) + epoch) + stream) + index) do not depend on batch size, worker or earlier draws.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.errors import DataError

Bits = NDArray[np.uint64]

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")
_ORDER_STREAM = 0
"""Random stream of the data order; augmentations use the streams from 1 on."""


def random_bits(index: NDArray[np.int64], *, seed: int, epoch: int, stream: int) -> Bits:
    """Return 64 random bits per entry of `index` [B], which depend only on (seed, epoch, stream, index)."""
    key = np.array([seed], np.uint64)
    for counter in (epoch, stream):
        key = _mix(key) + np.uint64(counter)
    return _mix(_mix(key) + index.astype(np.uint64))


def expanded(bits: Bits, count: int) -> Bits:
    """Derive `count` independent draws from each entry of `bits` [B], and return them as [B, count]."""
    counters: Bits = np.arange(1, count + 1, dtype=np.uint64)
    return _mix(bits[:, None] + counters)


def of_each(transform: Callable[[Tensor], Tensor], images: list[Tensor], bits: Bits) -> Tensor:
    """Apply `transform` to each image [C, H, W] with a generator seeded by the image's bits, and stack the results."""
    return torch.stack(seeded(transform, images, bits))


def seeded(transform: Callable[[_Item], _Made], items: Sequence[_Item], bits: Bits) -> list[_Made]:
    """Apply `transform` to each item, with torch's generator seeded by the item's bits."""
    # Seed only the CPU's generator: torch.manual_seed would also seed CUDA's, which a worker must not touch.
    generator = torch.default_generator
    kept = generator.get_state()
    try:
        made = []
        for item, seed in zip(items, (bits >> np.uint64(1)).tolist(), strict=True):
            generator.manual_seed(seed)
            made.append(transform(item))
        return made
    finally:
        generator.set_state(kept)


def batches(n: int, *, batch_size: int, seed: int, epoch: int, drop_last: bool) -> list[Tensor]:
    """Shuffle `n` samples and divide them into batches for one epoch, each an index tensor [batch_size].

    The order of the samples depends only on (seed, epoch). The last batch is shorter if `batch_size` does not divide
    `n`.

    >>> from hdlif.data import batches
    >>> [len(indices) for indices in batches(10, batch_size=4, seed=0, epoch=0, drop_last=False)]
    [4, 4, 2]

    Args:
        n: number of samples.
        batch_size: samples per batch.
        seed, epoch: choose the order.
        drop_last: whether to omit the last batch if it is shorter.
    Raises:
        DataError: `drop_last` would leave no batch.
    """
    if drop_last and n < batch_size:
        size = fuller_batch(n, batch_size)
        advice = "" if size is None else f", such as {size} (--set data.batch_size={size}), which omits {n % size}"
        raise DataError(f"{n} samples do not fill one batch of {batch_size}; lower batch_size to at most {n}{advice}")
    bits = random_bits(np.zeros(1, np.int64), seed=seed, epoch=epoch, stream=_ORDER_STREAM)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(int(bits[0])))
    return list(order[: n - n % batch_size if drop_last else n].split(batch_size))  # type: ignore[no-untyped-call]


def many_left_out(left: int, n: int) -> bool:
    """Return whether `left`, the number of samples outside the full batches, is at least a tenth of `n`."""
    return 10 * left >= n


def fuller_batch(n: int, batch_size: int, *, multiple_of: int = 1) -> int | None:
    """Return the largest power of two below `batch_size` whose full batches omit less than a tenth of `n` samples.

    >>> fuller_batch(41, 32), fuller_batch(20, 32), fuller_batch(3, 4)
    (8, 4, None)

    Args:
        multiple_of: a divisor of the size; at least 2, because a batch of one has no statistics.
    """
    sizes = (2**i for i in range(batch_size.bit_length(), 0, -1))
    fits = (size for size in sizes if size < batch_size and size <= n and size % multiple_of == 0)
    return next((size for size in fits if not many_left_out(n % size, n)), None)


def part_generator(draw: int, part: int) -> torch.Generator:
    """Return a random generator, seeded with (draw, part), for one split of a generated data set."""
    bits = random_bits(np.zeros(1, np.int64), seed=draw, epoch=0, stream=part)
    return torch.Generator().manual_seed(int(bits[0] >> np.uint64(1)))


def _mix(bits: Bits) -> Bits:
    """Apply splitmix64 (Steele, Lea and Flood 2014), a bijection. Each input bit flips about half of the output bits.

    The function applies the following operations to z, modulo 2**64:

        z += 0x9E3779B97F4A7C15;  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
        z = (z ^ z >> 27) * 0x94D049BB133111EB;  z ^ z >> 31
    """
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))

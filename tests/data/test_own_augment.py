"""Augmentations of one's own: a sample's result is a function of (seed, epoch, index) alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

import own_parts
from hdlif.data import Augmentation
from hdlif.data.augment import own_augmentation
from hdlif.data.draws import random_bits
from hdlif.data.in_memory import Images
from hdlif.errors import DataError

PIXELS = torch.randint(256, (12, 1, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def own(transform: Callable[..., Any]) -> Augmentation:
    return own_augmentation(transform, "mine:Own", takes_generator=transform is own_parts.noise)


def images(*augment: str | Augmentation) -> Images:
    return Images(PIXELS, torch.zeros(12, dtype=torch.int64), mean=[0.5], std=[0.5], augment=augment, seed=3)


@pytest.mark.parametrize("transform", [own_parts.noise, own_parts.Dim(0.5), v2.RandomErasing(p=0.5)])
def test_a_sample_is_the_same_in_any_batch_and_worker_and_another_in_another_epoch(
    transform: Callable[..., Any],
) -> None:
    some = images("flip", own(transform))
    some.set_epoch(4)
    state = torch.get_rng_state()
    together, _ = some.batch(torch.arange(12))
    for index in (7, 0, 11):
        assert torch.equal(some.batch(torch.tensor([index]))[0][0], together[index])
    some.workers = 2
    batches = [torch.arange(5), torch.arange(5, 12)]
    assert torch.equal(torch.cat([x[0] for x, _ in some.stream(batches)]), together)
    assert torch.equal(torch.get_rng_state(), state)
    some.set_epoch(5)
    assert not torch.equal(some.batch(torch.arange(12))[0], together)
    assert torch.equal(some.plain().batch(torch.arange(12))[0], images().batch(torch.arange(12))[0])


def test_the_generator_is_seeded_by_the_sample_s_bits() -> None:
    """The same by hand, sample by sample."""
    made, _ = images(own(own_parts.noise)).batch(torch.arange(12))
    bits = random_bits(np.arange(12), seed=3, epoch=0, stream=1)
    by_hand = [
        own_parts.noise(x, torch.Generator().manual_seed(int(seed) >> 1)) for x, seed in zip(PIXELS, bits, strict=True)
    ]
    assert torch.equal(made, images().scale(torch.stack(by_hand)))


def test_one_of_normalised_samples_acts_behind_the_normalisation() -> None:
    def seen(x: Tensor) -> Tensor:
        assert x.dtype == torch.float32
        return x + 1

    seen.normalised = True  # type: ignore[attr-defined]
    made, _ = images("flip", own(seen)).batch(torch.arange(12))
    assert torch.equal(made, images("flip").batch(torch.arange(12))[0] + 1)
    with pytest.raises(DataError, match=r"\['mine:Own', 'flip'\] has one of raw samples behind one of normalised ones"):
        images(own(seen), "flip")


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_no_sample_is_refused_in_one_line(workers: int) -> None:
    for transform in (own_parts.wider, own_parts.as_float, own_parts.as_array, own_parts.fails):
        some = images(own(transform))
        some.workers = workers
        with pytest.raises(DataError, match="mine:Own") as caught:
            list(some.stream([torch.arange(3)]))
        assert "\n" not in str(caught.value)

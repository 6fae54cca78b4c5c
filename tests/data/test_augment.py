from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

import own_parts
from cases import every, naming
from hdlif.data import Augmentation, augment
from hdlif.data.draws import Bits, random_bits
from hdlif.data.in_memory import Images
from hdlif.errors import DataError
from hdlif.recipe.builders.augment import AUGMENTS


def test_flip_mirrors_where_the_top_bit_is_set_and_shift_moves_over_zeros() -> None:
    pixels = torch.tensor([[[[1, 2, 3]]]] * 2, dtype=torch.uint8)
    assert augment.flip(pixels, np.array([2**63 - 1, 2**63], np.uint64)).flatten(1).tolist() == [[1, 2, 3], [3, 2, 1]]
    # The low 32 bits give the row's offset and the high ones the column's: remainder by 3, less 1.
    pixels = torch.arange(1, 10, dtype=torch.uint8).reshape(1, 1, 3, 3)
    for bits, moved in (
        ((1 << 32) | 1, [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        ((0 << 32) | 1, [[0, 1, 2], [0, 4, 5], [0, 7, 8]]),
        ((2 << 32) | 0, [[0, 0, 0], [2, 3, 0], [5, 6, 0]]),
    ):
        assert augment.shift(pixels, np.array([bits], np.uint64))[0, 0].tolist() == moved


def bits_of(n: int, *, epoch: int = 0) -> Bits:
    return random_bits(np.arange(n), seed=0, epoch=epoch, stream=1)


@every("move", "side", "most", of=[("shift", 8, 1), ("shift", 28, 2), ("shift", 48, 3), ("crop", 32, 4)])
def test_moves_reach_every_offset_up_to_their_fraction_of_the_side(move: str, side: int, most: int) -> None:
    """A fourteenth for a shift, four pixels of 32 for a crop."""
    pixels = torch.zeros(4000, 1, side, side, dtype=torch.uint8)
    pixels[:, 0, side // 2, side // 2] = 1
    _, _, rows, columns = augment.AUGMENTATIONS[move].apply(pixels, bits_of(4000)).nonzero(as_tuple=True)
    seen = set(zip((rows - side // 2).tolist(), (columns - side // 2).tolist(), strict=True))
    assert seen == set(product(range(-most, most + 1), repeat=2))


@every("bits", "rows", "columns", of=[(0, 2, 2), (5, 3, 2), (3 | 4 << 32, 4, 4)])
def test_cutout_zeroes_a_square_around_the_pixel_drawn(bits: int, rows: int, columns: int) -> None:
    # The low 32 bits give the row and the high ones the column; half of the square is before them.
    x = augment.cutout(torch.ones(1, 3, 6, 8), np.array([bits], np.uint64), side=4)
    hidden = (x[0, 0] == 0).nonzero()
    row, column = bits & 0xFFFFFFFF, bits >> 32
    assert len(hidden) == rows * columns
    assert hidden.min(0).values.tolist() == [max(0, row - 2), max(0, column - 2)]
    assert torch.equal(x[0, 0], x[0, 2])


def test_autoaugment_is_torchvisions_under_a_seed_of_the_image() -> None:
    pixels = torch.randint(256, (20, 3, 12, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    bits = bits_of(20)
    seen = augment.autoaugment(pixels, bits, policy=v2.AutoAugmentPolicy.CIFAR10)
    expected = []
    with torch.random.fork_rng(devices=[]):
        for image, seed in zip(pixels, bits.tolist(), strict=True):
            torch.manual_seed(seed >> 1)
            expected.append(v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)(image))
    assert torch.equal(seen, torch.stack(expected))
    assert (seen != pixels).flatten(1).any(1).sum() > 10


def test_event_policy_treats_all_frames_of_a_sample_alike() -> None:
    frame = torch.arange(48 * 48).reshape(48, 48).float() + 1
    seen = augment.event_policy(frame.expand(40, 20, 48, 48).contiguous(), bits_of(40))
    assert torch.equal(seen, seen[:, :1].expand_as(seen))
    assert len(torch.unique(seen[:, 0].flatten(1), dim=0)) == 40


@every(name=list(augment.AUGMENTATIONS))
def test_augmentation_depends_on_its_sample_alone_and_leaves_input_and_generator(name: str) -> None:
    x = torch.randint(256, (6, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    if AUGMENTS[name].samples == ("series",):
        x = x.float().flatten(2)[..., None]
    kept, state = x.clone(), torch.get_rng_state()
    apply, bits = augment.AUGMENTATIONS[name].apply, bits_of(6)
    together = apply(x, bits)
    assert (together.shape, together.dtype) == (x.shape, x.dtype)
    assert torch.equal(x, kept)
    assert torch.equal(torch.get_rng_state(), state)
    alone = torch.cat([apply(x[i : i + 1], bits[i : i + 1]) for i in range(6)])
    assert torch.equal(together, alone)
    assert not torch.equal(apply(x, bits_of(6, epoch=1)), together)


def test_jitter_adds_noise_to_each_value_and_scale_a_factor_to_each_channel() -> None:
    noise = augment.jitter(deviation=0.5).apply(torch.zeros(64, 2, 100, 1), bits_of(64))
    # 12,800 draws: the deviation is known to 0.6 % (one standard deviation).
    assert abs(noise.std().item() - 0.5) < 0.02
    assert abs(noise.mean().item()) < 0.02
    x = torch.rand(400, 2, 5, 1, generator=torch.Generator().manual_seed(0)) + 1
    factors = augment.scale(deviation=0.25).apply(x, bits_of(400)) / x
    assert torch.allclose(factors, factors[:, :, :1].expand_as(factors))
    assert not torch.allclose(factors[:, 0], factors[:, 1])
    # 800 draws: the deviation is known to 2.5 % (one standard deviation).
    assert abs(factors[:, :, 0].std().item() - 0.25) < 0.02


def test_strengths_out_of_range_and_incomplete_sensors_are_refused() -> None:
    of_series = (augment.jitter, augment.rotate, augment.scale)
    deviations = [*product(of_series, ["deviation"], (0.0, -1.0, float("nan"), float("inf")))]
    for make, name, value in (*deviations, (augment.zoom, "largest", 1.0), (augment.color_jitter, "strength", 1.5)):
        with naming(make, value), pytest.raises(ValueError, match=r"it must be above [01]"):
            make(**{name: value})
    with pytest.raises(DataError, match="the series has 4"):
        augment.rotate().apply(torch.randn(1, 4, 5, 1), bits_of(1))


def test_rotate_turns_the_sensors_of_a_sample_alike() -> None:
    """Lengths and angles stay, within a sensor and from one to the other; each sample turns by its own draw."""
    x = torch.randn(64, 6, 10, 1, generator=torch.Generator().manual_seed(0))
    seen = augment.rotate(deviation=0.2).apply(x, bits_of(64))
    before, after = (one.reshape(64, 2, 3, 10).permute(0, 2, 1, 3).flatten(2) for one in (x, seen))
    torch.testing.assert_close(after.transpose(1, 2) @ after, before.transpose(1, 2) @ before, rtol=1e-4, atol=1e-4)
    turns = after @ torch.linalg.pinv(before)
    assert (torch.linalg.det(turns) > 0.9).all()
    # The trace of a rotation is 1 + 2·cos of its angle, whose square is 3·σ² in the mean.
    angles = torch.acos(((turns.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1))
    assert abs(angles.square().mean().sqrt() / (0.2 * 3**0.5) - 1) < 0.2
    assert not torch.allclose(turns[0], turns[1])


@every(name=["crop", "shift"], located=[None, "boxes"])
def test_pixels_that_a_move_uncovers_have_the_fill_of_the_samples(name: str, located: Any) -> None:
    pixels = torch.tensor([200, 9, 77], dtype=torch.uint8).view(1, 3, 1, 1).expand(20, 3, 16, 16).contiguous()
    labels = torch.zeros(20, dtype=torch.int64) if located is None else torch.full((20, 1, 5), -1.0)
    some = Images(pixels, labels, mean=[0.0] * 3, std=[1 / 255] * 3, augment=[name], located=located)
    black, _ = some.batch(torch.arange(20))
    assert (black == 0).any()
    some.fill = pixels[0, :, :1, :1]
    filled, _ = some.batch(torch.arange(20))
    assert torch.equal(filled.round(), pixels.float())
    assert torch.equal(some.read(torch.arange(20)), pixels)


def test_zoom_enlarges_and_reduces_over_the_mean_and_a_change_of_colour_is_within_its_strength() -> None:
    x = torch.zeros(200, 1, 33, 33)
    x[:, :, 8:25, 8:25] = 1
    shares = augment.zoom(largest=1.5).apply(x, bits_of(200)).mean((1, 2, 3)).sqrt() / x[0].mean().sqrt()
    # An enlarged square is still within the image, wherever it moves; resizing blurs its edges.
    assert 0.6 < shares.min() < 0.75
    assert 1.4 < shares.max() < 1.55
    grey = torch.full((200, 3, 4, 4), 100, dtype=torch.uint8)
    changed = augment.color_jitter(strength=0.2).apply(grey, bits_of(200)).unique()
    assert (int(changed.min()), int(changed.max())) == pytest.approx((80, 120), abs=3)


PIXELS = torch.randint(256, (12, 1, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def own(transform: Callable[..., Any]) -> Augmentation:
    return augment.own_augmentation(transform, "mine:Own", takes_generator=transform is own_parts.noise)


def images(*augment: str | Augmentation) -> Images:
    return Images(PIXELS, torch.zeros(12, dtype=torch.int64), mean=[0.5], std=[0.5], augment=augment, seed=3)


@every(transform=[own_parts.noise, own_parts.Dim(0.5), v2.RandomErasing(p=0.5)])
def test_a_sample_is_the_same_in_any_batch_and_worker_but_not_in_another_epoch(transform: Callable[..., Any]) -> None:
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


def test_the_generator_of_an_own_augmentation_is_seeded_by_the_bits_of_the_sample() -> None:
    made, _ = images(own(own_parts.noise)).batch(torch.arange(12))
    seeds = [int(bits) >> 1 for bits in random_bits(np.arange(12), seed=3, epoch=0, stream=1)]
    by_hand = [own_parts.noise(x, torch.Generator().manual_seed(seed)) for x, seed in zip(PIXELS, seeds, strict=True)]
    assert torch.equal(made, images().scale(torch.stack(by_hand)))


def test_an_augmentation_of_normalised_samples_acts_after_the_normalisation() -> None:
    def seen(x: Tensor) -> Tensor:
        assert x.dtype == torch.float32
        return x + 1

    seen.normalised = True  # type: ignore[attr-defined]
    made, _ = images("flip", own(seen)).batch(torch.arange(12))
    assert torch.equal(made, images("flip").batch(torch.arange(12))[0] + 1)
    with pytest.raises(DataError):
        images(own(seen), "flip")


@every(workers=[0, 1], transform=[own_parts.wider, own_parts.as_float, own_parts.as_array, own_parts.fails])
def test_own_augmentations_that_return_no_sample_are_refused(workers: int, transform: Callable[..., Any]) -> None:
    some = images(own(transform))
    some.workers = workers
    with pytest.raises(DataError, match="mine:Own") as caught:
        list(some.stream([torch.arange(3)]))
    assert "\n" not in str(caught.value)

import numpy as np
import pytest
import torch

from hdlif.data.augment import flip, shift
from hdlif.data.draws import random_bits


def test_flip_mirrors_where_the_top_bit_is_set() -> None:
    pixels = torch.tensor([[[[1, 2, 3]]], [[[1, 2, 3]]]], dtype=torch.uint8)
    flipped = flip(pixels, np.array([2**63 - 1, 2**63], np.uint64))
    assert flipped.flatten(1).tolist() == [[1, 2, 3], [3, 2, 1]]


def test_flip_mirrors_half_of_the_images() -> None:
    pixels = torch.tensor([1, 2], dtype=torch.uint8).expand(10_000, 1, 1, 2)
    flipped = flip(pixels, random_bits(np.arange(10_000), seed=0, epoch=0, stream=1))
    # 4 standard deviations of 10,000 fair draws.
    assert abs((flipped[:, 0, 0, 0] == 2).float().mean().item() - 0.5) < 0.02


@pytest.mark.parametrize(
    # The low 32 bits give the row's offset and the high ones the column's: remainder by 3, less 1.
    ("bits", "moved"),
    [
        ((1 << 32) | 1, [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        ((1 << 32) | 0, [[0, 0, 0], [1, 2, 3], [4, 5, 6]]),
        ((1 << 32) | 2, [[4, 5, 6], [7, 8, 9], [0, 0, 0]]),
        ((0 << 32) | 1, [[0, 1, 2], [0, 4, 5], [0, 7, 8]]),
        ((2 << 32) | 0, [[0, 0, 0], [2, 3, 0], [5, 6, 0]]),
    ],
)
def test_shift_moves_over_zeros(bits: int, moved: list[list[int]]) -> None:
    pixels = torch.arange(1, 10, dtype=torch.uint8).reshape(1, 1, 3, 3)
    assert shift(pixels, np.array([bits], np.uint64))[0, 0].tolist() == moved


@pytest.mark.parametrize(("side", "most"), [(8, 1), (28, 2), (32, 2), (48, 3)])
def test_shift_reaches_every_offset_up_to_a_fourteenth_of_the_side(side: int, most: int) -> None:
    pixels = torch.zeros(4000, 1, side, side, dtype=torch.uint8)
    pixels[:, 0, side // 2, side // 2] = 1
    moved = shift(pixels, random_bits(np.arange(4000), seed=0, epoch=0, stream=1))
    _, _, rows, columns = moved.nonzero(as_tuple=True)
    offsets = range(-most, most + 1)
    seen = set(zip((rows - side // 2).tolist(), (columns - side // 2).tolist(), strict=True))
    assert seen == {(y, x) for y in offsets for x in offsets}


@pytest.mark.parametrize("augmentation", [flip, shift])
def test_augmentation_leaves_its_input_and_the_global_generator_alone(augmentation) -> None:  # type: ignore[no-untyped-def]
    pixels = torch.arange(5 * 2 * 8 * 8).to(torch.uint8).reshape(5, 2, 8, 8)
    kept, state = pixels.clone(), torch.get_rng_state()
    augmented = augmentation(pixels, random_bits(np.arange(5), seed=0, epoch=0, stream=1))
    assert augmented.shape == pixels.shape
    assert augmented.dtype == torch.uint8
    assert torch.equal(pixels, kept)
    assert torch.equal(torch.get_rng_state(), state)

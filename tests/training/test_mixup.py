"""Mixup and CutMix: timm's own, drawn from the seed alone, the same for all frames of a sample."""

from typing import Any

import numpy as np
import pytest
import torch
from timm.data import Mixup

from hdlif.training import Mix

LABELS = torch.tensor([0, 3, 1, 2, 2, 1])


def mix(**changes: Any) -> Mix:
    return Mix(**{"classes": 4, "mixup_alpha": 0.8, "cutmix_alpha": 1.0, "prob": 1.0, "switch_prob": 0.5} | changes)


def images(frames: int = 1) -> torch.Tensor:
    return torch.randn(frames, 6, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def test_equals_timm_under_the_same_seed() -> None:
    x = images()
    for seed in range(6):
        np.random.seed([seed, 0])
        theirs = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.0, num_classes=4)
        expected, targets = theirs(x[0].clone(), LABELS)
        mixed, shares = mix()(x, LABELS, seed=seed)
        assert torch.equal(mixed[0], expected)
        assert torch.equal(shares, targets)
        assert not torch.equal(mixed, x)


def test_is_a_function_of_the_seed_and_leaves_numpy_and_the_images_alone() -> None:
    x = images()
    before, state = x.clone(), np.random.get_state()[1].copy()
    one, two, other = (mix()(x, LABELS, seed=seed) for seed in (2**40 + 1, 2**40 + 1, 2**41 + 1))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert not torch.equal(one[1], other[1])
    assert torch.equal(x, before)
    assert np.array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize(("of_mixup", "of_cutmix"), [(0.8, 0.0), (0.0, 1.0)])
def test_all_frames_of_a_sample_are_mixed_alike(of_mixup: float, of_cutmix: float) -> None:
    x, chosen = images(3), mix(mixup_alpha=of_mixup, cutmix_alpha=of_cutmix)
    mixed, shares = chosen(x, LABELS, seed=5)
    for t in range(3):
        frame, of_frame = chosen(x[t : t + 1], LABELS, seed=5)
        assert torch.equal(mixed[t], frame[0])
        assert torch.equal(shares, of_frame)

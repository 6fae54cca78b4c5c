"""Targets of mixed batches, and of a teacher."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from timm.data import Mixup
from torch import nn

from cases import every
from hdlif.errors import CheckpointError
from hdlif.training import Mix, Teacher, load_teacher

LABELS = torch.tensor([0, 3, 1, 2, 2, 1])


def mix(**changes: Any) -> Mix:
    return Mix(**{"classes": 4, "mixup_alpha": 0.8, "cutmix_alpha": 1.0, "prob": 1.0, "switch_prob": 0.5} | changes)


def images(frames: int = 1) -> torch.Tensor:
    return torch.randn(frames, 6, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def test_equals_timm_under_the_same_seed_and_leaves_numpy_and_the_images_alone() -> None:
    x = images()
    before, state = x.clone(), np.random.get_state()[1].copy()
    one, two, other = (mix()(x, LABELS, seed=seed) for seed in (2**40 + 1, 2**40 + 1, 2**41 + 1))
    assert all(map(torch.equal, one, two))
    assert not torch.equal(one[1], other[1])
    assert torch.equal(x, before)
    assert np.array_equal(np.random.get_state()[1], state)
    for seed in range(6):
        np.random.seed([seed, 0])
        theirs = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.0, num_classes=4)
        expected, targets = theirs(x[0].clone(), LABELS)
        mixed, shares = mix()(x, LABELS, seed=seed)
        assert torch.equal(mixed[0], expected)
        assert torch.equal(shares, targets)
        assert not torch.equal(mixed, x)


@every("of_mixup", "of_cutmix", of=[(0.8, 0.0), (0.0, 1.0)])
def test_all_frames_of_a_sample_are_mixed_alike(of_mixup: float, of_cutmix: float) -> None:
    x, chosen = images(3), mix(mixup_alpha=of_mixup, cutmix_alpha=of_cutmix)
    mixed, shares = chosen(x, LABELS, seed=5)
    for t in range(3):
        frame, of_frame = chosen(x[t : t + 1], LABELS, seed=5)
        assert torch.equal(mixed[t], frame[0])
        assert torch.equal(shares, of_frame)


class Looking(nn.Module):
    """Notes the images that it is shown; dropout tells training from evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []
        self.dropout = nn.Dropout(0.9)
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        return self.dropout(self.weight * x.mean((2, 3)))


def test_teacher_is_shown_pixels_as_it_takes_them_and_asked_without_a_graph() -> None:
    pixels = torch.rand(1, 4, 3, 6, 6)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.6, 0.7])
    x = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    looking = Looking().train()
    teacher = Teacher(looking, shown=(mean.tolist(), std.tolist()), taken=([0.5, 0.5, 0.5], [0.25, 0.5, 1.0]))
    labels = torch.tensor([0, 1, 2, 0])
    target = teacher.beside(x, labels)
    expected = (pixels[0] - 0.5) / torch.tensor([0.25, 0.5, 1.0]).view(3, 1, 1)
    torch.testing.assert_close(looking.seen[0], expected)
    assert target.shape == (4, 6)
    assert not target.requires_grad
    assert torch.equal(target[:, :3], F.one_hot(labels, 3).float())
    torch.testing.assert_close(target[:, 3:], expected.mean((2, 3)))
    assert len(looking.seen) == 1


def test_grey_image_is_repeated_and_resized() -> None:
    teacher = Teacher(looking := Looking(), shown=([0.0], [1.0]), taken=([0.0] * 3, [1.0] * 3), size=12)
    x = torch.rand(1, 2, 1, 6, 6)
    teacher.beside(x, torch.tensor([0, 1]))
    expected = F.interpolate(x[0], size=(12, 12), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(looking.seen[0], expected)


def test_weights_are_read_in_the_forms_that_training_programs_write(tmp_path: Path) -> None:
    tensors = nn.Linear(3, 2).state_dict()
    safetensors.torch.save_file(tensors, tmp_path / "net.safetensors")
    torch.save(tensors, tmp_path / "plain.pth")
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "wrapped.pth")
    torch.save({f"module.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "parallel.pth")
    for path in tmp_path.iterdir():
        load_teacher(path, target := nn.Linear(3, 2))
        assert torch.equal(target.weight, tensors["weight"]), path
    for content, words in (
        (nn.Linear(3, 5).state_dict(), "size mismatch for weight"),
        ([1, 2], "is not a state dict of the teacher"),
        (nn.Linear(3, 2), "contains objects other than tensors"),
    ):
        torch.save(content, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match=words):
            load_teacher(tmp_path / "x.pth", nn.Linear(3, 2))

"""The teacher: what it is shown, and the files that its weights come from."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from hdlif.errors import CheckpointError
from hdlif.training import Teacher, load_teacher


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
    looking = Looking()
    teacher = Teacher(looking, shown=([0.0], [1.0]), taken=([0.0] * 3, [1.0] * 3), size=12)
    x = torch.rand(1, 2, 1, 6, 6)
    teacher.beside(x, torch.tensor([0, 1]))
    expected = F.interpolate(x[0], size=(12, 12), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(looking.seen[0], expected)


@pytest.mark.parametrize("form", ["plain", "wrapped", "parallel", "safetensors"])
def test_weights_are_read_in_the_forms_that_training_programs_write(form: str, tmp_path: Path) -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    tensors = source.state_dict()
    path = tmp_path / ("net.safetensors" if form == "safetensors" else "net.pth")
    if form == "safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        named = {f"module.{name}": tensor for name, tensor in tensors.items()} if form == "parallel" else tensors
        torch.save({"state_dict": named, "epoch": 3} if form == "wrapped" else named, path)
    load_teacher(path, target)
    assert torch.equal(target.weight, source.weight)


def test_what_is_no_state_dict_of_the_teacher_is_refused(tmp_path: Path) -> None:
    for content, words in (
        (nn.Linear(3, 5).state_dict(), "size mismatch for weight"),
        ([1, 2], "is not a state dict of the teacher"),
        (nn.Linear(3, 2), "holds more than tensors"),
    ):
        torch.save(content, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match=words):
            load_teacher(tmp_path / "x.pth", nn.Linear(3, 2))

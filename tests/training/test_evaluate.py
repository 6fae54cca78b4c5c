"""Accuracy per step from the running sum of logits."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_accuracy

from hdlif.errors import DataError
from hdlif.training import evaluate
from hdlif.training.tasks import Classify


def classes(count: int = 5, *, time_steps: int) -> Classify:
    return Classify(tuple(map(str, range(count))), time_steps)


class Given(nn.Module):
    """Emits given logits [T, N, classes]; x holds the numbers of the images."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits
        self.child = nn.Dropout()
        self.modes: list[bool] = []

    def forward(self, x: Tensor, state: None = None, *, steps: range) -> tuple[Tensor, None]:
        self.modes += [self.training, self.child.training, torch.is_grad_enabled()]
        return self.logits[steps.start : steps.stop, x[0, :, 0].long()], None


def test_uneven_batches_weigh_images_alike_and_agree_with_torchmetrics() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(4, 10, 5), torch.randint(5, (10,))
    batches = [(torch.arange(10.0)[None, part, None], target[part]) for part in (slice(7), slice(7, 10))]
    result = evaluate(Given(logits), batches, task=classes(time_steps=4))
    for t, accuracy in enumerate(result.accuracy_per_step):
        oracle = multiclass_accuracy(logits[: t + 1].sum(0), target, num_classes=5, average="micro")
        assert accuracy == pytest.approx(oracle.item(), abs=1e-6)
    assert result.loss == pytest.approx(F.cross_entropy(logits.mean(0), target).item(), abs=1e-6)
    assert result.n == 10


def test_runs_in_eval_mode_without_gradients_and_gives_each_module_its_mode_back() -> None:
    model = Given(torch.zeros(1, 1, 2))
    model.train()
    model.child.eval()
    evaluate(model, [(torch.zeros(1, 1, 1), torch.zeros(1).long())], task=classes(time_steps=1))
    assert model.modes == [False, False, False]
    assert model.training
    assert not model.child.training


class Elsewhere:
    """Stands for a tensor that has to be moved before it is used."""

    def __init__(self, tensor: Tensor, moved: list[torch.device]) -> None:
        self.tensor, self.moved = tensor, moved

    def to(self, device: torch.device) -> Tensor:
        self.moved.append(device)
        return self.tensor


def test_images_and_targets_are_moved_to_the_device() -> None:
    moved: list[torch.device] = []
    batch = tuple(Elsewhere(tensor, moved) for tensor in (torch.zeros(1, 1, 1), torch.zeros(1).long()))
    there, model = torch.device("meta"), Given(torch.zeros(1, 1, 2))
    evaluate(model, [batch], task=classes(time_steps=1), device=there)  # type: ignore[list-item]
    assert moved == [there, there]


def test_no_image_is_refused() -> None:
    with pytest.raises(DataError, match="no sample"):
        evaluate(Given(torch.zeros(1, 1, 2)), [], task=classes(time_steps=1))

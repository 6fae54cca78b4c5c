"""Batch-norm statistics over all steps."""

import pytest
import torch
from torch import Tensor, nn

from hdlif.errors import DataError
from hdlif.nn import BatchNorm2d
from hdlif.training import reestimate, reestimated


class Growing(nn.Module):
    """x, 2x, 3x, ... over time, normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = BatchNorm2d(1, momentum=0.25)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor, state: None = None, *, steps: range) -> tuple[Tensor, None]:
        scale = torch.arange(1.0, len(steps) + 1).reshape(-1, 1, 1, 1, 1)
        return self.norm(self.dropout(x * scale), None, steps)


BATCHES = [
    (torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1), torch.zeros(2)),
    (torch.tensor([0.0, 8.0]).reshape(2, 1, 1, 1), torch.zeros(2)),
]


def test_statistics_are_the_mean_over_batches_and_steps() -> None:
    model = Growing().train()
    model.norm.running_mean.fill_(99)
    reestimate(model, BATCHES, time_steps=2)
    # Means 2, 4 and 4, 8; unbiased variances 2, 8 and 32, 128.
    assert model.norm.running_mean.item() == pytest.approx(4.5)
    assert model.norm.running_var.item() == pytest.approx(42.5)
    assert model.norm.num_batches_tracked.item() == 4
    assert model.norm.momentum == 0.25
    assert model.training
    assert model.norm.training


def test_training_statistics_come_back_after_a_failure_too() -> None:
    model = Growing()
    model.norm.running_mean.fill_(99)
    with reestimated(model, BATCHES, time_steps=2):
        assert model.norm.running_mean.item() == pytest.approx(4.5)
    assert model.norm.running_var.item() == 1

    def failing():  # type: ignore[no-untyped-def]
        yield BATCHES[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), reestimated(model, failing(), time_steps=2):
        pass
    with pytest.raises(ZeroDivisionError), reestimated(model, BATCHES, time_steps=2):
        raise ZeroDivisionError
    assert model.norm.running_mean.item() == 99
    assert model.norm.momentum == 0.25


def test_no_batch_is_refused_and_a_network_without_batch_norm_needs_none() -> None:
    with pytest.raises(DataError, match="no batch"):
        reestimate(Growing(), [], time_steps=2)
    reestimate(nn.Identity(), [], time_steps=2)

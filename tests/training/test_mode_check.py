"""The check, at the end of a training, that a network does as well in eval mode as in train mode."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from hdlif import STBP, Classify, Trainer, TrainingConfig
from hdlif.nn import HDLIF, Affine, BatchNorm2d, Sequential
from hdlif.training import Callback, Training

STEPS = 6


class Heard(Callback):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def on_log(self, training: Training, event: Mapping[str, Any]) -> None:
        if event["event"] == "message" and event["warning"]:
            self.warnings.append(event["line"])


def shifting(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Series [N, T, 1]: all rise by the same amount at each step, and the classes lie 0.2 apart."""
    draws = torch.Generator().manual_seed(0)
    classes = torch.arange(samples) % 2
    rise = 10.0 * torch.arange(STEPS)
    noise = 0.01 * torch.randn(samples, STEPS, generator=draws)
    return (rise + 0.2 * classes[:, None] + noise)[..., None], classes


def heard_of(norm: nn.Module, learning_rate: float = 0.05) -> tuple[list[str], nn.Module]:
    from hdlif.data import TensorSamples, over_time

    torch.manual_seed(0)
    network = Sequential(norm, nn.Linear(1, 16), HDLIF(time_steps=STEPS), nn.Linear(16, 2))
    samples, heard = TensorSamples(*shifting(64), frames=over_time), Heard()
    config = TrainingConfig(epochs=8, learning_rate=learning_rate)
    task = Classify(("low", "high"), STEPS)
    Trainer(network, rule=STBP(), task=task, config=config, callbacks=[heard], batch_size=16).fit(samples, samples)
    return heard.warnings, network


def test_statistics_that_steps_share_are_named_where_eval_mode_falls_behind() -> None:
    heard, network = heard_of(BatchNorm2d(1))
    (line,) = heard
    assert line.startswith("of 64 training samples, 5")
    assert line.endswith("set norm={kind: affine}, or norm={kind: batch_norm, per_step: true}")
    assert "100.0% in train mode: batch norm normalises each time step by its own batch" in line
    assert not network.training


@pytest.mark.parametrize(
    ("norm", "rate"), [(BatchNorm2d(1, time_steps=STEPS), 0.05), (Affine(1), 1e-4)], ids=["per_step", "affine"]
)
def test_nothing_is_said_where_both_modes_agree(norm: nn.Module, rate: float) -> None:
    assert heard_of(norm, rate)[0] == []


def test_the_check_leaves_statistics_and_random_numbers_as_they_were() -> None:
    from hdlif.training.validation import compared_modes

    norm = BatchNorm2d(1)
    network = Sequential(norm, nn.Dropout(0.5), nn.Linear(1, 2))
    x, target = shifting(8)
    before, drawn = [one.clone() for one in norm.buffers()], torch.get_rng_state()
    compared_modes(network, [(x.transpose(0, 1), target)], task=Classify(("a", "b"), STEPS), device=x.device)
    assert all(torch.equal(one, was) for one, was in zip(norm.buffers(), before, strict=True))
    assert torch.equal(torch.get_rng_state(), drawn)


def test_without_validation_samples_training_samples_are_measured_and_the_last_epoch_is_kept() -> None:
    from hdlif.data import TensorSamples, over_time

    class Kept(Callback):
        def __init__(self) -> None:
            self.n: list[int] = []
            self.best: list[bool] = []

        def on_validation_end(self, training: object, evaluation: object, *, best: bool) -> None:
            self.n.append(evaluation.n)  # type: ignore[attr-defined]
            self.best.append(best)

    kept = Kept()
    samples = TensorSamples(*shifting(64), frames=over_time)
    network = Sequential(nn.Linear(1, 4), HDLIF(time_steps=STEPS), nn.Linear(4, 2))
    config, task = TrainingConfig(epochs=3, learning_rate=1e-9), Classify(("low", "high"), STEPS)
    trainer = Trainer(network, rule=STBP(), task=task, config=config, callbacks=[kept], batch_size=16)
    fit = trainer.fit(samples, samples.first(0))
    assert (fit.best_epoch, kept.n, kept.best) == (3, [64] * 3, [True] * 3)

"""Accuracy per step, statistics over all steps, and the check that eval mode does as well as train mode."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_accuracy

from hdlif import STBP, Classify, Trainer, TrainingConfig
from hdlif.data import TensorSamples, over_time
from hdlif.errors import DataError
from hdlif.nn import HDLIF, Affine, BatchNorm2d, Sequential
from hdlif.training import Callback, Training, evaluate, reestimate, reestimated
from hdlif.training.tasks import Evaluation
from hdlif.training.validation import compared_modes


def classes(count: int, *, time_steps: int) -> Classify:
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
    result = evaluate(Given(logits), batches, task=classes(5, time_steps=4))
    for t, accuracy in enumerate(result.accuracy_per_step):
        oracle = multiclass_accuracy(logits[: t + 1].sum(0), target, num_classes=5, average="micro")
        assert accuracy == pytest.approx(oracle.item(), abs=1e-6)
    assert result.loss == pytest.approx(F.cross_entropy(logits.mean(0), target).item(), abs=1e-6)
    assert result.n == 10
    with pytest.raises(DataError, match="no sample"):
        evaluate(Given(logits), [], task=classes(5, time_steps=4))


def test_runs_in_eval_mode_without_gradients_and_gives_each_module_its_mode_back() -> None:
    model = Given(torch.zeros(1, 1, 2))
    model.train()
    model.child.eval()
    evaluate(model, [(torch.zeros(1, 1, 1), torch.zeros(1).long())], task=classes(5, time_steps=1))
    assert model.modes == [False, False, False]
    assert model.training
    assert not model.child.training


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
    with pytest.raises(DataError, match="no batch"):
        reestimate(Growing(), [], time_steps=2)
    reestimate(nn.Identity(), [], time_steps=2)


def test_training_statistics_come_back_after_a_failure_too() -> None:
    model = Growing()
    model.norm.running_mean.fill_(99)
    with reestimated(model, BATCHES, time_steps=2):
        assert model.norm.running_mean.item() == pytest.approx(4.5)
    assert model.norm.running_var.item() == 1

    def failing():  # type: ignore[no-untyped-def]
        yield BATCHES[0]
        raise KeyboardInterrupt

    for batches in (failing(), BATCHES):
        with pytest.raises(KeyboardInterrupt), reestimated(model, batches, time_steps=2):
            raise KeyboardInterrupt
    assert (model.norm.running_mean.item(), model.norm.momentum) == (99, 0.25)


STEPS = 6


class Heard(Callback):
    """Notes warnings, and what validations measured."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.validations: list[tuple[int, bool]] = []

    def on_log(self, training: Training, event: Mapping[str, Any]) -> None:
        if event["event"] == "message" and event["warning"]:
            self.warnings.append(event["line"])

    def on_validation_end(self, training: Training, evaluation: Evaluation, *, best: bool) -> None:
        self.validations.append((evaluation.n, best))


def shifting(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Series [N, T, 1]: all rise by the same amount at each step, and the classes lie 0.2 apart."""
    draws = torch.Generator().manual_seed(0)
    classes = torch.arange(samples) % 2
    rise = 10.0 * torch.arange(STEPS)
    noise = 0.01 * torch.randn(samples, STEPS, generator=draws)
    return (rise + 0.2 * classes[:, None] + noise)[..., None], classes


def fitted(norm: nn.Module, validation: int = 64, *, epochs: int = 8, learning_rate: float = 0.05) -> tuple[Any, Heard]:
    torch.manual_seed(0)
    network = Sequential(norm, nn.Linear(1, 16), HDLIF(time_steps=STEPS), nn.Linear(16, 2))
    samples, heard = TensorSamples(*shifting(64), frames=over_time), Heard()
    config, task = TrainingConfig(epochs=epochs, learning_rate=learning_rate), Classify(("low", "high"), STEPS)
    trainer = Trainer(network, rule=STBP(), task=task, config=config, callbacks=[heard], batch_size=16)
    fit = trainer.fit(samples, samples.first(validation))
    assert not network.training
    return fit, heard


def test_statistics_that_steps_share_are_named_where_eval_mode_falls_behind_alone() -> None:
    (line,) = fitted(BatchNorm2d(1))[1].warnings
    assert line.startswith("of 64 training samples, 5")
    assert "100.0% in train mode" in line
    assert fitted(BatchNorm2d(1, time_steps=STEPS))[1].warnings == []
    assert fitted(Affine(1), epochs=1, learning_rate=1e-4)[1].warnings == []


def test_the_check_leaves_statistics_and_random_numbers_as_they_were() -> None:
    norm = BatchNorm2d(1)
    network = Sequential(norm, nn.Dropout(0.5), nn.Linear(1, 2))
    x, target = shifting(8)
    before, drawn = [one.clone() for one in norm.buffers()], torch.get_rng_state()
    compared_modes(network, [(x.transpose(0, 1), target)], task=Classify(("a", "b"), STEPS), device=x.device)
    assert all(torch.equal(one, was) for one, was in zip(norm.buffers(), before, strict=True))
    assert torch.equal(torch.get_rng_state(), drawn)


def test_without_validation_samples_training_samples_are_measured_and_the_last_epoch_is_kept() -> None:
    fit, heard = fitted(nn.Identity(), validation=0, epochs=3, learning_rate=1e-9)
    assert (fit.best_epoch, heard.validations) == (3, [(64, True)] * 3)

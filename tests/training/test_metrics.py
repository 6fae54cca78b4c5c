"""Metrics that are asked for, in a training: after each epoch, on several ranks, and after a resume."""

import math
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torchmetrics import Metric

from cases import every
from hdlif.errors import InputError
from hdlif.recipe import TrainingConfig
from hdlif.training import Fit, checkpoint
from training import tiny
from training.several_ranks import METRICS, asking


def validations(out: Path) -> list[dict[str, Any]]:
    """The validations that metrics.jsonl tells of, without their times."""
    return [event for event in tiny.events(out) if event["event"] == "validation"]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Fit]:
    out = tmp_path_factory.mktemp("asked")
    return out, tiny.train(out, task=asking())


def test_each_epoch_is_measured_and_the_best_chosen_by_what_is_asked_for(asked: tuple[Path, Fit]) -> None:
    out, fit = asked
    found = validations(out)
    assert [event["metrics"].keys() for event in found] == tiny.EPOCHS * [{"accuracy", *METRICS}]
    errors = [event["metrics"]["ece"] for event in found]
    assert fit.best_epoch == errors.index(min(errors)) + 1
    assert fit.score == -fit.metrics["ece"]
    assert fit.metrics == found[fit.best_epoch - 1]["metrics"]
    board = EventAccumulator(str(out / "tensorboard"))
    board.Reload()
    assert [event.value for event in board.Scalars("validation/ece")] == pytest.approx(errors)


def test_a_resume_has_the_same_metrics_and_the_same_best_epoch(asked: tuple[Path, Fit], tmp_path: Path) -> None:
    tiny.stop(tmp_path, tiny.BATCHES + 2, task=asking())
    tiny.train(tmp_path, task=asking(), resume=True)
    assert tiny.same(tmp_path, asked[0])
    counters = [checkpoint.load(out / "last.safetensors")[1]["counters"] for out in (tmp_path, asked[0])]
    kept = ("best_epoch", "best_score", "best_loss", "score_epoch", "best_metrics")
    assert [counters[0][key] for key in kept] == [counters[1][key] for key in kept]


class Undefined(Metric):
    """A number in some epochs alone."""

    higher_is_better = True
    values: tuple[float, ...] = ()

    def update(self, predicted: Tensor, true: Tensor) -> None: ...

    def compute(self) -> float:
        # The first is of the trial.
        number, *Undefined.values = Undefined.values
        return number


def measuring(out: Path, *values: float, resume: bool = False, **changes: Any) -> Fit:
    """Train by a metric that has these values in the trial and then in each epoch."""
    Undefined.values = (0.0, *values)
    task = asking({"u": Undefined(compute_with_cache=False)}, best="u")
    return tiny.train(out, task=task, resume=resume, **changes)


@every(
    "values",
    "best",
    of=[
        ((math.nan, 0.25, math.nan), {2}),
        # Of equal ones, the one with the least loss.
        ((0.25, 0.25, 0.25), {1, 2, 3}),
        ((math.nan, math.nan, math.nan), {1, 2, 3}),
    ],
)
def test_the_best_epoch_has_the_best_number_and_of_equal_ones_the_least_loss(
    values: tuple[float, ...], best: set[int], tmp_path: Path
) -> None:
    fit = measuring(tmp_path, *values)
    losses = [event["loss"] for event in validations(tmp_path)]
    assert fit.best_epoch == min(best, key=lambda epoch: losses[epoch - 1])
    assert fit.metrics["u"] == pytest.approx(values[fit.best_epoch - 1], nan_ok=True)
    null = [None if math.isnan(value) else value for value in values]
    assert [event["metrics"]["u"] for event in validations(tmp_path)] == null
    # A training that goes on has read them from its files.
    again = measuring(tmp_path, resume=True)
    assert (again.best_epoch, again.score) == (fit.best_epoch, fit.score)


def test_an_equal_score_is_no_reason_for_patience(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=9, learning_rate=0.1, patience=2)
    fit = measuring(tmp_path, 0.25, 0.5, 0.5, 0.5, 0.5, config=config)
    losses = [event["loss"] for event in validations(tmp_path)]
    assert len(losses) == 4
    # The last of equal ones may be kept all the same.
    assert fit.best_epoch == 1 + min((1, 2, 3), key=lambda epoch: losses[epoch])


class FailsLate(Undefined):
    def compute(self) -> float:
        if len(Undefined.values) == 1:
            raise ZeroDivisionError("no sample of class 3")
        return super().compute()


def test_a_metric_that_fails_is_named(tmp_path: Path) -> None:
    Undefined.values = (0.0, 1.0)
    with pytest.raises(InputError, match=r"task\.metrics: u fails: ZeroDivisionError: no sample of class 3"):
        tiny.train(tmp_path, task=asking({"u": FailsLate()}, best=None), epochs=1)

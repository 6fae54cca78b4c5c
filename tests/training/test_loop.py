"""The loop: what it writes and measures, what a resume needs, and what it refuses."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torchmetrics import Metric

import own_parts
from cases import every
from hdlif.data import batches
from hdlif.errors import CheckpointError, DataError, InputError, TrainingError
from hdlif.learning import StochasticStep
from hdlif.recipe import TrainingConfig
from hdlif.training import Fit, checkpoint, evaluate
from hdlif.training.tasks import Classify
from training.several_ranks import METRICS, asking
from training.tiny import BATCHES, EPOCHS, TIME_STEPS, At, crash, events, same, tiny_network, tiny_sets, train


def test_two_runs_are_the_same_a_resume_of_one_changes_nothing_and_the_callers_random_numbers_are_left_alone(
    straight: Path, tmp_path: Path
) -> None:
    model = tiny_network()
    torch.manual_seed(12345)
    before = torch.get_rng_state()
    first = train(tmp_path, model=model)
    assert same(tmp_path, straight)
    assert torch.equal(torch.get_rng_state(), before)
    again = train(tmp_path, resume=True)
    assert again.threads.count == first.threads.count
    assert replace(again, threads=first.threads) == first
    assert same(tmp_path, straight)


def test_metrics_tell_of_every_window_and_epoch(straight: Path) -> None:
    seen = [(e["event"], e["epoch"], e["step"]) for e in events(straight)]
    first = [("train", 1, 4), ("train", 1, 5), ("validation", 1, 5), ("train", 2, 8)]
    assert seen[:4] == first
    assert seen[-1] == ("validation", EPOCHS, EPOCHS * BATCHES)
    validation = events(straight)[2]
    assert len(validation["accuracy_per_step"]) == TIME_STEPS
    assert validation["accuracy"] == validation["accuracy_per_step"][-1]
    # Warm-up over one epoch of five batches: the last factor of the first window is 4/5.
    assert events(straight)[0]["learning_rate"] == pytest.approx(0.1 * 4 / 5)


def test_model_is_the_best_epoch_with_statistics_over_all_steps(straight_fit: tuple[Path, Fit, nn.Module]) -> None:
    straight, result, model = straight_fit
    validations = [e for e in events(straight) if e["event"] == "validation"]
    assert result.metrics["accuracy"] == max(e["accuracy"] for e in validations)
    best = max(validations, key=lambda event: (event["accuracy"], -event["loss"]))
    assert result.best_epoch == best["epoch"]
    assert list(result.per_step) == best["accuracy_per_step"]
    loaded = tiny_network()
    record = checkpoint.load_model(straight / "model.safetensors", loaded)
    assert record == {
        "recipe": {"seed": 7, "training": {"epochs": EPOCHS}},
        "epoch": result.best_epoch,
        "accuracy": result.metrics["accuracy"],
    }
    for one, two in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    assert not model.training
    x, target = tiny_sets().validation.sequence(torch.arange(20))
    # Without dropout and at fixed statistics, a batch's size changes nothing but rounding.
    again = evaluate(loaded, [(x, target)], task=Classify(tuple(map(str, range(10))), TIME_STEPS))
    assert again.accuracy == result.metrics["accuracy"]
    # All T steps of all images, whatever the rule had run.
    assert loaded.norm.num_batches_tracked.item() == BATCHES * TIME_STEPS


def test_an_optimiser_whose_state_no_checkpoint_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"KeepsMatrix keeps 'matrix' of shape \[2, 2, 2, 2, 2\]"):
        train(tmp_path, optimizer=lambda model: own_parts.KeepsMatrix(model.parameters(), lr=0.01))


def test_train_seconds_add_up_over_resumes(stopped: Path) -> None:
    path = stopped / "last.safetensors"
    tensors, record = checkpoint.load(path)
    record["counters"]["train_seconds"] = 1000.0
    checkpoint.save(path, tensors=tensors, record=record)
    assert 1000 < train(stopped, resume=True).train_seconds < 1060
    assert json.loads((stopped / "metrics.jsonl").read_text().splitlines()[-1])["seconds"] > 1000


def test_data_order_follows_seed_and_epoch_and_leaves_the_remainder_out(tmp_path: Path) -> None:
    sets = tiny_sets()
    read, seen = sets.train.batch, []

    def note(indices: Tensor) -> tuple[Tensor, Tensor]:
        seen.append((sets.train.epoch, indices.tolist()))
        return read(indices)

    # Batch norm is measured on a copy, which would note as well.
    plain = sets.train.plain()
    with patch.multiple(sets.train, batch=note, plain=lambda: plain):
        train(tmp_path, sets=sets, epochs=2, batch_size=24)
    expected = [
        (epoch, part.tolist())
        for epoch in range(2)
        for part in batches(80, batch_size=24, seed=7, epoch=epoch, drop_last=True)
    ]
    assert seen == expected
    assert len(seen) == 6


def damaged(path: Path) -> None:
    path.write_bytes(b"?" + path.read_bytes()[1:])


def leave_model_alone(out: Path) -> None:
    (out / "last.safetensors").replace(out / "model.safetensors")
    (out / "previous.safetensors").unlink()


OTHER = {"record": {"seed": 9, "training": {"epochs": EPOCHS}}}


@every(
    "spoil",
    "arguments",
    "message",
    of=[
        (lambda out: (out / "best.safetensors").replace(out / "last.safetensors"), {}, "not a training state"),
        (lambda out: (out / "best.safetensors").unlink(), {}, r"best\.safetensors: is missing"),
        (lambda out: damaged(out / "best.safetensors"), {}, r"best\.safetensors: is damaged"),
        (lambda out: (out / "metrics.jsonl").unlink(), {}, r"metrics\.jsonl: is missing"),
        (lambda out: damaged(out / "metrics.jsonl"), {}, r"metrics\.jsonl: is damaged"),
        (leave_model_alone, {}, r"no last\.safetensors"),
        (lambda out: None, OTHER, r"seed = 7, but the recipe has 9"),
        (lambda out: None, {"batch_size": 1000}, "do not fill one batch"),
    ],
)
def test_what_cannot_be_resumed_is_refused_at_once_and_left_as_it_is(
    spoil: Callable[[Path], object],
    arguments: dict[str, Any],
    message: str,
    stopped: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    out = shutil.copytree(stopped, tmp_path_factory.mktemp("refused") / "run")
    spoil(out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises((CheckpointError, DataError), match=message):
        train(out, **{"resume": True, "rule": At(0, crash, StochasticStep()), **arguments})
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def validations(out: Path) -> list[dict[str, Any]]:
    """The validations that metrics.jsonl tells of, without their times."""
    return [event for event in events(out) if event["event"] == "validation"]


def test_each_epoch_is_measured_and_the_best_chosen_by_what_is_asked_for(tmp_path: Path) -> None:
    fit = train(tmp_path, task=asking())
    found = validations(tmp_path)
    assert [event["metrics"].keys() for event in found] == EPOCHS * [{"accuracy", *METRICS}]
    errors = [event["metrics"]["ece"] for event in found]
    assert fit.best_epoch == errors.index(min(errors)) + 1
    assert fit.score == -fit.metrics["ece"]
    assert fit.metrics == found[fit.best_epoch - 1]["metrics"]
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [event.value for event in board.Scalars("validation/ece")] == pytest.approx(errors)


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
    return train(out, task=task, resume=resume, **changes)


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
        train(tmp_path, task=asking({"u": FailsLate()}, best=None), epochs=1)

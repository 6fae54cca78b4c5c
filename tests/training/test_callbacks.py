"""What callbacks may do to a training, what is refused of them, and what a training shows."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hdlif.errors import InputError, TrainingError
from hdlif.learning import SLTT, STBP, Rule, StochasticStep
from hdlif.recipe import TrainingConfig
from hdlif.training import (
    ActivityPenalty,
    Batch,
    BestInMemory,
    Callback,
    Checkpoints,
    Patience,
    Trainer,
    Training,
    progress_bar,
)
from hdlif.training.activity import Surplus
from hdlif.training.tasks import Classify, LabelSequence, Multilabel, Regress
from hdlif.training.trainer import with_criterion
from training.tiny import BATCH_SIZE, BATCHES, TIME_STEPS, events, tiny_network, tiny_sets, train

CONFIG = TrainingConfig(epochs=1, learning_rate=0.05)


def fit(*callbacks: Callback, config: TrainingConfig = CONFIG) -> tuple[Trainer, Any]:
    sets = tiny_sets()
    trainer = Trainer(
        tiny_network(),
        rule=StochasticStep(),
        task=Classify(sets.classes, TIME_STEPS),
        config=config,
        callbacks=callbacks,
        batch_size=BATCH_SIZE,
    )
    return trainer, trainer.fit(sets.train, sets.validation)


def test_without_files_the_model_is_that_of_the_best_epoch() -> None:
    kept: dict[str, Tensor] = {}

    class Spoiling(Callback):
        """Lets the network answer 0 to all after the first epoch, at a great loss: later ones are no better."""

        def on_validation_end(self, training: Training, evaluation: object, *, best: bool) -> None:
            if best:
                kept.update({name: value.clone() for name, value in training.model.state_dict().items()})

        def on_epoch_end(self, training: Training, evaluation: object) -> None:
            with torch.no_grad():
                training.model.out.bias[0] = 1e3

    trainer, found = fit(Spoiling(), config=TrainingConfig(epochs=2, learning_rate=1e-6))
    assert found.best_epoch == 1
    assert all(torch.equal(value, kept[name]) for name, value in trainer.model.state_dict().items())


class Stops(Callback):
    """Stops a training after so many epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_start(self, training: Training) -> None:
        training.should_stop = self.epochs == 0

    def on_epoch_end(self, training: Training, evaluation: object) -> None:
        training.should_stop = True


def test_should_stop_ends_a_training_after_the_current_epoch(tmp_path: Path) -> None:
    _, found = fit(Stops(1), config=TrainingConfig(epochs=3, learning_rate=0.05))
    assert found.steps == BATCHES
    for beside in ([], [Checkpoints(tmp_path, recipe={})]):
        with pytest.raises(TrainingError, match="no epoch was run"):
            fit(Stops(0), *beside)


def test_callbacks_without_meaning_are_refused() -> None:
    with pytest.raises(ValueError, match="epochs = 0; patience is of 1 epoch or more"):
        Patience(0)
    with pytest.raises(InputError, match="two callbacks have a penalty on activity"):
        fit(ActivityPenalty(Surplus(0.1)), ActivityPenalty(Surplus(0.2)))


class Keeps(Callback):
    """Keeps a state, and notes what it is given back."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state, self.loaded = state, None

    def state_dict(self) -> Mapping[str, Any]:
        return self.state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.loaded = {name: value.tolist() if isinstance(value, Tensor) else value for name, value in state.items()}


def test_a_callback_gets_back_what_it_kept_and_nothing_else(tmp_path: Path) -> None:
    states = [{"counters": [1], "weight": torch.arange(3)}, {"counters": "other"}, {}]
    fit(*map(Keeps, states), Checkpoints(tmp_path, recipe={}))
    again = [Keeps({}) for _ in (*states, "one more")]
    # A finished training is taken up, also where the best network is kept in memory too.
    _, found = fit(*again, Checkpoints(tmp_path, recipe={}, resume=True), BestInMemory())
    assert found.best_epoch == 1
    assert [one.loaded for one in again] == [{"counters": [1], "weight": [0, 1, 2]}, {"counters": "other"}, {}, {}]
    for unkept in ({"loss": float("nan")}, {"loss": [torch.zeros(1)]}, {"loss": object()}):
        with pytest.raises(TrainingError, match=r"^Keeps: "):
            fit(Keeps(unkept), Checkpoints(tmp_path, recipe={}))


def test_a_batch_that_a_callback_returns_takes_the_place_of_the_first() -> None:
    class Constant(Callback):
        def on_batch_start(self, training: Training, batch: Batch) -> Batch:
            return Batch(torch.zeros_like(batch.x), batch.target, batch.answers)

    class Sees(Callback):
        def on_batch_start(self, training: Training, batch: Batch) -> None:
            assert not batch.x.any()

    fit(Constant(), Sees())


def test_a_rule_with_the_default_criterion_gets_the_tasks() -> None:
    rules: tuple[Rule, ...] = (STBP(), SLTT(), StochasticStep())
    tasks = LabelSequence(("a", "b"), 3), Multilabel(("a", "b"), 3), Regress(("a",), 3, (0.0,), (1.0,))
    for rule, task in zip(rules, tasks, strict=True):
        found, expected = with_criterion(rule, task).criterion, task.criterion()  # type: ignore[attr-defined]
        assert repr(found) == repr(expected)
    mine = STBP(criterion=lambda outputs, target: outputs.sum())
    assert with_criterion(mine, Multilabel(("a", "b"), 3)) is mine


def test_progress_is_shown_on_standard_error_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Rich knows a terminal where there is none.
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    for name in ("shown", "hidden"):
        with progress_bar(enabled=name == "shown") as bar:
            train(tmp_path / name, epochs=1, progress=bar)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "shown" in printed.err
    assert "accuracy" in printed.err
    assert f"{BATCHES}/{BATCHES}" in re.sub(r"\x1b\[[\d;]*m", "", printed.err)
    assert "epoch 1" not in printed.err
    assert "hidden" not in printed.err


def test_where_there_is_no_terminal_each_epoch_is_a_line_and_many_samples_left_out_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for size, left_out in ((64, 16), (25, 5)):
        out = tmp_path / str(size)
        with progress_bar(enabled=True) as bar:
            train(out, batch_size=size, epochs=2, cores=0, progress=bar)
        printed = capsys.readouterr()
        assert printed.out == ""
        lines = printed.err.splitlines()
        # A tenth or more is told of.
        told = [line for line in lines if "leaves 0 out" in line]
        assert len(told) == (left_out >= 8), size
        validated = [event for event in events(out) if event["event"] == "validation"]
        for line, event in zip((line for line in lines if line not in told), validated, strict=True):
            assert line.startswith(f"{size}: epoch {event['epoch']} of 2: ")
            assert f"validation accuracy {event['accuracy']:.1%}, " in line

"""What callbacks may do to a training, and what is refused of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hdlif.errors import InputError, TrainingError
from hdlif.learning import SLTT, STBP, Rule, StochasticStep
from hdlif.recipe import TrainingConfig
from hdlif.training import ActivityPenalty, Batch, BestInMemory, Callback, Checkpoints, Patience, Trainer, Training
from hdlif.training.activity import Surplus
from hdlif.training.tasks import Classify, LabelSequence, Multilabel, Regress
from hdlif.training.trainer import with_criterion
from training.tiny import TIME_STEPS, tiny_network, tiny_sets

CONFIG = TrainingConfig(epochs=1, learning_rate=0.05)


def fit(*callbacks: Callback, config: TrainingConfig = CONFIG) -> tuple[Trainer, Any]:
    sets = tiny_sets()
    trainer = Trainer(
        tiny_network(),
        rule=StochasticStep(),
        task=Classify(sets.classes, TIME_STEPS),
        config=config,
        callbacks=callbacks,
        batch_size=32,
    )
    return trainer, trainer.fit(sets.train, sets.validation)


def test_without_files_the_model_is_that_of_the_best_epoch() -> None:
    class Spoiling(Callback):
        """Lets the network answer 0 to all after the first epoch, at a great loss: later ones are no better."""

        kept: dict[str, Tensor]

        def on_validation_end(self, training: Training, evaluation: object, *, best: bool) -> None:
            if best:
                self.kept = {name: value.clone() for name, value in training.model.state_dict().items()}

        def on_epoch_end(self, training: Training, evaluation: object) -> None:
            with torch.no_grad():
                training.model.classifier.bias[0] = 1e3

    spoiling = Spoiling()
    trainer, found = fit(spoiling, config=TrainingConfig(epochs=2, learning_rate=1e-6))
    assert found.best_epoch == 1
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, spoiling.kept[name])


def test_a_finished_training_is_taken_up_beside_a_copy_in_memory(tmp_path: Path) -> None:
    for _ in range(2):
        _, found = fit(Checkpoints(tmp_path, recipe={}, resume=True), BestInMemory())
    assert found.best_epoch == 1


class Stops(Callback):
    """Stops a training after so many epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_start(self, training: Training) -> None:
        training.should_stop = training.counters.epoch >= self.epochs

    def on_epoch_end(self, training: Training, evaluation: object) -> None:
        training.should_stop = training.counters.epoch + 1 >= self.epochs


def test_should_stop_ends_a_training_after_the_current_epoch(tmp_path: Path) -> None:
    _, found = fit(Stops(1), config=TrainingConfig(epochs=3, learning_rate=0.05))
    assert found.steps == 10
    for beside in ([], [Checkpoints(tmp_path, recipe={})]):
        with pytest.raises(TrainingError, match="no epoch was run"):
            fit(Stops(0), *beside)
    with pytest.raises(ValueError, match="epochs = 0; patience is of 1 epoch or more"):
        Patience(0)


class Keeps(Callback):
    """Keeps a state, and notes what it is given back."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state, self.loaded = state, None

    def state_dict(self) -> Mapping[str, Any]:
        return self.state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.loaded = state


def test_a_callback_gets_back_what_it_kept_and_nothing_else(tmp_path: Path) -> None:
    states = [{"counters": [1], "weight": torch.arange(3)}, {"counters": "other"}, {}]
    fit(*map(Keeps, states), Checkpoints(tmp_path, recipe={}))
    again = [Keeps({}) for _ in (*states, "one more")]
    fit(*again, Checkpoints(tmp_path, recipe={}, resume=True))
    for one, state in zip(again, [*states, {}], strict=True):
        assert {name: _plain(value) for name, value in one.loaded.items()} == {
            name: _plain(value) for name, value in state.items()
        }


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else value


def test_a_state_that_no_checkpoint_can_keep_is_refused_with_the_name_of_the_callback(tmp_path: Path) -> None:
    for state in ({"loss": float("nan")}, {"loss": [torch.zeros(1)]}, {"loss": object()}):
        with pytest.raises(TrainingError, match=r"^Keeps: "):
            fit(Keeps(state), Checkpoints(tmp_path, recipe={}))


def test_a_batch_that_a_callback_returns_takes_the_place_of_the_first(tmp_path: Path) -> None:
    class Constant(Callback):
        def on_batch_start(self, training: Training, batch: Batch) -> Batch:
            return Batch(torch.zeros_like(batch.x), batch.target, batch.answers)

    class Sees(Callback):
        def on_batch_start(self, training: Training, batch: Batch) -> None:
            assert not batch.x.any()

    fit(Constant(), Sees())


def test_two_penalties_are_refused() -> None:
    with pytest.raises(InputError, match="two callbacks have a penalty on activity"):
        fit(ActivityPenalty(Surplus(0.1)), ActivityPenalty(Surplus(0.2)))


def test_a_rule_with_the_default_criterion_gets_the_tasks() -> None:
    rules: tuple[Rule, ...] = (STBP(), SLTT(), StochasticStep())
    tasks = LabelSequence(("a", "b"), 3), Multilabel(("a", "b"), 3), Regress(("a",), 3, (0.0,), (1.0,))
    for rule, task in zip(rules, tasks, strict=True):
        found, expected = with_criterion(rule, task).criterion, task.criterion()  # type: ignore[attr-defined]
        assert repr(found) == repr(expected)
    mine = STBP(criterion=lambda outputs, target: outputs.sum())
    assert with_criterion(mine, Multilabel(("a", "b"), 3)) is mine

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
from hdlif.tasks import Classify, LabelSequence, Multilabel, Regress
from hdlif.training import ActivityPenalty, BestInMemory, Callback, Checkpoints, Patience, Trainer, Training
from hdlif.training.activity import Surplus
from hdlif.training.trainer import with_criterion
from training.tiny import TIME_STEPS, tiny_network, tiny_sets

NAME = next(name for name, _ in tiny_network().named_parameters())
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

        def validated(self, training: Training, evaluation: object, *, best: bool) -> None:
            if best:
                self.kept = {name: value.clone() for name, value in training.model.state_dict().items()}

        def epoch_done(self, training: Training, evaluation: object) -> None:
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
    def stops(self, training: Training) -> bool:
        return True


def test_a_training_that_a_callback_stops_before_its_first_epoch_says_so(tmp_path: Path) -> None:
    for beside in ([], [Checkpoints(tmp_path, recipe={})]):
        with pytest.raises(TrainingError, match="no epoch was run: a callback stops the training"):
            fit(Stops(), *beside)
    with pytest.raises(ValueError, match="epochs = 0; patience is of 1 epoch or more"):
        Patience(0)


class Keeps(Callback):
    def __init__(self, record: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> None:
        self._record, self._tensors = record, tensors or {}

    def record(self) -> Mapping[str, Any]:
        return self._record

    def tensors(self) -> Mapping[str, Tensor]:
        return self._tensors


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (Keeps({"counters": {}}), "Keeps keeps counters, which the training or another callback keeps too"),
        (Keeps({}, {f"model.{NAME}": torch.zeros(10)}), rf"Keeps keeps model\.{NAME}"),
        (Keeps({"loss": float("nan")}), "Keeps: its record .*; give plain values of JSON"),
        (Keeps({"loss": torch.zeros(1)}), "Keeps: its record .*; give plain values of JSON"),
    ],
)
def test_what_no_checkpoint_can_keep_is_refused_with_the_callbacks_name(
    callback: Callback, message: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=message):
        fit(callback, Checkpoints(tmp_path, recipe={}))


def test_two_penalties_are_refused() -> None:
    with pytest.raises(InputError, match="two callbacks have a penalty on activity"):
        fit(ActivityPenalty(Surplus(0.1)), ActivityPenalty(Surplus(0.2)))


def test_an_optimiser_by_name_asks_for_what_it_means() -> None:
    config = TrainingConfig.model_validate({"epochs": 1, "learning_rate": 0.1, "optimizer": {"kind": "adamw"}})
    with pytest.raises(InputError, match=r'config.optimizer = "adamw" is a name; .*build_optimization\(config\)'):
        fit(config=config)


@pytest.mark.parametrize("rule", [STBP(), SLTT(), StochasticStep()], ids=["stbp", "sltt", "random step"])
def test_a_rule_with_the_default_criterion_gets_the_tasks(rule: Rule) -> None:
    for task in (LabelSequence(("a", "b"), 3), Multilabel(("a", "b"), 3), Regress(("a",), 3, (0.0,), (1.0,))):
        found, expected = with_criterion(rule, task).criterion, task.criterion()  # type: ignore[attr-defined]
        assert repr(found) == repr(expected)
    mine = STBP(criterion=lambda outputs, target: outputs.sum())
    assert with_criterion(mine, Multilabel(("a", "b"), 3)) is mine

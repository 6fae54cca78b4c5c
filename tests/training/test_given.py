"""What `Trainer` takes from a user's own hands, what callbacks may do, what is refused, and what a training shows."""

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import ChainDataset, DataLoader, Dataset, Subset, TensorDataset

from cases import naming
from hdlif.data import DatasetSamples, TensorSamples, over_time
from hdlif.errors import DataError, HdlifError, InputError, ShapeError, TrainingError
from hdlif.learning import SLTT, STBP, Rule, StochasticStep
from hdlif.nn import HDLIF, Sequential
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
from hdlif.training.tasks import Classify, LabelSequence, Multilabel, Regress, Task
from hdlif.training.trainer import with_criterion
from training.tiny import BATCHES, events, train

T = 3
CLASSES = ("a", "b", "c")


def network(outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return Sequential(nn.Flatten(), nn.Linear(8, 16), HDLIF(T), nn.Linear(16, outputs))


def trainer(**changes: Any) -> Trainer:
    arguments: dict[str, Any] = {
        "rule": StochasticStep(),
        "task": Classify(CLASSES, T),
        "config": TrainingConfig(epochs=2, learning_rate=0.1),
        "batch_size": 8,
    }
    return Trainer(changes.pop("model", None) or network(), **(arguments | changes))


def numbers(count: int = 40) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    return torch.randn(count, 2, 4, generator=draws), torch.randint(3, (count,), generator=draws)


X, Y = numbers()
VALIDATION = numbers(16)


def trained(samples: Any) -> list[Tensor]:
    one = trainer()
    one.fit(samples, VALIDATION)
    return list(one.model.state_dict().values())


def test_the_same_numbers_train_alike_in_every_form() -> None:
    expected = trained((X, Y))
    for name, same in {
        "arrays": (X.numpy(), Y.numpy()),
        "other types": [X.double(), Y.int()],
        "TensorDataset": TensorDataset(X, Y),
        "Dataset": Subset(TensorDataset(X, Y), range(len(X))),
        "samples": TensorSamples(X, Y),
        "over time": TensorSamples(X[:, None].expand(-1, T, -1, -1), Y, frames=over_time),
        "backwards in memory": (X.flip(0).numpy()[::-1], Y),
        "big-endian": (X.numpy().astype(">f4"), Y),
    }.items():
        assert all(map(torch.equal, trained(same), expected)), name


class Noisy(Dataset[tuple[Any, int]]):
    """Draws from every generator there is."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return X[index].numpy() + np.float32(np.random.rand() + random.random()) + torch.rand(1).numpy(), int(Y[index])


def test_what_a_data_set_draws_is_a_function_of_seed_epoch_and_index() -> None:
    def states() -> list[Any]:
        return [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]  # type: ignore[union-attr]

    def drawn(samples: DatasetSamples, *indices: int) -> Tensor:
        return samples.batch(torch.tensor(indices))[0]

    samples, before = DatasetSamples(Noisy(), seed=3), states()
    together, alone = drawn(samples, 0, 1, 2, 3), drawn(samples, 2)
    assert torch.equal(together[2:3], alone)
    assert not torch.equal(drawn(DatasetSamples(Noisy(), seed=4), 2), alone)
    assert states() == before
    samples.workers = 1
    assert torch.equal(next(samples.sequences(4))[0][0], together)
    samples.set_epoch(1)
    assert not torch.equal(drawn(samples, 2), alone)


def items(*given: Any) -> Dataset[Any]:
    return Subset(given, range(len(given)))  # type: ignore[arg-type]


def test_what_is_no_data_is_refused() -> None:
    refused: list[tuple[Any, type[HdlifError], str]] = [
        (DataLoader(TensorDataset(X, Y)), InputError, "train is a DataLoader"),
        (ChainDataset([]), InputError, "train is a ChainDataset, an IterableDataset"),
        (X, InputError, "train is a tensor"),
        (X.numpy(), InputError, "train is an array"),
        (None, InputError, "train is None"),
        (list(zip(X, Y, strict=True)), InputError, "train is a list of 40"),
        ((X, "labels"), InputError, "train is a tuple of 2"),
        ((X, Y[:3]), ShapeError, r"train: x is .* and target torch.int64 \[3\]"),
        ((X, Y.float()), ShapeError, "train: target is torch.float32"),
        ((X.to(torch.complex64), Y), ShapeError, "train: x is a tensor, torch.complex64"),
        ((np.array(["a"] * 40), Y), ShapeError, "train: x is an array, <U1"),
        ((X, Y + 1), DataError, r"train: targets are 1\.\.3, but the task has 3 classes"),
        ((X, Y[:, None]), DataError, r"targets are torch.int64 \[40, 1\]"),
        ((X[:0], Y[:0]), DataError, "train has no samples"),
        ((X[:5], Y[:5]), DataError, "5 samples do not fill one batch of 8; lower batch_size to at most 5"),
        (TensorSamples(X, Y, frames=over_time), DataError, "train has 2 time steps"),
        (Dataset(), DataError, "train: Dataset: has no length"),
        (items(), DataError, "train: Subset: has no items"),
        (items(X[0]), DataError, "train: Subset, item 0: is a tensor"),
        (items((X[0], "cat")), ShapeError, "train: Subset, item 0: target is a str"),
        (items(*[(X[0], 1)] * 8, (X[0, 0], 1)), DataError, "Subset: x of item 8"),
        (items(*[(X[0], 1)] * 7, (X[0], 3)), DataError, "Subset, item 7: its target is outside"),
        (items(*[(X[0], 1)] * 7, (X[0], -1)), DataError, "Subset, item 7: its target is outside"),
    ]
    for given, kind, message in refused:
        with naming(message), pytest.raises(kind, match=message) as error:
            trainer(batch_size=9 if isinstance(given, Subset) and len(given) == 9 else 8).fit(given, VALIDATION)
        assert "data.batch_size" not in str(error.value)


class NeedsState(nn.Module):
    def forward(self, x: Tensor, state: Any, steps: range) -> Any:
        raise AssertionError


def test_arguments_of_other_types_are_refused() -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"rule": "stbp"}, "rule = 'stbp'"),
        ({"rule": STBP}, "rule = STBP, a class"),
        ({"task": "classify"}, "task = 'classify'"),
        ({"config": {"epochs": 1}}, "config = "),
        ({"callbacks": Callback()}, "callbacks = "),
        ({"callbacks": [print]}, r"callbacks\[0\] = "),
        ({"model": "resnet"}, "model = 'resnet'"),
        ({"model": nn.Sequential(nn.Flatten())}, r"hdlif.nn.Sequential\(\*model\)"),
        ({"model": nn.Linear(1, 1)}, "Linear.forward is called with"),
        ({"model": NeedsState()}, "NeedsState.forward .* 'state'"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"seed": "x"}, "seed = 'x'"),
        ({"threads": True}, "threads = True"),
    ]
    for changes, message in refused:
        with naming(message), pytest.raises(InputError, match=message):
            trainer(**changes)


def test_targets_that_do_not_fit_the_task_are_refused() -> None:
    sequence = LabelSequence(("a", "b", "c"), T)
    refused: list[tuple[Task, Tensor, str]] = [
        (sequence, torch.ones(40, T + 1).long(), "targets have 4 steps"),
        (sequence, torch.ones(40, T - 1).long(), "targets have 2 steps"),
        (Multilabel(("a", "b"), T), torch.full((40, 2), 3.7), "values other than 0 and 1"),
        (Regress(("a", "b"), T, (0.0, 0.0), (1.0, 1.0)), torch.full((40, 2), torch.nan), "not finite"),
    ]
    for task, target, words in refused:
        with naming(words), pytest.raises(DataError, match=words):
            trainer(model=network(len(task.outputs)), task=task).fit((X, target), (X, target))


class OneStep(nn.Linear):
    """Gives outputs [B, n], without time, or without a state."""

    alone = False

    def forward(self, x: Tensor, state: Any = None, steps: Any = None) -> Any:
        outputs = super().forward(x[0].flatten(1))
        return outputs[None] if self.alone else (outputs, None)


def test_outputs_are_compared_with_the_task_before_anything_is_learned(tmp_path: Path) -> None:
    each_step = (Y % 3)[:, None].expand(-1, T)
    for task, outputs, target in (
        (Classify(CLASSES, T), 2, Y),
        (Classify(CLASSES[:2], T), 5, Y % 2),
        (LabelSequence(CLASSES, T), 4, each_step),
    ):
        model = network(outputs)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with pytest.raises(InputError, match=rf"has {outputs} outputs, but the task has {len(task.outputs)}"):
            trainer(model=model, task=task, callbacks=[Checkpoints(tmp_path, recipe={})]).fit((X, target), (X, target))
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert list(tmp_path.iterdir()) == []
    model = OneStep(8, 3)
    for model.alone in (False, True):
        with pytest.raises(InputError, match=r"with outputs \[steps, batch, 3\]"):
            trainer(model=model).fit((X, Y), VALIDATION)


# Callbacks


def fit(*callbacks: Callback, epochs: int = 1, learning_rate: float = 0.05) -> tuple[Trainer, Any]:
    made = trainer(callbacks=callbacks, config=TrainingConfig(epochs=epochs, learning_rate=learning_rate))
    return made, made.fit((X, Y), VALIDATION)


def test_without_files_the_model_is_that_of_the_best_epoch() -> None:
    kept: dict[str, Tensor] = {}

    class Spoiling(Callback):
        """Lets the network answer 2 to all after the first epoch, at a great loss: later ones are no better."""

        def on_validation_end(self, training: Training, evaluation: object, *, best: bool) -> None:
            if best:
                kept.update({name: value.clone() for name, value in training.model.state_dict().items()})

        def on_epoch_end(self, training: Training, evaluation: object) -> None:
            with torch.no_grad():
                training.model.get_submodule("3").bias[2] = 1e3

    trainer, found = fit(Spoiling(), epochs=2, learning_rate=1e-6)
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
    _, found = fit(Stops(1), epochs=3)
    assert found.steps == len(X) // 8
    for beside in ([], [Checkpoints(tmp_path, recipe={})]):
        with pytest.raises(TrainingError, match="no epoch was run"):
            fit(Stops(0), *beside)


def test_callbacks_without_meaning_are_refused() -> None:
    with pytest.raises(ValueError, match="epochs = 0; patience must be at least 1 epoch"):
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
        told = [line for line in lines if "drops 0" in line]
        assert len(told) == (left_out >= 8), size
        validated = [event for event in events(out) if event["event"] == "validation"]
        for line, event in zip((line for line in lines if line not in told), validated, strict=True):
            assert line.startswith(f"{size}: epoch {event['epoch']} of 2: ")
            assert f"validation accuracy {event['accuracy']:.1%}, " in line

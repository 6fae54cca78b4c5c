"""What `Trainer` takes from a user's own hands, and what it says of what it does not."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from hdlif.data import DatasetSamples, TensorSamples, over_time
from hdlif.errors import DataError, HdlifError, InputError, ShapeError
from hdlif.learning import STBP, StochasticStep
from hdlif.nn import HDLIF, Sequential
from hdlif.recipe import TrainingConfig
from hdlif.tasks import Classify, LabelSequence, Multilabel, Regress, Task
from hdlif.training import Callback, Checkpoints, Fit, Trainer, Training

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


def numbers(count: int = 40, *shape: int) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    return torch.randn(count, *(shape or (2, 4)), generator=draws), torch.randint(3, (count,), generator=draws)


X, Y = numbers()
VALIDATION = numbers(16)


def weights(one: Trainer) -> list[Tensor]:
    return [value.clone() for value in one.model.state_dict().values()]


def trained(train: Any, **changes: Any) -> list[Tensor]:
    one = trainer(**changes)
    one.fit(train, VALIDATION)
    return weights(one)


@pytest.mark.parametrize(
    "same",
    [
        lambda: (X.numpy(), Y.numpy()),
        lambda: [X.double(), Y.int()],
        lambda: TensorDataset(X, Y),
        lambda: Subset(TensorDataset(X, Y), range(len(X))),
        lambda: TensorSamples(X, Y),
        lambda: TensorSamples(X[:, None].expand(-1, T, -1, -1), Y, frames=over_time),
    ],
    ids=["arrays", "other types", "TensorDataset", "Dataset", "samples", "over time"],
)
def test_the_same_numbers_train_alike_in_every_form(same: Callable[[], Any]) -> None:
    for one, other in zip(trained((X, Y)), trained(same()), strict=True):
        assert torch.equal(one, other)


def test_what_is_shown_step_by_step_differs_from_step_to_step() -> None:
    x = torch.arange(2 * T * 4.0).reshape(2, T, 4)
    shown, target = TensorSamples(x, Y[:2], frames=over_time).sequence(torch.tensor([1, 0]))
    assert torch.equal(shown, torch.stack([x[1], x[0]], 1))
    assert target.tolist() == Y[:2].flip(0).tolist()


class Noisy(Dataset[tuple[Any, int]]):
    """Draws from every generator there is."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return X[index].numpy() + np.float32(np.random.rand() + random.random()) + torch.rand(1).numpy(), int(Y[index])


def test_what_a_data_set_draws_is_a_function_of_seed_epoch_and_index() -> None:
    samples = DatasetSamples(Noisy(), seed=3)
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[union-attr]
    together, _ = samples.batch(torch.arange(4))
    alone, _ = samples.batch(torch.tensor([2]))
    assert torch.equal(together[2:3], alone)
    samples.workers = 1
    assert torch.equal(next(samples.sequences(4))[0][0], together)
    samples.set_epoch(1)
    assert not torch.equal(samples.batch(torch.tensor([2]))[0], alone)
    assert not torch.equal(DatasetSamples(Noisy(), seed=4).batch(torch.tensor([2]))[0], alone)
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[union-attr]
    assert torch.equal(after[0], before[0])
    assert after[1:] == before[1:]


class Stops(Callback):
    def learned(self, training: Training) -> None:
        if training.counters.step == 4:
            raise KeyboardInterrupt

    def due(self, training: Training) -> bool:
        return True


def test_a_training_on_a_data_set_that_draws_is_resumed_to_the_same_bytes(tmp_path: Path) -> None:
    def run(out: Path, *callbacks: Callback, resume: bool = False) -> Fit:
        kept = Checkpoints(out, recipe={}, resume=resume, every=0.0)
        return trainer(callbacks=[kept, *callbacks]).fit(Noisy(), VALIDATION)

    run(tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", Stops())
    run(tmp_path / "stopped", resume=True)
    found = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("straight", "stopped")]
    assert found[0] == found[1]


def test_values_and_labels_are_learned_from_tensors() -> None:
    config = TrainingConfig(epochs=1, learning_rate=0.01)
    values = torch.stack([X.mean((1, 2)), X.std((1, 2))], 1)
    regress = Regress(("mean", "std"), T, (0.0, 0.0), (1.0, 1.0))
    trainer(model=network(2), task=regress, config=config).fit((X, values), (X, values))
    labels = Multilabel(("up", "wide"), T)
    trainer(model=network(2), task=labels, config=config).fit((X, values > 0), (X, values > 0))


def test_a_fit_without_callbacks_tells_its_seconds() -> None:
    assert trainer().fit((X, Y), VALIDATION).train_seconds > 0


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        raise AssertionError


class Items(Dataset[Any]):
    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Unsized(Dataset[Any]):
    def __getitem__(self, index: int) -> Any:
        raise KeyError(index)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (DataLoader(TensorDataset(X, Y)), InputError, r"train is a DataLoader, .*\(loader.dataset\), and batch_size"),
        (Endless(), InputError, "train is a Endless, an IterableDataset"),
        (X, InputError, r"train is a tensor, torch.float32 \[40, 2, 4\]; give \(x, target\), two tensors or arrays, a"),
        (X.numpy(), InputError, r"train is an array, float32 \[40, 2, 4\]; give"),
        (None, InputError, "train is None; give"),
        (list(zip(X, Y, strict=True)), InputError, "train is a list of 40; give"),
        ((X, "labels"), InputError, "train is a tuple of 2; give"),
        (
            (X, Y[:3]),
            ShapeError,
            r"train: x is .* and target torch.int64 \[3\]; give x \[N, ...\] and a target for each",
        ),
        ((X, Y.float()), ShapeError, r"train: target is torch.float32 \[40\]; give whole numbers for classes"),
        ((X.to(torch.complex64), Y), ShapeError, r"train: x is a tensor, torch.complex64 .*; give .* real numbers"),
        ((np.array(["a"] * 40), Y), ShapeError, r"train: x is an array, <U1 \[40\]; give real numbers"),
        ((X, Y + 1), DataError, r"train: targets are 1..3, and the task has 3 classes; give 0..2"),
        (
            (X, Y[:, None]),
            DataError,
            r"targets are torch.int64 \[40, 1\]; Classify learns a class .* torch.int64 \[N\]",
        ),
        ((X[:0], Y[:0]), DataError, "train has no samples"),
        ((X[:5], Y[:5]), DataError, "5 samples do not fill one batch of 8; lower batch_size to at most 5"),
        (TensorSamples(X, Y, frames=over_time), DataError, "train is shown in 2 time steps, and .* time_steps = 3"),
        (Unsized(), DataError, r"train: Unsized: has no length \(.*\); give \(x, target\)"),
        (Items(), DataError, "train: Items: has no items"),
        (Items(X[0]), DataError, r"train: Items, item 0: is a tensor, .*; give \(x, target\)"),
        (Items((X[0], "cat")), ShapeError, "train: Items, item 0: target is a str; give a tensor or an array"),
        (Items(*[(X[0], 1)] * 8, (X[0, 0], 1)), DataError, r"Items: x of item 8 is \[4\], and of item \d \[2, 4\]"),
    ],
    # The same in every process, whatever the addresses of objects.
    ids=lambda value: value[:30] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_data_is_refused_in_one_line(given: Any, kind: type[HdlifError], message: str) -> None:
    with pytest.raises(kind, match=message) as refused:
        trainer(batch_size=9 if isinstance(given, Items) and len(given) > 1 else 8).fit(given, VALIDATION)
    assert "data.batch_size" not in str(refused.value)
    assert "image" not in str(refused.value)


class NeedsState(nn.Module):
    def forward(self, x: Tensor, state: Any, steps: range) -> Any:
        raise AssertionError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "stbp"}, r"rule = 'stbp'; give a rule, such as hdlif.STBP\(\)"),
        ({"rule": STBP}, r"rule = STBP, a class; give a rule, such as hdlif.STBP\(\)"),
        ({"task": "classify"}, r"task = 'classify'; give a task, such as hdlif.Classify\(classes, time_steps=4\)"),
        ({"config": {"epochs": 1}}, r"config = \{'epochs': 1\}; give one, for example hdlif.TrainingConfig"),
        ({"callbacks": Stops()}, "callbacks = .*; give a list, such as"),
        ({"callbacks": [print]}, r"callbacks\[0\] = .*; give one that derives from hdlif.training.Callback"),
        ({"model": "resnet"}, "model = 'resnet'; give a torch.nn.Module"),
        ({"model": nn.Sequential(nn.Flatten())}, r"Sequential of torch's, .*; give hdlif.nn.Sequential\(\*model\)"),
        ({"model": nn.Linear(1, 1)}, r"Linear.forward is called with \(x, steps=...\).* unexpected keyword .*'steps'"),
        ({"model": NeedsState()}, r"NeedsState.forward .* 'state'.*; give it forward\(self, x, state=None, steps=None"),
        ({"batch_size": 0}, "batch_size = 0; give a whole number of at least 1"),
        ({"seed": "x"}, "seed = 'x'; give a whole number of at least 0"),
        ({"threads": True}, "threads = True; give a whole number of at least 1"),
    ],
)
def test_arguments_of_other_types_are_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        trainer(**changes)


def test_arrays_of_any_order_are_taken() -> None:
    backwards, other = X.numpy()[::-1, :, ::-1], X.numpy().astype(">f4")
    for x in (backwards, other):
        trainer().fit((x, Y), VALIDATION)
    given = TensorSamples(backwards, Y).read(torch.arange(40))
    assert torch.equal(given, X.flip(0).flip(2))


@pytest.mark.parametrize(
    ("task", "target", "words"),
    [
        (LabelSequence(("a", "b", "c"), T), torch.ones(40, T + 1).long(), "targets have 4 steps, and the task has"),
        (LabelSequence(("a", "b", "c"), T), torch.ones(40, T - 1).long(), "targets have 2 steps, and the task has"),
        (Multilabel(("a", "b"), T), torch.full((40, 2), 3.7), "targets of labels hold other values than 0 and 1"),
        (Regress(("a", "b"), T, (0.0, 0.0), (1.0, 1.0)), torch.full((40, 2), torch.nan), "a value that is not finite"),
    ],
    ids=["more steps", "fewer steps", "labels", "not finite"],
)
def test_targets_that_do_not_fit_the_task_are_refused(task: Task, target: Tensor, words: str) -> None:
    with pytest.raises(DataError, match=words):
        trainer(model=network(len(task.outputs)), task=task).fit((X, target), (X, target))


@pytest.mark.parametrize("wrong", [3, -1])
def test_a_later_item_of_a_class_that_there_is_not_is_named(wrong: int) -> None:
    items = Items(*[(X[0], 1)] * 7, (X[0], wrong))
    with pytest.raises(DataError, match=r"Items, item 7: its target is outside 0..2, and the task has 3 classes"):
        trainer(batch_size=8).fit(items, VALIDATION)

"""What `Trainer` takes from a user's own hands, and what it says of what it does not."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from cases import naming
from hdlif.data import DatasetSamples, TensorSamples, over_time
from hdlif.errors import DataError, HdlifError, InputError, ShapeError
from hdlif.learning import STBP, StochasticStep
from hdlif.nn import HDLIF, Sequential
from hdlif.recipe import TrainingConfig
from hdlif.training import Callback, Checkpoints, Trainer
from hdlif.training.tasks import Classify, LabelSequence, Multilabel, Regress, Task

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


def trained(train: Any) -> list[Tensor]:
    one = trainer()
    one.fit(train, VALIDATION)
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


def test_what_is_no_data_is_refused() -> None:
    refused: list[tuple[Any, type[HdlifError], str]] = [
        (DataLoader(TensorDataset(X, Y)), InputError, "train is a DataLoader"),
        (Endless(), InputError, "train is a Endless, an IterableDataset"),
        (X, InputError, "train is a tensor"),
        (X.numpy(), InputError, "train is an array"),
        (None, InputError, "train is None"),
        (list(zip(X, Y, strict=True)), InputError, "train is a list of 40"),
        ((X, "labels"), InputError, "train is a tuple of 2"),
        ((X, Y[:3]), ShapeError, r"train: x is .* and target torch.int64 \[3\]"),
        ((X, Y.float()), ShapeError, "train: target is torch.float32"),
        ((X.to(torch.complex64), Y), ShapeError, "train: x is a tensor, torch.complex64"),
        ((np.array(["a"] * 40), Y), ShapeError, "train: x is an array, <U1"),
        ((X, Y + 1), DataError, r"train: targets are 1\.\.3, and the task has 3 classes"),
        ((X, Y[:, None]), DataError, r"targets are torch.int64 \[40, 1\]"),
        ((X[:0], Y[:0]), DataError, "train has no samples"),
        ((X[:5], Y[:5]), DataError, "5 samples do not fill one batch of 8; lower batch_size to at most 5"),
        (TensorSamples(X, Y, frames=over_time), DataError, "train is shown in 2 time steps"),
        (Dataset(), DataError, "train: Dataset: has no length"),
        (Items(), DataError, "train: Items: has no items"),
        (Items(X[0]), DataError, "train: Items, item 0: is a tensor"),
        (Items((X[0], "cat")), ShapeError, "train: Items, item 0: target is a str"),
        (Items(*[(X[0], 1)] * 8, (X[0, 0], 1)), DataError, "Items: x of item 8"),
        (Items(*[(X[0], 1)] * 7, (X[0], 3)), DataError, "Items, item 7: its target is outside"),
        (Items(*[(X[0], 1)] * 7, (X[0], -1)), DataError, "Items, item 7: its target is outside"),
    ]
    for given, kind, message in refused:
        with naming(message), pytest.raises(kind, match=message) as error:
            trainer(batch_size=9 if isinstance(given, Items) and len(given) == 9 else 8).fit(given, VALIDATION)
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
        (Multilabel(("a", "b"), T), torch.full((40, 2), 3.7), "other values than 0 and 1"),
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
        with pytest.raises(InputError, match=rf"has {outputs} outputs, and the task has {len(task.outputs)}"):
            trainer(model=model, task=task, callbacks=[Checkpoints(tmp_path, recipe={})]).fit((X, target), (X, target))
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert list(tmp_path.iterdir()) == []
    model = OneStep(8, 3)
    for model.alone in (False, True):
        with pytest.raises(InputError, match=r"with outputs \[steps, batch, 3\]"):
            trainer(model=model).fit((X, Y), VALIDATION)

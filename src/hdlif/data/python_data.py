"""Create samples from tensors, from arrays or from a map-style PyTorch data set."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from hdlif.data.augment import Augment
from hdlif.data.draws import random_bits
from hdlif.data.samples import DataSets, Frames, Samples, constant
from hdlif.errors import DataError, HdlifError, InputError, ShapeError, brief, first_line
from hdlif.inputs import Unreadable

ACCEPTED = "give (x, target), two tensors or arrays, a map-style torch.utils.data.Dataset or a hdlif.data.Samples"
_DRAWS_STREAM = 2**32
"""Random stream of a user's data set; augmentations use the streams from 1 on."""


class TensorSamples(Samples):
    """Samples from tensors or arrays in memory, converted to float32 but otherwise unchanged.

    >>> import numpy as np, torch
    >>> from hdlif.data import over_time
    >>> pictures = TensorSamples(torch.rand(8, 1, 28, 28), torch.zeros(8, dtype=torch.int64))
    >>> [list(part.shape) for part in pictures.sequence(torch.arange(4))]
    [[1, 4, 1, 28, 28], [4]]
    >>> gestures = TensorSamples(torch.rand(8, 10, 2, 32, 32), np.arange(8), frames=over_time)
    >>> [list(part.shape) for part in gestures.sequence(torch.arange(4))]
    [[10, 4, 2, 32, 32], [4]]

    Args:
        x: real numbers [N, ...].
        target: [N, ...] as in `tasks.Target`: whole numbers for classes, real numbers for values and labels.
        frames: makes the input for each step: `constant`, `over_time` for x [N, T, ...], or your own function from
            [B, ...] to [T, B, ...].
        augment, seed: as in `Samples`.
    Raises:
        ShapeError: x or target does not contain numbers, or they differ in length.
    """

    def __init__(
        self, x: Any, target: Any, *, frames: Frames = constant, augment: Augment | None = None, seed: int = 0
    ) -> None:
        self.x, labels = _numbers(x, "x"), as_target(_numbers(target, "target"))
        if self.x.ndim < 2 or labels.shape[:1] != self.x.shape[:1]:
            raise ShapeError(
                f"x is {_seen(self.x)} and target {_seen(labels)}; give x [N, ...] and a target for each of N samples"
            )
        super().__init__(labels, augment=augment, seed=seed)
        self.frames = frames

    def read(self, indices: Tensor) -> Tensor:
        """Return the inputs `x` [B, ...] at `indices`."""
        return self.x[indices]


class DatasetSamples(Samples):
    """Samples that are read on demand from a map-style data set with items (x, target).

    The random generators of torch, NumPy and Python are seeded for each item from (seed, epoch, index). The attribute
    `labels` contains a zero for each item as a placeholder.

    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from hdlif.data import DatasetSamples
    >>> samples = DatasetSamples(TensorDataset(torch.rand(8, 1, 28, 28), torch.arange(8)))
    >>> [list(part.shape) for part in samples.sequence(torch.arange(4))]
    [[1, 4, 1, 28, 28], [4]]

    Args:
        dataset: has a length and items (x, target) of one shape; x is a tensor, an array or a number.
        frames, seed: as in `TensorSamples`.
    Raises:
        DataError: the data set is empty, or an item cannot be used.
    """

    costly = True

    def __init__(self, dataset: Dataset[Any], *, frames: Frames = constant, seed: int = 0) -> None:
        self.dataset, self._name = dataset, type(dataset).__name__
        super().__init__(torch.zeros(length_of(dataset, self._name), dtype=torch.int64), seed=seed)
        self.frames = frames
        self.classes: int | None = None
        """The number of classes of targets, if known."""
        # Check now, not in the middle of a training run.
        self.example = self.batch(torch.arange(1))

    def read(self, indices: Tensor) -> Tensor:
        """Return the inputs `x` [B, ...] of the items at `indices`."""
        return self._items(indices)[0]

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs `x` as float32 [B, ...] and the targets as [B, ...]."""
        x, target = self._items(indices)
        return self.scale(x), target

    def _items(self, places: Tensor) -> tuple[Tensor, Tensor]:
        bits = random_bits(places.numpy(), seed=self.seed, epoch=self.epoch, stream=_DRAWS_STREAM)
        with _generators_kept():
            items = [self._item(place, int(bit)) for place, bit in zip(places.tolist(), bits, strict=True)]
        xs, targets = zip(*items, strict=True)
        target = as_target(self._stacked(targets, places, "target"), self._name)
        if self.classes is not None:
            self._check_classes(target, places, self.classes)
        return self._stacked(xs, places, "x"), target

    def _check_classes(self, target: Tensor, places: Tensor, classes: int) -> None:
        odd = ((target < 0) | (target >= classes)).reshape(len(target), -1).any(1).nonzero()
        if len(odd):
            raise DataError(
                f"{self._name}, item {int(places[odd[0]])}: its target is outside 0..{classes - 1}; the task has "
                f"{classes} classes"
            )

    def _item(self, place: int, seed: int) -> tuple[Tensor, Tensor]:
        torch.default_generator.manual_seed(seed >> 1)
        np.random.seed(seed & 0xFFFFFFFF)
        random.seed(seed)
        name = f"{self._name}, item {place}"
        x, target = read_item(self.dataset, place, name)
        return _numbers(x, f"{name}: x"), _numbers(target, f"{name}: target")

    def _stacked(self, tensors: Sequence[Tensor], places: Tensor, what: str) -> Tensor:
        for place, one in zip(places.tolist(), tensors, strict=True):
            if one.shape != tensors[0].shape:
                raise DataError(
                    f"{self._name}: {what} of item {place} has shape {list(one.shape)}, but that of item "
                    f"{int(places[0])} has {list(tensors[0].shape)}; give all items the same shape"
                )
        return torch.stack(list(tensors))


def length_of(dataset: Any, name: str) -> int:
    """Return the number of items in a data set. Raises `DataError` if the data set is empty."""
    try:
        length = len(dataset)
    # The user's own code, which may fail in any way.
    except Exception as error:
        raise DataError(f"{name}: has no length ({_said(error)}); give a map-style torch.utils.data.Dataset") from error
    if not length:
        raise DataError(f"{name}: has no items; give some")
    return length


def read_item(dataset: Any, index: int, name: str) -> tuple[Any, Any]:
    """Return an item (x, target) of a data set. Raises `DataError`."""
    try:
        item = dataset[index]
    except HdlifError:
        raise
    except Unreadable as error:
        raise DataError(f"{name}: {error}") from error
    # The user's own code, which may fail in any way.
    except Exception as error:
        raise DataError(f"{name}: cannot be read: {_said(error)}") from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(f"{name}: is {_kind(item)}; give (x, target)")
    return item[0], item[1]


def as_samples(given: object, name: str) -> Samples:
    """Convert training data to `Samples`.

    Inputs from a pair of tensors or a map-style data set are treated as constant over time.

    >>> import torch
    >>> from hdlif.data import as_samples
    >>> len(as_samples((torch.rand(8, 1, 28, 28), torch.arange(8)), "train"))
    8

    Args:
        given: `Samples`, a pair (x, target) of tensors or arrays, or a map-style data set of such pairs.
        name: the name of the data in errors, such as "train".
    Raises:
        InputError: `given` is not data, or has no order in which a stopped training run could resume.
        ShapeError, DataError: the tensors or items cannot be used.
    """
    if isinstance(given, Samples):
        return given
    if isinstance(given, DataLoader):
        raise InputError(
            f"{name} is a DataLoader, whose order cannot be restored to resume training; give its data set "
            "(loader.dataset), and give batch_size and seed to Trainer"
        )
    if isinstance(given, DataSets):
        raise InputError(f"{name} is a DataSets, which has three parts; give one, such as sets.train")
    if isinstance(given, IterableDataset):
        raise InputError(f"{name} is {_kind(given)}, an IterableDataset, whose items have no indices; {ACCEPTED}")
    try:
        if isinstance(given, TensorDataset) and len(given.tensors) == 2:
            return TensorSamples(*given.tensors)
        if isinstance(given, Dataset):
            return DatasetSamples(given)
        if isinstance(given, tuple | list) and [isinstance(one, Tensor | np.ndarray) for one in given] == [True, True]:
            return TensorSamples(*given)
    except (ShapeError, DataError) as error:
        raise type(error)(f"{name}: {error}") from error
    raise InputError(f"{name} is {_kind(given)}; {ACCEPTED}")


def as_target(target: Tensor, name: str = "") -> Tensor:
    """Convert an integer target to int64, and any other target to float32."""
    if target.dtype != torch.bool and not target.is_floating_point():
        return target.long()
    if target.ndim < 2:
        of = f"{name}: " if name else ""
        raise ShapeError(
            f"{of}target is {_seen(target)}; give whole numbers for classes, or [N, n] of n values or labels"
        )
    return target.float()


def _numbers(value: object, what: str) -> Tensor:
    """Convert a tensor, an array or a number to a CPU tensor without an autograd graph."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        # PyTorch accepts neither negative strides nor another byte order, and warns about read-only arrays.
        value = np.array(value, value.dtype.newbyteorder("="), order="C", copy=None)
        value = value if value.flags.writeable else value.copy()
    if isinstance(value, bool | int | float | np.ndarray | np.generic):
        try:
            value = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ShapeError(f"{what} is {_kind(value)}; give real numbers") from error
    if not isinstance(value, Tensor) or value.is_complex() or value.layout != torch.strided:
        raise ShapeError(f"{what} is {_kind(value)}; give a tensor or an array of real numbers")
    return value.detach().cpu()


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Save the states of the random generators of torch (CPU), NumPy and Python, and restore them on exit."""
    kept = torch.default_generator.get_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.default_generator.set_state(kept[0])
        np.random.set_state(kept[1])
        random.setstate(kept[2])


def _seen(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _kind(value: object) -> str:
    """Return a short description of a value for an error message."""
    if isinstance(value, Tensor):
        return f"a tensor, {_seen(value)}"
    if isinstance(value, np.ndarray):
        return f"an array, {value.dtype} {list(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return brief(value) if value is None else f"a {type(value).__name__}"

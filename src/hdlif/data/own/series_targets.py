"""What is learned of a series: its class, or one at each step; values, or those that come next; or labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.own.layout import in_order
from hdlif.errors import DataError, brief
from hdlif.inputs import Unreadable
from hdlif.inputs.arrays import parse_array, parse_labels
from hdlif.inputs.series import Floats, finite

if TYPE_CHECKING:
    from hdlif.data.own.recorded_series import Series

DEVIATION_OF_NONE = 1.0
"""Of what does not vary."""


@dataclass(frozen=True)
class Wanted:
    """What a recipe's section asks for beside series.

    Attributes:
        each_step: a class, or values, at each step.
        values: the names of values: of the columns of a recording, or of an array's last axis.
        labels: the names of labels, of which a series has any number: of an array's last axis.
        ahead: the values of the channels so many steps later, at each step.
    Raises:
        ValueError: two of them that do not go together, or that name nothing.
    """

    each_step: bool = False
    values: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    ahead: int | None = None

    def __post_init__(self) -> None:
        given = {key: getattr(self, key) for key in ("values", "labels", "ahead") if getattr(self, key) is not None}
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are learned one at a time; leave one of them out")
        if self.each_step and (self.labels is not None or self.ahead is not None):
            raise ValueError("each_step is of classes and of values; leave it out")
        for key in ("values", "labels"):
            names = given.get(key)
            if names is not None and (not names or len(set(names)) < len(names)):
                raise ValueError(f"{key} = {list(names)} is refused; name one or more, each once")
        if self.ahead is not None and self.ahead < 1:
            raise ValueError(f"ahead = {self.ahead} is refused; give 1 or more steps")

    @property
    def classes(self) -> bool:
        """Whether classes are learned, one of a series or one at each step."""
        return self.values is None and self.labels is None and self.ahead is None


ONE_CLASS = Wanted()
"""A class of each series."""


def array_targets(place: Path, content: bytes, wanted: Wanted, count: int, steps: int) -> list[Any]:
    """What y holds of each of `count` series: as `Series.target`; of one class each, that class.

    Raises:
        DataError: y has another shape, or holds what cannot be learned.
    """
    # By what is asked for, the axes behind the first.
    names = wanted.values or wanted.labels or ()
    shapes = [(count, *((steps,) if wanted.each_step else ()), *((len(names),) if names else ()))]
    if len(names) == 1:
        shapes.append(shapes[0][:-1])
    try:
        if wanted.classes and not wanted.each_step:
            return list(map(str, parse_labels(content)))
        y = parse_array(content)
        if y.shape not in shapes:
            named = f" for {', '.join(names)}" if names else ""
            raise Unreadable(f"it is {list(y.shape)}, and should be {list(shapes[0])}{named}")
        if wanted.classes:
            if y.dtype.kind not in "biu":
                raise Unreadable(f"it is {y.dtype}, and the classes of steps are integers")
            return [list(map(str, row)) for row in y.tolist()]
        y = finite(y).reshape(shapes[0])
        if wanted.labels and not np.isin(y, (0, 1)).all():
            raise Unreadable(f"it holds {brief(float(y[~np.isin(y, (0, 1))][0]))}, and a label is there, 1, or not, 0")
    except Unreadable as error:
        hint = f"; {TO_LEARN_VALUES.format('NAME')}" if wanted.classes and _holds_fractions(content) else ""
        raise DataError(f"{place}: y: {error}{hint}") from error
    return list(y)


TO_LEARN_VALUES = (
    "the labels look like values; to learn values: --set 'data.values=[{}]' --set 'task={{kind: regress}}'"
)


def values_hint(labels: Collection[str], name: str) -> str:
    """How to learn what is called `name` as values, where labels are numbers with fractions; nothing where not.

    >>> values_hint(["0.5", "2"], "load")[:28], values_hint(["1", "2"], "load"), values_hint(["0.5", "a"], "load")
    ('the labels look like values;', '', '')
    """
    try:
        values = [float(label) for label in set(labels)]
    except ValueError:
        return ""
    fractions = all(map(math.isfinite, values)) and not all(value.is_integer() for value in values)
    return TO_LEARN_VALUES.format(name) if fractions else ""


def _holds_fractions(content: bytes) -> bool:
    try:
        return parse_array(content).dtype.kind == "f"
    except Unreadable:
        return False


@dataclass(frozen=True)
class Learned:
    """The targets of a set of series.

    Attributes:
        names: of classes, values or labels.
        mean, std: of values, by which they are normalised.
        of: the target [...] of one series.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    of: Callable[[Series], Any]

    def tensor(self, chosen: Sequence[Series], like: Sequence[Series]) -> Tensor:
        """The targets of series [N, ...]; shaped as those of `like` where there are none."""
        stacked = [torch.as_tensor(self.of(one)) for one in (chosen or like[:1])]
        return torch.stack(stacked)[: len(chosen)]


Scale = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and deviation of each value."""


def learned(
    place: Path,
    wanted: Wanted,
    taken: Sequence[Series],
    training: Sequence[Series],
    scale: Scale | None,
    classes: tuple[str, ...],
) -> Learned:
    """What is learned of `taken`; values are normalised by a scale, or by that which is measured on `training`.

    Args:
        classes: in the order of the labels; by default those that there are.

    Raises:
        DataError: there is one class alone.
    """
    if wanted.values is not None or wanted.ahead is not None:
        mean, std = scale or measured([np.asarray(one.target).reshape(-1, len(one.names)) for one in training])
        shift, size = np.array(mean, np.float32), np.array(std, np.float32)
        return Learned(taken[0].names, mean, std, lambda one: (one.target - shift) / size)
    if wanted.labels is not None:
        return Learned(tuple(wanted.labels), (), (), lambda one: one.target)
    each = wanted.each_step
    classes = classes or classes_of(place, wanted, taken)
    number = {label: n for n, label in enumerate(classes)}
    if each:
        return Learned(classes, (), (), lambda one: np.array([number[label] for label in one.target]))
    return Learned(classes, (), (), lambda one: np.int64(number[one.label]))


def classes_of(place: Path, wanted: Wanted, taken: Sequence[Series]) -> tuple[str, ...]:
    """The classes of series, or of their steps. Raises `DataError` where there is one alone."""
    classes = in_order({label for one in taken for label in (one.target if wanted.each_step else [one.label])})
    if len(classes) < 2:
        raise DataError(f'{place}: all samples are of one class, "{classes[0]}"; there must be two or more')
    return classes


def measured(parts: Sequence[Floats]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each column of arrays [rows, columns], of exact sums, rounded to 6 significant digits."""
    count = sum(map(len, parts))
    mean, std = [], []
    for column in range(parts[0].shape[1]):
        columns: list[NDArray[np.float64]] = [part[:, column].astype(np.float64) for part in parts]
        middle = math.fsum(value for one in columns for value in one.tolist()) / count
        squares = math.fsum(value for one in columns for value in ((one - middle) ** 2).tolist())
        deviation = float(f"{math.sqrt(squares / count):.6g}")
        mean.append(float(f"{middle:.6g}"))
        std.append(deviation if deviation > np.finfo(np.float32).tiny else DEVIATION_OF_NONE)
    return tuple(mean), tuple(std)

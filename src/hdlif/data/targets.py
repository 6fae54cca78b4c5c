"""Read, normalise and describe the targets of samples."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.image_targets import Located
from hdlif.data.manifest import PARTS, Part, Sample
from hdlif.errors import DataError, brief, cut, some
from hdlif.inputs import Unreadable
from hdlif.inputs.arrays import parse_array, parse_labels
from hdlif.inputs.series import Floats, finite

LABELS = "labels"
"""Key in a JSON object that may list the names of its labels."""
Scale = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each value."""


@dataclass(frozen=True)
class Wanted:
    """The target that a recipe specifies; by default, one class per sample.

    Attributes:
        each_step: whether each step has a class or values.
        values, labels: names of values, or of labels; a sample has any number of labels.
        ahead: the target of each step is the channels of the time series this many steps later.
        located: kind of targets at places of an image; other targets are then impossible.
    Raises:
        ValueError: settings are incompatible or empty.
    """

    each_step: bool = False
    values: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    ahead: int | None = None
    located: Located | None = None

    def __post_init__(self) -> None:
        given = {key: getattr(self, key) for key in ("values", "labels", "ahead") if getattr(self, key) is not None}
        if given and self.located is not None:
            raise ValueError(f"{', '.join(given)} cannot be used with targets at places of an image; leave it out")
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} cannot be combined; leave one of them out")
        if self.each_step and (self.labels is not None or self.ahead is not None):
            raise ValueError("each_step applies to classes and values; leave it out")
        for key in ("values", "labels"):
            names = given.get(key)
            if names is not None and (
                not names or len(set(names)) < len(names) or not all(map(str.isprintable, names)) or "" in names
            ):
                raise ValueError(f"{key} = {list(names)} is refused; name one or more, each once")
        if self.ahead is not None and self.ahead < 1:
            raise ValueError(f"ahead = {self.ahead} is refused; give 1 or more steps")

    @property
    def classes(self) -> bool:
        """Whether the targets are classes, either of samples or of steps."""
        return self.values is None and self.labels is None and self.ahead is None and self.located is None

    @property
    def one_class(self) -> bool:
        """Whether the target is one class per sample."""
        return self.classes and not self.each_step

    @property
    def names(self) -> tuple[str, ...]:
        """The names of values or labels."""
        return tuple(self.values or self.labels or ())


@dataclass(frozen=True)
class Learned:
    """The targets of samples, with their names, scale and number of steps, and a function `of` that reads a target."""

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    of: Callable[[Any], Any]
    steps: int | None = None

    def tensor(self, chosen: Sequence[Sample], like: Sequence[Sample]) -> Tensor:
        """Return the targets [N, ...] of samples. Without samples, `like` determines the shape of the result."""
        return torch.from_numpy(np.array([self.of(one) for one in (chosen or like[:1])]))[: len(chosen)]


def learned(
    place: object,
    wanted: Wanted,
    taken: Sequence[Sample],
    training: Sequence[Sample],
    *,
    scale: Scale | None,
    classes: tuple[str, ...] = (),
    names: tuple[str, ...] = (),
) -> Learned:
    """Return the targets of the samples `taken`, with values normalised by `scale` or by the statistics of `training`.

    Args:
        classes: class names in label order.
        names: names of future values.
    Raises:
        DataError: targets at each step differ in length.
    """
    steps = _steps(place, taken) if wanted.each_step or wanted.ahead is not None else None
    if wanted.labels is not None or wanted.located is not None:
        return Learned(wanted.names or classes, (), (), lambda one: one.target)
    if not wanted.classes:
        names = wanted.names or names
        mean, std = scale or measured([one.target.reshape(-1, len(names)) for one in training])
        shift, size = np.array(mean, np.float32), np.array(std, np.float32)
        return Learned(names, mean, std, lambda one: (one.target - shift) / size, steps)
    number = {label: n for n, label in enumerate(classes)}
    if wanted.each_step:
        return Learned(classes, (), (), lambda one: np.array([number[label] for label in one.target]), steps)
    return Learned(classes, (), (), lambda one: number[one.label])


def _steps(place: object, taken: Sequence[Sample]) -> int:
    lengths = sorted({len(one.target) for one in taken})
    if len(lengths) > 1:
        raise DataError(f"{place}: targets have {lengths[0]} to {lengths[-1]} steps; give all the same number")
    return lengths[0]


def labels_of(one: Sample) -> Sequence[str]:
    """Return the classes of a sample's steps, or a list with the sample's single class."""
    return one.target if isinstance(one.target, list) else [one.label]


def classes_of(taken: Sequence[Sample]) -> tuple[str, ...]:
    """Return the sorted classes of the samples or of their steps."""
    return in_order({label for one in taken for label in labels_of(one)})


def in_order(labels: Collection[str]) -> tuple[str, ...]:
    """Sort classes as numbers if all classes are whole numbers, and otherwise as text.

    >>> in_order({"10", "9"}), in_order({"b", "10", "9"})
    (('9', '10'), ('10', '9', 'b'))
    """
    names = sorted(labels)
    if all(len(name) < 20 and name.removeprefix("-").isdecimal() and name.isascii() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(names)


def label_order(
    place: object, found: Sequence[str], outputs: Sequence[str] | None, *, new_classes: bool
) -> tuple[str, ...]:
    """Return class names in label order: the outputs of an existing network, then classes that only the data have.

    Args:
        found: the classes of the data, in the label order of a new network.
        outputs: the outputs of an existing network; None for a new network.
    Raises:
        DataError: the network lacks a class, and `new_classes` is false.
    """
    if outputs is None:
        return tuple(found)
    new = [name for name in found if name not in outputs]
    if new and not new_classes:
        seen = other_classes([*outputs, *new], outputs, "the network")
        raise DataError(f"{place} {seen}; give data of the network's classes ({some(list(outputs), 5)})")
    return (*outputs, *new)


def other_classes(found: Sequence[str], classes: Sequence[str], of: str) -> str:
    """Describe the differences between the classes in `found` and the `classes` of the data set named `of`.

    >>> other_classes(["a", "c"], ["a", "b"], "train")
    'lacks a class that train has (b) and has a class that train lacks (c)'
    >>> other_classes(["a", "c", "d"], ["a"], "train"), other_classes(["b", "a"], ["a", "b"], "train")
    ('has classes that train lacks: c, d', 'has the classes of train in another order')
    """
    missing, more = sorted(set(classes) - set(found)), sorted(set(found) - set(classes))
    said = [
        (f"{has} {'a class' if len(names) == 1 else 'classes'} that {of} {other}", some(list(map(cut, names)), 5))
        for has, other, names in (("lacks", "has", missing), ("has", "lacks", more))
        if names
    ]
    if len(said) == 1:
        return ": ".join(said[0])
    return " and ".join(f"{text} ({names})" for text, names in said) or f"has the classes of {of} in another order"


def measured(parts: Sequence[Floats]) -> Scale:
    """Compute each column's mean and standard deviation (1 if constant) from exact sums, to 6 significant digits."""
    count = sum(map(len, parts))
    mean, std = [], []
    for column in range(parts[0].shape[1]):
        columns: list[NDArray[np.float64]] = [part[:, column].astype(np.float64) for part in parts]
        middle = math.fsum(value for one in columns for value in one.tolist()) / count
        squares = math.fsum(value for one in columns for value in ((one - middle) ** 2).tolist())
        deviation = float(f"{math.sqrt(squares / count):.6g}")
        mean.append(float(f"{middle:.6g}"))
        std.append(deviation if deviation > np.finfo(np.float32).tiny else 1.0)
    return tuple(mean), tuple(std)


def digest_of(target: Any) -> str:
    """Return the hexadecimal SHA-256 of a target that is not a class, or "" if the target is None."""
    if target is None:
        return ""
    content = json.dumps(target) if isinstance(target, list) else f"{list(target.shape)} "
    numbers = b"" if isinstance(target, list) else np.ascontiguousarray(target, "<f4").tobytes()
    return hashlib.sha256(content.encode() + numbers).hexdigest()


def described(wanted: Wanted, targets: Learned, taken: Sequence[Sample], part_of: Sequence[Part]) -> dict[str, Any]:
    """Describe targets as JSON, or return an empty object for one class per sample, label maps or boxes.

    For values, the key "target" contains "names", "mean", "std", "least" and "most". For labels and classes of steps,
    the key "target" contains "names", and "counts" by name and split.
    """
    if wanted.one_class or wanted.located is not None:
        return {}
    said: dict[str, Any] = {"names": list(targets.names)}
    if targets.std:
        rows = np.concatenate([one.target.reshape(-1, len(targets.names)) for one in taken])
        ranges = {"least": rows.min(0).tolist(), "most": rows.max(0).tolist()}
        return {"target": said | {"mean": list(targets.mean), "std": list(targets.std)} | ranges}
    counts: dict[str, dict[Part, int]] = {name: {} for name in targets.names}
    for part in PARTS:
        there = [one.target for one, where in zip(taken, part_of, strict=True) if where == part]
        if wanted.classes:
            seen = Counter(label for steps in there for label in steps)
        else:
            have = np.array(there, np.int64).reshape(-1, len(targets.names)).sum(0)
            seen = Counter(dict(zip(targets.names, have.tolist(), strict=True)))
        for name in targets.names:
            counts[name][part] = seen[name]
    return {"target": said | {"counts": counts}}


TO_LEARN_VALUES = (
    "the labels look like values; to learn values: --set 'data.values=[{}]' --set 'task={{kind: regress}}'"
)


def values_hint(labels: Collection[str], name: str) -> str:
    """Return a hint on how to use `name` as a regression target if the labels are fractional numbers, and otherwise "".

    >>> values_hint(["0.5", "2"], "load")[:28], values_hint(["1", "2"], "load"), values_hint(["0.5", "a"], "load")
    ('the labels look like values;', '', '')
    """
    try:
        values = [float(label) for label in set(labels)]
    except ValueError:
        return ""
    fractions = all(map(math.isfinite, values)) and not all(value.is_integer() for value in values)
    return TO_LEARN_VALUES.format(name) if fractions else ""


def array_targets(place: Path, content: bytes, wanted: Wanted, count: int, steps: int) -> list[Any]:
    """Read the targets of `count` samples from an array file, with classes of samples as text. Raises `DataError`."""
    try:
        if wanted.one_class:
            return list(map(str, parse_labels(content)))
        y = _checked(parse_array(content), wanted, (count,), steps)
    except Unreadable as error:
        hint = f"; {TO_LEARN_VALUES.format('NAME')}" if wanted.classes and _holds_fractions(content) else ""
        raise DataError(f"{place}: y: {error}{hint}") from error
    return [list(map(str, row)) for row in y.tolist()] if wanted.classes else list(y)


def _holds_fractions(content: bytes) -> bool:
    try:
        return parse_array(content).dtype.kind == "f"
    except Unreadable:
        return False


def item_target(y: Any, wanted: Wanted, steps: int | None) -> Any:
    """Convert the target `y` of an item (x, y) to int64 [T] for classes of steps, or to float32 for values or labels.

    Args:
        steps: number of steps of x; None to use the steps of y.
    Raises:
        Unreadable: y has another shape, or cannot be used as a target.
    """
    try:
        array = y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else np.asarray(y)
    # The rows have different lengths, or NumPy does not support the tensor's type.
    except (ValueError, TypeError, RuntimeError) as error:
        raise Unreadable(f"it is {brief(y)}; expected an array") from error
    if array.dtype.kind not in "biuf":
        raise Unreadable(f"it is {brief(y)}; expected real numbers")
    found = _checked(array, wanted, (), steps)
    if wanted.classes and found.min() < 0:
        raise Unreadable(f"it contains {found.min()}; classes are whole numbers of at least 0")
    return found


def target_in(fields: Any, wanted: Wanted, label: str) -> tuple[str, Any]:
    """Read the class and target of a sample, as in `Sample`, from a mapping such as a JSON object.

    Args:
        label: the key of the class, or of the classes of the steps.
    Raises:
        Unreadable: a key is missing, or its value cannot be used as a target.
    """
    if not isinstance(fields, Mapping):
        raise Unreadable(f"it is {brief(fields)}; expected an object with keys")
    if wanted.one_class:
        return class_named(_under(fields, label)), None
    if wanted.classes:
        classes = _under(fields, label)
        if not isinstance(classes, list) or not classes:
            raise Unreadable(f"{brief(label)} is {brief(classes)}; expected a list with the class of each step")
        return "", [class_named(one) for one in classes]
    if wanted.labels is not None and LABELS in fields and not set(wanted.names) <= fields.keys():
        return "", has_of(fields[LABELS], wanted.names)
    columns = [_under(fields, name) for name in wanted.names]
    try:
        # Each name has a number, or a list with one number per step.
        given = np.stack([np.asarray(one) for one in columns], -1)
    except ValueError as error:
        raise Unreadable(f"{', '.join(wanted.names)} are {brief(columns)}, which differ in length") from error
    try:
        return "", item_target(given, wanted, None)
    except Unreadable as error:
        raise Unreadable(f"{', '.join(wanted.names)}: {error}") from error


def has_of(listed: Any, names: Sequence[str]) -> NDArray[np.float32]:
    """Convert a list of label names to float32 [L], with 1 for each listed label. Raises `Unreadable`."""
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise Unreadable(f"{brief(listed)} is not a list of names of labels")
    if odd := sorted(set(listed) - set(names)):
        raise Unreadable(f"{brief(odd[0])} is not one of the labels {', '.join(names)}")
    return np.array([name in listed for name in names], np.float32)


def class_named(value: Any) -> str:
    """Convert a class, which must be a whole number or a name, to text. Raises `Unreadable`."""
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value) or not str(value).isprintable():
        raise Unreadable(f"{brief(value)} is not a label, a whole number or a name")
    return str(value)


def _under(fields: Mapping[str, Any], key: str) -> Any:
    if key not in fields:
        raise Unreadable(f"it has no key {brief(key)}")
    return fields[key]


def _checked(y: NDArray[Any], wanted: Wanted, samples: tuple[int, ...], steps: int | None) -> NDArray[Any]:
    """Return the targets. Raises `Unreadable` if the shape of `y` does not match the samples, steps and names."""
    names = wanted.names
    if steps is None:
        steps = y.shape[len(samples)] if y.ndim > len(samples) else 1
    shapes = [(*samples, *((steps,) if wanted.each_step else ()), *((len(names),) if names else ()))]
    if len(names) == 1:
        shapes.append(shapes[0][:-1])
    if y.shape not in shapes or not y.size:
        named = f" for {', '.join(names)}" if names else ""
        raise Unreadable(f"its shape is {list(y.shape)}; expected {list(shapes[0])}{named}")
    if wanted.classes:
        if y.dtype.kind not in "biu":
            raise Unreadable(f"it is {y.dtype}; the classes of steps are integers")
        if y.dtype.kind == "u" and y.max() > np.iinfo(np.int64).max:
            raise Unreadable(f"it contains {y.max()}; classes are at most 2^63 - 1")
        return y.astype(np.int64)
    found = finite(y).reshape(shapes[0])
    if wanted.labels and not np.isin(found, (0, 1)).all():
        odd = float(found[~np.isin(found, (0, 1))][0])
        raise Unreadable(f"it contains {brief(odd)}; a label is 1 if present and 0 if absent")
    return found

"""Targets as data give them, made into what is learned: an array y, the y of one item, or an object with keys."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdlif.data.targets import TO_LEARN_VALUES, Wanted
from hdlif.errors import DataError, brief
from hdlif.inputs import Unreadable
from hdlif.inputs.arrays import parse_array, parse_labels
from hdlif.inputs.series import finite

LABELS = "labels"
"""The key of an object under which the names of its labels may be listed."""


def array_targets(place: Path, content: bytes, wanted: Wanted, count: int, steps: int) -> list[Any]:
    """What y holds of each of `count` samples: as `Series.target`; of one class each, that class.

    Raises:
        DataError: y has another shape, or holds what cannot be learned.
    """
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
    """What is learned of one item, (x, y): a class at each step, int64 [T]; values or labels, float32.

    Args:
        steps: of x; None where it has none of its own, and y says how many there are.
    Raises:
        Unreadable: y has another shape, or holds what cannot be learned.
    """
    try:
        array = y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else np.asarray(y)
    # Rows of several lengths, or a tensor of a type that arrays do not have.
    except (ValueError, TypeError, RuntimeError) as error:
        raise Unreadable(f"it is {brief(y)}, and no array") from error
    if array.dtype.kind not in "biuf":
        raise Unreadable(f"it is {brief(y)}, and real numbers are read")
    found = _checked(array, wanted, (), steps)
    if wanted.classes and found.min() < 0:
        raise Unreadable(f"it holds {found.min()}, and classes are whole numbers of at least 0")
    return found


def target_in(fields: Any, wanted: Wanted, label: str, steps: int | None = None) -> tuple[str, Any]:
    """Class and target, as `targets.Sample` has them, in an object with keys, such as a JSON file has.

    Args:
        label: the key of the class, or of those of the steps.
        steps: as of `item_target`.
    Raises:
        Unreadable: a key is not there, or has a value that cannot be learned.
    """
    if not isinstance(fields, Mapping):
        raise Unreadable(f"it is {brief(fields)}, and an object with keys is read")
    if wanted.one_class:
        return class_named(_under(fields, label)), None
    if wanted.classes:
        classes = _under(fields, label)
        if not isinstance(classes, list) or not classes:
            raise Unreadable(f"{brief(classes)} is under {brief(label)}, and the classes of the steps are a list")
        return "", [class_named(one) for one in classes]
    if wanted.labels is not None and LABELS in fields and not set(wanted.names) <= fields.keys():
        return "", has_of(fields[LABELS], wanted.names)
    columns = [_under(fields, name) for name in wanted.names]
    try:
        # Of each name a number, or a list of the steps.
        given = np.stack([np.asarray(one) for one in columns], -1)
    except ValueError as error:
        raise Unreadable(f"{', '.join(wanted.names)} are {brief(columns)}, of several lengths") from error
    try:
        return "", item_target(given, wanted, steps)
    except Unreadable as error:
        raise Unreadable(f"{', '.join(wanted.names)}: {error}") from error


def has_of(listed: Any, names: Sequence[str]) -> NDArray[np.float32]:
    """Which of the labels a list of names has: float32 [L] of 0 and 1. Raises `Unreadable`."""
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise Unreadable(f"{brief(listed)} is not a list of names of labels")
    if odd := sorted(set(listed) - set(names)):
        raise Unreadable(f"{brief(odd[0])} is none of the labels {', '.join(names)}")
    return np.array([name in listed for name in names], np.float32)


def class_named(value: Any) -> str:
    """A class, by a whole number or a name. Raises `Unreadable`."""
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value) or not str(value).isprintable():
        raise Unreadable(f"{brief(value)} is not a label, a whole number or a name")
    return str(value)


def _under(fields: Mapping[str, Any], key: str) -> Any:
    if key not in fields:
        raise Unreadable(f"it has no {brief(key)}")
    return fields[key]


def _checked(y: NDArray[Any], wanted: Wanted, samples: tuple[int, ...], steps: int | None) -> NDArray[Any]:
    """Targets of this shape: that of the samples, the steps and the names, as far as there are any.

    Raises:
        Unreadable: y has another shape, or holds what cannot be learned.
    """
    names = wanted.names
    if steps is None:
        steps = y.shape[len(samples)] if y.ndim > len(samples) else 1
    shapes = [(*samples, *((steps,) if wanted.each_step else ()), *((len(names),) if names else ()))]
    if len(names) == 1:
        shapes.append(shapes[0][:-1])
    if y.shape not in shapes or not y.size:
        named = f" for {', '.join(names)}" if names else ""
        raise Unreadable(f"it is {list(y.shape)}, and should be {list(shapes[0])}{named}")
    if wanted.classes:
        if y.dtype.kind not in "biu":
            raise Unreadable(f"it is {y.dtype}, and the classes of steps are integers")
        if y.dtype.kind == "u" and y.max() > np.iinfo(np.int64).max:
            raise Unreadable(f"it holds {y.max()}, and classes are at most 2^63 - 1")
        return y.astype(np.int64)
    found = finite(y).reshape(shapes[0])
    if wanted.labels and not np.isin(found, (0, 1)).all():
        odd = float(found[~np.isin(found, (0, 1))][0])
        raise Unreadable(f"it holds {brief(odd)}, and a label is there, 1, or not, 0")
    return found

"""A sample of numbers: a series, or a row of a table, with what is learned of it."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Self

from hdlif.data.own.manifest import Part
from hdlif.data.own.targets import Wanted
from hdlif.errors import DataError
from hdlif.inputs.series import Floats


@dataclass(frozen=True)
class Series:
    """One sample.

    Attributes:
        name: of the file that it is from, and where in it.
        unit: samples with the same one are in one part.
        values: float32 [T, C].
        part: where its folder says so.
        bytes, sha256: of the file that it is, or of its values in little-endian float32.
        target: what is learned, where that is not the label: the labels of the steps, values or labels [...].
        names: of values or labels.
    """

    name: str
    label: str
    unit: str
    values: Floats
    part: Part | None
    bytes: int
    sha256: str
    target: Any = None
    names: tuple[str, ...] = ()

    def learned(self, target: Any, wanted: Wanted) -> Self:
        """The sample with what is learned of it."""
        if wanted.one_class:
            return replace(self, label=target)
        return replace(self, target=target, names=wanted.names)


def of_values(name: str, label: str, unit: str | None, values: Floats, part: Part | None = None) -> Series:
    """A sample that is a part of a file, or of an array; kept together with equal ones where no unit is given."""
    content = values.astype("<f4").tobytes()
    digest = hashlib.sha256(content).hexdigest()
    return Series(name, label, digest if unit is None else unit, values, part, len(content), digest)


def with_next(place: object, name: str, unit: str | None, values: Floats, names: tuple[str, ...], ahead: int) -> Series:
    """A series without its last `ahead` steps, and what each channel is so many steps later."""
    if len(values) <= ahead:
        raise DataError(f"{place}: {name} has {len(values)} steps, and data.ahead = {ahead}; lower it")
    return replace(of_values(name, "", unit, values[:-ahead]), target=values[ahead:], names=names)


def numbered_channels(count: int) -> tuple[str, ...]:
    """What channels without names are called."""
    return tuple(f"channel {number}" for number in range(1, count + 1))

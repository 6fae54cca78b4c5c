"""Numbers of the user's own as a data set: checked, divided, measured, and made into sets."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from hdlif.data.found import Found
from hdlif.data.layout import in_order
from hdlif.data.manifest import PARTS, Entry, Manifest, Part
from hdlif.data.recorded_series import MOST_KEPT, Recorded, Series
from hdlif.data.samples import ImageSets
from hdlif.data.series_samples import SeriesSamples
from hdlif.data.shares import Shares, divided, rank
from hdlif.errors import DataError
from hdlif.inputs import series
from hdlif.ops import InputRecord

_DEVIATION_OF_NONE = 1.0
"""Of a channel that does not vary."""


def found_samples(
    place: Path,
    recorded: Recorded,
    shares: Shares,
    *,
    known: InputRecord | None,
    kind: Literal["series", "table"],
    classes: tuple[str, ...] = (),
) -> Found:
    """What a training has of samples that were read.

    Args:
        known: what a network that is there already takes; nothing is then measured.
        classes: in the order of the labels; by default those that there are.
    Raises:
        DataError: they are not all alike, of one class alone, other than the network takes, or too few to divide.
    """
    taken = _checked(place, recorded, known)
    classes = classes or in_order({one.label for one in taken})
    if len(classes) < 2:
        raise DataError(f'{place}: all is of one class, "{classes[0]}"; there must be two or more')
    part_of = _parts(place, recorded, shares)
    order = sorted(range(len(taken)), key=lambda number: (rank(taken[number].sha256, shares.seed), taken[number].name))
    parts: dict[Part, list[int]] = {part: [] for part in PARTS}
    for number in order:
        parts[part_of[number]].append(number)
    entries = [
        Entry(one.name, one.bytes, one.sha256, one.label, part) for one, part in zip(taken, part_of, strict=True)
    ]
    record = known or _measured(recorded, [taken[number] for number in parts["train"]], kind)
    return Found(
        place,
        record,
        classes,
        Manifest(tuple(entries)),
        _described(recorded, shares),
        _maker(taken, parts, record, classes),
    )


def _checked(place: Path, recorded: Recorded, known: InputRecord | None) -> list[Series]:
    """The samples. Raises `DataError` unless they are as long as one another, and as a network takes them."""
    taken = recorded.series
    first = taken[0]
    for one in taken:
        if len(one.values) != len(first.values):
            raise DataError(
                f"{place}: {first.name} has {len(first.values)} rows and {one.name} {len(one.values)}; cut them into "
                f"windows of one length: --set data.window={min(len(each.values) for each in taken)}"
            )
    steps, channels = first.values.shape
    if (size := 4 * len(taken) * steps * channels) > MOST_KEPT:
        raise DataError(
            f"{place}: {len(taken):,} series of {steps} steps and {channels} channels take {size:,} bytes, and at most "
            f"{MOST_KEPT:,} are kept; take fewer, or raise data.stride"
        )
    if known is not None and (channels, steps) != known.shape[:2]:
        raise DataError(
            f"{place}: its series have {steps} steps of {channels} channels, and the network takes {known.shape[1]} of "
            f"{known.shape[0]}; give series like those that it was trained on"
        )
    return taken


def _parts(place: Path, recorded: Recorded, shares: Shares) -> list[Part]:
    """The part of each sample: that of its folder, or one that its unit is in: a share of all, or of its class."""
    taken = recorded.series
    _check_groups(place, recorded)
    wanted = [part for part in PARTS if part not in recorded.parts]
    split_from: Part | None = "train" if recorded.parts else None
    divide = [number for number, one in enumerate(taken) if wanted and one.part == split_from]
    parts: dict[int, Part] = {}

    def in_class(number: int) -> str:
        return "" if recorded.grouped else taken[number].label

    for name, members in groupby(sorted(divide, key=in_class), key=in_class):
        numbers = list(members)
        found = divided([taken[number].unit for number in numbers], shares, wanted)
        if found is None:
            few = len({taken[number].unit for number in numbers})
            whose = f'class "{name}" has' if name else "there are"
            raise DataError(
                f"{place}: {whose} {few} of what is kept together (each {recorded.unit}), too few to take some for "
                f"{' and '.join(part for part in wanted if part != 'train')}; give more, or lower data.split"
                + ("" if recorded.unit != "stretch of one label" else ", or name a column of groups with data.group")
            )
        parts |= {number: found[taken[number].unit] for number in numbers}
    found_parts: list[Part] = [parts.get(number) or one.part or "train" for number, one in enumerate(taken)]
    trained = {one.label for one, part in zip(taken, found_parts, strict=True) if part == "train"}
    if absent := in_order({one.label for one in taken} - trained):
        raise DataError(
            f'{place}: class "{absent[0]}" is in no {recorded.unit} of the training part; try another split: '
            f"--set data.split={{seed: {shares.seed + 1}}}"
        )
    return found_parts


def _check_groups(place: Path, recorded: Recorded) -> None:
    """Raise `DataError` where the folders of parts put a group in two."""
    if not (recorded.grouped and recorded.parts):
        return
    part_of: dict[str, Part | None] = {}
    for one in recorded.series:
        if part_of.setdefault(one.unit, one.part) != one.part:
            raise DataError(
                f'{place}: "{one.unit}", a {recorded.unit}, is in {part_of[one.unit]} and in {one.part}; keep each in '
                "one of them"
            )


def _measured(recorded: Recorded, training: Sequence[Series], kind: str) -> InputRecord:
    """What a sample becomes: mean and deviation of each channel, of exact sums, rounded to 6 significant digits."""
    steps, channels = training[0].values.shape
    count = len(training) * steps
    mean, std = [], []
    for channel in range(channels):
        column = np.concatenate([one.values[:, channel] for one in training]).astype(np.float64)
        middle = math.fsum(column.tolist()) / count
        squares = math.fsum(((column - middle) ** 2).tolist())
        deviation = float(f"{math.sqrt(squares / count):.6g}")
        mean.append(float(f"{middle:.6g}"))
        std.append(deviation if deviation > np.finfo(np.float32).tiny else _DEVIATION_OF_NONE)
    return InputRecord(
        (channels, steps, 1),
        tuple(mean),
        tuple(std),
        kind=kind,
        resize="none",
        columns=recorded.channels or (),
        rates=recorded.rates,
        sound=recorded.sound,
    )


def _described(recorded: Recorded, shares: Shares) -> dict[str, Any]:
    taken = [part for part in PARTS[1:] if part not in recorded.parts]
    units = {one.unit for one in recorded.series}
    return {
        "layout": recorded.layout,
        "split": {part: getattr(shares, part) for part in taken} | ({"seed": shares.seed} if taken else {}),
        "samples": len(recorded.series),
        "channels": list(recorded.channels) if recorded.channels else None,
        **recorded.seen,
        "kept_together": {"what": recorded.unit, "count": len(units)},
        "groups": sorted(units) if recorded.grouped else None,
        "ignored": dict(recorded.passed_over),
    }


def _maker(
    taken: Sequence[Series], parts: Mapping[Part, Sequence[int]], record: InputRecord, classes: tuple[str, ...]
) -> Callable[[Sequence[str], int], ImageSets]:
    label_of = {label: number for number, label in enumerate(classes)}

    def samples(part: Part) -> SeriesSamples:
        chosen = [taken[number] for number in parts[part]]
        steps, channels = taken[0].values.shape
        values = np.stack([one.values for one in chosen]) if chosen else np.zeros((0, steps, channels), np.float32)
        labels = torch.tensor([label_of[one.label] for one in chosen], dtype=torch.int64)
        return SeriesSamples(torch.from_numpy(series.as_sample(values)), labels, mean=record.mean, std=record.std)

    def make(augment: Sequence[str], seed: int) -> ImageSets:
        train, validation, test = (samples(part) for part in PARTS)
        return ImageSets(train, validation, test, classes=classes, shape=record.shape, mean=record.mean, std=record.std)

    return make

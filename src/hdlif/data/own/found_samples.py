"""Numbers of the user's own as a data set: checked, divided, measured, and made into sets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from hdlif.data.augment import Augment
from hdlif.data.own.columns import leaving_out
from hdlif.data.own.found import Found, maker
from hdlif.data.own.manifest import Entry, Manifest, Part
from hdlif.data.own.one_series import Series
from hdlif.data.own.parts import by_part, parts_of, split_here
from hdlif.data.own.recorded_series import MOST_KEPT, STRETCH, Recorded
from hdlif.data.own.shares import Shares
from hdlif.data.own.targets import (
    Learned,
    Scale,
    Wanted,
    classes_of,
    described,
    digest_of,
    learned,
    measured,
    values_hint,
)
from hdlif.data.samples import ImageSets
from hdlif.data.series_samples import SeriesSamples
from hdlif.errors import DataError
from hdlif.inputs import series
from hdlif.ops import InputRecord

_FEWEST_RISING = 4
"""Rows of a sample from which one that rises at each is taken for a clock."""


def found_samples(
    place: Path,
    recorded: Recorded,
    shares: Shares,
    *,
    known: InputRecord | None,
    kind: Literal["series", "table"],
    wanted: Wanted,
    scale: Scale | None,
    classes: tuple[str, ...] = (),
) -> Found:
    """What a training has of samples that were read.

    Args:
        known: what a network that is there already takes; nothing is then measured.
        wanted: what is learned.
        scale: by which a network that is there already has its values normalised.
        classes: in the order of the labels; by default those that there are.
    Raises:
        DataError: they are not all alike, of one class alone, other than the network takes, or too few to divide.
    """
    taken = _checked(place, recorded, known, unequal=kind == "series" and wanted.one_class)
    if wanted.classes and not classes:
        classes = classes_of(place, wanted, taken)
    chosen = parts_of(
        place,
        taken,
        [one.unit for one in taken],
        shares,
        parts=recorded.parts,
        grouped=recorded.grouped,
        unit=recorded.unit,
        mend=", or name a column of groups: --set data.group=NAME" if recorded.unit == STRETCH else "",
        hint=values_hint([one.label for one in taken], "NAME"),
    )
    parts = by_part([one.sha256 for one in taken], [one.name for one in taken], chosen, shares.seed)
    entries = [
        Entry(one.name, one.bytes, one.sha256, one.label, part, digest_of(one.target))
        for one, part in zip(taken, chosen, strict=True)
    ]
    training = [taken[number] for number in parts["train"]]
    record = known or _measured(recorded, training, kind)
    lengths = {len(one.values) for one in taken}
    if known is None and len(lengths) > 1:
        record = replace(record, shape=(record.shape[0], max(lengths), 1), shortest=min(lengths))
    targets = learned(place, wanted, taken, training, scale=scale, classes=classes, names=taken[0].names)
    return Found(
        place,
        record,
        targets.names,
        Manifest(tuple(entries), recorded.left_out),
        {**_described(recorded, shares), **described(wanted, targets, taken, chosen)},
        _maker(taken, parts, record, targets),
        targets.mean,
        targets.std,
        targets.steps,
    )


def _checked(place: Path, recorded: Recorded, known: InputRecord | None, *, unequal: bool) -> list[Series]:
    """The samples. Raises `DataError` unless they are as a network takes them, and, if not `unequal`, of one length."""
    taken = recorded.series
    first = taken[0]
    least = min(len(one.values) for one in taken)
    for one in taken:
        if not unequal and len(one.values) != len(first.values):
            raise DataError(
                f"{place}: {first.name} has {len(first.values)} rows and {one.name} {len(one.values)}; cut them into "
                f"windows of one length: --set data.window={least}"
            )
    steps, channels = max(len(one.values) for one in taken), first.values.shape[1]
    if (size := 4 * len(taken) * steps * channels) > MOST_KEPT:
        raise DataError(
            f"{place}: {len(taken):,} series of {steps} steps and {channels} channels take {size:,} bytes, and at most "
            f"{MOST_KEPT:,} are kept; take fewer, or raise data.stride"
        )
    if known is not None and not (
        channels == known.shape[0] and (known.shortest or known.shape[1]) <= least <= steps <= known.shape[1]
    ):
        raise DataError(
            f"{place}: its series have {_range(least, steps)} steps of {channels} channels, and the network takes "
            f"{_range(known.shortest or known.shape[1], known.shape[1])} of {known.shape[0]}; give series like those "
            "that it was trained on"
        )
    return taken


def _range(least: int, most: int) -> str:
    return f"{most}" if least == most else f"{least} to {most}"


def _measured(recorded: Recorded, training: Sequence[Series], kind: str) -> InputRecord:
    """What a sample becomes: mean and deviation of each channel, of exact sums, rounded to 6 significant digits."""
    steps, channels = training[0].values.shape
    mean, std = measured([one.values for one in training])
    return InputRecord(
        (channels, steps, 1),
        mean,
        std,
        kind=kind,
        resize="none",
        columns=recorded.channels or (),
        rates=recorded.rates,
        windows=recorded.windows,
        sound=recorded.sound,
    )


def _described(recorded: Recorded, shares: Shares) -> dict[str, Any]:
    units, rising = {one.unit for one in recorded.series}, _always_rising(recorded)
    return {
        "layout": recorded.layout,
        "split": split_here(recorded.parts, shares),
        "samples": len(recorded.series),
        "channels": list(recorded.channels) if recorded.channels else None,
        **recorded.seen,
        "kept_together": {"what": recorded.unit, "count": len(units)},
        "groups": sorted(units) if recorded.grouped else None,
        "ignored": dict(recorded.passed_over),
        "warnings": [
            f"{name} rises from row to row all the time, as a clock or a counter does, and is not a reading; "
            f"{leaving_out(recorded.channels, rising)}"
            for name in rising
        ],
    }


def _always_rising(recorded: Recorded) -> list[str]:
    """The channels whose every row is above the one before, in every sample."""
    steps, channels = recorded.series[0].values.shape
    if recorded.sound is not None or steps < _FEWEST_RISING:
        return []
    rising = np.ones(channels, bool)
    for one in recorded.series:
        rising &= (np.diff(one.values, axis=0) > 0).all(0)
    names = recorded.channels or [f"channel {number}" for number in range(1, channels + 1)]
    return [str(name) for name, rises in zip(names, rising, strict=True) if rises]


def _maker(
    taken: Sequence[Series], parts: Mapping[Part, Sequence[int]], record: InputRecord, targets: Learned
) -> Callable[[Augment, int], ImageSets]:
    def samples(part: Part, augment: Augment, seed: int) -> SeriesSamples:
        chosen = [taken[number] for number in parts[part]]
        channels, steps, _ = record.shape
        # What follows the last step of a series is the mean, which is 0 when it is normalised.
        values = np.empty((len(chosen), steps, channels), np.float32)
        values[:] = np.array(record.mean, np.float32)
        for place, one in enumerate(chosen):
            values[place, : len(one.values)] = one.values
        labels, sample = targets.tensor(chosen, taken), torch.from_numpy(series.as_sample(values))
        if record.shortest:
            own = torch.tensor([len(one.values) for one in chosen], dtype=torch.int64)
            labels = torch.stack([labels, own], 1)
        return SeriesSamples(sample, labels, mean=record.mean, std=record.std, augment=augment, seed=seed)

    return maker(samples, record, targets.names)

"""Check, split and measure time series and table rows, and create data sets from them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from hdlif.data.arrays import Arrays
from hdlif.data.augment import Augment
from hdlif.data.columns import leaving_out
from hdlif.data.in_memory import SeriesSamples
from hdlif.data.manifest import PARTS, Part, Sample
from hdlif.data.own_data import Layout, OwnData, Request, divide
from hdlif.data.split import Shares, check_pattern, group_in, split_here
from hdlif.data.targets import Wanted, measured, values_hint
from hdlif.errors import DataError, reason
from hdlif.graph.graph import InputRecord, SoundRecord
from hdlif.inputs import Unreadable, series
from hdlif.inputs.resampling import resampled, resampled_length
from hdlif.inputs.series import Floats

MOST_KEPT = 2**31
"""Maximum size of all samples in bytes."""
STRETCH = "stretch of one label"
"""Unit of the split for a recording without groups in which each window has a single label."""
_FEWEST_RISING = 4
"""Minimum number of rows per sample for counting a channel that always rises as a clock."""


@dataclass(frozen=True)
class Recorded:
    """Numeric samples (time series or table rows) from a path.

    Attributes:
        layout, unit: descriptions of the layout, and of the unit that stays in one part.
        grouped: whether units, such as people, may be in several classes.
        channels, names: names of channels, if a header contains any, and of future values.
        parts: parts that have their own folder.
        ignored, skipped: counts of unused files or rows, and a list of unreadable or unsuitable files.
        rates, windows, sound: as in `InputRecord`.
        seen: other findings as JSON.
    """

    layout: str
    unit: str
    samples: list[Sample]
    grouped: bool = False
    channels: tuple[str, ...] | None = None
    parts: tuple[Part, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    rates: tuple[int, ...] = ()
    windows: tuple[int, ...] = ()
    sound: SoundRecord | None = None
    seen: Mapping[str, Any] = field(default_factory=lambda: {"window": None, "stride": None})
    skipped: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def of_values(
    name: str, label: str, unit: str | None, values: Floats, part: Part | None = None, target: Any = None
) -> Sample:
    """Create a sample from `values`; unless `unit` is given, samples with equal values stay in the same split."""
    content = values.astype("<f4").tobytes()
    digest = hashlib.sha256(content).hexdigest()
    return Sample(name, label, part, target, digest if unit is None else unit, len(content), digest, values)


def of_target(name: str, unit: str | None, values: Floats, target: Any, wanted: Wanted) -> Sample:
    """Create a sample from `values`, with `target` as a class or another target."""
    one_class = wanted.one_class
    return of_values(name, target if one_class else "", unit, values, target=None if one_class else target)


def with_next(
    place: object, name: str, unit: str | None, values: Floats, ahead: int, part: Part | None = None
) -> Sample:
    """Create a sample whose targets are the values of the channels `ahead` steps later."""
    if len(values) <= ahead:
        raise DataError(f"{place}: {name} has {len(values)} steps, but data.ahead = {ahead}; lower it")
    return of_values(name, "", unit, values[:-ahead], part, values[ahead:])


def numbered_channels(count: int) -> tuple[str, ...]:
    """Return numbered names for `count` unnamed channels."""
    return tuple(f"channel {number}" for number in range(1, count + 1))


def of_arrays(found: Arrays, unit: str, samples: list[Sample], **more: Any) -> Recorded:
    """Assign the splits and groups in `found` to the samples."""
    if found.parts is not None:
        samples = [replace(one, part=part) for one, part in zip(samples, found.parts, strict=True)]
    if found.groups is not None:
        samples = [replace(one, unit=group) for one, group in zip(samples, found.groups, strict=True)]
    return Recorded(
        found.layout,
        unit if found.groups is None else "group",
        samples,
        grouped=found.groups is not None,
        parts=tuple(part for part in PARTS if part in (found.parts or ())),
        **more,
    )


def of_layout(layout: Layout, request: Request) -> Recorded:
    """Read one time series from each .csv or .npy file, and match known columns by name."""
    columns, ahead = request.known.columns if request.known else (), request.ahead
    samples: list[Sample] = []
    channels = 0
    for number, one in enumerate(layout.files):
        try:
            values = series.parse_series(layout.source.encoded(number), Path(one.name).suffix.lower(), columns)
        except (OSError, Unreadable) as error:
            raise DataError(
                f"{layout.root}: {one.name}: cannot be read as a series ({reason(error)}); fix it"
            ) from error
        channels = channels or values.shape[1]
        if ahead is not None:
            samples.append(with_next(layout.root, one.name, None, values, ahead, one.part))
            continue
        if request.each_step and len(one.target) != len(values):
            raise DataError(
                f"{layout.root}: {one.name} has {len(values)} steps but {len(one.target)} targets; give "
                "one target for each step"
            )
        samples.append(of_values(one.name, one.label, None, values, one.part, one.target))
    names = () if ahead is None else numbered_channels(channels)
    return Recorded(layout.words, "series", samples, parts=layout.parts, ignored=layout.ignored, names=names)


def at_rates(place: Path, recorded: Recorded, rates: tuple[int, ...]) -> Recorded:
    """Resample each sample from the first rate in `rates` to the second, unless `rates` is empty."""
    if not rates:
        return recorded
    size = sum(4 * resampled_length(len(one.steps), *rates) * one.steps.shape[1] for one in recorded.samples)
    if size > MOST_KEPT:
        raise DataError(f"{place}: at data.resample its samples take {size:,} bytes of at most {MOST_KEPT:,}; lower it")
    samples = [replace(one, values=resampled(one.steps, *rates)) for one in recorded.samples]
    return replace(recorded, samples=samples, rates=rates)


def group_unit(place: Path, pattern: str | None) -> Callable[[Sample], str]:
    """Return a function that returns the group of a file, or "" if there is no pattern.

    Raises `ValueError` if the pattern is invalid, and `DataError` if a file does not match.
    """
    if pattern is None:
        return lambda one: ""
    check_pattern(pattern)

    def unit(one: Sample) -> str:
        if (found := group_in(pattern, one.below)) is None:
            raise DataError(
                f'{place}: {one.name} does not match data.group = "{pattern}"; give a pattern that matches every file'
            )
        return found

    return unit


def kept_together(group: str | None, otherwise: str) -> str:
    """Return the noun for a unit, such as a group, whose samples stay in the same split."""
    return f'group of "{group}"' if group else otherwise


def find_series_in(layout: Layout, request: Request) -> OwnData:
    """Create a data set from a `Layout` that lists one time series per file."""
    return find_samples(layout.root, of_layout(layout, request), request, kind="series", classes=layout.classes)


def find_samples(
    place: Path,
    recorded: Recorded,
    request: Request,
    *,
    kind: Literal["series", "table"],
    classes: tuple[str, ...] = (),
    rates: tuple[int, ...] = (),
) -> OwnData:
    """Create a data set from samples that are already in memory.

    Args:
        rates: sampling rates of the data and of the network, unless a network is known.
        classes: class names in label order; by default, all classes of the samples.
    Raises:
        DataError: samples differ in shape, have only one class, do not fit the network, or are too few to split.
    """
    known, wanted = request.known, request.wanted
    if kind == "series" and recorded.sound is None:
        if known is not None and known.sound is not None:
            raise DataError(
                f"{place}: contains sensor data, but the network takes audio; give a folder of .wav files by class"
            )
        recorded = at_rates(place, recorded, known.rates if known else rates)
    taken = recorded.samples
    _check_alike(place, recorded, known, unequal=kind == "series" and wanted.one_class)
    divided = divide(
        place,
        taken,
        request,
        parts=recorded.parts,
        grouped=recorded.grouped,
        unit=recorded.unit,
        classes=classes,
        names=recorded.names,
        skipped=recorded.skipped,
        fix=", or name a column of groups: --set data.group=NAME" if recorded.unit == STRETCH else "",
        hint=values_hint([one.label for one in taken], "NAME"),
    )
    record = known or _measured(recorded, divided.of("train"), kind)
    lengths = {len(one.steps) for one in taken}
    if known is None and len(lengths) > 1:
        record = replace(record, shape=(record.shape[0], max(lengths), 1), shortest=min(lengths))

    def samples(part: Part, augment: Augment, seed: int) -> SeriesSamples:
        chosen = divided.of(part)
        channels, steps, _ = record.shape
        # Pad time series with the mean, which is normalised to 0.
        values = np.empty((len(chosen), steps, channels), np.float32)
        values[:] = np.array(record.mean, np.float32)
        for number, one in enumerate(chosen):
            values[number, : len(one.steps)] = one.steps
        labels, sample = divided.labels(part), torch.from_numpy(series.as_sample(values))
        if record.shortest:
            own = torch.tensor([len(one.steps) for one in chosen], dtype=torch.int64)
            labels = torch.stack([labels, own], 1)
        return SeriesSamples(sample, labels, mean=record.mean, std=record.std, augment=augment, seed=seed)

    return divided.found(record, {**_described(recorded, request.shares), **divided.seen}, samples)


def _check_alike(place: Path, recorded: Recorded, known: InputRecord | None, *, unequal: bool) -> None:
    """Raise `DataError` if samples do not fit the network, or if they differ in length and `unequal` is false."""
    taken = recorded.samples
    first = taken[0]
    least = min(len(one.steps) for one in taken)
    for one in taken:
        if not unequal and len(one.steps) != len(first.steps):
            raise DataError(
                f"{place}: {first.name} has {len(first.steps)} rows and {one.name} {len(one.steps)}; cut them into "
                f"windows of one length: --set data.window={least}"
            )
    steps, channels = max(len(one.steps) for one in taken), first.steps.shape[1]
    if (size := 4 * len(taken) * steps * channels) > MOST_KEPT:
        raise DataError(
            f"{place}: {len(taken):,} time series of {steps} steps and {channels} channels take {size:,} bytes; at "
            f"most {MOST_KEPT:,} are supported; use fewer, or raise data.stride"
        )
    if known is not None and not (
        channels == known.shape[0] and (known.shortest or known.shape[1]) <= least <= steps <= known.shape[1]
    ):
        raise DataError(
            f"{place}: its series have {_range(least, steps)} steps of {channels} channels, but the network takes "
            f"{_range(known.shortest or known.shape[1], known.shape[1])} of {known.shape[0]}; give series like "
            "its training data"
        )


def _range(least: int, most: int) -> str:
    return f"{most}" if least == most else f"{least} to {most}"


def _measured(recorded: Recorded, training: Sequence[Sample], kind: str) -> InputRecord:
    """Return the input record with the mean and standard deviation of each channel in the training samples."""
    steps, channels = training[0].steps.shape
    mean, std = measured([one.steps for one in training])
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
    units, rising = {one.unit for one in recorded.samples}, _always_rising(recorded)
    return {
        "layout": recorded.layout,
        "split": split_here(recorded.parts, shares),
        "samples": len(recorded.samples),
        "channels": list(recorded.channels) if recorded.channels else None,
        **recorded.seen,
        "kept_together": {"what": recorded.unit, "count": len(units)},
        "groups": sorted(units) if recorded.grouped else None,
        "ignored": dict(recorded.ignored),
        "warnings": [
            *recorded.seen.get("warnings", ()),
            *(
                f"{name} rises in every row, like a clock or a counter, so it is probably not sensor data; "
                f"{leaving_out(recorded.channels, rising)}"
                for name in rising
            ),
        ],
    }


def _always_rising(recorded: Recorded) -> list[str]:
    """Return the channels whose values rise from each row to the next in every sample."""
    steps, channels = recorded.samples[0].steps.shape
    if recorded.sound is not None or steps < _FEWEST_RISING:
        return []
    rising = np.ones(channels, bool)
    for one in recorded.samples:
        rising &= (np.diff(one.steps, axis=0) > 0).all(0)
    names = recorded.channels or numbered_channels(channels)
    return [name for name, rises in zip(names, rising, strict=True) if rises]

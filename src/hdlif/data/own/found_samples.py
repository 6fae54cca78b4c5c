"""Numbers of the user's own as a data set: checked, divided, measured, and made into sets."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from hdlif.data.augment import Augment
from hdlif.data.own.found import Found
from hdlif.data.own.layout import in_order
from hdlif.data.own.manifest import PARTS, Entry, Manifest, Part
from hdlif.data.own.recorded_series import MOST_KEPT, Recorded, Series
from hdlif.data.own.series_targets import Learned, Scale, Wanted, classes_of, learned, measured, values_hint
from hdlif.data.own.shares import Shares, divided, enough_for, rank
from hdlif.data.samples import ImageSets
from hdlif.data.series_samples import SeriesSamples
from hdlif.errors import DataError
from hdlif.inputs import series
from hdlif.ops import InputRecord


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
    taken = _checked(place, recorded, known)
    if wanted.classes and not classes:
        classes_of(place, wanted, taken)
    part_of = _parts(place, recorded, shares)
    order = sorted(range(len(taken)), key=lambda number: (rank(taken[number].sha256, shares.seed), taken[number].name))
    parts: dict[Part, list[int]] = {part: [] for part in PARTS}
    for number in order:
        parts[part_of[number]].append(number)
    entries = [
        Entry(one.name, one.bytes, one.sha256, one.label, part) for one, part in zip(taken, part_of, strict=True)
    ]
    training = [taken[number] for number in parts["train"]]
    record = known or _measured(recorded, training, kind)
    targets = learned(place, wanted, taken, training, scale, classes)
    return Found(
        place,
        record,
        targets.names,
        Manifest(tuple(entries)),
        _described(recorded, shares),
        _maker(taken, parts, record, targets),
        targets.mean,
        targets.std,
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
            whose = f'class "{name}" has' if name else f"there {'is' if few == 1 else 'are'}"
            raise DataError(
                f"{place}: {whose} {few} unit{'s' * (few != 1)} kept together (each {recorded.unit}), too few to take "
                f"some for {' and '.join(part for part in wanted if part != 'train')}; "
                + (values_hint([one.label for one in taken], "NAME") or enough_for(wanted, few))
                + (", or name a column of groups: --set data.group=NAME" * (recorded.unit == "stretch of one label"))
            )
        parts |= {number: found[taken[number].unit] for number in numbers}
    found_parts: list[Part] = [parts.get(number) or one.part or "train" for number, one in enumerate(taken)]

    def labels(*wanted: Part) -> set[str]:
        """Of the samples, or of their steps."""
        chosen = [one for one, part in zip(taken, found_parts, strict=True) if part in wanted]
        return {label for one in chosen for label in (one.target if isinstance(one.target, list) else [one.label])}

    if absent := in_order(labels(*PARTS) - labels("train")):
        raise DataError(
            f'{place}: class "{absent[0]}" is in no {recorded.unit} of the training part; try another split: '
            f"--set data.split.seed={shares.seed + 1}"
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
    taken: Sequence[Series], parts: Mapping[Part, Sequence[int]], record: InputRecord, targets: Learned
) -> Callable[[Augment, int], ImageSets]:
    def samples(part: Part, augment: Augment = (), seed: int = 0) -> SeriesSamples:
        chosen = [taken[number] for number in parts[part]]
        steps, channels = taken[0].values.shape
        values = np.stack([one.values for one in chosen]) if chosen else np.zeros((0, steps, channels), np.float32)
        labels, sample = targets.tensor(chosen, taken), torch.from_numpy(series.as_sample(values))
        return SeriesSamples(sample, labels, mean=record.mean, std=record.std, augment=augment, seed=seed)

    def make(augment: Augment, seed: int) -> ImageSets:
        train, validation, test = samples("train", augment, seed), samples("validation"), samples("test")
        names, mean, std = targets.names, record.mean, record.std
        return ImageSets(train, validation, test, classes=names, shape=record.shape, mean=mean, std=std)

    return make

"""The user's own series (sensor readings over time) as a data set.

Series are read, normalised and shown a time step after another by `hdlif.inputs.series`, as `hdlif run` does it.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
import torch
from torch import Tensor

from hdlif.data.found import Found
from hdlif.data.layout import in_order
from hdlif.data.manifest import PARTS, Entry, Manifest, Part
from hdlif.data.recorded_series import MOST_KEPT, Recorded, Series, of_arrays, of_folders, of_recording
from hdlif.data.samples import ImageSets, Samples
from hdlif.data.shares import Shares, divided, rank, shares_of
from hdlif.errors import DataError, ShapeError
from hdlif.inputs import series
from hdlif.ops import InputRecord

_LONGEST_PATH = 4096
_DEVIATION_OF_NONE = 1.0
"""Of a channel that does not vary."""


class SeriesSamples(Samples):
    """Labelled series in memory: x = (values - mean) / std by channel.

    Args:
        values: float32 [N, C, T, 1], as `hdlif.inputs.series.as_sample` lays them out.
        labels: int64 [N].
        mean, std: one per channel.
    Raises:
        ShapeError: tensors of another type or shape.
    """

    def __init__(self, values: Tensor, labels: Tensor, *, mean: Sequence[float], std: Sequence[float]) -> None:
        if values.dtype != torch.float32 or values.ndim != 4 or values.shape[3] != 1:
            raise ShapeError(f"values are {values.dtype} {list(values.shape)}; give torch.float32 [N, C, T, 1]")
        if labels.shape != values.shape[:1] or not len(mean) == len(std) == values.shape[1]:
            raise ShapeError(
                f"{list(values.shape)} values, {list(labels.shape)} labels, {len(mean)} means and {len(std)} stds; "
                "give a label for each series, and a mean and std for each channel"
            )
        super().__init__(labels)
        self.values, self.mean, self.std = values, tuple(mean), tuple(std)

    def first(self, count: int) -> Self:
        """The first `count` series, shown as these are."""
        return self._changed(values=self.values[:count], labels=self.labels[:count])

    def resized(self, size: int) -> NoReturn:
        """Series are not resized: raises `DataError`."""
        raise DataError(f"series are not resized, to {size} or otherwise; leave data.size out")

    def read(self, indices: Tensor) -> Tensor:
        """Values float32 [B, C, T, 1]."""
        return self.values[indices]

    def scale(self, raw: Tensor) -> Tensor:
        """(raw - mean) / std."""
        return torch.from_numpy(series.normalised(raw.numpy(), self.mean, self.std))


def find_series(
    root: Path | None,
    *,
    size: int | None,
    known: InputRecord | None,
    say: Callable[[str], None] = lambda line: None,
    path: str,
    window: int | None = None,
    stride: int | None = None,
    label: str | None = None,
    group: str | None = None,
    columns: Sequence[str] | None = None,
    split: Mapping[str, float] | None = None,
) -> Found:
    """Look at series: arrays x and y (.npz, or a folder of .npy), .csv files by class, or one .csv file with labels.

    Args:
        root: the folder that a relative path starts from; the working folder by default.
        size: None; series are not resized.
        known: what a network that is there already takes; nothing is then measured, and a recording is cut into
            windows of its length.
        say: gets nothing: all is read in one go.
        window: rows of a sample, of recordings that are cut into such.
        stride: rows from one window to the next; `window` by default.
        label: the column that holds the classes of one recording; "label" by default.
        group: the column of it that says who or what it is of: none is in two parts.
        columns: that are channels, of .csv files with a header; all but label and group by default.
        split: shares {validation: 0.15, test: 0.15, seed: 0} of what has no folder of its own.
    Raises:
        DataError: there are no series there, or some cannot be used.
        ValueError: an argument that none can be, or that such data do not take.
    """
    shares = shares_of(split)
    if not 0 < len(path) <= _LONGEST_PATH:
        raise ValueError(f"path has {len(path):,} characters; give data, in 1 to {_LONGEST_PATH:,}")
    for key, value in (("window", window), ("stride", stride), ("size", size)):
        if value is not None and (value < 1 or key == "size"):
            raise ValueError(f"{key} = {value} is refused; " + ("leave it out" if key == "size" else "give 1 or more"))
    if stride is not None and window is None:
        raise ValueError(f"stride = {stride} is of windows; set window too")
    if columns is not None and (not columns or len(set(columns)) < len(columns)):
        raise ValueError(f"columns = {list(columns)} is refused; name one or more, each once")
    place = Path(os.path.abspath(path if root is None else root / path))  # noqa: PTH100 - links stay in it
    if known is not None and window is None and place.suffix.lower() == ".csv":
        window = known.shape[1]
    given = {"window": window, "stride": stride, "columns": columns, "label": label, "group": group}
    return series_of(place, _recorded(place, given), shares, known=known, window=window, stride=stride)


def series_of(
    place: Path,
    recorded: Recorded,
    shares: Shares,
    *,
    known: InputRecord | None,
    window: int | None = None,
    stride: int | None = None,
    classes: tuple[str, ...] = (),
) -> Found:
    """Look at series wherever they lie; arguments and errors as of `find_series`.

    Args:
        classes: in the order of the labels; by default those that there are.
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
    record = known or _measured([taken[number] for number in parts["train"]])
    return Found(
        place,
        record,
        classes,
        Manifest(tuple(entries)),
        _described(recorded, shares, window, stride),
        _maker(taken, parts, record, classes),
    )


def _recorded(place: Path, given: Mapping[str, Any]) -> Recorded:
    """What lies at a path; raises `ValueError` where it does not take what is given."""

    def refuse(what: str, *keys: str) -> None:
        for key in keys:
            if given[key] is not None:
                raise ValueError(f"{key} = {given[key]} is not of {what}, which {place} is; leave it out")

    # os.path says no to what is no path; Path's own methods raise, at a name that is too long.
    if not os.path.lexists(place):
        raise DataError(f"{place}: there is no such file or folder; give the path of series")
    folder = os.path.isdir(place)  # noqa: PTH112
    if place.suffix.lower() == ".npz" or (folder and os.path.lexists(place / "x.npy")):
        refuse("arrays x and y", *given)
        return of_arrays(place)
    if folder:
        refuse("a folder of classes", "label", "group")
        return of_folders(place, window=given["window"], stride=given["stride"], columns=given["columns"])
    if place.suffix.lower() == ".csv":
        return of_recording(place, **given)
    raise DataError(
        f'{place}: its name ends in "{place.suffix}"; give a .npz file with arrays x and y, a .csv file with a column '
        "of labels, or a folder of .csv files by class"
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


def _measured(training: Sequence[Series]) -> InputRecord:
    """What a series becomes: mean and deviation of each channel, of exact sums, rounded to 6 significant digits."""
    steps, channels = training[0].values.shape
    count = len(training) * steps
    mean, std = [], []
    for channel in range(channels):
        columns = [one.values[:, channel].astype(np.float64) for one in training]
        middle = math.fsum(value for column in columns for value in column.tolist()) / count
        squares = math.fsum(value for column in columns for value in ((column - middle) ** 2).tolist())
        deviation = float(f"{math.sqrt(squares / count):.6g}")
        mean.append(float(f"{middle:.6g}"))
        std.append(deviation if deviation > np.finfo(np.float32).tiny else _DEVIATION_OF_NONE)
    return InputRecord((channels, steps, 1), tuple(mean), tuple(std), kind="series", resize="none")


def _described(recorded: Recorded, shares: Shares, window: int | None, stride: int | None) -> dict[str, Any]:
    taken = [part for part in PARTS[1:] if part not in recorded.parts]
    units = {one.unit for one in recorded.series}
    return {
        "layout": recorded.layout,
        "split": {part: getattr(shares, part) for part in taken} | ({"seed": shares.seed} if taken else {}),
        "samples": len(recorded.series),
        "channels": list(recorded.channels) if recorded.channels else None,
        "window": window,
        "stride": stride or window,
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

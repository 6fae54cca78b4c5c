"""Where the user's own series lie: arrays, files in folders by class, or one long recording that is cut into windows.

Each is read whole, and gives samples that are one as long as the other, with their classes.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from hdlif.data.own.arrays import Arrays, arrays_at, content_of
from hdlif.data.own.columns import LABEL, channel_names, rows_of, table_at
from hdlif.data.own.groups import check_pattern, group_in
from hdlif.data.own.layout import Layout, Listed
from hdlif.data.own.manifest import PARTS, Part
from hdlif.data.own.one_series import Series, numbered_channels, of_values, with_next
from hdlif.data.own.targets import Wanted, values_hint
from hdlif.errors import DataError, reason
from hdlif.inputs import Unreadable
from hdlif.inputs.resampling import resampled, resampled_length
from hdlif.inputs.series import parse_series, windows
from hdlif.inputs.tables import Table
from hdlif.ops import InputRecord
from hdlif.ops.sound import SoundRecord

MOST_KEPT = 2**31
"""Bytes that all samples together may take."""
STRETCH = "stretch of one label"
"""What is kept together of a recording without groups, whose windows have a label each."""


@dataclass(frozen=True)
class Recorded:
    """What lies at a path.

    Attributes:
        layout: in words.
        unit: what is kept in one part, in words.
        grouped: whether units, such as people, are in several classes.
        channels: their names, where a header gives some.
        parts: that have a folder of their own.
        passed_over: counts of what is not used, in words.
        rates, windows, sound: as `InputRecord` has them.
        seen: what is said of such data besides, as JSON has it.
    """

    layout: str
    unit: str
    series: list[Series]
    grouped: bool = False
    channels: tuple[str, ...] | None = None
    parts: tuple[Part, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)
    rates: tuple[int, ...] = ()
    windows: tuple[int, ...] = ()
    sound: SoundRecord | None = None
    seen: Mapping[str, Any] = field(default_factory=lambda: {"window": None, "stride": None})


def at_rates(place: Path, recorded: Recorded, rates: tuple[int, ...]) -> Recorded:
    """The same samples, each resampled by itself from the first rate to the second; as they are without rates."""
    if not rates:
        return recorded
    size = sum(4 * resampled_length(len(one.values), *rates) * one.values.shape[1] for one in recorded.series)
    if size > MOST_KEPT:
        raise DataError(f"{place}: at data.resample its samples take {size:,} bytes of at most {MOST_KEPT:,}; lower it")
    series = [replace(one, values=resampled(one.values, *rates)) for one in recorded.series]
    return replace(recorded, series=series, rates=rates)


def group_unit(place: Path, pattern: str | None) -> Callable[[Listed], str]:
    """What says of whom a file is, by its name; "" without a pattern. Raises `ValueError`, and itself `DataError`."""
    if pattern is None:
        return lambda one: ""
    check_pattern(pattern)

    def unit(one: Listed) -> str:
        if (found := group_in(pattern, one.below)) is None:
            raise DataError(f'{place}: {one.file} does not fit data.group = "{pattern}"; give one that fits every file')
        return found

    return unit


def kept_together(group: str | None, otherwise: str) -> str:
    """What is in one part, in words."""
    return f'group of "{group}"' if group else otherwise


def of_arrays(place: Path, wanted: Wanted) -> Recorded:
    """x [N, T, C] or [N, T], and y, of a .npz file, or of a folder with x.npy and y.npy (`arrays`)."""
    found = arrays_at(place, (2, 3), "[N, T, C], or [N, T] of one channel", wanted)
    x = found.x if found.x.ndim == 3 else found.x[..., None]
    if wanted.ahead is not None:
        names = numbered_channels(x.shape[2])
        return of_samples(
            found, "series", [with_next(place, f"x[{n}]", None, x[n], names, wanted.ahead) for n in range(len(x))]
        )
    series = [of_values(f"x[{n}]", "", None, x[n]).learned(target, wanted) for n, target in enumerate(found.y)]
    return of_samples(found, "series", series)


def of_samples(found: Arrays, unit: str, series: list[Series]) -> Recorded:
    """The samples of arrays, in the parts and groups that these say."""
    if found.parts is not None:
        series = [replace(one, part=part) for one, part in zip(series, found.parts, strict=True)]
    if found.groups is not None:
        series = [replace(one, unit=group) for one, group in zip(series, found.groups, strict=True)]
    return Recorded(
        found.layout,
        unit if found.groups is None else "group",
        series,
        grouped=found.groups is not None,
        parts=tuple(part for part in PARTS if part in (found.parts or ())),
    )


def of_folders(
    place: Path,
    layout: Layout,
    *,
    window: int | None,
    stride: int | None,
    columns: Sequence[str] | None,
    known: Sequence[str],
    group: str | None,
) -> Recorded:
    """One series, or several windows of it, in each .csv file of a folder laid out by class.

    Args:
        known: the columns of a network that is there already, taken by name where files have a header.
        group: a pattern of the files' names.
    """
    unit_of = group_unit(place, group)
    series: list[Series] = []
    first: tuple[str, Table] | None = None
    short: Counter[str] = Counter()
    for one in layout.files:
        content = content_of(place / one.file)
        table = table_at(place / one.file, content, columns=columns, known=known)
        first = first or (one.file, table)
        _check_alike(place, first, (one.file, table))
        digest = hashlib.sha256(content).hexdigest()
        unit = unit_of(one) or digest
        if window is None:
            series.append(Series(one.file, one.label, unit, table.numbers, one.part, len(content), digest))
            continue
        starts = windows(len(table.numbers), window, stride)
        short["shorter files"] += not starts
        for begin in starts:
            name = _lines(one.file, table, begin, window)
            series.append(of_values(name, one.label, unit, table.numbers[begin : begin + window], one.part))
    if not series:
        raise DataError(f"{place}: no file has {window} rows, which data.window asks for; lower it")
    return Recorded(
        layout.words,
        kept_together(group, "file"),
        series,
        grouped=group is not None,
        channels=first[1].names if first else None,
        parts=layout.parts,
        passed_over={**layout.ignored, **{name: count for name, count in short.items() if count}},
        windows=() if window is None else (window, stride or window),
        seen={"window": window, "stride": stride or window},
    )


def of_recording(
    place: Path,
    *,
    window: int | None,
    stride: int | None,
    label: str | None,
    group: str | None,
    columns: Sequence[str] | None,
    known: Sequence[str],
    wanted: Wanted,
    whole: bool = False,
) -> Recorded:
    """The windows of a long recording, each of one group, and of one label unless each step has its own.

    Args:
        whole: it is not divided into parts, so that windows may share rows.
    """
    if wanted.labels is not None:
        raise DataError(f"{place}: data.labels is of arrays x and y; leave it out of a recording")
    found = rows_of(place, label=label, group=group, columns=columns, known=known, wanted=wanted)
    table = found.table
    if window is None:
        raise DataError(
            f"{place}: is one recording of {len(table.lines):,} rows; say how many of them are a sample: "
            "--set data.window=N"
        )
    # A sample is of one label, or has no label of its own.
    one_label = wanted.one_class
    none = [""] * len(table.lines)
    labels, groups = found.classes if found.classes and one_label else none, found.groups or none
    series: list[Series] = []
    longest: Counter[str] = Counter()
    rows = used = 0
    needed = window + (wanted.ahead or 0)
    if not whole and not one_label and not group and stride is not None and stride < needed:
        raise DataError(
            f"{place}: windows that share rows would be in two parts; set data.stride={needed} or more, or name a "
            "column of groups with data.group"
        )
    for number, ((of_label, of_group), begin, end) in enumerate(_stretches(labels, groups)):
        longest[of_label] = max(longest[of_label], end - begin)
        starts = windows(end - begin, needed, stride)
        rows += end - begin
        used += starts[-1] + needed if starts else 0
        for start in range(begin + starts.start, begin + starts.stop, starts.step):
            unit = of_group if group else f"{of_label} {number if one_label else start}"
            name, values = _lines(place.name, table, start, window), table.numbers[start : start + needed]
            if wanted.ahead is not None:
                series.append(with_next(place, name, unit, values, channel_names(table), wanted.ahead))
                continue
            learned = found.learned if found.classes is None else found.classes
            assert learned is not None, "what comes next is all that is not given"
            target = learned[start : start + window] if wanted.each_step else learned[start + window - 1]
            series.append(of_values(name, "", unit, values).learned(target, wanted))
    present = {one.label for one in series}
    for name, most in longest.items():
        if name not in present:
            raise DataError(
                f'{place}: class "{name}" has at most {most} rows one after another{" of one group" if group else ""}, '
                f"and data.window = {window}; {values_hint(labels, label or LABEL) or 'lower it'}"
            )
    unused = {"rows": rows - used} if rows > used else {}
    return Recorded(
        f"a recording{found.words}",
        kept_together(group, STRETCH if one_label else "window"),
        series,
        grouped=group is not None,
        channels=table.names,
        passed_over=unused,
        windows=(window, stride or needed),
        seen={"window": window, "stride": stride or needed},
    )


def _stretches(labels: Sequence[str], groups: Sequence[str]) -> Iterator[tuple[tuple[str, str], int, int]]:
    """Label and group of each run of rows that has one of each, where it begins, and where it ends."""
    begin = 0
    for key, rows in groupby(zip(labels, groups, strict=True)):
        end = begin + sum(1 for _ in rows)
        yield key, begin, end
        begin = end


def _check_alike(place: Path, first: tuple[str, Table], other: tuple[str, Table]) -> None:
    """Raise `DataError` unless two files have the same columns."""
    (file, table), (other_file, other_table) = first, other
    if other_table.numbers.shape[1] != table.numbers.shape[1]:
        raise DataError(
            f"{place}: {file} has {table.numbers.shape[1]} columns and {other_file} {other_table.numbers.shape[1]}; "
            "give all the same"
        )
    if other_table.names != table.names:
        said = ["no header" if names is None else ", ".join(names) for names in (table.names, other_table.names)]
        raise DataError(f"{place}: {file} has {said[0]} and {other_file} {said[1]}; give all the same columns")


def of_layout(layout: Layout, known: InputRecord | None) -> Recorded:
    """One series in each sample, .csv or .npy, wherever they lie; columns that are `known` are found by name."""
    columns, ahead = known.columns if known else (), layout.wanted.ahead
    series: list[Series] = []
    for number, one in enumerate(layout.files):
        try:
            values = parse_series(layout.source.encoded(number), Path(one.file).suffix.lower(), columns)
        except (OSError, Unreadable) as error:
            raise DataError(
                f"{layout.root}: {one.file}: cannot be read as a series ({reason(error)}); fix it"
            ) from error
        if ahead is not None:
            given = with_next(layout.root, one.file, None, values, numbered_channels(values.shape[1]), ahead)
            series.append(replace(given, part=one.part))
            continue
        if layout.wanted.each_step and len(one.target) != len(values):
            raise DataError(
                f"{layout.root}: {one.file} has {len(values)} steps, and what is learned of it {len(one.target)}; give "
                "one for each step"
            )
        given = of_values(one.file, one.label, None, values, one.part)
        series.append(replace(given, target=one.target, names=layout.wanted.names))
    return Recorded(layout.words, "series", series, parts=layout.parts, passed_over=layout.ignored)


def _lines(file: str, table: Table, begin: int, window: int) -> str:
    return f"{file}:{table.lines[begin]}-{table.lines[begin + window - 1]}"

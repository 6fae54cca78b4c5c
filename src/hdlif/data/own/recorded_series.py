"""Where the user's own series lie: arrays, files in folders by class, or one long recording that is cut into windows.

Each is read whole, and gives samples that are one as long as the other, with their classes.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from hdlif.data.own.arrays import Arrays, arrays_at
from hdlif.data.own.columns import LABEL, channel_names, rows_of, without
from hdlif.data.own.groups import check_pattern, group_in
from hdlif.data.own.layout import Layout, Listed, refuse_faults
from hdlif.data.own.manifest import PARTS, Part
from hdlif.data.own.one_series import Series, numbered_channels, of_values, with_next
from hdlif.data.own.targets import Wanted, values_hint
from hdlif.errors import DataError, reason
from hdlif.inputs import MOST_BYTES, Unreadable
from hdlif.inputs.resampling import resampled, resampled_length
from hdlif.inputs.series import finite, finite_steps, own_steps, parse_series, windows
from hdlif.inputs.tables import Table, parse_named
from hdlif.ops import InputRecord
from hdlif.ops.sound import SoundRecord
from hdlif.whole_files import read_regular

_T = TypeVar("_T")
MOST_KEPT = 2**31
"""Bytes that all samples together may take."""
STRETCH = "stretch of one label"
"""What is kept together of a recording without groups, whose windows have a label each."""
_MOST_ALIKE = 0.9
"""The share of files from which on those of another length are taken for odd ones."""


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
        left_out: files that cannot be read, or are not as the others.
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
    left_out: tuple[str, ...] = ()


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
    """x [N, T, C] or [N, T], and y, of a .npz file, or of a folder with x.npy and y.npy (`arrays`).

    Where one class of a series is learned, shorter series end in NaN.
    """
    read_x = finite_steps if wanted.one_class else finite
    found = arrays_at(place, (2, 3), "[N, T, C], or [N, T] of one channel", wanted, read_x=read_x)
    x = found.x if found.x.ndim == 3 else found.x[..., None]
    if wanted.ahead is not None:
        names = numbered_channels(x.shape[2])
        return of_samples(
            found, "series", [with_next(place, f"x[{n}]", None, x[n], names, wanted.ahead) for n in range(len(x))]
        )
    series = [
        of_values(f"x[{n}]", "", None, own_steps(x[n])).learned(target, wanted) for n, target in enumerate(found.y)
    ]
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
    unreadable: str,
) -> Recorded:
    """One series, or several windows of it, in each .csv file of a folder laid out by class.

    Args:
        known: the columns of a network that is there already, taken by name where files have a header.
        group: a pattern of the files' names.
        unreadable: "refuse", or "skip" to leave out files that cannot be read, or are not as the others.
    """
    unit_of = group_unit(place, group)
    read, faults, mends = _tables_of(place, layout, columns=columns, known=known)
    faults |= _odd_ones({file: (one.table.numbers.shape[1], one.table.names) for file, one in read.items()}, _columns)
    lengths: dict[str, str] = {}
    if window is None:
        left = {file: len(one.table.numbers) for file, one in read.items() if file not in faults}
        lengths = _odd_ones(left, lambda rows: f"{rows} row{'s' * (rows != 1)}", least=_MOST_ALIKE)
    mends += ["cut all into windows: --set data.window=ROWS"] if lengths else []
    faults |= lengths
    refuse_faults(layout, faults, unreadable, "recording", mend=", or ".join(["remove them", *mends]))
    series: list[Series] = []
    short: list[dict[str, Any]] = []
    for one in layout.files:
        if one.file in faults:
            continue
        file = read[one.file]
        numbers, unit = file.table.numbers, unit_of(one) or file.sha256
        if window is None:
            series.append(Series(one.file, one.label, unit, numbers, one.part, file.bytes, file.sha256))
            continue
        starts = windows(len(numbers), window, stride)
        if not starts:
            short.append({"file": one.file, "rows": len(numbers)})
        for begin in starts:
            name = _lines(one.file, file.table, begin, window)
            series.append(of_values(name, one.label, unit, numbers[begin : begin + window], one.part))
    if not series:
        most = max(len(one.table.numbers) for one in read.values())
        raise DataError(f"{place}: no file has {window} rows, which data.window asks for; lower it to at most {most}")
    return Recorded(
        layout.words,
        kept_together(group, "file"),
        series,
        grouped=group is not None,
        channels=next(file.table.names for name, file in read.items() if name not in faults),
        parts=layout.parts,
        passed_over={**layout.ignored, **({"shorter files": len(short)} if short else {})},
        windows=() if window is None else (window, stride or window),
        seen={"window": window, "stride": stride or window, "unreadable": faults_seen(faults), "short": short},
        left_out=tuple(sorted(faults)),
    )


@dataclass(frozen=True)
class _File:
    """A file that was read, the number of its bytes and their SHA-256."""

    table: Table
    bytes: int
    sha256: str


def _tables_of(
    place: Path, layout: Layout, *, columns: Sequence[str] | None, known: Sequence[str]
) -> tuple[dict[str, _File], dict[str, str], list[str]]:
    """The tables of a layout's files, what is wrong with those that have none, and what may help there."""
    read: dict[str, _File] = {}
    faults: dict[str, str] = {}
    mends: list[str] = []
    for one in layout.files:
        path = place / one.file
        try:
            content = read_regular(path, most=MOST_BYTES)
            table = parse_named(content, path.suffix.lower(), columns=columns, known=known)
        except (OSError, Unreadable) as error:
            faults[one.file] = reason(error)
            if not mends and isinstance(error, Unreadable) and error.text_in is not None:
                mends.append(without(error.text_in, content, path.suffix.lower()))
        else:
            read[one.file] = _File(table, len(content), hashlib.sha256(content).hexdigest())
    return read, faults, mends


def _odd_ones(seen: Mapping[str, _T], said: Callable[[_T], str], *, least: float = 0.0) -> dict[str, str]:
    """What is wrong with those files that are not as most are.

    Args:
        least: the share that most are, at the least; where they are fewer, none is odd.
    """
    if not seen:
        return {}
    (usual, count), *_ = Counter(seen.values()).most_common(1)
    if count < least * len(seen):
        return {}
    return {file: f"has {said(one)}, others {said(usual)}" for file, one in seen.items() if one != usual}


def _columns(seen: tuple[int, tuple[str, ...] | None]) -> str:
    count, names = seen
    number = f"{count} column{'s' * (count != 1)}"
    return f"{number} without a header" if names is None else f"{number} ({', '.join(names)})"


def faults_seen(faults: Mapping[str, str]) -> list[dict[str, str]]:
    """The files that are left out, and why, as JSON has them."""
    return [{"file": file, "reason": why} for file, why in sorted(faults.items())]


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

"""Where the user's own series lie: arrays, files in folders by class, or one long recording that is cut into windows.

Each is read whole, and gives samples that are one as long as the other, with their classes.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from hdlif.data.class_folders import laid_out
from hdlif.data.manifest import Part
from hdlif.data.series_targets import Wanted, array_targets
from hdlif.errors import DataError, brief, did_you_mean, reason
from hdlif.inputs import MOST_BYTES, Unreadable
from hdlif.inputs.archives import parse_archive
from hdlif.inputs.arrays import parse_array
from hdlif.inputs.series import Floats, finite
from hdlif.inputs.tables import Table, parse_table
from hdlif.whole_files import read_regular

ARRAYS = ("x", "y")
MOST_KEPT = 2**31
"""Bytes that all samples together may take."""
LABEL = "label"
"""The column that holds the classes of a recording, where the recipe names no other."""


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
        names: of the values.
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
    """

    layout: str
    unit: str
    series: list[Series]
    grouped: bool = False
    channels: tuple[str, ...] | None = None
    parts: tuple[Part, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)


def of_arrays(place: Path, wanted: Wanted) -> Recorded:
    """x [N, T, C] or [N, T] and y [N] of a .npz file, or of a folder with x.npy and y.npy.

    Of other targets than a class, y is [N, T], [N, V], [N, T, V] or [N, L]; of values that come next, there is none.
    """
    arrays = ARRAYS[:1] if wanted.ahead is not None else ARRAYS
    folder = os.path.isdir(place)  # noqa: PTH112 - it says no to what is no path
    if folder:
        files = {name: _content(place / f"{name}.npy") for name in arrays}
    else:
        try:
            files = parse_archive(_content(place), ARRAYS)
        except Unreadable as error:
            raise DataError(f"{place}: {error}; give arrays x and y alone, by numpy.savez") from error
    if missing := [name for name in arrays if name not in files]:
        raise DataError(f"{place}: has no array {missing[0]}; give x [N, T, C] and y [N], by numpy.savez")
    try:
        array = parse_array(files["x"])
        if array.ndim not in (2, 3) or not array.size:
            raise Unreadable(f"it is {list(array.shape)}, and should be [N, T, C], or [N, T] of one channel")
        x = finite(array if array.ndim == 3 else array[..., None])
    except Unreadable as error:
        raise DataError(f"{place}: x: {error}") from error
    layout = "x.npy and y.npy" if folder else "arrays x and y"
    if wanted.ahead is not None:
        names = tuple(f"channel {number}" for number in range(1, x.shape[2] + 1))
        series = [_next(place, f"x[{n}]", "", None, one, names, wanted.ahead) for n, one in enumerate(x)]
        return Recorded("x.npy" if folder else "array x", "series", series)
    y = array_targets(place, files["y"], wanted, *x.shape[:2])
    if len(x) != len(y):
        raise DataError(f"{place}: x has {len(x):,} series and y {len(y):,} labels; give one for each")
    if not wanted.classes or wanted.each_step:
        names = tuple(wanted.values or ())
        targets = [
            replace(_of_values(f"x[{n}]", "", None, x[n]), target=target, names=names) for n, target in enumerate(y)
        ]
        return Recorded(layout, "series", targets)
    if odd := next((label for label in y if not label or not label.isprintable()), None):
        raise DataError(f"{place}: y has {brief(odd)}, which cannot be shown; name the class otherwise")
    series = [_of_values(f"x[{number}]", label, None, x[number]) for number, label in enumerate(y)]
    return Recorded(layout, "series", series)


def of_folders(place: Path, *, window: int | None, stride: int | None, columns: Sequence[str] | None) -> Recorded:
    """One series, or several windows of it, in each .csv file of a folder laid out by class."""
    layout = laid_out(place, (".csv",), what="CSV file")
    series: list[Series] = []
    first: tuple[str, Table] | None = None
    short: Counter[str] = Counter()
    for one in layout.files:
        content = _content(place / one.file)
        table = _table(place / one.file, content, columns=columns)
        first = first or (one.file, table)
        _check_alike(place, first, (one.file, table))
        digest = hashlib.sha256(content).hexdigest()
        if window is None:
            series.append(Series(one.file, one.label, digest, table.numbers, one.part, len(content), digest))
            continue
        starts = windows(len(table.numbers), window, stride)
        short["shorter files"] += not starts
        for begin in starts:
            name = _lines(one.file, table, begin, window)
            series.append(_of_values(name, one.label, digest, table.numbers[begin : begin + window], one.part))
    if not series:
        raise DataError(f"{place}: no file has {window} rows, which data.window asks for; lower it")
    what = "/".join(layout.parts) + " folders of classes" if layout.parts else "folders of classes"
    return Recorded(
        what,
        "file",
        series,
        channels=first[1].names if first else None,
        parts=layout.parts,
        passed_over={**layout.ignored, **{name: count for name, count in short.items() if count}},
    )


def of_recording(
    place: Path,
    *,
    window: int | None,
    stride: int | None,
    label: str | None,
    group: str | None,
    columns: Sequence[str] | None,
    wanted: Wanted,
) -> Recorded:
    """The windows of a long recording, each of one group, and of one label unless each step has its own."""
    text = [*([label or LABEL] if wanted.classes else []), *([group] if group else [])]
    if len(set(text)) < len(text):
        raise DataError(f'{place}: data.label and data.group are both "{label}"; give two columns')
    if columns is not None:
        columns = [*columns, *(name for name in wanted.values or () if name not in columns)]
    table = _table(place, _content(place), text=text, columns=columns)
    if window is None:
        raise DataError(
            f"{place}: is one recording of {len(table.lines):,} rows; say how many of them are a sample: "
            "--set data.window=N, and --set time_steps=N of a training"
        )
    labels = table.words[text[0]] if wanted.classes else [""] * len(table.lines)
    groups = table.words[group] if group else [""] * len(labels)
    series: list[Series] = []
    longest: Counter[str] = Counter()
    rows = used = 0
    # A sample is of one label, or has no label of its own.
    one_label = wanted.classes and not wanted.each_step
    whole = labels if one_label else [""] * len(labels)
    numbers, channels, values_at = _columns_of(place, table, wanted)
    needed = window + (wanted.ahead or 0)
    if not one_label and not group and stride is not None and stride < needed:
        raise DataError(
            f"{place}: windows that share rows would be in two parts; set data.stride={needed} or more, or name a "
            "column of groups with data.group"
        )
    for number, ((of_label, of_group), begin, end) in enumerate(_stretches(whole, groups)):
        longest[of_label] = max(longest[of_label], end - begin)
        starts = windows(end - begin, needed, stride)
        rows += end - begin
        used += starts[-1] + needed if starts else 0
        for start in range(begin + starts.start, begin + starts.stop, starts.step):
            unit = of_group if group else f"{of_label} {number if one_label else start}"
            name = _lines(place.name, table, start, window)
            if wanted.ahead is not None:
                one = _next(place, name, "", unit, numbers[start : start + needed], channels, wanted.ahead)
            else:
                one = _of_values(name, of_label, unit, numbers[start : start + window])
            if wanted.each_step and wanted.classes:
                one = replace(one, target=labels[start : start + window])
            elif values_at is not None:
                shown = values_at[start : start + window]
                one = replace(one, target=shown if wanted.each_step else shown[-1], names=tuple(wanted.values or ()))
            series.append(one)
    present = {one.label for one in series}
    for name, most in longest.items():
        if name not in present:
            raise DataError(
                f'{place}: class "{name}" has at most {most} rows one after another{" of one group" if group else ""}, '
                f"and data.window = {window}; lower it"
            )
    unused = {"rows": rows - used} if rows > used else {}
    return Recorded(
        "a recording"
        + (f', labels in "{text[0]}"' if wanted.classes else "")
        + (f', groups in "{group}"' if group else ""),
        f'group of "{group}"' if group else "stretch of one label" if one_label else "window",
        series,
        grouped=group is not None,
        channels=channels,
        passed_over=unused,
    )


def _columns_of(place: Path, table: Table, wanted: Wanted) -> tuple[Floats, tuple[str, ...], Floats | None]:
    """The columns that are channels, their names, and those of values."""
    names = table.names or tuple(f"column {number}" for number in range(1, table.numbers.shape[1] + 1))
    if wanted.labels is not None:
        raise DataError(f"{place}: data.labels is of arrays x and y; leave it out of a recording")
    if wanted.values is None:
        return table.numbers, names, None
    if missing := [name for name in wanted.values if name not in names]:
        raise DataError(
            f"{place}: has no column {brief(missing[0])}, which data.values names; {did_you_mean(missing[0], names)}"
        )
    values = [names.index(name) for name in wanted.values]
    channels = [number for number in range(len(names)) if number not in values]
    if not channels:
        raise DataError(f"{place}: data.values names all columns of numbers; leave one or more to learn from")
    return table.numbers[:, channels], tuple(names[number] for number in channels), table.numbers[:, values]


def _next(
    place: Path, name: str, label: str, unit: str | None, values: Floats, names: tuple[str, ...], ahead: int
) -> Series:
    """A series without its last `ahead` steps, and what each channel is so many steps later."""
    if len(values) <= ahead:
        raise DataError(f"{place}: {name} has {len(values)} steps, and data.ahead = {ahead}; lower it")
    return replace(_of_values(name, label, unit, values[:-ahead]), target=values[ahead:], names=names)


def windows(length: int, window: int, stride: int | None) -> range:
    """Where windows begin; without a stride each begins where the one before ends.

    >>> list(windows(10, 4, 3)), list(windows(10, 4, None)), list(windows(3, 4, 1))
    ([0, 3, 6], [0, 4], [])
    """
    return range(0, length - window + 1, stride or window)


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


def _of_values(name: str, label: str, unit: str | None, values: Floats, part: Part | None = None) -> Series:
    content = values.astype("<f4").tobytes()
    digest = hashlib.sha256(content).hexdigest()
    return Series(name, label, digest if unit is None else unit, values, part, len(content), digest)


def _lines(file: str, table: Table, begin: int, window: int) -> str:
    return f"{file}:{table.lines[begin]}-{table.lines[begin + window - 1]}"


def _table(path: Path, content: bytes, *, text: Sequence[str] = (), columns: Sequence[str] | None = None) -> Table:
    try:
        return parse_table(content, text=text, columns=columns)
    except Unreadable as error:
        said = str(error)
        mend = ""
        if text and f"no column '{LABEL}'" in said:
            mend = "; name the one that holds the classes: --set data.label=NAME"
        elif "is no number" in said:
            of_group = "; where it says of whom the row is, --set data.group=NAME" if text else ""
            mend = f"{of_group}; leave a column out by naming the others: --set 'data.columns=[A, B]'"
        raise DataError(f"{path}: {said}{mend}") from error


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, most=MOST_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); give a file of at most 256 MiB") from error

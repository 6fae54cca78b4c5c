"""Where the user's own series lie: arrays, files in folders by class, or one long recording that is cut into windows.

Each is read whole, and gives samples that are one as long as the other, with their classes.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from hdlif.data.groups import check_pattern, group_in
from hdlif.data.layout import Layout, Listed
from hdlif.data.manifest import Part
from hdlif.errors import DataError, brief, reason
from hdlif.inputs import MOST_BYTES, Unreadable
from hdlif.inputs.archives import parse_archive
from hdlif.inputs.arrays import parse_array, parse_labels
from hdlif.inputs.resampling import resampled, resampled_length
from hdlif.inputs.series import Floats, finite, parse_series
from hdlif.inputs.tables import Table, parse_named
from hdlif.ops import InputRecord
from hdlif.ops.sound import SoundRecord
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
    """

    name: str
    label: str
    unit: str
    values: Floats
    part: Part | None
    bytes: int
    sha256: str


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
        rates, sound: as `InputRecord` has them.
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


def of_arrays(place: Path) -> Recorded:
    """x [N, T, C] or [N, T] and y [N] of a .npz file, or of a folder with x.npy and y.npy."""
    layout, x, y = arrays_at(place, (2, 3), "[N, T, C], or [N, T] of one channel")
    if x.ndim == 2:
        x = x[..., None]
    series = [of_values(f"x[{number}]", label, None, x[number]) for number, label in enumerate(y)]
    return Recorded(layout, "series", series)


def arrays_at(place: Path, dimensions: Collection[int], accepted: str) -> tuple[str, Floats, list[str]]:
    """What they are called, x, and the labels y, of a .npz file or a folder with x.npy and y.npy.

    Args:
        dimensions: that x may have, which are called `accepted`.
    Raises:
        DataError: they are something else.
    """
    folder = os.path.isdir(place)  # noqa: PTH112 - it says no to what is no path
    if folder:
        files = {name: content_of(place / f"{name}.npy") for name in ARRAYS}
    else:
        try:
            files = parse_archive(content_of(place), ARRAYS)
        except Unreadable as error:
            raise DataError(f"{place}: {error}; give arrays x and y alone, by numpy.savez") from error
    if missing := [name for name in ARRAYS if name not in files]:
        raise DataError(f"{place}: has no array {missing[0]}; give x {accepted} and y [N], by numpy.savez")
    try:
        read = "x"
        array = parse_array(files["x"])
        if array.ndim not in dimensions or not array.size:
            raise Unreadable(f"it is {list(array.shape)}, and should be {accepted}")
        x = finite(array)
        read = "y"
        y = list(map(str, parse_labels(files["y"])))
    except Unreadable as error:
        raise DataError(f"{place}: {read}: {error}") from error
    if len(x) != len(y):
        raise DataError(f"{place}: x has {len(x):,} samples and y {len(y):,} labels; give one for each")
    if odd := next((label for label in y if not label or not label.isprintable()), None):
        raise DataError(f"{place}: y has {brief(odd)}, which cannot be shown; name the class otherwise")
    return "x.npy and y.npy" if folder else "arrays x and y", x, y


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
) -> Recorded:
    """The windows of a long recording, each of one label and one group."""
    text = text_columns(place, label, group)
    table = table_at(place, content_of(place), text=text, columns=columns, known=known)
    if window is None:
        raise DataError(
            f"{place}: is one recording of {len(table.lines):,} rows; say how many of them are a sample: "
            "--set data.window=N, and --set time_steps=N of a training"
        )
    labels = table.words[text[0]]
    groups = table.words[group] if group else [""] * len(labels)
    series: list[Series] = []
    longest: Counter[str] = Counter()
    rows = used = 0
    for number, ((of_label, of_group), begin, end) in enumerate(_stretches(labels, groups)):
        longest[of_label] = max(longest[of_label], end - begin)
        starts = windows(end - begin, window, stride)
        rows += end - begin
        used += starts[-1] + window if starts else 0
        unit = of_group if group else f"{of_label} {number}"
        for start in starts:
            values = table.numbers[begin + start : begin + start + window]
            series.append(of_values(_lines(place.name, table, begin + start, window), of_label, unit, values))
    present = {one.label for one in series}
    for name, most in longest.items():
        if name not in present:
            raise DataError(
                f'{place}: class "{name}" has at most {most} rows one after another{" of one group" if group else ""}, '
                f"and data.window = {window}; lower it"
            )
    unused = {"rows": rows - used} if rows > used else {}
    return Recorded(
        f'a recording, labels in "{text[0]}"' + (f', groups in "{group}"' if group else ""),
        kept_together(group, "stretch of one label"),
        series,
        grouped=group is not None,
        channels=table.names,
        passed_over=unused,
        seen={"window": window, "stride": stride or window},
    )


def text_columns(place: Path, label: str | None, group: str | None) -> list[str]:
    """The columns of classes and, where there are any, of groups. Raises `DataError` where they are one."""
    text = [label or LABEL, *([group] if group else [])]
    if len(set(text)) < len(text):
        raise DataError(f'{place}: data.label and data.group are both "{group}"; give two columns')
    return text


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


def of_layout(layout: Layout, known: InputRecord | None) -> Recorded:
    """One series in each sample, .csv or .npy, wherever they lie; columns that are `known` are found by name."""
    names = known.columns if known else ()
    series: list[Series] = []
    for number, one in enumerate(layout.files):
        try:
            values = parse_series(layout.source.encoded(number), Path(one.file).suffix.lower(), names)
        except (OSError, Unreadable) as error:
            raise DataError(
                f"{layout.root}: {one.file}: cannot be read as a series ({reason(error)}); mend it"
            ) from error
        series.append(of_values(one.file, one.label, None, values, one.part))
    return Recorded(layout.words, "series", series, parts=layout.parts, passed_over=layout.ignored)


def of_values(name: str, label: str, unit: str | None, values: Floats, part: Part | None = None) -> Series:
    """A sample that is a part of a file, or of an array; kept together with equal ones where no unit is given."""
    content = values.astype("<f4").tobytes()
    digest = hashlib.sha256(content).hexdigest()
    return Series(name, label, digest if unit is None else unit, values, part, len(content), digest)


def _lines(file: str, table: Table, begin: int, window: int) -> str:
    return f"{file}:{table.lines[begin]}-{table.lines[begin + window - 1]}"


def table_at(
    path: Path,
    content: bytes,
    *,
    text: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    known: Sequence[str] = (),
) -> Table:
    """The table of a .csv or .parquet file. Raises `DataError`."""
    try:
        return parse_named(content, path.suffix.lower(), text=text, columns=columns, known=known)
    except Unreadable as error:
        said = str(error)
        mend = ""
        if text and f"no column '{LABEL}'" in said:
            mend = "; name the one that holds the classes: --set data.label=NAME"
        elif "is no number" in said:
            of_group = "; where it says of whom the row is, --set data.group=NAME" if text else ""
            mend = f"{of_group}; leave a column out by naming the others: --set 'data.columns=[A, B]'"
        raise DataError(f"{path}: {said}{mend}") from error


def content_of(path: Path) -> bytes:
    """The bytes of a file. Raises `DataError`."""
    try:
        return read_regular(path, most=MOST_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); give a file of at most 256 MiB") from error

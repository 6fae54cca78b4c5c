"""Where the user's own series lie: arrays, files in folders by class, or one long recording that is cut into windows.

Each is read whole, and gives samples that are one as long as the other, with their classes.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from hdlif.data.class_folders import laid_out
from hdlif.data.layout import Layout
from hdlif.data.manifest import Part
from hdlif.errors import DataError, brief, reason
from hdlif.inputs import MOST_BYTES, Unreadable
from hdlif.inputs.archives import parse_archive
from hdlif.inputs.arrays import parse_array, parse_labels
from hdlif.inputs.series import Floats, finite, parse_series
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
    """

    layout: str
    unit: str
    series: list[Series]
    grouped: bool = False
    channels: tuple[str, ...] | None = None
    parts: tuple[Part, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)


def of_arrays(place: Path) -> Recorded:
    """x [N, T, C] or [N, T] and y [N] of a .npz file, or of a folder with x.npy and y.npy."""
    folder = os.path.isdir(place)  # noqa: PTH112 - it says no to what is no path
    if folder:
        files = {name: _content(place / f"{name}.npy") for name in ARRAYS}
    else:
        try:
            files = parse_archive(_content(place), ARRAYS)
        except Unreadable as error:
            raise DataError(f"{place}: {error}; give arrays x and y alone, by numpy.savez") from error
    if missing := [name for name in ARRAYS if name not in files]:
        raise DataError(f"{place}: has no array {missing[0]}; give x [N, T, C] and y [N], by numpy.savez")
    try:
        read = "x"
        array = parse_array(files["x"])
        if array.ndim not in (2, 3) or not array.size:
            raise Unreadable(f"it is {list(array.shape)}, and should be [N, T, C], or [N, T] of one channel")
        x = finite(array if array.ndim == 3 else array[..., None])
        read = "y"
        y = list(map(str, parse_labels(files["y"])))
    except Unreadable as error:
        raise DataError(f"{place}: {read}: {error}") from error
    if len(x) != len(y):
        raise DataError(f"{place}: x has {len(x):,} series and y {len(y):,} labels; give one for each")
    if odd := next((label for label in y if not label or not label.isprintable()), None):
        raise DataError(f"{place}: y has {brief(odd)}, which cannot be shown; name the class otherwise")
    series = [_of_values(f"x[{number}]", label, None, x[number]) for number, label in enumerate(y)]
    return Recorded("x.npy and y.npy" if folder else "arrays x and y", "series", series)


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
) -> Recorded:
    """The windows of a long recording, each of one label and one group."""
    text = [label or LABEL, *([group] if group else [])]
    if len(set(text)) < len(text):
        raise DataError(f'{place}: data.label and data.group are both "{label}"; give two columns')
    table = _table(place, _content(place), text=text, columns=columns)
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
            series.append(_of_values(_lines(place.name, table, begin + start, window), of_label, unit, values))
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
        f'group of "{group}"' if group else "stretch of one label",
        series,
        grouped=group is not None,
        channels=table.names,
        passed_over=unused,
    )


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


def of_layout(layout: Layout) -> Recorded:
    """One series in each sample, .csv or .npy, wherever they lie."""
    series: list[Series] = []
    for number, one in enumerate(layout.files):
        try:
            values = parse_series(layout.source.encoded(number), Path(one.file).suffix.lower())
        except (OSError, Unreadable) as error:
            raise DataError(
                f"{layout.root}: {one.file}: cannot be read as a series ({reason(error)}); mend it"
            ) from error
        series.append(_of_values(one.file, one.label, None, values, one.part))
    return Recorded(layout.words, "series", series, parts=layout.parts, passed_over=layout.ignored)


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

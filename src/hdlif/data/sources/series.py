"""Read time series from arrays `x` and `y`, from .csv or .wav files in class folders, or from one recording.

`hdlif.inputs.series` reads and normalises time series exactly as for `hdlif run`.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from hdlif.data.arrays import are_arrays, arrays_at
from hdlif.data.columns import LABEL, Tabular, channel_names, rows_of, without
from hdlif.data.folders import SERIES_WITH_TARGETS, laid_out
from hdlif.data.manifest import Sample
from hdlif.data.own_data import Layout, OwnData, faults_seen, read_files, refuse_faults
from hdlif.data.sources.sounds import SOUND_KEYS, OfSounds
from hdlif.data.spacing import row_spacing, unequal_spacings
from hdlif.data.targets import Wanted, values_hint
from hdlif.data.value_samples import (
    STRETCH,
    Recorded,
    find_samples,
    group_unit,
    kept_together,
    numbered_channels,
    of_arrays,
    of_target,
    of_values,
    with_next,
)
from hdlif.errors import DataError
from hdlif.graph.graph import InputRecord
from hdlif.graph.input_record import MOST_RATE
from hdlif.inputs import Unreadable, sounds, tables
from hdlif.inputs.series import finite, finite_steps, own_steps, windows
from hdlif.inputs.tables import Table, parse_named

_T = TypeVar("_T")
_MOST_ALIKE = 0.9
"""Minimum fraction of files with one length for which files of other lengths count as odd."""


@dataclass(frozen=True, kw_only=True)
class Series(Tabular, OfSounds):
    """A request to load arrays `x` and `y`, .csv or .wav files in class folders, or one recording.

    For files in class folders, `group` is a file-name pattern, as in `hdlif.data.split.group_in`. A file is treated as
    unreadable if its columns differ from the columns of most other files. Without windows, a file is also treated as
    unreadable if nearly all other files share a different length.

    Attributes:
        window: rows per sample of a recording; by default, the same as for the existing network.
        stride: rows from one window to the next; by default, `window`.
        rate: sampling rate of the data in Hz; audio files contain their own rate.
    """

    window: int | None = None
    stride: int | None = None
    rate: int | None = None

    def find(self) -> OwnData:
        if self.resample is not None and (self.each_step or self.ahead is not None):
            raise ValueError(
                f"resample = {self.resample} cannot resample targets at each step; resample the data beforehand"
            )
        for key, value in (("window", self.window), ("stride", self.stride)):
            if value is not None and value < 1:
                raise ValueError(f"{key} = {value} is refused; give 1 or more")
        if self.stride is not None and self.window is None and self.known is None:
            raise ValueError(f"stride = {self.stride} applies to windows; set window too")
        place = self.existing_place("series")
        recorded = self._recorded(place)
        rates = () if recorded.sound else _rates(self.rate, self.resample)
        return find_samples(place, recorded, self, kind="series", rates=rates)

    def _recorded(self, place: Path) -> Recorded:
        """Read the samples at a path. Raises `ValueError` if a setting does not apply to the data."""
        known, wanted = self.known, self.wanted
        window, stride = self.window, self.stride
        if known is not None and known.windows and window is None:
            window, stride = known.windows[0], stride or known.windows[1]
        if are_arrays(place):
            self._refuse("arrays x and y", "window", "stride", "label", "group", "columns", *SOUND_KEYS, "unreadable")
            return _of_arrays(place, wanted)
        if os.path.isdir(place):  # noqa: PTH112
            if not wanted.one_class:
                raise ValueError(
                    f"{place} is a folder, whose time series have one class per subfolder; leave out each_step, "
                    f"values, labels and ahead, or {SERIES_WITH_TARGETS}"
                )
            layout = laid_out(place, (".csv", sounds.SUFFIX), what="CSV or WAV file")
            kinds = {Path(one.name).suffix.lower() for one in layout.files}
            if len(kinds) > 1:
                raise DataError(f"{place}: contains {' and '.join(sorted(kinds))} files; keep one kind")
            if kinds == {sounds.SUFFIX}:
                self._refuse("a folder of audio files", "window", "stride", "label", "columns", "rate")
                return self.read_sounds(layout, self.group)
            self._refuse("a folder of CSV files", "label", *SOUND_KEYS)
            if known is not None and window is None and stride is not None:
                window = _rows(known)
            return self._of_folders(layout, window, stride)
        if place.suffix.lower() in tables.SUFFIXES:
            self._refuse("one recording", "unreadable", *SOUND_KEYS)
            if known is not None and window is None:
                window = _rows(known)
            return _of_recording(place, self, window, stride)
        raise DataError(
            f'{place}: its name ends in "{place.suffix}"; give a .npz file with arrays x and y, a .csv or .parquet '
            "file with a column of labels, or a folder of .csv or .wav files by class"
        )

    def _refuse(self, what: str, *keys: str) -> None:
        for key in keys:
            if (value := getattr(self, key)) not in (None, "refuse"):
                raise ValueError(f"{key} = {value} does not apply to {what} ({self.place()}); leave it out")

    def _of_folders(self, layout: Layout, window: int | None, stride: int | None) -> Recorded:
        """Read one time series, or several windows, from each .csv file in class folders."""
        place = layout.root
        unit_of = group_unit(place, self.group)
        read, faults, fixes = self._tables_of(layout)
        faults |= _odd_ones(
            {file: (one.table.numbers.shape[1], one.table.names) for file, one in read.items()}, _columns
        )
        lengths: dict[str, str] = {}
        if window is None:
            left = {file: len(one.table.numbers) for file, one in read.items() if file not in faults}
            lengths = _odd_ones(left, lambda rows: f"{rows} row{'s' * (rows != 1)}", least=_MOST_ALIKE)
        fixes += ["cut all into windows: --set data.window=ROWS"] if lengths else []
        faults |= lengths
        refuse_faults(layout, faults, self.unreadable, "recording", fixes=fixes)
        samples: list[Sample] = []
        short: list[dict[str, Any]] = []
        for one in layout.files:
            if one.name in faults:
                continue
            file = read[one.name]
            numbers, unit = file.table.numbers, unit_of(one) or file.sha256
            if window is None:
                samples.append(replace(one, unit=unit, bytes=file.bytes, sha256=file.sha256, values=numbers))
                continue
            starts = windows(len(numbers), window, stride)
            if not starts:
                short.append({"file": one.name, "rows": len(numbers)})
            for begin in starts:
                name = _lines_of(one.name, file.table, begin, window)
                samples.append(of_values(name, one.label, unit, numbers[begin : begin + window], one.part))
        if not samples:
            most = max(len(one.table.numbers) for one in read.values())
            raise DataError(f"{place}: no file has the {window} rows of data.window; lower it to at most {most}")
        return Recorded(
            layout.words,
            kept_together(self.group, "file"),
            samples,
            grouped=self.group is not None,
            channels=next(file.table.names for name, file in read.items() if name not in faults),
            parts=layout.parts,
            ignored={**layout.ignored, **({"shorter files": len(short)} if short else {})},
            windows=() if window is None else (window, stride or window),
            seen={
                "window": window,
                "stride": stride or window,
                "unreadable": faults_seen(faults),
                "fixes": fixes if faults else [],
                "short": short,
                "warnings": unequal_spacings(
                    {name: one.spacing for name, one in read.items() if one.spacing and name not in faults}
                ),
            },
            skipped=tuple(sorted(faults)),
        )

    def _tables_of(self, layout: Layout) -> tuple[dict[str, "_File"], dict[str, str], list[str]]:
        """Return the tables in the files that a `Layout` lists, the errors for unreadable files, and possible fixes."""
        faults: dict[str, str] = {}
        fixes: list[str] = []

        def parse(_: Sample, content: bytes) -> Table:
            try:
                return parse_named(content, ".csv", columns=self.columns, known=self.known_columns)
            except Unreadable as error:
                if not fixes and error.text_in is not None:
                    fixes.append(without(error.text_in, content, ".csv"))
                raise

        read = {
            one.name: _File(table, len(content), sha256, row_spacing(content))
            for _, one, content, sha256, table in read_files(layout, parse, faults)
        }
        return read, faults, fixes


@dataclass(frozen=True)
class _File:
    """The table in a file, with the file's size in bytes, SHA-256 and median time between rows, if known."""

    table: Table
    bytes: int
    sha256: str
    spacing: float | None


def _of_recording(place: Path, request: Tabular, window: int | None, stride: int | None) -> Recorded:
    """Cut a recording into windows, each with one group and, if the target is one class, one label.

    Windows in different splits never share rows.
    """
    wanted, group = request.wanted, request.group
    if wanted.labels is not None:
        raise DataError(f"{place}: data.labels applies to arrays x and y; leave it out for a recording")
    found = rows_of(place, request)
    table = found.table
    if window is None:
        raise DataError(
            f"{place}: is one recording of {len(table.lines):,} rows; set the number of rows per sample: "
            "--set data.window=N"
        )
    # A sample has one label, or no label.
    one_label = wanted.one_class
    none = [""] * len(table.lines)
    labels, groups = found.classes if found.classes and one_label else none, found.groups or none
    samples: list[Sample] = []
    longest: Counter[str] = Counter()
    rows = used = 0
    needed = window + (wanted.ahead or 0)
    if not request.shares.whole and not one_label and not group and stride is not None and stride < needed:
        raise DataError(
            f"{place}: windows in different parts would share rows; set data.stride={needed} or more, or name a "
            "column of groups with data.group"
        )
    for number, ((of_label, of_group), begin, end) in enumerate(_stretches(labels, groups)):
        longest[of_label] = max(longest[of_label], end - begin)
        starts = windows(end - begin, needed, stride)
        rows += end - begin
        used += starts[-1] + needed if starts else 0
        for start in range(begin + starts.start, begin + starts.stop, starts.step):
            unit = of_group if group else f"{of_label} {number if one_label else start}"
            name, values = _lines_of(place.name, table, start, window), table.numbers[start : start + needed]
            if wanted.ahead is not None:
                samples.append(with_next(place, name, unit, values, wanted.ahead))
                continue
            learned = found.learned if found.classes is None else found.classes
            assert learned is not None, "what comes next is all that is not given"
            target = learned[start : start + window] if wanted.each_step else learned[start + window - 1]
            samples.append(of_target(name, unit, values, target, wanted))
    present = {one.label for one in samples}
    for name, most in longest.items():
        if name not in present:
            raise DataError(
                f'{place}: class "{name}" has at most {most} consecutive rows{" of one group" if group else ""}, '
                f"but data.window = {window}; {values_hint(labels, request.label or LABEL) or 'lower it'}"
            )
    unused = {"rows": rows - used} if rows > used else {}
    return Recorded(
        f"a recording{found.words}",
        kept_together(group, STRETCH if one_label else "window"),
        samples,
        grouped=group is not None,
        channels=table.names,
        ignored=unused,
        windows=(window, stride or needed),
        seen={"window": window, "stride": stride or needed},
        names=channel_names(table) if wanted.ahead is not None else (),
    )


def _stretches(labels: Sequence[str], groups: Sequence[str]) -> Iterator[tuple[tuple[str, str], int, int]]:
    """Yield ((label, group), begin, end) for each run of consecutive rows with the same label and group."""
    begin = 0
    for key, rows in groupby(zip(labels, groups, strict=True)):
        end = begin + sum(1 for _ in rows)
        yield key, begin, end
        begin = end


def _lines_of(file: str, table: Table, begin: int, window: int) -> str:
    """Return the name of a window, which consists of the file name and the first and last line numbers."""
    return f"{file}:{table.lines[begin]}-{table.lines[begin + window - 1]}"


def _rates(rate: int | None, resample: int | None) -> tuple[int, ...]:
    """Return the sampling rates of the data and the network, or () if no resampling is requested."""
    for key, value in (("rate", rate), ("resample", resample)):
        if value is not None and not 1 <= value <= MOST_RATE:
            raise ValueError(f"{key} = {value} is refused; give 1 to {MOST_RATE:,}")
    if resample is not None and rate is None:
        raise ValueError(f"resample = {resample} needs the sampling rate of the data; set rate too")
    return () if rate is None or resample is None else (rate, resample)


def _rows(known: InputRecord) -> int:
    """Return how many rows each window needs to match the network's input length after resampling."""
    steps = known.shape[1]
    return max(1, steps * known.rates[0] // known.rates[1]) if known.rates else steps


def _of_arrays(place: Path, wanted: Wanted) -> Recorded:
    """Read arrays `x` [N, T, C] or [N, T] and `y`. If each sample has one class, its values may end in NaN padding."""
    read_x = finite_steps if wanted.one_class else finite
    found = arrays_at(place, (2, 3), "[N, T, C], or [N, T] of one channel", wanted, read_x=read_x)
    x = found.x if found.x.ndim == 3 else found.x[..., None]
    if wanted.ahead is not None:
        samples = [with_next(place, f"x[{n}]", None, one, wanted.ahead) for n, one in enumerate(x)]
        return of_arrays(found, "series", samples, names=numbered_channels(x.shape[2]))
    samples = [of_target(f"x[{n}]", None, own_steps(x[n]), target, wanted) for n, target in enumerate(found.y)]
    return of_arrays(found, "series", samples)


def _odd_ones(seen: Mapping[str, _T], said: Callable[[_T], str], *, least: float = 0.0) -> dict[str, str]:
    """Describe the files that differ from the majority, if at least a fraction `least` of all files agree."""
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

"""Time series: arrays x and y, .csv or .wav files in folders by class, or one recording.

They are read, normalised and shown one time step after another by `hdlif.inputs.series`, as `hdlif run` does it.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from hdlif.data.arrays import arrays_at
from hdlif.data.columns import check_columns, without
from hdlif.data.folders import laid_out
from hdlif.data.own_data import Layout, OwnData, Request, Sample, faults_seen, own_place, refuse_faults
from hdlif.data.public.sets import where_had
from hdlif.data.sources.recording import lines_of, of_recording
from hdlif.data.sources.sounds import SOUND_KEYS, read_sounds
from hdlif.data.split import shares_of
from hdlif.data.targets import Scale, Wanted
from hdlif.data.value_samples import (
    Recorded,
    find_readings,
    find_samples,
    group_unit,
    kept_together,
    numbered_channels,
    of_arrays,
    of_target,
    of_values,
    with_next,
)
from hdlif.errors import DataError, reason
from hdlif.inputs import MOST_BYTES, Unreadable, sounds, tables
from hdlif.inputs.series import finite, finite_steps, own_steps, windows
from hdlif.inputs.tables import Table, parse_named
from hdlif.ops import InputRecord
from hdlif.ops.input_record import MOST_RATE
from hdlif.whole_files import read_regular

_T = TypeVar("_T")
_MOST_ALIKE = 0.9
"""The share of files from which on those of another length are taken for odd ones."""


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
    rate: int | None = None,
    resample: int | None = None,
    seconds: float | None = None,
    clips: str | None = None,
    every: float | None = None,
    mels: int | None = None,
    frame_ms: float | None = None,
    hop_ms: float | None = None,
    lowest_hz: float | None = None,
    highest_hz: float | None = None,
    unreadable: Literal["refuse", "skip"] = "refuse",
    split: Mapping[str, float | Sequence[str | int]] | None = None,
    scale: Scale | None = None,
    each_step: bool = False,
    values: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    ahead: int | None = None,
) -> OwnData:
    """Look at series: arrays x and y (.npz, or a folder of .npy), .csv or .wav files by class, or a recording.

    Args:
        root: the folder that a relative path starts from; the working folder by default.
        size: None; series have no such size.
        known: what a network that is there already takes; nothing is then measured, a recording is cut into windows of
            its length, and sounds are made into frames as its own.
        say: gets nothing: all is read in one go.
        window: rows of a sample, of recordings that are cut into such.
        stride: rows from one window to the next; `window` by default. Of a network that is known windows have the rows
            that it takes, unless `window` says otherwise.
        label: the column that holds the classes of one recording; "label" by default.
        group: the column of it that says who or what it is of; of files by class, a pattern of their names
            (`hdlif.data.split.group_in`). No group is in two parts.
        columns: that are channels, of .csv files with a header; all but label and group by default.
        rate: at which readings were taken; sounds say their own.
        resample: the rate that the network takes; that of the data by default.
        seconds, clips, every, mels, frame_ms, hop_ms, lowest_hz, highest_hz: of sounds, as of `sounds.sound_record`.
        unreadable: files by class that cannot be read, or are not as the others (in columns, or where nearly all have
            one length and they are not cut, in rows), are refused, or left out.
        split: shares {validation: 0.15, test: 0.15, seed: 0} of what has no folder of its own; in place of a share,
            names of groups.
        scale: mean and deviation by which a network that is there already has its values normalised.
        each_step, values, labels, ahead: what is learned, where that is not one class of a series
            (`targets.Wanted`): y is then [N, T] of classes, [N, V] or [N, T, V] of values, [N, L] of labels.
    Raises:
        DataError: there are no series there, or some cannot be used.
        ValueError: an argument that none can be, or that such data do not take.
    """
    keys = ("window", "stride", "label", "group", "columns", "rate", "resample", *SOUND_KEYS)
    given = {key: value for key, value in locals().items() if key in keys}
    given["unreadable"] = None if unreadable == "refuse" else unreadable
    request = Request(shares_of(split), Wanted(each_step, values, labels, ahead), known, scale, None, say, unreadable)
    if resample is not None and (each_step or ahead is not None):
        raise ValueError(f"resample = {resample} leaves no target at each step; resample the data beforehand")
    place = own_place(root, path)
    for key, value in (("window", window), ("stride", stride), ("size", size)):
        if value is not None and (value < 1 or key == "size"):
            raise ValueError(f"{key} = {value} is refused; " + ("leave it out" if key == "size" else "give 1 or more"))
    if stride is not None and window is None and known is None:
        raise ValueError(f"stride = {stride} is of windows; set window too")
    check_columns(columns)
    recorded = _recorded(place, given, request)
    if recorded.sound is not None:
        return find_samples(place, recorded, request, kind="series")
    return find_readings(place, recorded, request, rates=_rates(rate, resample))


def _recorded(place: Path, given: Mapping[str, Any], request: Request) -> Recorded:
    """Read what lies at a path; raises `ValueError` if it does not take what is given."""
    known, wanted = request.known, request.wanted

    def refuse(what: str, *keys: str) -> None:
        for key in keys:
            if given[key] is not None:
                raise ValueError(f"{key} = {given[key]} is not of {what}, which {place} is; leave it out")

    # os.path says no to what is no path; Path's own methods raise, at a name that is too long.
    if not os.path.lexists(place):
        had = where_had(place.name) or "; give the path of series"
        raise DataError(f"{place}: there is no such file or folder{had}")
    folder = os.path.isdir(place)  # noqa: PTH112
    suffix = place.suffix.lower()
    of_windows = {key: given[key] for key in ("window", "stride", "group", "columns")}
    of_windows["known"] = known.columns if known else ()
    if known is not None and known.windows and given["window"] is None:
        window, stride = known.windows
        of_windows |= {"window": window, "stride": given["stride"] or stride}
    if suffix == ".npz" or (folder and os.path.lexists(place / "x.npy")):
        refuse("arrays x and y", *(key for key in given if key not in ("rate", "resample")))
        recorded = _of_arrays(place, wanted)
    elif folder:
        if not wanted.one_class:
            raise ValueError(f"each_step, values, labels and ahead are not of a folder of classes, which {place} is")
        layout = laid_out(place, (".csv", sounds.SUFFIX), what="CSV or WAV file")
        kinds = {Path(one.name).suffix.lower() for one in layout.files}
        if len(kinds) > 1:
            raise DataError(f"{place}: holds {' and '.join(sorted(kinds))} files; keep one kind of them")
        if kinds == {sounds.SUFFIX}:
            refuse("a folder of sounds", "window", "stride", "label", "columns", "rate")
            return read_sounds(
                layout, known, {key: given[key] for key in ("group", "resample", "unreadable", *SOUND_KEYS)}
            )
        refuse("a folder of CSV files", "label", *SOUND_KEYS)
        if known is not None and of_windows["window"] is None and of_windows["stride"] is not None:
            of_windows["window"] = _rows(known)
        recorded = _of_folders(place, layout, **of_windows, unreadable=given["unreadable"] or "refuse")
    elif suffix in tables.SUFFIXES:
        refuse("one recording", "unreadable", *SOUND_KEYS)
        if known is not None and of_windows["window"] is None:
            of_windows["window"] = _rows(known)
        recorded = of_recording(place, **of_windows, label=given["label"], wanted=wanted, whole=request.shares.whole)
    else:
        raise DataError(
            f'{place}: its name ends in "{place.suffix}"; give a .npz file with arrays x and y, a .csv or .parquet '
            "file with a column of labels, or a folder of .csv or .wav files by class"
        )
    return recorded


def _rates(rate: int | None, resample: int | None) -> tuple[int, ...]:
    """What readings come with and what a network takes; nothing where they are taken as they are."""
    for key, value in (("rate", rate), ("resample", resample)):
        if value is not None and not 1 <= value <= MOST_RATE:
            raise ValueError(f"{key} = {value} is refused; give 1 to {MOST_RATE:,}")
    if resample is not None and rate is None:
        raise ValueError(f"resample = {resample} needs the rate that the readings come with; set rate too")
    return () if rate is None or resample is None else (rate, resample)


def _rows(known: InputRecord) -> int:
    """Of a window that is as long as a network's series once it is resampled."""
    steps = known.shape[1]
    return max(1, steps * known.rates[0] // known.rates[1]) if known.rates else steps


def _of_arrays(place: Path, wanted: Wanted) -> Recorded:
    """x [N, T, C] or [N, T], and y, of a .npz file, or of a folder with x.npy and y.npy (`arrays`).

    Where one class of a series is learned, shorter series end in NaN.
    """
    read_x = finite_steps if wanted.one_class else finite
    found = arrays_at(place, (2, 3), "[N, T, C], or [N, T] of one channel", wanted, read_x=read_x)
    x = found.x if found.x.ndim == 3 else found.x[..., None]
    if wanted.ahead is not None:
        samples = [with_next(place, f"x[{n}]", None, one, wanted.ahead) for n, one in enumerate(x)]
        return of_arrays(found, "series", samples, names=numbered_channels(x.shape[2]))
    samples = [of_target(f"x[{n}]", None, own_steps(x[n]), target, wanted) for n, target in enumerate(found.y)]
    return of_arrays(found, "series", samples)


def _of_folders(
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
            name = lines_of(one.name, file.table, begin, window)
            samples.append(of_values(name, one.label, unit, numbers[begin : begin + window], one.part))
    if not samples:
        most = max(len(one.table.numbers) for one in read.values())
        raise DataError(f"{place}: no file has {window} rows, which data.window asks for; lower it to at most {most}")
    return Recorded(
        layout.words,
        kept_together(group, "file"),
        samples,
        grouped=group is not None,
        channels=next(file.table.names for name, file in read.items() if name not in faults),
        parts=layout.parts,
        ignored={**layout.ignored, **({"shorter files": len(short)} if short else {})},
        windows=() if window is None else (window, stride or window),
        seen={"window": window, "stride": stride or window, "unreadable": faults_seen(faults), "short": short},
        skipped=tuple(sorted(faults)),
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
        path = place / one.name
        try:
            content = read_regular(path, most=MOST_BYTES)
            table = parse_named(content, path.suffix.lower(), columns=columns, known=known)
        except (OSError, Unreadable) as error:
            faults[one.name] = reason(error)
            if not mends and isinstance(error, Unreadable) and error.text_in is not None:
                mends.append(without(error.text_in, content, path.suffix.lower()))
        else:
            read[one.name] = _File(table, len(content), hashlib.sha256(content).hexdigest())
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

"""The user's own series (sensor readings over time, or sounds) as a data set.

Series are read, normalised and shown a time step after another by `hdlif.inputs.series`, as `hdlif run` does it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hdlif.data.own.class_folders import laid_out
from hdlif.data.own.found import Found
from hdlif.data.own.found_samples import found_samples
from hdlif.data.own.layout import Layout
from hdlif.data.own.places import checked_columns, own_place
from hdlif.data.own.recorded_series import Recorded, at_rates, of_arrays, of_folders, of_layout, of_recording
from hdlif.data.own.shares import Shares, shares_of
from hdlif.data.own.sound_folders import SOUND_KEYS, of_sounds
from hdlif.data.own.targets import ONE_CLASS, Scale, Wanted
from hdlif.data.public.sets import where_had
from hdlif.errors import DataError
from hdlif.inputs import sounds, tables
from hdlif.ops import InputRecord
from hdlif.ops.input_record import MOST_RATE


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
) -> Found:
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
            (`hdlif.data.own.groups`). No group is in two parts.
        columns: that are channels, of .csv files with a header; all but label and group by default.
        rate: at which readings were taken; sounds say their own.
        resample: the rate that the network takes; that of the data by default.
        seconds, clips, every, mels, frame_ms, hop_ms, lowest_hz, highest_hz: of sounds, as `sound_record` takes them.
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
    given = {
        "window": window,
        "stride": stride,
        "label": label,
        "group": group,
        "columns": columns,
        "rate": rate,
        "resample": resample,
        "seconds": seconds,
        "clips": clips,
        "every": every,
        "mels": mels,
        "frame_ms": frame_ms,
        "hop_ms": hop_ms,
        "lowest_hz": lowest_hz,
        "highest_hz": highest_hz,
        "unreadable": None if unreadable == "refuse" else unreadable,
    }
    shares, wanted = shares_of(split), Wanted(each_step, values, labels, ahead)
    if resample is not None and (each_step or ahead is not None):
        raise ValueError(f"resample = {resample} leaves no target at each step; resample the data beforehand")
    place = own_place(root, path)
    for key, value in (("window", window), ("stride", stride), ("size", size)):
        if value is not None and (value < 1 or key == "size"):
            raise ValueError(f"{key} = {value} is refused; " + ("leave it out" if key == "size" else "give 1 or more"))
    if stride is not None and window is None and known is None:
        raise ValueError(f"stride = {stride} is of windows; set window too")
    checked_columns(columns)
    recorded = _recorded(place, given, known, wanted, whole=shares.whole)
    if recorded.sound is not None:
        return found_samples(place, recorded, shares, known=known, kind="series", wanted=wanted, scale=scale)
    rates = _rates(rate, resample)
    return series_of(place, recorded, shares, known=known, rates=rates, wanted=wanted, scale=scale)


def series_of(
    place: Path,
    recorded: Recorded,
    shares: Shares,
    *,
    known: InputRecord | None,
    rates: tuple[int, ...] = (),
    classes: tuple[str, ...] = (),
    wanted: Wanted = ONE_CLASS,
    scale: Scale | None = None,
) -> Found:
    """Look at readings wherever they lie; arguments and errors as of `find_series`.

    Args:
        rates: what they come with and what a network takes, unless one is known.
        classes: in the order of the labels; by default those that there are.
        wanted: what is learned.
    """
    if known is not None and known.sound is not None:
        raise DataError(f"{place}: is of readings, and the network takes sounds; give a folder of .wav files by class")
    resampled = at_rates(place, recorded, known.rates if known else rates)
    given: dict[str, Any] = {"known": known, "classes": classes, "wanted": wanted, "scale": scale}
    return found_samples(place, resampled, shares, kind="series", **given)


def series_in(layout: Layout, shares: Shares, *, known: InputRecord | None, scale: Scale | None) -> Found:
    """Look at the series of a layout, one a sample; arguments and errors as of `find_series`."""
    recorded, wanted = of_layout(layout, known), layout.wanted
    given: dict[str, Any] = {"known": known, "classes": layout.classes, "wanted": wanted, "scale": scale}
    return series_of(layout.root, recorded, shares, **given)


def sounds_in(
    layout: Layout, shares: Shares, *, known: InputRecord | None, scale: Scale | None, settings: Mapping[str, Any]
) -> Found:
    """Look at the sounds of a layout; arguments and errors as of `find_series`.

    Args:
        settings: what `sound_record` takes, `resample`, and `unreadable`.
    """
    wanted = layout.wanted
    if wanted.each_step or wanted.ahead is not None:
        raise ValueError("each_step and ahead are of series, and these are sounds; leave them out")
    recorded = _of_sounds(layout, known, {**settings, "group": None})
    given: dict[str, Any] = {"known": known, "classes": layout.classes, "wanted": wanted, "scale": scale}
    return found_samples(layout.root, recorded, shares, kind="series", **given)


def _of_sounds(layout: Layout, known: InputRecord | None, settings: Mapping[str, Any]) -> Recorded:
    if known is not None and known.sound is None:
        raise DataError(
            f"{layout.root}: is of sounds, and the network takes readings; give data like those that it was trained on"
        )
    settings = {**settings, "unreadable": settings["unreadable"] or "refuse"}
    return of_sounds(layout.root, layout, known=known.sound if known else None, **settings)


def _recorded(
    place: Path, given: Mapping[str, Any], known: InputRecord | None, wanted: Wanted, *, whole: bool
) -> Recorded:
    """What lies at a path; raises `ValueError` where it does not take what is given."""

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
        recorded = of_arrays(place, wanted)
    elif folder:
        if not wanted.one_class:
            raise ValueError(f"each_step, values, labels and ahead are not of a folder of classes, which {place} is")
        layout = laid_out(place, (".csv", sounds.SUFFIX), what="CSV or WAV file")
        kinds = {Path(one.file).suffix.lower() for one in layout.files}
        if len(kinds) > 1:
            raise DataError(f"{place}: holds {' and '.join(sorted(kinds))} files; keep one kind of them")
        if kinds == {sounds.SUFFIX}:
            refuse("a folder of sounds", "window", "stride", "label", "columns", "rate")
            return _of_sounds(
                layout, known, {key: given[key] for key in ("group", "resample", "unreadable", *SOUND_KEYS)}
            )
        refuse("a folder of CSV files", "label", *SOUND_KEYS)
        if known is not None and of_windows["window"] is None and of_windows["stride"] is not None:
            of_windows["window"] = _rows(known)
        recorded = of_folders(place, layout, **of_windows, unreadable=given["unreadable"] or "refuse")
    elif suffix in tables.SUFFIXES:
        refuse("one recording", "unreadable", *SOUND_KEYS)
        if known is not None and of_windows["window"] is None:
            of_windows["window"] = _rows(known)
        recorded = of_recording(place, **of_windows, label=given["label"], wanted=wanted, whole=whole)
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

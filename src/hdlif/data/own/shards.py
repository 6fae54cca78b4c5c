"""The user's own samples in tar shards of the WebDataset form: KEY.png, say, beside KEY.cls or KEY.json with its label.

The headers of every shard are read once when a command starts; then any sample is one read away, so that the order of
an epoch is a function of (seed, epoch), as with files.
"""

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from hdlif.data.files import Shards
from hdlif.data.own.class_folders import MOST_FILES, PART_FOLDERS
from hdlif.data.own.event_folder import events_of
from hdlif.data.own.found import Found
from hdlif.data.own.layout import Layout, Listed, check_kind
from hdlif.data.own.manifest import PARTS, Part
from hdlif.data.own.picture_folder import pictures_of
from hdlif.data.own.places import own_place
from hdlif.data.own.series import series_in, sounds_in
from hdlif.data.own.shard_samples import SAMPLES, ShardSample, samples_in
from hdlif.data.own.shares import shares_of
from hdlif.data.own.targets import ONE_CLASS, Scale, Wanted, in_order, labels_of
from hdlif.errors import DataError, brief, cut, some
from hdlif.ops import InputRecord

_MOST_SHARDS = 2**16
_BRACES = re.compile(r"\{([^{}]*)\}")


def find_shards(
    root: Path | None,
    *,
    size: int | None,
    known: InputRecord | None,
    say: Callable[[str], None] = lambda line: None,
    time_steps: int,
    binning: str,
    path: str,
    label: str = "label",
    member: str | None = None,
    channels: Literal[1, 3] | None = None,
    fit: Literal["squash", "crop"] = "squash",
    sensor: Sequence[int] | None = None,
    resize: Literal["pool", "bilinear"] = "pool",
    unreadable: Literal["refuse", "skip"] = "refuse",
    split: Mapping[str, float | Sequence[str | int]] | None = None,
    scale: Scale | None = None,
    each_step: bool = False,
    values: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    ahead: int | None = None,
    resample: int | None = None,
    seconds: float | None = None,
    clips: str | None = None,
    every: float | None = None,
    mels: int | None = None,
    frame_ms: float | None = None,
    hop_ms: float | None = None,
    lowest_hz: float | None = None,
    highest_hz: float | None = None,
) -> Found:
    """Look at tar shards of pictures, series, sounds or recordings of events.

    Where the name of every shard begins with train, val (or valid, validation) or test, that is the part of its
    samples.

    Args:
        root: the folder that a relative path starts from; the working folder by default.
        size, known, say, time_steps, binning: as `find_pictures` and `find_events` take them.
        path: a folder of .tar files, one, or a pattern with *, ?, [abc], {a,b} or {000..099}.
        label: the key of a .json that holds the label, a whole number or a name, where there is no .cls.
        member: the end of the names of samples, such as "jpg", where there are several in a key.
        channels, fit: of pictures, as of `find_pictures`.
        sensor, resize: of recordings, as of `find_events`.
        unreadable: samples that cannot be read are refused, or, but for series, left out.
        split: shares {validation: 0.15, test: 0.15, seed: 0} of what no shard's name puts into a part.
        scale: mean and deviation by which a network that is there already has its values normalised.
        each_step, values, labels, ahead: what is learned, where that is not one class of a sample (`targets.Wanted`): a
            .json holds it under the names of the values or labels, or the names of its labels under "labels".
        resample, seconds, clips, every, mels, frame_ms, hop_ms, lowest_hz, highest_hz: of sounds, as of `find_series`.
    Raises:
        DataError: there are no shards, one is damaged, or their samples cannot be used.
        ValueError: a share or an argument that none can be.
    """
    shares, wanted = shares_of(split), Wanted(each_step, values, labels, ahead)
    place = own_place(root, path, "tar shards")
    layout, samples = layout_of(place, label=label, member=member, wanted=wanted)
    check_kind(place, "series" if samples == "sound" else samples, known)
    sounds = {
        "resample": resample,
        "seconds": seconds,
        "clips": clips,
        "every": every,
        "mels": mels,
        "frame_ms": frame_ms,
        "hop_ms": hop_ms,
        "lowest_hz": lowest_hz,
        "highest_hz": highest_hz,
    }
    for key, value in sounds.items():
        if samples != "sound" and value is not None:
            raise ValueError(f"{key} = {value} is of sounds, and the shards hold none; leave it out")
    if samples == "sound":
        found = sounds_in(layout, shares, known=known, scale=scale, settings={**sounds, "unreadable": unreadable})
    elif samples == "series":
        found = series_in(layout, shares, known=known, scale=scale)
    elif samples == "events":
        found = events_of(
            layout,
            shares,
            size=size,
            known=known,
            say=say,
            time_steps=time_steps,
            binning=binning,
            sensor=sensor,
            resize=resize,
            unreadable=unreadable,
            scale=scale,
        )
    else:
        found = pictures_of(
            layout,
            shares,
            size=size,
            known=known,
            say=say,
            channels=channels,
            fit=fit,
            unreadable=unreadable,
            scale=scale,
        )
    return replace(found, path=place)


def layout_of(place: Path, *, label: str, member: str | None, wanted: Wanted = ONE_CLASS) -> tuple[Layout, str]:
    """The samples of the shards at a path, and which kind of input they are; arguments and errors of `find_shards`."""
    paths = shards_at(place)
    root = paths[0].parent if len({path.parent for path in paths}) == 1 else Path(os.path.commonpath(paths))
    names = [path.relative_to(root).as_posix() for path in paths]
    parts = _parts(root, names)
    found: list[tuple[int, str, ShardSample]] = []
    ignored: Counter[str] = Counter()
    for number, path in enumerate(paths):
        found += [(number, key, one) for key, one in samples_in(path, label, member, wanted, ignored).items()]
        if len(found) > MOST_FILES:
            raise DataError(f"{root}: more than {MOST_FILES:,} samples were found up to {path.name}; give one data set")
    samples = _one_kind(root, [(names[number], key, one) for number, key, one in found])
    listed = sorted(
        (
            (Listed(f"{names[number]}/{key}{one.end}", one.label, parts[number], one.target), number, one)
            for number, key, one in found
        ),
        key=lambda one: one[0].file,
    )
    files = tuple(one for one, _, _ in listed)
    classes = _classes(root, files) if wanted.classes else ()
    present = tuple(part for part in PARTS if part in parts)
    columns = np.array([(number, one.offset, one.size) for _, number, one in listed], np.int64).T
    layout = Layout(
        root,
        present,
        classes,
        files,
        dict(sorted(ignored.items())),
        Shards(paths, *columns),
        f"{len(paths)} tar shards" + (f" of {'/'.join(present)}" if present else ""),
        wanted,
    )
    return layout, samples


def _classes(root: Path, files: Sequence[Listed]) -> tuple[str, ...]:
    """The classes of samples, or of their steps, to train on. Raises `DataError` where others have more."""
    classes = in_order({label for one in files if one.part in (None, "train") for label in labels_of(one)})
    if len(classes) < 2:
        seen = f"all samples are of one class, {brief(classes[0])}" if classes else "there are no samples to train on"
        raise DataError(f"{root}: {seen}; there must be two or more")
    for one in files:
        if odd := next((label for label in labels_of(one) if label not in classes), None):
            raise DataError(f"{root}: {one.file} is of class {brief(odd)}, of which train has none; add some")
    return classes


def shards_at(place: Path) -> list[Path]:
    """The tar files of a folder, or of a pattern, sorted. Raises `DataError` where there is none."""
    if os.path.isfile(place):  # noqa: PTH113 - it says no to what is no path
        found = [str(place)]
    elif os.path.isdir(place):  # noqa: PTH112
        found = [entry.path for entry in os.scandir(place) if not entry.name.startswith(".")]
    else:
        found = [path for pattern in _expanded(str(place)) for path in (glob.glob(pattern) or [pattern])]  # noqa: PTH207
    paths = sorted({Path(path) for path in found if path.lower().endswith(".tar")})
    if not paths:
        raise DataError(f"{place}: no .tar file lies there; give a folder of them, one, or a pattern such as x-*.tar")
    # The pattern says that they are there: of those that are not, the first is named.
    for path in paths:
        if not os.path.isfile(path):  # noqa: PTH113
            raise DataError(f"{path}: there is no such shard; give those that are there")
    return paths


def _expanded(pattern: str) -> list[str]:
    """The patterns that braces stand for.

    >>> _expanded("x-{08..10}.tar"), _expanded("{a,b}.tar")
    (['x-08.tar', 'x-09.tar', 'x-10.tar'], ['a.tar', 'b.tar'])
    """
    done, todo = list[str](), [pattern]
    while todo:
        here = todo.pop(0)
        if (braces := _BRACES.search(here)) is None:
            done.append(here)
            continue
        inside = braces[1]
        if ends := re.fullmatch(r"([0-9]{1,9})\.\.([0-9]{1,9})", inside):
            first, last = int(ends[1]), int(ends[2])
            if last - first >= _MOST_SHARDS:
                raise DataError(f"{cut(pattern, 200)}: stands for more than {_MOST_SHARDS:,} shards; give fewer")
            inside = ",".join(f"{number:0{len(ends[1])}}" for number in range(first, last + 1))
        todo += [here[: braces.start()] + part + here[braces.end() :] for part in inside.split(",")]
        if len(todo) + len(done) > _MOST_SHARDS:
            raise DataError(f"{cut(pattern, 200)}: stands for more than {_MOST_SHARDS:,} shards; give fewer")
    return done


def _parts(root: Path, names: Sequence[str]) -> list[Part | None]:
    """The part of each shard. Raises `DataError` where some names say one and others do not, or none is to train on."""
    parts = [_part(name) for name in names]
    if all(part is None for part in parts):
        return parts
    if None in parts:
        said, other = names[next(n for n, part in enumerate(parts) if part)], names[parts.index(None)]
        raise DataError(
            f"{root}: {cut(said)} says by its name which part it is, and {cut(other)} does not; begin all of them with "
            "train, val or test, or none"
        )
    if "train" not in parts:
        raise DataError(f"{root}: no shard's name begins with train; there are {some(list(map(cut, names)), 3)}")
    return parts


def _part(name: str) -> Part | None:
    begins = re.match("[a-z]*", name.rpartition("/")[2].removesuffix(".tar").lower())
    return PART_FOLDERS.get(begins[0] if begins else "")


def _one_kind(root: Path, found: Sequence[tuple[str, str, ShardSample]]) -> str:
    """Which kind of input the samples are. Raises `DataError` unless they are of one."""
    if not found:
        known = ", ".join(end for ends in SAMPLES.values() for end in ends)
        raise DataError(f"{root}: its shards hold no sample; their names should end in one of {known}")
    kinds: dict[str, str] = {}
    for shard, key, one in found:
        end = Path(f"x{one.end}").suffix
        kind = next((kind for kind, ends in SAMPLES.items() if end in ends), None)
        if kind is None:
            raise DataError(
                f"{root}: {shard}: {cut(key)}{cut(one.end)} is of no kind that is read; name another member"
            )
        kinds.setdefault(kind, f"{shard}: {cut(key)}{one.end}")
    if len(kinds) > 1:
        said = " and ".join(f"{kind} ({file})" for kind, file in kinds.items())
        raise DataError(f"{root}: its samples are of several kinds: {said}; choose one with data.member=END")
    return next(iter(kinds))

"""The user's own samples in tar shards of the WebDataset form: KEY.png, say, beside KEY.cls or KEY.json with its label.

The headers of every shard are read once when a command starts; then any sample is one read away, so that the order of
an epoch is a function of (seed, epoch), as with files.
"""

import glob
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from hdlif.data.files import Member, Shards, tar_members
from hdlif.data.folders import MOST_FILES
from hdlif.data.manifest import PARTS, Part
from hdlif.data.own_data import Layout, OwnData, Request, Sample, check_kind, own_place
from hdlif.data.sources.events import find_events_in
from hdlif.data.sources.pictures import find_pictures_in
from hdlif.data.sources.sounds import SOUND_KEYS, find_sounds
from hdlif.data.split import PART_FOLDERS, shares_of
from hdlif.data.targets import ONE_CLASS, Scale, Wanted, class_named, in_order, labels_of, target_in
from hdlif.data.value_samples import find_series_in
from hdlif.errors import DataError, brief, cut, reason, some
from hdlif.inputs import Unreadable, pictures
from hdlif.inputs.recordings import READERS
from hdlif.inputs.sounds import SUFFIX
from hdlif.ops import InputRecord
from hdlif.whole_files import open_regular

_MOST_SHARDS = 2**16
_MOST_LABEL = 2**20
"""Bytes of a .cls or .json."""


@dataclass(frozen=True)
class SampleKind:
    """A kind of samples: the ends of their names, what finds a data set in them, and the keys that this takes."""

    suffixes: tuple[str, ...]
    find: Callable[..., OwnData]
    keys: tuple[str, ...] = ()


KINDS: Mapping[str, SampleKind] = {
    "image": SampleKind(tuple(pictures.FORMATS), find_pictures_in, ("channels", "fit")),
    "series": SampleKind((".csv", ".npy"), find_series_in),
    "sound": SampleKind((SUFFIX,), find_sounds, ("resample", *SOUND_KEYS)),
    "events": SampleKind(
        tuple(suffix for suffix in READERS if suffix != ".npy"),
        find_events_in,
        ("time_steps", "binning", "sensor", "resize"),
    ),
}
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class _Found:
    """Where a sample lies in its shard, the end of its name, and what is learned of it."""

    end: str
    offset: int
    size: int
    label: str
    target: Any


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
) -> OwnData:
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
    wanted = Wanted(each_step, values, labels, ahead)
    request = Request(shares_of(split), wanted, known, scale, size, say, unreadable)
    given = locals()
    options = {key: given[key] for kind in KINDS.values() for key in kind.keys}
    place = own_place(root, path, "tar shards")
    layout, kind = layout_of(place, label=label, member=member, wanted=wanted)
    check_kind(place, "series" if kind == "sound" else kind, known)
    for key in KINDS["sound"].keys:
        if kind != "sound" and options[key] is not None:
            raise ValueError(f"{key} = {options[key]} is of sounds, and the shards hold none; leave it out")
    chosen = KINDS[kind]
    return replace(chosen.find(layout, request, **{key: options[key] for key in chosen.keys}), path=place)


def layout_of(place: Path, *, label: str, member: str | None, wanted: Wanted = ONE_CLASS) -> tuple[Layout, str]:
    """The samples of the shards at a path, and which kind of input they are; arguments and errors of `find_shards`."""
    paths = shards_at(place)
    root = paths[0].parent if len({path.parent for path in paths}) == 1 else Path(os.path.commonpath(paths))
    names = [path.relative_to(root).as_posix() for path in paths]
    parts = _parts(root, names)
    found: list[tuple[int, str, _Found]] = []
    ignored: Counter[str] = Counter()
    for number, path in enumerate(paths):
        found += [(number, key, one) for key, one in samples_in(path, label, member, wanted, ignored).items()]
        if len(found) > MOST_FILES:
            raise DataError(f"{root}: more than {MOST_FILES:,} samples were found up to {path.name}; give one data set")
    samples = _one_kind(root, [(names[number], key, one) for number, key, one in found])
    listed = sorted(
        (
            (Sample(f"{names[number]}/{key}{one.end}", one.label, parts[number], one.target), number, one)
            for number, key, one in found
        ),
        key=lambda one: one[0].name,
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


def _classes(root: Path, files: Sequence[Sample]) -> tuple[str, ...]:
    """The classes of samples, or of their steps, to train on. Raises `DataError` where others have more."""
    classes = in_order({label for one in files if one.part in (None, "train") for label in labels_of(one)})
    if len(classes) < 2:
        seen = f"all samples are of one class, {brief(classes[0])}" if classes else "there are no samples to train on"
        raise DataError(f"{root}: {seen}; there must be two or more")
    for one in files:
        if odd := next((label for label in labels_of(one) if label not in classes), None):
            raise DataError(f"{root}: {one.name} is of class {brief(odd)}, of which train has none; add some")
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


def _one_kind(root: Path, found: Sequence[tuple[str, str, _Found]]) -> str:
    """Which kind of input the samples are. Raises `DataError` unless they are of one."""
    if not found:
        known = ", ".join(end for kind in KINDS.values() for end in kind.suffixes)
        raise DataError(f"{root}: its shards hold no sample; their names should end in one of {known}")
    kinds: dict[str, str] = {}
    for shard, key, one in found:
        end = Path(f"x{one.end}").suffix
        kind = next((kind for kind, of in KINDS.items() if end in of.suffixes), None)
        if kind is None:
            raise DataError(
                f"{root}: {shard}: {cut(key)}{cut(one.end)} is of no kind that is read; name another member"
            )
        kinds.setdefault(kind, f"{shard}: {cut(key)}{one.end}")
    if len(kinds) > 1:
        said = " and ".join(f"{kind} ({file})" for kind, file in kinds.items())
        raise DataError(f"{root}: its samples are of several kinds: {said}; choose one with data.member=END")
    return next(iter(kinds))


def samples_in(path: Path, label: str, member: str | None, wanted: Wanted, ignored: Counter[str]) -> dict[str, _Found]:
    """The samples of a shard by their keys; `ignored` counts what is none."""
    found: dict[str, tuple[str, Member]] = {}
    given: dict[str, tuple[str, Any]] = {}
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            for key, end, one in _members(file):
                if _is_sample(end, member):
                    if key in found:
                        also = "twice" if found[key][0] == end else f"as {found[key][0]} and {end}"
                        raise Unreadable(f"{cut(key)} is there {also}; say which it is with data.member=END")
                    found[key] = end, one
                elif end == ".json" and wanted.ahead is None:
                    # A .cls, which holds nothing but a class, goes before it.
                    if key not in given:
                        given[key] = _target(file, one, wanted, label)
                elif end == ".cls" and wanted.one_class:
                    given[key] = _class(file, one), None
                else:
                    ignored[end or "no suffix"] += 1
    except (OSError, Unreadable) as error:
        raise DataError(f"{path}: cannot be read as a tar shard ({reason(error)}); fix it, or remove it") from error
    if wanted.ahead is not None:
        given = dict.fromkeys(found, ("", None))
    for key in found:
        if key not in given:
            names = cut(", ".join(map(brief, wanted.names or (label,))), 200)
            needed = f".cls, or .json with {names}" if wanted.one_class else f".json with {names}"
            what = "label" if wanted.one_class else "target"
            raise DataError(f"{path}: {cut(key)} has no {what} beside it: add {cut(key)}{needed}")
    return {key: _Found(end, one.offset, one.size, *given[key]) for key, (end, one) in found.items()}


def _members(file: BinaryIO) -> Iterator[tuple[str, str, Member]]:
    """Key, end and place of every file of a shard; what begins with a dot is passed over."""
    for one in tar_members(file):
        folder, slash, base = one.name.removeprefix("./").rpartition("/")
        stem, _, end = base.partition(".")
        if stem:
            yield f"{folder}{slash}{stem}", f".{end.lower()}" if end else "", one


def _is_sample(end: str, member: str | None) -> bool:
    if member is not None:
        return end == f".{member.lower().removeprefix('.')}"
    return any(end in kind.suffixes for kind in KINDS.values())


def _class(file: BinaryIO, one: Member) -> str:
    """The class that a .cls holds. Raises `Unreadable`."""
    text = _text(file, one)
    try:
        return class_named(text.strip())
    except Unreadable as error:
        raise Unreadable(f"{cut(one.name)}: {error}") from error


def _target(file: BinaryIO, one: Member, wanted: Wanted, label: str) -> tuple[str, Any]:
    """What a .json holds of a sample, a class or a target. Raises `Unreadable`."""
    text = _text(file, one)
    try:
        return target_in(json.loads(text), wanted, label)
    except Unreadable as error:
        raise Unreadable(f"{cut(one.name)}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{cut(one.name)} is damaged ({reason(error)})") from error


def _text(file: BinaryIO, one: Member) -> str:
    if one.size > _MOST_LABEL:
        raise Unreadable(f"{cut(one.name)} has {one.size:,} bytes, and labels have at most {_MOST_LABEL:,}")
    file.seek(one.offset)
    try:
        return file.read(one.size).decode("utf-8")
    except ValueError as error:
        raise Unreadable(f"{cut(one.name)} is damaged ({reason(error)})") from error

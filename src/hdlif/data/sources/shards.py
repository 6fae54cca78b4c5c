"""Read the user's own samples from WebDataset tar shards, such as KEY.png with a label in KEY.cls or KEY.json.

hdlif reads the headers of every shard once at the start of a command. Any sample can be read directly, so the order of
the samples in an epoch depends only on (seed, epoch).
"""

import glob
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hdlif.data.files import Member, Shards, tar_members
from hdlif.data.folders import MOST_FILES
from hdlif.data.manifest import PARTS, Part, Sample
from hdlif.data.own_data import Layout, OwnData, Placed, check_kind
from hdlif.data.sources.events import OfEvents
from hdlif.data.sources.pictures import OfImages
from hdlif.data.sources.sounds import SOUND_KEYS, OfSounds
from hdlif.data.split import PART_FOLDERS
from hdlif.data.targets import Wanted, class_named, in_order, labels_of, target_in
from hdlif.data.value_samples import find_series_in
from hdlif.errors import DataError, brief, cut, reason, some
from hdlif.inputs import Unreadable, pictures
from hdlif.inputs.recordings import READERS
from hdlif.inputs.sounds import SUFFIX
from hdlif.whole_files import open_regular

_MOST_SHARDS = 2**16
_MOST_LABEL = 2**20
"""Maximum size of a .cls or .json file in bytes."""


@dataclass(frozen=True)
class SampleKind:
    """A kind of sample, with its file suffixes and the function that creates a data set."""

    suffixes: tuple[str, ...]
    find: Callable[["TarShards", Layout], OwnData]


KINDS: Mapping[str, SampleKind] = {
    "image": SampleKind(tuple(pictures.FORMATS), lambda request, layout: request.find_images(layout)),
    "series": SampleKind((".csv", ".npy"), lambda request, layout: find_series_in(layout, request)),
    "sound": SampleKind((SUFFIX,), lambda request, layout: request.find_sounds(layout)),
    "events": SampleKind(
        tuple(suffix for suffix in READERS if suffix != ".npy"), lambda request, layout: request.find_recordings(layout)
    ),
}
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class _Found:
    """A sample in a shard, with its suffix, position and target."""

    end: str
    offset: int
    size: int
    label: str
    target: Any


@dataclass(frozen=True, kw_only=True)
class TarShards(Placed, OfImages, OfEvents, OfSounds):
    """A request to load tar shards of images, time series, audio or event-camera data.

    If the name of every shard begins with train, val (or valid, validation) or test, samples are split accordingly.

    Attributes:
        path: a folder of .tar files, one file, or a pattern with *, ?, [abc], {a,b} or {000..099}.
        label: the .json key of the label (an integer or a name), used if there is no .cls. Values and labels have their
            own names as keys, or the label names are listed under "labels".
        member: the suffix of samples, such as "jpg", if several files have the same key.
    """

    label: str = "label"
    member: str | None = None

    def find(self) -> OwnData:
        place = self.place("tar shards")
        layout, kind = self.layout(place)
        check_kind(place, "series" if kind == "sound" else kind, self.known)
        for key in ("resample", *SOUND_KEYS):
            if kind != "sound" and (value := getattr(self, key)) is not None:
                raise ValueError(f"{key} = {value} applies to audio, but the shards contain none; leave it out")
        return replace(KINDS[kind].find(self, layout), path=place)

    def layout(self, place: Path) -> tuple[Layout, str]:
        """List the samples in the shards at a path, and return the kind of sample, such as "image"."""
        paths = shards_at(place)
        root = paths[0].parent if len({path.parent for path in paths}) == 1 else Path(os.path.commonpath(paths))
        names = [path.relative_to(root).as_posix() for path in paths]
        parts = _parts(root, names)
        found: list[tuple[int, str, _Found]] = []
        ignored: Counter[str] = Counter()
        for number, path in enumerate(paths):
            found += [(number, key, one) for key, one in self._samples_in(path, ignored).items()]
            if len(found) > MOST_FILES:
                raise DataError(
                    f"{root}: more than {MOST_FILES:,} samples were found up to {path.name}; give one data set"
                )
        samples = _one_kind(root, [(names[number], key, one) for number, key, one in found])
        listed = sorted(
            (
                (Sample(f"{names[number]}/{key}{one.end}", one.label, parts[number], one.target), number, one)
                for number, key, one in found
            ),
            key=lambda one: one[0].name,
        )
        files = tuple(one for one, _, _ in listed)
        classes = _classes(root, files) if self.wanted.classes else ()
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
        )
        return layout, samples

    def _samples_in(self, path: Path, ignored: Counter[str]) -> dict[str, _Found]:
        """Return the samples in a shard by key, and count all other files in `ignored`."""
        wanted, label = self.wanted, self.label
        found: dict[str, tuple[str, Member]] = {}
        given: dict[str, tuple[str, Any]] = {}
        try:
            with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
                for key, end, one in _members(file):
                    if _is_sample(end, self.member):
                        if key in found:
                            also = "twice" if found[key][0] == end else f"as {found[key][0]} and {end}"
                            raise Unreadable(f"{cut(key)} appears {also}; choose one with data.member=END")
                        found[key] = end, one
                    elif end == ".json" and wanted.ahead is None:
                        # A .cls, which contains only a class, takes precedence.
                        if key not in given:
                            given[key] = _target(file, one, wanted, label)
                    elif end == ".cls" and wanted.one_class:
                        given[key] = _target(file, one, wanted, label)
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
                raise DataError(f"{path}: {cut(key)} has no {what}: add {cut(key)}{needed}")
        return {key: _Found(end, one.offset, one.size, *given[key]) for key, (end, one) in found.items()}


def _classes(root: Path, files: Sequence[Sample]) -> tuple[str, ...]:
    """Return the classes in the training split. Raises `DataError` if another split contains other classes."""
    classes = in_order({label for one in files if one.part in (None, "train") for label in labels_of(one)})
    if not classes:
        raise DataError(f"{root}: there are no samples to train on; add some")
    for one in files:
        if odd := next((label for label in labels_of(one) if label not in classes), None):
            raise DataError(
                f"{root}: {one.name} is of class {brief(odd)}, which train does not have; add training samples of it"
            )
    return classes


def shards_at(place: Path) -> list[Path]:
    """Return the sorted tar files at a path or glob pattern. Raises `DataError` if there is no tar file."""
    if os.path.isfile(place):  # noqa: PTH113 - False for names that cannot exist
        found = [str(place)]
    elif os.path.isdir(place):  # noqa: PTH112
        found = [entry.path for entry in os.scandir(place) if not entry.name.startswith(".")]
    else:
        found = [path for pattern in _expanded(str(place)) for path in (glob.glob(pattern) or [pattern])]  # noqa: PTH207
    paths = sorted({Path(path) for path in found if path.lower().endswith(".tar")})
    if not paths:
        raise DataError(f"{place}: there is no .tar file; give a folder of them, one, or a pattern such as x-*.tar")
    # Report the first missing shard of those that the pattern lists.
    for path in paths:
        if not os.path.isfile(path):  # noqa: PTH113
            raise DataError(f"{path}: there is no such shard; give existing shards")
    return paths


def _expanded(pattern: str) -> list[str]:
    """Expand the braces in a pattern, and return the resulting patterns.

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
                raise DataError(f"{cut(pattern, 200)}: expands to more than {_MOST_SHARDS:,} shards; give fewer")
            inside = ",".join(f"{number:0{len(ends[1])}}" for number in range(first, last + 1))
        todo += [here[: braces.start()] + part + here[braces.end() :] for part in inside.split(",")]
        if len(todo) + len(done) > _MOST_SHARDS:
            raise DataError(f"{cut(pattern, 200)}: expands to more than {_MOST_SHARDS:,} shards; give fewer")
    return done


def _parts(root: Path, names: Sequence[str]) -> list[Part | None]:
    """Return the split (train, validation or test) of each shard.

    Raises `DataError` if only some names contain a split, or if "train" is missing."""
    parts = [_part(name) for name in names]
    if all(part is None for part in parts):
        return parts
    if None in parts:
        said, other = names[next(n for n, part in enumerate(parts) if part)], names[parts.index(None)]
        raise DataError(
            f"{root}: the name of {cut(said)} begins with its part, but the name of {cut(other)} does not; begin all "
            "of them with train, val or test, or none"
        )
    if "train" not in parts:
        raise DataError(f"{root}: no shard's name begins with train; there are {some(list(map(cut, names)), 3)}")
    return parts


def _part(name: str) -> Part | None:
    begins = re.match("[a-z]*", name.rpartition("/")[2].removesuffix(".tar").lower())
    return PART_FOLDERS.get(begins[0] if begins else "")


def _one_kind(root: Path, found: Sequence[tuple[str, str, _Found]]) -> str:
    """Return the kind of sample, such as "image". Raises `DataError` unless all samples are of the same kind."""
    if not found:
        known = ", ".join(end for kind in KINDS.values() for end in kind.suffixes)
        raise DataError(f"{root}: its shards contain no sample; names of samples should end in one of {known}")
    kinds: dict[str, str] = {}
    for shard, key, one in found:
        end = Path(f"x{one.end}").suffix
        kind = next((kind for kind, of in KINDS.items() if end in of.suffixes), None)
        if kind is None:
            raise DataError(
                f"{root}: {shard}: {cut(key)}{cut(one.end)} is not of a supported kind; name another member"
            )
        kinds.setdefault(kind, f"{shard}: {cut(key)}{one.end}")
    if len(kinds) > 1:
        said = " and ".join(f"{kind} ({file})" for kind, file in kinds.items())
        raise DataError(f"{root}: its samples are of several kinds: {said}; choose one with data.member=END")
    return next(iter(kinds))


def _members(file: BinaryIO) -> Iterator[tuple[str, str, Member]]:
    """Yield the key, suffix and position of every file in a shard, except hidden files."""
    for one in tar_members(file):
        folder, slash, base = one.name.removeprefix("./").rpartition("/")
        stem, _, end = base.partition(".")
        if stem:
            yield f"{folder}{slash}{stem}", f".{end.lower()}" if end else "", one


def _is_sample(end: str, member: str | None) -> bool:
    if member is not None:
        return end == f".{member.lower().removeprefix('.')}"
    return any(end in kind.suffixes for kind in KINDS.values())


def _target(file: BinaryIO, one: Member, wanted: Wanted, label: str) -> tuple[str, Any]:
    """Return the class in a .cls file, or the class and target in a .json file. Raises `Unreadable`."""
    if one.size > _MOST_LABEL:
        raise Unreadable(f"{cut(one.name)} has {one.size:,} bytes; labels have at most {_MOST_LABEL:,}")
    file.seek(one.offset)
    try:
        text = file.read(one.size).decode("utf-8")
        if one.name.lower().endswith(".cls"):
            return class_named(text.strip()), None
        return target_in(json.loads(text), wanted, label)
    except Unreadable as error:
        raise Unreadable(f"{cut(one.name)}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{cut(one.name)} is damaged ({reason(error)})") from error

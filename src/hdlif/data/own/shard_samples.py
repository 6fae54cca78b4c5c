"""The samples of one tar shard: where each lies, and what stands beside it of what is learned."""

import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hdlif.data.files import Member, tar_members
from hdlif.data.own.given_targets import class_named, target_in
from hdlif.data.own.targets import Wanted
from hdlif.errors import DataError, brief, cut, reason
from hdlif.inputs import Unreadable, pictures
from hdlif.inputs.recordings import READERS
from hdlif.inputs.sounds import SUFFIX
from hdlif.whole_files import open_regular

_MOST_LABEL = 2**20
"""Bytes of a .cls or .json."""
SAMPLES: Mapping[str, Collection[str]] = {
    "image": tuple(pictures.FORMATS),
    "series": (".csv", ".npy"),
    "sound": (SUFFIX,),
    "events": tuple(suffix for suffix in READERS if suffix != ".npy"),
}
"""By kind of sample, how their names end."""


@dataclass(frozen=True)
class ShardSample:
    """Where a sample lies in its shard, the end of its name, and what is learned of it."""

    end: str
    offset: int
    size: int
    label: str
    target: Any


def samples_in(
    path: Path, label: str, member: str | None, wanted: Wanted, ignored: Counter[str]
) -> dict[str, ShardSample]:
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
    return {key: ShardSample(end, one.offset, one.size, *given[key]) for key, (end, one) in found.items()}


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
    return any(end in ends for ends in SAMPLES.values())


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

"""In which part of the data each sample is: that which its place says, or one that is taken for it."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Protocol

from hdlif.data.own.manifest import PARTS, Manifest, Part
from hdlif.data.own.shares import Shares, divided, enough_for, rank
from hdlif.data.own.targets import Sample, in_order, labels_of
from hdlif.errors import DataError, brief, did_you_mean


class Placed(Sample, Protocol):
    """A sample whose place may say in which part it is."""

    @property
    def part(self) -> Part | None: ...


def parts_of(
    place: object,
    samples: Sequence[Placed],
    units: Sequence[str],
    shares: Shares,
    *,
    parts: Sequence[Part],
    grouped: bool,
    unit: str,
    counted: Callable[[int], str] | None = None,
    mend: str = "",
    hint: str = "",
) -> list[Part]:
    """The part of each sample: that of its place, or one that its unit is in: a share of all, or of its class.

    Args:
        place: of the data, for errors.
        units: of each sample; what has the same is in one part.
        parts: that samples are placed in; the others are taken from "train", or from all where there is none.
        grouped: whether units, such as people, may be in several classes.
        unit: one is called so.
        counted: says so many of them.
        mend: what helps besides where there are too few.
        hint: what helps instead, unless it is empty.
    Raises:
        DataError: there are too few, a class is in no training sample, or a place puts a unit in two parts.
    """
    if parts and "train" not in parts and not shares.whole:
        raise DataError(f"{place}: no {unit} is in the part train; put some there")
    _check_named(place, units, shares, parts, grouped=grouped)
    if grouped:
        _check_whole(place, samples, units, unit)
    wanted = [part for part in PARTS if part not in parts]
    split_from: Part | None = "train" if parts else None
    divide = [number for number, one in enumerate(samples) if wanted and one.part == split_from]
    taken: dict[int, Part] = {}

    def in_class(number: int) -> str:
        return "" if grouped else samples[number].label

    for name, members in groupby(sorted(divide, key=in_class), key=in_class):
        numbers = list(members)
        found = divided([units[number] for number in numbers], shares, wanted)
        if found is None:
            few = len({units[number] for number in numbers})
            whose = f'class "{name}" has' if name else f"there {'is' if few == 1 else 'are'}"
            kept = f"{few} unit{'s' * (few != 1)} kept together (each {unit})"
            seen = kept if grouped or counted is None else counted(few)
            helps = hint or ("name fewer of them in data.split" if shares.named else enough_for(wanted, few))
            raise DataError(
                f"{place}: {whose} {seen}, too few to take some for "
                f"{' and '.join(part for part in wanted if part != 'train')}; {helps}{mend}"
            )
        taken |= {number: found[units[number]] for number in numbers}
    chosen: list[Part] = [taken.get(number) or one.part or "train" for number, one in enumerate(samples)]
    if not shares.whole:
        _check_trained(place, samples, chosen, unit, f"--set data.split.seed={shares.seed + 1}" if divide else "")
    return chosen


def _check_named(place: object, units: Sequence[str], shares: Shares, parts: Sequence[Part], *, grouped: bool) -> None:
    """Raise `DataError` where groups are named for a part, and there are none, or none of that name."""
    known = sorted(set(units))
    for part, names in shares.named.items():
        seen = f"{place}: data.split.{part} names {brief(names[0])}"
        if not grouped:
            raise DataError(f"{seen}, and nothing says of whom a sample is; set data.group, or give a share")
        if part in parts:
            raise DataError(f"{seen}, and there is a part {part} already; leave it out")
        if absent := [name for name in names if name not in known]:
            raise DataError(
                f"{place}: data.split.{part} names {brief(absent[0])}, and there is no such group; "
                f"{did_you_mean(absent[0], known)}"
            )


def _check_whole(place: object, samples: Sequence[Placed], units: Sequence[str], unit: str) -> None:
    """Raise `DataError` where samples of a unit are placed in two parts."""
    part_of: dict[str, Part | None] = {}
    for one, whose in zip(samples, units, strict=True):
        if part_of.setdefault(whose, one.part) != one.part:
            raise DataError(
                f'{place}: "{whose}", a {unit}, is in {part_of[whose]} and in {one.part}; keep each in one of them'
            )


def _check_trained(place: object, samples: Sequence[Placed], chosen: Sequence[Part], unit: str, split: str) -> None:
    """Raise `DataError` unless each class is in the training part; `split` would take other samples for it."""
    trained = {label for one, part in zip(samples, chosen, strict=True) if part == "train" for label in labels_of(one)}
    if absent := in_order({label for one in samples for label in labels_of(one)} - trained):
        mend = f"try another split: {split}" if split else "put some there"
        raise DataError(f'{place}: class "{absent[0]}" is in no {unit} of the training part; {mend}')


def by_part(hashes: Sequence[str], names: Sequence[str], chosen: Sequence[Part], seed: int) -> dict[Part, list[int]]:
    """The numbers of the samples in each part, in an order in which the first ones are of all classes.

    Args:
        hashes, names: of each sample.
        chosen: the part of each.
    """
    parts: dict[Part, list[int]] = {part: [] for part in PARTS}
    for number in sorted(range(len(names)), key=lambda number: (rank(hashes[number], seed), names[number])):
        parts[chosen[number]].append(number)
    return parts


def files_of(manifest: Manifest, part: Part, seed: int) -> list[str]:
    """The files of a part's samples, in the order of `by_part`, in which they are numbered there."""
    entries = manifest.entries
    hashes, names, chosen = ([getattr(one, key) for one in entries] for key in ("sha256", "file", "part"))
    return [names[number] for number in by_part(hashes, names, chosen, seed)[part]]


def split_here(parts: Sequence[Part], shares: Shares) -> dict[str, Any]:
    """The shares of the parts that have no place of their own, as JSON has it."""
    taken = [part for part in PARTS[1:] if part not in parts]
    of_parts = {part: list(share) if isinstance(share, tuple) else share for part, share in shares.of_parts.items()}
    return {part: of_parts[part] for part in taken} | ({"seed": shares.seed} if taken else {})

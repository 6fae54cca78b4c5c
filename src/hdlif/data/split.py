"""Split samples for training, validation and testing by location, content or group."""

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from hdlif.data.manifest import PARTS, Manifest, Part, Sample
from hdlif.data.targets import in_order, labels_of
from hdlif.errors import DataError, brief, did_you_mean, some
from hdlif.inputs.memory_tasks import Content

PART_FOLDERS: Mapping[str, Part] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Part of the data for each accepted name of a folder, of a shard, or in a row."""

DEFAULT_SHARE = 0.15
Split = Mapping[str, float | Sequence[str | int]]
"""Fractions of the parts or names of their groups, and the seed, as in a recipe."""


@dataclass(frozen=True)
class Shares:
    """The fractions of validation and test samples in each class, with the seed of the split.

    A list of group names can replace a fraction. With a validation fraction of 0, no samples are held out, and the last
    epoch's weights are kept. Use a test fraction of 1 only to evaluate an existing network, because no training samples
    remain. The split's seed is independent of the run's seed.
    """

    validation: float | tuple[str, ...] = DEFAULT_SHARE
    test: float | tuple[str, ...] = DEFAULT_SHARE
    seed: int = 0

    def __post_init__(self) -> None:
        if self.whole:
            return
        shares = {name: share for name, share in self.of_parts.items() if not isinstance(share, tuple)}
        for name, share in shares.items():
            if not 0 <= share < 1 or (not share and name == "test"):
                accepted = "above 0" if name == "test" else "0 or more"
                raise ValueError(f"split.{name} = {share} is refused; it should be {accepted} and below 1")
        if sum(shares.values()) >= 1:
            raise ValueError(f"split: {self.validation} and {self.test} leave nothing to train on; lower one")
        for name, names in self.named.items():
            if not names:
                raise ValueError(f"split.{name} = [] is refused; name a group or more, or give a share")
        if twice := sorted(set(self.named.get("validation", ())) & {*self.named.get("test", ())}):
            raise ValueError(f"split: {brief(twice[0])} is in validation and in test; name it in one of them")

    @property
    def of_parts(self) -> dict[Part, float | tuple[str, ...]]:
        """The fraction of each split, in the order in which the splits are filled."""
        return {"test": self.test, "validation": self.validation}

    @property
    def named(self) -> dict[Part, tuple[str, ...]]:
        """The group names listed for each split."""
        return {part: names for part, names in self.of_parts.items() if isinstance(names, tuple)}

    @property
    def part_of(self) -> dict[str, Part]:
        """The split of each listed group."""
        return {name: part for part, names in self.named.items() for name in names}

    @property
    def whole(self) -> bool:
        """Whether all samples without an assigned split are test samples."""
        return (self.validation, self.test) == (0, 1)


def shares_of(split: Split | None) -> Shares:
    """Return the fractions in a recipe's `split`, or the defaults. Raises `ValueError` if a key or value is invalid."""
    given: dict[str, Any] = {name: _share(value) for name, value in (split or {}).items()}
    accepted = {"validation", "test", "seed"}
    if unknown := sorted(given.keys() - accepted):
        raise ValueError(f"split.{unknown[0]} is unknown; choose one of {', '.join(sorted(accepted))}")
    seed = given.pop("seed", 0)
    if isinstance(seed, tuple) or seed != int(seed) or seed < 0:
        raise ValueError(f"split.seed = {seed} is refused; it should be a whole number of at least 0")
    if given.get("test") == 1:
        given.setdefault("validation", 0)
    return Shares(**given, seed=int(seed))


def _share(value: float | Sequence[str | int]) -> float | tuple[str, ...]:
    return value if isinstance(value, int | float) else tuple(map(str, value))


def rank(content: str, seed: int) -> str:
    """Return a sort key that depends on the seed and on `content`, such as the SHA-256 of a file."""
    return hashlib.sha256(f"{seed}:{content}".encode()).hexdigest()


def divided(contents: Collection[str], shares: Shares, wanted: Sequence[Part]) -> dict[str, Part] | None:
    """Divide the distinct contents of one class into training, validation and test splits.

    Groups that the settings list for a split are assigned to that split. The n distinct contents are sorted by `rank`.
    The first round(n·fraction) contents (at least one) are test samples, followed by validation samples and then
    training samples.

    Args:
        wanted: parts to fill; "train" gets the rest.
    Returns:
        The part of each content, or None if no content would be left for training.
    """
    if shares.whole:
        return dict.fromkeys(contents, "test" if "test" in wanted else "train")
    order = sorted(set(contents), key=lambda content: rank(content, shares.seed))
    listed = shares.part_of
    parts = {name: listed[name] for name in order if listed.get(name) in wanted}
    left = [content for content in order if content not in parts]
    for part, share in shares.of_parts.items():
        if part in wanted and not isinstance(share, tuple):
            taken = max(1, round(len(order) * share)) if share else 0
            parts |= dict.fromkeys(left[:taken], part)
            left = left[taken:]
    if len(parts) >= len(order):
        return None
    return {content: parts.get(content, "train") for content in order}


def divided_by_class(samples: Sequence[Sample], shares: Shares, wanted: Sequence[Part]) -> dict[str, Part] | None:
    """Divide the groups of each class, as `divided` divides contents, if every group has a single class.

    A class with too few groups for all splits has no validation groups. If it has only one group, it has no test groups
    either.

    Returns:
        The part of each group, or None if a group has several classes or a requested part would be empty.
    """
    labels: dict[str, set[str]] = {}
    for one in samples:
        labels.setdefault(one.unit, set()).update(labels_of(one))
    if any(len(of_group) > 1 for of_group in labels.values()):
        return None
    classes: dict[str, list[str]] = {}
    for group, (label,) in labels.items():
        classes.setdefault(label, []).append(group)
    without_validation, listed = [part for part in wanted if part != "validation"], shares.part_of
    found: dict[str, Part] = {}
    for groups in classes.values():
        of_class = divided(groups, shares, wanted) or divided(groups, shares, without_validation)
        found |= of_class or {name: listed.get(name, "train") for name in groups}
    filled = {part for part, share in shares.of_parts.items() if part in wanted and share}
    return found if {"train", *filled} <= set(found.values()) else None


def enough_for(wanted: Collection[Part], few: int) -> str:
    """Describe what to do if there are too few distinct contents for the requested splits.

    >>> enough_for(["train", "validation", "test"], 2)
    'at least three are needed, one for each part; give more'
    >>> enough_for(["validation", "test"], 4)
    "set smaller fractions: --set 'data.split={validation: 0.3, test: 0.3}'"
    """
    least = len({*wanted, "train"})
    if few < least:
        return f"at least {'three' if least > 2 else 'two'} are needed, one for each part; give more"
    shares = ", ".join(f"{part}: 0.3" for part in wanted if part != "train")
    return f"set smaller fractions: --set 'data.split={{{shares}}}'"


def parts_of(
    place: object,
    samples: Sequence[Sample],
    shares: Shares,
    *,
    parts: Sequence[Part],
    grouped: bool,
    unit: str,
    counted: Callable[[int], str] | None = None,
    fix: str = "",
    hint: str = "",
) -> list[Part]:
    """Return the split of each sample, based on the sample's location or on the requested fractions.

    Args:
        place: place of the data, for errors.
        parts: parts in which samples are placed; other parts are taken from "train", or from all samples without
            parts. With a validation fraction of 0, "validation" samples are used for training.
        grouped: whether units, such as people, may be in several classes. If none is, each class is divided.
        unit, counted: the noun for one unit, and a function that describes a number of units.
        fix, hint: another fix for too few samples, shown after the default fix (`fix`) or instead of it (`hint`).
    Raises:
        DataError: there are too few samples, a class has no training sample, or a unit is placed in two parts.
    """
    if shares.validation == 0 and not shares.whole:
        # Samples placed in validation are not held out either.
        samples = [replace(one, part="train") if one.part == "validation" else one for one in samples]
        parts = [part for part in parts if part != "validation"]
    units = [one.unit for one in samples]
    if parts and "train" not in parts and not shares.whole:
        raise DataError(f"{place}: no {unit} is in the part train; put some there")
    _check_named(place, units, shares, parts, grouped=grouped)
    if grouped:
        _check_whole(place, samples, units, unit)
    wanted = [part for part in PARTS if part not in parts]
    split_from: Part | None = "train" if parts else None
    divide = [number for number, one in enumerate(samples) if wanted and one.part == split_from]
    taken: dict[int, Part] = {}
    if grouped and (by_class := divided_by_class([samples[number] for number in divide], shares, wanted)):
        taken, divide = {number: by_class[units[number]] for number in divide}, []

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
                f"{place}: {whose} {seen}, too few to divide into train and "
                f"{' and '.join(part for part in wanted if part != 'train')}; {helps}{fix}"
            )
        taken |= {number: found[units[number]] for number in numbers}
    chosen: list[Part] = [taken.get(number) or one.part or "train" for number, one in enumerate(samples)]
    if not shares.whole:
        _check_trained(place, samples, chosen, unit, f"--set data.split.seed={shares.seed + 1}" if taken else "")
    return chosen


def _check_named(place: object, units: Sequence[str], shares: Shares, parts: Sequence[Part], *, grouped: bool) -> None:
    """Raise `DataError` if the settings list unknown groups, or groups for a split that already has samples."""
    known = sorted(set(units))
    for part, names in shares.named.items():
        seen = f"{place}: data.split.{part} names {brief(names[0])}"
        if not grouped:
            raise DataError(f"{seen}, but the samples have no group; set data.group, or give a fraction")
        if part in parts:
            raise DataError(f"{seen}, but there is a part {part} already; leave it out")
        if absent := [name for name in names if name not in known]:
            raise DataError(
                f"{place}: data.split.{part} names {brief(absent[0])}, but there is no such group; "
                f"{did_you_mean(absent[0], known)}"
            )


def _check_whole(place: object, samples: Sequence[Sample], units: Sequence[str], unit: str) -> None:
    """Raise `DataError` if samples of the same unit, such as a person, are in different splits."""
    part_of: dict[str, Part | None] = {}
    for one, whose in zip(samples, units, strict=True):
        if part_of.setdefault(whose, one.part) != one.part:
            raise DataError(
                f'{place}: "{whose}", a {unit}, is in {part_of[whose]} and in {one.part}; keep each in one of them'
            )


def _check_trained(place: object, samples: Sequence[Sample], chosen: Sequence[Part], unit: str, split: str) -> None:
    """Raise `DataError` unless every class has training samples.

    The error suggests the option `split` as a fix unless `split` is empty.
    """
    trained = {label for one, part in zip(samples, chosen, strict=True) if part == "train" for label in labels_of(one)}
    if absent := in_order({label for one in samples for label in labels_of(one)} - trained):
        fix = f"try another split: {split}" if split else "put some there"
        raise DataError(f'{place}: class "{absent[0]}" is in no {unit} of the training part; {fix}')


def untested(counts: Mapping[str, Mapping[Part, int]], groups_of: Collection[str]) -> list[str]:
    """Return a warning for each split, other than the training split, that has no samples of a class.

    Args:
        counts: number of samples by class and split.
        groups_of: the splits into which hdlif divides groups.
    """
    lines = []
    for part in PARTS[1:]:
        absent = [brief(label) for label, of_label in counts.items() if not of_label[part]]
        if absent and len(absent) < len(counts):
            fix = f"add groups of each class, or list them in data.split.{part}" if part in groups_of else "add some"
            left_out = "this class" if len(absent) == 1 else "these classes"
            seen = f"there are no {part} samples of {some(absent, 5)}, so the {part} accuracy leaves out {left_out}"
            lines.append(f"{seen}; {fix}")
    return lines


def by_part(hashes: Sequence[str], names: Sequence[str], chosen: Sequence[Part], seed: int) -> dict[Part, list[int]]:
    """Return the sample indices in each split, sorted by hash to mix the classes."""
    parts: dict[Part, list[int]] = {part: [] for part in PARTS}
    for number in sorted(range(len(names)), key=lambda number: (rank(hashes[number], seed), names[number])):
        parts[chosen[number]].append(number)
    return parts


def files_of(manifest: Manifest, part: Part, seed: int) -> list[str]:
    """Return the files of the samples in a split, in the order of `by_part`."""
    entries = manifest.entries
    hashes, names, chosen = ([getattr(one, key) for one in entries] for key in ("sha256", "file", "part"))
    return [names[number] for number in by_part(hashes, names, chosen, seed)[part]]


def split_here(parts: Sequence[Part], shares: Shares) -> dict[str, Any]:
    """Return, as JSON, the fractions of the splits that hdlif creates."""
    taken = [part for part in PARTS[1:] if part not in parts]
    of_parts = {part: list(share) if isinstance(share, tuple) else share for part, share in shares.of_parts.items()}
    return {part: of_parts[part] for part in taken} | ({"seed": shares.seed} if taken else {})


def parts_named(place: object, names: Sequence[str]) -> list[Part]:
    """Convert the names of folders to splits. Raises `DataError` if a folder name is unknown."""
    if odd := next((name for name in names if name not in PART_FOLDERS), None):
        raise DataError(f"{place}: part contains {brief(odd)}; expected one of {', '.join(PART_FOLDERS)}")
    return [PART_FOLDERS[name] for name in names]


GROUP = "GROUP"


def check_pattern(pattern: str) -> None:
    """Raise `ValueError` unless a file-name pattern is printable and contains GROUP exactly once."""
    if pattern.count(GROUP) != 1 or not pattern.isprintable():
        raise ValueError(
            f"group = {pattern!r} is refused; for files by class, give a pattern of file names in which GROUP "
            "occurs once, such as 'GROUP_*.wav'"
        )


def group_in(pattern: str, name: str) -> str | None:
    """Return the group in a file's path below the class folder, or None if the pattern does not match.

    In a pattern, `GROUP` matches the name of the group, and `*` matches any text. Both `GROUP` and `*` match as few
    characters as possible:

    >>> group_in("GROUP_*.wav", "ann_1_2.wav"), group_in("*/GROUP.wav", "digits/7.wav"), group_in("GROUP_*", "ann")
    ('ann', '7', None)
    """
    first, *rest = re.split(rf"({GROUP}|\*)", pattern)
    wild = [
        ("(.+?)" if kind == GROUP else ".*?") + re.escape(text)
        for kind, text in zip(rest[::2], rest[1::2], strict=True)
    ]
    # Atomic groups take the first match, which suffices for all parts but the last and takes linear time.
    atomic = [f"(?>{part})" for part in wild[:-1]]
    found = re.fullmatch("".join([re.escape(first), *atomic, wild[-1]]), name, re.DOTALL)
    return found[1] if found else None


SPLIT_SEED = 0
"""Split seed of shipped sets, which hold out the same samples for every seed of a run."""


def fixed_permutation(n: int) -> Tensor:
    """Return a permutation of 0 to n-1 as int64 [n], which depends only on n.

    Validation samples are taken from the end, so a larger validation set contains every smaller one.
    """
    return torch.randperm(n, generator=torch.Generator().manual_seed(SPLIT_SEED))


def hold_out(name: str, n: int, validation: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the training and validation samples. Raises `DataError` if either set is empty."""
    check_validation(name, validation, least=1, most=n - 1)
    order = fixed_permutation(n)
    return order[:-validation], order[-validation:]


def check_generated(name: str, content: Content, validation: int) -> None:
    """Raise `DataError` unless generated data have valid sizes and include at least one validation sample."""
    if validation < 1:
        raise DataError(f"{name}: {validation} validation samples are refused; set validation to 1 or more")
    try:
        content.check_parts(validation)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def check_validation(name: str, validation: int, *, least: int, most: int) -> None:
    """Raise `DataError` unless the number of validation samples is between `least` and `most`."""
    if not least <= validation <= most:
        raise DataError(f"{name}: {validation} validation images are refused; set validation to {least}..{most}")

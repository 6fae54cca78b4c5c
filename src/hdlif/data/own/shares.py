"""How samples that come in one part are divided into training, validation and test: by their contents alone."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hdlif.data.own.manifest import Part
from hdlif.errors import brief

DEFAULT_SHARE = 0.15
Split = Mapping[str, float | Sequence[str | int]]
"""What a recipe says: shares, or the names of groups, and the seed."""


@dataclass(frozen=True)
class Shares:
    """The shares of validation and test in all samples of a class, and the seed of who is in which.

    In place of a share there may be the names of groups. With a validation share of 0 no sample is held out, and the
    last epoch is kept. The seed is the split's own: runs of other seeds train and are
    measured on the same samples. A share of 1 for testing leaves nothing to train on: it is for a network that is there
    already.
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
        """By part; those of the test first, which are taken first."""
        return {"test": self.test, "validation": self.validation}

    @property
    def named(self) -> dict[Part, tuple[str, ...]]:
        """The parts whose groups are named, and these."""
        return {part: names for part, names in self.of_parts.items() if isinstance(names, tuple)}

    @property
    def whole(self) -> bool:
        """Whether all that has no part of its own is for testing."""
        return (self.validation, self.test) == (0, 1)


def shares_of(split: Split | None) -> Shares:
    """The recipe's `split`; the shares by default. Raises `ValueError` on a key or value that it cannot have."""
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
    """Where a content (the SHA-256 of a file, say) stands in an order that is another for each seed."""
    return hashlib.sha256(f"{seed}:{content}".encode()).hexdigest()


def divided(contents: Collection[str], shares: Shares, wanted: Sequence[Part]) -> dict[str, Part] | None:
    """The part of each content of one class: what is the same is in one part, whatever else there is.

    Contents that are named are in their part. Of n different contents the first round(n·share), at least one, in the
    order of `rank` are for testing, the next for validation, and the rest for training.

    Args:
        wanted: parts that samples are taken for; "train" gets what is left.
    Returns:
        None where there are too few to leave one for training.
    """
    if shares.whole:
        return dict.fromkeys(contents, "test" if "test" in wanted else "train")
    order = sorted(set(contents), key=lambda content: rank(content, shares.seed))
    parts: dict[str, Part] = {name: part for part, names in shares.named.items() for name in names if part in wanted}
    left = [content for content in order if content not in parts]
    for part, share in shares.of_parts.items():
        if part in wanted and not isinstance(share, tuple):
            taken = max(1, round(len(order) * share)) if share else 0
            parts |= dict.fromkeys(left[:taken], part)
            left = left[taken:]
    if len(parts) >= len(order):
        return None
    return {content: parts.get(content, "train") for content in order}


def enough_for(wanted: Collection[Part], few: int) -> str:
    """What is to be done where `divided` finds too few different contents for the parts that are wanted.

    >>> enough_for(["train", "validation", "test"], 2)
    'three are the least, one for each part: give more'
    >>> enough_for(["validation", "test"], 4)
    "take smaller shares: --set 'data.split={validation: 0.3, test: 0.3}'"
    """
    least = len({*wanted, "train"})
    if few < least:
        return f"{'three' if least > 2 else 'two'} are the least, one for each part: give more"
    shares = ", ".join(f"{part}: 0.3" for part in wanted if part != "train")
    return f"take smaller shares: --set 'data.split={{{shares}}}'"

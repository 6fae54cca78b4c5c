"""How samples that come in one part are divided into training, validation and test: by their contents alone."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hdlif.data.own.manifest import Part

DEFAULT_SHARE = 0.15


@dataclass(frozen=True)
class Shares:
    """The shares of validation and test in all samples of a class, and the seed of who is in which.

    The seed is the split's own: runs of other seeds train and are measured on the same samples. A share of 1 for
    testing leaves nothing to train on: it is for a network that is there already.
    """

    validation: float = DEFAULT_SHARE
    test: float = DEFAULT_SHARE
    seed: int = 0

    def __post_init__(self) -> None:
        if self.whole:
            return
        for name, share in (("validation", self.validation), ("test", self.test)):
            if not 0 < share < 1:
                raise ValueError(f"split.{name} = {share} is refused; it should be above 0 and below 1")
        if self.validation + self.test >= 1:
            raise ValueError(f"split: {self.validation} and {self.test} leave nothing to train on; lower one")

    @property
    def whole(self) -> bool:
        """Whether all that has no part of its own is for testing."""
        return (self.validation, self.test) == (0, 1)


def shares_of(split: Mapping[str, float] | None) -> Shares:
    """The recipe's `split`; the shares by default. Raises `ValueError` on a key or value that it cannot have."""
    split = dict(split or {})
    accepted = {"validation", "test", "seed"}
    if unknown := sorted(split.keys() - accepted):
        raise ValueError(f"split.{unknown[0]} is unknown; choose one of {', '.join(sorted(accepted))}")
    seed = split.pop("seed", 0)
    if seed != int(seed) or seed < 0:
        raise ValueError(f"split.seed = {seed} is refused; it should be a whole number of at least 0")
    if split.get("test") == 1:
        split.setdefault("validation", 0)
    return Shares(**split, seed=int(seed))


def rank(content: str, seed: int) -> str:
    """Where a content (the SHA-256 of a file, say) stands in an order that is another for each seed."""
    return hashlib.sha256(f"{seed}:{content}".encode()).hexdigest()


def divided(contents: Collection[str], shares: Shares, wanted: Sequence[Part]) -> dict[str, Part] | None:
    """The part of each content of one class: what is the same is in one part, whatever else there is.

    Of n different contents the first round(n·share), at least one, in the order of `rank` are for testing, the next for
    validation, and the rest for training.

    Args:
        wanted: parts that samples are taken for; "train" gets what is left.
    Returns:
        None where there are too few to leave one for training.
    """
    if shares.whole:
        return dict.fromkeys(contents, "test" if "test" in wanted else "train")
    order = sorted(set(contents), key=lambda content: rank(content, shares.seed))
    parts: dict[str, Part] = {}
    for part, share in (("test", shares.test), ("validation", shares.validation)):
        if part in wanted:
            taken = max(1, round(len(order) * share))
            start = len(parts)
            parts |= dict.fromkeys(order[start : start + taken], part)  # type: ignore[arg-type]
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

"""Compare two gradients using sums over batches, time steps and layers."""

import math
from dataclasses import dataclass, field, fields
from typing import Self

import torch
from torch import Tensor


class _Sums:
    """Base class for sums over batches, with one sum per field."""

    def merge(self, other: Self) -> None:
        """Add the sums of another object to this object's sums."""
        for one in fields(self):  # type: ignore[arg-type]
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass
class Overlap(_Sums):
    """The sums <a, b>, |a|² and |b|² for a rule's gradient a and the reference b.

    The cosine compares the concatenated gradients of all batches, so a batch with a larger gradient counts more.
    """

    product: float = 0.0
    own: float = 0.0
    reference: float = 0.0

    def add(self, own: Tensor, reference: Tensor) -> None:
        """Add the two gradients of one batch, which have equal shapes."""
        self.product += float((own * reference).sum())
        self.own += float(own.square().sum())
        self.reference += float(reference.square().sum())

    @property
    def cosine(self) -> float | None:
        """Return the cosine <a, b> / (|a| |b|), or None if a or b is zero."""
        if not self.own or not self.reference:
            return None
        return self.product / math.sqrt(self.own * self.reference)

    @property
    def norm_ratio(self) -> float | None:
        """Return the norm ratio |a| / |b|, or None if b is zero."""
        return math.sqrt(self.own / self.reference) if self.reference else None


@dataclass
class Shares(_Sums):
    """The counts of equal, dropped and wrong entries of dL/dm at one time step.

    Attributes:
        equal: a = b; of these, `idle` are zero in both.
        dropped: a = 0, b ≠ 0.
        wrong: all others (rescaled, of the opposite sign, or spurious); of these, `opposite` have the opposite sign.
    """

    equal: int = 0
    idle: int = 0
    dropped: int = 0
    wrong: int = 0
    opposite: int = 0

    def add(self, own: Tensor, reference: Tensor, scale: Tensor) -> None:
        """Add the entries of one batch.

        Entries count as equal or zero within a tolerance of 1000 times the rounding error of `scale`.
        """
        tolerance = 1e3 * torch.finfo(own.dtype).eps * scale
        equal = (own - reference).abs() <= tolerance
        zero = own.abs() <= tolerance
        wrong = ~equal & ~zero
        self.equal += int(equal.sum())
        self.idle += int((equal & zero).sum())
        self.dropped += int((zero & ~equal).sum())
        self.wrong += int(wrong.sum())
        self.opposite += int((wrong & (own * reference < 0)).sum())

    @property
    def entries(self) -> int:
        """Return the number of entries counted so far."""
        return self.equal + self.dropped + self.wrong


@dataclass
class Rate(_Sums):
    """The fraction of non-zero entries, such as spikes."""

    active: int = 0
    entries: int = 0

    def add(self, values: Tensor) -> None:
        """Add the counts of all entries and of non-zero entries in `values`."""
        self.active += int(torch.count_nonzero(values))
        self.entries += values.numel()

    @property
    def share(self) -> float | None:
        """Return the fraction of non-zero entries, or None if nothing was counted."""
        return self.active / self.entries if self.entries else None


@dataclass
class Tally:
    """The statistics of one layer at one time step, or summed over several steps."""

    overlap: Overlap = field(default_factory=Overlap)
    shares: Shares = field(default_factory=Shares)
    rate: Rate = field(default_factory=Rate)

    def merge(self, other: "Tally") -> None:
        """Add another tally's statistics."""
        self.overlap.merge(other.overlap)
        self.shares.merge(other.shares)
        self.rate.merge(other.rate)

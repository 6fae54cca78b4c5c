"""Where the neurons of a chunk lie in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True)
class Place:
    """How the entries of a step [B, ...] follow on each other.

    Args:
        axes: the axes in the order of memory.
        shape: their sizes in that order.
    """

    axes: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, chunk: Tensor) -> Place:
        """That of [K, B, ...]: channels last where its steps are, else axis behind axis."""
        sizes = tuple(chunk.shape[1:])
        axes = tuple(range(len(sizes)))
        if len(sizes) == 4 and not chunk[0].is_contiguous():
            axes = (0, 2, 3, 1) if chunk[0].is_contiguous(memory_format=torch.channels_last) else axes
        return cls(axes, tuple(sizes[axis] for axis in axes))

    @cached_property
    def entries(self) -> int:
        return prod(self.shape)

    @cached_property
    def _order(self) -> tuple[int, ...]:
        return (0, *(axis + 1 for axis in self.axes))

    @cached_property
    def _inverse(self) -> tuple[int, ...]:
        return tuple(self._order.index(axis) for axis in range(len(self._order)))

    def laid(self, chunk: Tensor) -> Tensor:
        """[K, B, ...] in the order of memory, one entry behind the other."""
        return chunk.permute(self._order).contiguous()

    def empty(self, *rows: int, dtype: torch.dtype) -> Tensor:
        """A step [B, ...], or `rows` of it, that lies so."""
        sizes, strides = (*rows, *self.shape), [1]
        for size in reversed(sizes[1:]):
            strides.insert(0, strides[0] * max(size, 1))
        lead = len(rows)
        places = [*range(lead), *(lead + self.axes.index(axis) for axis in range(len(self.axes)))]
        return torch.empty_strided([sizes[i] for i in places], [strides[i] for i in places], dtype=dtype)

    def aligned(self, row: Tensor) -> Tensor:
        """A row [K or 1, ...], broadcastable to a chunk, with all its axes in the order of memory."""
        missing = len(self._order) - row.ndim
        return row.reshape(len(row), *[1] * missing, *row.shape[1:]).permute(self._order)

    def unaligned(self, values: Tensor, row: Tensor) -> Tensor:
        """The values of a row in the order of memory, shaped like the row."""
        return values.reshape(self.aligned(row).shape).permute(self._inverse).reshape(row.shape)

    def columns(self, row: Tensor) -> tuple[int, int] | None:
        """(columns, inner) of a row: at a step, entry i has the row's value (i // inner) % columns.

        None of a row whose values are not so, such as one for each channel and row of pixels of maps with more.
        """
        sizes = self.aligned(row).shape[1:]
        own = [axis for axis, size in enumerate(sizes) if size > 1]
        if not own:
            return 1, 1
        first, last = own[0], own[-1] + 1
        if tuple(sizes[first:last]) != self.shape[first:last]:
            return None
        return prod(self.shape[first:last]), prod(self.shape[last:])

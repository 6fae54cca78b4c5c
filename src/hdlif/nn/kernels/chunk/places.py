"""The memory order of the neurons in a chunk."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import torch
from torch import Tensor


class Place:
    """The memory order of the entries of a step [B, ...].

    Args:
        axes: the axes in memory order.
        shape: the sizes of the axes in that order.
    Attributes:
        entries: the number of entries.
        is_plain: whether memory order is the order of the axes.
    """

    def __init__(self, axes: tuple[int, ...], shape: tuple[int, ...]) -> None:
        self.axes, self.shape, self.entries = axes, shape, prod(shape)
        self.is_plain = axes == tuple(range(len(axes)))
        self._order = (0, *(axis + 1 for axis in axes))
        self._inverse = tuple(self._order.index(axis) for axis in range(len(self._order)))
        self._sizes = tuple(shape[axes.index(axis)] for axis in range(len(axes)))
        strides = [prod(max(size, 1) for size in shape[place + 1 :]) for place in range(len(shape))]
        self._strides = tuple(strides[axes.index(axis)] for axis in range(len(axes)))
        self._columns: dict[torch.Size, tuple[int, int] | None] = {}

    @staticmethod
    def of(chunk: Tensor) -> Place:
        """Return the memory order of a chunk [K, B, ...], which is either channels last or the order of the axes."""
        is_last = chunk.ndim == 5 and not chunk.is_contiguous() and _has_channels_last(chunk[0])
        return _place(tuple(chunk.shape[1:]), is_last)

    def laid(self, chunk: Tensor) -> Tensor:
        """Return a chunk [K, B, ...] in memory order, without gaps."""
        return (chunk if self.is_plain else chunk.permute(self._order)).contiguous()

    def seen(self, laid: Tensor) -> Tensor:
        """Return a tensor in memory order as a view with the axes of a chunk."""
        return laid if self.is_plain else laid.permute(self._inverse)

    def empty(self, *rows: int, dtype: torch.dtype) -> Tensor:
        """Return an uninitialised tensor [B, ...], or [*rows, B, ...], in the memory order of the chunk."""
        sizes, strides = (*rows, *self._sizes), (*(self.entries for _ in rows), *self._strides)
        return torch.empty_strided(sizes, strides, dtype=dtype, device="cpu")

    def aligned(self, row: Tensor) -> Tensor:
        """Return a row [K or 1, ...] with all axes of a chunk, in memory order."""
        missing = len(self._order) - row.ndim
        if missing:
            row = row.reshape(row.shape[0], *[1] * missing, *row.shape[1:])
        return row if self.is_plain else row.permute(self._order)

    def unaligned(self, values: Tensor, row: Tensor) -> Tensor:
        """Reshape values in memory order to the shape of a row."""
        if self.is_plain:
            return values.view(row.shape)
        return values.reshape(self.aligned(row).shape).permute(self._inverse).reshape(row.shape)

    def columns(self, row: Tensor) -> tuple[int, int] | None:
        """Return (columns, inner) such that entry i of a step uses value (i // inner) % columns of the row.

        Return None if the row has another pattern, for example one value per channel and pixel column.
        """
        if row.ndim < len(self._order) and row.numel() > 1:
            # The first axis may hold steps or samples.
            return None
        if row.shape not in self._columns:
            self._columns[row.shape] = self._columns_of(row)
        return self._columns[row.shape]

    def _columns_of(self, row: Tensor) -> tuple[int, int] | None:
        sizes = self.aligned(row).shape[1:]
        own = [axis for axis, size in enumerate(sizes) if size > 1]
        if not own:
            return 1, 1
        first, last = own[0], own[-1] + 1
        if tuple(sizes[first:last]) != self.shape[first:last]:
            return None
        return prod(self.shape[first:last]), prod(self.shape[last:])


def _has_channels_last(step: Tensor) -> bool:
    return not step.is_contiguous() and step.is_contiguous(memory_format=torch.channels_last)


@lru_cache(maxsize=256)
def _place(sizes: tuple[int, ...], is_channels_last: bool) -> Place:
    axes = (0, 2, 3, 1) if is_channels_last else tuple(range(len(sizes)))
    return Place(axes, tuple(sizes[axis] for axis in axes))

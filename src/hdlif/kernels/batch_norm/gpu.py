"""Batch norm by Triton's kernels, on a GPU: the functions of `native.py`, with the same meaning.

Of each block of a channel's values a kernel gives their mean in float32, and the sums of their distances to it and of
the squares of these; another adds them up in float64, so that the two sums belong to the same values however large
their mean is. All sums are in an order of their own, which nothing else changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from hdlif.kernels.batch_norm.moments import Moments
from hdlif.kernels.gpu import launching

VALUES = 2048
"""Of maps that an instance adds up: a power of two."""
COLUMNS = 32
"""Channels at once where they lie behind each other: a power of two."""
PARTS = 256
"""Blocks whose sums are added up at once."""
CHANNELS = 128
ENTRIES = 1024
_MODULE = f"{__package__}.triton_kernels"


def moments_of(maps: Tensor) -> Moments:
    steps, batch, channels, height, width = maps.shape
    pixels = height * width
    values = batch * pixels
    is_plain = maps.is_contiguous()
    columns = 1 if is_plain else min(COLUMNS, _power_of_two(channels))
    per_block = max(VALUES // columns, 1)
    blocks, tiles = -(-values // per_block), -(-channels // columns)
    entries = steps * channels * blocks
    parts = maps.new_empty(3, entries)
    totals = maps.new_empty(steps, channels, dtype=torch.float64)
    squares = torch.empty_like(totals)
    with launching.on(maps.device):
        launching.launch_from(
            _MODULE,
            "block_moments",
            steps * tiles * blocks,
            {
                "maps": maps,
                "parts": parts,
                "values": values,
                "channels": channels,
                "pixels": pixels,
                "of_image": channels * pixels,
                "of_channel": pixels if is_plain else 1,
                "of_pixel": 1 if is_plain else channels,
                "blocks": blocks,
                "tiles": tiles,
                "entries": entries,
                "ROWS": per_block,
                "COLUMNS": columns,
            },
        )
        launching.launch_from(
            _MODULE,
            "added_moments",
            steps * channels,
            {
                "parts": parts,
                "totals": totals,
                "squares": squares,
                "values": values,
                "blocks": blocks,
                "entries": entries,
                "ROWS": per_block,
                "BLOCKS": PARTS,
            },
        )
    return Moments(totals, squares, values)


def fill_rows(
    tensors: Sequence[Tensor],
    eps: float,
    steps: tuple[Sequence[int], Sequence[float]],
    moments: Moments,
    rows: Sequence[Tensor | None],
    *,
    of_batch: bool,
) -> None:
    weight, bias, running_mean, running_var = tensors
    mean, scale, shift, slope = rows
    of_steps, momenta = steps
    assert moments.unit is None
    # A row is read once, at the first of its steps.
    assert list(of_steps) == sorted(of_steps)
    device, channels = weight.device, weight.shape[0]
    with launching.on(device):
        launching.launch_from(
            _MODULE,
            "rows",
            -(-channels // CHANNELS),
            {
                "weight": weight,
                "bias": bias,
                "running_mean": running_mean,
                "running_var": running_var,
                "eps": _numbers((eps,), device),
                "momenta": _numbers(tuple(momenta), device),
                "of_steps": _places(tuple(of_steps), device),
                "totals": moments.totals,
                "squares": moments.squares,
                "mean": mean,
                "scale": scale,
                "shift": shift,
                "slope": slope,
                "steps": len(of_steps),
                "channels": channels,
                "values": moments.count,
                "OF_BATCH": of_batch,
                "BLOCK": CHANNELS,
            },
        )


def gradients(
    maps: Tensor,
    rows: Sequence[Tensor],
    count: int,
    arriving: tuple[Tensor, Tensor],
    of_maps: Tensor | None,
) -> tuple[Tensor, Tensor]:
    mean, scale, slope = rows
    steps, _, channels, height, width = maps.shape
    of_weight, of_bias = mean.new_empty(channels), mean.new_empty(channels)
    constant, by_distance = torch.empty_like(mean), torch.empty_like(mean)
    with launching.on(maps.device):
        launching.launch_from(
            _MODULE,
            "row_gradients",
            -(-channels // CHANNELS),
            {
                "scale": scale,
                "slope": slope,
                "of_scale": arriving[0],
                "of_shift": arriving[1],
                "of_weight": of_weight,
                "of_bias": of_bias,
                "constant": constant,
                "by_distance": by_distance,
                "steps": steps,
                "channels": channels,
                "values": count,
                "BLOCK": CHANNELS,
            },
        )
        if of_maps is not None:
            entries = maps[0].numel()
            blocks = -(-entries // ENTRIES)
            launching.launch_from(
                _MODULE,
                "add_statistics_gradient",
                steps * blocks,
                {
                    "maps": maps,
                    "mean": mean,
                    "constant": constant,
                    "by_distance": by_distance,
                    "gradient": of_maps,
                    "blocks": blocks,
                    "entries": entries,
                    "channels": channels,
                    "inner": height * width if maps.is_contiguous() else 1,
                    "BLOCK": ENTRIES,
                },
            )
    return of_weight, of_bias


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


@lru_cache(maxsize=256)
def _numbers(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers of float64, which a kernel takes no other way; those of the same steps come again and again."""
    return torch.tensor(values, dtype=torch.float64, device=device)


@lru_cache(maxsize=256)
def _places(values: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.int32, device=device)

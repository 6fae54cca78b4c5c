"""A sheet of samples as pictures, a row for each class, label or value, which `hdlif data inspect --out` writes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hdlif.data import Found
from hdlif.runs.files import writing
from hdlif.whole_files import whole_file

SHOWN, MOST_ROWS, MOST_SHEET_SIDE = 8, 64, 128
"""Pictures in a row of a sheet, rows of it, and the side that small pictures are enlarged to."""
_GAP, _PAPER = 4, 255
_FURTHEST = 3.0
"""Deviations from the mean at which a drawing of numbers ends."""
_INKS = ((0, 90, 160), (200, 80, 0), (0, 130, 60), (150, 60, 150))
"""Of curves, in turn."""
if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]


def write_sheet(found: Found, out: Path) -> str:
    """Write the sheet of data that were found as a PNG file, all of it or nothing; returns what its rows are."""
    pixels, rows = sheet(found)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    with writing(out), whole_file(out) as temporary:
        temporary.write_bytes(file.getvalue())
    return rows


def sheet(found: Found) -> tuple[Pixels, str]:
    """RGB pixels [H, W, 3] of training samples, and what the rows of them are."""
    import torch

    train = found.make((), 0).train
    members, said = _rows(found, train.labels)
    # A label that no sample has gives no row; where there is none at all, the first samples do.
    members = [row for row in members if len(row)] or [torch.arange(min(SHOWN, len(train)))]
    drawn = [[_drawn(found, one) for one in _of_samples(found, train.read(row).numpy())] for row in members]
    height, width, _ = drawn[0][0].shape
    step_y, step_x = height + _GAP, width + _GAP
    paper = np.full((len(drawn) * step_y + _GAP, SHOWN * step_x + _GAP, 3), _PAPER, np.uint8)
    for row, pictures in enumerate(drawn):
        for column, picture in enumerate(pictures):
            y, x = _GAP + row * step_y, _GAP + column * step_x
            paper[y : y + height, x : x + width] = picture
    return paper, said


def _rows(found: Found, labels: Tensor) -> tuple[list[Tensor], str]:
    """The samples of each row, by their numbers: the first ones of a class, or some in the order of a value."""
    import torch

    count = min(len(found.classes), MOST_ROWS)
    if found.target_steps is not None:
        return [torch.arange(min(SHOWN, len(labels)))], "the first ones"
    if not labels.is_floating_point():
        return [torch.nonzero(labels == row).flatten()[:SHOWN] for row in range(count)], "a row for each class"
    if not found.target_std:
        return [torch.nonzero(labels[:, row]).flatten()[:SHOWN] for row in range(count)], "a row for each label"
    places = torch.linspace(0, len(labels) - 1, min(SHOWN, len(labels))).long()
    by_value = [labels[:, row].argsort()[places] for row in range(count)]
    return by_value, "a row for each value, from the least to the most"


def _of_samples(found: Found, raw: NDArray[Any]) -> NDArray[Any]:
    """Samples as they are drawn: pixels and counts as they are, numbers [N, C, T] in 0..1 around a channel's mean."""
    if found.input.kind in ("image", "events"):
        return raw
    mean, std = (np.array(values)[:, None] for values in (found.input.mean, found.input.std))
    near: NDArray[Any] = np.clip((raw[..., 0] - mean) / std / (2 * _FURTHEST) + 0.5, 0, 1)
    return near


def _drawn(found: Found, sample: NDArray[Any]) -> Pixels:
    if found.input.kind == "image":
        channels, height, width = sample.shape
        return _enlarged(np.broadcast_to(sample, (3, height, width)) if channels == 1 else sample)
    if found.input.kind == "events":
        return _enlarged(_of_counts(sample))
    if found.input.sound is not None:
        # low tones at the bottom
        grey = np.round(255 * sample[::-1]).astype(np.uint8)
        return _enlarged(np.broadcast_to(grey, (3, *grey.shape)))
    return _curves(sample)


def _of_counts(counts: NDArray[Any]) -> Pixels:
    """Counts [2, H, W] of a whole recording as RGB: brighter is red and darker blue, the more the stronger."""
    darker, brighter = np.sqrt(counts / max(1.0, float(counts.max()))) * 255
    return np.stack([brighter, np.minimum(darker, brighter), darker]).astype(np.uint8)


def _enlarged(pixels: NDArray[Any]) -> Pixels:
    """[3, H, W] as [H, W, 3], enlarged by a whole number."""
    larger = max(1, MOST_SHEET_SIDE // max(pixels.shape[1:]))
    return np.asarray(pixels.transpose(1, 2, 0).repeat(larger, axis=0).repeat(larger, axis=1), np.uint8)


def _curves(values: NDArray[Any]) -> Pixels:
    """A curve for each channel [C, T] of numbers in 0..1."""
    side = MOST_SHEET_SIDE - 1
    image = Image.new("RGB", (MOST_SHEET_SIDE, MOST_SHEET_SIDE), (245, 245, 245))
    draw = ImageDraw.Draw(image)
    for number, channel in enumerate(values.tolist()):
        places = [(side * t / max(1, len(channel) - 1), side * (1 - y)) for t, y in enumerate(channel)]
        draw.line(places if len(places) > 1 else [*places, (side, places[0][1])], _INKS[number % len(_INKS)])
    return np.asarray(image)

"""Draw samples for `hdlif data inspect --out` and for reports."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hdlif.data import OwnData
from hdlif.errors import cut, printable
from hdlif.runtime.drawing import INKS, Pixels, draw_boxes, draw_map

SHOWN, MOST_ROWS, MOST_SHEET_SIDE = 8, 64, 128
"""Images per row of a sheet, maximum rows per sheet, and the side to which small images are enlarged."""
_GAP, _PAPER, _INK = 4, 255, (0, 0, 0)
_LONGEST = 24
"""Maximum number of characters of a name on a sheet."""
_LOCATED_ROWS = 3
"""Number of rows of images with maps or boxes."""
_FURTHEST = 3.0
"""Range of drawn numbers, in standard deviations from the mean."""
if TYPE_CHECKING:
    from torch import Tensor

    from hdlif.data import Samples
    from hdlif.data.image_targets import Located
    from hdlif.training.tasks.task import Shown


def png(found: OwnData) -> tuple[bytes, str]:
    """Return the bytes of a PNG image of data samples, and a description of its rows."""
    pixels, rows = sheet(found)
    return _png(pixels), rows


def sheet(found: OwnData) -> tuple[Pixels, str]:
    """Return RGB pixels [H, W, 3] that show training samples in named rows, and a description of the rows."""
    import torch

    train = found.make((), 0).train
    members, said = _rows(found, train.labels) if train.located is None else _first(len(train), train.located)
    # Labels without samples get no row. If no label has samples, the first samples are drawn.
    members = [(name, row) for name, row in members if len(row)] or [("", torch.arange(min(SHOWN, len(train))))]
    drawn = [[_drawn(found, one) for one in _of_samples(found, train.raw(row)[0].numpy())] for _, row in members]
    if train.located is not None:
        side = found.input.shape[1]
        drawn = [
            [with_target(one, target, side) for one, target in zip(pictures, train.raw(row)[1].numpy(), strict=True)]
            for pictures, (_, row) in zip(drawn, members, strict=True)
        ]
    height, width, _ = drawn[0][0].shape
    names = _written([name for name, _ in members], height)
    step_y, step_x, left = height + _GAP, width + _GAP, names.shape[2]
    paper = np.full((len(drawn) * step_y + _GAP, left + SHOWN * step_x + _GAP, 3), _PAPER, np.uint8)
    for row, (pictures, name) in enumerate(zip(drawn, names, strict=True)):
        y = _GAP + row * step_y
        paper[y : y + height, :left] = name
        for column, picture in enumerate(pictures):
            x = left + _GAP + column * step_x
            paper[y : y + height, x : x + width] = picture
    return paper, said


def _rows(found: OwnData, labels: Tensor) -> tuple[list[tuple[str, Tensor]], str]:
    """Return the name and sample indices of each row, and a description of all rows.

    A row shows the first samples of a class or label, or samples sorted by a target value.
    """
    import torch

    names = found.classes[:MOST_ROWS]
    if found.target_steps is not None:
        return [("", torch.arange(min(SHOWN, len(labels))))], "the first ones"
    if not labels.is_floating_point():
        said = "one row per class"
        rows = [torch.nonzero(labels == row).flatten()[:SHOWN] for row in range(len(names))]
    elif not found.target_std:
        said = "one row per label"
        rows = [torch.nonzero(labels[:, row]).flatten()[:SHOWN] for row in range(len(names))]
    else:
        said = "one row per value, from lowest to highest"
        places = torch.linspace(0, len(labels) - 1, min(SHOWN, len(labels))).long()
        rows = [labels[:, row].argsort()[places] for row in range(len(names))]
    return list(zip(names, rows, strict=True)), said


def _first(count: int, located: Located) -> tuple[list[tuple[str, Tensor]], str]:
    """Return a few unnamed rows of the first samples, and a description of the rows."""
    import torch

    rows = torch.arange(min(count, _LOCATED_ROWS * SHOWN)).split(SHOWN)  # type: ignore[no-untyped-call]
    return [("", row) for row in rows], f"the first ones, with their {'maps' if located == 'map' else 'boxes'}"


def with_target(picture: Pixels, target: NDArray[Any], side: int) -> Pixels:
    """Draw the target, either a map [H, W] or boxes [M, 5], over an image.

    Args:
        side: height H of the input; the height of the image is a multiple of H.
    """
    larger = picture.shape[0] // side
    if target.dtype.kind == "f":
        there = target[target[:, 0] >= 0].tolist()
        return draw_boxes(picture, [(int(number), [larger * one for one in box], "") for number, *box in there])
    return draw_map(picture, target.repeat(larger, axis=0).repeat(larger, axis=1))


def _written(names: Sequence[str], height: int) -> Pixels:
    """Draw the names of rows as images [N, height, W, 3]; W is large enough for the longest name."""
    font = ImageFont.load_default()
    # Pillow's old built-in font has only Latin letters and raises an error for others.
    texts = [printable(cut(name, _LONGEST)).encode("latin-1", "replace").decode("latin-1") for name in names]
    width = max(math.ceil(font.getlength(text)) for text in texts)
    side = width + 2 * _GAP if width else 0
    written = np.full((len(texts), height, side, 3), _PAPER, np.uint8)
    if not side:
        return written
    for number, text in enumerate(texts):
        image = Image.new("RGB", (side, height), (_PAPER, _PAPER, _PAPER))
        top, bottom = font.getbbox(text)[1::2]
        ImageDraw.Draw(image).text((_GAP, (height - top - bottom) / 2), text, _INK, font=font)
        written[number] = np.asarray(image)
    return written


def _of_samples(found: OwnData, raw: NDArray[Any]) -> NDArray[Any]:
    """Scale sensor data to 0..1 for drawing, with each channel's mean at 0.5. Return images and events unchanged."""
    if found.input.kind in ("image", "events"):
        return raw
    mean, std = (np.array(values)[:, None] for values in (found.input.mean, found.input.std))
    near: NDArray[Any] = np.clip((raw[..., 0] - mean) / std / (2 * _FURTHEST) + 0.5, 0, 1)
    return near


def _drawn(found: OwnData, sample: NDArray[Any]) -> Pixels:
    if found.input.kind == "image":
        channels, height, width = sample.shape
        return enlarged(np.broadcast_to(sample, (3, height, width)) if channels == 1 else sample)
    if found.input.kind == "events":
        return enlarged(_of_counts(sample))
    if found.input.sound is not None:
        # Low tones are at the bottom.
        grey = np.round(255 * sample[::-1]).astype(np.uint8)
        return enlarged(np.broadcast_to(grey, (3, *grey.shape)))
    return _curves(sample)


def _of_counts(counts: NDArray[Any]) -> Pixels:
    """Draw event counts [2, H, W] as an RGB image, with ON events in red and OFF events in blue."""
    darker, brighter = np.sqrt(counts / max(1.0, float(counts.max()))) * 255
    return np.stack([brighter, np.minimum(darker, brighter), darker]).astype(np.uint8)


def enlarged(pixels: NDArray[Any]) -> Pixels:
    """Convert an image [3, H, W] to [H, W, 3] and enlarge it by an integer factor."""
    larger = max(1, MOST_SHEET_SIDE // max(pixels.shape[1:]))
    return np.asarray(pixels.transpose(1, 2, 0).repeat(larger, axis=0).repeat(larger, axis=1), np.uint8)


def _curves(values: NDArray[Any]) -> Pixels:
    """Draw one curve per channel for values [C, T] in 0..1."""
    side = MOST_SHEET_SIDE - 1
    image = Image.new("RGB", (MOST_SHEET_SIDE, MOST_SHEET_SIDE), (245, 245, 245))
    draw = ImageDraw.Draw(image)
    for number, channel in enumerate(values.tolist()):
        places = [(side * t / max(1, len(channel) - 1), side * (1 - y)) for t, y in enumerate(channel)]
        draw.line(places if len(places) > 1 else [*places, (side, places[0][1])], INKS[number % len(INKS)])
    return np.asarray(image)


def gallery(samples: Samples, shown: Sequence[Shown]) -> dict[str, Any]:
    """Return the content of gallery.json, with the score, target and prediction of each image.

    Args:
        samples: images whose targets have positions, such as masks or boxes.
    """
    return {"images": [_of_gallery(samples, one) for one in shown]}


def _of_gallery(samples: Samples, shown: Shown) -> dict[str, Any]:
    import torch

    x, targets = samples.plain().raw(torch.tensor([shown.index]))
    pixels = x[0].numpy()
    picture = enlarged(np.broadcast_to(pixels, (3, *pixels.shape[1:])))
    found: dict[str, Any] = {"score": shown.score}
    for name, target in (("truth", targets[0]), ("answer", shown.answer)):
        drawn = with_target(picture, target.numpy(), pixels.shape[1])
        found[name] = base64.b64encode(_png(drawn, optimize=True)).decode()
    return found


def _png(pixels: Pixels, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()

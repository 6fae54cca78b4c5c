"""Pixels of the size that a network takes, normalised, and the input of each step, for training and for `hdlif run`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    # imported where a picture is read: a run on arrays has no use for it
    from PIL import Image

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
MODES = {1: "L", 3: "RGB"}
"""Pillow's modes by the channels of a network."""


def fitted(image: "Image.Image", shape: tuple[int, int, int], *, resize: str, fit: str) -> Pixels:
    """Return the pixels [C, H, W] = `shape` of a picture in the mode of `MODES`, resized if it has another size.

    Args:
        resize: the filter: "nearest", or "bilinear" or "bicubic", which are antialiased.
        fit: "squash" resizes all of the picture; "crop" the largest part around its centre with the proportions H : W.
    """
    from PIL import Image

    channels, height, width = shape
    if image.size != (width, height):
        box = _centre(image.size, (width, height)) if fit == "crop" else None
        image = image.resize((width, height), Image.Resampling[resize.upper()], box)
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def _centre(size: tuple[int, int], target: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the largest part around the centre with the proportions of `target`.

    >>> _centre((8, 4), (2, 2))
    (2.0, 0.0, 6.0, 4.0)
    """
    scale = min(size[0] / target[0], size[1] / target[1])
    # At the most the picture's own side, which a product may pass by a rounding.
    width, height = (min(side, scale * to) for side, to in zip(size, target, strict=True))
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height


def normalised(pixels: NDArray[Any], mean: Sequence[float], std: Sequence[float], *, whole: int = 255) -> Floats:
    """Return (pixels / whole - mean) / std of pixels [..., C, H, W], each step in float32."""
    x: Floats = pixels.astype(np.float32, order="C")
    x /= np.float32(whole)
    x -= np.array(mean, np.float32)[:, None, None]
    x /= np.array(std, np.float32)[:, None, None]
    return x


def framed(x: Floats, frames: str) -> Floats:
    """Return the input of the steps for a picture [C, H, W], by one of `ops.graph.FRAMINGS`.

    "constant" [1, C, H, W]; "rows" from the top, [H, C, 1, W]; "pixels" of one row after another, [H·W, C, 1, 1].
    """
    if frames == "rows":
        return np.ascontiguousarray(x.transpose(1, 0, 2)[:, :, None])
    return np.ascontiguousarray(x.reshape(len(x), -1).T[..., None, None]) if frames == "pixels" else x[None]

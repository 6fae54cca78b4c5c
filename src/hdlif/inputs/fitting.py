"""Resize and normalise images, and create the input for each time step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    # Import Pillow only when it is used: a run on arrays does not need it.
    from PIL import Image

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
MODES = {1: "L", 3: "RGB"}
"""Pillow's mode for each number of input channels of a network."""
IGNORED = -1
"""Value in a label map that excludes a pixel from training and metrics, such as the padding of a letterbox."""


def fitted(
    image: "Image.Image", shape: tuple[int, int, int], *, resize: str, fit: str, mean: Sequence[float] = ()
) -> Pixels:
    """Return the pixels of an image whose mode is in `MODES`, resized to `shape` [C, H, W] if necessary.

    Args:
        resize: the filter: "nearest", "bilinear" or "bicubic"; the last two are antialiased.
        fit: "squash" resizes the full image. "crop" resizes the largest centred part with the aspect ratio H : W.
            "letterbox" keeps the image's aspect ratio and puts the image at the top left, over `mean_bytes`.
        mean: mean of each channel with which the input is normalised; 0 by default.
    """
    from PIL import Image

    channels, height, width = shape
    if image.size != (width, height):
        box = _centre(image.size, (width, height)) if fit == "crop" else None
        size = inner_size(image.size, (width, height)) if fit == "letterbox" else (width, height)
        image = image.resize(size, Image.Resampling[resize.upper()], box)
        if size != (width, height):
            around = Image.new(image.mode, (width, height), tuple(mean_bytes(mean or (0,) * channels).tolist()))
            around.paste(image)
            image = around
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def mean_bytes(mean: Sequence[float]) -> Pixels:
    """Return the byte nearest to the mean of each channel; after normalisation, this byte is about 0.

    >>> mean_bytes((0.0, 0.5, 0.739)).tolist()
    [0, 128, 188]
    """
    return np.floor(255 * np.array(mean) + 0.5).clip(0, 255).astype(np.uint8)


def inner_size(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Return the width and height, each at least 1, of an image that is scaled to fit inside `target`.

    >>> inner_size((640, 480), (320, 320)), inner_size((100, 400), (32, 64))
    ((320, 240), (16, 64))
    """
    scale = min(to / side for side, to in zip(size, target, strict=True))
    width, height = (min(to, max(1, round(side * scale))) for side, to in zip(size, target, strict=True))
    return width, height


def covered(size: tuple[int, int], target: tuple[int, int], fit: str) -> tuple[float, float, float, float]:
    """Return the edges (left, top, right, bottom) of the area that an input of size `target` covers, in image pixels.

    With letterboxing, the covered area is larger than the image. A point at fractions (f, g) of the input's width and
    height corresponds to (left + f·(right - left), top + g·(bottom - top)).

    >>> covered((640, 480), (320, 320), "letterbox"), covered((640, 480), (320, 320), "crop")
    ((0.0, 0.0, 640.0, 640.0), (80.0, 0.0, 560.0, 480.0))

    Args:
        size, target: width and height.
        fit: as in `fitted`.
    """
    if fit == "crop":
        return _centre(size, target)
    inner = inner_size(size, target) if fit == "letterbox" else target
    return 0.0, 0.0, size[0] * target[0] / inner[0], size[1] * target[1] / inner[1]


def boxes_to_input(boxes: NDArray[Any], size: tuple[int, int], target: tuple[int, int], fit: str) -> Floats:
    """Convert boxes [..., 4] of (x0, y0, x1, y1) from image pixels to input pixels, without clipping."""
    left, top, right, bottom = covered(size, target, fit)
    scale = np.array([target[0] / (right - left), target[1] / (bottom - top)] * 2)
    moved: Floats = ((boxes - np.array([left, top] * 2)) * scale).astype(np.float32)
    return moved


def boxes_to_picture(boxes: NDArray[Any], size: tuple[int, int], target: tuple[int, int], fit: str) -> Floats:
    """Convert boxes [..., 4] from input pixels to image pixels, clipped to the image."""
    left, top, right, bottom = covered(size, target, fit)
    scale = np.array([(right - left) / target[0], (bottom - top) / target[1]] * 2)
    moved = boxes * scale + np.array([left, top] * 2)
    clipped: Floats = np.clip(moved, 0, [*size, *size]).astype(np.float32)
    return clipped


def map_to_input(labels: NDArray[Any], target: tuple[int, int], fit: str) -> NDArray[Any]:
    """Resize a label map [h, w] of a signed type to the input size [H, W], sampling at the centre of each input pixel.

    Pixels in the padding of a letterbox become `IGNORED`.
    """
    height, width = labels.shape
    left, top, right, bottom = covered((width, height), target, fit)
    return _sampled(labels, _centres(target[1], top, bottom), _centres(target[0], left, right), IGNORED)


def map_to_picture(labels: NDArray[Any], size: tuple[int, int], fit: str, *, outside: int = 0) -> NDArray[Any]:
    """Convert a map [..., H, W] from input pixels to image pixels [..., h, w].

    Args:
        size: width and height of the image.
        outside: the value of image pixels outside a "crop".
    """
    height, width = labels.shape[-2:]
    left, top, right, bottom = covered(size, (width, height), fit)
    rows, columns = (
        _centres(count, -start * side / (end - start), (count - start) * side / (end - start))
        for count, side, start, end in ((size[1], height, top, bottom), (size[0], width, left, right))
    )
    return _sampled(labels, rows, columns, outside)


def _centres(count: int, start: float, end: float) -> NDArray[np.int64]:
    """Return the integer positions of the centres of `count` equal intervals between two ends."""
    return np.floor(start + (np.arange(count) + 0.5) * (end - start) / count).astype(np.int64)


def _sampled(labels: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64], outside: int) -> NDArray[Any]:
    height, width = labels.shape[-2:]
    sampled: NDArray[Any] = labels[..., rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)]
    there = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    return np.where(there, sampled, labels.dtype.type(outside))


def _centre(size: tuple[int, int], target: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the edges (left, top, right, bottom) of the largest centred rectangle with the aspect ratio of `target`.

    >>> _centre((8, 4), (2, 2))
    (2.0, 0.0, 6.0, 4.0)
    """
    scale = min(size[0] / target[0], size[1] / target[1])
    # Limit each side to the image's side, because rounding may make a product larger.
    width, height = (min(side, scale * to) for side, to in zip(size, target, strict=True))
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height


def normalised(pixels: NDArray[Any], mean: Sequence[float], std: Sequence[float], *, whole: int = 255) -> Floats:
    """Return (pixels / whole - mean) / std for `pixels` [..., C, H, W], with every operation in float32."""
    x: Floats = pixels.astype(np.float32, order="C")
    x /= np.float32(whole)
    x -= np.array(mean, np.float32)[:, None, None]
    x /= np.array(std, np.float32)[:, None, None]
    return x


def framed(x: Floats, frames: str) -> Floats:
    """Return the input for each step, given an image [C, H, W] and `frames`, a value of `graph.graph.FRAMINGS`.

    The result has the shape [1, C, H, W] for "constant", [H, C, 1, W] for "rows", and [H·W, C, 1, 1] for "pixels". Rows
    are presented from top to bottom, and pixels row by row.
    """
    if frames == "rows":
        return np.ascontiguousarray(x.transpose(1, 0, 2)[:, :, None])
    return np.ascontiguousarray(x.reshape(len(x), -1).T[..., None, None]) if frames == "pixels" else x[None]

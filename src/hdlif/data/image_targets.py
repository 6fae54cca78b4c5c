"""Transform images together with their label maps or boxes.

A label map is an int64 array [H, W] of class or object numbers, with `IGNORED` at pixels that are not evaluated. Data
sets may store label maps as int16. Boxes are a float32 array [M, 5] of rows (class, x0, y0, x1, y1) in input pixels,
with -1 in padding rows.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hdlif.data.draws import Bits, expanded, seeded
from hdlif.errors import ShapeError
from hdlif.inputs.fitting import IGNORED

Located = Literal["map", "boxes"]
"""The kind of a target that is transformed with its image."""
Together = Callable[[int, int], Any]
"""Maps the height and width of images to torchvision's transform (v2) of an image with its target."""
MIN_SIDE = 1.0
"""Minimum side of a box after a crop, in pixels; boxes with a shorter side are dropped."""
Drift = Callable[[Tensor, Tensor, Bits], tuple[Tensor, Tensor]]
"""Maps images [B, C, H, W], their targets and bits to sequences [B, T, ...] of images and of targets."""
DRIFT_STREAM = 2**32
"""Random stream of drifts; the streams of augmentations have small numbers."""
LEAST_SEEN = 0.25
"""Minimum visible fraction of a box's area; boxes with less are dropped from the frame."""


def check_located(labels: Tensor, located: Located) -> None:
    """Raise `ShapeError` unless the labels are maps [N, H, W] or boxes [N, M, 5]."""
    if located == "map":
        fits, accepted = labels.ndim == 3 and labels.dtype in (torch.int16, torch.int64), "torch.int64 [N, H, W]"
    else:
        fits = labels.ndim == 3 and labels.dtype == torch.float32 and labels.shape[-1] == 5
        accepted = "torch.float32 [N, M, 5], rows (class, x0, y0, x1, y1)"
    if not fits:
        what = "maps" if located == "map" else "boxes"
        raise ShapeError(f"labels are {labels.dtype} {list(labels.shape)}; give {what} as {accepted}")


def moved(x: Tensor, y: Tensor, bits: Bits, *, together: Together, located: Located) -> tuple[Tensor, Tensor]:
    """Transform images [B, C, H, W] and targets [B, ...], with torch's generator seeded by each image's bits.

    Boxes are clipped to the image and dropped if a clipped side is shorter than `MIN_SIDE`.
    """
    transform = together(*x.shape[-2:])
    pairs = seeded(lambda pair: _moved_one(*pair, transform, located), list(zip(x, y, strict=True)), bits)
    return torch.stack([image for image, _ in pairs]), torch.stack([target for _, target in pairs])


def _moved_one(x: Tensor, y: Tensor, transform: Any, located: Located) -> tuple[Tensor, Tensor]:
    from torchvision import tv_tensors

    image = tv_tensors.Image(x)
    if located == "map":
        made, mask = transform(image, tv_tensors.Mask(y))
        return made.as_subclass(Tensor), mask.as_subclass(Tensor)
    height, width = x.shape[-2:]
    there = y[:, 0] >= 0
    boxes = tv_tensors.BoundingBoxes(y[there, 1:], format="XYXY", canvas_size=(height, width))
    made, boxes = transform(image, boxes)
    height, width = made.shape[-2:]
    return made.as_subclass(Tensor), clipped(
        torch.cat([y[there, :1], boxes.as_subclass(Tensor)], 1), height, width, len(y)
    )


def clipped(boxes: Tensor, height: int, width: int, count: int) -> Tensor:
    """Clip boxes [m, 5] to an image, drop boxes with a side below `MIN_SIDE`, and pad the result to [count, 5]."""
    corners = boxes[:, 1:].clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
    kept = ((corners[:, 2:] - corners[:, :2]) >= MIN_SIDE).all(1)
    padded = boxes.new_full((count, 5), -1.0)
    padded[: int(kept.sum())] = torch.cat([boxes[kept, :1], corners[kept]], 1)
    return padded


def flipped(height: int, width: int) -> Any:
    from torchvision.transforms import v2

    return v2.RandomHorizontalFlip()


def flipped_vertically(height: int, width: int) -> Any:
    from torchvision.transforms import v2

    return v2.RandomVerticalFlip()


def shifted(height: int, width: int, *, part: int) -> Any:
    """Return a RandomCrop that shifts by up to 1/`part` of each side and pads with 0, or with `IGNORED` in masks."""
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    down, right = max(1, round(height / part)), max(1, round(width / part))
    fill = {tv_tensors.Image: 0, tv_tensors.Mask: IGNORED}
    return v2.RandomCrop((height, width), padding=[right, down], fill=fill)


def resized_crop(height: int, width: int) -> Any:
    """Return a RandomResizedCrop that crops 25 to 100 % of an image's area and resizes the crop to the image's size."""
    from torchvision import tv_tensors
    from torchvision.transforms import v2
    from torchvision.transforms.v2 import functional

    class ResizedCrop(v2.RandomResizedCrop):  # type: ignore[misc]
        """A RandomResizedCrop that resizes masks without the half-pixel shift of torchvision's NEAREST."""

        def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
            if not isinstance(inpt, tv_tensors.Mask):
                return super().transform(inpt, params)
            part = functional.crop(inpt, **params).as_subclass(Tensor)
            exact = functional.resize(part[None], [height, width], v2.InterpolationMode.NEAREST_EXACT)[0]
            return tv_tensors.wrap(exact, like=inpt)

    return ResizedCrop((height, width), scale=(0.25, 1.0), antialias=True)


def zoomed(height: int, width: int, *, largest: float) -> Any:
    """Return a RandomAffine with zoom factors from 1/`largest` to `largest` and shifts of up to 1/10 of each side."""
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    fill = {tv_tensors.Image: 0, tv_tensors.Mask: IGNORED, "others": 0}
    return v2.RandomAffine(
        degrees=0,
        translate=(0.1, 0.1),
        scale=(1 / largest, largest),
        interpolation=v2.InterpolationMode.BILINEAR,
        fill=fill,
    )


def drifting(x: Tensor, boxes: Tensor, bits: Bits, *, time_steps: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Move a view across each image, and return the pixels and boxes inside the view at each time step.

    The upper left corner of the view moves in a straight line at constant speed from point a to point b. At step t, the
    corner of the view is at the pixel nearest to a + (b - a)·t/(T - 1). Points a and b are drawn uniformly from all
    positions that keep the view inside the image.

    >>> import numpy as np
    >>> import torch
    >>> from hdlif.data.image_targets import drifting
    >>> image, box = torch.arange(4.0).view(1, 1, 1, 4), torch.tensor([[[0.0, 1, 0, 3, 1]]])
    >>> frames, boxes = drifting(image, box, np.array([1], np.uint64), time_steps=3, size=(1, 2))
    >>> frames[0, :, 0, 0].tolist(), boxes[0, :, 0, 1:].tolist()
    ([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]], [[1.0, 0.0, 2.0, 1.0], [0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 1.0]])

    Args:
        x: images [B, C, H, W].
        boxes: float32 [B, M, 5], as described above.
        bits: the random bits [B] of the images.
        time_steps: T.
        size: height and width of the view.
    Returns:
        frames [B, T, C, h, w] and boxes [B, T, M, 5], in pixels of the frame and clipped to it. A box is omitted if
        less than `LEAST_SEEN` of its area, or less than a pixel of a side, is visible.
    Raises:
        ShapeError: images are smaller than the view.
    """
    height, width = size
    room = np.array([x.shape[-2] - height, x.shape[-1] - width])
    if (room < 0).any():
        raise ShapeError(f"images are {x.shape[-2]}x{x.shape[-1]}, smaller than the field of view, {height}x{width}")
    # The shapes are [B, 2 ends, 2 axes] for ends and [B, T, 2] for corners.
    ends = (expanded(bits, 4).reshape(-1, 2, 2) % (room + 1).astype(np.uint64)).astype(np.float64)
    share = np.linspace(0, 1, time_steps)[:, None]
    corners = np.floor(ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * share + 0.5).astype(np.int64)
    frames = x.new_empty(len(x), time_steps, x.shape[1], height, width)
    edges = boxes.new_tensor([width, height, width, height])
    inside = boxes.new_empty(len(x), time_steps, *boxes.shape[1:])
    for place, path in enumerate(corners.tolist()):
        own = boxes[place][boxes[place, :, 0] >= 0]
        for step, (top, left) in enumerate(path):
            frames[place, step] = x[place, :, top : top + height, left : left + width]
            moved = own - own.new_tensor([0, left, top, left, top])
            seen = _area(moved[:, 1:].clamp(min=0).minimum(edges)) >= LEAST_SEEN * _area(moved[:, 1:])
            inside[place, step] = clipped(moved[seen], height, width, boxes.shape[1])
    return frames, inside


def _area(corners: Tensor) -> Tensor:
    return (corners[:, 2:] - corners[:, :2]).clamp(min=0).prod(1)

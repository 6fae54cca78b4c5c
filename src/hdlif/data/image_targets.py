"""Targets at places of an image, which are transformed with its pixels: label maps and boxes.

A label map is int64 [H, W], with classes or object numbers; `IGNORED` marks pixels that do not count. (A set may
store maps as int16.) Boxes are float32 [M, 5], rows (class, x0, y0, x1, y1) in pixels of the network's input, padded
with rows of -1.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from hdlif.data.draws import Bits, seeded
from hdlif.errors import ShapeError
from hdlif.inputs.fitting import IGNORED

Located = Literal["map", "boxes"]
"""The kind of a target that is transformed with its image."""
Together = Callable[[int, int], Any]
"""Maps the height and width of images to torchvision's transform (v2) of an image with its target."""
MIN_SIDE = 1.0
"""A box is dropped if a side is shorter than this many pixels after a crop."""


def check_located(labels: Tensor, located: Located) -> None:
    """Raise `ShapeError` unless labels are maps [N, H, W], or boxes [N, M, 5]."""
    if located == "map":
        fits, accepted = labels.ndim == 3 and labels.dtype in (torch.int16, torch.int64), "torch.int64 [N, H, W]"
    else:
        fits = labels.ndim == 3 and labels.dtype == torch.float32 and labels.shape[-1] == 5
        accepted = "torch.float32 [N, M, 5], rows (class, x0, y0, x1, y1)"
    if not fits:
        what = "maps" if located == "map" else "boxes"
        raise ShapeError(f"labels are {labels.dtype} {list(labels.shape)}; give {what} as {accepted}")


def moved(x: Tensor, y: Tensor, bits: Bits, *, together: Together, located: Located) -> tuple[Tensor, Tensor]:
    """Transform images [B, C, H, W] and their targets [B, ...] alike; draws are seeded by each image's bits.

    Boxes are clipped to the image, and dropped if a side is then shorter than `MIN_SIDE`.
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
    """Return boxes [m, 5] within an image, without empty ones, padded to [count, 5]."""
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
    """Move by up to 1/part of each side, at least 1 pixel, over zeros and `IGNORED` (RandomCrop with padding)."""
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    down, right = max(1, round(height / part)), max(1, round(width / part))
    fill = {tv_tensors.Image: 0, tv_tensors.Mask: IGNORED}
    return v2.RandomCrop((height, width), padding=[right, down], fill=fill)


def resized_crop(height: int, width: int) -> Any:
    """Cut 25 to 100 % out of the image, sides at most 4:3, at its size (RandomResizedCrop)."""
    from torchvision.transforms import v2

    return v2.RandomResizedCrop((height, width), scale=(0.25, 1.0), antialias=True)


def zoomed(height: int, width: int, *, largest: float) -> Any:
    """Scale about the centre by 1/largest..largest, and move by up to a tenth of each side (RandomAffine, bilinear)."""
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

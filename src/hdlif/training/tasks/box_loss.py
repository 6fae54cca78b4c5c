"""The loss of a detector, and the assignment of boxes to grid locations (FCOS, Tian et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.graph.detection import level_shapes, split_levels
from hdlif.runtime.boxes import LARGEST_LOG

RADIUS = 1.5
"""Largest distance, in strides, from the centre of a box to a place that learns the box."""
LARGEST_SIDE = 16
"""Longest side, in strides, of a box that belongs to a level; the last level takes all larger boxes."""


@dataclass(frozen=True)
class Assignment:
    """The training targets at a detector's P locations on all levels.

    Attributes:
        classes: one-hot, float32 [B, P, K]; all 0 for a location without a box. is_box: whether a location has a box,
        bool [B, P]. corners: corners of the box if `is_box`, float32 [B, P, 4].
    """

    classes: Tensor
    is_box: Tensor
    corners: Tensor


@dataclass(frozen=True)
class BoxLoss:
    """The focal loss of classes plus the complete-IoU loss of boxes, divided by the number of locations with a box.

    A location qualifies for a box if the location is inside the box and within `RADIUS` strides of the centre. The
    location nearest to the centre also qualifies. If a location qualifies for several boxes, it gets the smallest one.
    The length of a box's longer side determines the box's level.

    >>> import torch
    >>> from hdlif.training.tasks.box_loss import BoxLoss
    >>> loss = BoxLoss(classes=1, strides=(8,), size=(16, 16))
    >>> target = torch.tensor([[[0.0, 0, 0, 9, 9], [-1.0, -1, -1, -1, -1]]])
    >>> loss.assigned(target).is_box.tolist()
    [[True, False, False, False]]
    >>> loss(torch.zeros(1, 20), target).ndim
    0

    Args:
        classes: number of classes, K.
        strides: strides of the levels, in ascending order.
        size: height and width of the network's input.
        box_weight: factor of the complete-IoU loss.
    """

    classes: int
    strides: Sequence[int]
    size: tuple[int, int]
    box_weight: float = 1.0

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the loss of outputs [B, n] on boxes (class, left, top, right, bottom), [B, M, 5], padded with -1."""
        from torchvision.ops import complete_box_iou_loss, sigmoid_focal_loss

        levels = split_levels(outputs.float(), self.classes, self.strides, *self.size)
        logits, distances = (torch.cat([level[part].flatten(2) for level in levels], 2).mT for part in (0, 1))
        # The outputs are float32 too; `hdlif coherence` passes float64 targets.
        learned = self.assigned(target.float())
        count = learned.is_box.sum().clamp(min=1)
        focal = sigmoid_focal_loss(logits, learned.classes, reduction="sum")
        places = self.places.to(outputs.device)
        stride, at = places[:, 2:], places[:, :2].repeat(1, 2)
        signs = torch.tensor([-1, -1, 1, 1], device=outputs.device)
        corners = at + signs * stride * distances.clamp(max=LARGEST_LOG).exp()
        boxes = complete_box_iou_loss(corners[learned.is_box], learned.corners[learned.is_box], reduction="sum")
        loss: Tensor = (focal + self.box_weight * boxes) / count
        return loss

    @cached_property
    def places(self) -> Tensor:
        """The x, y and stride of each location, [P, 3]."""
        found = []
        for stride, (rows, columns) in zip(self.strides, level_shapes(self.strides, *self.size), strict=True):
            y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
            found.append(torch.stack([x * stride, y * stride, torch.full_like(x, stride)], -1).flatten(0, 1))
        return torch.cat(found)

    def assigned(self, target: Tensor) -> Assignment:
        """Return the targets at all locations, given the true boxes [B, M, 5]."""
        places = self.places.to(target.device)
        # Compare boxes [B, 1, M, ...] with places [P, 1, ...].
        label, corners = target[:, None, :, 0], target[:, None, :, 1:]
        at, stride = places[:, None, :2], places[:, 2:]
        sides = corners[..., 2:] - corners[..., :2]
        from_centre = (at - (corners[..., :2] + sides / 2)).abs().amax(-1)
        inside = torch.cat([at - corners[..., :2], corners[..., 2:] - at], -1).amin(-1) > 0
        near = (inside & (from_centre <= RADIUS * stride)) | (from_centre <= stride / 2)
        smallest, largest = self._sides_of(stride)
        longer = sides.amax(-1)
        fits = (longer > smallest) & (longer <= largest)
        areas = torch.where(near & fits & (label >= 0), sides.prod(-1), torch.inf)
        least, number = areas.min(-1)
        is_box = least < torch.inf
        classes = target[..., 0].gather(1, number).long().clamp(min=0)
        one_hot = F.one_hot(classes, self.classes) * is_box[..., None]
        chosen = target[..., 1:].gather(1, number[..., None].expand(-1, -1, 4))
        return Assignment(one_hot.float(), is_box, chosen)

    def _sides_of(self, stride: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each level the exclusive lower limit and the inclusive upper limit of a box's longer side."""
        first, last = stride == self.strides[0], stride == self.strides[-1]
        below = torch.zeros_like(stride)
        for smaller, own in zip(self.strides, self.strides[1:], strict=False):
            below = torch.where(stride == own, LARGEST_SIDE * smaller, below)
        return torch.where(first, -1.0, below), torch.where(last, torch.inf, LARGEST_SIDE * stride)

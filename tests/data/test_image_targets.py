"""Targets that move with the pixels of their image."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from cases import every
from hdlif.data import Augmentation, DataSets
from hdlif.data.augment import AUGMENTATIONS, own_augmentation
from hdlif.data.image_targets import IGNORED, clipped
from hdlif.data.in_memory import Images
from hdlif.data.samples import Together
from hdlif.errors import DataError, ShapeError

SIDE, COUNT = 16, 40
MOVING = [name for name, one in AUGMENTATIONS.items() if one.target not in (None, "kept")]
RESIZING = ("random_resized_crop", "zoom")
TURNED = own_augmentation(v2.RandomAffine(0, translate=(0.4, 0.4)), "affine", takes_generator=False)
images = partial(Images, mean=[0.0], std=[1.0])


def square(corner: Tensor, side: int = 5) -> Tensor:
    """Images with a bright square each, [N, SIDE, SIDE]."""
    place = torch.arange(SIDE)
    inside = [(place >= at[:, None]) & (place < at[:, None] + side) for at in corner.unbind(1)]
    return inside[0][:, :, None] & inside[1][:, None, :]


CORNERS = torch.randint(0, SIDE - 5, (COUNT, 2), generator=torch.Generator().manual_seed(0))
DRAWN = square(CORNERS)
PIXELS = (255 * DRAWN[:, None]).to(torch.uint8)
MAPS = 7 * DRAWN.to(torch.int16)
BOXES = torch.full((COUNT, 3, 5), -1.0)
BOXES[:, 0, 0] = 2
BOXES[:, 0, 1:] = torch.cat([CORNERS.flip(1), CORNERS.flip(1) + 5], 1).float()


@every(name=[*MOVING, TURNED])
def test_a_map_moves_with_its_pixels_and_what_is_beyond_is_ignored(name: str | Augmentation) -> None:
    samples = images(PIXELS, MAPS, augment=[name], located="map")
    x, y = samples.batch(torch.arange(COUNT))
    assert y.dtype == torch.int64
    assert not torch.equal(y, MAPS.long())
    # By the draw of its index alone.
    assert torch.equal(samples.batch(torch.tensor([7]))[1][0], y[7])
    assert set(y.unique().tolist()) <= {0, 7, IGNORED}
    # Resized pixels are between dark and bright at the edge of a square, where a map is one or the other.
    edge = 0.5 if name in RESIZING else 1e-6
    seen = y != IGNORED
    assert ((x[:, 0] > edge) == (y == 7))[seen].float().mean() > (0.97 if edge == 0.5 else 0.999)
    assert (IGNORED in y) == (name in ("crop", "shift", "zoom"))


@every(name=RESIZING)
def test_a_map_is_not_moved_against_its_image(name: str) -> None:
    places = torch.arange(48.0)
    disc = (places[:, None] - 22) ** 2 + (places - 25) ** 2 <= 9**2
    pixels, maps = (one.expand(COUNT, *one.shape) for one in (255 * disc[None].to(torch.uint8), disc.to(torch.int16)))
    x, y = images(pixels, maps, augment=[name], located="map").batch(torch.arange(COUNT))
    offsets = []
    for image, found in zip((x[:, 0] > 0.5).float(), (y == 1).float(), strict=True):
        if image[[0, -1]].sum() + image[:, [0, -1]].sum() == 0 < image.sum():
            centres = [[(one.sum(axis) @ places) / one.sum() for axis in (0, 1)] for one in (image, found)]
            offsets.append(torch.tensor(centres[1]) - torch.tensor(centres[0]))
    assert len(offsets) > COUNT / 2
    assert torch.stack(offsets).mean(0).abs().max() < 0.1


@every(name=MOVING)
def test_a_box_is_around_the_same_pixels_afterwards(name: str) -> None:
    x, boxes = images(PIXELS, BOXES, augment=[name], located="boxes").batch(torch.arange(COUNT))
    moved = 0
    for image, rows, before in zip(x[:, 0] > 0.5, boxes, BOXES, strict=True):
        there = rows[rows[:, 0] >= 0]
        if not len(there):
            # Less than a pixel of it is left.
            assert image.any(0).sum() <= 1 or image.any(1).sum() <= 1
            continue
        down, right = image.nonzero(as_tuple=True)
        seen = torch.stack([right.min(), down.min(), right.max() + 1, down.max() + 1])
        assert there.shape == (1, 5)
        assert there[0, 0] == 2
        assert (there[0, 1:] - seen).abs().max() <= (1.5 if name in RESIZING else 0), name
        assert (rows[1:] == -1).all()
        moved += not torch.equal(rows, before)
    assert moved > COUNT / 4


def test_boxes_are_clipped_and_dropped_where_nothing_is_left() -> None:
    boxes = torch.tensor([[0.0, -3, 2, 4, 20], [1, -5, 0, 0.5, 9], [2, 3, 3, 6, 6], [1, 9, 0, 12, 9]])
    assert clipped(boxes, 10, 8, 4).tolist() == [[0, 0, 2, 4, 10], [2, 3, 3, 6, 6], [-1] * 5, [-1] * 5]


@every("labels", "located", of=[(MAPS, "map"), (BOXES, "boxes")])
def test_changes_of_colour_and_cutouts_leave_targets(labels: Tensor, located: Any) -> None:
    def darker(x: Tensor) -> Tensor:
        return x // 2

    darker.keeps_places = True  # type: ignore[attr-defined]
    own = own_augmentation(darker, "darker", takes_generator=False)
    jitter = own_augmentation(v2.ColorJitter(brightness=0.5), "jitter", takes_generator=False)
    x, y = images(PIXELS, labels, augment=[own, jitter, "cutout_12"], located=located).batch(torch.arange(COUNT))
    assert torch.equal(y, labels.long() if located == "map" else labels)
    assert x.max() < 0.8


@every(one=["autoaugment_cifar10", "event_policy", Augmentation(lambda x, bits: x, name="mine")])
def test_an_augmentation_that_would_leave_targets_behind_is_refused(one: Any) -> None:
    with pytest.raises(DataError, match="moves pixels but not their targets; use one of color_"):
        images(PIXELS, MAPS, augment=[one], located="map")


@every(
    "labels",
    "located",
    of=[(MAPS.float(), "map"), (MAPS[0], "map"), (BOXES[..., :4], "boxes"), (BOXES.long(), "boxes")],
)
def test_other_targets_are_refused(labels: Tensor, located: Any) -> None:
    with pytest.raises(ShapeError, match=r"give (maps|boxes) as torch"):
        images(PIXELS[: len(labels)], labels, located=located)


def test_parts_together_keep_their_targets_and_sizes_are_kept() -> None:
    places = (slice(0, 30), slice(30, 35), slice(35, COUNT))
    parts = [images(PIXELS[part], MAPS[part], located="map") for part in places]
    sets = DataSets(*parts, classes=("a", "b"), shape=(1, SIDE, SIDE), mean=(0.0,), std=(1.0,))
    assert torch.equal(Together(parts).batch(torch.arange(COUNT))[1], MAPS.long())
    with pytest.raises(DataError, match="targets are for pixels of 16x16; give data at 8x8"):
        sets.resized(8)

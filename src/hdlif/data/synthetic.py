"""Ten tiny patterns that any network learns at once: for tests, and for trying out a recipe."""

from pathlib import Path

import torch
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.images import image_sets
from hdlif.data.samples import ImageSets
from hdlif.datasets import SYNTHETIC_CLASSES, SYNTHETIC_MEAN, SYNTHETIC_STD
from hdlif.errors import DataError

TRAIN, TEST, SIDE, CLASSES = 320, 100, 8, len(SYNTHETIC_CLASSES)
_CONTENT_SEED = 0


def synthetic(root: Path | None = None, *, validation: int, augment: Augment = (), seed: int = 0) -> ImageSets:
    """320 training and 100 test images 1x8x8 of ten classes, and `validation` more.

    Class c is a fixed pattern of dark (0) and bright (160) 2x2 tiles; uniform noise in 0..95 is added to
    each pixel. The images are the same for every seed: `seed` is that of the augmentation.

    >>> from hdlif.data import synthetic
    >>> sets = synthetic(validation=80)
    >>> len(sets.train), len(sets.validation), len(sets.test), sets.shape
    (320, 80, 100, (1, 8, 8))

    Args:
        root, validation, augment, seed: as of `digits`.
    """
    if validation < 1:
        raise DataError(f"synthetic: {validation} validation images are refused; set validation to 1 or more")
    generator = torch.Generator().manual_seed(_CONTENT_SEED)
    tiles = 160 * torch.randint(2, (CLASSES, 1, SIDE // 2, SIDE // 2), generator=generator, dtype=torch.uint8)
    patterns = tiles.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    def draw(n: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(n) % CLASSES
        noise = torch.randint(96, (n, 1, SIDE, SIDE), generator=generator, dtype=torch.uint8)
        return patterns[labels] + noise, labels

    # The size of the validation set must not change the others, so it is drawn last.
    train, test = draw(TRAIN), draw(TEST)
    return image_sets(
        train,
        draw(validation),
        test,
        classes=SYNTHETIC_CLASSES,
        mean=SYNTHETIC_MEAN,
        std=SYNTHETIC_STD,
        augment=augment,
        seed=seed,
    )

"""Data sets: map-style, deterministic in (seed, epoch, index)."""

from hdlif.data.augment import AUGMENTATIONS
from hdlif.data.draws import batches
from hdlif.data.images import Frames, Images, ImageSets, constant, digits, fashion_mnist, rows
from hdlif.data.synthetic import synthetic

__all__ = [
    "AUGMENTATIONS",
    "Frames",
    "ImageSets",
    "Images",
    "batches",
    "constant",
    "digits",
    "fashion_mnist",
    "rows",
    "synthetic",
]

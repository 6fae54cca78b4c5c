"""Data sets: map-style, deterministic in (seed, epoch, index)."""

from hdlif.data.augment import AUGMENTATIONS
from hdlif.data.draws import batches
from hdlif.data.images import Images, ImageSets, digits, fashion_mnist
from hdlif.data.synthetic import synthetic

__all__ = ["AUGMENTATIONS", "ImageSets", "Images", "batches", "digits", "fashion_mnist", "synthetic"]

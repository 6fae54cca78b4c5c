"""Data sets: map-style, deterministic in (seed, epoch, index)."""

from hdlif.data.augment import AUGMENTATIONS, Augmentation
from hdlif.data.cifar import cifar10, cifar100
from hdlif.data.copy_task import copy_task
from hdlif.data.delayed_xor import delayed_xor
from hdlif.data.draws import batches
from hdlif.data.event_sets import dvs_cifar10, dvs_gesture, n_mnist
from hdlif.data.given import DatasetSamples, TensorSamples, as_samples, over_time
from hdlif.data.imagenet import imagenet, tiny_imagenet
from hdlif.data.images import Images, digits, fashion_mnist
from hdlif.data.mackey_glass import mackey_glass
from hdlif.data.own.found import Found
from hdlif.data.public import get
from hdlif.data.samples import Frames, ImageSets, Samples, Tested, constant, pixels, processors, rows
from hdlif.data.simulator import simulated
from hdlif.data.sines import sines
from hdlif.data.synthetic import synthetic
from hdlif.data.wine import wine
from hdlif.inputs.events import Binning, Events, by_number, by_time, count_frames

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Binning",
    "DatasetSamples",
    "Events",
    "Found",
    "Frames",
    "ImageSets",
    "Images",
    "Samples",
    "TensorSamples",
    "Tested",
    "as_samples",
    "batches",
    "by_number",
    "by_time",
    "cifar10",
    "cifar100",
    "constant",
    "copy_task",
    "count_frames",
    "delayed_xor",
    "digits",
    "dvs_cifar10",
    "dvs_gesture",
    "fashion_mnist",
    "get",
    "imagenet",
    "mackey_glass",
    "n_mnist",
    "over_time",
    "pixels",
    "processors",
    "rows",
    "simulated",
    "sines",
    "synthetic",
    "tiny_imagenet",
    "wine",
]

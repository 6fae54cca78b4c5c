"""Map-style data sets whose samples depend only on (seed, epoch, index)."""

from hdlif.data.augment import AUGMENTATIONS, Augmentation
from hdlif.data.draws import batches
from hdlif.data.in_memory import Images
from hdlif.data.own_data import OwnData
from hdlif.data.public import get
from hdlif.data.python_data import DatasetSamples, TensorSamples, as_samples
from hdlif.data.samples import (
    DataSets,
    Frames,
    Samples,
    Tested,
    constant,
    over_time,
    pixels,
    processors,
    rows,
)
from hdlif.data.simulator import simulated
from hdlif.data.sources.cifar import cifar10, cifar100
from hdlif.data.sources.event_sets import dvs_cifar10, dvs_gesture, n_mnist
from hdlif.data.sources.fashion_mnist import fashion_mnist
from hdlif.data.sources.imagenet import imagenet, tiny_imagenet
from hdlif.data.sources.scikit_learn import digits, wine
from hdlif.data.sources.synthetic import copy_task, delayed_xor, mackey_glass, sines, synthetic
from hdlif.inputs.events import Binning, Events, by_number, by_time, count_frames

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Binning",
    "DataSets",
    "DatasetSamples",
    "Events",
    "Frames",
    "Images",
    "OwnData",
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

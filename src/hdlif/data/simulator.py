"""Simulate event-camera recordings of still images that move in front of the camera.

Each camera pixel stores the log intensity at the time of its last event. A pixel emits an event when the log intensity
L(t) = log(I(t) + DARK) differs from the stored value by the contrast threshold C. The polarity of an event is 1 if the
log intensity rises and 0 if it falls. As in N-MNIST (Orchard et al. 2015), the image makes three straight saccades of
equal duration and returns to its starting position. The directions and amplitudes of the saccades are random for each
image, so all recordings differ. Event times are computed by linear interpolation of the log intensity between the
sampled positions.
"""

import copy
import math
import mmap
from dataclasses import replace
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.draws import Bits, expanded, random_bits
from hdlif.data.in_memory import Images
from hdlif.data.samples import DataSets, Samples, stepwise
from hdlif.errors import DataError
from hdlif.inputs.events import Binning, Events, count_frames

CONTRAST = 0.4
"""Contrast threshold C in units of the natural logarithm: 49 % brighter."""
DARK = 0.1
"""Offset added to intensities, which range from 0 to 1. Log intensities span log(1.1 / 0.1) = 2.4, or 5 events."""
STEPS_PER_SACCADE = 8
REACH = 0.1
"""Mean reach of a saccade as a fraction of the side, at least 1 pixel; each is drawn from 0.5 to 1.5 times the mean."""
MOST_COUNT = 255
_CONTENT_SEED = 0


def trajectory(bits: Bits, *, side: int) -> NDArray[np.float64]:
    """Return a random closed path for each image, as pixel offsets (down, right) [B, steps + 1, 2] from the origin."""
    share = (expanded(bits, 3) >> np.uint64(11)).astype(np.float64) / 2**53
    reach = max(1.0, REACH * side) * (0.5 + share[:, 0])
    first = 2 * np.pi * share[:, 1]
    # The second saccade turns by 90 to 150 degrees, to either side.
    turn = np.where(share[:, 2] < 0.5, -1, 1) * np.pi * (0.5 + (2 * share[:, 2] % 1) / 3)
    one = np.stack([np.sin(first), np.cos(first)], axis=1) * reach[:, None]
    two = one + np.stack([np.sin(first + turn), np.cos(first + turn)], axis=1) * reach[:, None]
    corners = np.stack([np.zeros_like(one), one, two, np.zeros_like(one)], axis=1)
    part = np.arange(STEPS_PER_SACCADE) / STEPS_PER_SACCADE
    legs = corners[:, :-1, None] + (corners[:, 1:] - corners[:, :-1])[:, :, None] * part[:, None]
    return np.concatenate([legs.reshape(len(bits), -1, 2), corners[:, -1:]], axis=1)


def log_intensity(pixels: Tensor, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log intensity [B, S, H, W] of uint8 images [B, 1, H, W] at offsets [B, S, 2] on a black background."""
    n, _, height, width = pixels.shape
    steps = places.shape[1]
    # In grid_sample's (x, y), a pixel is 2/side wide; the sampled position moves opposite to the image.
    moved = torch.from_numpy(-places).flip(-1).reshape(-1, 1, 1, 2) * 2 / torch.tensor([width, height])
    still = F.affine_grid(torch.eye(2, 3, dtype=torch.float64)[None], [1, 1, height, width], align_corners=False)
    images = pixels.double().div(255).repeat_interleave(steps, dim=0)
    seen = F.grid_sample(images, still + moved, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (seen.reshape(n, steps, height, width) + DARK).log().numpy()


def crossings(level: NDArray[np.float64]) -> list[Events]:
    """Return one recording per image, sorted by time, given log intensities [B, S, H, W] at times 0 to S-1.

    At step s, a pixel with stored value m emits |n| events, with n = trunc((L_s - m) / C), and m becomes m + n·C. The
    k-th event occurs when the line from L_{s-1} to L_s crosses m ± k·C.
    """
    memory = level[:, 0].copy()
    found = []
    for step in range(1, level.shape[1]):
        before, now = level[:, step - 1], level[:, step]
        counts = np.trunc((now - memory) / CONTRAST).astype(np.int64)
        sample, y, x = np.nonzero(counts)
        many = counts[sample, y, x]
        of_event = np.repeat(np.arange(len(many)), np.abs(many))
        number = np.arange(len(of_event)) - np.repeat(np.cumsum(np.abs(many)) - np.abs(many), np.abs(many)) + 1
        sign = np.sign(many)[of_event]
        sample, y, x = sample[of_event], y[of_event], x[of_event]
        start = before[sample, y, x]
        met = memory[sample, y, x] + sign * number * CONTRAST
        share = np.clip((met - start) / (now[sample, y, x] - start), 0, 1)
        found.append((sample, step - 1 + share, x, y, (sign > 0).astype(np.int64)))
        memory += counts * CONTRAST
    sample, t, x, y, polarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((t, sample))
    ends = np.searchsorted(sample[order], np.arange(1, len(level)))
    return [Events(t[part], x[part], y[part], polarity[part]) for part in np.split(order, ends)]


def simulate(pixels: Tensor, bits: Bits) -> list[Events]:
    """Simulate a recording of each uint8 image in [B, 1, H, W], with motion that depends on the random bits [B]."""
    return crossings(log_intensity(pixels, trajectory(bits, side=min(pixels.shape[-2:]))))


class SimulatedEvents(Samples):
    """Event frames that are simulated once from 1-channel images and shared with worker processes.

    The recording of an image depends on the index and split of the image, but not on the epoch or the run's seed.
    Augmentations are applied to the event frames.
    """

    def __init__(self, images: Images, *, part: int, time_steps: int, binning: Binning) -> None:
        super().__init__(images.labels, augment=images.augment, seed=images.seed)
        self.images, self.part, self.time_steps, self.binning = images, part, time_steps, binning
        self.frames = stepwise(time_steps)
        height, width = images.pixels.shape[-2:]
        self._counts = _shared_zeros(len(images), time_steps * 2, height, width)
        self._made = _shared_zeros(len(images)).view(torch.bool)

    def resized(self, size: int) -> Self:
        """Return events simulated from the images at `size` x `size` pixels."""
        other = copy.copy(self)
        type(self).__init__(
            other, self.images.resized(size), part=self.part, time_steps=self.time_steps, binning=self.binning
        )
        return other

    def read(self, indices: Tensor) -> Tensor:
        """Return the event counts as uint8 [B, T·2, H, W]."""
        wanted = torch.unique(indices)
        fresh = wanted[~self._made[wanted]]
        if len(fresh):
            # Two processes may make the same frames simultaneously, but they write the same bytes.
            self._counts[fresh] = self._simulated(fresh)
            self._made[fresh] = True
        return self._counts[indices]

    def _simulated(self, indices: Tensor) -> Tensor:
        bits = random_bits(indices.numpy(), seed=_CONTENT_SEED, epoch=self.part, stream=1)
        height, width = self._counts.shape[-2:]
        counts = np.stack(
            [
                count_frames(events, self.time_steps, binning=self.binning, height=height, width=width)
                for events in simulate(self.images.pixels[indices], bits)
            ]
        )
        if counts.max() > MOST_COUNT:
            raise DataError(f"a pixel has {counts.max()} events in a frame; at most {MOST_COUNT} are supported")
        return torch.from_numpy(counts.astype(np.uint8)).flatten(1, 2)


def _shared_zeros(*shape: int) -> Tensor:
    """Return uint8 zeros in memory that this process shares with forked workers.

    Unlike `Tensor.share_memory_`, a memory map allocates pages only when they are written, and does not use /dev/shm.
    """
    size = math.prod(shape)
    return torch.frombuffer(mmap.mmap(-1, max(size, 1)), dtype=torch.uint8)[:size].view(shape)


def simulated(sets: DataSets, *, time_steps: int, binning: Binning) -> DataSets:
    """Simulate an event camera that records the images in `sets`, and return data sets of counts [T, B, 2, H, W].

    >>> import torch
    >>> from hdlif.data import by_time, digits, simulated
    >>> sets = simulated(digits(validation=200), time_steps=4, binning=by_time)
    >>> x, y = sets.train.sequence(torch.arange(3))
    >>> list(x.shape)
    [4, 3, 2, 8, 8]

    Args:
        sets: images of one channel in memory, such as `digits`.
        time_steps: T, the number of frames per recording.
        binning: `by_time`, `by_number`, or your own function from (t, T) to frame numbers.
    Raises:
        DataError: the sets are not 1-channel images in memory.
    """
    parts: list[Samples] = []
    for number, images in enumerate(sets.parts):
        if not isinstance(images, Images) or images.pixels.shape[1] != 1:
            raise DataError("events are simulated from images of one channel; give digits or fashion_mnist")
        parts.append(SimulatedEvents(images, part=number, time_steps=time_steps, binning=binning))
    train, validation, test = parts
    shape = (2, *sets.shape[1:])
    return replace(sets, train=train, validation=validation, test=test, shape=shape, mean=(0.0,) * 2, std=(1.0,) * 2)

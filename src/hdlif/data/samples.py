"""Augment labelled samples, and prepare batches in worker processes.

Subclasses of `Samples` define how raw samples are read and normalised.
"""

import copy
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hdlif.data.augment import AUGMENTATIONS, Augment, Augmentation
from hdlif.data.draws import random_bits
from hdlif.data.image_targets import DRIFT_STREAM, Drift, Located, check_located, moved
from hdlif.errors import DataError, HdlifError, ShapeError, did_you_mean

Tested = Literal["all", "train", "validation", "test"]
"""Part of the data on which a network is evaluated."""
Frames = Callable[[Tensor], Tensor]
"""Maps samples [B, C, H, W] to a network's input: [T, B, ...], or [1, B, ...] if every step has the same input."""


def constant(x: Tensor) -> Tensor:
    """Present the same image at every time step, and return it as a single step [1, B, C, H, W].

    >>> import torch
    >>> from hdlif.data import constant
    >>> list(constant(torch.rand(5, 3, 8, 8)).shape)
    [1, 5, 3, 8, 8]

    Args:
        x: samples [B, C, H, W], or of any other shape.
    """
    return x[None]


def rows(x: Tensor) -> Tensor:
    """Present one image row per time step, from top to bottom, and return [H, B, C, 1, W].

    >>> import torch
    >>> from hdlif.data import rows
    >>> list(rows(torch.rand(5, 3, 8, 8)).shape)
    [8, 5, 3, 1, 8]

    Args:
        x: samples [B, C, H, W].
    """
    return x.permute(2, 0, 1, 3).unsqueeze(3)


def pixels(x: Tensor) -> Tensor:
    """Present one pixel per time step, row by row from the top left, and return [H·W, B, C, 1, 1].

    >>> import torch
    >>> from hdlif.data import pixels
    >>> list(pixels(torch.rand(5, 3, 8, 8)).shape)
    [64, 5, 3, 1, 1]

    Args:
        x: samples [B, C, H, W].
    """
    return x.flatten(2).permute(2, 0, 1)[..., None, None]


def over_time(x: Tensor) -> Tensor:
    """Convert sequences [B, T, ...] to one input per time step, and return [T, B, ...].

    >>> import torch
    >>> from hdlif.data import over_time
    >>> list(over_time(torch.rand(5, 10, 2)).shape)
    [10, 5, 2]

    Args:
        x: [B, T, ...].
    """
    return x.transpose(0, 1)


def stepwise(time_steps: int) -> Frames:
    """Return a function that divides event frames [B, T·2, H, W] into time steps [T, B, 2, H, W]."""

    def shown(x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        return x.reshape(n, time_steps, 2, height, width).transpose(0, 1)

    return shown


class Samples(Dataset[tuple[Tensor, Any]], ABC):
    """Base class for labelled samples x = scale(augment(read(index))).

    The augmentation of a sample depends only on (seed, epoch, index). Worker processes use the epoch that was set when
    the stream started.

    The subclass in this example defines how samples are read and scaled:

    >>> import torch
    >>> from hdlif.data import Samples
    >>> class Ramps(Samples):
    ...     def read(self, indices):
    ...         return indices.view(-1, 1, 1, 1).expand(-1, 1, 1, 4).clone()
    ...
    ...     def scale(self, raw):
    ...         return raw.float() / 10
    >>> x, y = Ramps(torch.arange(10)).sequence(torch.tensor([3, 5]))
    >>> list(x.shape), x[0, 1].mean().item(), y.tolist()
    ([1, 2, 1, 1, 4], 0.5, [3, 5])

    Args:
        labels: the target of each sample, [N, ...] as in `tasks.Target`; int64 [N] for classes.
        augment: names from `AUGMENTATIONS` or `Augmentation` objects, applied in this order.
        seed: seed of the augmentation.
        located: kind of targets that are transformed with the pixels (layout in `data.image_targets`).
    Attributes:
        frames: makes the input for each step.
        drift: makes sequences from still images, after all augmentations and instead of `frames`.
        fill: bytes [C, 1, 1] that replace zeros in the areas uncovered by augmentations that move the image.
        workers: number of processes that make the batches of a stream; 0 makes batches in the current process.
        costly: whether making a batch justifies a separate process.
    Raises:
        ShapeError: labels have another type.
        DataError: an augmentation is unknown, applies to raw samples but follows an augmentation of normalised samples,
            or cannot move the targets with the pixels.
    """

    def __init__(
        self, labels: Tensor, *, augment: Augment | None = None, seed: int = 0, located: Located | None = None
    ) -> None:
        if located is not None:
            check_located(labels, located)
        elif labels.dtype not in (torch.int64, torch.float32) or labels.ndim < 1 + labels.is_floating_point():
            raise ShapeError(
                f"labels are {labels.dtype} {list(labels.shape)}; give torch.int64 of classes, [N, ...] of N "
                "samples, or torch.float32 of values or of several labels, [N, ..., names]"
            )
        for name in augment or ():
            if isinstance(name, str) and name not in AUGMENTATIONS:
                raise DataError(f'augment: "{name}" is unknown; {did_you_mean(name, AUGMENTATIONS)}')
        late = [_of(one).normalised for one in augment or ()]
        if late != sorted(late):
            raise DataError(
                f"augment: {list(map(str, augment or ()))} has an augmentation of raw samples after one of normalised "
                "samples, such as cutout; name the latter last"
            )
        for one in augment or ():
            if located is not None and _of(one).target is None:
                raise DataError(
                    f'augment: "{one}" moves pixels but not their targets; use one of '
                    f"{', '.join(name for name, known in AUGMENTATIONS.items() if known.target is not None)}, a "
                    "transform of torchvision.transforms.v2, or one with an attribute keeps_places = True"
                )
        self.labels = labels
        self.augment = tuple(augment or ())
        self.seed = seed
        self.located: Located | None = located
        self.frames: Frames = constant
        self.drift: Drift | None = None
        self.fill: Tensor | None = None
        self.workers = 0
        self.epoch = 0

    @abstractmethod
    def read(self, indices: Tensor) -> Tensor:
        """Return the raw samples at `indices` [B], stacked in a new tensor [B, C, H, W]."""

    def scale(self, raw: Tensor) -> Tensor:
        """Convert augmented raw samples to the network's input, which is float32 by default."""
        return raw.float()

    def resized(self, size: int) -> Self:
        """Return the samples resized to `size` x `size`, with the same augmentation. By default, raises `DataError`."""
        raise DataError(f"{type(self).__name__}: samples cannot be resized; give them at {size} x {size}")

    @property
    def costly(self) -> bool:
        return any(_of(one).costly for one in self.augment)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that determines the augmentation."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Self:
        """Return the first `count` samples, with the same augmentation and the same `frames` function."""
        return self._changed(labels=self.labels[:count])

    def plain(self) -> Self:
        """Return the same samples without augmentation."""
        return self._changed(augment=())

    def _changed(self, **attributes: Any) -> Self:
        """Return a copy with the given attributes changed and the epoch reset to 0."""
        other = copy.copy(self)
        vars(other).update(attributes, epoch=0)
        return other

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return `x` as float32 [B, C, H, W] and `y` as [B, ...]. With `drift`, both have the shape [B, T, ...]."""
        n = len(self)
        # A negative index would select a sample, but draw another augmentation for it.
        if outside := indices[(indices < 0) | (indices >= n)].tolist():
            raise IndexError(f"index {outside[0]} is outside 0..{n - 1}")
        y = self.labels[indices]
        x, y = self._augmented(self.read(indices), y.long() if self.located == "map" else y, indices, normalised=False)
        return self._drifted(*self._augmented(self.scale(x), y, indices, normalised=True), indices)

    def raw(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return raw samples and targets for reports. With `drift`, return each sequence's last frame and target."""
        x, y = self._drifted(self.read(indices), self.labels[indices], indices)
        return (x, y) if self.drift is None else (x[:, -1], y[:, -1])

    def _drifted(self, x: Tensor, y: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        if self.drift is None:
            return x, y
        return self.drift(x, y, random_bits(indices.numpy(), seed=self.seed, epoch=self.epoch, stream=DRIFT_STREAM))

    def _augmented(self, x: Tensor, y: Tensor, indices: Tensor, *, normalised: bool) -> tuple[Tensor, Tensor]:
        for stream, one in enumerate(self.augment, start=1):
            if _of(one).normalised == normalised and one not in self._drawn_in_read:
                bits = random_bits(indices.numpy(), seed=self.seed, epoch=self.epoch, stream=stream)
                target = _of(one).target
                # Bytes are added modulo 256, so the zeros in the uncovered areas become the fill.
                fill = self.fill if _of(one).pads else None
                x = x if fill is None else x - fill
                if self.located is None or target is None or target == "kept":
                    x = _of(one).apply(x, bits)
                else:
                    x, y = moved(x, y, bits, together=target, located=self.located)
                x = x if fill is None else x + fill
        return x, y

    _drawn_in_read: tuple[str, ...] = ()
    """Names of the augmentations that `read` itself applies."""

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        """Return `x` as float32 [C, H, W] and the target, with classes as integers."""
        x, y = self.batch(torch.tensor([index]))
        return x[0], int(y[0]) if y.dtype == torch.int64 and y.ndim == 1 else y[0]

    def sequence(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return `x` as float32 [T, B, ...], or [1, B, ...] if the input is constant over time, and `y` as [B, ...]."""
        x, y = self.batch(indices)
        return (self.frames(x) if self.drift is None else over_time(x)), y

    def sequences(self, batch_size: int, indices: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the result of `sequence` for batches of `batch_size` samples at `indices` [N], or of all samples."""
        chosen = torch.arange(len(self)) if indices is None else indices
        return self.stream(torch.split(chosen, batch_size))

    def stream(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the result of `sequence` for each batch, prefetched by `workers` processes.

        If a GPU is available, prefetched batches are in pinned memory.
        """
        if not self.workers or not len(batches):
            yield from map(self.sequence, batches)
            return
        made = DataLoader(
            _Sequences(self),
            sampler=batches,
            batch_size=None,
            num_workers=min(self.workers, len(batches)),
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_leave_signals_to_the_parent,
            # Pass a separate generator: a loader draws a number when it starts, which would advance the global one.
            generator=torch.Generator(),
        )
        try:
            for sequence in made:
                if isinstance(sequence, HdlifError):
                    raise sequence
                yield sequence[0], sequence[1]
        except Exception as error:
            # The error's frames keep the loader alive, so Python would wait forever for processes that ignore SIGTERM.
            error.__context__ = None
            raise error.with_traceback(None) from None


def _of(one: str | Augmentation) -> Augmentation:
    return AUGMENTATIONS[one] if isinstance(one, str) else one


class _Sequences(Dataset[tuple[Tensor, Tensor] | HdlifError]):
    """A data set whose items are batches, for use in a worker process."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor] | HdlifError:
        try:
            return self.samples.sequence(indices)
        except HdlifError as error:
            # If raised here, the error would reach the parent with a worker's traceback as its message.
            return error


def _leave_signals_to_the_parent(_: int) -> None:
    """Ignore SIGINT and SIGTERM in a worker process, so that the parent process can finish the current batch."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class Together(Samples):
    """The concatenated samples of several sets of the same kind, without augmentation."""

    def __init__(self, sets: Sequence[Samples]) -> None:
        super().__init__(torch.cat([one.labels for one in sets]), located=sets[0].located)
        self.sets = tuple(one.plain() for one in sets)
        self.drift = sets[0].drift
        self.begins = torch.tensor([0, *(len(one) for one in sets[:-1])]).cumsum(0)
        self.frames, self.workers = sets[0].frames, sets[0].workers

    def read(self, indices: Tensor) -> Tensor:
        """Read the raw samples at `indices` [B] from the sets that contain them."""
        of_set = torch.bucketize(indices, self.begins, right=True) - 1
        order = torch.argsort(of_set, stable=True)
        asked = [indices[of_set == number] - begin for number, begin in enumerate(self.begins)]
        raw = torch.cat([one.read(own) for one, own in zip(self.sets, asked, strict=True) if len(own)])
        return raw[torch.argsort(order)]

    def scale(self, raw: Tensor) -> Tensor:
        """Normalise raw samples with the scaling that all sets share."""
        return self.sets[0].scale(raw)

    def resized(self, size: int) -> Self:
        """Return the samples resized to `size` x `size`, with the same `frames` function."""
        return self._changed(sets=tuple(one.resized(size) for one in self.sets))


@dataclass(frozen=True)
class DataSets:
    """Three disjoint sets of samples with the same scaling; only `train` is augmented.

    >>> from hdlif.data import digits
    >>> sets = digits(validation=200)
    >>> len(sets.train), len(sets.validation), len(sets.test), len(sets.classes), sets.shape
    (1237, 200, 360, 10, (1, 8, 8))

    Attributes:
        train, validation, test: the sets.
        classes: names of the classes in label order.
        shape: shape [C, H, W] of an image or an event frame.
        mean, std: mean and deviation per channel with which samples are normalised.
    """

    train: Samples
    validation: Samples
    test: Samples
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def parts(self) -> tuple[Samples, Samples, Samples]:
        return self.train, self.validation, self.test

    def of(self, part: Tested) -> Samples:
        """Return one of the three sets or their concatenation, without augmentation."""
        return Together(self.parts) if part == "all" else getattr(self, part).plain()

    def resized(self, size: int) -> Self:
        """Return the sets with images resized to `size` x `size` (bilinear, antialiased) and rounded to bytes."""
        if self.train.located is not None:
            raise DataError(f"targets are for pixels of {self.shape[1]}x{self.shape[2]}; give data at {size}x{size}")
        sets = {name: getattr(self, name).resized(size) for name in ("train", "validation", "test")}
        return replace(self, shape=(self.shape[0], size, size), **sets)

    def shown_as(self, frames: Frames) -> Self:
        """Set the function that creates the input for each step, and return the sets."""
        for part in self.parts:
            part.frames = frames
        return self

    def made_by(self, workers: int | None, *, ranks: int = 1) -> Self:
        """Set the number of worker processes that prepare batches, and return the sets.

        Args:
            workers: the default is one per processor, up to 16, if making a batch is costly, and otherwise none.
            ranks: number of training processes that share the processors of this machine.
        """
        most = max(1, min(16, processors() // ranks))
        for part in self.parts:
            part.workers = workers if workers is not None else most if part.costly else 0
        return self


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

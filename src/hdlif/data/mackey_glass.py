"""The chaotic series of Mackey and Glass, to be forecast."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.samples import ImageSets
from hdlif.data.series_samples import series_sets
from hdlif.data.splits import check_generated
from hdlif.generated import MackeyGlass

TAU, BETA, GAMMA = 17, 0.2, 0.1
STARTS: Mapping[str, float] = {"train": 1.2, "validation": 0.9, "test": 0.6}
"""x(t) for t <= 0, of the series of each part."""
SKIPPED = 1000
"""Units of time before the first one that is used."""
_SUBSTEPS = 10
"""Steps of the integration in a unit of time."""


def mackey_glass(
    root: Path | None = None,
    *,
    content: MackeyGlass | None = None,
    validation: int,
    augment: Augment = (),
    seed: int = 0,
) -> ImageSets:
    """Windows [steps] of a series, and at each step the value `ahead` later, normalised; `root` is not needed.

    Each part has a series of its own, from another start: whatever the sizes, no part is a stretch of
    another's, and a network can be tested on more than it was first tested on. `seed` is that of the augmentation.

    >>> import torch
    >>> from hdlif.data import mackey_glass, rows
    >>> from hdlif.generated import MackeyGlass
    >>> sets = mackey_glass(content=MackeyGlass(steps=20, samples=8, test=4), validation=4)
    >>> sets.train.frames = rows
    >>> x, y = sets.train.sequence(torch.arange(3))
    >>> list(x.shape), list(y.shape)
    ([20, 3, 1, 1, 1], [3, 20, 1])

    Args:
        content: steps, ahead, stride and sizes; the defaults of `MackeyGlass` without it.
        root, validation, augment, seed: as of `digits`; validation counts windows.
    """
    content = MackeyGlass() if content is None else content
    check_generated("mackey_glass", content, validation)
    counts = {"train": content.samples, "validation": validation, "test": content.test}
    lengths = content.lengths(validation)

    def windows(part: str, stride: int) -> tuple[Tensor, Tensor]:
        values = series(SKIPPED + lengths[part], STARTS[part])[SKIPPED:]
        learned = (values - content.mean[0]) / content.std[0]
        # Views of every window there is; what is taken of them alone is copied.
        shown, later = (sliding_window_view(x.astype(np.float32), content.steps) for x in (values, learned))
        begins = stride * np.arange(counts[part])
        return (
            torch.from_numpy(shown[begins][:, None, :, None]),
            torch.from_numpy(later[begins + content.ahead][..., None]),
        )

    # Windows that are measured share no step.
    parts = [windows("train", content.stride), *(windows(part, content.steps) for part in ("validation", "test"))]
    return series_sets(parts, content.input, content.names, augment=augment, seed=seed)


@cache
def series(n: int, start: float) -> NDArray[np.float64]:
    """x(0), x(1), ..., x(n - 1), from x(t) = `start` for t <= 0.

    dx/dt = f(x(t - τ)) - γ·x(t) with f(x) = β·x/(1 + x^10), by the classical Runge-Kutta method of 10 steps a unit; the
    delayed value in the middle of a step is interpolated by a cubic through four neighbours. It takes the four basic
    operations alone, so that it is the same on every machine, as chaotic as it is.
    """
    lag, h = TAU * _SUBSTEPS, 1 / _SUBSTEPS

    def fed_back(x: float) -> float:
        square = x * x
        fourth = square * square
        return BETA * x / (1 + fourth * fourth * square)

    # One value more than the lag, for the interpolation of the first step.
    x = [start] * (lag + 2)
    after = fed_back(start)
    for place in range(1, _SUBSTEPS * (n - 1) + 1):
        now = x[-1]
        middle = (9 * (x[place] + x[place + 1]) - (x[place - 1] + x[place + 2])) / 16
        before, between, after = after, fed_back(middle), fed_back(x[place + 1])
        k1 = before - GAMMA * now
        k2 = between - GAMMA * (now + h / 2 * k1)
        k3 = between - GAMMA * (now + h / 2 * k2)
        k4 = after - GAMMA * (now + h * k3)
        x.append(now + h / 6 * (k1 + 2 * (k2 + k3) + k4))
    whole = np.array(x[lag + 1 :: _SUBSTEPS])
    whole.setflags(write=False)
    return whole

"""The chaotic series of Mackey and Glass, to be forecast."""

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
START, SKIPPED = 1.2, 1000
"""x(t) for t <= 0, and the units of time before the first one that is used."""
GAP = 500
"""Units of time between two parts."""
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
    """Windows [steps] of one series, and at each step the value `ahead` later, normalised; `root` is not needed.

    The parts are stretches of time one after another, test, validation and training, with 500 units between them, so
    that neither of the first two hangs on what is trained on: of a network that is there already `samples` and `stride`
    need not be known. `seed` is that of the augmentation.

    Args:
        content: steps, ahead, stride and sizes; the defaults of `MackeyGlass` without it.
    """
    content = MackeyGlass() if content is None else content
    check_generated("mackey_glass", content, validation)
    counts = (content.test, validation, content.samples)
    strides = (content.steps, content.steps, content.stride)
    lengths = content.lengths(validation)
    begins = SKIPPED + np.cumsum([0, *(length + GAP for length in lengths[:2])])
    values = series(int(begins[-1]) + lengths[-1])
    learned = (values - content.mean[0]) / content.std[0]
    # Views of every window there is; what is taken of them alone is copied.
    shown, later = (sliding_window_view(x.astype(np.float32), content.steps) for x in (values, learned))

    def cut(part: int) -> tuple[Tensor, Tensor]:
        starts = begins[part] + strides[part] * np.arange(counts[part])
        return (
            torch.from_numpy(shown[starts][:, None, :, None]),
            torch.from_numpy(later[starts + content.ahead][..., None]),
        )

    return series_sets([cut(2), cut(1), cut(0)], content.input, content.names, augment=augment, seed=seed)


@cache
def series(n: int) -> NDArray[np.float64]:
    """x(0), x(1), ..., x(n - 1), from x(t) = 1.2 for t <= 0.

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
    x = [START] * (lag + 2)
    after = fed_back(START)
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

"""Draw arrays as heat maps in which stronger colours represent larger values."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from hdlif.report import charts

_SHADES = 12


def draw_map(axes: Axes, values: Sequence[Sequence[float]], steps: tuple[float, float] = (1, 1)) -> None:
    """Draw a heat map with the first row of `values` at the bottom.

    Args:
        values: values as [rows][columns]; nothing is drawn for values that are not finite.
        steps: distance between columns, and distance between rows; the first column and row are at 1.
    """
    (width, height), columns = steps, max(map(len, values), default=0)
    known = [value for row in values for value in row if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    boxes: dict[int, list[Path]] = {}
    for place, row in enumerate(values):
        bottom, top = 0.5 + place * height, 0.5 + (place + 1) * height
        begin = 0
        for shade, alike in itertools.groupby(_shade(value, low, high) for value in row):
            end = begin + sum(1 for _ in alike)
            left, right = 0.5 + begin * width, 0.5 + end * width
            corners = [(left, bottom), (left, top), (right, top), (right, bottom), (left, bottom)]
            boxes.setdefault(shade, []).append(Path(corners, closed=True))
            begin = end
    axes.grid(visible=False)
    # Draw one path per shade instead of per value, because thousands of paths would make a page of megabytes.
    for shade, paths in sorted(boxes.items()):
        if shade:
            whole = Path.make_compound_path(*paths)
            axes.add_patch(PathPatch(whole, facecolor=charts.SERIES[0], alpha=shade / _SHADES, linewidth=0))
    axes.set_xlim(0.5, 0.5 + columns * width)
    axes.set_ylim(0.5, 0.5 + len(values) * height)


def _shade(value: float, low: float, high: float) -> int:
    return round(_SHADES * (value - low) / (high - low)) if math.isfinite(value) and high > low else 0


def thinned(values: NDArray[np.float32], most: tuple[int, int]) -> list[list[float]]:
    """Average neighbouring values in an array [H, W] to limit the number of rows and columns.

    >>> thinned(np.arange(6, dtype=np.float32).reshape(2, 3), (2, 2))
    [[0.5, 2.0], [3.5, 5.0]]
    """
    for axis, count in enumerate(most):
        block = -(-values.shape[axis] // count)
        begins = np.arange(0, values.shape[axis], block)
        sizes = np.diff([*begins, values.shape[axis]]).reshape([-1 if one == axis else 1 for one in range(2)])
        values = (np.add.reduceat(values, begins, axis) / sizes).astype(np.float32)
    found: list[list[float]] = values.tolist()
    return found

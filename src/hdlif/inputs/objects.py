"""Find objects in the logits of a network, and compare maps of object numbers."""

import numpy as np
from numpy.typing import NDArray

BACKGROUND, BOUNDARY, INSIDE = 0, 1, 2
"""Indices of the three outputs that the task `instances` has at each pixel."""
PARTS = ("background", "boundary", "inside")
LEAST_PIXELS = 4
"""Minimum number of pixels of an object; smaller objects are dropped as noise."""
LEVELS = (0.95, 0.8, 0.65, 0.5)
"""Probabilities of "inside" at which objects are separated. Touching objects may split at a higher level."""
_IOU = 0.5

Numbers = NDArray[np.int32]


def objects_of(logits: NDArray[np.floating], *, least: int = LEAST_PIXELS) -> Numbers:
    """Compute each pixel's object number (0 for no object) from the logits of "background", "boundary" and "inside".

    The method is a watershed transform of the softmax probability p of the class "inside". At each level in `LEVELS`,
    existing objects grow into adjacent pixels where p is above the level. All other connected components with at least
    `least` pixels become new objects; at the last level, components of any size become objects. Finally, objects grow
    over the foreground, where the probability of the background is below 0.5. Each foreground component without an
    object becomes a new object, and objects with fewer than `least` pixels are dropped.

    >>> import numpy as np
    >>> from hdlif.inputs.objects import objects_of
    >>> row = np.array([0, 1, 2, 2, 1, 1, 2, 2, 1, 0])
    >>> objects_of(8.0 * (row == np.arange(3)[:, None])[:, None], least=1)[0].tolist()
    [0, 1, 1, 1, 1, 2, 2, 2, 2, 0]

    Args:
        logits: [3, H, W], the mean over the time steps.
        least: smallest number of pixels of an object.
    """
    shares = np.exp(logits.astype(np.float64) - logits.max(0))
    shares /= shares.sum(0)
    foreground = shares[BACKGROUND] < 0.5
    found = np.zeros(foreground.shape, np.int32)
    for level in LEVELS:
        above = foreground & (shares[INSIDE] > level)
        found = _grown(found, above)
        found = _with_new(found, _large(components(above & (found == 0)), 1 if level == LEVELS[-1] else least))
    found = _grown(found, foreground)
    return _large(_with_new(found, components(foreground & (found == 0))), least)


def _with_new(found: Numbers, more: Numbers) -> Numbers:
    """Merge two object maps, and number the objects of `more` after the objects of `found`."""
    return np.where(more > 0, more + found.max(initial=0), found)


def _large(numbers: Numbers, least: int) -> Numbers:
    """Drop objects with fewer than `least` pixels, and renumber the others."""
    kept = np.bincount(numbers.ravel()) >= least
    kept[0] = False
    anew: Numbers = np.where(kept, kept.cumsum(), 0).astype(np.int32)[numbers]
    return anew


def components(mask: NDArray[np.bool_]) -> Numbers:
    """Label each pixel of a mask [H, W] with the number of its connected component; pixels outside the mask get 0.

    Pixels are neighbours if they share an edge. Components are numbered from 1 in the row-by-row order of their first
    pixels.
    """
    place = np.arange(mask.size).reshape(mask.shape)
    pairs = ((place[:, :-1], place[:, 1:], mask[:, :-1] & mask[:, 1:]), (place[:-1], place[1:], mask[:-1] & mask[1:]))
    first = np.concatenate([one[both] for one, _, both in pairs])
    second = np.concatenate([other[both] for _, other, both in pairs])
    # `root` points to the first known connected pixel; join roots, then shorten the paths to them.
    root = np.arange(mask.size)
    while len(first):
        one, other = root[first], root[second]
        apart = one != other
        first, second = first[apart], second[apart]
        np.minimum.at(root, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while not np.array_equal(root, shorter := root[root]):
            root = shorter
    is_root = mask.ravel() & (root == place.ravel())
    numbers = np.where(mask.ravel(), is_root.cumsum()[root], 0)
    return numbers.reshape(mask.shape).astype(np.int32)


def _grown(seeds: Numbers, mask: NDArray[np.bool_]) -> Numbers:
    """Grow seeds over a mask, adding all eight neighbours in each step; where seeds meet, the larger number wins."""
    labels = seeds
    while True:
        rows = np.pad(labels, ((1, 1), (0, 0)))
        columns = np.pad(np.maximum(np.maximum(rows[:-2], rows[2:]), labels), ((0, 0), (1, 1)))
        around = np.maximum(np.maximum(columns[:, :-2], columns[:, 2:]), columns[:, 1:-1])
        grown = np.where(mask & (labels == 0), around, labels)
        if np.array_equal(grown, labels):
            return grown
        labels = grown


def matched(found: NDArray[np.integer], true: NDArray[np.integer]) -> tuple[int, int, int]:
    """Count true positives, false positives and missed objects in maps [H, W] of object numbers.

    A found object is a true positive if its intersection over union with a true object is above 0.5. Each object can
    match at most once. Pixels with negative values in `true` are ignored.
    """
    counted = true >= 0
    pairs, common = np.unique(np.stack([found[counted], true[counted]]), axis=1, return_counts=True)
    there = (pairs > 0).all(0)
    sizes = [np.bincount(one[counted & (one > 0)]) for one in (found, true)]
    union = sizes[0][pairs[0, there]] + sizes[1][pairs[1, there]] - common[there]
    right = int((common[there] > _IOU * union).sum())
    return right, int((sizes[0] > 0).sum()) - right, int((sizes[1] > 0).sum()) - right

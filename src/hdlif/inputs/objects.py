"""Objects in a map of classes: which pixels belong together, and how well two maps of objects agree."""

import numpy as np
from numpy.typing import NDArray

BACKGROUND, BOUNDARY, INSIDE = 0, 1, 2
"""What outputs of the task `instances` are of, at each pixel."""
PARTS = ("background", "boundary", "inside")
LEAST_PIXELS = 4
"""Smaller objects are left out, as noise."""
_IOU = 0.5

Numbers = NDArray[np.int32]


def objects_of(logits: NDArray[np.floating], *, least: int = LEAST_PIXELS) -> Numbers:
    """Return the number of the object at each pixel, 1, 2, ..., or 0, from logits of background, boundary and inside.

    Each connected part of the pixels whose largest logit is that of the inside is the seed of an object, and so is one
    of foreground that has no such pixel. Seeds grow by one pixel at a time over the foreground, where the background
    has less than half of the softmax (a watershed of a flat map).

    >>> import numpy as np
    >>> from hdlif.inputs.objects import objects_of
    >>> row = np.array([0, 1, 2, 2, 1, 1, 2, 2, 1, 0])
    >>> objects_of(8.0 * (row == np.arange(3)[:, None])[:, None], least=1)[0].tolist()
    [0, 1, 1, 1, 1, 2, 2, 2, 2, 0]

    Args:
        logits: [3, H, W], the mean over the time steps.
        least: pixels that an object has.
    """
    shifted = np.exp(logits.astype(np.float64) - logits.max(0))
    foreground = shifted[BACKGROUND] < shifted[BOUNDARY] + shifted[INSIDE]
    seeds = components(foreground & (logits.argmax(0) == INSIDE))
    grown = _grown(seeds, foreground)
    rest = components(foreground & (grown == 0))
    grown = np.where(rest > 0, rest + seeds.max(initial=0), grown)
    sizes = np.bincount(grown.ravel())
    kept = sizes >= least
    kept[0] = False
    numbers = np.where(kept, kept.cumsum(), 0).astype(np.int32)
    found: Numbers = numbers[grown]
    return found


def components(mask: NDArray[np.bool_]) -> Numbers:
    """Return the number of the connected part of a mask [H, W] at each pixel, 0 outside; neighbours share an edge.

    Parts are numbered from 1 in the order of their first pixels, row by row.
    """
    place = np.arange(mask.size).reshape(mask.shape)
    pairs = ((place[:, :-1], place[:, 1:], mask[:, :-1] & mask[:, 1:]), (place[:-1], place[1:], mask[:-1] & mask[1:]))
    first = np.concatenate([one[both] for one, _, both in pairs])
    second = np.concatenate([other[both] for _, other, both in pairs])
    # Of each pixel the first one that it is known to be connected with; roots are joined, then ways to them shortened.
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
    """Return seeds grown over a mask, to all eight neighbours at a time; where two meet, the larger number."""
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
    """Return how many objects are found, wrongly found, and missed, of maps [H, W] of their numbers.

    An object is found if one of the map has an intersection over union of more than 0.5 with it, which at most one has.
    Pixels that are negative in `true` do not count.
    """
    counted = true >= 0
    pairs, common = np.unique(np.stack([found[counted], true[counted]]), axis=1, return_counts=True)
    there = (pairs > 0).all(0)
    sizes = [np.bincount(one[counted & (one > 0)]) for one in (found, true)]
    union = sizes[0][pairs[0, there]] + sizes[1][pairs[1, there]] - common[there]
    right = int((common[there] > _IOU * union).sum())
    return right, int((sizes[0] > 0).sum()) - right, int((sizes[1] > 0).sum()) - right

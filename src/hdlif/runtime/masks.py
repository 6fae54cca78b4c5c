"""Compute masks of classes or objects from maps of logits, and encode masks as PNG files."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.inputs.fitting import map_to_picture
from hdlif.inputs.objects import objects_of
from hdlif.runtime.images import Placed

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]
Objects = NDArray[np.uint16]
NO_CLASS = 255
"""Mask value of pixels outside the network's input, in cropped images."""
_MOST_OBJECTS = 2**16 - 1
_BITS = np.arange(256)[:, None, None] >> np.arange(24).reshape(8, 3) & 1
COLOURS: NDArray[np.uint8] = (_BITS * (128 >> np.arange(8))[:, None]).sum(1).astype(np.uint8)
"""Colours (red, green, blue) of 256 numbers as in Pascal VOC, [256, 3]: 0 black, 1 dark red, 2 dark green, 3 olive."""


def mask_of(logits: Floats, placed: Placed | None) -> Mask:
    """Return the most probable class of each pixel, uint8 [h, w], for logits [classes, H, W].

    >>> import numpy as np
    >>> from hdlif.runtime.images import Placed
    >>> from hdlif.runtime.masks import mask_of
    >>> logits = np.array([[[0, 1]], [[1, 0]]], np.float32)
    >>> mask_of(logits, None).tolist(), mask_of(logits, Placed((4, 2), (2, 1), "squash")).tolist()
    ([[1, 0]], [[1, 1, 0, 0], [1, 1, 0, 0]])

    Args:
        placed: position of an image, for a mask in the image's pixels; without it the mask is H x W.
    """
    classes: Mask = logits.argmax(0).astype(np.uint8)
    if placed is None:
        return classes
    return map_to_picture(classes, placed.size, placed.fit, outside=NO_CLASS)


def objects_in(logits: Floats, placed: Placed | None) -> Objects:
    """Return the object number of each pixel, uint16 [h, w].

    Objects are numbered from 1 without gaps, and 0 is background. The function `hdlif.inputs.objects.objects_of` finds
    the objects. Objects beyond 65,535 become background.

    Args:
        logits: logits [3, H, W] of background, boundary and inside.
        placed: as in `mask_of`.
    """
    numbers = objects_of(logits)
    if placed is not None:
        # Small objects may cover no pixel of a small image.
        numbers = map_to_picture(numbers, placed.size, placed.fit)
        there = np.bincount(numbers.ravel()) > 0
        there[0] = False
        numbers = np.where(there, there.cumsum(), 0)[numbers]
    found: Objects = np.where(numbers <= _MOST_OBJECTS, numbers, 0).astype(np.uint16)
    return found


def count_pixels(mask: Mask, classes: int) -> list[int]:
    """Return the number of pixels of each class."""
    return [int(count) for count in np.bincount(mask.ravel(), minlength=NO_CLASS + 1)[:classes]]


def as_png(mask: Mask | Objects) -> bytes:
    """Encode a mask as a PNG file, either in 8 bits with a palette or in 16-bit greyscale.

    An RGB image [h, w, 3] is encoded without a palette.

    >>> import io
    >>> import numpy as np
    >>> from PIL import Image
    >>> from hdlif.runtime.masks import as_png
    >>> np.asarray(Image.open(io.BytesIO(as_png(np.array([[0, 2]], np.uint8))))).tolist()
    [[0, 2]]
    """
    from PIL import Image

    small, file = mask.ndim == 2 and mask.max(initial=0) <= 255, io.BytesIO()
    image = Image.fromarray(mask.astype(np.uint8), "P") if small else Image.fromarray(mask)
    if small:
        image.putpalette(COLOURS.tobytes())
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def as_json(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON-serialisable prediction, in which a size [h, w] and a base64-encoded PNG file replace any mask."""
    import base64

    if "mask" not in answer:
        return answer
    mask = answer["mask"]
    return {**answer, "size": list(mask.shape), "mask": base64.b64encode(as_png(mask)).decode()}

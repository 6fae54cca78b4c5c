"""From maps of logits to a number at each pixel of an image, of its class or its object, and these as a PNG file."""

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
"""In a mask: a pixel that the network is not shown, of an image that is cropped to fit."""
_MOST_OBJECTS = 2**16 - 1
_BITS = np.arange(256)[:, None, None] >> np.arange(24).reshape(8, 3) & 1
COLOURS: NDArray[np.uint8] = (_BITS * (128 >> np.arange(8))[:, None]).sum(1).astype(np.uint8)
"""Red, green and blue of 256 numbers, [256, 3], those of Pascal VOC: 0 is black, 1 dark red, 2 dark green, 3 olive."""


def mask_of(logits: Floats, placed: Placed | None) -> Mask:
    """The class of each pixel, uint8 [h, w]: the largest of the logits [classes, H, W], at the nearest place.

    >>> import numpy as np
    >>> from hdlif.runtime.images import Placed
    >>> from hdlif.runtime.masks import mask_of
    >>> logits = np.array([[[0, 1]], [[1, 0]]], np.float32)
    >>> mask_of(logits, None).tolist(), mask_of(logits, Placed((4, 2), (2, 1), "squash")).tolist()
    ([[1, 0]], [[1, 1, 0, 0], [1, 1, 0, 0]])

    Args:
        placed: an image, whose own pixels the mask has then; else it is H x W.
    """
    classes: Mask = logits.argmax(0).astype(np.uint8)
    if placed is None:
        return classes
    return map_to_picture(classes, placed.size, placed.fit, outside=NO_CLASS)


def objects_in(logits: Floats, placed: Placed | None) -> Objects:
    """The number of the object at each pixel, uint16 [h, w], from 1 without gaps; 0 is background.

    Objects are those of `hdlif.inputs.objects.objects_of`, and of more than 65,535 the last ones are background.

    Args:
        logits: of background, boundary and inside, [3, H, W].
        placed: as for `mask_of`.
    """
    numbers = objects_of(logits)
    if placed is not None:
        # Small ones have no pixel in a small image.
        numbers = map_to_picture(numbers, placed.size, placed.fit)
        there = np.bincount(numbers.ravel()) > 0
        there[0] = False
        numbers = np.where(there, there.cumsum(), 0)[numbers]
    found: Objects = np.where(numbers <= _MOST_OBJECTS, numbers, 0).astype(np.uint16)
    return found


def count_pixels(mask: Mask, classes: int) -> list[int]:
    """How many pixels have each class."""
    return [int(count) for count in np.bincount(mask.ravel(), minlength=NO_CLASS + 1)[:classes]]


def as_png(mask: Mask | Objects) -> bytes:
    """A PNG file whose pixels are these numbers: of 8 bits with a palette of a colour for each, or grey of 16 bits.

    Of an image [h, w, 3] it has the colours.

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
    """An answer without arrays: a mask becomes its size [h, w] and a PNG file in base64."""
    import base64

    if "mask" not in answer:
        return answer
    mask = answer["mask"]
    return {**answer, "size": list(mask.shape), "mask": base64.b64encode(as_png(mask)).decode()}

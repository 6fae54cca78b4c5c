"""A class per pixel: from maps of logits to the class numbers of an image, and these as a PNG file."""

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.inputs.fitting import map_to_picture
from hdlif.runtime.images import Placed

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]
NO_CLASS = 255
"""In a mask: a pixel that the network is not shown, of an image that is cropped to fit."""


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


def count_pixels(mask: Mask, classes: int) -> list[int]:
    """How many pixels have each class."""
    return [int(count) for count in np.bincount(mask.ravel(), minlength=NO_CLASS + 1)[:classes]]


def as_png(mask: Mask) -> bytes:
    """A PNG file whose pixels are the class numbers, with a palette of a colour for each.

    >>> import io
    >>> import numpy as np
    >>> from PIL import Image
    >>> from hdlif.runtime.masks import as_png
    >>> np.asarray(Image.open(io.BytesIO(as_png(np.array([[0, 2]], np.uint8))))).tolist()
    [[0, 2]]
    """
    from PIL import Image

    image, file = Image.fromarray(mask, "P"), io.BytesIO()
    image.putpalette(bytes(_colours()))
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _colours() -> Iterable[int]:
    """Red, green and blue of 256 classes, those of Pascal VOC: 0 is black, 1 dark red, 2 dark green, 3 olive."""
    for number in range(256):
        for channel in range(3):
            yield sum((number >> 3 * place + channel & 1) << 7 - place for place in range(3))


def as_json(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without arrays: a mask becomes its size [h, w] and a PNG file in base64."""
    import base64

    if "mask" not in answer:
        return answer
    mask = answer["mask"]
    return {**answer, "size": list(mask.shape), "mask": base64.b64encode(as_png(mask)).decode()}

"""Draw boxes, classes and objects on an image."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import cut, printable
from hdlif.runtime.masks import COLOURS

Pixels = NDArray[np.uint8]
INKS = ((0, 90, 160), (200, 80, 0), (0, 130, 60), (150, 60, 150))
"""Box colours of the first classes; later classes repeat them."""
_LONGEST = 40
"""Length of the longest text at a box, in characters."""
_LEAST_FONT = 10


def draw_map(pixels: Pixels, numbers: NDArray[np.integer]) -> Pixels:
    """Blend an image [h, w, 3] with the colours of a map [h, w] at all pixels where the map is above 0.

    >>> import numpy as np
    >>> from hdlif.runtime.drawing import draw_map
    >>> draw_map(np.full((1, 2, 3), 100, np.uint8), np.array([[0, 1]])).tolist()
    [[[100, 100, 100], [114, 50, 50]]]
    """
    # Objects after the 255th repeat the colours of the first ones.
    index = np.where(numbers > 0, (numbers.astype(np.int32) - 1) % (len(COLOURS) - 1) + 1, 0)
    return np.where(index[..., None] > 0, pixels // 2 + COLOURS[index] // 2, pixels)


def draw_boxes(pixels: Pixels, boxes: Iterable[tuple[int, Sequence[float], str]]) -> Pixels:
    """Draw the outlines of boxes on an image [h, w, 3]; earlier boxes appear on top of later ones.

    Args:
        boxes: class number, (left, top, right, bottom) in pixels, and the text above the box, or "", for each box.
    """
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(pixels)
    draw, side = ImageDraw.Draw(image), min(image.size)
    font, line = ImageFont.load_default(max(_LEAST_FONT, side // 30)), max(1, side // 200)
    for number, corners, text in reversed(list(boxes)):
        ink, (left, top, right, bottom) = INKS[number % len(INKS)], map(round, corners)
        # The last pixels within the box, which has at least one pixel.
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=ink, width=line)
        if text:
            shown = printable(cut(text, _LONGEST))
            _, _, width, height = font.getbbox(shown)
            # Draw the text inside the image if it does not fit above the box.
            x, y = max(0, min(left, image.width - width)), max(0, top - height - 1)
            draw.rectangle((x, y, x + width + 1, y + height + 1), fill=ink)
            draw.text((x + 1, y), shown, (255, 255, 255), font=font)
    return np.asarray(image)

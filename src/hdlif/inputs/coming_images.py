"""Read successive PPM and PGM images, whose headers contain their size, from a pipe, a device or a file."""

import re
from collections.abc import Iterator

from hdlif.inputs import Unreadable, pictures
from hdlif.inputs.coming import Source

_HEADER = re.compile(rb"P([56])(?:\s+|#[^\n]*\n)+(\d{1,6})\s+(\d{1,6})\s+(\d{1,6})\s")
_LONGEST = 1024
"""Most bytes of a header with its comments."""


def coming_images(source: Source) -> Iterator[tuple[bytes, float]]:
    """Yield the content of each image as soon as it is complete, with the time.

    `ffmpeg -i FILM -f image2pipe -c:v ppm -` writes such images.

    Raises:
        Unreadable: the input is not binary PPM or PGM of 8 bits, is too large, or ends within an image.
        OSError: it cannot be read.
    """
    while header := source.up_to(2):
        while not (found := _HEADER.match(header)):
            if header[:2] not in (b"P", b"P5", b"P6"):
                raise Unreadable(f"an image begins with {header[:2]!r}, and PPM and PGM files with P6 and P5")
            if len(header) > _LONGEST or not (more := source.up_to(1)):
                raise Unreadable("it ends, or goes on, within the header of an image")
            header += more
        kind, width, height, whole = (int(number) for number in found.groups())
        if not 0 < whole < 256:
            raise Unreadable(f"the largest value of an image is {whole}; write 8 bits per channel")
        pictures.check_size(width, height)
        size = width * height * (3 if kind == 6 else 1)
        pixels = source.up_to(size)
        if len(pixels) < size:
            raise Unreadable(f"it ends within an image, {len(pixels):,} of {size:,} bytes after its header")
        yield header + pixels, source.since

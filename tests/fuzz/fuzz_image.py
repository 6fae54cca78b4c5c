"""Image files for `hdlif run` and the data sets: any bytes are an image within the limits, or `Unreadable`."""

from contextlib import suppress

import driver

from hdlif.inputs import Unreadable
from hdlif.inputs.pictures import MOST_PIXELS, MOST_SIDE, decode


def target(data: bytes) -> None:
    for mode in ("L", "RGB"):
        with suppress(Unreadable):
            image = decode(data, mode)
            assert image.mode == mode
            assert image.width * image.height <= MOST_PIXELS
            assert max(image.size) <= MOST_SIDE
            assert len(image.tobytes()) == image.width * image.height * len(mode)


if __name__ == "__main__":
    driver.main(target, "image")

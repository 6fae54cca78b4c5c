"""Image files and label maps: any bytes are an image, or a map of numbers, within the limits, or `Unreadable`."""

from contextlib import suppress

import driver

from hdlif.inputs import Unreadable
from hdlif.inputs.pictures import MOST_PIXELS, MOST_SIDE, decode, decode_numbers


def target(data: bytes) -> None:
    for mode in ("L", "RGB"):
        with suppress(Unreadable):
            image = decode(data, mode)
            assert image.mode == mode
            assert image.width * image.height <= MOST_PIXELS
            assert max(image.size) <= MOST_SIDE
            assert len(image.tobytes()) == image.width * image.height * len(mode)
    with suppress(Unreadable):
        numbers = decode_numbers(data)
        assert numbers.size <= MOST_PIXELS
        assert numbers.min() >= 0
        assert numbers.max() < 2**16


if __name__ == "__main__":
    driver.main(target, "image")

"""Image files that `hdlif run` and the data sets are given: whatever the bytes are, an image within the limits, or
`Unreadable`."""

import driver

from hdlif.errors import printable, reason
from hdlif.inputs import Unreadable
from hdlif.inputs.pictures import MOST_PIXELS, MOST_SIDE, decode


def check(error: Unreadable) -> None:
    assert 0 < len(printable(reason(error))) < 1000


def target(data: bytes) -> None:
    for mode in ("L", "RGB"):
        try:
            image = decode(data, mode)
        except Unreadable as error:
            check(error)
            continue
        assert image.mode == mode
        assert image.width * image.height <= MOST_PIXELS
        assert max(image.size) <= MOST_SIDE
        assert len(image.tobytes()) == image.width * image.height * len(mode)


if __name__ == "__main__":
    driver.main(target, "image")

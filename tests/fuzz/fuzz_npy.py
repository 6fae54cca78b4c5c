"""Arrays that `hdlif run` is given: whatever the bytes are, an array within their size, or `Unreadable`."""

import io
import random

import driver
import numpy as np

from hdlif.inputs import Unreadable
from hdlif.inputs.arrays import parse_array
from mutations import BOUNDARIES

WORDS = (
    *(b"'descr': ", b"'fortran_order': ", b"'shape': ", b"'<f4'", b"'|O'", b"[('a', '<f4')]", b"True", b"L", b", "),
    *(b"(3, 9, 7)", b"(0,)", b"(-1,)", b"9" * 30, b"{", b"}", b"(" * 300),
)


def target(data: bytes) -> None:
    try:
        array = parse_array(data)
    except Unreadable:
        return
    assert array.nbytes <= len(data)
    assert array.dtype.isnative
    assert array.dtype.kind in "biufc"
    # NumPy's own reader takes what is taken here, and finds the same.
    expected = np.load(io.BytesIO(data), allow_pickle=False, max_header_size=20_000)
    assert array.shape == expected.shape
    assert array.tobytes() == expected.astype(array.dtype).tobytes()


def mutate(data: bytes, draw: random.Random) -> bytes:
    """A change within the header, whose length is then stated anew more often than not."""
    if len(data) < 12 or not data.startswith(b"\x93NUMPY"):
        return data
    begin = 10 if data[6] == 1 else 12
    end = min(len(data), begin + int.from_bytes(data[8:begin], "little"))
    at = draw.randint(begin, end)
    head, tail = data[begin:at], data[at + draw.choice((0, 0, 1, 5, 20)) : end]
    header = head + draw.choice(WORDS) + tail
    length = len(header) if draw.random() < 0.9 else draw.choice(BOUNDARIES)
    size = begin - 8
    return data[:8] + (length % 256**size).to_bytes(size, "little") + header + data[end:]


if __name__ == "__main__":
    driver.main(target, "npy", mutate=mutate)

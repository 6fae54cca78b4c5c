"""Files with small damages, for tests that a reader refuses them in its own words."""

import random
from collections.abc import Iterator

BOUNDARIES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
"""Numbers at which a count or a size of a file overflows."""


def mutations(content: bytes, count: int, *, seed: int = 0) -> Iterator[bytes]:
    """`content` cut short, extended, and with bits, bytes and numbers changed; then bytes of chance."""
    draw = random.Random(seed)
    for i in range(count):
        data = bytearray(content)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(data) + 1)
            match i % 7:
                case 0:
                    del data[at:]
                case 1:
                    data[at : at + 1] = bytes([draw.randrange(256)])
                case 2:
                    size = draw.choice((1, 2, 4, 8))
                    number = draw.choice(BOUNDARIES) % 256**size
                    data[at : at + size] = number.to_bytes(size, draw.choice(("little", "big")))
                case 3:
                    data[at:at] = str(draw.choice(BOUNDARIES)).encode() * draw.choice((1, 30))
                case 4:
                    del data[at : at + draw.randint(1, 64)]
                case 5:
                    data[at:at] = data[at : at + draw.randint(1, 64)] * draw.choice((1, 100))
                case 6:
                    data = bytearray(draw.randbytes(draw.randrange(200)))
        yield bytes(data)

"""Samples that `hdlif run --stream` is sent: whatever the bytes are, decisions, and at the end `Unreadable` or nothing.

Of the same bytes in other pieces, nothing else is said.
"""

import driver
import numpy as np

from hdlif.inputs import Unreadable
from hdlif.inputs.coming import coming
from hdlif.runtime import Session, Stream
from piped_samples import in_pieces, pipe
from series_networks import SOUND, series_network
from sound_files import tone, wav_bytes

OF_READINGS = Session(series_network("conv1d", columns=("a", "b"), windows=(12, 5)), 1)
OF_SOUNDS = Session(series_network("conv1d", sound=SOUND), 1)
ROWS = "".join(f"{number / 7:g},{-number}\n" for number in range(20)).encode()
SEEDS = [
    b"a,b\n" + ROWS,
    b"\xef\xbb\xbfb;who;a\r\n" + b"1;ann;2.5\r\n" * 13,
    ROWS.replace(b"\n", b"\r") + b"\n\n",
    b"1,\nnan,2\n" * 8,
    wav_bytes(tone("low", 0, 0.21)),
    wav_bytes(tone("low", 0, 0.05, 11025), 11025, bits=24, extensible=True),
    wav_bytes(tone("low", 0, 0.21))[44:],
]
WORDS = (b",", b";", b"\n", b"\r\n", b"\r", b'"', b"1e9", b"1e999", b"nan", b"a", b"b", b"1,", b" ", b"\0", b"\xff" * 4)


def said(session: Session, data: bytes, size: int, gaps: str) -> tuple[list[object], str]:
    """Return the decisions on bytes that come in pieces, without their times, and the fault that ends them."""
    decisions: list[object] = []
    try:
        with pipe(in_pieces(data, size)) as source:
            found = coming(source, session.input, gaps=gaps)
            stream = Stream(session, rate=found.rate)
            for samples, since in found.blocks:
                assert np.isfinite(samples).all()
                decisions += [(one.samples, one.step, one.answer) for one in stream.push(samples, since=since)]
            decisions += [(one.samples, one.step, one.answer) for one in stream.end(partial=True)]
    except Unreadable as error:
        return decisions, str(error)
    return decisions, ""


def target(data: bytes) -> None:
    for session in (OF_READINGS, OF_SOUNDS):
        for gaps in ("stop", "hold"):
            whole = said(session, data, 2**14, gaps)
            assert said(session, data, 1 + len(data) // 7, gaps) == whole


if __name__ == "__main__":
    driver.main(target, "stream", seeds=SEEDS, mutate=driver.put_in(WORDS))
